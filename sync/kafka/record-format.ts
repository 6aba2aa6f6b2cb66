/** Records as bytes: JSON, alone or with its schema as Kafka Connect's JsonConverter writes it, or Avro by a schema registry. */
import type { ConnectSchema, ConnectValue } from './connect-schema.ts';
import { jsonOf, type Shape, type Struct } from './envelope.ts';

/** Made once for a shape of a dataset. */
export interface RecordEncoder {
  readonly key: (key: Struct) => Buffer;
  readonly value: (value: Struct) => Buffer;
}

/** May ask a registry, so it is made before anything is written. */
export type RecordFormat = (shape: Shape, topic: string) => Promise<RecordEncoder>;

/** `schemas`: every record brings its own (`schemas.enable=true`). */
export function jsonFormat(schemas: boolean): RecordFormat {
  const encoder = (schema: ConnectSchema): ((payload: Struct) => Buffer) =>
    schemas ? jsonBytes(schema, `{"schema":${schemaJson(schema)},"payload":`, '}') : jsonBytes(schema, '', '');
  return (shape) => Promise.resolve({ key: encoder(shape.key), value: encoder(shape.value) });
}

/** A default is written as the payload has it: bytes in base64, whole numbers with all their digits. */
export function schemaJson({ fields, items, default: fallback, ...own }: ConnectSchema): string {
  const more = [
    ...(fields === undefined ? [] : [`"fields":[${fields.map(schemaJson).join(',')}]`]),
    ...(items === undefined ? [] : [`"items":${schemaJson(items)}`]),
    ...(fallback === undefined ? [] : [`"default":${jsonOf(fallback)}`]),
  ];
  return `${[JSON.stringify(own).slice(0, -1), ...more].join(',')}}`;
}

/** As bytes: the client would measure a text three times, and what is before the payload can be ten times as long. */
function jsonBytes(schema: ConnectSchema, before: string, behind: string): (payload: Struct) => Buffer {
  const head = Buffer.from(before);
  const write = jsonWriter(schema);
  return (payload) => {
    const text = `${write(payload)}${behind}`;
    const bytes = Buffer.allocUnsafe(head.length + Buffer.byteLength(text));
    head.copy(bytes);
    bytes.write(text, head.length);
    return bytes;
  };
}

/** What `jsonOf` says, with the names and types of the schema resolved once: half of what a record costs would be asking for them. */
function jsonWriter(schema: ConnectSchema): (value: ConnectValue | undefined) => string {
  const write = plainWriter(schema);
  return (value) => (value === null || value === undefined ? 'null' : write(value));
}

function plainWriter({ type, fields, items }: ConnectSchema): (value: ConnectValue) => string {
  switch (type) {
    case 'string':
      return JSON.stringify;
    case 'int16':
    case 'int32':
    case 'int64':
    case 'boolean':
      return String;
    case 'struct':
      return structWriter(fields ?? []);
    case 'array': {
      const write = items === undefined ? jsonOf : jsonWriter(items);
      return (value) => `[${(value as readonly ConnectValue[]).map(write).join(',')}]`;
    }
    case 'float':
    case 'double':
    case 'bytes':
      return jsonOf;
  }
}

function structWriter(fields: NonNullable<ConnectSchema['fields']>): (value: ConnectValue) => string {
  const names = fields.map(({ field }) => field);
  const heads = names.map((name, i) => `${i === 0 ? '{' : ','}${JSON.stringify(name)}:`);
  const writers = fields.map(jsonWriter);
  if (names.length === 0) return () => '{}';
  return (value) => {
    const struct = value as { readonly [field: string]: ConnectValue };
    let text = '';
    for (let i = 0; i < names.length; i++) text += `${heads[i]}${writers[i]?.(struct[names[i] ?? ''])}`;
    return `${text}}`;
  };
}
