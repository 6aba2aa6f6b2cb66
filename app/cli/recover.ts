/** tidegate recover: a pipeline whose replication slot is lost goes on, and what changed meanwhile is found and brought. */
import { systemClock } from '../../core/clock.ts';
import { isError } from '../../core/problems.ts';
import { partsOf } from '../config.ts';
import { NothingToRecover, type Recovered, recoverPipeline } from '../recover.ts';
import { loadRuleFiles } from '../rule-files.ts';
import { ConfigProblems } from '../config-problems.ts';
import type { Secret } from '../secret.ts';
import { NothingToVerify, waitMsOf } from '../verify/passage.ts';
import { existingServiceState } from '../state/state.ts';
import { UsageError } from './arguments.ts';
import { type Command, configOf, pipelineOf } from './command.ts';
import { letGoOn } from './halt.ts';
import { show, table } from './output.ts';
import { progressTo, RATE_FLAG, rateOf, WAIT, waitOf } from './verify.ts';

const WAIT_MS = 60_000;

export const recover: Command = {
  name: 'recover',
  summary:
    'Lets a pipeline go on whose place in its replication slot or its topics is lost (SOURCE_POSITION_LOST): makes the slot anew, or goes to the oldest record that is kept, lets the running service read on, compares both ends and has the rows brought that differ, and those of held keys that changed meanwhile. May be run again until it exits with 0.',
  positionals: ['CONFIG', '[PIPELINE]'],
  flags: {
    rate: RATE_FLAG,
    wait: {
      type: 'string',
      value: 'TIME',
      help: `How long the service may take to read the slot, and to bring rows; ${WAIT} if left out, 3m for topics.`,
    },
    'whole-tables': {
      type: 'boolean',
      help: 'Bring every row that the target lacks, where `snapshot.mode` is never: the target is meant to have all rows nevertheless.',
    },
  },
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const name = pipelineOf(args, loaded);
    const { config } = loaded;
    const pipeline = config.pipelines[name];
    if (pipeline === undefined) throw new UsageError(`there is no pipeline ${name}`, 'Name one of the config.');
    const { source, target } = partsOf(config, pipeline);
    const waitMs = waitOf(args, source.kind === 'kafka' ? waitMsOf(source) : WAIT_MS);
    if (target.kind === 'kafka')
      throw new UsageError(
        `${pipeline.target} is topics, whose rows cannot be compared with those of the source`,
        'See docs/kafka-target.md for what to do: the pipeline begins anew and writes all rows once more.',
      );
    if (source.kind !== 'kafka' && source.snapshot.mode === 'never' && !args.is('whole-tables'))
      throw new UsageError(
        `${pipeline.source} is followed without its rows (snapshot.mode: never), so rows that were lost cannot be told from those that were never wanted`,
        'Give --whole-tables where the target is to have all rows.',
      );
    const { files, problems } = loadRuleFiles(loaded, name, pipeline);
    if (problems.some(isError)) throw new ConfigProblems(problems);
    try {
      const found = await recoverPipeline({
        config,
        name,
        pipeline,
        rules: files,
        halted: await haltedFor(config.state, name),
        resume: async () => void (await letGoOn(loaded, name, io)),
        rowsPerSecond: rateOf(args),
        waitMs,
        onProgress: progressTo(io),
        clock: systemClock,
        signal: io.stop,
      });
      show(io, args.is('json'), found, () => words(found));
      return found.isWhole ? 0 : 1;
    } catch (error) {
      if (error instanceof NothingToVerify) throw new UsageError(error.message, error.fix);
      if (error instanceof NothingToRecover) throw new UsageError(error.message, 'Run it first: tidegate run CONFIG.');
      throw error;
    }
  },
};

/** What the service noted when it halted for a place that is lost. */
async function haltedFor(place: string | Secret, pipeline: string): Promise<string | null> {
  await using state = await existingServiceState(place);
  const halt = state?.halts.get(pipeline) ?? null;
  return halt?.code === 'SOURCE_POSITION_LOST' ? halt.message : null;
}

function words({ pipeline, moved, topics = [], isRunning, held, verified, isWhole }: Recovered): string {
  const lines: string[] = [];
  if (moved !== null) {
    lines.push(`${moved.why}.`);
    lines.push(moved.isNewSlot ? 'The slot was made anew.' : 'The slot that is there serves.');
    lines.push(`What was committed from ${moved.from} to ${moved.to} is in no log; both ends were compared instead.`);
  }
  for (const { lane, why, from, to } of topics) lines.push(`${why}: ${lane} goes on from ${to} instead of ${from}.`);
  if (topics.length > 0) lines.push('What was lost is in no topic; both ends were compared instead.');
  if (moved === null && topics.length === 0 && verified === null && isRunning)
    lines.push(`Nothing of ${pipeline} is lost: its lane can go on from its checkpoint.`);
  if (!isRunning) lines.push(`Nobody reads what ${pipeline} follows: start the service, and run this again.`);
  const rows = (verified?.tables ?? []).map(({ dataset, rows: count, repaired, equal, state }) => {
    const of = held.find((one) => one.dataset === dataset);
    return [
      dataset,
      String(count),
      String(repaired),
      String(of?.brought ?? 0),
      equal ? 'equal' : state === 'copying' ? 'STILL BEING COPIED' : 'DIFFERS',
    ];
  });
  const text =
    lines.map((line) => `${line}\n`).join('') +
    (rows.length === 0 ? '' : `\n${table(['DATASET', 'ROWS', 'MENDED', 'HELD KEYS BROUGHT', ''], rows)}`);
  const truncated = held.filter(({ isTruncateHeld }) => isTruncateHeld).map(({ dataset }) => dataset);
  const truncates = truncated.map((dataset) => `A truncate of ${dataset} is held: release or discard it, and run this again.\n`).join('');
  return `${text}${truncates}${isWhole || !isRunning ? '' : `\n${pipeline} is not whole yet: \`tidegate verify\` names the rows; run this again.\n`}`;
}
