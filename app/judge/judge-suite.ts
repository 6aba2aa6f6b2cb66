/** A file judged by a suite of Great Expectations. */
import { kindOf } from '../../quality/schema/drift.ts';
import { readSuite, type Suite, suiteDocument, SuiteRun, type SuiteResult } from '../../quality/gx/suite.ts';
import type { FileCell } from '../../quality/states/cell.ts';
import { UsageError } from '../cli/arguments.ts';
import { type ExitCode, type Io, table } from '../cli/output.ts';
import { cellMaker } from './cells.ts';
import { csvShape } from './csv.ts';
import { isCsv } from './file-kind.ts';
import { exactColumns, tableOrder, withTexts } from './file-shape.ts';
import { countTables, type JudgeInput, readText } from './input.ts';
import { resultJson } from './json.ts';
import { readRows, typesOfFile } from './read-file.ts';

export async function judgeSuite(path: string, input: JudgeInput, json: boolean, io: Io): Promise<ExitCode> {
  const suite = readSuite(readText(path));
  if ('problem' in suite) throw new UsageError(`${path}: ${suite.problem}`, suite.fix);
  const results = await judgeFile(suite, input);
  io.stdout(json ? `${resultJson(suiteDocument(suite, results))}\n` : forPeople(results));
  if (results.some(({ error }) => error !== null)) return 2;
  return results.every(({ success }) => success) ? 0 : 1;
}

async function judgeFile(suite: Suite, input: JudgeInput): Promise<readonly SuiteResult[]> {
  const run = new SuiteRun(suite.items, input.parameters, input.nowMs);
  const { columns } = run.slots;
  const own = await typesOfFile(input);
  const makers = columns.map((column) => cellMaker(input.types.get(column) ?? own.get(column) ?? null));
  const cells: FileCell[] = columns.map(() => null);
  const others = await countTables(input);
  const csv = isCsv(input) ? withTexts(await csvShape(input), (column) => input.types.get(column) ?? null) : null;
  const exact = exactColumns([...input.types].map(([name, type]) => ({ name, type: kindOf(type ?? '') })));
  const read = await readRows({ ...input, csv, exact }, columns, (values, index) => {
    for (let at = 0; at < makers.length; at++) cells[at] = makers[at]?.(values[at]) ?? null;
    run.row(cells, index);
  });
  return run.end({ columns: tableOrder(input.types, read.columns), rows: read.rows, rowsOf: (name) => others.get(name) ?? null });
}

function forPeople(results: readonly SuiteResult[]): string {
  const rows = results.map(({ item, success, result, error }) => [
    error !== null ? 'unusable' : success ? 'passed' : 'FAILED',
    item.type,
    columnsOf(item.kwargs),
    error ?? saidOf(result),
  ]);
  const failed = results.filter(({ success }) => !success).length;
  return `${table(['RESULT', 'EXPECTATION', 'COLUMN', 'OBSERVED'], rows)}${results.length - failed} passed, ${failed} did not.\n`;
}

function saidOf(result: Readonly<Record<string, unknown>>): string {
  const { element_count: elements, unexpected_count: unexpected, observed_value: observed } = result;
  if (typeof unexpected === 'number') return `${unexpected} of ${String(elements)} unexpected`;
  return observed === undefined || observed === null ? '' : resultJson(observed).replaceAll(/\s+/g, ' ');
}

function columnsOf(kwargs: Readonly<Record<string, unknown>>): string {
  return ['column', 'column_A', 'column_B', 'column_list']
    .flatMap((key) => kwargs[key] ?? [])
    .filter((column) => typeof column === 'string')
    .join(', ');
}
