/** A part of a file, judged by the checks of single rows of a rule file: in this thread, or in a worker that is given the same. */
import type { Column, Dataset } from '../../core/event.ts';
import { ColumnSeen } from '../../quality/file-columns.ts';
import { RuleRun, type RunRules } from '../../quality/file-run.ts';
import type { PassingRows } from '../../quality/passing-rows.ts';
import { PlacedRow } from '../../quality/placed-row.ts';
import type { FileCell } from '../../quality/states/cell.ts';
import { cellMaker } from './cells.ts';
import { exactColumns, type FileShape } from './file-shape.ts';
import { type PlacedRows, readRows, type RowFile } from './read-file.ts';

export interface PartTask {
  readonly shape: FileShape;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly nowMs: number;
  /** What the types of the columns are said to be. */
  readonly typeOf: (column: string) => string | null;
  /** The kinds of the values are watched: the shape is a guess of which the reader does not tell. */
  readonly watches: boolean;
}

export interface PartJudged {
  readonly run: RuleRun;
  readonly rows: number;
  /** The columns in the order in which the rows bring them. */
  readonly names: readonly string[];
  /** Of each column of the shape, what was seen of it. */
  readonly seen: readonly ColumnSeen[];
  /** Where the first row lies that is in another part. */
  readonly end: number | null;
}

export async function judgePart(
  contract: RunRules,
  file: RowFile,
  { shape, parameters, nowMs, typeOf, watches }: PartTask,
): Promise<PartJudged> {
  const { columns, unseen, csv } = shape;
  const overAll = contract.fileChecks.length === 0 ? null : (await import('../../quality/file-check.ts')).fileCheck;
  const run = new RuleRun(contract, datasetOf(contract, columns), unseen, parameters, nowMs, overAll);
  const makers = run.needsCells ? columns.map(({ name }) => cellMaker(typeOf(name))) : [];
  const cells: FileCell[] = columns.map(() => null);
  const seen = watches ? columns.map(() => new ColumnSeen()) : [];
  const names = columns.map(({ name }) => name);
  const rows = run.passing(new PlacedRow(columns), makers);
  const placed = watches ? watched(rows, seen) : rows;
  const passing = file.part?.shares === undefined || watches ? null : run.passingColumns();
  const exact = exactColumns(columns);
  const read = await readRows({ ...file, csv, placed, passing, exact }, names, (values, index) => {
    for (let at = 0; at < seen.length; at++) seen[at]?.see(values[at]);
    for (let at = 0; at < makers.length; at++) cells[at] = makers[at]?.(values[at]) ?? null;
    run.row(values, cells, index);
  });
  return { run, rows: read.rows, names: read.columns, seen, end: read.end };
}

/** The same rows, whose kinds are seen. */
function watched(passing: PassingRows, seen: readonly ColumnSeen[]): PlacedRows {
  const { row, columns } = passing;
  return {
    row,
    columns,
    take: (index) => {
      if (!passing.take(index)) return false;
      for (let at = 0; at < seen.length; at++) seen[at]?.add(row.kinds[at] ?? 0);
      return true;
    },
  };
}

/** What a file is judged to be before its parts are added. */
export function nothingJudged(contract: RunRules, { shape, parameters, nowMs }: PartTask): PartJudged {
  const run = new RuleRun(contract, datasetOf(contract, shape.columns), shape.unseen, parameters, nowMs, null);
  return { run, rows: 0, names: [], seen: [], end: 0 };
}

function datasetOf({ dataset }: RunRules, columns: readonly Column[]): Dataset {
  return { name: dataset, version: 1, columns, key: [] };
}
