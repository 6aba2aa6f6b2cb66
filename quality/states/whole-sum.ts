/**
 * A sum of whole numbers in two doubles, exact: the nearest double of the sum, and what it lacks (Knuth's sum of two). So no bigint is made row by
 * row; what does not fit is told, and whoever sums puts it where every size fits.
 */

/** Up to here what the nearest double lacks is at most LOW_MAX. */
const HIGH_MAX = 2 ** 103;
const LOW_MAX = 2 ** 51;

export class WholeSum {
  #high = 0;
  #low = 0;

  /** Adds two whole numbers, the second at most 2^51 either way. False where they do not fit: nothing was added then. */
  add(value: number, rest: number): boolean {
    const before = this.#high;
    const high = before + value;
    const back = high - before;
    // Each of the three is at most 2^51, so that their sum is exact.
    const low = this.#low + (before - (high - back) + (value - back)) + rest;
    if (high > HIGH_MAX || high < -HIGH_MAX || low > LOW_MAX || low < -LOW_MAX) return false;
    this.#high = high;
    this.#low = low;
    return true;
  }

  get isZero(): boolean {
    return this.#high + this.#low === 0;
  }

  /** Two doubles whose sum it is. */
  get parts(): readonly [number, number] {
    return [this.#high, this.#low];
  }

  get exact(): bigint {
    return BigInt(this.#high) + BigInt(this.#low);
  }

  clear(): void {
    this.#high = 0;
    this.#low = 0;
  }
}

/** The greatest number whose square is a whole number that a double holds. */
const SQUARE_MAX = 94_906_265;
const SPLIT = 134_217_729;

/** What value^2 has more than `square`, its nearest double (Dekker). */
export function squareRest(value: number, square: number): number {
  if (value <= SQUARE_MAX && value >= -SQUARE_MAX && Number.isInteger(value)) return 0;
  const big = SPLIT * value;
  const high = big - (big - value);
  const low = value - high;
  const rest = low * low - (square - high * high - 2 * high * low);
  return Number.isFinite(rest) ? rest : 0;
}
