/**
 * Records in Avro, as Kafka Connect's Avro converters write them: schemas that keep what Avro has no word for as `connect.…`, and values in the Confluent wire format (a
 * zero byte, the schema's id at the registry, Avro's binary).
 */
import { PipelineError } from '../../core/errors.ts';
import type { SchemaRegistryWriter } from '../../wire/kafka/registry.ts';
import type { ConnectSchema, ConnectValue } from './connect-schema.ts';
import type { RecordFormat } from './record-format.ts';

export type AvroNode = string | readonly AvroNode[] | { readonly [name: string]: unknown };

/** Schemas are registered under `<topic>-key` and `<topic>-value` before the first record of their shape. */
export function avroFormat(registry: SchemaRegistryWriter): RecordFormat {
  return async ({ key, value }, topic) => {
    const [keyId, valueId] = [
      key.fields.length === 0 ? 0 : await registry.register(`${topic}-key`, avroSchema(key)),
      await registry.register(`${topic}-value`, avroSchema(value)),
    ];
    return { key: encoder(key, keyId), value: encoder(value, valueId) };
  };
}

/** As JSON. Where a name is no name to Avro, what stands in its way becomes an underscore, as Debezium has it. */
function avroSchema(schema: ConnectSchema): string {
  return JSON.stringify(node(schema, new Set())).replaceAll(EMPTY, ESCAPED);
}

/** Apicurio takes no schema that has this for a default: the same text, written otherwise. */
const EMPTY = '"{}"';
const ESCAPED = '"\\u007b}"';

const AVRO_TYPES = {
  int16: 'int',
  int32: 'int',
  int64: 'long',
  float: 'float',
  double: 'double',
  boolean: 'boolean',
  string: 'string',
  bytes: 'bytes',
} as const;

const DECIMAL = 'org.apache.kafka.connect.data.Decimal';

function node(schema: ConnectSchema, known: Set<string>): AvroNode {
  const plain = schema.type === 'struct' ? record(schema, known) : primitive(schema, known);
  if (!schema.optional) return plain;
  return isNullFirst(schema) ? ['null', plain] : [plain, 'null'];
}

/** What comes first in a union is what its default may be. */
const isNullFirst = (schema: ConnectSchema): boolean => defaultOf(schema) === undefined;

/** Bytes are a text with a character for each. A whole number that JSON's own has no room for is left out. */
function defaultOf({ default: value }: ConnectSchema): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
  if (typeof value !== 'bigint') return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : undefined;
}

function primitive(schema: ConnectSchema, known: Set<string>): AvroNode {
  const { type, name, version, parameters, items } = schema;
  if (type === 'struct') return 'null';
  if (type === 'array') return { type, items: items === undefined ? 'null' : node(items, known) };
  const avro = AVRO_TYPES[type];
  const more = {
    ...(type === 'int16' ? { 'connect.type': type } : {}),
    ...(version === undefined ? {} : { 'connect.version': version }),
    ...(parameters === undefined ? {} : { 'connect.parameters': parameters }),
    ...(defaultOf(schema) === undefined ? {} : { 'connect.default': defaultOf(schema) }),
    ...(name === undefined ? {} : { 'connect.name': name }),
    ...(name === DECIMAL ? decimal(parameters) : {}),
  };
  return Object.keys(more).length === 0 ? avro : { type: avro, ...more };
}

function decimal(parameters: ConnectSchema['parameters']): object {
  const [scale, precision] = [Number(parameters?.['scale'] ?? 0), Number(parameters?.['connect.decimal.precision'] ?? 64)];
  // To Avro a scale lies between 0 and the precision; Connect's own words stand beside it.
  return scale < 0 || scale > precision ? {} : { logicalType: 'decimal', scale, precision };
}

/** One that was written out already goes by its name. */
function record({ name = '', version, doc, fields = [] }: ConnectSchema, known: Set<string>): AvroNode {
  const full = name.split('.').map(avroName).join('.');
  if (known.has(full)) return full;
  known.add(full);
  const at = full.lastIndexOf('.');
  return {
    type: 'record',
    name: full.slice(at + 1),
    ...(at < 0 ? {} : { namespace: full.slice(0, at) }),
    fields: fields.map(({ field, ...of }) => ({
      name: avroName(field),
      type: node(of, known),
      ...(defaultOf(of) !== undefined ? { default: defaultOf(of) } : of.optional ? { default: null } : {}),
    })),
    ...(version === undefined ? {} : { 'connect.version': version }),
    'connect.name': full,
    ...(doc === undefined ? {} : { 'connect.doc': doc }),
  };
}

const avroName = (name: string): string => name.replace(/[^A-Za-z0-9_]/g, '_').replace(/^(?=\d)/, '_');

type Put = (out: Bytes, value: ConnectValue | undefined) => void;

function encoder(schema: ConnectSchema, id: number): (value: ConnectValue) => Buffer {
  const put = putter(schema);
  const out = new Bytes();
  return (value) => {
    out.reset();
    out.byte(0);
    out.int32(id);
    put(out, value);
    return out.copy();
  };
}

function putter(schema: ConnectSchema): Put {
  const put = plainPutter(schema);
  if (!schema.optional) return put;
  const [ofNull, ofValue] = isNullFirst(schema) ? [0, 1] : [1, 0]; // Places in the union.
  return (out, value) => {
    const isNull = value === null || value === undefined;
    out.long(isNull ? ofNull : ofValue);
    if (!isNull) put(out, value);
  };
}

function plainPutter(schema: ConnectSchema): Put {
  switch (schema.type) {
    case 'int16':
    case 'int32':
    case 'int64':
      return (out, value) => out.long(value as number | bigint);
    case 'float':
      return (out, value) => out.float(value as number);
    case 'double':
      return (out, value) => out.double(value as number);
    case 'boolean':
      return (out, value) => out.byte(value === true ? 1 : 0);
    case 'string':
      return (out, value) => out.bytes(Buffer.from(value as string));
    case 'bytes':
      return (out, value) => out.bytes(value as Buffer);
    case 'array': {
      const put = putter(required(schema.items));
      return (out, value) => {
        const list = value as readonly ConnectValue[];
        if (list.length > 0) {
          out.long(list.length);
          for (const one of list) put(out, one);
        }
        out.long(0);
      };
    }
    case 'struct': {
      const fields = (schema.fields ?? []).map((field) => [field.field, putter(field)] as const);
      return (out, value) => {
        const struct = value as { readonly [field: string]: ConnectValue };
        for (const [name, put] of fields) put(out, struct[name]);
      };
    }
  }
}

function required(items: ConnectSchema | undefined): ConnectSchema {
  if (items === undefined) throw new PipelineError('BUG', 'the schema of a list says nothing of what is in it');
  return items;
}

/** Avro's binary, in a buffer that grows. */
class Bytes {
  #buffer = Buffer.alloc(1024);
  #at = 0;

  reset(): void {
    this.#at = 0;
  }

  copy(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#at));
  }

  byte(value: number): void {
    this.#room(1);
    this.#buffer[this.#at++] = value;
  }

  int32(value: number): void {
    this.#room(4);
    this.#at = this.#buffer.writeInt32BE(value, this.#at);
  }

  /** In zigzag, seven bits a byte, the least first. */
  long(value: number | bigint): void {
    this.#room(10);
    if (typeof value === 'number' && value >= -0x4000_0000 && value < 0x4000_0000) {
      let rest = (value << 1) ^ (value >> 31);
      for (; rest > 0x7f; rest >>>= 7) this.#buffer[this.#at++] = (rest & 0x7f) | 0x80;
      this.#buffer[this.#at++] = rest;
      return;
    }
    const whole = BigInt(value);
    let rest = BigInt.asUintN(64, (whole << 1n) ^ (whole >> 63n));
    for (; rest > 0x7fn; rest >>= 7n) this.#buffer[this.#at++] = Number(rest & 0x7fn) | 0x80;
    this.#buffer[this.#at++] = Number(rest);
  }

  float(value: number): void {
    this.#room(4);
    this.#at = this.#buffer.writeFloatLE(value, this.#at);
  }

  double(value: number): void {
    this.#room(8);
    this.#at = this.#buffer.writeDoubleLE(value, this.#at);
  }

  bytes(value: Buffer): void {
    this.long(value.length);
    this.#room(value.length);
    this.#at += value.copy(this.#buffer, this.#at);
  }

  #room(more: number): void {
    if (this.#at + more <= this.#buffer.length) return;
    const larger = Buffer.alloc(Math.max(2 * this.#buffer.length, this.#at + more));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}
