/** Values as states and files hold them: what JSON has, integers with every digit, exact decimals, and moments. */
import { compareDecimals, decimalOf } from '../../core/expression/decimal.ts';
import { timestampText } from '../../core/expression/timestamp.ts';
import { Decimal } from '../../core/expression/values.ts';

/** A date or timestamp: microseconds since 1970 in UTC, and the text that it was written as. */
export class Moment {
  readonly micros: number | bigint;
  readonly text: string;

  constructor(micros: bigint, text: string) {
    const near = Number(micros);
    // Comparing a number with a bigint is exact, and arithmetic on numbers is quick.
    this.micros = Number.isSafeInteger(near) ? near : micros;
    this.text = text;
  }

  toJSON(): string {
    return this.text;
  }
}

/** The moment of so many microseconds since 1970, as ISO 8601 writes it in UTC. */
export function momentAt(micros: bigint): Moment {
  return new Moment(micros, timestampText(micros).replace(' ', 'T').replace('+00', ''));
}

/** A cell that has a value. Objects and lists are what a JSON file nests. */
export type Present = boolean | number | bigint | string | Moment | Decimal | object;
export type FileCell = Present | null;

/** Values that cannot be compared, or arguments that cannot be used: the message names the column or the argument, and the fix. */
export class Unusable extends Error {
  override readonly name = 'Unusable';
}

export type CellKind = 'number' | 'text' | 'moment' | 'boolean' | 'nested';

export function kindOf(cell: Present): CellKind {
  switch (typeof cell) {
    case 'number':
    case 'bigint':
      return 'number';
    case 'string':
      return 'text';
    case 'boolean':
      return 'boolean';
    case 'object':
      return cell instanceof Moment ? 'moment' : cell instanceof Decimal ? 'number' : 'nested';
    case 'symbol':
    case 'undefined':
    case 'function':
      return 'nested';
  }
}

/**
 * Something that a Map tells cells apart by: equal cells have equal keys. 1, 1.0 and an exact 1.00 are one value, 1 and '1' are two, a
 * moment is equal to itself however it is written.
 */
export function keyOf(cell: FileCell): unknown {
  switch (typeof cell) {
    case 'string':
      return cell.startsWith('\0') ? `\0s${cell}` : cell;
    case 'number':
      return Number.isInteger(cell) && !Number.isSafeInteger(cell) ? BigInt(cell) : cell;
    case 'bigint': {
      const near = Number(cell);
      return Number.isSafeInteger(near) ? near : cell;
    }
    case 'object':
      return cell === null ? cell : keyOfObject(cell);
    case 'boolean':
    case 'symbol':
    case 'undefined':
    case 'function':
      return cell;
  }
}

function keyOfObject(cell: object): unknown {
  if (cell instanceof Moment) return `\0m${cell.micros}`;
  if (cell instanceof Decimal) return keyOfDecimal(cell);
  return `\0j${JSON.stringify(cell, sorted)}`;
}

function keyOfDecimal(cell: Decimal): unknown {
  const short = shortOf(cell);
  if (!Number.isNaN(short)) return short;
  const near = nearest(cell);
  const exact = decimalOf(near);
  if (exact !== null && compareDecimals(exact, cell) === 0) return keyOf(near);
  let { unscaled, scale } = cell;
  for (; scale > 0 && unscaled % 10n === 0n; scale--) unscaled /= 10n;
  return scale === 0 ? unscaled : `\0d${unscaled}e${scale}`;
}

function sorted(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** One key for several cells, in order. */
export function keyOfCells(cells: readonly FileCell[]): string {
  return cells
    .map((cell) => {
      const key = keyOf(cell);
      const text = String(key);
      return `${typeof key}${text.length}:${text}`;
    })
    .join('');
}

/** So many digits are those of the shortest text of their nearest double. */
const SHORT_MAX = 1e15;
/** Powers of ten that are doubles: a quotient by one is the nearest double. */
const TENS = Float64Array.from({ length: 23 }, (_, power) => Number(`1e${power}`));

/** The number that has the value of a decimal of up to fifteen digits; NaN of others. */
export function shortOf({ digits, scale }: Decimal): number {
  return typeof digits === 'number' ? shortOfDigits(digits, scale) : NaN;
}

/** The same of a decimal that was not made yet. */
export function shortOfDigits(digits: number, scale: number): number {
  return digits >= SHORT_MAX || digits <= -SHORT_MAX ? NaN : digits / (TENS[scale] ?? NaN);
}

/** The decimal of that scale of which `shortOfDigits` is the number: rounding twice moves less than half a digit. */
export function decimalOfShort(short: number, scale: number): Decimal {
  return new Decimal(Math.round(short * (TENS[scale] ?? NaN)), scale);
}

/** The nearest double. */
export function nearest(cell: Decimal): number {
  if (typeof cell.digits === 'number' && cell.scale < TENS.length) return cell.digits / (TENS[cell.scale] ?? 1);
  return Number(`${cell.unscaled}e-${cell.scale}`);
}

/** -1, 0 or 1; NaN where a NaN is among them. Throws `Unusable` for values that have no order with each other. */
export function compareCells(a: Present, b: Present): number {
  if (typeof a === 'number' && typeof b === 'number') return compareNumbers(a, b);
  if (typeof a === 'string' && typeof b === 'string') return a === b ? 0 : a < b ? -1 : 1;
  if (a instanceof Moment && b instanceof Moment) return a.micros < b.micros ? -1 : a.micros > b.micros ? 1 : 0;
  const [x, y] = [ordinal(a), ordinal(b)];
  if (x === null || y === null) throw new Unusable(`a ${kindOf(a)} and a ${kindOf(b)} cannot be compared`);
  if (x instanceof Decimal || y instanceof Decimal) return compareExactly(x, y);
  return compareNumbers(x, y);
}

function compareNumbers(a: number | bigint, b: number | bigint): number {
  return a < b ? -1 : a > b ? 1 : Number.isNaN(a) || Number.isNaN(b) ? NaN : 0;
}

function ordinal(cell: Present): number | bigint | Decimal | null {
  if (typeof cell === 'number' || typeof cell === 'bigint' || cell instanceof Decimal) return cell;
  return typeof cell === 'boolean' ? Number(cell) : null;
}

function compareExactly(a: number | bigint | Decimal, b: number | bigint | Decimal): number {
  const [x, y] = [a instanceof Decimal ? a : decimalOf(a), b instanceof Decimal ? b : decimalOf(b)];
  if (x === null || y === null) return Number(a instanceof Decimal ? 0 : a) - Number(b instanceof Decimal ? 0 : b); // An infinity or NaN.
  return compareDecimals(x, y);
}

/** Cells in the order in which results list them: by kind, then by value. */
export function compareAny(a: Present, b: Present): number {
  const [x, y] = [kindOf(a), kindOf(b)];
  if (x !== y) return x < y ? -1 : 1;
  if (x === 'nested') return String(keyOf(a)) < String(keyOf(b)) ? -1 : 1;
  return compareCells(a, b) || 0;
}
