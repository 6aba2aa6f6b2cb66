/** tidegate profile: what the rows of a table or a file are like, as a rule file with what speaks for each rule. */
import { existsSync, writeFileSync } from 'node:fs';
import { basename, extname } from 'node:path';
import type { Dataset, DatasetName } from '../../core/event.ts';
import { readTableRows } from '../../cdc/postgres/table-rows.ts';
import { parseContract } from '../../quality/contract.ts';
import { type ProfileChange, profileChanges } from '../../quality/profile/compare.ts';
import { Profiler, type TableProfile } from '../../quality/profile/propose.ts';
import { type Guess, ruleFileText } from '../../quality/profile/rule-text.ts';
import { datasetsOf, type LoadedConfig, mayBring } from '../config.ts';
import { nearest } from '../config-read.ts';
import { readTypes } from '../judge/cells.ts';
import { plainName } from '../judge/file-kind.ts';
import { asFile, readText } from '../judge/input.ts';
import { BrokenRules } from '../profile/broken-rules.ts';
import { FileRows } from '../profile/file-rows.ts';
import { ConfigProblems } from '../config-problems.ts';
import { type Arguments, UsageError, wholeNumberOf } from './arguments.ts';
import { type Command, configOf } from './command.ts';
import { type Io, show } from './output.ts';
import { ROW_FLAGS, ROWS } from './row-flags.ts';

const EXAMPLE = { example: 1000 };
const GUESSES: readonly Guess[] = ['tag', 'warn', 'quarantine'];

export const profile: Command = {
  name: 'profile',
  summary:
    'Reads a live table (reading only, a sample unless you say --all) or a file, and proposes a rule file with the evidence for each rule. With --against it says what has changed since, and exits with 1 where something has.',
  positionals: ['[CONFIG]', '[DATASET]'],
  flags: {
    ...ROW_FLAGS,
    'on-fail': {
      type: 'string',
      value: 'tag',
      help: 'What proposed rules do that are only guessed from rows: tag (if left out), warn or quarantine.',
    },
    against: { type: 'string', value: 'FILE', help: 'What has changed since: a rule file, or what an earlier `profile --json` printed.' },
    out: { type: 'string', value: 'FILE', help: 'Write the rule file there, where there is none yet, and not to standard output.' },
  },
  run: async (args, io) => {
    const onFail = guessOf(args);
    const out = args.text('out');
    if (out !== null && existsSync(out)) throw new UsageError(`${out} exists already`, 'Move it away, or name another file with --out.');
    const against = againstOf(args);
    const read =
      args.text('input') === null ? await ofTable(args, io, against?.rules ?? null) : await ofFile(args, io, against?.rules ?? null);
    const { found, from, columns } = read;
    const yaml = ruleFileText(found, columns, onFail, headOf(found, from));
    const changes = against === null ? null : (against.rules?.changes(found) ?? profileChanges(against.profile ?? found, found));
    if (out !== null) writeFileSync(out, yaml, { flag: 'wx' });
    show(io, args.is('json'), { ...found, from, rules: found.rules, yaml, ...(changes === null ? {} : { changes }) }, () => {
      if (changes !== null) return changesText(changes);
      return out === null ? yaml : `wrote ${out}: ${found.rules.length} rules from ${found.rows} rows\n`;
    });
    return changes !== null && changes.length > 0 ? 1 : 0;
  },
};

interface From {
  readonly kind: 'table' | 'file';
  readonly sampled: boolean;
  /** Of a table, what the planner expects it to have; null where it does not know. */
  readonly rowsEstimated: number | null;
}

interface Read {
  readonly found: TableProfile;
  readonly from: From;
  /** Of a table, whose types are its own. */
  readonly columns: Dataset['columns'] | null;
}

async function ofTable(args: Arguments, io: Io, rules: BrokenRules | null): Promise<Read> {
  for (const flag of ['dataset', 'types'] as const)
    if (args.text(flag) !== null)
      throw new UsageError(`--${flag} is for files`, 'Name a table as `tidegate profile CONFIG DATASET`, or a file with --input.');
  if (args.positionals[0] === undefined)
    throw new UsageError('what to profile is not said', 'Write tidegate profile CONFIG DATASET, or --input rows.ndjson.');
  const loaded = configOf(args, io);
  const { name, table, url } = tableOf(args, loaded);
  let profiler: Profiler | null = null;
  const limits = {
    rowsMax: args.is('all') ? null : (wholeNumberOf(args, 'rows', EXAMPLE) ?? ROWS),
    rate: wholeNumberOf(args, 'rate', EXAMPLE),
  };
  const { dataset, sampled, rowsEstimated } = await readTableRows(
    { name, url, table, ...limits, signal: io.stop },
    (of) => {
      profiler = new Profiler(of, true);
      rules?.begin(of);
    },
    (row) => {
      profiler?.see(row);
      rules?.see(row);
    },
  );
  const found = (profiler ?? new Profiler(dataset, true)).profile(!sampled);
  return { found, from: { kind: 'table', sampled, rowsEstimated }, columns: dataset.columns };
}

async function ofFile(args: Arguments, io: Io, rules: BrokenRules | null): Promise<Read> {
  if (args.positionals.length > 0) throw new UsageError('a file is profiled without a config', 'Leave CONFIG and DATASET out, or --input.');
  if (args.text('rate') !== null) throw new UsageError('--rate is for tables', 'Leave it out.');
  const path = args.text('input') ?? '-';
  const types = args.text('types');
  await using given = await asFile({ path, stdin: process.stdin, signal: io.stop });
  const rows = await FileRows.open(given.file, types === null ? new Map() : readTypes(jsonOf(types), types), datasetOf(args, path));
  const profiler = new Profiler(rows.dataset, false);
  rules?.begin(rows.dataset);
  const { left } = await rows.each(args.is('all') ? null : wholeNumberOf(args, 'rows', EXAMPLE), (row) => {
    profiler.see(row);
    rules?.see(row);
  });
  const found = profiler.profile(left === 0);
  return {
    found: { ...found, rules: await rows.kept(found.rules) },
    from: { kind: 'file', sampled: left > 0, rowsEstimated: null },
    columns: null,
  };
}

export function tableOf(
  args: Arguments,
  { config }: LoadedConfig,
): { readonly name: string; readonly table: string; readonly url: string } {
  const all = Object.entries(config.sources).flatMap(([name, source]) =>
    datasetsOf(name, source).map((dataset) => ({ name, source, dataset })),
  );
  const named = args.positionals[1] ?? (all.length === 1 ? all[0]?.dataset : undefined);
  const names = all.map(({ dataset }) => dataset);
  if (named === undefined) throw new UsageError('which dataset is not said', `Name one of ${names.join(', ')}.`);
  const found =
    all.find(({ dataset }) => dataset === named) ??
    Object.entries(config.sources)
      .map(([name, source]) => ({ name, source, dataset: named as DatasetName }))
      .find(({ name, source }) => source.kind === 'postgres' && mayBring(name, source, named));
  if (found === undefined) {
    const near = nearest(named, names);
    throw new UsageError(`there is no dataset ${named}`, near === null ? `Name one of ${names.join(', ')}.` : `Did you mean ${near}?`);
  }
  if (found.source.kind === 'kafka')
    throw new UsageError(`${named} comes from topics, which are no table that could be read`, 'Give a file of its rows with --input.');
  return { name: found.name, table: named.slice(found.name.length + 1), url: found.source.url.reveal() };
}

export function datasetOf(args: Arguments, path: string): DatasetName {
  const given = args.text('dataset');
  if (given === null) {
    const name = path === '-' ? '' : basename(plainName(path), extname(plainName(path))).replaceAll(/[^\p{L}\p{N}_-]+/gu, '_');
    return `file.public.${name === '' ? 'rows' : name}` as DatasetName;
  }
  if (!/^[^.\s]+\.[^.]+\.[^.]+$/.test(given)) throw new UsageError(`${given} is no name of a dataset`, 'Write source.schema.table.');
  return given as DatasetName;
}

/** Rules, which are held against the rows; or an earlier profile. */
function againstOf(args: Arguments): { readonly rules: BrokenRules | null; readonly profile: TableProfile | null } | null {
  const path = args.text('against');
  if (path === null) return null;
  const text = readText(path);
  if (extname(path).toLowerCase() === '.json') {
    const earlier = parsed(text) as Partial<TableProfile> | null;
    if (earlier === null || !Array.isArray(earlier.columns) || !Array.isArray(earlier.rules))
      throw new UsageError(`${path} is no profile`, 'Give what `tidegate profile --json` printed, or a rule file.');
    return { rules: null, profile: earlier as TableProfile };
  }
  const contract = parseContract(text, path);
  if ('problems' in contract) throw new ConfigProblems(contract.problems);
  return { rules: new BrokenRules(contract.contract), profile: null };
}

/** Null where it is no JSON. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

export function jsonOf(path: string): unknown {
  const value = parsed(readText(path));
  if (value === null) throw new UsageError(`${path} is no JSON`, 'Correct the file.');
  return value;
}

function guessOf(args: Arguments): Guess {
  const text = args.text('on-fail') ?? 'tag';
  const guess = GUESSES.find((one) => one === text);
  if (guess === undefined) throw new UsageError(`--on-fail ${text} is none of ${GUESSES.join(', ')}`, 'Write --on-fail tag.');
  return guess;
}

function headOf({ rows }: TableProfile, { kind, sampled, rowsEstimated }: From): readonly string[] {
  const of = sampled ? `a sample of ${rows} rows${rowsEstimated === null ? '' : ` of about ${rowsEstimated}`}` : `all ${rows} rows`;
  return [
    `Proposed by \`tidegate profile\` from ${of} of a ${kind}; above each rule stands what speaks for it.`,
    'Keep what you agree with. What is only guessed from rows tags them, until you write another on_fail; what is about many rows alerts.',
  ];
}

function changesText(changes: readonly ProfileChange[]): string {
  if (changes.length === 0) return 'Nothing has changed.\n';
  return changes.map(({ column, message }) => `${column === null ? '' : `${column}: `}${message}\n`).join('');
}
