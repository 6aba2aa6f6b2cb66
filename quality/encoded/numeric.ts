/** numeric as PostgreSQL sends it, compared and added digit by digit to the base of 10,000: exactly, and without a text of it. */
import { parseDecimal } from '../../core/expression/decimal.ts';
import { Decimal } from '../../core/expression/values.ts';
import { wordAt } from './cells.ts';

const HEADER = 8;
const MINUS = 0x4000;
/** Not an order: NaN, an infinity, or bytes that are no numeric as the server writes one. */
export const NO_ORDER = 2;

export interface Numeric {
  readonly sign: -1 | 0 | 1;
  /** The power of 10,000 of the first digit. */
  readonly weight: number;
  readonly digits: readonly number[];
}

/** A decimal text as digits to the base of 10,000, without zeros at either end. */
export function numeric(text: string): Numeric {
  const decimal = parseDecimal(text);
  if (decimal === null) throw new Error('a bound that is no decimal');
  const { unscaled, scale } = decimal;
  if (unscaled === 0n) return { sign: 0, weight: 0, digits: [] };
  const fractions = Math.ceil(scale / 4);
  const plain = String((unscaled < 0n ? -unscaled : unscaled) * 10n ** BigInt(4 * fractions - scale));
  const padded = plain.padStart(Math.ceil(plain.length / 4) * 4, '0');
  const digits = (padded.match(/.{4}/g) ?? []).map(Number);
  const weight = digits.length - fractions - 1;
  while (digits.at(-1) === 0) digits.pop();
  return { sign: unscaled < 0n ? -1 : 1, weight, digits };
}

/** -1, 0, 1 as the cell is less than, equal to or greater than the other; NO_ORDER. */
export function compareNumeric(bytes: Uint8Array, at: number, length: number, other: Numeric): number {
  const sign = signAt(bytes, at, length);
  if (sign === NO_ORDER || sign !== other.sign) return sign === NO_ORDER ? NO_ORDER : sign < other.sign ? -1 : 1;
  if (sign === 0) return 0;
  const weight = weightAt(bytes, at);
  if (weight !== other.weight) return weight < other.weight ? -sign : sign;
  const { digits } = other;
  const count = wordAt(bytes, at);
  const most = count > digits.length ? count : digits.length;
  for (let i = 0; i < most; i++) {
    const order = (i < count ? wordAt(bytes, at + HEADER + 2 * i) : 0) - (digits[i] ?? 0);
    if (order !== 0) return order < 0 ? -sign : sign;
  }
  return 0;
}

/** The same of two cells. */
export function compareNumerics(a: Uint8Array, atA: number, lengthA: number, b: Uint8Array, atB: number, lengthB: number): number {
  const sign = signAt(a, atA, lengthA);
  const signB = signAt(b, atB, lengthB);
  if (sign === NO_ORDER || signB === NO_ORDER) return NO_ORDER;
  if (sign !== signB || sign === 0) return sign < signB ? -1 : sign > signB ? 1 : 0;
  const weights = weightAt(a, atA) - weightAt(b, atB);
  if (weights !== 0) return weights < 0 ? -sign : sign;
  const countA = wordAt(a, atA);
  const countB = wordAt(b, atB);
  const most = countA > countB ? countA : countB;
  for (let i = 0; i < most; i++) {
    const order = (i < countA ? wordAt(a, atA + HEADER + 2 * i) : 0) - (i < countB ? wordAt(b, atB + HEADER + 2 * i) : 0);
    if (order !== 0) return order < 0 ? -sign : sign;
  }
  return 0;
}

/** -1, 0, 1, or NO_ORDER. The server strips zeros before the first digit; where one stands there, weights would not tell sizes apart. */
function signAt(bytes: Uint8Array, at: number, length: number): number {
  const count = wordAt(bytes, at);
  const sign = wordAt(bytes, at + 4);
  if (length !== HEADER + 2 * count || (sign !== 0 && sign !== MINUS)) return NO_ORDER;
  if (count === 0) return 0;
  return wordAt(bytes, at + HEADER) === 0 ? NO_ORDER : sign === 0 ? 1 : -1;
}

function weightAt(bytes: Uint8Array, at: number): number {
  return (wordAt(bytes, at + 2) << 16) >> 16;
}

/** Digits to the base of 10,000 that a double holds all of. */
const DIGITS_MAX = 3;
const TENS = Float64Array.from({ length: 16 }, (_, power) => 10 ** power);

/** The decimal that its text says; null where only the text can tell: many digits, or none of a finite number. */
export function decimalAt(bytes: Uint8Array, at: number, length: number): Decimal | null {
  const digits = shortAt(bytes, at, length);
  return Number.isNaN(digits) ? null : new Decimal(digits, wordAt(bytes, at + 6));
}

/** Its digits as a whole number, of which so many stand behind the point as the cell's fourth word says; NaN where `decimalAt` is null. */
export function shortAt(bytes: Uint8Array, at: number, length: number): number {
  const count = wordAt(bytes, at);
  const sign = wordAt(bytes, at + 4);
  const scale = wordAt(bytes, at + 6);
  if (count > DIGITS_MAX || length !== HEADER + 2 * count || (sign & ~MINUS) !== 0) return NaN;
  let digits = 0;
  for (let i = 0; i < count; i++) digits = digits * 10_000 + wordAt(bytes, at + HEADER + 2 * i);
  // The last digit counts so many tens, of which `scale` are behind the point.
  const power = count === 0 ? 0 : 4 * (weightAt(bytes, at) - count + 1) + scale;
  if (power >= TENS.length || power <= -TENS.length) return NaN;
  const tens = TENS[power < 0 ? -power : power] ?? 1;
  const unscaled = power < 0 ? digits / tens : digits * tens;
  if (!Number.isSafeInteger(unscaled)) return NaN;
  return sign === 0 ? unscaled : -unscaled;
}

/** Sums are kept as whole units and a fraction in units of 10^-12, each an integer that a double holds. */
export const FRACTION = 1e12;
/** What a digit counts in its part, by its power of 10,000 from -3 to 2. */
const WORTH = Float64Array.of(1, 1e4, 1e8, 1, 1e4, 1e8);

/**
 * Adds a cell, times `factor`, to a sum of whole units and fraction. False where only the value can tell: NaN and the infinities, 10^12 and
 * more, more than twelve digits behind the point.
 */
export function addNumeric(sum: Float64Array, bytes: Uint8Array, at: number, length: number, factor: 1 | -1): boolean {
  const count = wordAt(bytes, at);
  const sign = wordAt(bytes, at + 4);
  let power = weightAt(bytes, at);
  if (length !== HEADER + 2 * count || (sign !== 0 && sign !== MINUS) || power > 2 || power - count < -4) return false;
  let whole = 0;
  let fraction = 0;
  for (let i = 0; i < count; i++, power--) {
    const amount = wordAt(bytes, at + HEADER + 2 * i) * (WORTH[power + 3] ?? 0);
    if (power >= 0) whole += amount;
    else fraction += amount;
  }
  const signed = sign === 0 ? factor : -factor;
  sum[0] = (sum[0] ?? 0) + signed * whole;
  sum[1] = (sum[1] ?? 0) + signed * fraction;
  return true;
}

/** The parts of a decimal of a rule; null where it has more digits than they hold. */
export function partsOf(text: string): { readonly whole: number; readonly fraction: number } | null {
  const decimal = parseDecimal(text);
  if (decimal === null || decimal.scale > 12) return null;
  const unit = 10n ** 12n;
  const scaled = decimal.unscaled * 10n ** BigInt(12 - decimal.scale);
  const whole = scaled / unit;
  return whole > unit || whole < -unit ? null : { whole: Number(whole), fraction: Number(scaled % unit) };
}
