/**
 * Rows as a target of PostgreSQL's takes them: cells in its binary forms, one behind the other in blocks of memory that many rows share, written as a record is
 * read. Cells are written in the order of the columns; a row that turns out not to fit is given up, and nothing is left of it.
 */
import { isUtf8 } from 'node:buffer';
import { CELL_NULL, CELL_UNCHANGED } from '../../core/event.ts';
import { type PgRelation, PgRow } from '../../wire/postgres/row.ts';

/** Of bytes, and of places of cells: what is begun is kept in memory by the last row in it. */
const BLOCK_BYTES = 1 << 18;
const PLACES = 1 << 13;
/** Up to so many bytes a loop beats a call into the runtime. */
const SMALL_CELL = 64;
const TWO_32 = 0x1_0000_0000;

export class CellWriter {
  #bytes = Buffer.alloc(0);
  #at = 0;
  #places = new Int32Array(0);
  /** The next cell's place. */
  #place = 0;
  #rowFrom = 0;
  #firstPlace = 0;
  #isWhole = true;

  begin(columns: number): void {
    if (this.#place + 2 * columns > this.#places.length) {
      this.#places = new Int32Array(Math.max(PLACES, 2 * columns));
      this.#place = 0;
    }
    this.#firstPlace = this.#place;
    this.#rowFrom = this.#at;
    this.#isWhole = true;
  }

  end(relation: PgRelation): PgRow {
    const row = new PgRow(relation, this.#bytes, this.#places, this.#firstPlace);
    if (this.#isWhole) {
      row.framedFrom = this.#rowFrom;
      row.framedTo = this.#at;
    }
    return row;
  }

  giveUp(): void {
    this.#at = this.#rowFrom;
    this.#place = this.#firstPlace;
  }

  null(): void {
    this.#room(4);
    this.#head(CELL_NULL);
  }

  unchanged(): void {
    this.#room(4);
    this.#head(CELL_UNCHANGED);
    this.#isWhole = false;
  }

  boolean(value: boolean): void {
    this.#room(5);
    this.#head(1);
    this.#bytes[this.#at++] = value ? 1 : 0;
  }

  /** Within 16 bits. */
  int2(value: number): void {
    this.#room(6);
    this.#head(2);
    this.#word(value);
  }

  /** Within 32 bits. */
  int4(value: number): void {
    this.#room(8);
    this.#head(4);
    this.#int32(value);
  }

  /** A safe integer. */
  int8(value: number): void {
    this.#room(12);
    this.#head(8);
    this.#int32(Math.floor(value / TWO_32));
    this.#int32(value | 0);
  }

  bigint(value: bigint): void {
    this.#room(12);
    this.#head(8);
    this.#at = this.#bytes.writeBigInt64BE(value, this.#at);
  }

  float8(value: number): void {
    this.#room(12);
    this.#head(8);
    this.#at = this.#bytes.writeDoubleBE(value, this.#at);
  }

  text(value: string): void {
    this.#room(4 + 3 * value.length);
    const head = this.#at;
    this.#head(0);
    const length = this.#bytes.write(value, this.#at);
    this.#at = head;
    this.#place -= 2;
    this.#head(length);
    this.#at += length;
  }

  /** Bytes that are a text: false where they are no UTF-8, and nothing is written. */
  utf8(bytes: Buffer, from: number, length: number): boolean {
    if (length > SMALL_CELL) {
      if (!isUtf8(bytes.subarray(from, from + length))) return false;
      this.copy(bytes, from, length);
      return true;
    }
    this.#room(4 + length);
    const to = this.#bytes;
    let at = this.#at + 4;
    let all = 0;
    for (let i = from; i < from + length; i++) {
      const byte = bytes[i] as number;
      all |= byte;
      to[at++] = byte;
    }
    if (all >= 0x80 && !isUtf8(bytes.subarray(from, from + length))) return false;
    this.#head(length);
    this.#at = at;
    return true;
  }

  copy(bytes: Buffer, from: number, length: number): void {
    this.#room(4 + length);
    this.#head(length);
    bytes.copy(this.#bytes, this.#at, from, from + length);
    this.#at += length;
  }

  /**
   * A numeric of `unscaled` by 10^-`scale`, as the server sends it (see types-numeric.ts). False, and nothing is written, where its digits do not fit into a double.
   */
  numeric(unscaled: number, scale: number): boolean {
    const behind = (scale + 3) >> 2;
    const size = Math.abs(unscaled) * (POWERS[4 * behind - scale] as number);
    if (size > Number.MAX_SAFE_INTEGER) return false;
    // At most four groups of a safe integer, from the last one on.
    let rest = size;
    let groups = 0;
    let trailing = 0;
    while (rest > 0) {
      const group = rest % 10_000;
      rest = (rest - group) / 10_000;
      if (groups === trailing && group === 0) trailing++;
      GROUPS[groups++] = group;
    }
    const count = groups - trailing;
    this.#room(12 + 2 * count);
    this.#head(8 + 2 * count);
    this.#word(count);
    this.#word(count === 0 ? 0 : groups - behind - 1);
    this.#word(unscaled < 0 ? 0x4000 : 0);
    this.#word(scale);
    for (let i = groups - 1; i >= trailing; i--) this.#word(GROUPS[i] as number);
    return true;
  }

  #head(length: number): void {
    this.#int32(length);
    this.#places[this.#place++] = this.#at;
    this.#places[this.#place++] = length;
  }

  #int32(value: number): void {
    const bytes = this.#bytes;
    bytes[this.#at++] = value >> 24;
    bytes[this.#at++] = value >> 16;
    bytes[this.#at++] = value >> 8;
    bytes[this.#at++] = value;
  }

  #word(value: number): void {
    this.#bytes[this.#at++] = value >> 8;
    this.#bytes[this.#at++] = value;
  }

  /** A row lies in one block: what there is of it moves along. */
  #room(size: number): void {
    if (this.#at + size <= this.#bytes.length) return;
    const begun = this.#at - this.#rowFrom;
    const block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, 2 * (begun + size)));
    this.#bytes.copy(block, 0, this.#rowFrom, this.#at);
    for (let place = this.#firstPlace; place < this.#place; place += 2) (this.#places[place] as number) -= this.#rowFrom;
    this.#bytes = block;
    this.#at = begun;
    this.#rowFrom = 0;
  }
}

const POWERS = [1, 10, 100, 1000];
const GROUPS = new Uint16Array(8);
