/** Defaults of columns as Debezium has them in schemas, and what it makes up for a value that nobody knows where its schema has no null. */
import type { Column } from '../../core/event.ts';
import { cellOfText } from '../../wire/postgres/text-cell.ts';
import { type Cell, type ConnectSchema, type ConnectValue, Unwritable } from './connect-schema.ts';
import { pointOf } from './connect-texts.ts';

/** The types whose defaults Debezium reads; a domain is none of them, and no list. */
const WITH_DEFAULT =
  /^(?:boolean|smallint|integer|bigint|real|double precision|numeric\(.*|text|character.*|bit.*|jsonb?|xml|uuid|date|interval.*|(?:time|timestamp)(?:\(\d\))? without time zone|timestamp(?:\(\d\))? with time zone)$/;

/** Null where there is none, or where it is no constant: what the source computes for each row is no default that a reader could know. */
export function defaultOf({ native, type, declared }: Column, encode: (value: Cell) => ConnectValue): ConnectValue {
  const isEnum = declared?.labels !== undefined && declared.base === undefined && !native.endsWith(']');
  if (declared?.default === undefined || !(isEnum || WITH_DEFAULT.test(native))) return null;
  const text = constantOf(declared.default);
  if (text === null) return null;
  try {
    const value = encode(cellOfText(text, type));
    // A struct is no default, and neither is what JSON has no number for.
    return isStruct(value) || (typeof value === 'number' && !Number.isFinite(value)) ? null : value;
  } catch (error) {
    if (error instanceof Unwritable || error instanceof SyntaxError || error instanceof RangeError) return null;
    throw error;
  }
}

/** `'it''s'::character varying(9)`, `12.5`, `true`, `B'101'::"bit"`: a literal, and the types it is taken for. */
const CONSTANT =
  /^(?:B?'((?:[^']|'')*)'|(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)|(true|false))(?:::[\w ."]+(?:\(\d+(?:, ?-?\d+)?\))?(?: with(?:out)? time zone)?)*$/i;

function constantOf(expression: string): string | null {
  const [, quoted, number, truth] = CONSTANT.exec(expression) ?? [];
  return quoted?.replaceAll("''", "'") ?? number ?? truth ?? null;
}

const isStruct = (value: ConnectValue): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

const ZERO = Buffer.alloc(1);

export function unknownOf(schema: ConnectSchema, native: string): ConnectValue {
  if (schema.default !== undefined) return schema.default;
  switch (schema.name) {
    case 'io.debezium.time.ZonedTimestamp':
      return '1970-01-01T00:00:00Z';
    case 'io.debezium.time.ZonedTime':
      return '00:00:00Z';
    case 'io.debezium.time.Interval':
      return 'P0Y0M0DT0H0M0S';
    case 'org.apache.kafka.connect.data.Decimal':
      return ZERO;
    case 'io.debezium.data.VariableScaleDecimal':
      return { scale: 0, value: ZERO };
    case 'io.debezium.data.geometry.Point':
      return pointOf('(0,0)');
    default:
      return native.endsWith('hstore') ? '{}' : emptyOf(schema.type);
  }
}

function emptyOf(type: ConnectSchema['type']): ConnectValue {
  switch (type) {
    case 'string':
      return '';
    case 'boolean':
      return false;
    case 'bytes':
      return Buffer.alloc(0);
    case 'array':
      return [];
    case 'struct':
      return {};
    case 'int16':
    case 'int32':
    case 'int64':
    case 'float':
    case 'double':
      return 0;
  }
}
