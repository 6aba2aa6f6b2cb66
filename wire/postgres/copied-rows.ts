/**
 * Rows as COPY BINARY sent them, in the bytes that it sent: none is an object until somebody asks for it. So a row that is judged where it lies and goes
 * on to another COPY costs its bytes and its cells' places, and the collector of garbage has nothing to look at.
 */
import { type PgRelation, PgRow } from './row.ts';

/** Rows one behind the other in one buffer. */
export interface CopiedSegment {
  readonly bytes: Buffer;
  /** As `EncodedRow` has them, a cell's place also where it is null: the first row's begin at `at`, and each row has `cellsPerRow` of them. */
  readonly cells: Int32Array;
  readonly at: number;
  readonly rows: number;
}

/** Before a tuple's first cell stand the number of its cells, two bytes, and the cell's length, four. */
const COUNT_BYTES = 2;
const LENGTH_BYTES = 4;

export class CopiedRows {
  readonly relation: PgRelation;
  /** Those of the relation, and perhaps others behind them. */
  readonly cellsPerRow: number;
  /** Whether every row has all of its cells. */
  readonly isWhole: boolean;
  readonly segments: readonly CopiedSegment[];
  readonly length: number;
  readonly #cursor: PgRow;
  /** The segment of the last look, and the index of its first row. */
  #segment = 0;
  #first = 0;

  constructor(relation: PgRelation, cellsPerRow: number, isWhole: boolean, segments: readonly CopiedSegment[]) {
    this.relation = relation;
    this.cellsPerRow = cellsPerRow;
    this.isWhole = isWhole;
    this.segments = segments;
    this.length = segments.reduce((sum, { rows }) => sum + rows, 0);
    this.#cursor = new PgRow(relation, Buffer.alloc(0), new Int32Array(0), 0);
  }

  /** The row at `index`, for as long as nobody looks at another: an object that is used again. */
  look(index: number): PgRow {
    return this.#moveTo(this.#cursor, index);
  }

  /** Rows as objects, in the same bytes. */
  *[Symbol.iterator](): Generator<PgRow> {
    for (let index = 0; index < this.length; index++)
      yield this.#moveTo(new PgRow(this.relation, this.#cursor.bytes, this.#cursor.cells, 0), index);
  }

  /** The same rows in bytes of their own: they stay when the memory of these is used again. */
  copy(): CopiedRows {
    const segments = this.segments.map((segment): CopiedSegment => {
      const from = this.tupleFrom(segment, 0);
      const cells = segment.cells.slice(segment.at, segment.at + segment.rows * 2 * this.cellsPerRow);
      for (let cell = 0; cell < cells.length; cell += 2) cells[cell] = (cells[cell] as number) - from;
      return {
        bytes: Buffer.from(segment.bytes.subarray(from, this.tupleTo(segment, segment.rows - 1))),
        cells,
        at: 0,
        rows: segment.rows,
      };
    });
    return new CopiedRows(this.relation, this.cellsPerRow, this.isWhole, segments);
  }

  /** Rows `[from, to)`, in the same bytes. */
  slice(from: number, to: number): CopiedRows {
    const segments: CopiedSegment[] = [];
    let first = 0;
    for (const { bytes, cells, at, rows } of this.segments) {
      const begin = Math.max(0, from - first);
      const end = Math.min(rows, to - first);
      if (begin < end) segments.push({ bytes, cells, at: at + begin * 2 * this.cellsPerRow, rows: end - begin });
      first += rows;
    }
    return new CopiedRows(this.relation, this.cellsPerRow, this.isWhole, segments);
  }

  /** Where the tuple of the segment's row `index` begins in its bytes: at the number of its cells. */
  tupleFrom({ cells, at }: CopiedSegment, index: number): number {
    return (cells[at + index * 2 * this.cellsPerRow] as number) - LENGTH_BYTES - COUNT_BYTES;
  }

  tupleTo(segment: CopiedSegment, index: number): number {
    return this.#cellTo(segment, index, this.cellsPerRow - 1);
  }

  #cellTo({ cells, at }: CopiedSegment, index: number, column: number): number {
    const cell = at + 2 * (index * this.cellsPerRow + column);
    return (cells[cell] as number) + Math.max(0, cells[cell + 1] as number);
  }

  #moveTo(row: PgRow, index: number): PgRow {
    if (index < this.#first) {
      this.#segment = 0;
      this.#first = 0;
    }
    let segment = this.segments[this.#segment];
    while (segment !== undefined && index - this.#first >= segment.rows) {
      this.#first += segment.rows;
      segment = this.segments[++this.#segment];
    }
    if (segment === undefined || index < 0) throw new RangeError(`there is no row ${index} among ${this.length}`);
    const within = index - this.#first;
    row.bytes = segment.bytes;
    row.cells = segment.cells;
    row.at = segment.at + within * 2 * this.cellsPerRow;
    row.framedFrom = this.isWhole ? this.tupleFrom(segment, within) + COUNT_BYTES : 0;
    row.framedTo = this.isWhole ? this.#cellTo(segment, within, this.relation.types.length - 1) : 0;
    return row;
  }
}
