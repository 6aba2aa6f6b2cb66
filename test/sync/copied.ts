/** Rows as COPY BINARY sends them. */
import type { Checkpoint, Position, Row, Value } from '../../core/event.ts';
import type { PgRelation } from '../../wire/postgres/row.ts';
import { encoded, LANE, RELATION } from './shop.ts';

export { RELATION } from './shop.ts';

export type Values = readonly [id: number, n: number | null, note: string | null];

export const valuesOf = (row: Row | null | undefined): readonly Value[] =>
  RELATION.dataset.columns.map((_, column) => row?.value(column) ?? null);

export const place = (n: number): Checkpoint => ({ lane: LANE, position: n.toString(16).padStart(8, '0') as Position });

/** The whole of it, from the header to its end. */
export function copyOf(rows: readonly Values[], relation: PgRelation = RELATION): Buffer {
  const parts: Buffer[] = [Buffer.from('5047434f50590aff0d0a000000000000000000', 'hex')];
  for (const values of rows) {
    const row = encoded(...values);
    const count = Buffer.alloc(2);
    count.writeInt16BE(relation.types.length);
    parts.push(count);
    for (let column = 0; column < relation.types.length; column++) {
      const from = row.cells[2 * column] ?? 0;
      const length = row.cells[2 * column + 1] ?? -1;
      const head = Buffer.alloc(4);
      head.writeInt32BE(length);
      parts.push(head, row.bytes.subarray(from, from + Math.max(0, length)));
    }
  }
  parts.push(Buffer.from([0xff, 0xff]));
  return Buffer.concat(parts);
}
