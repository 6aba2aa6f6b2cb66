/**
 * What we ask of a Kafka client, and the one file that knows which one it is (kafkajs). A consumer here is told what to read and from where: every
 * partition that the group gives it stays paused until somebody says at which offset it begins. The group's own offsets are for others to look at.
 */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import kafkajs, { type Admin, type Consumer, type KafkaConfig, type LogEntry } from 'kafkajs';
import snappy from 'kafkajs-snappy';
import { compressFrame, decompressFrame } from 'lz4-napi';
import { PipelineError } from '../../core/errors.ts';
import type { BearerToken } from './bearer-token.ts';

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;

export interface KafkaConnection {
  /** `host:port` */
  readonly brokers: readonly string[];
  readonly tls?: TlsOptions | null;
  readonly sasl?: SaslOptions | null;
}

/** All of it PEM but for the last two; what is missing is left out. */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly passphrase?: string;
  /** Whom the brokers' certificate has to name, where that is not the host they are reached by. */
  readonly servername?: string;
}

export type SaslOptions =
  | { readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'; readonly username: string; readonly password: string }
  | { readonly mechanism: 'oauthbearer'; readonly token: BearerToken; readonly extensions: Readonly<Record<string, string>> };

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export interface KafkaRecord {
  readonly offset: bigint;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>;
}

/** Records of one partition as one answer brought them, in order. */
export interface Fetched extends TopicPartition {
  readonly records: readonly KafkaRecord[];
  /** Where to go on: behind what the answer held, records that were filtered out (of aborted transactions, control records) included. */
  readonly next: bigint;
  /** The end of the partition when it answered. */
  readonly end: bigint;
}

export interface Watermarks {
  /** The oldest offset that is kept. */
  readonly low: bigint;
  /** The offset that the next record gets. */
  readonly high: bigint;
}

export interface ConsumeOptions {
  /** How long a member may be silent before its partitions go to others. */
  readonly sessionMs: number;
  readonly group: string;
  readonly topics: readonly string[];
  readonly fetch: { readonly waitMs: number; readonly bytesMax: number; readonly partitionBytesMax: number };
  /** The group gave these partitions: all of them are paused now, and begin where `begin` says. */
  readonly onAssigned: (partitions: readonly TopicPartition[]) => void;
  readonly onRecords: (fetched: Fetched) => void;
  /** The offset asked for is not kept. The client goes on from elsewhere, so whoever wants no gap has to stop. */
  readonly onOutOfRange: (partition: TopicPartition) => void;
  /** The consumer has ended for good. */
  readonly onFailure: (error: PipelineError) => void;
}

export interface KafkaConsumer extends AsyncDisposable {
  begin(partition: TopicPartition, offset: bigint): void;
  pause(partition: TopicPartition): void;
  resume(partition: TopicPartition): void;
  /** Tells the group how far we are, for those who watch its lag. */
  commit(offsets: readonly (TopicPartition & { readonly offset: bigint })[]): Promise<void>;
}

export interface KafkaClient extends AsyncDisposable {
  /** By partition; null where there is no such topic. */
  watermarks(topic: string): Promise<ReadonlyMap<number, Watermarks> | null>;
  consume(options: ConsumeOptions): Promise<KafkaConsumer>;
  /** Forgets the group's offsets. */
  deleteGroup(group: string): Promise<void>;
}

const CONNECT_MS = 5000;
const HEARTBEAT_MS = 1000;

CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder: { buffer: Buffer }) => compressFrame(encoder.buffer),
  decompress: (bytes: Buffer) => decompressFrame(bytes),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder: { buffer: Buffer }) => Promise.resolve(zstdCompressSync(encoder.buffer)),
  decompress: (bytes: Buffer) => Promise.resolve(zstdDecompressSync(bytes)),
});

export function kafkaClient(connection: KafkaConnection): KafkaClient {
  return new Client(connection);
}

class Client implements KafkaClient {
  readonly #connection: KafkaConnection;
  #admin: Promise<Admin> | null = null;

  constructor(connection: KafkaConnection) {
    this.#connection = connection;
  }

  async watermarks(topic: string): Promise<ReadonlyMap<number, Watermarks> | null> {
    const doing = `asking for the offsets of ${topic}`;
    return this.#ask(doing, async (admin) => {
      try {
        const found = await admin.fetchTopicOffsets(topic);
        return new Map(found.map(({ partition, low, high }) => [partition, { low: BigInt(low), high: BigInt(high) }]));
      } catch (error) {
        if (typeOf(error) === 'UNKNOWN_TOPIC_OR_PARTITION') return null;
        throw error;
      }
    });
  }

  async deleteGroup(group: string): Promise<void> {
    await this.#ask(`deleting the group ${group}`, async (admin) => {
      const { groups } = await admin.listGroups();
      if (groups.some(({ groupId }) => groupId === group)) await admin.deleteGroups([group]);
    });
  }

  async consume(options: ConsumeOptions): Promise<KafkaConsumer> {
    const { group, fetch } = options;
    const onLog = ({ log }: LogEntry): void => {
      // Nothing else tells of it. The answer to a fetch may be older than a `begin` that has mended it: whoever is told looks again.
      if (!log.message.startsWith('Offset out of range')) return;
      options.onOutOfRange({ topic: String(log['topic']), partition: Number(log['partition']) });
    };
    const consumer = this.#kafka(onLog).consumer({
      groupId: group,
      sessionTimeout: options.sessionMs,
      heartbeatInterval: HEARTBEAT_MS,
      // The default of 5 s holds up every rebalance, and the end, by as much.
      maxWaitTimeInMs: fetch.waitMs,
      maxBytes: fetch.bytesMax,
      maxBytesPerPartition: fetch.partitionBytesMax,
      // Only what is committed, where whoever writes the topic does so in transactions.
      readUncommitted: false,
      allowAutoTopicCreation: false,
      metadataMaxAge: 30_000,
      retry: { retries: 3, restartOnFailure: () => Promise.resolve(false) },
    });
    const running = new Running(consumer, options);
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [...options.topics], fromBeginning: true });
      await running.start();
    } catch (error) {
      await running[Symbol.asyncDispose]();
      throw failure(error, `reading ${options.topics.join(', ')}`);
    }
    return running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const admin = this.#admin;
    this.#admin = null;
    await admin?.then((one) => one.disconnect()).catch(() => {}); // It may never have been there.
  }

  async #ask<T>(doing: string, question: (admin: Admin) => Promise<T>): Promise<T> {
    try {
      this.#admin ??= this.#connectAdmin();
      return await question(await this.#admin);
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw failure(error, doing);
    }
  }

  async #connectAdmin(): Promise<Admin> {
    const admin = this.#kafka(() => {}).admin();
    await admin.connect();
    return admin;
  }

  #kafka(onLog: (entry: LogEntry) => void): InstanceType<typeof Kafka> {
    const { brokers, tls = null, sasl = null } = this.#connection;
    const config: KafkaConfig = {
      clientId: 'tidegate',
      brokers: [...brokers],
      connectionTimeout: CONNECT_MS,
      retry: { retries: 3, initialRetryTime: 100, maxRetryTime: 1000 },
      logLevel: logLevel.ERROR,
      logCreator: () => onLog,
      ...(tls === null ? {} : { ssl: { ...tls } }),
      ...(sasl === null ? {} : { sasl: saslOf(sasl) }),
    };
    return new Kafka(config);
  }
}

class Running implements KafkaConsumer {
  readonly #consumer: Consumer;
  readonly #options: ConsumeOptions;
  #ended = false;

  constructor(consumer: Consumer, options: ConsumeOptions) {
    this.#consumer = consumer;
    this.#options = options;
    const { CRASH, GROUP_JOIN } = consumer.events;
    consumer.on(GROUP_JOIN, ({ payload }) => {
      const partitions = Object.entries(payload.memberAssignment).flatMap(([topic, all]) => all.map((partition) => ({ topic, partition })));
      // Before the first fetch after the join, which would begin at the group's own offsets.
      for (const partition of partitions) this.pause(partition);
      options.onAssigned(partitions);
    });
    consumer.on(CRASH, ({ payload: { error } }) => {
      if (!this.#ended) options.onFailure(failure(error, `reading ${options.topics.join(', ')}`));
    });
  }

  async start(): Promise<void> {
    await this.#consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: 1,
      eachBatch: (given) => {
        if (this.#ended || given.isStale()) return Promise.resolve();
        const { batch } = given;
        const { topic, partition, messages } = batch;
        const records = messages.map(({ offset, timestamp, key, value, headers = {} }) => ({
          offset: BigInt(offset),
          timestampMs: Number(timestamp),
          key,
          value,
          headers,
        }));
        const last = batch.lastOffset();
        this.#options.onRecords({ topic, partition, records, next: BigInt(last) + 1n, end: BigInt(batch.highWatermark) });
        given.resolveOffset(last);
        return given.heartbeat();
      },
    });
  }

  begin(partition: TopicPartition, offset: bigint): void {
    if (this.#ended) return;
    this.#consumer.seek({ ...partition, offset: String(offset) });
    this.resume(partition);
  }

  pause({ topic, partition }: TopicPartition): void {
    if (!this.#ended) this.#consumer.pause([{ topic, partitions: [partition] }]);
  }

  resume({ topic, partition }: TopicPartition): void {
    if (!this.#ended) this.#consumer.resume([{ topic, partitions: [partition] }]);
  }

  async commit(offsets: readonly (TopicPartition & { readonly offset: bigint })[]): Promise<void> {
    if (this.#ended || offsets.length === 0) return;
    await this.#consumer.commitOffsets(offsets.map(({ offset, ...partition }) => ({ ...partition, offset: String(offset) })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    await this.#consumer.disconnect().catch(() => {}); // It is gone either way.
  }
}

function saslOf(sasl: SaslOptions): NonNullable<KafkaConfig['sasl']> {
  switch (sasl.mechanism) {
    case 'plain':
      return { mechanism: sasl.mechanism, username: sasl.username, password: sasl.password };
    case 'scram-sha-256':
      return { mechanism: sasl.mechanism, username: sasl.username, password: sasl.password };
    case 'scram-sha-512':
      return { mechanism: sasl.mechanism, username: sasl.username, password: sasl.password };
    case 'oauthbearer': {
      const { token, extensions } = sasl;
      // It passes the extensions on, though its type does not say so.
      return { mechanism: sasl.mechanism, oauthBearerProvider: async () => ({ value: await token(), extensions }) };
    }
  }
}

/** kafkajs's errors by their type on the wire, as one of the coded ones. */
function failure(error: unknown, doing: string): PipelineError {
  const all = [...causesOf(error)];
  const own = all.find((one) => one instanceof PipelineError);
  if (own !== undefined) return own;
  const text = error instanceof Error ? error.message : String(error);
  const type = typeOf(error);
  const names = all.map(({ name }) => name);
  if (names.includes('KafkaJSSASLAuthenticationError') || type === 'SASL_AUTHENTICATION_FAILED')
    return new PipelineError('SOURCE_AUTH', `${doing}: ${text}`, { cause: error });
  // The answer to a token that is refused is no error to the client, which goes on as if it were let in.
  if (type === 'ILLEGAL_SASL_STATE')
    return new PipelineError('SOURCE_AUTH', `${doing}: the brokers do not take the token`, { cause: error });
  if (type?.endsWith('_AUTHORIZATION_FAILED') === true) return new PipelineError('SOURCE_PRIVILEGE', `${doing}: ${text}`, { cause: error });
  if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return new PipelineError('SOURCE_TABLE_MISSING', `${doing}: ${text}`, { cause: error });
  if (all.some(isMistake)) return new PipelineError('BUG', `${doing} failed in a way that was not foreseen`, { cause: error });
  if (names.some((name) => name.startsWith('KafkaJS')))
    return new PipelineError('SOURCE_UNREACHABLE', `${doing}: ${text}`, { cause: error });
  return new PipelineError('BUG', `${doing} failed in a way that was not foreseen`, { cause: error });
}

/** The client takes those for the end of it, and wraps them as if the brokers had said so. */
const isMistake = (error: Error): boolean => /^(?:Type|Range|Reference|Syntax)Error$/.test(error.name);

/** The error that the broker named, also where a retry has wrapped it. */
function typeOf(error: unknown): string | null {
  for (const one of causesOf(error)) if ('type' in one && typeof one.type === 'string') return one.type;
  return null;
}

function* causesOf(error: unknown): Generator<Error> {
  for (let at = error; at instanceof Error; at = at.cause) yield at;
}
