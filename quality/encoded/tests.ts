/** The commonest tests of one cell, as functions over its bytes. */
import type { CellForm } from '../../core/event.ts';
import { Found, type RegexTable } from '../../core/expression/regex-table.ts';
import { Outcome } from '../outcome.ts';
import { dateOf, timeOf, timestampOf, wholeAtLeast, wholeAtMost } from './bounds.ts';
import { ByteSet } from './byte-set.ts';
import { type CellPlace, type EncodedCells, type EncodedTest, type Judged, lengthOf, offsetOf, Undecided, withoutValue } from './cells.ts';
import { compareInt8, float8At, INT8_MAX, INT8_MIN, int2At, int4At, int8 } from './integers.ts';
import { compareNumeric, NO_ORDER, type Numeric, numeric } from './numeric.ts';

const SIZES: Readonly<Partial<Record<CellForm, number>>> = {
  int2: 2,
  int4: 4,
  int8: 8,
  float8: 8,
  timestamp: 8,
  time: 8,
  date: 4,
  bool: 1,
  uuid: 16,
};

/** Every value passes: only whether there is one has to be seen. */
export const anyValue: EncodedCells = (form, { at, whenNull }) => {
  const size = SIZES[form];
  return (row) => {
    const length = lengthOf(row, at);
    return length < 0 || (size !== undefined && length !== size) ? withoutValue(length, whenNull) : Outcome.Pass;
  };
};

/** A test of the bytes of a text, from `at` to `end`. */
type TextTest = (bytes: Uint8Array, at: number, end: number) => Judged;

function ofText({ at, whenNull, padded }: CellPlace, test: TextTest): EncodedTest {
  return (row) => {
    const length = lengthOf(row, at);
    if (length < 0) return withoutValue(length, whenNull);
    const offset = offsetOf(row, at);
    let end = offset + length;
    if (padded) while (end > offset && row.bytes[end - 1] === 32) end--;
    return test(row.bytes, offset, end);
  };
}

export function textCells(test: TextTest): EncodedCells {
  return (form, place) => (form === 'text' ? ofText(place, test) : null);
}

export function textIn(members: readonly string[], inside: boolean): EncodedCells {
  const set = new ByteSet(members.map((member) => Buffer.from(member)));
  return (form, place) => {
    if (form !== 'text') return null;
    const { at, whenNull, padded } = place;
    if (padded) return ofText(place, (bytes, from, end) => (set.has(bytes, from, end - from) === inside ? Outcome.Pass : Outcome.Fail));
    return (row) => {
      const length = lengthOf(row, at);
      if (length < 0) return withoutValue(length, whenNull);
      return set.has(row.bytes, offsetOf(row, at), length) === inside ? Outcome.Pass : Outcome.Fail;
    };
  };
}

/** `negative`: a match is what fails. Of several tables one match is enough, or all have to. */
export function textMatches(tables: readonly RegexTable[], on: 'any' | 'all', negative: boolean): EncodedCells {
  const [onMatch, otherwise] = negative ? [Outcome.Fail, Outcome.Pass] : [Outcome.Pass, Outcome.Fail];
  const [only] = tables;
  if (only !== undefined && tables.length === 1) {
    return (form, place) => {
      if (form !== 'text') return null;
      const { at, whenNull, padded } = place;
      return (row) => {
        const length = lengthOf(row, at);
        if (length < 0) return withoutValue(length, whenNull);
        const offset = offsetOf(row, at);
        let end = offset + length;
        if (padded) while (end > offset && row.bytes[end - 1] === 32) end--;
        const found = only.inBytes(row.bytes, offset, end);
        return found === Found.Yes ? onMatch : found === Found.No ? otherwise : Undecided;
      };
    };
  }
  const decisive = on === 'any' ? Found.Yes : Found.No;
  return textCells((bytes, at, end) => {
    for (let i = 0; i < tables.length; i++) {
      const found = tables[i]?.inBytes(bytes, at, end);
      if (found === Found.NotAscii) return Undecided;
      if (found === decisive) return on === 'any' ? onMatch : otherwise;
    }
    return on === 'any' ? otherwise : onMatch;
  });
}

/** Code points: bytes that do not go on with one. */
export function textLength(min: number, max: number): EncodedCells {
  return textCells((bytes, at, end) => {
    // At most as many as bytes, and at least a quarter: mostly no counting is needed.
    const length = end - at;
    if (length < min || length > 4 * max) return Outcome.Fail;
    if (length <= max && length >= 4 * min) return Outcome.Pass;
    let points = 0;
    for (; at < end; at++) if (((bytes[at] ?? 0) & 0xc0) !== 0x80) points++;
    return points >= min && points <= max ? Outcome.Pass : Outcome.Fail;
  });
}

/** Bounds of a rule, and which of them are excluded. */
export interface Bounds<T> {
  readonly min: T | undefined;
  readonly max: T | undefined;
  readonly strictMin: boolean;
  readonly strictMax: boolean;
}

/** Bounds as decimal texts. */
export function numbersBetween(bounds: Bounds<string>): EncodedCells {
  const { min, max, strictMin, strictMax } = bounds;
  return (form, place) => {
    switch (form) {
      case 'int2':
      case 'int4': {
        const from = min === undefined ? -Infinity : Number(wholeAtLeast(min, strictMin));
        const to = max === undefined ? Infinity : Number(wholeAtMost(max, strictMax));
        const read = form === 'int2' ? int2At : int4At;
        return ofSize(form === 'int2' ? 2 : 4, place, (bytes, at) => {
          const value = read(bytes, at);
          return value >= from && value <= to ? Outcome.Pass : Outcome.Fail;
        });
      }
      case 'int8':
        return int8Between(
          place,
          min === undefined ? INT8_MIN : wholeAtLeast(min, strictMin),
          max === undefined ? INT8_MAX : wholeAtMost(max, strictMax),
        );
      case 'float8':
        return float8Between(place, bounds);
      case 'numeric':
        return numericBetween(place, bounds);
      default:
        return null;
    }
  };
}

/** Both included. */
function int8Between(place: CellPlace, min: bigint, max: bigint): EncodedTest {
  if (min > INT8_MAX || max < INT8_MIN) return ofSize(8, place, () => Outcome.Fail);
  const [from, to] = [int8(min), int8(max)];
  const [hasMin, hasMax] = [min > INT8_MIN, max < INT8_MAX];
  return ofSize(8, place, (bytes, at) => {
    if (hasMin && compareInt8(bytes, at, from) < 0) return Outcome.Fail;
    return hasMax && compareInt8(bytes, at, to) > 0 ? Outcome.Fail : Outcome.Pass;
  });
}

function float8Between(place: CellPlace, { min, max, strictMin, strictMax }: Bounds<string>): EncodedTest {
  const from = min === undefined ? -Infinity : Number(min);
  const to = max === undefined ? Infinity : Number(max);
  const [aboveMin, belowMax] = [strictMin && min !== undefined, strictMax && max !== undefined];
  return ofSize(8, place, (bytes, at) => {
    const value = float8At(bytes, at);
    if (Number.isNaN(value)) return Undecided;
    return (aboveMin ? value > from : value >= from) && (belowMax ? value < to : value <= to) ? Outcome.Pass : Outcome.Fail;
  });
}

function numericBetween({ at, whenNull }: CellPlace, { min, max, strictMin, strictMax }: Bounds<string>): EncodedTest {
  const low = min === undefined ? null : numeric(min);
  const high = max === undefined ? null : numeric(max);
  const least = strictMin ? 1 : 0;
  const most = strictMax ? -1 : 0;
  return (row) => {
    const length = lengthOf(row, at);
    if (length < 0) return withoutValue(length, whenNull);
    const offset = offsetOf(row, at);
    const aboveLow = low === null ? 1 : compareNumeric(row.bytes, offset, length, low);
    if (aboveLow === NO_ORDER) return Undecided;
    if (aboveLow < least) return Outcome.Fail;
    const aboveHigh = high === null ? -1 : compareNumeric(row.bytes, offset, length, high);
    return aboveHigh === NO_ORDER ? Undecided : aboveHigh > most ? Outcome.Fail : Outcome.Pass;
  };
}

/** Bounds as microseconds since 1970. */
export function momentsBetween({ min, max, strictMin, strictMax }: Bounds<bigint>): EncodedCells {
  const step = (strict: boolean) => (strict ? 1n : 0n);
  return (form, place) => {
    if (form === 'timestamp') {
      return int8Between(
        place,
        min === undefined ? INT8_MIN : timestampOf(min) + step(strictMin),
        max === undefined ? INT8_MAX : timestampOf(max) - step(strictMax),
      );
    }
    if (form !== 'date') return null;
    // A day begins at midnight: of a bound within it, the day itself lies below.
    const low = min === undefined ? null : dateOf(min);
    const high = max === undefined ? null : dateOf(max);
    const from = low === null ? -Infinity : low.isLater || strictMin ? low.day + 1 : low.day;
    const to = high === null ? Infinity : high.isLater || !strictMax ? high.day : high.day - 1;
    return ofSize(4, place, (bytes, at) => {
      const day = int4At(bytes, at);
      return day >= from && day <= to ? Outcome.Pass : Outcome.Fail;
    });
  };
}

/** Bounds as canonical texts. */
export function timesBetween({ min, max, strictMin, strictMax }: Bounds<string>): EncodedCells {
  return (form, place) =>
    form === 'time'
      ? int8Between(
          place,
          min === undefined ? INT8_MIN : timeOf(min) + (strictMin ? 1n : 0n),
          max === undefined ? INT8_MAX : timeOf(max) - (strictMax ? 1n : 0n),
        )
      : null;
}

/** Longer lists of numbers are looked up by their values. */
const MEMBERS_MAX = 16;

/** Members as decimal texts. */
export function numbersIn(members: readonly string[], inside: boolean): EncodedCells {
  return (form, place) => {
    if (members.length > MEMBERS_MAX) return null;
    switch (form) {
      case 'int2':
      case 'int4': {
        const values = members.map(Number);
        const read = form === 'int2' ? int2At : int4At;
        return ofSize(form === 'int2' ? 2 : 4, place, (bytes, at) =>
          values.includes(read(bytes, at)) === inside ? Outcome.Pass : Outcome.Fail,
        );
      }
      case 'int8':
        return int8In(place, members.map(BigInt), inside);
      case 'numeric':
        return numericIn(place, members.map(numeric), inside);
      default:
        return null;
    }
  };
}

function int8In(place: CellPlace, members: readonly bigint[], inside: boolean): EncodedTest {
  const values = members.filter((member) => member >= INT8_MIN && member <= INT8_MAX).map(int8);
  return ofSize(8, place, (bytes, at) => {
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (value !== undefined && compareInt8(bytes, at, value) === 0) return inside ? Outcome.Pass : Outcome.Fail;
    }
    return inside ? Outcome.Fail : Outcome.Pass;
  });
}

function numericIn({ at, whenNull }: CellPlace, values: readonly Numeric[], inside: boolean): EncodedTest {
  return (row) => {
    const length = lengthOf(row, at);
    if (length < 0) return withoutValue(length, whenNull);
    const offset = offsetOf(row, at);
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      const order = value === undefined ? 1 : compareNumeric(row.bytes, offset, length, value);
      if (order === NO_ORDER) return Undecided;
      if (order === 0) return inside ? Outcome.Pass : Outcome.Fail;
    }
    return inside ? Outcome.Fail : Outcome.Pass;
  };
}

/** Members as microseconds since 1970. */
export function momentsIn(members: readonly bigint[], inside: boolean): EncodedCells {
  return (form, place) => {
    if (members.length > MEMBERS_MAX) return null;
    if (form === 'timestamp') return int8In(place, members.map(timestampOf), inside);
    if (form !== 'date') return null;
    const days = members.map(dateOf).flatMap(({ day, isLater }) => (isLater ? [] : [day]));
    return ofSize(4, place, (bytes, at) => (days.includes(int4At(bytes, at)) === inside ? Outcome.Pass : Outcome.Fail));
  };
}

/** Members as canonical texts. */
export function timesIn(members: readonly string[], inside: boolean): EncodedCells {
  return (form, place) => (form === 'time' && members.length <= MEMBERS_MAX ? int8In(place, members.map(timeOf), inside) : null);
}

export function booleanIs(wanted: boolean): EncodedCells {
  return (form, place) =>
    form === 'bool' ? ofSize(1, place, (bytes, at) => ((bytes[at] === 1) === wanted ? Outcome.Pass : Outcome.Fail)) : null;
}

/** Members in the canonical text. */
export function uuidIn(members: readonly string[], inside: boolean): EncodedCells {
  const set = new ByteSet(members.map((member) => Buffer.from(member.replaceAll('-', ''), 'hex')));
  return (form, place) =>
    form === 'uuid' ? ofSize(16, place, (bytes, at) => (set.has(bytes, at, 16) === inside ? Outcome.Pass : Outcome.Fail)) : null;
}

function ofSize(size: number, { at, whenNull }: CellPlace, test: (bytes: Uint8Array, at: number) => Judged): EncodedTest {
  return (row) => {
    const length = lengthOf(row, at);
    return length === size ? test(row.bytes, offsetOf(row, at)) : withoutValue(length, whenNull);
  };
}
