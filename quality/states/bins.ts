/** Bins: how many values lie between given edges, and how many below and above them. As numpy has it, the last bin takes its upper edge. */
import type { Present } from './cell.ts';
import { type Encoded, listOf, type State, type StateKind, wholeOf } from './state.ts';
import { doubleOf } from './sums.ts';

export class Bins implements State {
  readonly #edges: readonly number[];
  readonly #counts: Float64Array;

  constructor(edges: readonly number[]) {
    this.#edges = edges;
    this.#counts = new Float64Array(edges.length + 1);
  }

  add(cell: Present): void {
    this.#put(doubleOf(cell), 1);
  }

  retract(cell: Present): void {
    this.#put(doubleOf(cell), -1);
  }

  get isEmpty(): boolean {
    return this.#counts.every((count) => count === 0);
  }

  get below(): number {
    return this.#counts[0] ?? 0;
  }

  get above(): number {
    return this.#counts.at(-1) ?? 0;
  }

  get inside(): number[] {
    return [...this.#counts.subarray(1, -1)];
  }

  merge(from: Bins): this {
    for (const [index, count] of from.#counts.entries()) this.#counts[index] = (this.#counts[index] ?? 0) + count;
    return this;
  }

  encode(): Encoded {
    return [...this.#counts];
  }

  static decode(edges: readonly number[], encoded: Encoded): Bins {
    const state = new Bins(edges);
    const counts = listOf(encoded).map((count) => wholeOf(count));
    if (counts.length !== state.#counts.length) throw new Error('an encoded state has as many counts as bins, and two');
    state.#counts.set(counts);
    return state;
  }

  /** A NaN lies in no bin. */
  #put(value: number, times: number): void {
    if (Number.isNaN(value)) return;
    const place = this.#placeOf(value);
    this.#counts[place] = (this.#counts[place] ?? 0) + times;
  }

  /** 0 is below, edges.length above. */
  #placeOf(value: number): number {
    const edges = this.#edges;
    let [from, to] = [0, edges.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (value < (edges[middle] ?? Infinity)) to = middle;
      else from = middle + 1;
    }
    return from === edges.length && value === edges.at(-1) ? from - 1 : from;
  }
}

export function bins(edges: readonly number[]): StateKind<Bins> {
  return {
    name: 'bins',
    retracts: true,
    size: 'fixed',
    create: () => new Bins(edges),
    merge: (into, from) => into.merge(from),
    retract: (state, cell) => state.retract(cell),
    decode: (encoded) => Bins.decode(edges, encoded),
  };
}
