/** A file judged by a rule file. Rules are compiled for the types of columns, which only all rows tell: they are found out first, or guessed and watched. */
import { isDeepStrictEqual } from 'node:util';
import type { Dataset } from '../../core/event.ts';
import { type Contract, parseContract } from '../../quality/contract.ts';
import { ColumnSeen } from '../../quality/file-columns.ts';
import { type RuleResult, RuleRun } from '../../quality/file-run.ts';
import type { FileCell } from '../../quality/states/cell.ts';
import { ConfigProblems } from '../service.ts';
import { type ExitCode, type Io, problemsText, table } from '../cli/output.ts';
import { cellMaker } from './cells.ts';
import { type Declared, declaredTypes, type FileShape, seenShape, shapeOf, wholeShape } from './file-shape.ts';
import { asFile, countTables, type JudgeInput, readText } from './input.ts';
import { resultJson } from './json.ts';
import { isCsv, readRows } from './read-file.ts';

export async function judgeRules(path: string, input: JudgeInput, json: boolean, io: Io): Promise<ExitCode> {
  const parsed = parseContract(readText(path), path, 'file');
  if ('problems' in parsed) throw new ConfigProblems(parsed.problems);
  if (parsed.contract.warnings.length > 0) io.stderr(problemsText(parsed.contract.warnings));
  await using given = await asFile(input);
  const { rows, rules } = await judgeFile(parsed.contract, given.file);
  const success = rules.every((rule) => rule.success !== false);
  io.stdout(json ? `${resultJson({ success, rows, window: null, rules })}\n` : forPeople(rules));
  if (rules.some(({ error }) => error !== null)) return 2;
  return success ? 0 : 1;
}

interface Judged {
  readonly rows: number;
  readonly rules: readonly RuleResult[];
}

async function judgeFile(contract: Contract, input: JudgeInput): Promise<Judged> {
  const expected = new Map(contract.schema?.columns.map(({ name, type }) => [name, type]));
  const declared = await declaredTypes(input.types, expected, input);
  const others = await countTables(input);
  const judge = (shape: FileShape, seen: readonly ColumnSeen[]) => judgeAs(shape, contract, declared, others, input, seen);
  const judgeWhole = async () => (await judge(await wholeShape(declared, input), [])).judged;
  if (isCsv(input) || declared.own !== null) return judgeWhole();
  // The first rows mostly have the columns and types of all rows. They are watched, and where a later row is different all of it is done again.
  const guess = await seenShape(declared, { ...input, rowsEnough: GUESS_ROWS });
  const seen = guess.columns.map(() => new ColumnSeen());
  const { judged, names } = await judge(guess, seen);
  const found = shapeOf(declared, names, new Map(guess.columns.map(({ name }, at) => [name, seen[at]?.type ?? null])));
  return isDeepStrictEqual(found, guess) ? judged : judgeWhole();
}

const GUESS_ROWS = 1000;

async function judgeAs(
  { columns, unseen, csv }: FileShape,
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
