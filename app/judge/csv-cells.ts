/**
 * The cells of most records of a CSV file, put in their places with one look at each byte. Whatever is unusual (a quote or a line break within a field, a number
 * of many digits, a field of another kind, too few of them) is for who cuts records in all their forms.
 */
import { SeenKind } from '../../quality/file-columns.ts';
import { DIGITS_MAX, type Kind, POWERS } from './csv-records.ts';
import type { PlacedRows } from './read-file.ts';

const [QUOTE, NEWLINE, RETURN, ZERO, MINUS, DOT] = [34, 10, 13, 48, 45, 46] as const;
const NONE = -1;
/** A field that may hold anything. */
const UNREAD = 0;
/** A field that was null so far. */
const EMPTY = 64;

const KINDS: Readonly<Record<Kind, number>> = {
  integer: SeenKind.Whole,
  float: SeenKind.Float,
  text: SeenKind.Text,
  boolean: SeenKind.Boolean,
};

export class CsvCells {
  readonly #rows: PlacedRows;
  readonly #separator: number;
  /** Field by field: the column that it is, and what it has to be. */
  readonly #columns: Int32Array;
  readonly #kinds: Uint8Array;

  /** `places`: the field of each column, -1 where there is none. */
  constructor(rows: PlacedRows, places: readonly number[], kinds: readonly (Kind | null)[], separator: number) {
    this.#rows = rows;
    this.#separator = separator;
    this.#columns = new Int32Array(kinds.length).fill(NONE);
    this.#kinds = new Uint8Array(kinds.length);
    for (const column of rows.columns) {
      const field = places[column] ?? NONE;
      rows.row.setNull(column);
      if (field < 0) continue;
      const kind = kinds[field] ?? null;
      this.#columns[field] = column;
      this.#kinds[field] = kind === null ? EMPTY : KINDS[kind];
    }
  }

  /** A line break has to be at that place or behind it: no look goes further. The place behind the record that begins there, if it is a usual one, and passes; else -1. */
  take(bytes: Buffer, from: number, index: number): number {
    const end = this.#read(bytes, from);
    return end >= 0 && this.#rows.take(index) ? end : NONE;
  }

  #read(bytes: Buffer, from: number): number {
    const { row } = this.#rows;
    const { cells, kinds: given, numbers } = row;
    const columns = this.#columns;
    const kinds = this.#kinds;
    const separator = this.#separator;
    const last = columns.length - 1;
    row.bytes = bytes;
    let at = from;
    for (let field = 0; field <= last; field++) {
      const kind = kinds[field] ?? UNREAD;
      const column = columns[field] ?? NONE;
      let start = at;
      let length = NONE;
      if (bytes[at] === QUOTE) {
        start = ++at;
        while (bytes[at] !== QUOTE) if (bytes[at++] === NEWLINE) return NONE;
        length = at++ - start;
        if (kind !== SeenKind.Text && kind !== UNREAD) return NONE;
      } else if (kind === SeenKind.Whole || kind === SeenKind.Float) {
        const isNegative = bytes[at] === MINUS;
        if (isNegative) at++;
        const first = at;
        let point = NONE;
        let value = 0;
        for (; ; at++) {
          const digit = (bytes[at] ?? 0) - ZERO;
          if (digit >= 0 && digit <= 9) value = value * 10 + digit;
          else if (bytes[at] === DOT && point < 0 && kind === SeenKind.Float) point = at;
          else break;
        }
        length = at - start;
        const whole = (point < 0 ? at : point) - first;
        const fraction = point < 0 ? 0 : at - point - 1;
        if (length === 0) length = NONE;
        else if (whole < 1 || whole + fraction > DIGITS_MAX || (whole > 1 && bytes[first] === ZERO) || point === at - 1) return NONE;
        else {
          if (fraction > 0) value /= POWERS[fraction] ?? 1;
          numbers[column] = isNegative ? -value : value;
        }
      } else {
        for (; ; at++) {
          const byte = bytes[at];
          if (byte === separator || byte === NEWLINE) break;
        }
        length = at - start;
        if (field === last && length > 0 && bytes[at - 1] === RETURN) length--;
        if (length === 0) length = NONE;
        else if (kind === EMPTY || kind === SeenKind.Boolean) return NONE;
      }
      if (column >= 0) {
        given[column] = length < 0 ? 0 : kind;
        cells[2 * column] = start;
        cells[2 * column + 1] = length;
      }
      if (field < last) {
        if (bytes[at++] !== separator) return NONE;
      } else {
        if (bytes[at] === RETURN) at++;
        if (bytes[at++] !== NEWLINE) return NONE;
      }
    }
    return at;
  }
}
