/** tidegate backtest: what a changed rule file would do to what is there already. */
import { relative } from 'node:path';
import { systemClock } from '../../core/clock.ts';
import type { DatasetName } from '../../core/event.ts';
import { isError } from '../../core/problems.ts';
import { parseContract } from '../../quality/contract.ts';
import { type Backtested, backtest as run, type Counted } from '../backtest/backtest.ts';
import { datasetsOf, type LoadedConfig, mayBring, partsOf } from '../config.ts';
import type { WindowSide } from '../backtest/windows.ts';
import { nearest } from '../config-read.ts';
import { readText } from '../judge/input.ts';
import { loadRuleFiles } from '../rule-files.ts';
import { ConfigProblems } from '../config-problems.ts';
import { type Arguments, UsageError, wholeNumberOf } from './arguments.ts';
import { type Command, configOf, pipelineNamed } from './command.ts';
import { notAskedText, show, table, timeText } from './output.ts';

const ROWS = 100_000;
const EXAMPLES = 5;

export const backtest: Command = {
  name: 'backtest',
  summary:
    'Runs a changed rule file over the quarantine, rows of the target and the versions of rows that it keeps, and says which of them would change sides, and which windows, with examples. Nothing is changed. Exit code 1 where one would.',
  positionals: ['CONFIG'],
  flags: {
    rules: { type: 'string', value: 'FILE', help: 'The changed rule file. Required. What it says of shadow mode is left aside.' },
    pipeline: { type: 'string', value: 'NAME', help: 'The pipeline, where several have the dataset.' },
    rows: { type: 'string', value: 'N', help: `A sample of about so many rows of the target; ${ROWS} if left out.` },
    all: { type: 'boolean', help: 'Every row of the target.' },
    examples: { type: 'string', value: 'N', help: `Examples of each kind at most; ${EXAMPLES} if left out.` },
  },
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const path = args.text('rules');
    if (path === null) throw new UsageError('--rules is missing', 'Write --rules new.yaml: the changed rule file.');
    const rows = wholeNumberOf(args, 'rows', { example: ROWS }) ?? ROWS;
    const examplesMax = wholeNumberOf(args, 'examples', { least: 0, example: EXAMPLES }) ?? EXAMPLES;
    const parsed = parseContract(readText(path), relative('.', path));
    if ('problems' in parsed) throw new ConfigProblems(parsed.problems);
    const after = parsed.contract;
    const { name, pipeline } = pipelineFor(args, loaded, after.dataset);
    const { files, problems } = loadRuleFiles(loaded, name, pipeline);
    if (problems.some(isError)) throw new ConfigProblems(problems);
    const before = files.get(after.dataset)?.contract ?? null;
    const found = await run({
      config: loaded.config,
      name,
      pipeline,
      before,
      after,
      rowsMax: args.is('all') ? null : rows,
      examplesMax,
      clock: systemClock,
      signal: io.stop,
    });
    show(io, args.is('json'), found, () => inWords(found));
    const changes = [found.quarantine, found.target, found.history].some((one) => one !== null && one.freed + one.taken > 0);
    return changes || found.windows.rules.some(({ changed }) => changed > 0) ? 1 : 0;
  },
};

function pipelineFor(args: Arguments, { config }: LoadedConfig, dataset: DatasetName) {
  const named = args.text('pipeline');
  const all = Object.entries(config.pipelines).map(([name, pipeline]) => ({ name, pipeline, source: partsOf(config, pipeline).source }));
  const only = named === null ? null : pipelineNamed(named, { config });
  const [first, ...more] = all.filter(
    ({ name, pipeline, source }) => (only === null || name === only) && mayBring(pipeline.source, source, dataset),
  );
  if (first === undefined) {
    const names = all.flatMap(({ pipeline, source }) => datasetsOf(pipeline.source, source));
    const near = nearest(dataset, names);
    throw new UsageError(
      `the rules are for ${dataset}, which no pipeline has`,
      near === null ? `Write dataset: ${names[0] ?? ''}, say.` : `Did you mean ${near}?`,
    );
  }
  if (more.length > 0)
    throw new UsageError(
      `several pipelines have ${dataset}`,
      `Write --pipeline ${first.name}, or ${more.map(({ name }) => name).join(', ')}.`,
    );
  return first;
}

function inWords({
  dataset,
  revisions,
  quarantine,
  target,
  history,
  rules,
  unusable,
  asked,
  notAsked,
  windows,
  examples,
}: Backtested): string {
  const line = (what: string, counted: Counted | null) =>
    counted === null
      ? []
      : [[what, `${counted.rows}${counted.sampled ? ' (sample)' : ''}`, String(counted.freed), String(counted.taken), String(counted.out)]];
  const counts = table(
    ['', 'ROWS', 'WOULD GO THROUGH', 'WOULD BE OUT', 'OUT AS BEFORE'],
    [...line('quarantine', quarantine), ...line('target', target), ...line('history', history)],
  );
  const failing = rules.filter(({ failed }) => failed.quarantine + failed.target + failed.history > 0);
  const byRule =
    failing.length === 0
      ? ''
      : `\n${table(
          ['RULE', 'ON FAIL', 'QUARANTINE', 'TARGET', 'HISTORY', 'CHANGE SIDES'],
          failing.map(({ rule, onFail, failed, taken }) =>
            [rule, onFail, failed.quarantine, failed.target, failed.history, taken].map(String),
          ),
        )}`;
  const shown = examples.map(
    ({ place, key, to, why }) =>
      `  ${place} ${key ?? '(a row without a key)'} would ${to === 'out' ? 'be out' : 'go through'}${why.length === 0 ? '' : `: ${why.map(({ rule, message }) => `${rule} (${message})`).join(', ')}`}\n`,
  );
  const others =
    quarantine.others === 0 ? '' : `${quarantine.others} items are held by something else as well, which rules do not change.\n`;
  const beside = asked.map(({ rule, failed }) => `${rule}: ${failed} rows of the target break it beside the others; they stay\n`).join('');
  const not = unusable.map(({ rule, message }) => `! ${rule} cannot be judged on all of it: ${message}\n`).join('');
  return `${dataset}: ${revisions.before ?? 'no rules'} -> ${revisions.after}\n${counts}${others}${byRule}${not}${beside}${notAskedText(notAsked)}${windowsInWords(windows)}${shown.length === 0 ? '' : `\nFor example:\n${shown.join('')}`}`;
}

function windowsInWords({ rules, examples, notJudged }: Backtested['windows']): string {
  const counts =
    rules.length === 0
      ? ''
      : `\n${table(
          ['WINDOWS OF RULE', 'WINDOWS', 'FAIL NOW', 'WOULD FAIL', 'CHANGE SIDES'],
          rules.map(({ rule, windows, failed, failedBefore, changed }) => [rule, windows, failedBefore, failed, changed].map(String)),
        )}`;
  const shown = examples.map(
    ({ rule, startMs, group, rows, before, after }) =>
      `  ${rule} ${timeText(startMs)}${group === '' ? '' : ` ${group}`} (${rows} rows): ${sideText(before)} -> ${sideText(after)}\n`,
  );
  const not = notJudged.map(({ rule, message }) => `! windows of ${rule} are left out: ${message}\n`).join('');
  return `${counts}${shown.join('')}${not}`;
}

const sideText = (side: WindowSide | null): string =>
  side === null ? 'no such window' : `${side.verdict}${side.observed === null ? '' : ` at ${side.observed}`}`;
