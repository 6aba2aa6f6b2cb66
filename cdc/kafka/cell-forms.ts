/**
 * How the cells of a column are written for a target of PostgreSQL's, straight from what a record has: most in the binary form of their type, others as the text
 * that `DecodeCell` makes. A form only takes what it is sure of. Whatever else a cell may be is left to `DecodeCell`, which then reads the whole row; both say
 * the same (test/cdc/kafka-encoded.test.ts).
 */
import { daysFromCivil, daysIn } from '../../core/calendar.ts';
import { PipelineError } from '../../core/errors.ts';
import { UNCHANGED } from '../../core/event.ts';
import type { PgColumnType } from '../../wire/postgres/row.ts';
import { numericBytes } from '../../wire/postgres/types-numeric.ts';
import { builtinType } from '../../wire/postgres/types.ts';
import type { CellWriter } from './cell-writer.ts';
import type { ConnectSchema } from './connect-schema.ts';
import { type ConnectColumn, EPOCH_2000_DAYS, isLogical, placeholderTest, placeholderTexts } from './connect-types.ts';

export interface CellForm {
  readonly type: PgColumnType;
  /** Writes a cell that is not null, as a parser made it. False where it is left to `DecodeCell`: then the row is given up. */
  readonly value: (raw: unknown, to: CellWriter) => boolean;
  /** The same of a text or bytes where they lie; null where only `value` can. */
  readonly slice: ((bytes: Buffer, from: number, length: number, to: CellWriter) => boolean) | null;
  /** The same of a number; null where only `value` can. */
  readonly number: ((value: number, to: CellWriter) => boolean) | null;
}

const BOOL = 16;
const BYTEA = 17;
const INT8 = 20;
const INT2 = 21;
const INT4 = 23;
const TEXT = 25;
const FLOAT8 = 701;
const VARCHAR = 1043;
const DATE = 1082;
const TIMESTAMP = 1114;
const TIMESTAMPTZ = 1184;
const NUMERIC = 1700;

/** Far beyond what calendars show, and within what the binary form can say. */
const DAYS_MAX = 10_000_000;
const EPOCH_2000_US = 946_684_800_000_000;
const SECOND_US = 1_000_000;
/** Up to so many bytes a decimal's digits are a safe integer. */
const SAFE_BYTES = 6;
/** The most digits behind the point that a numeric can show. */
const SCALE_MAX = 16_383;

type Written = Omit<CellForm, 'type'> & { readonly oid: number };

/** The form of a column that `columnOf` made of the same schema. */
export function cellForm(schema: ConnectSchema, column: ConnectColumn, unavailable: string): CellForm {
  const made = (isLogical(schema.name) ? LOGICAL[schema.name ?? ''] : PLAIN[schema.type])?.(schema, column);
  if (made === undefined) return asText(column);
  const { oid, value, slice, number } = made;
  const isGone = placeholderTest(schema, unavailable);
  return {
    type: binaryType(oid),
    value: isGone === null ? value : (raw, to) => (isGone(raw) ? unchanged(to) : value(raw, to)),
    slice: slice === null ? null : besideGone(schema, unavailable, slice),
    number,
  };
}

function binaryType(oid: number): PgColumnType {
  const type = builtinType(oid);
  if (type === undefined) throw new PipelineError('BUG', `PostgreSQL has no type ${oid}`);
  return { oid, typmod: -1, format: 'binary', decode: type.decode, type };
}

function unchanged(to: CellWriter): true {
  to.unchanged();
  return true;
}

type Slice = NonNullable<CellForm['slice']>;

/** `placeholderTest` of bytes where they lie. */
function besideGone({ type }: ConnectSchema, unavailable: string, slice: Slice): Slice {
  if (unavailable === '' || (type !== 'string' && type !== 'bytes')) return slice;
  const forms = (type === 'bytes' ? [unavailable] : placeholderTexts(unavailable)).map((one) => Buffer.from(one));
  const least = Math.min(...forms.map(({ length }) => length));
  return (bytes, from, length, to) => {
    if (length >= least && forms.some((one) => one.length === length && one.compare(bytes, from, from + length) === 0))
      return unchanged(to);
    return slice(bytes, from, length, to);
  };
}

/** What PostgreSQL reads from text, and what is no hot path. */
function asText({ decode }: ConnectColumn): CellForm {
  const value = (raw: unknown, to: CellWriter): boolean => {
    const read = attempted(() => decode(raw));
    if (read === UNCHANGED) return unchanged(to);
    if (typeof read !== 'string' || !read.isWellFormed()) return false;
    to.text(read);
    return true;
  };
  return { type: { oid: TEXT, typmod: -1, format: 'text', decode: utf8 }, value, slice: null, number: null };
}

const utf8 = (bytes: Buffer, from: number, length: number): string => bytes.toString('utf8', from, from + length);

/** Undefined for what cannot be read: `DecodeCell` tells why, once more, for the row. */
function attempted<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

type MakeForm = (schema: ConnectSchema, column: ConnectColumn) => Written;

const PLAIN: Readonly<Partial<Record<ConnectSchema['type'], MakeForm>>> = {
  boolean: () => ({ oid: BOOL, value: boolean, slice: null, number: null }),
  int8: () => integerForm(INT2, 0x8000, (number, to) => to.int2(number)),
  int16: () => integerForm(INT2, 0x8000, (number, to) => to.int2(number)),
  int32: () => integerForm(INT4, 0x8000_0000, (number, to) => to.int4(number)),
  int64: () => ({ ...integerForm(INT8, Number.MAX_SAFE_INTEGER, (number, to) => to.int8(number)), value: bigint }),
  // A double has every digit of a float: it is the target's column that makes one of it again.
  float: () => ({ oid: FLOAT8, value: float, slice: null, number: double }),
  double: () => ({ oid: FLOAT8, value: float, slice: null, number: double }),
  string: textForm,
  bytes: () => ({ oid: BYTEA, value: bytesValue, slice: copied, number: null }),
};

const LOGICAL: Readonly<Record<string, MakeForm>> = {
  'org.apache.kafka.connect.data.Decimal': decimalForm,
  'org.apache.kafka.connect.data.Date': dateForm,
  'io.debezium.time.Date': dateForm,
  'org.apache.kafka.connect.data.Timestamp': () => timestampForm(1000),
  'io.debezium.time.Timestamp': () => timestampForm(1000),
  'io.debezium.time.MicroTimestamp': () => timestampForm(1),
  'io.debezium.time.ZonedTimestamp': () => ({ oid: TIMESTAMPTZ, value: zonedText, slice: zoned, number: null }),
  'io.debezium.data.Json': textForm,
  'io.debezium.data.Enum': textForm,
  'io.debezium.data.EnumSet': textForm,
};

function boolean(raw: unknown, to: CellWriter): boolean {
  if (typeof raw !== 'boolean') return false;
  to.boolean(raw);
  return true;
}

/** Numbers in [-limit, limit). */
function integerForm(oid: number, limit: number, write: (value: number, to: CellWriter) => void): Written {
  const number = (value: number, to: CellWriter): boolean => {
    if (!Number.isSafeInteger(value) || value < -limit || value >= limit) return false;
    write(value, to);
    return true;
  };
  return { oid, value: (raw, to) => typeof raw === 'number' && number(raw, to), slice: null, number };
}

const INT64_MAX = 2n ** 63n;

function bigint(raw: unknown, to: CellWriter): boolean {
  if (typeof raw === 'number' && Number.isSafeInteger(raw)) to.int8(raw);
  else if (typeof raw === 'bigint' && raw >= -INT64_MAX && raw < INT64_MAX) to.bigint(raw);
  else return false;
  return true;
}

function double(value: number, to: CellWriter): boolean {
  to.float8(value);
  return true;
}

const float = (raw: unknown, to: CellWriter): boolean => typeof raw === 'number' && double(raw, to);

function textForm(_schema: ConnectSchema, { native }: ConnectColumn): Written {
  const value = (raw: unknown, to: CellWriter): boolean => {
    if (typeof raw !== 'string' || !raw.isWellFormed()) return false;
    to.text(raw);
    return true;
  };
  const slice: Slice = (bytes, from, length, to) => to.utf8(bytes, from, length);
  return { oid: native.startsWith('character varying') ? VARCHAR : TEXT, value, slice, number: null };
}

const copied: Slice = (bytes, from, length, to) => {
  to.copy(bytes, from, length);
  return true;
};

function bytesValue(raw: unknown, to: CellWriter): boolean {
  if (typeof raw !== 'string' && !(raw instanceof Uint8Array)) return false;
  const bytes = typeof raw === 'string' ? Buffer.from(raw, 'base64') : Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  return copied(bytes, 0, bytes.length, to);
}

/** What a text is looked at in: long enough for what is read from one. */
const SCRATCH = Buffer.alloc(128);

function decimalForm({ parameters }: ConnectSchema, { decode }: ConnectColumn): Written {
  const scale = Number(parameters?.['scale'] ?? 0);
  const isUsual = Number.isInteger(scale) && scale >= 0 && scale <= SCALE_MAX;
  const large = (raw: unknown, to: CellWriter): boolean => {
    const bytes = attempted(() => numericBytes(String(decode(raw))));
    return bytes !== undefined && copied(bytes, 0, bytes.length, to);
  };
  const slice: Slice = (bytes, from, length, to) => {
    if (isUsual && length > 0 && length <= SAFE_BYTES && to.numeric(signed(bytes, from, length), scale)) return true;
    return large(bytes.subarray(from, from + length), to);
  };
  const value = (raw: unknown, to: CellWriter): boolean => {
    if (typeof raw !== 'string') return large(raw, to);
    const length = raw.length <= 8 ? SCRATCH.write(raw, 0, 'base64') : 0;
    return length > 0 && length <= SAFE_BYTES && isUsual && to.numeric(signed(SCRATCH, 0, length), scale) ? true : large(raw, to);
  };
  return { oid: NUMERIC, value, slice, number: null };
}

/** A number in two's complement. */
function signed(bytes: Buffer, from: number, length: number): number {
  let value = ((bytes[from] as number) << 24) >> 24; // With its sign.
  for (let i = from + 1; i < from + length; i++) value = value * 256 + (bytes[i] as number);
  return value;
}

function dateForm(): Written {
  return integerForm(DATE, DAYS_MAX, (days, to) => to.int4(days - EPOCH_2000_DAYS));
}

/** `unit`: microseconds in one. Those from 285 years away on are left to others. */
function timestampForm(unit: number): Written {
  const limit = (Number.MAX_SAFE_INTEGER - EPOCH_2000_US) / unit;
  return integerForm(TIMESTAMP, limit, (count, to) => to.int8(count * unit - EPOCH_2000_US));
}

function zonedText(raw: unknown, to: CellWriter): boolean {
  if (typeof raw !== 'string' || raw.length > ZONED_MAX) return false;
  return zoned(SCRATCH, 0, SCRATCH.write(raw, 0, 'utf8'), to);
}

/** `2026-01-02T03:04:05.678901Z`: as the connector writes nearly all of them. */
const ZONED_MIN = 20;
const ZONED_MAX = 30;
const [ZERO, NINE, DASH, COLON, DOT, T, Z] = [0x30, 0x39, 0x2d, 0x3a, 0x2e, 0x54, 0x5a];

const zoned: Slice = (bytes, from, length, to) => {
  if (length < ZONED_MIN || length > ZONED_MAX) return false;
  if (bytes[from + 4] !== DASH || bytes[from + 7] !== DASH || bytes[from + 10] !== T) return false;
  if (bytes[from + 13] !== COLON || bytes[from + 16] !== COLON || bytes[from + length - 1] !== Z) return false;
  const year = two(bytes, from) * 100 + two(bytes, from + 2);
  const [month, day] = [two(bytes, from + 5), two(bytes, from + 8)];
  const [hour, minute, second] = [two(bytes, from + 11), two(bytes, from + 14), two(bytes, from + 17)];
  // NaN is in none of these ranges.
  if (!(year >= 1 && month >= 1 && month <= 12 && day >= 1 && hour <= 23 && minute <= 59 && second <= 59)) return false;
  if (day > daysIn(year, month)) return false;
  const micros = length === ZONED_MIN ? 0 : fraction(bytes, from + 19, length - ZONED_MIN);
  if (Number.isNaN(micros)) return false;
  const seconds = ((daysFromCivil(year, month, day) - EPOCH_2000_DAYS) * 24 + hour) * 3600 + minute * 60 + second;
  const all = seconds * SECOND_US + micros;
  if (!Number.isSafeInteger(all)) return false;
  to.int8(all);
  return true;
};

/** NaN where they are no digits. */
function two(bytes: Buffer, at: number): number {
  const [tens, ones] = [bytes[at] as number, bytes[at + 1] as number];
  return tens >= ZERO && tens <= NINE && ones >= ZERO && ones <= NINE ? (tens - ZERO) * 10 + ones - ZERO : Number.NaN;
}

/** Microseconds of a point and one digit or more behind it: those beyond the sixth are cut. NaN where it is none. */
function fraction(bytes: Buffer, at: number, length: number): number {
  if (bytes[at] !== DOT || length < 2) return Number.NaN;
  let micros = 0;
  let unit = SECOND_US / 10;
  for (let i = at + 1; i < at + length; i++) {
    const digit = bytes[i] as number;
    if (digit < ZERO || digit > NINE) return Number.NaN;
    micros += Math.trunc(unit) * (digit - ZERO);
    unit /= 10;
  }
  return micros;
}
