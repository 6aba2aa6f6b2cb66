/** A file judged by a rule file. It is read twice: rules are compiled for the types of columns, which only all rows tell. */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Column, Dataset } from '../../core/event.ts';
import { type Contract, parseContract } from '../../quality/contract.ts';
import { ColumnSeen, fileColumn } from '../../quality/file-columns.ts';
import { type RuleResult, RuleRun } from '../../quality/file-run.ts';
import type { FileCell } from '../../quality/states/cell.ts';
import { ConfigProblems } from '../service.ts';
import { type ExitCode, type Io, problemsText, table } from '../cli/output.ts';
import { cellMaker, type Types } from './cells.ts';
import { countTables, type JudgeInput, readText, tableOrder } from './input.ts';
import { resultJson } from './json.ts';
import { readRows, typesOfFile } from './read-file.ts';

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

async function judgeFile(contract: Contract, input: JudgeInput): Promise<{ readonly rows: number; readonly rules: readonly RuleResult[] }> {
  const declared = declaredTypes(contract, input.types, await typesOfFile(input));
  const { columns, unseen } = await columnsOf(declared, input);
  const dataset: Dataset = { name: contract.dataset, version: 1, columns, key: [] };
  const run = new RuleRun(contract, dataset, unseen, input.parameters, input.nowMs);
  const makers = columns.map(({ name }) => cellMaker(declared.typeOf(name)));
  const cells: FileCell[] = columns.map(() => null);
  const others = await countTables(input);
  const names = columns.map(({ name }) => name);
  const { rows } = await readRows(input, names, (values, index) => {
    for (let at = 0; at < makers.length; at++) cells[at] = makers[at]?.(values[at]) ?? null;
    run.row(values, cells, index);
  });
  return { rows, rules: run.end({ columns: names, rows, rowsOf: (name) => others.get(name) ?? null }) };
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

/** The columns in table order with their types, and those of which nothing tells a type. */
async function columnsOf(
  { names: known, isWhole, typeOf }: Declared,
  input: JudgeInput,
): Promise<{ readonly columns: readonly Column[]; readonly unseen: readonly string[] }> {
  const seen = new Map<string, ColumnSeen>();
  // What the file itself says of its columns needs no reading of its rows.
  const names = isWhole ? known : tableOrder(input.types, await seeValues(input, seen));
  const columns = names.map((name) => fileColumn(name, typeOf(name), seen.get(name)?.type ?? null));
  return { columns, unseen: names.filter((name) => typeOf(name) === null && (seen.get(name)?.type ?? null) === null) };
}

async function seeValues(input: JudgeInput, seen: Map<string, ColumnSeen>): Promise<readonly string[]> {
  const each: ColumnSeen[] = [];
  const { columns } = await readRows(input, 'all', (values) => {
    for (let at = 0; at < values.length; at++) (each[at] ??= new ColumnSeen()).see(values[at]);
  });
  for (const [at, name] of columns.entries()) seen.set(name, each[at] ?? new ColumnSeen());
  return columns;
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
