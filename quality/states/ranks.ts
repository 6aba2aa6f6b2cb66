/** Ranks: all values, to be put in order when they are asked for. Gives the median and quantiles, exactly, eight bytes a number. */
import { Decimal } from '../../core/expression/values.ts';
import { compareCells, kindOf, type Present, Unusable } from './cell.ts';
import { grown } from './number-counts.ts';
import { decodeCell, type Encoded, encodeCell, fieldsOf, listOf, type State, type StateKind } from './state.ts';

export class Ranks implements State {
  readonly #added = new Pile();
  readonly #taken = new Pile();

  add(cell: Present): void {
    this.#added.push(cell);
  }

  retract(cell: Present): void {
    this.#taken.push(cell);
  }

  /** Adds a decimal, or takes it back. */
  putDigits(digits: number, scale: number, times: 1 | -1): true {
    (times === 1 ? this.#added : this.#taken).pushDigits(digits, scale);
    return true;
  }

  get isEmpty(): boolean {
    return this.#added.size === this.#taken.size;
  }

  get count(): number {
    return this.#added.size - this.#taken.size;
  }

  /** How many values are in memory for it. */
  get held(): number {
    return this.#added.size + this.#taken.size;
  }

  each(tell: (cell: Present, times: number) => void): void {
    this.#added.each((cell) => tell(cell, 1));
    this.#taken.each((cell) => tell(cell, -1));
  }

  /** All values in order, without those that were taken back. */
  sorted(): ArrayLike<Present> {
    const added = this.#added.sorted();
    if (this.#taken.size === 0) return added;
    const taken = this.#taken.sorted();
    const left: Present[] = [];
    for (let i = 0, j = 0; i < added.length; i++) {
      const value = added[i] ?? 0;
      const gone = taken[j];
      if (gone !== undefined && compareCells(value, gone) === 0) j++;
      else left.push(value);
    }
    return left;
  }

  merge(from: Ranks): this {
    this.#added.append(from.#added);
    this.#taken.append(from.#taken);
    return this;
  }

  encode(): Encoded {
    // What was taken back may be here before what it takes back (another lane has it): both are kept then.
    if (this.#taken.size === 0 || this.#taken.size > this.#added.size) return { added: this.#added.encode(), taken: this.#taken.encode() };
    const left = Array.from(this.sorted(), encodeCell);
    if (left.length === this.count) return { added: left, taken: [] };
    return { added: this.#added.encode(), taken: this.#taken.encode() };
  }

  static decode(encoded: Encoded): Ranks {
    const state = new Ranks();
    const { added, taken } = fieldsOf(encoded);
    for (const cell of listOf(added)) state.add(decodeCell(cell));
    for (const cell of listOf(taken)) state.retract(decodeCell(cell));
    return state;
  }
}

const NO_DIGITS = new Float64Array(0);
const NO_SCALES = new Int16Array(0);

/** Numbers side by side in one array, decimals in a second, values of another kind in a third: all of one kind, so that they have an order. */
class Pile {
  #numbers = new Float64Array(16);
  #count = 0;
  #digits = NO_DIGITS;
  #scales = NO_SCALES;
  #decimals = 0;
  readonly #others: Present[] = [];

  get size(): number {
    return this.#count + this.#decimals + this.#others.length;
  }

  push(cell: Present): void {
    if (cell instanceof Decimal && typeof cell.digits === 'number') this.pushDigits(cell.digits, cell.scale);
    else if (typeof cell !== 'number') this.#others.push(typeof cell === 'boolean' ? Number(cell) : cell);
    else {
      if (this.#count === this.#numbers.length) this.#reserve(2 * this.#count);
      this.#numbers[this.#count++] = cell;
    }
  }

  pushDigits(digits: number, scale: number): void {
    if (this.#decimals === this.#digits.length) this.#reserveDecimals(Math.max(16, 2 * this.#decimals));
    this.#digits[this.#decimals] = digits;
    this.#scales[this.#decimals++] = scale;
  }

  append(other: Pile): void {
    this.#reserveDecimals(this.#decimals + other.#decimals);
    this.#digits.set(other.#digits.subarray(0, other.#decimals), this.#decimals);
    this.#scales.set(other.#scales.subarray(0, other.#decimals), this.#decimals);
    this.#decimals += other.#decimals;
    this.#reserve(this.#count + other.#count);
    this.#numbers.set(other.#numbers.subarray(0, other.#count), this.#count);
    this.#count += other.#count;
    for (const cell of other.#others) this.#others.push(cell);
  }

  each(tell: (cell: Present) => void): void {
    for (let at = 0; at < this.#count; at++) tell(this.#numbers[at] ?? 0);
    for (const cell of this.#madeDecimals()) tell(cell);
    for (const cell of this.#others) tell(cell);
  }

  #madeDecimals(): Decimal[] {
    return Array.from({ length: this.#decimals }, (_, at) => new Decimal(this.#digits[at] ?? 0, this.#scales[at] ?? 0));
  }

  sorted(): ArrayLike<Present> {
    const numbers = this.#numbers.slice(0, this.#count).sort();
    if (this.#others.length + this.#decimals === 0) return numbers;
    const all: Present[] = [...numbers, ...this.#madeDecimals(), ...this.#others];
    const kinds = new Set(all.map(kindOf));
    if (kinds.size > 1) throw new Unusable(`values of different kinds (${[...kinds].join(', ')}) have no order`);
    return all.sort(compareCells);
  }

  encode(): Encoded {
    return Array.from(this.sorted(), encodeCell);
  }

  #reserveDecimals(size: number): void {
    if (size <= this.#digits.length) return;
    const room = Math.max(size, 2 * this.#digits.length);
    this.#digits = grown(this.#digits, new Float64Array(room));
    this.#scales = grown(this.#scales, new Int16Array(room));
  }

  #reserve(size: number): void {
    if (size <= this.#numbers.length) return;
    const larger = new Float64Array(Math.max(size, 2 * this.#numbers.length));
    larger.set(this.#numbers.subarray(0, this.#count));
    this.#numbers = larger;
  }
}

export const ranks: StateKind<Ranks> = {
  name: 'ranks',
  retracts: true,
  size: 'all values',
  create: () => new Ranks(),
  merge: (into, from) => into.merge(from),
  retract: (state, cell) => state.retract(cell),
  decode: (encoded) => Ranks.decode(encoded),
};
