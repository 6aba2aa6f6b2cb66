/**
 * Rows of which only some columns are read: a column that was added has values that no event told of, and the other cells of its rows are where they should
 * be. Such a row has the cells of its key and of those columns; the others are UNCHANGED, so that it is written as an update of a row that is there, and as
 * nothing where there is none.
 */
import { CELL_UNCHANGED } from '../../core/event.ts';
import type { NumberedColumn } from '../../core/shape.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { type PgRelation, PgRow } from '../../wire/postgres/row.ts';

/** A table as a chunk sees it that reads some of its columns. */
export interface ColumnSight {
  /** Its key and these columns, as if it had no others. */
  readonly relation: PgRelation;
  /** Where each of them is among all of its columns. */
  readonly places: readonly number[];
  /** The same of those that are no part of its key: what such a row brings. */
  readonly brought: readonly number[];
}

/** Null where none of the columns is there any more. They may have other names by now. */
export function columnSight(relation: PgRelation, columns: readonly NumberedColumn[]): ColumnSight | null {
  const { dataset, types, ...rest } = relation;
  const wanted = new Set(columns.map(({ id }) => id));
  const brought = dataset.columns.flatMap(({ id }, i) => (id !== undefined && wanted.has(id) && !dataset.key.includes(i) ? [i] : []));
  if (brought.length === 0) return null;
  const places = dataset.columns.flatMap((_, i) => (dataset.key.includes(i) || brought.includes(i) ? [i] : []));
  return {
    places,
    brought,
    relation: {
      ...rest,
      dataset: {
        ...dataset,
        columns: places.flatMap((place) => dataset.columns[place] ?? []),
        key: dataset.key.map((column) => places.indexOf(column)),
      },
      types: places.flatMap((place) => types[place] ?? []),
    },
  };
}

/** A row that was read so as one of the table, in the same bytes. */
export function widened(relation: PgRelation, { places }: ColumnSight, row: PgRow): PgRow {
  const cells = new Int32Array(2 * relation.types.length);
  for (let cell = 1; cell < cells.length; cell += 2) cells[cell] = CELL_UNCHANGED;
  for (const [i, place] of places.entries()) {
    cells[2 * place] = row.cells[row.at + 2 * i] ?? 0;
    cells[2 * place + 1] = row.cells[row.at + 2 * i + 1] ?? CELL_UNCHANGED;
  }
  return new PgRow(relation, row.bytes, cells, 0);
}

/**
 * Whether what gave these columns their values may have given others some: they were altered by the same transaction, or later. `using` changes values
 * where it leaves the type as it is, and nothing else tells of it.
 */
export async function mayBeAlone(connection: PgConnection, oid: number, columns: readonly NumberedColumn[]): Promise<boolean> {
  const { rows } = await connection.query(
    `select from pg_catalog.pg_attribute other
      where other.attrelid = $1::pg_catalog.oid and other.attnum > 0 and not other.attisdropped and other.attnum <> all ($2::pg_catalog.int2[])
        and pg_catalog.age(other.xmin) <= (select pg_catalog.max(pg_catalog.age(a.xmin)) from pg_catalog.pg_attribute a
          where a.attrelid = $1::pg_catalog.oid and a.attnum = any ($2::pg_catalog.int2[]) and not a.attisdropped)
      limit 1`,
    [String(oid), `{${columns.map(({ id }) => id).join(',')}}`],
  );
  return rows.length === 0;
}
