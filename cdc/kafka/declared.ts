/** Types of columns as PostgreSQL names them, for records without schemas: what Debezium makes of each by its default settings. */
import type { ConnectSchema } from './connect-schema.ts';

type Plain = Pick<ConnectSchema, 'type' | 'name' | 'parameters'>;

const TYPES: Readonly<Record<string, Plain>> = {
  smallint: { type: 'int16' },
  integer: { type: 'int32' },
  bigint: { type: 'int64' },
  real: { type: 'float' },
  'double precision': { type: 'double' },
  boolean: { type: 'boolean' },
  text: { type: 'string' },
  'character varying': { type: 'string' },
  character: { type: 'string' },
  citext: { type: 'string' },
  bytea: { type: 'bytes' },
  uuid: { type: 'string', name: 'io.debezium.data.Uuid' },
  json: { type: 'string', name: 'io.debezium.data.Json' },
  jsonb: { type: 'string', name: 'io.debezium.data.Json' },
  xml: { type: 'string', name: 'io.debezium.data.Xml' },
  date: { type: 'int32', name: 'io.debezium.time.Date' },
  'timestamp with time zone': { type: 'string', name: 'io.debezium.time.ZonedTimestamp' },
  'time with time zone': { type: 'string', name: 'io.debezium.time.ZonedTime' },
  interval: { type: 'int64', name: 'io.debezium.time.MicroDuration' },
  numeric: { type: 'struct', name: 'io.debezium.data.VariableScaleDecimal' },
};

const ALIASES: Readonly<Record<string, string>> = {
  int2: 'smallint',
  int4: 'integer',
  int: 'integer',
  int8: 'bigint',
  float4: 'real',
  float8: 'double precision',
  bool: 'boolean',
  varchar: 'character varying',
  char: 'character',
  bpchar: 'character',
  decimal: 'numeric',
  timestamptz: 'timestamp with time zone',
  timetz: 'time with time zone',
  timestamp: 'timestamp without time zone',
  time: 'time without time zone',
};

/** A type, its numbers in brackets, what follows them, and whether it is an array of that. */
const TYPE = /^([a-z][a-z0-9 ]*?)\s*(?:\((\d+)(?:\s*,\s*(-?\d+))?\))?( with(?:out)? time zone)?(\[\])?$/;

/** The schema of a row; null for a type whose form in a record without a schema is not known. */
export function declaredColumn(declared: string): ConnectSchema | null {
  const found = TYPE.exec(declared.trim().toLowerCase());
  if (found === null) return null;
  const [, word = '', first, second = '0', zone = '', array] = found;
  const name = `${ALIASES[`${word}${zone}`] ?? ALIASES[word] ?? word}${ALIASES[word]?.includes('zone') === true ? '' : zone}`;
  const plain = plainOf(name, first === undefined ? null : Number(first), Number(second));
  if (plain === null) return null;
  const native = `${name}${first === undefined ? '' : name === 'numeric' ? `(${first},${second})` : `(${first})`}`;
  const one: ConnectSchema = { ...plain, optional: true, parameters: { ...plain.parameters, 'tidegate.native': native } };
  return array === undefined ? one : { type: 'array', optional: true, items: one };
}

export function declaredSchema(columns: Readonly<Record<string, string>>): ConnectSchema {
  const fields = Object.entries(columns).map(([field, declared]) => ({
    ...(declaredColumn(declared) ?? { type: 'string' as const, optional: true }),
    field,
  }));
  return { type: 'struct', optional: true, fields };
}

function plainOf(name: string, first: number | null, second: number): Plain | null {
  switch (name) {
    case 'numeric':
      if (first === null) break;
      return {
        type: 'bytes',
        name: 'org.apache.kafka.connect.data.Decimal',
        parameters: { scale: String(second), 'connect.decimal.precision': String(first) },
      };
    // By the precision: milliseconds where they are enough.
    case 'timestamp without time zone':
      return { type: 'int64', name: first !== null && first <= 3 ? 'io.debezium.time.Timestamp' : 'io.debezium.time.MicroTimestamp' };
    case 'time without time zone':
      return first !== null && first <= 3
        ? { type: 'int32', name: 'io.debezium.time.Time' }
        : { type: 'int64', name: 'io.debezium.time.MicroTime' };
    case 'bit':
      if ((first ?? 1) === 1) return { type: 'boolean' };
      return { type: 'bytes', name: 'io.debezium.data.Bits', parameters: { length: String(first) } };
    case 'bit varying':
      return { type: 'bytes', name: 'io.debezium.data.Bits' };
  }
  return TYPES[name] ?? null;
}
