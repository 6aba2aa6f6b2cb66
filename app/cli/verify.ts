/** tidegate verify: proof that the targets are the sources without what is held, while both go on. */
import { systemClock } from '../../core/clock.ts';
import type { DatasetName } from '../../core/event.ts';
import { isError } from '../../core/problems.ts';
import { datasetsOf, mayBring, partsOf } from '../config.ts';
import { loadRuleFiles } from '../rule-files.ts';
import { ConfigProblems } from '../config-problems.ts';
import { isExplained, REASONS } from '../verify/explain.ts';
import { NothingToVerify, waitMsOf } from '../verify/passage.ts';
import { type PipelineResult, type TableResult, verifyPipeline, type VerifyProgress } from '../verify/verify.ts';
import { parseDuration } from '../units.ts';
import { type Arguments, type FlagSpec, UsageError, wholeNumberOf } from './arguments.ts';
import { type Command, configOf } from './command.ts';
import { type Io, show, table } from './output.ts';

const DIFFERENCES_MAX = 100;
/** What is named is kept in memory. */
const LIMIT_MAX = 100_000;
const RATE_MAX = 1_000_000_000;
export const WAIT = '60s';
export const RATE_FLAG: FlagSpec = {
  type: 'string',
  value: 'N',
  help: 'Compare at most so many rows a second; as many as possible if left out.',
};
/** How often a person is told how far it is. */
const PROGRESS_MS = 1000;

export const verify: Command = {
  name: 'verify',
  summary:
    'Proves that each target is its source without what is in quarantine, up to a named place in the source’s log, while both go on. Exit code 0 where it is, 1 where rows differ without an explanation.',
  positionals: ['CONFIG'],
  flags: {
    pipeline: { type: 'string', value: 'NAME', help: 'Only this pipeline.' },
    dataset: { type: 'string', multiple: true, value: 'NAME', help: 'Only this dataset (source.schema.table). May be repeated.' },
    limit: {
      type: 'string',
      value: 'N',
      help: `Name so many differing rows of a table, and leave it where so many have no explanation; ${DIFFERENCES_MAX} if left out.`,
    },
    rate: RATE_FLAG,
    repair: {
      type: 'boolean',
      help: 'Have the running pipeline bring the rows that differ once more, through all its stages, and look whether it did.',
    },
    wait: {
      type: 'string',
      value: 'TIME',
      help: `How long a row’s changes may take to come to rest, and a lane may stand still; ${WAIT} if left out, 3m for topics.`,
    },
  },
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const { config } = loaded;
    const settings = settingsOf(args);
    const only = args.text('pipeline');
    if (only !== null && !Object.hasOwn(config.pipelines, only))
      throw new UsageError(`there is no pipeline ${only}`, `Name one of ${Object.keys(config.pipelines).join(', ')}.`);
    const chosen = Object.entries(config.pipelines)
      .filter(([name]) => only === null || name === only)
      .map(([name, pipeline]) => {
        const { source } = partsOf(config, pipeline);
        const brings = (dataset: DatasetName): boolean => mayBring(pipeline.source, source, dataset);
        return { name, pipeline, own: datasetsOf(pipeline.source, source), brings, ...loadRuleFiles(loaded, name, pipeline) };
      });
    const problems = chosen.flatMap((one) => one.problems);
    if (problems.some(isError)) throw new ConfigProblems(problems);
    const datasets = datasetsNamed(
      args,
      chosen.flatMap(({ own }) => own),
      (dataset) => chosen.some(({ brings }) => brings(dataset)),
    );
    const results: PipelineResult[] = [];
    for (const { name, pipeline, brings, files } of chosen) {
      const own = datasets?.filter(brings) ?? null;
      if (own?.length === 0) continue;
      const waitMs = waitOf(args, waitMsOf(partsOf(config, pipeline).source));
      const common = {
        repair: args.is('repair'),
        config,
        name,
        pipeline,
        rules: files,
        datasets: own,
        clock: systemClock,
        signal: io.stop,
      };
      try {
        results.push(await verifyPipeline({ ...settings, ...common, waitMs, onProgress: progressTo(io) }));
      } catch (error) {
        if (error instanceof NothingToVerify) throw new UsageError(error.message, error.fix);
        if (!io.stop.aborted) throw error;
        show(
          io,
          args.is('json'),
          { equal: false, stopped: true, pipelines: results },
          () => 'Stopped before its end: nothing is proved.\n',
        );
        return 1;
      }
    }
    const equal = results.every(({ tables }) => tables.every((one) => one.equal));
    show(io, args.is('json'), { equal, pipelines: results }, () => results.map(words).join('\n'));
    return equal ? 0 : 1;
  },
};

function settingsOf(args: Arguments): { differencesMax: number; rowsPerSecond: number | null } {
  return {
    differencesMax: wholeNumberOf(args, 'limit', { most: LIMIT_MAX, example: 1000 }) ?? DIFFERENCES_MAX,
    rowsPerSecond: rateOf(args),
  };
}

export function waitOf(args: Arguments, ownMs: number): number {
  const text = args.text('wait');
  const waitMs = text === null ? ownMs : parseDuration(text);
  if (waitMs === null) throw new UsageError('--wait is no time', 'Write --wait 2m.');
  return waitMs;
}

export const rateOf = (args: Arguments): number | null => wholeNumberOf(args, 'rate', { most: RATE_MAX, example: 1000 });

function datasetsNamed(
  args: Arguments,
  known: readonly DatasetName[],
  isBrought: (dataset: DatasetName) => boolean,
): readonly DatasetName[] | null {
  const names = args.list('dataset') as readonly DatasetName[]; // As a person writes them: unknown ones are refused here.
  for (const name of names) if (!isBrought(name)) throw new UsageError(`there is no dataset ${name}`, `Name one of ${known.join(', ')}.`);
  return names.length === 0 ? null : names;
}

export function progressTo(io: Io): (progress: VerifyProgress) => void {
  let toldAtMs = systemClock.monotonic();
  return (progress) => {
    const now = systemClock.monotonic();
    if (!io.isTerminal || now - toldAtMs < PROGRESS_MS) return;
    toldAtMs = now;
    io.stderr(`${progressText(progress)}\n`);
  };
}

function progressText(progress: VerifyProgress): string {
  if (progress.kind === 'waiting') {
    const { lane, behindBytes } = progress;
    return behindBytes === null ? `waiting for ${lane}` : `${lane} is ${behindBytes} bytes behind; waiting for it`;
  }
  if (progress.kind === 'repairing') {
    const { dataset, rows, times } = progress;
    return `${dataset}: waiting for ${rows} rows that the lane is to bring again, asked for ${times === 1 ? 'once' : `${times} times`}`;
  }
  const { dataset, rows, rowsEstimated, differing } = progress;
  return `${dataset}: ${rows}${rowsEstimated === null ? '' : ` of about ${rowsEstimated}`} rows, ${differing} differ`;
}

const STATES: Readonly<Record<TableResult['state'], string>> = {
  verified: 'equal',
  copying: 'STILL BEING COPIED',
  left: 'DIFFERS, left before its end',
};

function words({ pipeline, through, laneStands, tables }: PipelineResult): string {
  const reasons = REASONS.filter((reason) => tables.some(({ counts }) => counts[reason] > 0));
  const hasRepaired = tables.some(({ repaired }) => repaired > 0);
  const head = ['DATASET', 'ROWS', ...(hasRepaired ? ['REPAIRED'] : []), ...reasons.map((reason) => reason.toUpperCase()), ''];
  const rows = tables.map(({ dataset, rows: count, repaired, counts, equal, state }) => [
    dataset,
    String(count),
    ...(hasRepaired ? [String(repaired)] : []),
    ...reasons.map((reason) => String(counts[reason])),
    equal || state !== 'verified' ? STATES[state] : 'DIFFERS',
  ]);
  const lacking = tables.flatMap(({ dataset, lacking: columns }) =>
    columns.length === 0 ? [] : [`The target of ${dataset} has no column ${columns.join(', ')}.\n`],
  );
  const named = tables.flatMap(({ dataset, differences }) =>
    differences
      .filter(({ reason }) => !isExplained(reason))
      .map(({ key, kind, reason, columns }) => [dataset, key, reason, kind, columns.join(', ')]),
  );
  const stands = laneStands
    ? 'The lane stands still: what it has not brought yet cannot be told from what is lost. Is the service running?\n'
    : '';
  const verdict = tables.every(({ equal }) => equal)
    ? `The target of ${pipeline} is its source without what is explained above, through ${through}.\n`
    : `The target of ${pipeline} is not what its source was through ${through}.\n`;
  return [
    table(head, rows),
    named.length === 0 ? '' : `\n${table(['DATASET', 'KEY', 'REASON', 'KIND', 'COLUMNS'], named)}`,
    `\n${lacking.join('')}${stands}${verdict}`,
  ].join('');
}
