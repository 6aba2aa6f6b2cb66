/**
 * Columns as Kafka Connect knows them, as Debezium's connector for PostgreSQL writes them by default: what a cell's schema is, and the value that converters are given.
 * Nothing is rounded: what a type has no form for is refused.
 */
import { microsOf } from '../../core/expression/timestamp.ts';
import { type Column, UNCHANGED, type Value } from '../../core/event.ts';

export interface ConnectSchema {
  readonly type: 'int16' | 'int32' | 'int64' | 'float' | 'double' | 'boolean' | 'string' | 'bytes' | 'struct';
  readonly optional: boolean;
  /** The logical type, or the name of a struct. */
  readonly name?: string;
  readonly version?: number;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly fields?: readonly (ConnectSchema & { readonly field: string })[];
}

/** Whole numbers are numbers or bigints, bytes are Buffers. */
export type ConnectValue = null | boolean | number | bigint | string | Buffer | { readonly [field: string]: ConnectValue };

/** `precise`: Connect's Decimal, by its scale. `string`: the decimal's text. */
export type DecimalForm = 'precise' | 'string';

export interface ConnectColumn {
  readonly schema: ConnectSchema;
  /** Throws Unwritable for a value that the schema's type has no form for. */
  readonly encode: (value: Value) => ConnectValue;
}

/** The message says why, without any value. */
export class Unwritable extends Error {
  override readonly name = 'Unwritable';
}

/** What stands for a value that the source did not send: Debezium's own word, which its sinks know. */
const UNAVAILABLE = '__debezium_unavailable_value';

export function connectColumn(column: Column, decimals: DecimalForm): ConnectColumn {
  const { type, optional = column.nullable, name, encode, ...more } = plain(column, decimals);
  const schema: ConnectSchema = { type, optional, ...(name === undefined ? {} : { name, version: 1 }), ...more };
  const unavailable = type === 'string' ? UNAVAILABLE : type === 'bytes' && name === undefined ? Buffer.from(UNAVAILABLE) : null;
  return {
    schema,
    encode: (value) => {
      if (value === null) return null;
      if (value !== UNCHANGED) return encode(value);
      if (unavailable === null) throw new Unwritable('has a value that the source did not send, and its type has no word for that');
      return unavailable;
    },
  };
}

type Cell = Exclude<Value, null | typeof UNCHANGED>;

interface Plain extends Omit<ConnectSchema, 'optional' | 'version'> {
  readonly optional?: boolean;
  readonly encode: (value: Cell) => ConnectValue;
}

function plain({ type, native }: Column, decimals: DecimalForm): Plain {
  switch (type) {
    case 'boolean':
      return { type: 'boolean', encode: (value) => (typeof value === 'boolean' ? value : wrong()) };
    case 'integer':
      return { type: native === 'smallint' ? 'int16' : native === 'integer' ? 'int32' : 'int64', encode: whole };
    case 'float':
      return { type: native === 'real' ? 'float' : 'double', encode: (value) => (typeof value === 'number' ? value : wrong()) };
    case 'decimal':
      return decimals === 'string' ? { type: 'string', encode: textOf } : decimal(native);
    case 'timestamp':
      return timestamp(native);
    case 'date':
      return { type: 'int32', name: 'io.debezium.time.Date', encode: days };
    case 'time':
      return time(native);
    case 'json':
      return { type: 'string', name: 'io.debezium.data.Json', encode: textOf };
    case 'bytes':
      return { type: 'bytes', encode: bytesOf };
    case 'text':
      return { type: 'string', encode: textOf };
    case 'other': {
      const name = NAMED[native];
      return { type: 'string', ...(name === undefined ? {} : { name }), encode: textOf };
    }
  }
}

/** Types that are texts with a name of their own. All others are the text that PostgreSQL shows. */
const NAMED: Readonly<Record<string, string>> = {
  uuid: 'io.debezium.data.Uuid',
  xml: 'io.debezium.data.Xml',
  ltree: 'io.debezium.data.Ltree',
};

const DAY_US = 86_400_000_000n;
/** What Debezium's connector makes of the infinities: numbers of days that overflowed, and PGStatement's own in milliseconds whatever the unit. */
const DAYS_INFINITE = { infinity: -2_147_472_692, '-infinity': -2_147_472_691 } as const;
const INFINITE = { infinity: 9_223_372_036_825_200_000n, '-infinity': -9_223_372_036_832_400_000n } as const;

const isInfinite = (text: string): text is keyof typeof INFINITE => text === 'infinity' || text === '-infinity';

/** `timestamp(3) without time zone`: the digits behind the second; null where the type does not say. */
const precisionOf = (native: string): number | null => {
  const digits = /\((\d)\)/.exec(native)?.[1];
  return digits === undefined ? null : Number(digits);
};

function timestamp(native: string): Plain {
  if (native.endsWith('with time zone')) return { type: 'string', name: 'io.debezium.time.ZonedTimestamp', encode: zoned };
  const inMillis = (precisionOf(native) ?? 6) <= 3;
  return {
    type: 'int64',
    name: inMillis ? 'io.debezium.time.Timestamp' : 'io.debezium.time.MicroTimestamp',
    encode: (value) => {
      const text = textOf(value);
      if (isInfinite(text)) return INFINITE[text];
      const micros = microsOf(text) ?? wrong();
      return inMillis ? micros / 1000n : micros;
    },
  };
}

/** ISO 8601: years before the first are numbers, those of more than four digits have a sign. */
function zoned(value: Cell): string {
  const text = textOf(value);
  if (isInfinite(text)) return text;
  const found = /^(\d+)(-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00( BC)?$/.exec(text);
  if (found === null) return wrong();
  const [, year = '', day = '', clock = '', era] = found;
  return `${isoYear(Number(year), era !== undefined)}${day}T${clock}Z`;
}

function isoYear(shown: number, isBefore: boolean): string {
  const year = isBefore ? 1 - shown : shown;
  const digits = String(Math.abs(year)).padStart(4, '0');
  return year < 0 ? `-${digits}` : year > 9999 ? `+${digits}` : digits;
}

function days(value: Cell): number {
  const text = textOf(value);
  if (isInfinite(text)) return DAYS_INFINITE[text];
  return Number((microsOf(text) ?? wrong()) / DAY_US);
}

function time(native: string): Plain {
  if (native.endsWith('with time zone'))
    return { type: 'string', name: 'io.debezium.time.ZonedTime', encode: (value) => textOf(value).replace(/\+00$/, 'Z') };
  const inMillis = (precisionOf(native) ?? 6) <= 3;
  return {
    type: inMillis ? 'int32' : 'int64',
    name: inMillis ? 'io.debezium.time.Time' : 'io.debezium.time.MicroTime',
    encode: (value) => {
      const found = /^(\d\d):(\d\d):(\d\d)(?:\.(\d+))?$/.exec(textOf(value));
      if (found === null) return wrong();
      const [, h = '', m = '', s = '', fraction = ''] = found;
      const micros = (Number(h) * 3600 + Number(m) * 60 + Number(s)) * 1_000_000 + Number(fraction.padEnd(6, '0'));
      return inMillis ? micros / 1000 : BigInt(micros);
    },
  };
}

/** `numeric(12,2)` has its scale in the schema; of others every value brings its own. */
function decimal(native: string): Plain {
  const [, precision, scale] = /^numeric\((\d+),(-?\d+)\)$/.exec(native) ?? [];
  if (precision !== undefined && scale !== undefined)
    return {
      type: 'bytes',
      name: 'org.apache.kafka.connect.data.Decimal',
      parameters: { scale, 'connect.decimal.precision': precision },
      encode: (value) => unscaled(textOf(value), Number(scale)),
    };
  return {
    type: 'struct',
    name: 'io.debezium.data.VariableScaleDecimal',
    fields: [
      { field: 'scale', type: 'int32', optional: false },
      { field: 'value', type: 'bytes', optional: false },
    ],
    encode: (value) => {
      const text = textOf(value);
      const scale_ = text.includes('.') ? text.length - text.indexOf('.') - 1 : 0;
      return { scale: scale_, value: unscaled(text, scale_) };
    },
  };
}

/** The number without its point, as two's complement, the most significant byte first. */
function unscaled(text: string, scale: number): Buffer {
  const found = /^(-?)(\d*)(?:\.(\d*))?$/.exec(text);
  if (found === null) throw new Unwritable('is not a number (NaN or infinite), which a Decimal cannot be');
  const [, minus = '', digits = '', fraction = ''] = found;
  const all = scale >= 0 ? digits + fraction.padEnd(scale, '0') : digits.slice(0, scale);
  const size = BigInt(all === '' ? '0' : all);
  const number = minus === '' ? size : -size;
  let length = 1;
  while (BigInt.asIntN(8 * length, number) !== number) length++;
  return Buffer.from(
    BigInt.asUintN(8 * length, number)
      .toString(16)
      .padStart(2 * length, '0'),
    'hex',
  );
}

function whole(value: Cell): number | bigint {
  return typeof value === 'number' || typeof value === 'bigint' ? value : wrong();
}

function bytesOf(value: Cell): Buffer {
  return value instanceof Uint8Array ? Buffer.from(value.buffer, value.byteOffset, value.byteLength) : wrong();
}

function textOf(value: Cell): string {
  if (typeof value === 'string') return value;
  return value instanceof Uint8Array ? `\\x${bytesOf(value).toString('hex')}` : String(value);
}

function wrong(): never {
  throw new Unwritable('has a value that is not of its type');
}
