/**
 * Columns as Kafka Connect knows them, as Debezium's connector for PostgreSQL writes them by default: what a cell's schema is, and the value that converters are given.
 * Nothing is rounded: what a type has no form for is refused.
 */
import { microsOf } from '../../core/expression/timestamp.ts';
import { type Column, UNCHANGED, type Value } from '../../core/event.ts';
import { cellOfText } from '../../wire/postgres/text-cell.ts';
import { elementColumn, elementsOf } from './connect-arrays.ts';
import { defaultOf, unknownOf } from './connect-defaults.ts';
import { type Cell, type ConnectSchema, type ConnectValue, Unwritable } from './connect-schema.ts';
import { bitsOf, hstoreJson, intervalMicros, isoInterval, pointOf } from './connect-texts.ts';

/** What becomes of types that have more than one form. */
export interface CellForms {
  /** `precise`: Connect's Decimal, by its scale. `string`: the decimal's text. */
  readonly decimals: 'precise' | 'string';
  /** `numeric`: microseconds, a month being 30.4375 days. `string`: ISO 8601 with every part. `text`: as PostgreSQL shows it. */
  readonly intervals: 'numeric' | 'string' | 'text';
  /** `list`: Connect's arrays, of one dimension. `text`: as PostgreSQL shows them. */
  readonly arrays: 'list' | 'text';
  /** `bytes`: Debezium's Bits. `text`: their digits. */
  readonly bits: 'bytes' | 'text';
  /** Which defaults of columns schemas tell. `required`: of those that cannot be null. `all`: of others too, whose nulls many readers take for the default. */
  readonly defaults: 'required' | 'all';
}

export interface ConnectColumn {
  readonly schema: ConnectSchema;
  /** Throws Unwritable for a value that the schema's type has no form for. */
  readonly encode: (value: Value) => ConnectValue;
  /** What stands in a row before for a value that nobody knows: null where the schema has it, else what Debezium makes up. */
  readonly unknown: ConnectValue;
}

/** What stands for a value that the source did not send: Debezium's own word, which its sinks know. */
const UNAVAILABLE = '__debezium_unavailable_value';

export function connectColumn(column: Column, forms: CellForms): ConnectColumn {
  const { base, required } = column.declared ?? {};
  const {
    type,
    optional = required !== true,
    name,
    encode,
    ...more
  } = plain(base === undefined ? column : { ...column, native: base }, forms);
  const fallback = optional && forms.defaults === 'required' ? null : defaultOf(column, encode);
  const schema: ConnectSchema = {
    type,
    optional,
    ...(name === undefined ? {} : { name, version: 1 }),
    ...more,
    ...(fallback === null ? {} : { default: fallback }),
  };
  const unavailable = unavailableOf(schema);
  return {
    schema,
    unknown: optional ? null : unknownOf(schema, base ?? column.native),
    encode: (value) => {
      if (value === null) return optional ? null : missing();
      if (value !== UNCHANGED) return encode(value);
      if (unavailable === null) throw new Unwritable('has a value that the source did not send, and its type has no word for that');
      return unavailable;
    },
  };
}

function missing(): never {
  throw new Unwritable('is null, which its schema has no place for');
}

function unavailableOf({ type, name, items }: ConnectSchema): ConnectValue {
  if (type === 'string') return UNAVAILABLE;
  if (type === 'bytes' && name === undefined) return Buffer.from(UNAVAILABLE);
  if (items?.type === 'string') return [UNAVAILABLE];
  return items?.type === 'int32' || items?.type === 'int64' ? [...Buffer.from(UNAVAILABLE)] : null;
}

interface Plain extends Omit<ConnectSchema, 'optional' | 'version'> {
  readonly optional?: boolean;
  readonly encode: (value: Cell) => ConnectValue;
}

function plain(column: Column, forms: CellForms): Plain {
  const { type, native, declared } = column;
  if (declared?.labels !== undefined && !native.endsWith(']')) return enumOf(declared.labels);
  const named = NAMED[baseName(native)];
  if (named !== undefined) return named(native, forms);
  switch (type) {
    case 'boolean':
      return { type: 'boolean', encode: (value) => (typeof value === 'boolean' ? value : wrong()) };
    case 'integer':
      return { type: native === 'smallint' ? 'int16' : native === 'integer' ? 'int32' : 'int64', encode: whole };
    case 'float':
      return { type: native === 'real' ? 'float' : 'double', encode: (value) => (typeof value === 'number' ? value : wrong()) };
    case 'decimal':
      return forms.decimals === 'string' ? { type: 'string', encode: textOf } : decimal(native);
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
    case 'other':
      return (forms.arrays === 'list' ? list(column, forms) : null) ?? { type: 'string', encode: textOf };
  }
}

/** The labels as Debezium has them: a comma inside one cannot be told from those between them. */
function enumOf(labels: readonly string[]): Plain {
  return { type: 'string', name: 'io.debezium.data.Enum', parameters: { allowed: labels.join(',') }, encode: textOf };
}

/** Types that live in whatever schema their extension was made in. */
const OF_EXTENSIONS: ReadonlySet<string> = new Set(['hstore', 'ltree']);

/** `public.hstore`, `bit varying(9)` and `interval day to second` without what is around the name. An array has a name of its own, and so has a type that somebody made in a schema of his. */
function baseName(native: string): string {
  if (native.endsWith(']')) return '';
  const name = native.replace(/\(.*/s, '').replace(/^interval .*/, 'interval');
  const own = name.replace(/^.*\./, '');
  return own === name || OF_EXTENSIONS.has(own) ? own : '';
}

const string = (name: string): Plain => ({ type: 'string', name, encode: textOf });

/** Types with forms of their own, whatever rules see in them. All others that we have as text are the text that PostgreSQL shows. */
const NAMED: Readonly<Record<string, (native: string, forms: CellForms) => Plain>> = {
  uuid: () => string('io.debezium.data.Uuid'),
  xml: () => string('io.debezium.data.Xml'),
  ltree: () => string('io.debezium.data.Ltree'),
  tsvector: () => string('io.debezium.data.Tsvector'),
  hstore: () => ({ type: 'string', name: 'io.debezium.data.Json', encode: (value) => hstoreJson(textOf(value)) ?? wrong() }),
  money: (_, { decimals }) =>
    decimals === 'string' ? { type: 'string', encode: textOf } : { ...DECIMAL, parameters: { scale: '2' }, encode: ofScale(2) },
  bit: bits,
  'bit varying': bits,
  interval: (_, { intervals }) => INTERVALS[intervals],
  point: () => ({
    type: 'struct',
    name: 'io.debezium.data.geometry.Point',
    doc: 'Geometry (POINT)',
    fields: [
      { field: 'x', type: 'double', optional: false },
      { field: 'y', type: 'double', optional: false },
      { field: 'wkb', type: 'bytes', optional: true },
      { field: 'srid', type: 'int32', optional: true },
    ],
    encode: (value) => pointOf(textOf(value)) ?? wrong(),
  }),
};

const INTERVALS: Readonly<Record<CellForms['intervals'], Plain>> = {
  numeric: { type: 'int64', name: 'io.debezium.time.MicroDuration', encode: (value) => intervalMicros(textOf(value)) ?? endless() },
  string: { type: 'string', name: 'io.debezium.time.Interval', encode: (value) => isoInterval(textOf(value)) ?? endless() },
  text: { type: 'string', encode: textOf },
};

function endless(): never {
  throw new Unwritable('is infinite, which the interval of a record cannot be');
}

/** The length of a type that has none. */
const NO_LENGTH = '2147483647';

function bits(native: string, { bits: form }: CellForms): Plain {
  if (form === 'text') return { type: 'string', encode: textOf };
  const length = /\((\d+)\)/.exec(native)?.[1] ?? (native.endsWith('varying') ? NO_LENGTH : '1');
  if (length === '1' && !native.includes('varying')) return { type: 'boolean', encode: (value) => textOf(value) === '1' };
  return { type: 'bytes', name: 'io.debezium.data.Bits', parameters: { length }, encode: (value) => bitsOf(textOf(value)) ?? wrong() };
}

function list(column: Column, forms: CellForms): Plain | null {
  const element = elementColumn(column);
  if (element === null) return null;
  const { schema, encode } = connectColumn(element, forms);
  return {
    type: 'array',
    items: schema,
    encode: (value) => {
      const elements = elementsOf(textOf(value));
      if (elements === null)
        throw new Unwritable('has several dimensions or bounds of its own, which a list has not (arrays: text has them)');
      return elements.map((one) => encode(one === null ? null : cellOfText(one, element.type)));
    },
  };
}

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
  if (native.endsWith('with time zone'))
    return { type: 'string', name: 'io.debezium.time.ZonedTimestamp', encode: zonedOf(precisionOf(native) ?? 6) };
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

/** ISO 8601, with all digits of the type: years before the first are numbers, those of more than four digits have a sign. */
const zonedOf =
  (digits: number) =>
  (value: Cell): string => {
    const text = textOf(value);
    if (isInfinite(text)) return text;
    const found = /^(\d+)(-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d+))?\+00( BC)?$/.exec(text);
    if (found === null) return wrong();
    const [, year = '', day = '', clock = '', fraction = '', era] = found;
    return `${isoYear(Number(year), era !== undefined)}${day}T${clock}${digits === 0 ? '' : `.${fraction.padEnd(digits, '0')}`}Z`;
  };

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

const DECIMAL = { type: 'bytes', name: 'org.apache.kafka.connect.data.Decimal' } as const;
const ofScale =
  (scale: number) =>
  (value: Cell): Buffer =>
    unscaled(textOf(value), scale);

/** `numeric(12,2)` has its scale in the schema; of others every value brings its own. */
function decimal(native: string): Plain {
  const [, precision, scale] = /^numeric\((\d+),(-?\d+)\)$/.exec(native) ?? [];
  if (precision !== undefined && scale !== undefined)
    return { ...DECIMAL, parameters: { scale, 'connect.decimal.precision': precision }, encode: ofScale(Number(scale)) };
  return {
    type: 'struct',
    name: 'io.debezium.data.VariableScaleDecimal',
    doc: 'Variable scaled decimal',
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
  if (fraction.length > Math.max(0, scale)) throw new Unwritable(`has more than the ${scale} digits behind its point that its schema has`);
  const all = scale >= 0 ? digits + fraction.padEnd(scale, '0') : digits.slice(0, scale);
  if (all.length <= SMALL_DIGITS) return small(minus === '' ? Number(all) : -Number(all));
  const size = BigInt(all);
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

/** As many as six bytes hold: most numbers, without the detour by bigints. */
const SMALL_DIGITS = 14;

function small(number: number): Buffer {
  let length = 1;
  for (let half = 128; number < -half || number >= half; half *= 256) length++;
  const bytes = Buffer.allocUnsafe(length);
  bytes.writeIntBE(number, 0, length);
  return bytes;
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
