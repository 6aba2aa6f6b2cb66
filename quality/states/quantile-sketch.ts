/**
 * Where the values of a window lie in their order, by how many lie in each of at most 2,048 cells of a grid: about as wide as a share of the value for numbers,
 * all of one width for moments. Where more cells than that have values, each two neighbours become one.
 *
 * Masson, Rim, Lee: DDSketch (2019), whose cells bound the relative error of a quantile; Epicoco, Melle, Cafaro, Pulimeno, Aloisio: UDDSketch (2020), which
 * puts all cells together two by two where they are too many, so that the error stays the same for all quantiles. Cells here are cut from the bits of a double
 * (exponent and the first bits of the mantissa), so that their edges are exact and no logarithm is taken. A value is always in the same cell of a width: what
 * was put in can be taken back, and neither the order of the values nor how they were put together makes a difference.
 */
import { Grid, NUMBERS_WIDTH, numberCell, numberPlace, wholeNumbers } from './grid.ts';
import { Moment, momentAt, type Present, Unusable } from './cell.ts';
import type { Interval, Sketch, SketchKind } from './sketch.ts';
import { type Encoded, fieldsOf, wholeOf } from './state.ts';
import { doubleOf } from './sums.ts';

export const CELLS_MAX = 2048;
const CELL_BYTES = 40;
/** Cells of the first grid are 2^-16 of their value wide, or 2^10 microseconds. */
const FIRST = { numbers: NUMBERS_WIDTH, moments: 10 } as const;

export class QuantileSketch implements Sketch {
  readonly #numbers = new Grid(FIRST.numbers, numberPlace, CELLS_MAX);
  readonly #moments = new Grid(FIRST.moments, momentPlace, CELLS_MAX);
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

  /** Of the numbers, put together into no more cells than these. */
  numbers(cellsMax: number): Grid {
    const grid = new Grid(FIRST.numbers, numberPlace, cellsMax);
    grid.merge(this.#numbers);
    return grid;
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
