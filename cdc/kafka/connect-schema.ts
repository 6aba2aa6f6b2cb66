/** Schemas as Kafka Connect knows them, whatever wrote the record: what JsonConverter puts beside each payload, and what an Avro schema says of the same. */

export interface ConnectSchema {
  readonly type: 'int8' | 'int16' | 'int32' | 'int64' | 'float' | 'double' | 'boolean' | 'string' | 'bytes' | 'array' | 'map' | 'struct';
  readonly optional: boolean;
  /** The logical type ("io.debezium.time.Date"), or the name of a struct. */
  readonly name?: string | undefined;
  readonly parameters?: Readonly<Record<string, string>> | undefined;
  /** Of a struct's field: its name. */
  readonly field?: string | undefined;
  readonly fields?: readonly ConnectSchema[] | undefined;
  readonly items?: ConnectSchema | undefined;
}

/** A key or a value as its converter wrote it: bytes are base64 text in JSON and a Buffer in Avro; whole numbers may be bigints. */
export interface ConnectData {
  /** Null where the record brings none. */
  readonly schema: ConnectSchema | null;
  readonly payload: unknown;
}

/** The record cannot be read. Its message says why, without any value. */
export class Undecodable extends Error {
  override readonly name = 'Undecodable';
}

/** The stack has run out: lists in lists, tens of thousands of them, in a schema or in a value. What is above it has all of its stack still. */
export const isTooDeep = (error: unknown): boolean => error instanceof RangeError && error.message.includes('call stack');

export function fieldOf(schema: ConnectSchema | null | undefined, name: string): ConnectSchema | undefined {
  return schema?.fields?.find(({ field }) => field === name);
}

export function asStruct(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
    ? (value as Record<string, unknown>) // Narrowed to just that.
    : null;
}

type AvroNode = string | readonly unknown[] | Readonly<Record<string, unknown>>;

const AVRO_TYPES: Readonly<Record<string, ConnectSchema['type']>> = {
  boolean: 'boolean',
  int: 'int32',
  long: 'int64',
  float: 'float',
  double: 'double',
  bytes: 'bytes',
  fixed: 'bytes',
  string: 'string',
  enum: 'string',
  array: 'array',
  map: 'map',
  record: 'struct',
};

/**
 * What a converter made an Avro schema of: it keeps what Avro has no word for as `connect.…`. `referenced`: schemas of their own whose types it names, each
 * behind those that it names itself.
 */
export function fromAvro(avro: unknown, referenced: readonly unknown[] = []): ConnectSchema {
  const named = new Map<string, ConnectSchema>();
  for (const other of referenced) node(other as AvroNode, named, '');
  return node(avro as AvroNode, named, '');
}

function node(avro: AvroNode, named: Map<string, ConnectSchema>, namespace: string): ConnectSchema {
  if (Array.isArray(avro)) {
    const others = (avro as readonly AvroNode[]).filter((one) => one !== 'null');
    const [only] = others;
    if (only === undefined || others.length > 1) throw new Undecodable('its Avro schema has a union of several types');
    return { ...node(only, named, namespace), optional: true };
  }
  if (typeof avro === 'string') {
    const known = AVRO_TYPES[avro] === undefined ? (named.get(avro) ?? named.get(`${namespace}.${avro}`)) : undefined;
    if (known !== undefined) return known;
    const type = AVRO_TYPES[avro];
    if (type === undefined) throw new Undecodable(`its Avro schema names ${avro}, which is not in it`);
    return { type, optional: false };
  }
  const of = avro as Readonly<Record<string, unknown>>; // A string and a list are dealt with.
  const inner = of['type'];
  if (typeof inner !== 'string') return node(inner as AvroNode, named, namespace);
  const type = typeof of['connect.type'] === 'string' ? (of['connect.type'] as ConnectSchema['type']) : AVRO_TYPES[inner];
  if (type === undefined) return node(inner, named, namespace);
  const name = typeof of['connect.name'] === 'string' ? of['connect.name'] : typeof of['name'] === 'string' ? of['name'] : undefined;
  const parameters = asStruct(of['connect.parameters']) as Readonly<Record<string, string>> | null; // As converters write them.
  const made: ConnectSchema = { type, optional: false, name, parameters: parameters ?? undefined };
  const space = typeof of['namespace'] === 'string' ? of['namespace'] : namespace;
  if (inner === 'record') {
    const fields: ConnectSchema[] = [];
    const struct: ConnectSchema = { ...made, fields };
    named.set(`${space}.${String(of['name'])}`, struct);
    named.set(String(of['name']), struct);
    for (const field of of['fields'] as readonly Readonly<Record<string, unknown>>[])
      fields.push({ ...node(field['type'] as AvroNode, named, space), field: String(field['name']) });
    return struct;
  }
  if (inner === 'array') return { ...made, items: node(of['items'] as AvroNode, named, namespace) };
  if (inner === 'enum' || inner === 'fixed')
    for (const known of [`${space}.${String(of['name'])}`, String(of['name'])]) named.set(known, made);
  return made;
}
