/** ValueCounts: how often each value was there, exactly. Gives distinct values, the most common ones, and duplicates. */
import { compareAny, keyOf, type Present } from './cell.ts';
import { decodeCell, type Encoded, encodeCell, listOf, type State, type StateKind, wholeOf } from './state.ts';

export interface Counted {
  readonly value: Present;
  readonly count: number;
}

export class ValueCounts implements State {
  /** Numbers, texts and booleans are their own keys; what is not stands beside its count. */
  readonly #counts = new Map<unknown, number>();
  readonly #values = new Map<unknown, Present>();
  #total = 0;

  add(cell: Present): void {
    this.put(cell, 1);
  }

  retract(cell: Present): void {
    this.put(cell, -1);
  }

  get isEmpty(): boolean {
    return this.#counts.size === 0;
  }

  get distinct(): number {
    return this.#counts.size;
  }

  get held(): number {
    return this.#counts.size;
  }

  each(tell: (cell: Present, times: number) => void): void {
    for (const [key, count] of this.#counts) tell(this.#values.get(key) ?? (key as Present), count);
  }

  get total(): number {
    return this.#total;
  }

  has(cell: Present): boolean {
    return this.#counts.has(keyOf(cell));
  }

  countOf(cell: Present): number {
    return this.#counts.get(keyOf(cell)) ?? 0;
  }

  /** In the order of the values. */
  sorted(): Counted[] {
    return this.entries().sort((a, b) => compareAny(a.value, b.value));
  }

  entries(): Counted[] {
    return [...this.#counts].map(([key, count]) => ({ value: this.#values.get(key) ?? (key as Present), count }));
  }

  /** The values that are there most often: all of them where several are. */
  modes(): Present[] {
    let most = 0;
    for (const count of this.#counts.values()) if (count > most) most = count;
    return this.sorted()
      .filter(({ count }) => count === most)
      .map(({ value }) => value);
  }

  merge(from: ValueCounts): this {
    for (const { value, count } of from.entries()) this.put(value, count);
    return this;
  }

  encode(): Encoded {
    return this.sorted().map(({ value, count }) => [encodeCell(value), count]);
  }

  static decode(encoded: Encoded): ValueCounts {
    const state = new ValueCounts();
    for (const entry of listOf(encoded)) {
      const [value, count] = listOf(entry);
      state.put(decodeCell(value), wholeOf(count));
    }
    return state;
  }

  put(cell: Present, times: number): void {
    const key = keyOf(cell);
    const count = (this.#counts.get(key) ?? 0) + times;
    this.#total += times;
    if (count !== 0) {
      this.#counts.set(key, count);
      if (key !== cell) this.#values.set(key, cell);
      return;
    }
    this.#counts.delete(key);
    this.#values.delete(key);
  }
}

export const valueCounts: StateKind<ValueCounts> = {
  name: 'value counts',
  retracts: true,
  size: 'distinct values',
  create: () => new ValueCounts(),
  merge: (into, from) => into.merge(from),
  retract: (state, cell) => state.retract(cell),
  decode: (encoded) => ValueCounts.decode(encoded),
};
