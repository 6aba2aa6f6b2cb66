/**
 * A feature's view of one column's cell. In an encoded row the cell is read where it lies, as a number, a time or the bytes of a text, so
 * that no JavaScript value is made of what only ends as a float; everywhere else it is the row's value. Both ways say the same.
 */
import {
  CELL_NULL,
  CELL_UNCHANGED,
  type CellReaders,
  type ChangeEvent,
  type EncodedType,
  type Row,
  UNCHANGED,
  type Value,
} from '../core/event.ts';

/** What a cell that is there holds. */
export type Held = Exclude<Value, null | symbol>;

const NO_BYTES = new Uint8Array(0);

/** `find` points it at an event's cell; the rest speaks of the cell found last. One for each feature: it keeps what it learnt of the column. */
export class Cell {
  readonly #column: number;
  readonly #image: 'after' | 'before';
  #row: Row | null = null;
  /** Of a row that is not encoded. */
  #value: Value = null;
  #types: readonly EncodedType[] | null = null;
  /** Of the column in rows of `#types`. */
  #columnReaders: CellReaders | null = null;
  #readers: CellReaders | null = null;
  /** Where the cell lies, where it is encoded. */
  bytes: Uint8Array = NO_BYTES;
  offset = 0;
  length = 0;

  constructor(column: number, image: 'after' | 'before') {
    this.#column = column;
    this.#image = image;
  }

  /** Whether there is a value. Cells of `after` that the source did not send are those of `before`, where it sent that. */
  find({ after, before }: ChangeEvent): boolean {
    if (this.#image === 'before') return this.#point(before) === Found.Value;
    const found = this.#point(after);
    return found === Found.Value || (found === Found.Unsent && this.#point(before) === Found.Value);
  }

  /** Throws for bytes that are no value of their type. */
  value(): Held {
    const value = this.#row === null ? this.#value : this.#row.value(this.#column);
    return value === null || value === UNCHANGED ? NaN : value; // Neither is there, as `find` said.
  }

  /** NaN where it can't be read as a number. */
  number(): number {
    const read = this.#readers?.number ?? null;
    const number = read === null ? NaN : read(this.bytes, this.offset, this.length);
    return Number.isNaN(number) ? numberOf(this.value()) : number;
  }

  /** Microseconds since 2000-01-01 (since midnight for a time of day); NaN where only the value can tell. */
  micros(): number {
    const read = this.#readers?.micros ?? null;
    return read === null ? NaN : read(this.bytes, this.offset, this.length);
  }

  /** Whether `bytes[offset … offset + length)` is the value in UTF-8. */
  get isText(): boolean {
    return this.#readers?.isText === true;
  }

  /** Null for what has no text: bytes, and numbers that are none. */
  text(): string | null {
    const value = this.value();
    if (typeof value === 'string') return value;
    return typeof value === 'object' || Number.isNaN(value) ? null : String(value);
  }

  #point(row: Row | null): Found {
    if (row === null) return Found.Nothing;
    const { encoded } = row;
    if (encoded === null) {
      this.#row = null;
      this.#readers = null;
      this.#value = row.value(this.#column);
      return this.#value === null ? Found.Nothing : this.#value === UNCHANGED ? Found.Unsent : Found.Value;
    }
    const place = encoded.at + 2 * this.#column;
    const length = encoded.cells[place + 1] ?? CELL_NULL;
    if (length < 0) return length === CELL_UNCHANGED ? Found.Unsent : Found.Nothing;
    if (encoded.types !== this.#types) this.#learn(encoded.types);
    this.#row = row;
    this.#readers = this.#columnReaders;
    this.bytes = encoded.bytes;
    this.offset = encoded.cells[place] ?? 0;
    this.length = length;
    return Found.Value;
  }

  #learn(types: readonly EncodedType[]): void {
    const type = types[this.#column];
    this.#types = types;
    this.#columnReaders = type?.format === 'binary' ? (type.type ?? null) : null;
  }
}

const Found = { Nothing: 0, Unsent: 1, Value: 2 } as const;
type Found = (typeof Found)[keyof typeof Found];

/** NaN for what is no number. */
export function numberOf(value: Held): number {
  // Number('') is 0: an empty text is no number.
  return typeof value === 'number' ? value : typeof value === 'object' || value === '' ? NaN : Number(value);
}
