/**
 * A grid: how many values lie in each of its cells, of which so many are kept at most. Where more have values, each two neighbours become one (see quantile-sketch.ts for
 * whose idea that is). Cells of one width are the same in every grid, so that grids are put together, and held against each other, without any error: what is said
 * of whole cells is exact.
 */
import type { Interval } from './sketch.ts';
import { type Encoded, listOf, wholeOf } from './state.ts';

/** Of cells so wide there are four at most. */
const WIDTH_MAX = 62;
/** The first cells for numbers are 2^-16 of their value wide. */
export const NUMBERS_WIDTH = 4;

type PlaceOf = (value: number, width: number) => number;

export class Grid {
  readonly #placeOf: PlaceOf;
  readonly #cellsMax: number;
  #counts = new Map<number, number>();
  /** As a power of two. */
  width: number;
  count = 0;

  constructor(width: number, placeOf: PlaceOf, cellsMax: number) {
    this.width = width;
    this.#placeOf = placeOf;
    this.#cellsMax = cellsMax;
  }

  get size(): number {
    return this.#counts.size;
  }

  entries(): Iterable<[number, number]> {
    return this.#counts;
  }

  /** In the order of their values. */
  sorted(): [number, number][] {
    return [...this.#counts].sort(([a], [b]) => a - b);
  }

  put(value: number, times: number): void {
    this.#put(this.#placeOf(value, this.width), times);
    this.#narrow();
  }

  merge(from: Grid): void {
    this.widenTo(from.width);
    for (const [place, count] of from.#counts) {
      let own = place;
      for (let width = from.width; width < this.width; width++) own = Math.floor(own / 2);
      this.#put(own, count);
    }
    this.#narrow();
  }

  widenTo(width: number): void {
    while (this.width < width) this.#widen();
  }

  /** The cells in which these ranks lie; undefined for those beyond all cells. */
  placesOf(ranks: readonly number[]): (number | undefined)[] {
    const cells = this.sorted();
    return ranks.map((rank) => {
      let seen = 0;
      for (const [place, count] of cells) {
        seen += count;
        if (seen > rank) return place;
      }
      return undefined;
    });
  }

  encode(): Encoded {
    return [this.width, ...this.sorted().flat()];
  }

  restore(encoded: Encoded | undefined): void {
    const [width, ...cells] = listOf(encoded).map((number) => wholeOf(number));
    if (width === undefined || width < this.width || width > WIDTH_MAX || cells.length % 2 !== 0 || cells.length > 2 * this.#cellsMax)
      throw new Error('a sketch of quantiles has no such grid');
    this.width = width;
    for (let at = 0; at < cells.length; at += 2) this.#put(cells[at] ?? 0, cells[at + 1] ?? 0);
  }

  #put(place: number, times: number): void {
    this.count += times;
    const count = (this.#counts.get(place) ?? 0) + times;
    if (count === 0) this.#counts.delete(place);
    else this.#counts.set(place, count);
  }

  #narrow(): void {
    while (this.#counts.size > this.#cellsMax) this.#widen();
  }

  #widen(): void {
    const before = this.#counts;
    this.#counts = new Map();
    this.count = 0;
    this.width++;
    for (const [place, count] of before) this.#put(Math.floor(place / 2), count);
  }
}

const bits = new DataView(new ArrayBuffer(8));

/**
 * The first word of a double, cut. As a whole number it grows with the value; below zero it is turned around, so that all places are in the order of the values.
 * Zeros lie in the first cell above zero.
 */
export function numberPlace(value: number, width: number): number {
  bits.setFloat64(0, value + 0); // -0 is 0.
  const word = bits.getUint32(0);
  const ordered = word < 0x80000000 ? word : 0x7fffffff - word;
  return Math.floor(ordered / 2 ** width);
}

export function numberCell(place: number, width: number): Interval<number> {
  const [from, to] = [place * 2 ** width, (place + 1) * 2 ** width];
  const [low, high] = from >= 0 ? [edge(from), edge(to)] : [-edge(-from), -edge(-to)];
  return interval(low, high);
}

/** A cell without its fractions. Above zero it does not have its upper edge, below zero not its lower one. */
export function wholeNumbers({ low, high }: Interval<number>): Interval<number> {
  return low >= 0 ? interval(Math.ceil(low), Math.ceil(high) - 1) : interval(Math.floor(low) + 1, Math.floor(high));
}

function interval(low: number, high: number): Interval<number> {
  const middle = low + (high - low) / 2;
  return { low, high, estimate: Number.isFinite(middle) ? middle : Number.isFinite(low) ? low : high };
}

/** The least double whose first word this is. */
function edge(word: number): number {
  if (word >= 0x7ff00000) return Infinity;
  bits.setUint32(0, word);
  bits.setUint32(4, 0);
  return bits.getFloat64(0);
}
