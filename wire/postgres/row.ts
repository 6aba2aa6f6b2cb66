/** A row as pgoutput or COPY BINARY encoded it: offsets into a shared buffer, decoded cell by cell when somebody reads. */
import { CELL_NULL, CELL_UNCHANGED, type Dataset, type EncodedRow, type Row, UNCHANGED, type Value } from '../../core/event.ts';
import type { PgType } from './types.ts';

/** How the cells of one column are written on the wire, and how they are read. */
export interface PgColumnType {
  /** Of the source: 16384 and above differ between servers. */
  readonly oid: number;
  readonly typmod: number;
  readonly format: 'binary' | 'text';
  /** Throws a RangeError or TypeError for bytes that are no value of the type. */
  readonly decode: (bytes: Buffer, offset: number, length: number) => Value;
  /** What the type is at the source, for targets that look for the same. */
  readonly type?: PgType | undefined;
  /** The value that the column has in rows older than itself, as text: the source keeps it once, and sent no events for it. */
  readonly filled?: string;
}

/** A dataset with the wire types of its columns, in the same order. One object per Dataset. */
export interface PgRelation {
  readonly dataset: Dataset;
  readonly types: readonly PgColumnType[];
  /** Names what the table is stored in: another one where the source wrote all of its rows anew. Left out where that is not known. */
  readonly storage?: string;
}

export class PgRow implements Row, EncodedRow {
  readonly encoding = 'postgres';
  readonly relation: PgRelation;
  // What follows changes in one kind of row only, which others look at and do not keep: see CopiedRows.
  bytes: Buffer;
  cells: Int32Array;
  at: number;
  /** Where the cells stand in `bytes` as COPY BINARY writes them, one behind the other with their lengths; both 0 where they don't. */
  framedFrom: number;
  framedTo: number;

  constructor(relation: PgRelation, bytes: Buffer, cells: Int32Array, at: number, framedFrom = 0, framedTo = 0) {
    this.relation = relation;
    this.bytes = bytes;
    this.cells = cells;
    this.at = at;
    this.framedFrom = framedFrom;
    this.framedTo = framedTo;
  }

  get encoded(): EncodedRow {
    return this;
  }

  get types(): readonly PgColumnType[] {
    return this.relation.types;
  }

  value(column: number): Value {
    const cell = this.at + 2 * column;
    const length = this.cells[cell + 1];
    if (length === undefined || length === CELL_NULL) return null;
    if (length === CELL_UNCHANGED) return UNCHANGED;
    const type = this.relation.types[column];
    return type === undefined ? null : type.decode(this.bytes, this.cells[cell] ?? 0, length);
  }
}
