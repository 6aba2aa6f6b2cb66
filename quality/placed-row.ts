/**
 * A row of a file as places in its bytes: of most rows nothing is asked but whether they pass, and tests of texts look at the bytes. A value is made where
 * a test asks for one.
 */
import type { Column, EncodedRow, EncodedType, Row, Value } from '../core/event.ts';
import { cellOf, SeenKind } from './file-columns.ts';

const TEXT: EncodedType = { format: 'binary', type: { number: null, micros: null, isText: true, form: 'text' } };
const OTHER: EncodedType = { format: 'text' };
const SMALL_T = 116;

/** Filled anew for each row. The bytes are UTF-8 throughout, and a text lies there as it is, without escapes. */
export class PlacedRow implements Row, EncodedRow {
  readonly encoding = 'postgres';
  /** Its cells are of no source's encoding: only the tests that are made for `types` may read them. */
  readonly encoded = null;
  readonly at = 0;
  bytes: Buffer = Buffer.alloc(0);
  readonly cells: Int32Array;
  readonly types: readonly EncodedType[];
  /** A `SeenKind` of each cell, 0 of a null. */
  readonly kinds: Uint8Array;
  /** Of cells that are numbers. */
  readonly numbers: Float64Array;
  readonly #columns: readonly Column[];
  readonly #areNumbers: readonly boolean[];

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
    this.#areNumbers = columns.map(({ type }) => type === 'integer' || type === 'float');
    this.types = columns.map(({ type }) => (type === 'text' ? TEXT : OTHER));
    this.cells = new Int32Array(2 * columns.length);
    this.kinds = new Uint8Array(columns.length);
    this.numbers = new Float64Array(columns.length);
  }

  /** Whether tests look at the bytes of its cells, which then have to be those of a text. */
  isText(column: number): boolean {
    return this.types[column] === TEXT;
  }

  setNull(column: number): void {
    this.kinds[column] = 0;
    this.cells[2 * column + 1] = -1;
  }

  value(at: number): Value {
    const kind = this.kinds[at] ?? 0;
    if (kind === 0) return null;
    const isNumber = kind === SeenKind.Whole || kind === SeenKind.Float;
    if (isNumber && this.#areNumbers[at] === true) return this.numbers[at] ?? null;
    const column = this.#columns[at];
    return column === undefined ? null : cellOf(this.fileValue(at), column);
  }

  /** The same as the file has it, whatever the type of its column. */
  fileValue(at: number): unknown {
    const kind = this.kinds[at] ?? 0;
    if (kind === 0) return null;
    if (kind === SeenKind.Whole || kind === SeenKind.Float) return this.numbers[at] ?? null;
    const offset = this.cells[2 * at] ?? 0;
    if (kind === SeenKind.Boolean) return ((this.bytes[offset] ?? 0) | 32) === SMALL_T;
    return this.bytes.toString('utf8', offset, offset + (this.cells[2 * at + 1] ?? 0));
  }
}
