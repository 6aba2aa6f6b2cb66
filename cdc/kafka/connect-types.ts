/**
 * Columns out of Kafka Connect's schemas: which of our types a field is, what PostgreSQL would call it, and how its cells are read. A logical type
 * (Debezium's or Connect's own) says what the number or text of a cell means; the source's own name of the type is better where it is propagated.
 */
import { type Column, type ColumnType, UNCHANGED, type Value } from '../../core/event.ts';
import { decimalText } from '../../core/expression/decimal.ts';
import { microsOf } from '../../core/expression/timestamp.ts';
import { Decimal } from '../../core/expression/values.ts';
import { quoteElement } from '../../wire/postgres/types-nested.ts';
import { dateText, intervalText, timestampText, timeText } from '../../wire/postgres/types-time.ts';
import { asStruct, type ConnectSchema, Undecodable } from './connect-schema.ts';

/** Reads a cell that is not null. Throws Undecodable for one that is none of the type, and Inexact where the number has to be read again. */
export type DecodeCell = (raw: unknown) => Value;

export interface ConnectColumn {
  readonly type: ColumnType;
  readonly native: string;
  readonly decode: DecodeCell;
}

/** A whole number beyond ±(2^53-1) that was parsed as a double: the text has to be parsed again, exactly. */
export class Inexact extends Error {
  override readonly name = 'Inexact';
}

/** From 1970-01-01 to 2000-01-01, where PostgreSQL counts from. */
export const EPOCH_2000_DAYS = 10_957;
const EPOCH_2000_US = 946_684_800_000_000n;

export function columnOf(schema: ConnectSchema, unavailable: string): ConnectColumn {
  const { type, native, decode } = plainColumn(schema);
  const propagated = sourceType(schema);
  const placeholder = placeholderTest(schema, unavailable);
  return {
    type,
    native: propagated ?? native,
    decode: placeholder === null ? decode : (raw) => (placeholder(raw) ? UNCHANGED : decode(raw)),
  };
}

/** What the schema of a field tells of its column beside the type. */
export function declaredIn(field: ConnectSchema): Pick<Column, 'declared'> {
  const { name, parameters } = field.items ?? field;
  const allowed = name === 'io.debezium.data.Enum' ? parameters?.['allowed'] : undefined;
  if (field.optional && allowed === undefined) return {};
  return { declared: { ...(field.optional ? {} : { required: true }), ...(allowed === undefined ? {} : { labels: allowed.split(',') }) } };
}

/** A row of MySQL's or MariaDB's, whose TIME is a length of time: what no time of day can hold is an interval. */
export function withDurations(row: ConnectSchema): ConnectSchema {
  const isTime = (name: string | undefined): boolean => name === 'io.debezium.time.MicroTime' || name === 'io.debezium.time.Time';
  const fields = row.fields?.map((field) => (isTime(field.name) ? { ...field, name: durationOf(field.name) } : field));
  return { ...row, fields };
}

const durationOf = (name: string | undefined): string =>
  name === 'io.debezium.time.Time' ? MILLI_DURATION : 'io.debezium.time.MicroDuration';
/** A name of ours: no connector has one. */
const MILLI_DURATION = 'tidegate.MilliDuration';

function plainColumn(schema: ConnectSchema): ConnectColumn {
  const logical = schema.name === undefined ? undefined : LOGICAL[schema.name];
  if (logical !== undefined) return logical(schema);
  switch (schema.type) {
    case 'boolean':
      return { type: 'boolean', native: 'boolean', decode: (raw) => (typeof raw === 'boolean' ? raw : wrong('a boolean')) };
    case 'int8':
    case 'int16':
      return { type: 'integer', native: 'smallint', decode: integer };
    case 'int32':
      return { type: 'integer', native: 'integer', decode: integer };
    case 'int64':
      return { type: 'integer', native: 'bigint', decode: integer };
    case 'float':
      return { type: 'float', native: 'real', decode: float };
    case 'double':
      return { type: 'float', native: 'double precision', decode: float };
    case 'string':
      return { type: 'text', native: 'text', decode: text };
    case 'bytes':
      return { type: 'bytes', native: 'bytea', decode: bytes };
    case 'array':
      return arrayColumn(schema);
    case 'map':
    case 'struct':
      return { type: 'json', native: 'jsonb', decode: (raw) => jsonText(raw) };
  }
}

/** Whether a type has a meaning of its own by its name, and not by what it is stored as. */
export const isLogical = (name: string | undefined): boolean => name !== undefined && LOGICAL[name] !== undefined;

const LOGICAL: Readonly<Record<string, (schema: ConnectSchema) => ConnectColumn>> = {
  'org.apache.kafka.connect.data.Decimal': decimalColumn,
  'io.debezium.data.VariableScaleDecimal': () => ({ type: 'decimal', native: 'numeric', decode: variableDecimal }),
  'org.apache.kafka.connect.data.Date': () => date,
  'io.debezium.time.Date': () => date,
  'org.apache.kafka.connect.data.Time': () => time(1000n),
  'io.debezium.time.Time': () => time(1000n),
  'io.debezium.time.MicroTime': () => time(1n),
  'io.debezium.time.NanoTime': () => time(-1000n),
  'org.apache.kafka.connect.data.Timestamp': () => timestamp(1000n),
  'io.debezium.time.Timestamp': () => timestamp(1000n),
  'io.debezium.time.MicroTimestamp': () => timestamp(1n),
  'io.debezium.time.NanoTimestamp': () => timestamp(-1000n),
  'io.debezium.time.ZonedTimestamp': () => ({ type: 'timestamp', native: 'timestamp with time zone', decode: zonedTimestamp }),
  'io.debezium.time.ZonedTime': () => ({ type: 'time', native: 'time with time zone', decode: zonedTime }),
  'io.debezium.time.IsoDate': () => ({ ...date, decode: isoDate }),
  'io.debezium.time.IsoTime': () => ({ ...time(1n), decode: (raw) => trimmed(text(raw).replace(/Z$/, '')) }),
  'io.debezium.time.IsoTimestamp': () => ({ ...timestamp(1n), decode: (raw) => zonedTimestamp(raw).replace(/\+00( BC)?$/, '$1') }),
  'io.debezium.time.MicroDuration': () => ({ type: 'other', native: 'interval', decode: (raw) => intervalText(micros(raw), 0, 0) }),
  [MILLI_DURATION]: () => ({ type: 'other', native: 'interval', decode: (raw) => intervalText(micros(raw) * 1000n, 0, 0) }),
  'io.debezium.time.NanoDuration': () => ({ type: 'other', native: 'interval', decode: (raw) => intervalText(micros(raw) / 1000n, 0, 0) }),
  'io.debezium.time.Interval': () => ({ type: 'other', native: 'interval', decode: isoInterval }),
  'io.debezium.data.Json': () => ({ type: 'json', native: 'jsonb', decode: text }),
  'io.debezium.data.Uuid': () => other('uuid'),
  'io.debezium.data.Xml': () => other('xml'),
  'io.debezium.data.Ltree': () => other('ltree'),
  'io.debezium.data.Tsvector': () => other('tsvector'),
  'io.debezium.data.Enum': () => ({ type: 'text', native: 'text', decode: text }),
  'io.debezium.data.EnumSet': () => ({ type: 'text', native: 'text', decode: text }),
  'io.debezium.data.Bits': bitsColumn,
  'io.debezium.data.geometry.Point': () => ({ type: 'other', native: 'point', decode: point }),
  'io.debezium.data.geometry.Geometry': () => geometry('geometry'),
  'io.debezium.data.geometry.Geography': () => geometry('geography'),
};

const date: ConnectColumn = { type: 'date', native: 'date', decode: (raw) => dateOf(Number(integer(raw))) };
const other = (native: string): ConnectColumn => ({ type: 'other', native, decode: text });

/** `unit`: microseconds in one; below zero, how many make a microsecond. */
function time(unit: bigint): ConnectColumn {
  return { type: 'time', native: 'time without time zone', decode: (raw) => timeText(scaled(micros(raw), unit)) };
}

function timestamp(unit: bigint): ConnectColumn {
  return { type: 'timestamp', native: 'timestamp without time zone', decode: (raw) => timestampOf(micros(raw), unit) };
}

/** What the connector makes of the infinities (PGStatement.DATE_POSITIVE_INFINITY and its opposite, in milliseconds). */
const INFINITE_MS = 9_223_372_036_825_200_000n;
const INFINITE_PAST_MS = -9_223_372_036_832_400_000n;

function timestampOf(count: bigint, unit: bigint): string {
  if (count === INFINITE_MS) return 'infinity';
  if (count === INFINITE_PAST_MS) return '-infinity';
  return timestampText(scaled(count, unit) - EPOCH_2000_US, '');
}

function scaled(count: bigint, unit: bigint): bigint {
  if (unit > 0n) return count * unit;
  const size = -unit;
  const rest = count % size;
  return rest < 0n ? count / size - 1n : count / size; // Towards the past, as the clock counts.
}

/**
 * What the connector makes of infinite dates: numbers of days that overflowed, from the log and from a snapshot (there by way of java.sql.Date). None is a date that
 * PostgreSQL has.
 */
const INFINITE_DAYS: ReadonlyMap<number, string> = new Map([
  [-2_147_472_692, 'infinity'],
  [-2_147_472_691, '-infinity'],
  [-622_191_234, 'infinity'],
  [-625_821_272, '-infinity'],
]);

function dateOf(days: number): string {
  return INFINITE_DAYS.get(days) ?? dateText(days - EPOCH_2000_DAYS);
}

function decimalColumn({ parameters }: ConnectSchema): ConnectColumn {
  const scale = Number(parameters?.['scale'] ?? 0);
  const precision = parameters?.['connect.decimal.precision'];
  const native = precision === undefined ? 'numeric' : `numeric(${precision},${scale})`;
  return { type: 'decimal', native, decode: (raw) => decimal(raw, scale) };
}

/** As long as the type allows: a record says neither how long the value is nor whether it may be shorter. */
function bitsColumn({ parameters }: ConnectSchema): ConnectColumn {
  const length = Number(parameters?.['length'] ?? 0);
  return {
    type: 'other',
    native: 'bit varying',
    decode: (raw) => {
      // The lowest byte first.
      const digits = [...bytes(raw)]
        .reverse()
        .map((one) => one.toString(2).padStart(8, '0'))
        .join('');
      return length > 0 && length < NO_LENGTH ? digits.padStart(length, '0').slice(-length) : digits;
    },
  };
}

function geometry(native: string): ConnectColumn {
  return {
    type: 'other',
    native,
    decode: (raw) => {
      const { wkb, srid } = asStruct(raw) ?? {};
      return withSrid(bytes(wkb), Number(srid ?? 0)).toString('hex');
    },
  };
}

const HAS_SRID = 0x20000000;

/** As PostGIS has it (EWKB); MySQL and MariaDB tell the reference system beside the shape alone. */
function withSrid(wkb: Buffer, srid: number): Buffer {
  if (wkb.length < 5 || srid === 0) return wkb;
  const isLittle = wkb[0] === 1;
  const type = isLittle ? wkb.readUInt32LE(1) : wkb.readUInt32BE(1);
  if ((type & HAS_SRID) !== 0) return wkb;
  const head = Buffer.alloc(9, wkb[0]);
  const write = (value: number, at: number): number => (isLittle ? head.writeUInt32LE(value, at) : head.writeUInt32BE(value, at));
  write((type | HAS_SRID) >>> 0, 1);
  write(srid, 5);
  return Buffer.concat([head, wkb.subarray(5)]);
}

function point(raw: unknown): string {
  const { x, y } = asStruct(raw) ?? {};
  return `(${String(float(x))},${String(float(y))})`;
}

function arrayColumn({ items }: ConnectSchema): ConnectColumn {
  if (items === undefined) throw new Undecodable('its schema has an array without a type of its elements');
  const { native, decode } = columnOf(items, '');
  const isDeclared = items.parameters?.['tidegate.native'] !== undefined;
  return {
    type: 'other',
    native: `${native}[]`,
    decode: (raw) => {
      // Tidegate's own topics have PostgreSQL's text of it, which nothing but its schema would tell.
      if (isDeclared && typeof raw === 'string' && ARRAY_TEXT.test(raw)) return raw;
      if (!Array.isArray(raw)) return wrong('an array');
      return `{${raw.map((one: unknown) => (one === null ? 'NULL' : element(decode(one)))).join(',')}}`;
    },
  };
}

/** `{a,b}`, or with its bounds: `[0:1]={a,b}`. */
const ARRAY_TEXT = /^(?:(?:\[-?\d+:-?\d+\])+=)?\{.*\}$/s;

function element(value: Value): string {
  if (value instanceof Uint8Array) return `"\\\\x${Buffer.from(value).toString('hex')}"`;
  if (typeof value === 'boolean') return value ? 't' : 'f';
  return quoteElement(String(value), ',');
}

/** The forms of the placeholder that stands for a value which the source did not send. */
export function placeholderTest(schema: ConnectSchema, unavailable: string): ((raw: unknown) => boolean) | null {
  if (unavailable === '') return null;
  const encoded = Buffer.from(unavailable);
  switch (schema.type) {
    case 'string': {
      const forms = new Set(placeholderTexts(unavailable));
      return (raw) => typeof raw === 'string' && forms.has(raw);
    }
    case 'bytes': {
      const base64 = encoded.toString('base64');
      return (raw) => raw === base64 || (raw instanceof Uint8Array && encoded.equals(raw));
    }
    case 'array': {
      const numbers = [...encoded].join(',');
      return (raw) =>
        raw === unavailable ||
        (Array.isArray(raw) &&
          ((raw.length === 1 && raw[0] === unavailable) || (raw.length === encoded.length && raw.join(',') === numbers)));
    }
    case 'map':
      return (raw) => asStruct(raw)?.[unavailable] === unavailable;
    case 'struct':
    case 'int8':
    case 'int16':
    case 'int32':
    case 'int64':
    case 'float':
    case 'double':
    case 'boolean':
      return null;
  }
}

/** Bytes as text (binary.handling.mode), and hstore as JSON (hstore.handling.mode), are the placeholder in that form. */
export function placeholderTexts(unavailable: string): readonly string[] {
  const encoded = Buffer.from(unavailable);
  return [unavailable, encoded.toString('base64'), encoded.toString('base64url'), encoded.toString('hex'), jsonOf(unavailable)];
}

const jsonOf = (unavailable: string): string => JSON.stringify({ [unavailable]: unavailable });

/** Types by the name that the connector propagates (`column.propagate.source.type`), as PostgreSQL writes them. */
const SOURCE_TYPES: Readonly<Record<string, string>> = {
  INT2: 'smallint',
  SMALLSERIAL: 'smallint',
  INT4: 'integer',
  SERIAL: 'integer',
  INT8: 'bigint',
  BIGSERIAL: 'bigint',
  FLOAT4: 'real',
  FLOAT8: 'double precision',
  BOOL: 'boolean',
  VARCHAR: 'character varying',
  BPCHAR: 'character',
  TEXT: 'text',
  JSON: 'json',
  JSONB: 'jsonb',
  UUID: 'uuid',
  XML: 'xml',
  INET: 'inet',
  CIDR: 'cidr',
  MACADDR: 'macaddr',
  MACADDR8: 'macaddr8',
  MONEY: 'money',
  INTERVAL: 'interval',
  TIMESTAMPTZ: 'timestamp with time zone',
  TIMETZ: 'time with time zone',
};
const WITH_LENGTH: ReadonlySet<string> = new Set(['VARCHAR', 'BPCHAR']);
/** The length of a type that has none. */
const NO_LENGTH = 2_147_483_647;

function sourceType({ parameters, type }: ConnectSchema): string | null {
  const declared = parameters?.['tidegate.native'];
  if (declared !== undefined) return declared;
  const name = parameters?.['__debezium.source.column.type']?.toUpperCase();
  const native = name === undefined ? undefined : SOURCE_TYPES[name];
  if (name === undefined || native === undefined || type === 'array') return null;
  const length = Number(parameters?.['__debezium.source.column.length'] ?? 0);
  return WITH_LENGTH.has(name) && length > 0 && length < NO_LENGTH ? `${native}(${length})` : native;
}

function wrong(what: string): never {
  throw new Undecodable(`a cell is not ${what}`);
}

function text(raw: unknown): string {
  return typeof raw === 'string' ? raw : wrong('a text');
}

function integer(raw: unknown): number | bigint {
  if (typeof raw === 'bigint') return raw >= -9_007_199_254_740_991n && raw <= 9_007_199_254_740_991n ? Number(raw) : raw;
  if (typeof raw !== 'number' || !Number.isInteger(raw)) return wrong('a whole number');
  if (!Number.isSafeInteger(raw)) throw new Inexact();
  return raw;
}

const micros = (raw: unknown): bigint => BigInt(integer(raw));

/** JSON has no word for these, so converters write them as text. */
function float(raw: unknown): number {
  if (typeof raw === 'number') return raw;
  if (typeof raw === 'bigint') return Number(raw);
  return raw === 'NaN' || raw === 'Infinity' || raw === '-Infinity' ? Number(raw) : wrong('a number');
}

function bytes(raw: unknown): Buffer {
  if (raw instanceof Uint8Array) return Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  return Buffer.from(text(raw), 'base64');
}

/** Beyond what any numeric has; a few bytes could ask for gigabytes of zeros. */
const SCALE_MAX = 200_000;

/** An unscaled number in two's complement. Converters may be told to write decimals as text or as numbers instead. */
function decimal(raw: unknown, scale: number): string {
  if (typeof raw === 'number' || typeof raw === 'bigint') return String(raw);
  const all = bytes(raw);
  if (all.length === 0 || Math.abs(scale) > SCALE_MAX) return wrong('a decimal');
  const size = BigInt(`0x${all.toString('hex')}`);
  const unscaled = (all[0] ?? 0) >= 0x80 ? size - (1n << BigInt(8 * all.length)) : size;
  return decimalText(scale >= 0 ? new Decimal(unscaled, scale) : new Decimal(unscaled * 10n ** BigInt(-scale), 0));
}

function variableDecimal(raw: unknown): string {
  const { scale, value } = asStruct(raw) ?? {};
  return decimal(value, Number(integer(scale)));
}

const ISO = /^[+-]?\d{4,}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?$/;

/** `2026-01-02T03:04:05.678901Z` as PostgreSQL writes it in UTC. */
function zonedTimestamp(raw: unknown): string {
  const shown = text(raw);
  if (shown === 'infinity' || shown === '-infinity') return shown;
  // ISO 8601 has a sign before years of more than four digits.
  const us = ISO.test(shown) ? microsOf(shown.replace(/^\+/, '')) : null;
  return us === null ? wrong('a timestamp') : timestampText(us - EPOCH_2000_US, '+00');
}

/** The day, and the era of one before Christ. */
function isoDate(raw: unknown): string {
  return zonedTimestamp(`${text(raw).replace(/Z$/, '')}T00:00:00Z`).replace(' 00:00:00+00', '');
}

function zonedTime(raw: unknown): string {
  const found = /^(\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?(Z|[+-]\d\d(?::?\d\d)?)$/.exec(text(raw));
  if (found === null) return wrong('a time');
  const [, clock = '', fraction = '', zone = ''] = found;
  const shown = zone === 'Z' ? '+00' : zone.replace(/:?00$/, '');
  return `${trimmed(`${clock.length === 5 ? `${clock}:00` : clock}.${fraction}`)}${shown.length < 3 ? zone : shown}`;
}

/** Without zeros at the end of a fraction. */
const trimmed = (clock: string): string => (clock.includes('.') ? clock.replace(/\.?0*$/, '') : clock);

/** `P1Y2M3DT4H5M6.78S`: each part with a sign of its own. */
function isoInterval(raw: unknown): string {
  const found = /^P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?)(\d+)(?:\.(\d+))?S)?)?$/.exec(text(raw));
  if (found === null) return wrong('an interval');
  const [, years = '0', months = '0', days = '0', hours = '0', minutes = '0', minus = '', seconds = '0', fraction = ''] = found;
  const us = BigInt(seconds) * 1_000_000n + BigInt(fraction.slice(0, 6).padEnd(6, '0'));
  const whole = BigInt(hours) * 3_600_000_000n + BigInt(minutes) * 60_000_000n + (minus === '-' ? -us : us);
  return intervalText(whole, Number(days), Number(years) * 12 + Number(months));
}

function jsonText(raw: unknown): string {
  if (typeof raw === 'bigint') return String(raw);
  if (raw instanceof Uint8Array) return JSON.stringify(bytes(raw).toString('base64'));
  if (Array.isArray(raw)) return `[${raw.map(jsonText).join(',')}]`;
  const struct = asStruct(raw);
  if (struct === null) return JSON.stringify(raw);
  return `{${Object.entries(struct)
    .map(([name, value]) => `${JSON.stringify(name)}:${jsonText(value)}`)
    .join(',')}}`;
}
