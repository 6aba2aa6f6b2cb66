/** Rows made of cells, and the cells that a row lacks: what was not sent, or was left out for its size, stands there as UNCHANGED. */
import { CELL_NULL, CELL_UNCHANGED } from '../../core/event.ts';
import { type PgRelation, PgRow } from '../../wire/postgres/row.ts';

/** One row in bytes of its own. `undefined` is a cell that was not sent. */
export function rowOf(relation: PgRelation, cellAt: (column: number) => Buffer | null | undefined): PgRow {
  const cells = new Int32Array(2 * relation.types.length);
  const parts: Buffer[] = [];
  let at = 0;
  for (let column = 0; column < relation.types.length; column++) {
    const bytes = cellAt(column);
    cells[2 * column] = at;
    cells[2 * column + 1] = bytes === undefined ? CELL_UNCHANGED : bytes === null ? CELL_NULL : bytes.length;
    if (bytes === null || bytes === undefined) continue;
    parts.push(bytes);
    at += bytes.length;
  }
  return new PgRow(relation, Buffer.concat(parts), cells, 0);
}

/** The row of the newest known cells. */
export function laidOver(relation: PgRelation, base: PgRow, rows: readonly PgRow[]): PgRow {
  return rowOf(relation, (column) => cellOf(rows.findLast((row) => !isMissing(row, column)) ?? base, column));
}

/** As `rowOf` takes it. */
export function cellOf(row: PgRow, column: number): Buffer | null | undefined {
  const from = row.cells[row.at + 2 * column] ?? 0;
  const length = row.cells[row.at + 2 * column + 1] ?? CELL_UNCHANGED;
  if (length < 0) return length === CELL_NULL ? null : undefined;
  return row.bytes.subarray(from, from + length);
}

export const isMissing = (row: PgRow, column: number): boolean => row.cells[row.at + 2 * column + 1] === CELL_UNCHANGED;

export function isPartial(row: PgRow): boolean {
  for (let column = 0; column < row.relation.types.length; column++) if (isMissing(row, column)) return true;
  return false;
}

/** Whether nothing tells any more which row it is. */
export const isKeyMissing = (row: PgRow | null): boolean =>
  row !== null && row.relation.dataset.key.some((column) => isMissing(row, column));
