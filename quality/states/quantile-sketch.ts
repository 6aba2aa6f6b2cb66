/**
 * Where the values of a window lie in their order, by how many lie in each of at most 2,048 cells of a grid: about as wide as a share of the value for numbers,
 * all of one width for moments. Where more cells than that have values, each two neighbours become one.
 *
 * Masson, Rim, Lee: DDSketch (2019), whose cells bound the relative error of a quantile; Epicoco, Melle, Cafaro, Pulimeno, Aloisio: UDDSketch (2020), which
 * puts all cells together two by two where they are too many, so that the error stays the same for all quantiles. Cells here are cut from the bits of a double
 * (exponent and the first bits of the mantissa), so that their edges are exact and no logarithm is taken. A value is always in the same cell of a width: what
 * was put in can be taken back, and neither the order of the values nor how they were put together makes a difference.
 */
import { Moment, momentAt, type Present, Unusable } from './cell.ts';
import type { Interval, Sketch, SketchKind } from './sketch.ts';
import { type Encoded, fieldsOf, listOf, wholeOf } from './state.ts';
import { doubleOf } from './sums.ts';

export const CELLS_MAX = 2048;
const CELL_BYTES = 40;
/** Cells of the first grid are 2^-16 of their value wide, or 2^10 microseconds. */
const FIRST = { numbers: 4, moments: 10 } as const;
/** Of cells so wide there are four at most. */
const WIDTH_MAX = 62;

export class QuantileSketch implements Sketch {
  readonly #numbers = new Grid(FIRST.numbers, numberPlace);
  readonly #moments = new Grid(FIRST.moments, momentPlace);
  /** They come last in the order, as where doubles are sorted. */
  #nans = 0;
  /** Numbers that are not whole: where there are none, cells are those of whole numbers. */
  #fractions = 0;

  put(cell: Present, times: number): void {
    if (cell instanceof Moment) this.#moments.put(Number(cell.micros), times);
    else {
      const value = doubleOf(cell);
      if (!Number.isInteger(value)) this.#fractions += times;
      if (Number.isNaN(value)) this.#nans += times;
      else this.#numbers.put(value, times);
    }
  }

  get bytes(): number {
    return CELL_BYTES * (this.#numbers.size + this.#moments.size) + 200;
  }

  get count(): number {
    return this.#numbers.count + this.#moments.count + this.#nans;
  }

  /** Of a whole window: where the values of these ranks lie, counted from 0. Null for a rank that there is none of. */
  at(ranks: readonly number[]): (Interval | null)[] {
    const ofMoments = this.#moments.count > 0;
    if (ofMoments && (this.#numbers.count > 0 || this.#nans > 0))
      throw new Unusable('values of different kinds (moment, number) have no order');
    const places = (ofMoments ? this.#moments : this.#numbers).placesOf(ranks);
    return ranks.map((rank, at) => {
      if (rank < 0 || rank >= this.count) return null;
      const place = places[at];
      if (place === undefined) return { low: NaN, high: NaN, estimate: NaN };
      return ofMoments ? momentCell(place, this.#moments.width) : this.#cell(place);
    });
  }

  /**
   * How many values are surely, and how many may be, where `isWithin` is false. What it is true of has no gap, and `center` lies in it, or is -Infinity
   * where nothing lies below it. Of numbers alone.
   */
  outside(isWithin: (value: number) => boolean, center: number): Interval<number> {
    let [low, high, estimate] = [this.#nans, this.#nans, this.#nans];
    for (const [place, count] of this.#numbers.entries()) {
      const { low: least, high: most, estimate: middle } = this.#cell(place);
      if (!isWithin(middle)) estimate += count;
      const [hasLeast, hasMost] = [isWithin(least), isWithin(most)];
      if (hasLeast && hasMost) continue;
      high += count;
      // Both ends are out on one side: so is all between them.
      if (!hasLeast && !hasMost && least > center === most > center) low += count;
    }
    return { low, high, estimate };
  }

  #cell(place: number): Interval<number> {
    const cell = numberCell(place, this.#numbers.width);
    return this.#fractions === 0 ? wholeNumbers(cell) : cell;
  }

  merge(from: QuantileSketch): this {
    this.#fractions += from.#fractions;
    this.#numbers.merge(from.#numbers);
    this.#moments.merge(from.#moments);
    this.#nans += from.#nans;
    return this;
  }

  encode(): Encoded {
    return { numbers: this.#numbers.encode(), moments: this.#moments.encode(), nans: this.#nans, fractions: this.#fractions };
  }

  static decode(encoded: Encoded): QuantileSketch {
    const { numbers, moments, nans, fractions } = fieldsOf(encoded);
    const sketch = new QuantileSketch();
    sketch.#numbers.restore(numbers);
    sketch.#moments.restore(moments);
    sketch.#nans = wholeOf(nans);
    sketch.#fractions = wholeOf(fractions);
    return sketch;
  }
}

type PlaceOf = (value: number, width: number) => number;

class Grid {
  readonly #placeOf: PlaceOf;
  #counts = new Map<number, number>();
  /** As a power of two. */
  width: number;
  count = 0;

  constructor(width: number, placeOf: PlaceOf) {
    this.width = width;
    this.#placeOf = placeOf;
  }

  get size(): number {
    return this.#counts.size;
  }

  entries(): Iterable<[number, number]> {
    return this.#counts;
  }

  put(value: number, times: number): void {
    this.#put(this.#placeOf(value, this.width), times);
    while (this.#counts.size > CELLS_MAX) this.#widen();
  }

  merge(from: Grid): void {
    while (this.width < from.width) this.#widen();
    for (const [place, count] of from.#counts) {
      let own = place;
      for (let width = from.width; width < this.width; width++) own = Math.floor(own / 2);
      this.#put(own, count);
    }
    while (this.#counts.size > CELLS_MAX) this.#widen();
  }

  /** The cells in which these ranks lie; undefined for those beyond all cells. */
  placesOf(ranks: readonly number[]): (number | undefined)[] {
    const cells = [...this.#counts].sort(([a], [b]) => a - b);
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
    return [this.width, ...[...this.#counts].sort(([a], [b]) => a - b).flat()];
  }

  restore(encoded: Encoded | undefined): void {
    const [width, ...cells] = listOf(encoded).map((number) => wholeOf(number));
    if (width === undefined || width < this.width || width > WIDTH_MAX || cells.length % 2 !== 0 || cells.length > 2 * CELLS_MAX)
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
function numberPlace(value: number, width: number): number {
  bits.setFloat64(0, value + 0); // -0 is 0.
  const word = bits.getUint32(0);
  const ordered = word < 0x80000000 ? word : 0x7fffffff - word;
  return Math.floor(ordered / 2 ** width);
}

function numberCell(place: number, width: number): Interval<number> {
  const [from, to] = [place * 2 ** width, (place + 1) * 2 ** width];
  const [low, high] = from >= 0 ? [edge(from), edge(to)] : [-edge(-from), -edge(-to)];
  return interval(low, high);
}

/** A cell without its fractions. Above zero it does not have its upper edge, below zero not its lower one. */
function wholeNumbers({ low, high }: Interval<number>): Interval<number> {
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

function momentPlace(micros: number, width: number): number {
  return Math.floor(micros / 2 ** width);
}

function momentCell(place: number, width: number): Interval {
  const [low, high] = [place * 2 ** width, (place + 1) * 2 ** width];
  const at = (micros: number) => momentAt(BigInt(Math.round(micros)));
  return { low: at(low), high: at(high), estimate: at((low + high) / 2) };
}

export const quantileSketch: SketchKind<QuantileSketch> = {
  id: 'quantiles',
  create: () => new QuantileSketch(),
  merge: (into, from) => into.merge(from),
  decode: (encoded) => QuantileSketch.decode(encoded),
};
