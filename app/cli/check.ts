/** tidegate check: everything that is wrong with a config, its rule files and the servers it names, each with a fix. */
import { systemClock } from '../../core/clock.ts';
import { PipelineError, withCauses } from '../../core/errors.ts';
import type { Dataset, DatasetName } from '../../core/event.ts';
import { isError, type Problem } from '../../core/problems.ts';
import { probeConnectors } from '../../cdc/kafka/connector-check.ts';
import { probeKafkaSource } from '../../cdc/kafka/probe.ts';
import { probePostgresSource } from '../../cdc/postgres/source.ts';
import { MemoryModelStore } from '../../inference/models/store.ts';
import { ModelRegistry } from '../../inference/models/registry.ts';
import { Scorer } from '../../inference/scorer/supervisor.ts';
import { inferenceStage } from '../../inference/stage.ts';
import { memoryOutbox, type Delivery } from '../../ops/alerts/outbox.ts';
import { webhookSender } from '../../ops/alerts/webhook.ts';
import { probeTopics } from '../../sync/kafka/probe.ts';
import { probePostgresTables, probePostgresTarget } from '../../sync/postgres/sink.ts';
import { datasetsOf, endpointOf, type LoadedConfig, loadConfig, partsOf } from '../config.ts';
import type { Config, PipelineConfig } from '../config-schema.ts';
import { kafkaOptions, modelUses, sinkOptions, sourceOptions, tellerOptions, topicOptions } from '../connect.ts';
import { silentLogger } from '../logger.ts';
import { probeQuarantineTopics } from '../quarantine-teller.ts';
import { heldAgainstTables, loadRuleFiles, type RuleFile } from '../rule-files.ts';
import { withoutSecrets } from '../secret.ts';
import { existingServiceState } from '../state/state.ts';
import { probeDatabase } from '../verify/passage.ts';
import type { Command } from './command.ts';
import { problemsText, show } from './output.ts';

const WEBHOOK_MS = 5000;

export const check: Command = {
  name: 'check',
  summary:
    'Says everything that is wrong with the config and its rule files, and asks the source, the target, the registered models and the alert receivers (each gets a webhook.test). Changes nothing. Exit code 2: the files are wrong; 1: a server is.',
  positionals: ['CONFIG'],
  flags: { offline: { type: 'boolean', help: 'Look only at the files.' } },
  run: async (args, io) => {
    const result = loadConfig(args.positionals[0] ?? '', io.env);
    const problems: Problem[] = [...(result.kind === 'invalid' ? result.problems : result.warnings)];
    if (result.kind === 'loaded') problems.push(...fileProblems(result.loaded));
    let filesAreWrong = problems.some(isError);
    if (result.kind === 'loaded' && !filesAreWrong && !args.is('offline')) {
      const probed = await probe(result.loaded);
      problems.push(...probed.problems);
      filesAreWrong = probed.filesAreWrong;
    }
    const ok = !problems.some(isError);
    show(io, args.is('json'), { ok, problems }, () =>
      problems.length === 0 ? 'All is well.\n' : `${problemsText(problems)}${ok ? 'It can run.\n' : ''}`,
    );
    return ok ? 0 : filesAreWrong ? 2 : 1;
  },
};

function fileProblems(loaded: LoadedConfig): readonly Problem[] {
  return Object.entries(loaded.config.pipelines).flatMap(([name, pipeline]) => loadRuleFiles(loaded, name, pipeline).problems);
}

interface Probed {
  readonly problems: readonly Problem[];
  /** A rule cannot be used on its table: it is the file that has to be mended. */
  readonly filesAreWrong: boolean;
}

async function probe(loaded: LoadedConfig): Promise<Probed> {
  const pipelines = Object.keys(loaded.config.pipelines).map((name) => probePipeline(loaded, name));
  const [webhooks, ...found] = await Promise.all([probeWebhooks(loaded), ...pipelines]);
  return {
    problems: [...found.flatMap(({ problems }) => problems), ...webhooks],
    filesAreWrong: found.some((probed) => probed.filesAreWrong),
  };
}

async function probePipeline(loaded: LoadedConfig, name: string): Promise<Probed> {
  const { config, place } = loaded;
  const pipeline = config.pipelines[name];
  if (pipeline === undefined) return { problems: [], filesAreWrong: false };
  const { files, drafts } = loadRuleFiles(loaded, name, pipeline);
  const sourcePlace = place('sources', pipeline.source);
  const targetPlace = place('targets', pipeline.target);
  const problems: Problem[] = [];
  const topicsPlace = place('pipelines', name, 'quarantineTopics');
  const telling = tellerOptions(config, name, pipeline, systemClock, silentLogger);
  const [ofSource, ofTarget, ofTopics] = await Promise.all([
    attempt(sourcePlace, () => probeSource(config, pipeline)),
    attempt(targetPlace, () => probeTarget(config, name, pipeline, files)),
    attempt(topicsPlace, async () => {
      if (telling === null) return [];
      return probeQuarantineTopics(telling, datasetsOf(pipeline.source, partsOf(config, pipeline).source), topicsPlace);
    }),
  ]);
  problems.push(...located(ofSource, 'sources', sourcePlace), ...located(ofTarget, 'targets', targetPlace), ...ofTopics);
  if (ofSource.some(isError)) return { problems, filesAreWrong: false };
  let datasets: readonly Dataset[] = [];
  let filesAreWrong = false;
  const unfit = await attempt(sourcePlace, async () => {
    const held = await heldAgainstTables(loaded, pipeline, files, drafts);
    ({ datasets } = held);
    filesAreWrong = held.refused.length > 0;
    return [...held.refused, ...held.noted];
  });
  problems.push(...unfit);
  if (!ofTarget.some(isError) && partsOf(config, pipeline).target.kind === 'postgres') {
    const options = sinkOptions(config, name, pipeline, files, systemClock);
    problems.push(...located(await attempt(targetPlace, () => probePostgresTables(options, datasets)), 'targets', targetPlace));
  }
  problems.push(...(await probeModels(loaded, name, datasets)));
  return { problems, filesAreWrong };
}

async function probeSource(config: Config, pipeline: PipelineConfig): Promise<readonly Problem[]> {
  const { source } = partsOf(config, pipeline);
  if (source.kind === 'postgres') return probePostgresSource(sourceOptions(config, pipeline, systemClock));
  const options = kafkaOptions(pipeline, source, systemClock);
  const connect = source.connect === null ? [] : probeConnectors(options, source.connect.reveal(), source.prefix);
  const database = source.database === null ? [] : probeDatabase(pipeline.source, source.database, systemClock);
  return [...(await probeKafkaSource(options)), ...(await connect), ...(await database)];
}

async function probeTarget(
  config: Config,
  name: string,
  pipeline: PipelineConfig,
  files: ReadonlyMap<DatasetName, RuleFile>,
): Promise<readonly Problem[]> {
  const { source, target } = partsOf(config, pipeline);
  if (target.kind === 'postgres') return probePostgresTarget(sinkOptions(config, name, pipeline, files, systemClock));
  return probeTopics(topicOptions(config, name, pipeline, target, files, systemClock), datasetsOf(pipeline.source, source));
}

async function probeModels({ config, place }: LoadedConfig, name: string, datasets: readonly Dataset[]): Promise<readonly Problem[]> {
  const pipeline = config.pipelines[name];
  if (pipeline === undefined || pipeline.models.length === 0) return [];
  await using state = await existingServiceState(config.state);
  await using scorer = new Scorer();
  const registry = await ModelRegistry.open(state?.models ?? new MemoryModelStore());
  await using stage = inferenceStage({ registry, scorer, uses: modelUses(pipeline) });
  return (await stage.check(datasets)).map((problem) => {
    const index = /^models\[(\d+)\]\.?(.*)$/.exec(problem.path);
    return index === null
      ? problem
      : { ...problem, path: `${place('pipelines', name, 'models', Number(index[1]))}${index[2] === '' ? '' : `.${index[2]}`}` };
  });
}

/** Posts a webhook.test to each receiver, whatever it subscribed to, and waits for the answer. */
async function probeWebhooks({ config, place }: LoadedConfig): Promise<readonly Problem[]> {
  const problems = await Promise.all(
    Object.entries(config.alerts).map(async ([name, alert]): Promise<Problem[]> => {
      const { promise, resolve } = Promise.withResolvers<Delivery | null>();
      const stop = new AbortController();
      const timer = setTimeout(() => resolve(null), WEBHOOK_MS);
      const sender = webhookSender({
        endpoints: [{ ...endpointOf(name, alert), events: ['webhook.test'] }],
        outbox: memoryOutbox(),
        timeoutMs: WEBHOOK_MS,
        onAttempt: (_endpoint, _item, delivery) => resolve(delivery),
      });
      const running = sender.run(stop.signal);
      await sender.emit('webhook.test', { message: 'tidegate check asks whether you are there.' });
      const delivery = await promise;
      clearTimeout(timer);
      stop.abort();
      await running;
      if (delivery?.kind === 'delivered') return [];
      const why = delivery === null ? `it did not answer within ${WEBHOOK_MS / 1000} s` : delivery.why;
      return [
        {
          severity: 'error',
          path: place('alerts', name, 'url'),
          message: `the receiver did not take a webhook.test: ${withoutSecrets(why)}`,
          fix: 'Check the url, that the receiver is up, and that it knows the signing secret.',
        },
      ];
    }),
  );
  return problems.flat();
}

/** A probe that throws has found a problem too. */
async function attempt(path: string, work: () => Promise<readonly Problem[]>): Promise<readonly Problem[]> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code === 'BUG') throw error;
    return [{ severity: 'error', path, message: withoutSecrets(withCauses(error)), fix: error.fix }];
  }
}

/** Probes name paths of the config without a line: `sources.shop.url` becomes `tidegate.yaml:9: sources.shop.url`. */
function located(problems: readonly Problem[], section: string, place: string): readonly Problem[] {
  const file = /^[^:]+:\d+: /.exec(place)?.[0] ?? '';
  return problems.map((problem) => (problem.path.startsWith(`${section}.`) ? { ...problem, path: `${file}${problem.path}` } : problem));
}
