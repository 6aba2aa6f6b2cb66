/** What operators do at run time. null equals only null; whatever is computed from null or unknown is unknown (undefined). */
import type { ExpressionType } from '../expression.ts';
import { addDecimals, compareDecimals, compareDecimalTexts, decimalOf, decimalText, multiplyDecimals, negateDecimal } from './decimal.ts';
import { compareTimestampTexts, microsOf } from './timestamp.ts';
import { Decimal, ExpressionError, type Operand } from './values.ts';

/** -1, 0 or 1; NaN where the two have no order (a float NaN). Neither operand is null or unknown. */
export type Compare = (a: Operand, b: Operand) => number;

export const compareNumbers: Compare = (a, b) => {
  const left = a as number | bigint;
  const right = b as number | bigint;
  // A bigint and a number compare by their exact values in JavaScript; only === would tell them apart.
  return left < right ? -1 : left > right ? 1 : left >= right ? 0 : Number.NaN;
};

export const compareTexts: Compare = (a, b) => {
  const left = a as string;
  const right = b as string;
  return left === right ? 0 : left < right ? -1 : 1;
};

/** As citext compares. */
export const compareInAnyCase: Compare = (a, b) => compareTexts((a as string).toLowerCase(), (b as string).toLowerCase());

export const compareBooleans: Compare = (a, b) => Number(a) - Number(b);

export const compareDecimalOperands: Compare = (a, b) => {
  if (typeof a === 'string' && typeof b === 'string') return compareDecimalTexts(a, b);
  if (a === 'Infinity' || b === '-Infinity') return 1;
  if (a === '-Infinity' || b === 'Infinity') return -1;
  return compareDecimals(toDecimal(a), toDecimal(b));
};

export const compareTimes: Compare = (a, b) => {
  if (typeof a === 'string' && typeof b === 'string') return compareTimestampTexts(a, b);
  const left = toMicros(a);
  const right = toMicros(b);
  return left < right ? -1 : left > right ? 1 : 0;
};

export const compareBytes: Compare = (a, b) => Buffer.compare(a as Uint8Array, b as Uint8Array);

export function equals(compare: Compare, a: Operand, b: Operand): boolean | undefined {
  if (a === undefined || b === undefined) return undefined;
  if (a === null || b === null) return a === b;
  return compare(a, b) === 0;
}

export function toDecimal(value: Operand): Decimal {
  if (value instanceof Decimal) return value;
  const decimal = typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' ? decimalOf(value) : null;
  if (decimal === null) throw new ExpressionError('not a number');
  return decimal;
}

export function toMicros(value: Operand): bigint {
  if (typeof value === 'bigint') return value;
  const micros = typeof value === 'string' ? microsOf(value) : null;
  if (micros === null) throw new ExpressionError('not a timestamp');
  return micros;
}

/** A number where it is exact, else a bigint: so equal integers are the same value. */
export function integer(value: bigint): number | bigint {
  return value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value;
}

type Arithmetic = (a: Operand, b: Operand) => Operand;

/** Both operands number or bigint. */
export const INTEGERS: Readonly<Record<'+' | '-' | '*' | '/' | '%', Arithmetic>> = {
  '+': (a, b) => {
    if (typeof a === 'number' && typeof b === 'number' && Number.isSafeInteger(a + b)) return a + b;
    return integer(BigInt(a as number) + BigInt(b as number));
  },
  '-': (a, b) => {
    if (typeof a === 'number' && typeof b === 'number' && Number.isSafeInteger(a - b)) return a - b;
    return integer(BigInt(a as number) - BigInt(b as number));
  },
  '*': (a, b) => {
    if (typeof a === 'number' && typeof b === 'number' && Number.isSafeInteger(a * b)) return a * b + 0;
    return integer(BigInt(a as number) * BigInt(b as number));
  },
  '/': (a, b) => {
    if (b === 0 || b === 0n) throw new ExpressionError('division by zero');
    if (typeof a === 'number' && typeof b === 'number') return Math.trunc(a / b) + 0;
    return integer(BigInt(a as number) / BigInt(b as number));
  },
  '%': (a, b) => {
    if (b === 0 || b === 0n) throw new ExpressionError('division by zero');
    if (typeof a === 'number' && typeof b === 'number') return (a % b) + 0;
    return integer(BigInt(a as number) % BigInt(b as number));
  },
};

export const DOUBLES: Readonly<Record<'+' | '-' | '*' | '/', Arithmetic>> = {
  '+': (a, b) => Number(a) + Number(b),
  '-': (a, b) => Number(a) - Number(b),
  '*': (a, b) => Number(a) * Number(b),
  '/': (a, b) => Number(a) / Number(b),
};

export const DECIMALS: Readonly<Record<'+' | '-' | '*' | '/', Arithmetic>> = {
  '+': (a, b) => addDecimals(toDecimal(a), toDecimal(b)),
  '-': (a, b) => addDecimals(toDecimal(a), negateDecimal(toDecimal(b))),
  '*': (a, b) => multiplyDecimals(toDecimal(a), toDecimal(b)),
  '/': (a, b) => {
    const divisor = toDouble(b);
    if (divisor === 0) throw new ExpressionError('division by zero');
    return toDouble(a) / divisor;
  },
};

export function toDouble(value: Operand): number {
  if (value instanceof Decimal) return Number(decimalText(value));
  if (typeof value === 'string') {
    const parsed = value === 'NaN' ? Number.NaN : value.trim() === '' || /^[+-]?0[xob]/i.test(value.trim()) ? null : Number(value);
    if (parsed === null || (Number.isNaN(parsed) && value !== 'NaN')) throw new ExpressionError('not a number');
    return parsed;
  }
  return Number(value);
}

/** How values of two types are ordered, null where they have nothing in common. */
export function comparison(a: ExpressionType, b: ExpressionType): Compare | null {
  const both = new Set([a, b]);
  if (both.has('decimal'))
    return both.has('double') || [...both].some((type) => type !== 'decimal' && type !== 'int') ? null : compareDecimalOperands;
  if ([...both].every((type) => type === 'int' || type === 'double')) return compareNumbers;
  if (a !== b) return null;
  switch (a) {
    case 'string':
      return compareTexts;
    case 'bool':
      return compareBooleans;
    case 'timestamp':
      return compareTimes;
    case 'duration':
      return compareNumbers;
    case 'bytes':
      return compareBytes;
    default:
      return null;
  }
}

function numeric(type: ExpressionType): boolean {
  return type === 'int' || type === 'double' || type === 'decimal';
}

const addTimes: Arithmetic = (a, b) => toMicros(a) + toMicros(b);
const subtractTimes: Arithmetic = (a, b) => toMicros(a) - toMicros(b);

/** What an operator gives for operands of these types, and how; null where it takes none such. */
export function arithmetic(
  operator: '+' | '-' | '*' | '/' | '%',
  a: ExpressionType,
  b: ExpressionType,
): { type: ExpressionType; compute: Arithmetic } | null {
  if (numeric(a) && numeric(b)) {
    if (a === 'int' && b === 'int') return { type: 'int', compute: INTEGERS[operator] };
    if (operator === '%') return null;
    if (a === 'decimal' || b === 'decimal') {
      if (a === 'double' || b === 'double') return null;
      return { type: operator === '/' ? 'double' : 'decimal', compute: DECIMALS[operator] };
    }
    return { type: 'double', compute: DOUBLES[operator] };
  }
  if (a === 'string' && b === 'string' && operator === '+') return { type: 'string', compute: (x, y) => (x as string) + (y as string) };
  if (operator === '+' && ((a === 'timestamp' && b === 'duration') || (a === 'duration' && b === 'timestamp')))
    return { type: 'timestamp', compute: addTimes };
  if (operator === '-' && a === 'timestamp' && b === 'duration') return { type: 'timestamp', compute: subtractTimes };
  if (operator === '-' && a === 'timestamp' && b === 'timestamp') return { type: 'duration', compute: subtractTimes };
  if (a === 'duration' && b === 'duration')
    return operator === '+'
      ? { type: 'duration', compute: addTimes }
      : operator === '-'
        ? { type: 'duration', compute: subtractTimes }
        : null;
  return null;
}
