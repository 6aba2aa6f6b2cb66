/** Exact decimals: comparison of decimal texts without allocating, and arithmetic on unscaled bigints. No number ever passes through a float. */
import { Decimal, ExpressionError } from './values.ts';

const ZERO = 48;
const DOT = 46;
const MINUS = 45;
const PLUS = 43;

const SYNTAX = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?$/;

/** More digits than PostgreSQL's numeric holds (147,455): to make a bigint of a text of megabytes takes seconds. */
const LENGTH_MAX = 150_000;

/** Whether a text is a finite decimal, without making one of it. */
export function isDecimal(text: string): boolean {
  return text.length <= LENGTH_MAX && /^[+-]?\.?\d/.test(text) && SYNTAX.test(text);
}

/** The decimal of a text ("-12.50", "1e3"), or null where it is not a finite decimal ("NaN", "Infinity", "abc"). */
export function parseDecimal(text: string): Decimal | null {
  // Most are short: their digits are read as a number.
  const short = shortUnscaled(text);
  if (!Number.isNaN(short)) return new Decimal(short, scaleOf(text));
  const match = text.length > LENGTH_MAX ? null : SYNTAX.exec(text);
  if (match === null) return null;
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match;
  if (whole === '' && fraction === '') return null;
  let unscaled = BigInt(whole + fraction);
  if (sign === '-') unscaled = -unscaled;
  const scale = fraction.length - Number(exponent);
  return scale >= 0 ? new Decimal(unscaled, scale) : new Decimal(unscaled * 10n ** BigInt(-scale), 0);
}

/** Up to so many characters, digits make a safe integer. */
const SAFE_LENGTH = 15;

/**
 * The digits of a short plain decimal as one integer ("-12.50" is -1250, of the scale that `scaleOf` tells); NaN for every other text. Sums
 * of a few of one scale are exact.
 */
export function shortUnscaled(text: string): number {
  const { length } = text;
  const negative = text.charCodeAt(0) === MINUS;
  if (length <= (negative ? 1 : 0) || length > SAFE_LENGTH) return Number.NaN;
  let value = 0;
  let dot = false;
  for (let i = negative ? 1 : 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code >= ZERO && code <= ZERO + 9) value = value * 10 + code - ZERO;
    else if (code === DOT && !dot && i > (negative ? 1 : 0)) dot = true;
    else return Number.NaN;
  }
  return negative ? -value : value;
}

/** Digits behind the point. */
export function scaleOf(text: string): number {
  const dot = text.indexOf('.');
  return dot < 0 ? 0 : text.length - dot - 1;
}

/** The decimal of an integer or a finite double, exactly as its shortest text reads; null for NaN and the infinities. */
export function decimalOf(value: number | bigint | string): Decimal | null {
  if (typeof value === 'bigint') return new Decimal(value, 0);
  return parseDecimal(String(value));
}

/** The greatest whole number that is not above a decimal, and whether it is the decimal itself. */
export function wholeOf(text: string): { readonly floor: bigint; readonly exact: boolean } {
  const decimal = parseDecimal(text);
  if (decimal === null) throw new ExpressionError('not a number');
  const unit = 10n ** BigInt(decimal.scale);
  const rest = ((decimal.unscaled % unit) + unit) % unit;
  return { floor: (decimal.unscaled - rest) / unit, exact: rest === 0n };
}

/** Plain text without an exponent, scale kept: 12.50 stays "12.50". */
export function decimalText(value: Decimal): string {
  const digits = (value.unscaled < 0n ? -value.unscaled : value.unscaled).toString().padStart(value.scale + 1, '0');
  const sign = value.unscaled < 0n ? '-' : '';
  return value.scale === 0 ? sign + digits : `${sign}${digits.slice(0, -value.scale)}.${digits.slice(-value.scale)}`;
}

export function addDecimals(a: Decimal, b: Decimal): Decimal {
  if (a.scale === b.scale) {
    const sum = typeof a.digits === 'number' && typeof b.digits === 'number' ? a.digits + b.digits : NaN;
    return new Decimal(Number.isSafeInteger(sum) ? sum : a.unscaled + b.unscaled, a.scale);
  }
  return a.scale > b.scale
    ? new Decimal(a.unscaled + rescale(b, a.scale), a.scale)
    : new Decimal(rescale(a, b.scale) + b.unscaled, b.scale);
}

export function negateDecimal(a: Decimal): Decimal {
  return new Decimal(-a.digits, a.scale);
}

export function multiplyDecimals(a: Decimal, b: Decimal): Decimal {
  const product = typeof a.digits === 'number' && typeof b.digits === 'number' ? a.digits * b.digits : NaN;
  return new Decimal(Number.isSafeInteger(product) ? product : a.unscaled * b.unscaled, a.scale + b.scale);
}

export function compareDecimals(a: Decimal, b: Decimal): -1 | 0 | 1 {
  // Numbers and bigints are compared exactly with each other.
  if (a.scale === b.scale) return a.digits < b.digits ? -1 : a.digits > b.digits ? 1 : 0;
  const scale = Math.max(a.scale, b.scale);
  const left = rescale(a, scale);
  const right = rescale(b, scale);
  return left < right ? -1 : left > right ? 1 : 0;
}

function rescale(value: Decimal, scale: number): bigint {
  return value.scale === scale ? value.unscaled : value.unscaled * 10n ** BigInt(scale - value.scale);
}

/**
 * Orders two decimal texts by their digits, without allocating. "Infinity" and "-Infinity" are beyond every number.
 * Throws ExpressionError for NaN and for texts that are no decimals.
 */
export function compareDecimalTexts(a: string, b: string): -1 | 0 | 1 {
  if (!isPlain(a) || !isPlain(b)) return compareOddTexts(a, b);
  const negativeA = a.charCodeAt(0) === MINUS;
  const negativeB = b.charCodeAt(0) === MINUS;
  if (negativeA === negativeB) {
    const order = compareMagnitudes(a, negativeA ? 1 : 0, b, negativeB ? 1 : 0);
    return negativeA && order !== 0 ? (-order as -1 | 1) : order;
  }
  // One is negative: they differ in order unless both are zero ("-0.00").
  if (compareMagnitudes(a, negativeA ? 1 : 0, '0', 0) === 0 && compareMagnitudes(b, negativeB ? 1 : 0, '0', 0) === 0) return 0;
  return negativeA ? -1 : 1;
}

/** An optional minus, digits, an optional fraction: what PostgreSQL writes for a finite numeric. */
function isPlain(text: string): boolean {
  const start = text.charCodeAt(0) === MINUS ? 1 : 0;
  let dot = false;
  if (text.length === start) return false;
  for (let i = start; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= ZERO && code <= ZERO + 9) continue;
    if (code !== DOT || dot || i === start) return false;
    dot = true;
  }
  return true;
}

/** Compares two plain decimals without their signs, from the given offsets. */
function compareMagnitudes(a: string, atA: number, b: string, atB: number): -1 | 0 | 1 {
  while (a.charCodeAt(atA) === ZERO) atA++;
  while (b.charCodeAt(atB) === ZERO) atB++;
  const endA = wholeEnd(a, atA);
  const endB = wholeEnd(b, atB);
  if (endA - atA !== endB - atB) return endA - atA < endB - atB ? -1 : 1;
  for (; atA < endA; atA++, atB++) {
    const difference = a.charCodeAt(atA) - b.charCodeAt(atB);
    if (difference !== 0) return difference < 0 ? -1 : 1;
  }
  // The fractions: past its end, a text goes on with zeros.
  for (let i = 1; endA + i < a.length || endB + i < b.length; i++) {
    const digitA = endA + i < a.length ? a.charCodeAt(endA + i) : ZERO;
    const digitB = endB + i < b.length ? b.charCodeAt(endB + i) : ZERO;
    if (digitA !== digitB) return digitA < digitB ? -1 : 1;
  }
  return 0;
}

function wholeEnd(text: string, from: number): number {
  let end = from;
  while (end < text.length && text.charCodeAt(end) !== DOT) end++;
  return end;
}

function compareOddTexts(a: string, b: string): -1 | 0 | 1 {
  const infinityA = infinity(a);
  const infinityB = infinity(b);
  const left = infinityA === 0 ? parseDecimal(a) : null;
  const right = infinityB === 0 ? parseDecimal(b) : null;
  if ((infinityA === 0 && left === null) || (infinityB === 0 && right === null)) throw new ExpressionError('not a number');
  if (infinityA !== infinityB) return infinityA < infinityB ? -1 : 1;
  return left === null || right === null ? 0 : compareDecimals(left, right);
}

function infinity(text: string): -1 | 0 | 1 {
  const first = text.charCodeAt(0);
  const rest = first === MINUS || first === PLUS ? text.slice(1) : text;
  if (rest !== 'Infinity') return 0;
  return first === MINUS ? -1 : 1;
}
