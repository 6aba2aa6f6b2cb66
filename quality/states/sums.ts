/** Sums: how many, their sum and the sum of their squares, all exact. Gives sum, mean and standard deviation. */
import { addDecimals, decimalOf, decimalText, multiplyDecimals, negateDecimal } from '../../core/expression/decimal.ts';
import { Decimal } from '../../core/expression/values.ts';
import { Moment, momentAt, nearest, type Present, Unusable } from './cell.ts';
import { ExactSum, quotient, SCALE } from './exact-sum.ts';
import { type Encoded, fieldsOf, listOf, type State, type StateKind, wholeOf } from './state.ts';

const ZERO = new Decimal(0n, 0);
/** Up to here the square of a whole number is a whole number that a double holds. */
const SQUARE_MAX = 94_906_265;
const SPLIT = 134_217_729;

export class Sums implements State {
  #count = 0;
  #moments = 0;
  readonly #sum: ExactSum;
  readonly #squares: ExactSum;
  /** Integers beyond 2^53 and decimals, which doubles do not hold. */
  #exact = ZERO;
  #exactSquares = ZERO;
  /** Short decimals of one scale, as their digits: doubles hold their sums until `#settle` puts them to the exact ones. */
  #short = 0;
  #shortSquares = 0;
  #shortScale = 0;
  /** Whole numbers in the same way: doubles hold their sums and those of their squares until `#settle` puts them to the others. */
  #whole = 0;
  #wholeSquares = 0;

  constructor(sum = new ExactSum(), squares = new ExactSum()) {
    this.#sum = sum;
    this.#squares = squares;
  }

  add(cell: Present): void {
    this.#put(cell, 1);
  }

  retract(cell: Present): void {
    this.#put(cell, -1);
  }

  get count(): number {
    return this.#count;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** The sum: a whole number beyond 2^53 keeps its digits. Null where nothing was added. */
  get sum(): number | bigint | null {
    if (this.#count === 0) return null;
    this.#settle();
    const { special } = this.#sum;
    if (special !== null) return special;
    const [total, scale] = this.#total(this.#sum, this.#exact);
    if (total % scale === 0n) {
      const whole = total / scale;
      const near = Number(whole);
      return Number.isSafeInteger(near) ? near : this.#exact.unscaled === 0n ? near : whole;
    }
    return quotient(total, scale);
  }

  get mean(): number | Moment | null {
    if (this.#count === 0) return null;
    this.#settle();
    const { special } = this.#sum;
    if (special !== null) return special;
    const [total, scale] = this.#total(this.#sum, this.#exact);
    const mean = quotient(total, scale * BigInt(this.#count));
    return this.#moments > 0 ? momentAt(BigInt(Math.round(mean))) : mean;
  }

  /** Of the sample (n - 1). Null where there are less than two values. */
  get deviation(): number | null {
    if (this.#count < 2) return null;
    this.#settle();
    if (this.#sum.special !== null) return NaN;
    const n = BigInt(this.#count);
    const [sum, scale] = this.#total(this.#sum, this.#exact);
    const [squares, squareScale] = this.#total(this.#squares, this.#exactSquares);
    // (n * squares - sum^2) / (n * (n - 1)), over one denominator.
    const numerator = n * squares * scale * scale - sum * sum * squareScale;
    return Math.sqrt(Math.max(0, quotient(numerator, n * (n - 1n) * scale * scale * squareScale)));
  }

  merge(from: Sums): this {
    this.#settle();
    from.#settle();
    this.#count += from.#count;
    this.#moments += from.#moments;
    this.#sum.merge(from.#sum);
    this.#squares.merge(from.#squares);
    this.#exact = addDecimals(this.#exact, from.#exact);
    this.#exactSquares = addDecimals(this.#exactSquares, from.#exactSquares);
    return this;
  }

  encode(): Encoded {
    this.#settle();
    return {
      count: this.#count,
      moments: this.#moments,
      sum: this.#sum.encode(),
      squares: this.#squares.encode(),
      exact: decimalText(this.#exact),
      exactSquares: decimalText(this.#exactSquares),
    };
  }

  static decode(encoded: Encoded): Sums {
    const fields = fieldsOf(encoded);
    const state = new Sums(ExactSum.decode(listOf(fields['sum'])), ExactSum.decode(listOf(fields['squares'])));
    state.#count = wholeOf(fields['count']);
    state.#moments = wholeOf(fields['moments']);
    state.#exact = decimalOf(textOf(fields['exact'])) ?? ZERO;
    state.#exactSquares = decimalOf(textOf(fields['exactSquares'])) ?? ZERO;
    return state;
  }

  #put(cell: Present, sign: 1 | -1): void {
    if (typeof cell === 'number') this.#putNumber(cell, sign);
    else if (typeof cell === 'boolean') this.#putNumber(Number(cell), sign);
    else if (cell instanceof Moment && typeof cell.micros === 'number') {
      this.#putNumber(cell.micros, sign);
      this.#moments += sign;
    } else if (!(cell instanceof Decimal && this.#putShort(cell, sign))) {
      const exact = typeof cell === 'bigint' ? new Decimal(cell, 0) : cell instanceof Decimal ? cell : null;
      if (exact === null) throw new Unusable('the values are not numeric');
      const square = multiplyDecimals(exact, exact);
      this.#putExact(sign > 0 ? exact : negateDecimal(exact), sign > 0 ? square : negateDecimal(square));
    }
    this.#count += sign;
  }

  #putExact(value: Decimal, square: Decimal): void {
    this.#exact = addDecimals(this.#exact, value);
    this.#exactSquares = addDecimals(this.#exactSquares, square);
    // Zero of any scale is the empty state's zero.
    if (this.#exact.unscaled === 0n) this.#exact = ZERO;
    if (this.#exactSquares.unscaled === 0n) this.#exactSquares = ZERO;
  }

  /** False for a decimal of many digits. Most columns have short ones, all of one scale: those make no bigints row by row. */
  #putShort({ unscaled, scale }: Decimal, sign: 1 | -1): boolean {
    const digits = Number(unscaled);
    if (Math.abs(digits) > SQUARE_MAX) return false;
    const square = digits * digits;
    const fits =
      scale === this.#shortScale &&
      Math.abs(this.#short + sign * digits) <= Number.MAX_SAFE_INTEGER &&
      Math.abs(this.#shortSquares + sign * square) <= Number.MAX_SAFE_INTEGER;
    if (!fits) this.#settle();
    this.#shortScale = scale;
    this.#short += sign * digits;
    this.#shortSquares += sign * square;
    return true;
  }

  #putWhole(value: number, square: number): void {
    const fits =
      Math.abs(this.#whole + value) <= Number.MAX_SAFE_INTEGER && Math.abs(this.#wholeSquares + square) <= Number.MAX_SAFE_INTEGER;
    if (!fits) this.#settleWhole();
    this.#whole += value;
    this.#wholeSquares += square;
  }

  #settleWhole(): void {
    if (this.#whole === 0 && this.#wholeSquares === 0) return; // To add nothing would put the parts of the sum together anew.
    this.#sum.add(this.#whole);
    this.#squares.add(this.#wholeSquares);
    this.#whole = 0;
    this.#wholeSquares = 0;
  }

  #settle(): void {
    this.#settleWhole();
    if (this.#short === 0 && this.#shortSquares === 0) return;
    this.#putExact(new Decimal(BigInt(this.#short), this.#shortScale), new Decimal(BigInt(this.#shortSquares), 2 * this.#shortScale));
    this.#short = 0;
    this.#shortSquares = 0;
  }

  #putNumber(value: number, sign: 1 | -1): void {
    if (Number.isInteger(value) && Math.abs(value) <= SQUARE_MAX) return this.#putWhole(sign * value, sign * value * value);
    if (sign > 0) this.#sum.add(value);
    else this.#sum.subtract(value);
    const square = value * value;
    this.#squares.add(sign * square);
    if (!Number.isFinite(square)) return;
    this.#squares.add(sign * squareRest(value, square));
  }

  /** The sum as a fraction. */
  #total(sum: ExactSum, exact: Decimal): readonly [bigint, bigint] {
    if (exact.unscaled === 0n) return [sum.scaled, 1n << SCALE];
    const scale = 10n ** BigInt(exact.scale);
    return [sum.scaled * scale + (exact.unscaled << SCALE), scale << SCALE];
  }
}

function textOf(encoded: Encoded | undefined): string {
  return typeof encoded === 'string' ? encoded : '0';
}

/** What value^2 has more than its nearest double (Dekker). */
function squareRest(value: number, square: number): number {
  const big = SPLIT * value;
  const high = big - (big - value);
  const low = value - high;
  const rest = low * low - (square - high * high - 2 * high * low);
  return Number.isFinite(rest) ? rest : 0;
}

/** The value nearest to a cell, for readings that are of doubles anyway. */
export function doubleOf(cell: Present): number {
  if (typeof cell === 'number') return cell;
  if (typeof cell === 'bigint' || typeof cell === 'boolean') return Number(cell);
  if (cell instanceof Moment) return Number(cell.micros);
  if (cell instanceof Decimal) return nearest(cell);
  throw new Unusable('the values are not numeric');
}

export const sums: StateKind<Sums> = {
  name: 'sums',
  retracts: true,
  size: 'fixed',
  create: () => new Sums(),
  merge: (into, from) => into.merge(from),
  retract: (state, cell) => state.retract(cell),
  decode: (encoded) => Sums.decode(encoded),
};
