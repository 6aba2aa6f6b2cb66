/** Ranks: all values, to be put in order when they are asked for. Gives the median and quantiles, exactly, eight bytes a number. */
import { compareCells, kindOf, type Present, Unusable } from './cell.ts';
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

/** Numbers side by side in one array, values of another kind in a second: all of one kind, so that they have an order. */
class Pile {
  #numbers = new Float64Array(16);
  #count = 0;
  readonly #others: Present[] = [];

  get size(): number {
    return this.#count + this.#others.length;
  }

  push(cell: Present): void {
    if (typeof cell !== 'number') this.#others.push(typeof cell === 'boolean' ? Number(cell) : cell);
    else {
      if (this.#count === this.#numbers.length) this.#reserve(2 * this.#count);
      this.#numbers[this.#count++] = cell;
    }
  }

  append(other: Pile): void {
    this.#reserve(this.#count + other.#count);
    this.#numbers.set(other.#numbers.subarray(0, other.#count), this.#count);
    this.#count += other.#count;
    for (const cell of other.#others) this.#others.push(cell);
  }

  each(tell: (cell: Present) => void): void {
    for (let at = 0; at < this.#count; at++) tell(this.#numbers[at] ?? 0);
    for (const cell of this.#others) tell(cell);
  }

  sorted(): ArrayLike<Present> {
    const numbers = this.#numbers.slice(0, this.#count).sort();
    if (this.#others.length === 0) return numbers;
    const all: Present[] = [...numbers, ...this.#others];
    const kinds = new Set(all.map(kindOf));
    if (kinds.size > 1) throw new Unusable(`values of different kinds (${[...kinds].join(', ')}) have no order`);
    return all.sort(compareCells);
  }

  encode(): Encoded {
    return Array.from(this.sorted(), encodeCell);
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
