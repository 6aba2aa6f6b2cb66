/** Records in the Confluent wire format: a zero byte, the id of a schema in the registry, and Avro or JSON. Schemas are fetched once; reading is synchronous. */
import { Agent } from 'node:https';
import { SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry';
import avsc from 'avsc';
import { type Clock, systemClock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { RegistryAddress } from '../../wire/kafka/registry.ts';
import type { WrittenAvro } from './avro-envelope.ts';
import type { Slice } from '../../wire/kafka/fetched-record.ts';
import { parseJson } from './json.ts';
import { fromJsonSchema } from './json-schema.ts';
import { type ConnectData, type ConnectSchema, fromAvro, Undecodable } from './connect-schema.ts';
import { answersOnly, type Middleware } from './registry-answers.ts';

/** The schema of this id has to be fetched first. */
export class NeedsSchema extends Error {
  override readonly name = 'NeedsSchema';
  readonly id: number;

  constructor(id: number) {
    super(`schema ${id}`);
    this.id = id;
  }
}

interface Reader {
  readonly schema: ConnectSchema;
  /** Null where the records are JSON. */
  readonly type: avsc.Type | null;
  readonly written: KnownAvro | null;
}

/** An Avro schema as it was written, and what a converter made it of. */
export interface KnownAvro extends WrittenAvro {
  readonly schema: ConnectSchema;
}

/** Before the record itself: the zero byte and the id. */
export const AVRO_HEAD = 5;
const MISSING_MS = 10_000;
/** For so long whoever asks is told what the last one was told, so that many wait for a registry that is away as one. */
const AWAY_MS = 500;

/** Whole numbers as they are: a bigint where a double would not do. The test is strict, or unions with defaults are said to be ambiguous. */
export const Long = avsc.types.LongType.__with({
  fromBuffer: (bytes: Buffer): number | bigint => narrow(bytes.readBigInt64LE()),
  toBuffer: (value: number | bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return bytes;
  },
  fromJSON: (value: number): number => value,
  toJSON: (value: number | bigint): number => Number(value),
  isValid: (value: unknown): boolean => typeof value === 'bigint' || Number.isSafeInteger(value),
  compare: (a: number | bigint, b: number | bigint): number => (a < b ? -1 : a > b ? 1 : 0),
});

const narrow = (value: bigint): number | bigint =>
  value >= -9_007_199_254_740_991n && value <= 9_007_199_254_740_991n ? Number(value) : value;

export class AvroReader {
  readonly #registry: SchemaRegistry | null;
  /**
   * The schemas that were compiled since the last was asked for, as they were written: the compiled one has forgotten what Avro has no word for. Those that one
   * refers to come before it. The library says by no argument which one it compiles, so schemas are loaded one after the other.
   */
  #written: unknown[] = [];
  /** All that these have inside. */
  #parts = new WeakSet<object>();
  #loading: Promise<void> = Promise.resolve();
  readonly #clock: Clock;
  readonly #readers = new Map<number, Reader | Undecodable>();
  /** Until when the registry is not asked again for a schema that it did not have: somebody may register it still. */
  readonly #missingUntilMs = new Map<number, number>();
  #away: { readonly error: PipelineError; readonly untilMs: number } | null = null;

  constructor(options: RegistryAddress | null, clock: Clock = systemClock) {
    this.#clock = clock;
    this.#registry = options === null ? null : registryOf(options, this.#hook, this.#compile);
  }

  /** Called for every part of a schema, the whole of it first. */
  readonly #hook = (schema: unknown): avsc.Type | undefined => {
    if (this.#written.length === 0 || (isPart(schema) && !this.#parts.has(schema) && !isPlain(schema))) this.#written.push(schema);
    addParts(schema, this.#parts);
    forgetDefaults(schema);
    return isLong(schema) ? Long : undefined;
  };

  /** Called for a JSON Schema: what does not fit it shows itself cell by cell. */
  readonly #compile = (schema: unknown): (() => boolean) => {
    this.#written.push(schema);
    return () => true;
  };

  static matches(bytes: Buffer): boolean {
    return bytes[0] === 0 && bytes.length >= AVRO_HEAD;
  }

  static matchesAt({ bytes, from, to }: Slice): boolean {
    return bytes[from] === 0 && to - from >= AVRO_HEAD;
  }

  /** The id of a schema, of what `matchesAt`. */
  static schemaAt({ bytes, from }: Slice): number {
    return bytes.readInt32BE(from + 1);
  }

  /** What is known of a schema in Avro; null where it is not known yet, or none. */
  written(id: number): KnownAvro | null {
    const reader = this.#readers.get(id);
    return reader === undefined || reader instanceof Undecodable ? null : reader.written;
  }

  /** Throws NeedsSchema for an id met for the first time, and Undecodable. `exact`: as for JSON. */
  read(bytes: Buffer, exact: boolean): ConnectData {
    const id = bytes.readInt32BE(1);
    const reader = this.#readers.get(id);
    if (reader === undefined) {
      if (this.#registry === null) throw new Undecodable('it names a schema of a registry, and the source names no registry');
      throw new NeedsSchema(id);
    }
    if (reader instanceof Undecodable) {
      const untilMs = this.#missingUntilMs.get(id);
      if (untilMs !== undefined && this.#clock.monotonic() >= untilMs) throw new NeedsSchema(id);
      throw reader;
    }
    if (reader.type === null) return { schema: reader.schema, payload: parseJson(bytes.toString('utf8', AVRO_HEAD), exact) };
    try {
      return { schema: reader.schema, payload: reader.type.fromBuffer(bytes.subarray(AVRO_HEAD)) as unknown };
    } catch {
      throw new Undecodable(`it does not fit the schema ${id} that it names`);
    }
  }

  /** Throws SOURCE_UNREACHABLE where the registry is away, SOURCE_AUTH where it will not have us; an id that it does not know makes its records undecodable. */
  load(id: number): Promise<void> {
    const loaded = this.#loading.then(() => this.#load(id));
    this.#loading = loaded.catch(() => {}); // Told to whoever asked.
    return loaded;
  }

  /** What the registry did not have, or did not answer, it is asked for again with the next record. */
  askAnew(): void {
    this.#away = null;
    for (const id of this.#missingUntilMs.keys()) this.#missingUntilMs.set(id, -Infinity);
  }

  async #load(id: number): Promise<void> {
    const known = this.#readers.get(id);
    const isMissing = (this.#missingUntilMs.get(id) ?? Infinity) <= this.#clock.monotonic();
    if (known !== undefined && !isMissing) return; // Somebody else asked for it meanwhile.
    if (this.#away !== null && this.#clock.monotonic() < this.#away.untilMs) throw this.#away.error;
    try {
      this.#written = [];
      this.#parts = new WeakSet();
      const schema = await this.#registry?.getSchema(id);
      const root = this.#written.pop();
      if (schema === undefined || root === undefined)
        throw new Undecodable(`the schema ${id} that it names is none of Avro, and no JSON Schema`);
      const reader =
        schema instanceof avsc.Type ? avroReader(schema, root, this.#written) : { type: null, schema: fromJsonSchema(root), written: null };
      this.#readers.set(id, reader);
      this.#missingUntilMs.delete(id);
    } catch (error) {
      this.#readers.set(id, this.#refusalOf(id, error));
    }
  }

  /** What makes records of the schema undecodable. Throws where that is the registry's state of now, and no fault of theirs. */
  #refusalOf(id: number, error: unknown): Undecodable {
    if (error instanceof Undecodable) return error;
    const status = statusOf(error);
    if (status === 404) {
      this.#missingUntilMs.set(id, this.#clock.monotonic() + MISSING_MS);
      return new Undecodable(`the registry has no schema ${id}, which it names`);
    }
    // What the registry takes for a schema the library may not.
    if (status === null) return new Undecodable(`the schema ${id} that it names cannot be used`);
    const code = status === 401 || status === 403 ? 'SOURCE_AUTH' : 'SOURCE_UNREACHABLE';
    const failure = new PipelineError(code, `asking the schema registry for the schema ${id}`, { cause: error });
    this.#away = { error: failure, untilMs: this.#clock.monotonic() + AWAY_MS };
    throw failure;
  }
}

function avroReader(type: avsc.Type, root: unknown, referenced: readonly unknown[]): Reader {
  const schema = fromAvro(root, referenced);
  return { type, schema, written: { schema, root, referenced } };
}

function registryOf(
  { url, username = null, password = null, token = null, tls = null }: RegistryAddress,
  typeHook: (schema: unknown) => avsc.Type | undefined,
  compile: (schema: unknown) => () => boolean,
): SchemaRegistry {
  const at = new URL(url);
  const user = username ?? (at.username === '' ? null : decodeURIComponent(at.username));
  const secret = password ?? decodeURIComponent(at.password);
  at.username = '';
  at.password = '';
  return new SchemaRegistry(
    {
      host: at.href.replace(/\/$/, ''),
      retry: { retries: 2 },
      ...(user === null ? {} : { auth: { username: user, password: secret } }),
      middlewares: [...(token === null ? [] : [bearer(token)]), answersOnly],
      ...(tls === null ? {} : { agent: new Agent({ ...tls, keepAlive: true }) }),
    },
    // By a hook and not by name: names are kept from one version of a schema to the next, and clash.
    // Passed on to avsc, and taken for a validator, as they are.
    { [SchemaType.AVRO]: { typeHook } as never, [SchemaType.JSON]: { ajvInstance: { compile } } as never },
  );
}

function bearer(token: string): Middleware {
  return () => ({
    prepareRequest: async (next) => (await next()).enhance({ headers: { authorization: `Bearer ${token}` } }),
  });
}

const isPart = (schema: unknown): schema is object => typeof schema === 'object' && schema !== null;

/** The library makes these of words by itself. */
const isPlain = (schema: object): boolean => 'type' in schema && typeof schema.type === 'string' && Object.keys(schema).length === 1;

function addParts(schema: unknown, parts: WeakSet<object>): void {
  if (!isPart(schema) || parts.has(schema)) return;
  parts.add(schema);
  for (const part of Object.values(schema)) addParts(part, parts);
}

/**
 * Records are read by the schema that they were written with, which asks for no default; and converters write some that the library refuses a whole schema for, as
 * they do for the infinity of a float.
 */
function forgetDefaults(schema: unknown): void {
  if (!isPart(schema) || !('fields' in schema) || !Array.isArray(schema.fields)) return;
  for (const field of schema.fields as readonly unknown[]) if (isPart(field) && 'default' in field) delete field.default;
}

function isLong(schema: unknown): boolean {
  return schema === 'long' || (typeof schema === 'object' && schema !== null && 'type' in schema && schema.type === 'long');
}

function statusOf(error: unknown): number | null {
  return typeof error === 'object' && error !== null && 'status' in error && typeof error.status === 'number' ? error.status : null;
}
