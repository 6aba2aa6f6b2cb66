/** Sums: how many, their sum and the sum of their squares, all exact. Gives sum, mean and standard deviation. */
import { addDecimals, decimalOf, decimalText, multiplyDecimals, negateDecimal } from '../../core/expression/decimal.ts';
import { Decimal } from '../../core/expression/values.ts';
import { Moment, momentAt, nearest, type Present, Unusable } from './cell.ts';
import { ExactSum, quotient, SCALE } from './exact-sum.ts';
import { type Encoded, fieldsOf, listOf, type State, type StateKind, wholeOf } from './state.ts';
import { squareRest, WholeSum } from './whole-sum.ts';

const ZERO = new Decimal(0n, 0);
/** Up to here whole numbers and their squares go to sums in doubles. */
const SHORT_MAX = 2 ** 50;

export class Sums implements State {
  #count = 0;
  #moments = 0;
  readonly #sum: ExactSum;
  readonly #squares: ExactSum;
  /** Integers beyond 2^53 and decimals, which doubles do not hold. */
  #exact = ZERO;
  #exactSquares = ZERO;
  /** Decimals of one scale, as their digits: doubles hold their sums until `#settle` puts them to the exact ones. */
  readonly #short = new WholeSum();
  readonly #shortSquares = new WholeSum();
  #shortScale = 0;
  /** Whole numbers in the same way, until `#settle` puts them to the sums of doubles. */
  readonly #whole = new WholeSum();
  readonly #wholeSquares = new WholeSum();

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

  /** Adds a decimal by its digits, or takes it back. False where it has too many. */
  putDigits(digits: number, scale: number, sign: 1 | -1): boolean {
    if (digits > SHORT_MAX || digits < -SHORT_MAX) return false;
    this.#putShort(digits, scale, sign);
    this.#count += sign;
    return true;
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
      return Number.isSafeInteger(near) ? near : this.#exact.digits === 0 ? near : whole;
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
    } else {
      const exact = typeof cell === 'bigint' ? new Decimal(cell, 0) : cell instanceof Decimal ? cell : null;
      if (exact === null) throw new Unusable('the values are not numeric');
      this.#putDecimal(exact, sign);
    }
    this.#count += sign;
  }

  /** Most columns have decimals of few digits, all of one scale: those make no bigints row by row. */
  #putDecimal(cell: Decimal, sign: 1 | -1): void {
    const { digits, scale } = cell;
    if (typeof digits === 'number' && digits <= SHORT_MAX && digits >= -SHORT_MAX) return this.#putShort(digits, scale, sign);
    const square = multiplyDecimals(cell, cell);
    this.#putExact(sign > 0 ? cell : negateDecimal(cell), sign > 0 ? square : negateDecimal(square));
  }

  #putShort(digits: number, scale: number, sign: 1 | -1): void {
    if (scale !== this.#shortScale) {
      this.#settleShort();
      this.#shortScale = scale;
    }
    const square = digits * digits;
    const rest = squareRest(digits, square);
    if (!this.#short.add(sign * digits, 0)) {
      this.#settleShort();
      this.#short.add(sign * digits, 0);
    }
    if (!this.#shortSquares.add(sign * square, sign * rest)) {
      this.#settleShort();
      this.#shortSquares.add(sign * square, sign * rest);
    }
  }

  #putNumber(value: number, sign: 1 | -1): void {
    const square = value * value;
    if (!Number.isInteger(value) || value > SHORT_MAX || value < -SHORT_MAX) return this.#putDouble(value, square, sign);
    const rest = squareRest(value, square);
    if (!this.#whole.add(sign * value, 0)) {
      this.#settleWhole();
      this.#whole.add(sign * value, 0);
    }
    if (!this.#wholeSquares.add(sign * square, sign * rest)) {
      this.#settleWhole();
      this.#wholeSquares.add(sign * square, sign * rest);
    }
  }

  #putDouble(value: number, square: number, sign: 1 | -1): void {
    if (sign > 0) this.#sum.add(value);
    else this.#sum.subtract(value);
    this.#squares.add(sign * square);
    if (Number.isFinite(square)) this.#squares.add(sign * squareRest(value, square));
  }

  #putExact(value: Decimal, square: Decimal): void {
    this.#exact = addDecimals(this.#exact, value);
    this.#exactSquares = addDecimals(this.#exactSquares, square);
    // Zero of any scale is the empty state's zero.
    if (this.#exact.digits === 0) this.#exact = ZERO;
    if (this.#exactSquares.digits === 0) this.#exactSquares = ZERO;
  }

  #settle(): void {
    this.#settleWhole();
    this.#settleShort();
  }

  #settleWhole(): void {
    // To add nothing would put the parts of the sum together anew.
    if (this.#whole.isZero && this.#wholeSquares.isZero) return;
    for (const part of this.#whole.parts) this.#sum.add(part);
    for (const part of this.#wholeSquares.parts) this.#squares.add(part);
    this.#whole.clear();
    this.#wholeSquares.clear();
  }

  #settleShort(): void {
    if (this.#short.isZero && this.#shortSquares.isZero) return;
    this.#putExact(new Decimal(this.#short.exact, this.#shortScale), new Decimal(this.#shortSquares.exact, 2 * this.#shortScale));
    this.#short.clear();
    this.#shortSquares.clear();
  }

  /** The sum as a fraction. */
  #total(sum: ExactSum, exact: Decimal): readonly [bigint, bigint] {
    if (exact.digits === 0) return [sum.scaled, 1n << SCALE];
    const scale = 10n ** BigInt(exact.scale);
    return [sum.scaled * scale + (exact.unscaled << SCALE), scale << SCALE];
  }
}

function textOf(encoded: Encoded | undefined): string {
  return typeof encoded === 'string' ? encoded : '0';
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
