/** The row groups of a Parquet file one after the other. Only for threads with bounds: a damaged file may make its reader do anything. */
import type { FilePart } from './csv-records.ts';
import { cellAt, type ColumnCells, countOf, noCells } from '../../quality/column-cells.ts';
import type { PassingColumns } from '../../quality/passing-columns.ts';
import { openParquet, type ParquetFile } from './parquet-file.ts';
import type { RowFile, RowsRead, TakeRow } from './read-file.ts';

export interface GroupRead {
  readonly rows: number;
  /** Column by column; null where the file does not have it. */
  readonly values: readonly (readonly unknown[] | null)[];
}

/** `working` is told of every column that was read. */
export async function* groupsOf(
  file: ParquetFile,
  asked: readonly string[] | 'all',
  working: () => void,
  [from, to]: readonly [number, number] = [0, file.groups.length],
): AsyncGenerator<GroupRead> {
  const columns = asked === 'all' ? file.columns : asked.map((name) => file.columns.find((column) => column.name === name) ?? null);
  for (const [at, group] of file.groups.entries()) {
    if (at < from || at >= to) continue;
    const values: (readonly unknown[] | null)[] = [];
    for (const column of columns) {
      values.push(column === null ? null : await file.read(column, group, at));
      working();
    }
    yield { rows: Number(group.num_rows), values };
  }
}

/** Reads some of the row groups in the thread that asks. */
export async function readShare(
  file: RowFile,
  { from, shares = 1 }: FilePart,
  asked: readonly string[] | 'all',
  take: TakeRow,
): Promise<RowsRead> {
  await using parquet = await openParquet(file.path);
  const places = [from, from + 1].map((share) => shareBegin(parquet.groups, share / shares));
  const own: unknown[] = [];
  const names = parquet.columns.map(({ name }) => name);
  if (file.passing !== undefined && file.passing !== null && asked !== 'all') {
    const rows = await markGroups(parquet, file.passing, asked, take, file.working ?? (() => {}), [places[0] ?? 0, places[1] ?? 0]);
    return { columns: names, rows, end: from + 1 };
  }
  let read = 0;
  for await (const { rows, values } of groupsOf(parquet, asked, file.working ?? (() => {}), [places[0] ?? 0, places[1] ?? 0]))
    for (let row = 0; row < rows; row++) {
      for (let at = 0; at < values.length; at++) own[at] = values[at]?.[row] ?? null;
      take(own, read++);
    }
  return { columns: names, rows: read, end: from + 1 };
}

/** The row group with which a share begins, where shares have about as many rows each. */
function shareBegin(groups: readonly { readonly num_rows: bigint }[], share: number): number {
  const rows = groups.map(({ num_rows: own }) => Number(own));
  const all = rows.reduce((sum, own) => sum + own, 0);
  let before = 0;
  for (const [at, own] of rows.entries()) {
    if (before + own / 2 >= all * share) return at;
    before += own;
  }
  return groups.length;
}

/** The rows of some row groups, judged column by column: `take` gets those that do not pass, and checks that are not judged so get the others. */
async function markGroups(
  file: ParquetFile,
  passing: PassingColumns,
  asked: readonly string[],
  take: TakeRow,
  working: () => void,
  [from, to]: readonly [number, number],
): Promise<number> {
  const values: unknown[] = asked.map(() => null);
  const { rest } = passing;
  const unmarked = (rest?.columns ?? []).filter((column) => !passing.columns.includes(column));
  let before = 0;
  for (const [at, group] of file.groups.entries()) {
    if (at < from || at >= to) continue;
    const rows = Number(group.num_rows);
    const bad = new Uint8Array(rows);
    const nulls = new Map<number, number>();
    const cursors: Cursor[] = [];
    for (const column of [...passing.columns, ...unmarked]) {
      const own = file.columns.find(({ name }) => name === asked[column]);
      const pages = own === undefined ? [noCells(rows)] : await file.cells(own, group, at);
      let row = 0;
      for (const cells of pages) {
        nulls.set(column, (nulls.get(column) ?? 0) + passing.mark(column, cells, bad, row));
        row += countOf(cells);
      }
      cursors.push(new Cursor(column, pages));
      working();
    }
    // Without such checks only the rows that do not pass are looked at.
    const next = (row: number) => (rest === null ? bad.indexOf(1, row) : row < rows ? row : -1);
    let failed = 0;
    for (let row = next(0); row >= 0; row = next(row + 1)) {
      const isBad = bad[row] === 1;
      if (isBad) failed++;
      for (const cursor of cursors) {
        const value = cursor.at(row);
        values[cursor.column] = value;
        // Whoever takes the row counts what it lacks.
        if (isBad && value === null) nulls.set(cursor.column, (nulls.get(cursor.column) ?? 0) - 1);
      }
      if (isBad) take(values, before + row);
      else rest?.take(values, before + row);
    }
    passing.passed(rows - failed, (column) => nulls.get(column) ?? 0);
    before += rows;
  }
  return before;
}

/** Finds the cells of rows, each further on than the one before. */
class Cursor {
  readonly column: number;
  readonly #pages: readonly ColumnCells[];
  #page = 0;
  /** The row with which the page begins. */
  #first = 0;

  constructor(column: number, pages: readonly ColumnCells[]) {
    this.column = column;
    this.#pages = pages;
  }

  at(row: number): unknown {
    for (let page = this.#pages[this.#page]; page !== undefined; page = this.#pages[++this.#page]) {
      const count = countOf(page);
      if (row < this.#first + count) return cellAt(page, row - this.#first);
      this.#first += count;
    }
    return null;
  }
}
