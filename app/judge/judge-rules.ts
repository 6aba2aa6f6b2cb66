/** A file judged by a rule file. Rules are compiled for the types of columns, which only all rows tell: they are found out first, or guessed and watched. */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Column, ColumnType, Dataset } from '../../core/event.ts';
import { type Contract, parseContract } from '../../quality/contract.ts';
import { ColumnSeen, fileColumn } from '../../quality/file-columns.ts';
import { type RuleResult, RuleRun } from '../../quality/file-run.ts';
import type { FileCell } from '../../quality/states/cell.ts';
import { ConfigProblems } from '../service.ts';
import { type ExitCode, type Io, problemsText, table } from '../cli/output.ts';
import { cellMaker, type Types } from './cells.ts';
import { countTables, type JudgeInput, readText, tableOrder } from './input.ts';
import { resultJson } from './json.ts';
import { type CsvShape, csvShape, typesOfShape } from './csv.ts';
import { isCsv, readRows, type RowFile, typesOfFile } from './read-file.ts';

export async function judgeRules(path: string, input: JudgeInput, json: boolean, io: Io): Promise<ExitCode> {
  const parsed = parseContract(readText(path), path, 'file');
  if ('problems' in parsed) throw new ConfigProblems(parsed.problems);
  if (parsed.contract.warnings.length > 0) io.stderr(problemsText(parsed.contract.warnings));
  await using file = await asFile(input);
  const { rows, rules } = await judgeFile(parsed.contract, file.input);
  const success = rules.every((rule) => rule.success !== false);
  io.stdout(json ? `${resultJson({ success, rows, window: null, rules })}\n` : forPeople(rules));
  if (rules.some(({ error }) => error !== null)) return 2;
  return success ? 0 : 1;
}

/** Standard input can be read once alone, so it is put into a file first. */
async function asFile(input: JudgeInput): Promise<AsyncDisposable & { readonly input: JudgeInput }> {
  if (input.path !== '-') return { input, [Symbol.asyncDispose]: () => Promise.resolve() };
  await using unfinished = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-judge-'));
  unfinished.defer(() => rm(folder, { recursive: true }));
  const path = join(folder, 'rows.ndjson');
  await pipeline(input.stdin, createWriteStream(path), { signal: input.signal });
  const kept = unfinished.move();
  return { input: { ...input, path }, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

interface Judged {
  readonly rows: number;
  readonly rules: readonly RuleResult[];
}

async function judgeFile(contract: Contract, input: JudgeInput): Promise<Judged> {
  const declared = declaredTypes(contract, input.types, await typesOfFile(input));
  const others = await countTables(input);
  const judge = (shape: Shape, seen: readonly ColumnSeen[]) => judgeAs(shape, contract, declared, others, input, seen);
  if (isCsv(input)) return (await judge(await shapeOfCsv(declared, input), [])).judged;
  if (declared.isWhole) return (await judge(shapeOf(declared, declared.names, new Map()), [])).judged;
  // The first rows mostly have the columns and types of all rows. They are watched, and where a later row is different all of it is done again.
  const guess = await seenShape(declared, { ...input, rowsEnough: GUESS_ROWS });
  const seen = guess.columns.map(() => new ColumnSeen());
  const { judged, names } = await judge(guess, seen);
  const found = shapeOf(
    declared,
    tableOrder(input.types, names),
    new Map(guess.columns.map(({ name }, at) => [name, seen[at]?.type ?? null])),
  );
  return isDeepStrictEqual(found, guess) ? judged : (await judge(await seenShape(declared, input), [])).judged;
}

const GUESS_ROWS = 1000;

/** The columns in table order with their types, those of which nothing tells a type, and of CSV what its fields are. */
interface Shape {
  readonly columns: readonly Column[];
  readonly unseen: readonly string[];
  readonly csv: CsvShape | null;
}

async function judgeAs(
  { columns, unseen, csv }: Shape,
  contract: Contract,
  { typeOf }: Declared,
  others: ReadonlyMap<string, number>,
  input: JudgeInput,
  seen: readonly ColumnSeen[],
): Promise<{ readonly judged: Judged; readonly names: readonly string[] }> {
  const dataset: Dataset = { name: contract.dataset, version: 1, columns, key: [] };
  const run = new RuleRun(contract, dataset, unseen, input.parameters, input.nowMs);
  const makers = run.needsCells ? columns.map(({ name }) => cellMaker(typeOf(name))) : [];
  const cells: FileCell[] = columns.map(() => null);
  const names = columns.map(({ name }) => name);
  const read = await readRows({ ...input, csv }, names, (values, index) => {
    for (let at = 0; at < seen.length; at++) seen[at]?.see(values[at]);
    for (let at = 0; at < makers.length; at++) cells[at] = makers[at]?.(values[at]) ?? null;
    run.row(values, cells, index);
  });
  const { rows } = read;
  return { judged: { rows, rules: run.end({ columns: names, rows, rowsOf: (name) => others.get(name) ?? null }) }, names: read.columns };
}

interface Declared {
  /** Columns that are known before a row is read, in table order; the whole list where the file itself tells. */
  readonly names: readonly string[];
  readonly isWhole: boolean;
  /** null: nothing says it. */
  readonly typeOf: (column: string) => string | null;
}

/** `--types` says it, else the rule file's schema section, else the file. */
function declaredTypes({ schema }: Contract, types: Types, own: Types): Declared {
  const expected = new Map(schema?.columns.map(({ name, type }) => [name, type]));
  return {
    names: tableOrder(types, [...own.keys()]),
    isWhole: own.size > 0,
    typeOf: (column) => types.get(column) ?? expected.get(column) ?? own.get(column) ?? null,
  };
}

function shapeOf({ typeOf }: Declared, names: readonly string[], types: ReadonlyMap<string, ColumnType | null>): Shape {
  const columns = names.map((name) => fileColumn(name, typeOf(name), types.get(name) ?? null));
  return { columns, unseen: names.filter((name) => typeOf(name) === null && (types.get(name) ?? null) === null), csv: null };
}

async function shapeOfCsv(declared: Declared, input: JudgeInput): Promise<Shape> {
  const csv = await csvShape(input);
  return { ...shapeOf(declared, tableOrder(input.types, csv.header), typesOfShape(csv)), csv };
}

async function seenShape(declared: Declared, input: JudgeInput & RowFile): Promise<Shape> {
  const seen: ColumnSeen[] = [];
  const { columns } = await readRows(input, 'all', (values) => {
    for (let at = 0; at < values.length; at++) (seen[at] ??= new ColumnSeen()).see(values[at]);
  });
  return shapeOf(declared, tableOrder(input.types, columns), new Map(columns.map((name, at) => [name, seen[at]?.type ?? null])));
}

function forPeople(rules: readonly RuleResult[]): string {
  const lines = rules.map(({ rule, level, success, error, observed, element_count: elements, unexpected_count: unexpected }) => [
    error !== null ? 'unusable' : success === null ? 'undecided' : success ? 'passed' : 'FAILED',
    rule,
    level,
    error !== null
      ? error.message
      : level === 'row'
        ? `${unexpected} of ${elements} unexpected`
        : resultJson(observed).replaceAll(/\s+/g, ' '),
  ]);
  const failed = rules.filter(({ success }) => success === false).length;
  return `${table(['RESULT', 'RULE', 'LEVEL', 'OBSERVED'], lines)}${rules.length - failed} passed or undecided, ${failed} did not.\n`;
}
