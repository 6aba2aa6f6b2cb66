/** Two cells of a row against each other, and the sum of several, as functions over their bytes. */
import { CELL_NULL, CELL_UNCHANGED, type CellForm, type EncodedType } from '../../core/event.ts';
import { Outcome } from '../outcome.ts';
import { type EncodedTest, formOf, type Judged, lengthOf, offsetOf, sameBytes, Undecided } from './cells.ts';
import { compareInt8s, int2At, int4At } from './integers.ts';
import { addNumeric, compareNumerics, FRACTION, NO_ORDER } from './numeric.ts';

/** -1, 0, 1 or what else has their signs; NO_ORDER where only the values can tell. Both cells are of one form. */
type ComparePair = (a: Uint8Array, atA: number, lengthA: number, atB: number, lengthB: number) => number;

const COMPARISONS: Readonly<Partial<Record<CellForm, ComparePair>>> = {
  int2: (bytes, a, lengthA, b, lengthB) => (lengthA === 2 && lengthB === 2 ? signOf(int2At(bytes, a), int2At(bytes, b)) : NO_ORDER),
  int4: (bytes, a, lengthA, b, lengthB) => (lengthA === 4 && lengthB === 4 ? signOf(int4At(bytes, a), int4At(bytes, b)) : NO_ORDER),
  int8: int8s,
  timestamp: int8s,
  time: int8s,
  date: (bytes, a, lengthA, b, lengthB) => (lengthA === 4 && lengthB === 4 ? signOf(int4At(bytes, a), int4At(bytes, b)) : NO_ORDER),
  numeric: (bytes, a, lengthA, b, lengthB) => compareNumerics(bytes, a, lengthA, bytes, b, lengthB),
};

function signOf(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function int8s(bytes: Uint8Array, a: number, lengthA: number, b: number, lengthB: number): number {
  return lengthA === 8 && lengthB === 8 ? Math.sign(compareInt8s(bytes, a, bytes, b)) : NO_ORDER;
}

/** Equal bytes are equal texts; their order is not that of the bytes, so it is not asked for. */
const equalTexts: ComparePair = (bytes, a, lengthA, b, lengthB) => (lengthA === lengthB && sameBytes(bytes, a, bytes, b, lengthA) ? 0 : 1);

export interface PairRule {
  readonly columns: readonly [number, number];
  /** What is asked: `greater or equal` is both of the others. */
  readonly equal: boolean;
  readonly greater: boolean;
  readonly whenOneNull: Outcome;
  readonly whenBothNull: Outcome;
  /** The order of texts is asked for, or one is filled up with spaces or compared in any case. */
  readonly valuesOnly: boolean;
}

export function pairTest(
  { columns, equal, greater, whenOneNull, whenBothNull, valuesOnly }: PairRule,
  types: readonly EncodedType[],
): EncodedTest | null {
  const [form, other] = [formOf(types, columns[0]), formOf(types, columns[1])];
  if (form === null || form !== other) return null;
  const compare =
    form === 'text' || form === 'uuid' || form === 'bool' ? (valuesOnly || greater ? undefined : equalTexts) : COMPARISONS[form];
  if (compare === undefined) return null;
  const [a, b] = [2 * columns[0], 2 * columns[1]];
  return (row) => {
    const lengthA = lengthOf(row, a);
    const lengthB = lengthOf(row, b);
    if (lengthA < 0 || lengthB < 0) {
      if (lengthA === CELL_UNCHANGED || lengthB === CELL_UNCHANGED) return Outcome.Pass;
      return lengthA === lengthB ? whenBothNull : whenOneNull;
    }
    const order = compare(row.bytes, offsetOf(row, a), lengthA, offsetOf(row, b), lengthB);
    if (order === NO_ORDER) return Undecided;
    return (equal && order === 0) || (greater && order > 0) ? Outcome.Pass : Outcome.Fail;
  };
}

/** An amount as whole units and a fraction in units of 10^-12. */
export interface Amount {
  readonly whole: number;
  readonly fraction: number;
}

export interface SumRule {
  readonly columns: readonly number[];
  /** So many of the columns are added; where there is one more, they have to add up to it. */
  readonly added: number;
  /** What they have to add up to, where that is no column. */
  readonly total: Amount;
  readonly tolerance: Amount;
  readonly whenSomeNull: Outcome;
  readonly whenAllNull: Outcome;
}

/** Sums of so few stay below 2^53. */
const COLUMNS_MAX = 16;
/** Whole numbers that are added are no larger than the numerics are. */
const WHOLE_MAX = 1e12;

export function sumTest(
  { columns, added, total, tolerance, whenSomeNull, whenAllNull }: SumRule,
  types: readonly EncodedType[],
): EncodedTest | null {
  if (columns.length > COLUMNS_MAX) return null;
  const readers = columns.map((column) => SUMMANDS[formOf(types, column) ?? 'text']);
  if (!readers.every((reader) => reader !== undefined)) return null;
  const isNumeric = Uint8Array.from(columns, (column) => (formOf(types, column) === 'numeric' ? 1 : 0));
  const places = columns.map((column) => 2 * column);
  // Whole units, then the fraction. One for all rows: what is judged is judged at once.
  const sum = new Float64Array(2);
  return (row): Judged => {
    const { bytes } = row;
    sum[0] = -total.whole;
    sum[1] = -total.fraction;
    let missing = 0;
    for (let i = 0; i < places.length; i++) {
      const place = places[i] ?? 0;
      const length = lengthOf(row, place);
      if (length < 0) {
        if (length !== CELL_NULL) return Outcome.Pass;
        missing++;
        continue;
      }
      const factor = i < added ? 1 : -1;
      const at = offsetOf(row, place);
      if (isNumeric[i] === 1) {
        if (!addNumeric(sum, bytes, at, length, factor)) return Undecided;
      } else {
        const value = readers[i]?.(bytes, at, length) ?? Number.NaN;
        if (!(value >= -WHOLE_MAX && value <= WHOLE_MAX)) return Undecided;
        sum[0] += factor * value;
      }
    }
    if (missing > 0) return missing === places.length ? whenAllNull : whenSomeNull;
    return isWithin(sum[0], sum[1], tolerance) ? Outcome.Pass : Outcome.Fail;
  };
}

/** The amount as the double nearest to it where it is a whole number; NaN for what is none. Of numeric, two other functions tell. */
const SUMMANDS: Readonly<Partial<Record<CellForm, (bytes: Uint8Array, at: number, length: number) => number>>> = {
  int2: (bytes, at, length) => (length === 2 ? int2At(bytes, at) : Number.NaN),
  int4: (bytes, at, length) => (length === 4 ? int4At(bytes, at) : Number.NaN),
  int8: (bytes, at, length) => (length === 8 ? int4At(bytes, at) * 0x1_0000_0000 + (int4At(bytes, at + 4) >>> 0) : Number.NaN),
  numeric: () => Number.NaN,
};

function isWithin(whole: number, fraction: number, tolerance: Amount): boolean {
  if (whole === 0 && fraction === 0) return true;
  // Carried over and of one sign, the parts are in the order of the amounts.
  const carried = Math.trunc(fraction / FRACTION);
  let units = whole + carried;
  let rest = fraction - carried * FRACTION;
  if (units > 0 && rest < 0) {
    units--;
    rest += FRACTION;
  } else if (units < 0 && rest > 0) {
    units++;
    rest -= FRACTION;
  }
  const size = Math.abs(units);
  return size < tolerance.whole || (size === tolerance.whole && Math.abs(rest) <= tolerance.fraction);
}
