/**
 * What we ask of a Kafka client, and the one file that knows which one it is (kafkajs; its errors are in failures.ts). A consumer here is told what to read and from where: every
 * partition that the group gives it stays paused until somebody says at which offset it begins. The group's own offsets are for others to look at.
 */
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import kafkajs, { type Admin, type Consumer, type KafkaConfig, type LogEntry, type Producer, type TopicMessages } from 'kafkajs';
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';
import snappy from 'kafkajs-snappy';
import { compressFrame, decompressFrame } from 'lz4-napi';
import { systemClock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { BearerToken } from './bearer-token.ts';
import { failure, isForbidden, type Side, typeOf } from './failures.ts';
import { type FetchingCluster, readFetchAnswers, recordsOf } from './fetch-answer.ts';
import {
  decodeMetadataResponse,
  encodeMetadataRequest,
  METADATA_API,
  TOPIC_FORBIDDEN,
  type TopicMetadata,
  UNKNOWN_TOPIC,
} from './metadata.ts';
import { type KafkaTransactions, openTransactions } from './transactions.ts';

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel, Partitioners } = kafkajs;

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
  /** How often it looks whether partitions were added. */
  readonly metadataMs: number;
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

/** A record to be written; its partition follows from its key, as Java's clients have it. */
export interface OutgoingRecord {
  readonly topic: string;
  readonly key: Buffer | string | null;
  readonly value: Buffer | string | null;
  readonly headers: KafkaRecord['headers'];
}

export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

export interface KafkaProducer extends AsyncDisposable {
  /** Resolves once every replica in sync has all of them; in one partition in this order. What it throws leaves open which of them are there. */
  send(records: readonly OutgoingRecord[]): Promise<void>;
}

export interface TopicSettings {
  readonly topic: string;
  /** Null leaves it to the brokers, as in the others. */
  readonly partitions: number | null;
  readonly replication: number | null;
  /** The topic's own options, such as retention.ms. */
  readonly options: Readonly<Record<string, string>>;
}

/** `other`: it was there already, and has these otherwise: by name, as it is. */
export type TopicFound =
  { readonly kind: 'made' | 'same' } | { readonly kind: 'other'; readonly settings: Readonly<Record<string, string>> };

export interface KafkaClient extends AsyncDisposable {
  /** Those of `names` that there are; with null, all that are not Kafka's own. */
  topics(names: readonly string[] | null): Promise<ReadonlyMap<string, TopicMetadata>>;
  /** By partition; null where there is no such topic. */
  watermarks(topic: string): Promise<ReadonlyMap<number, Watermarks> | null>;
  consume(options: ConsumeOptions): Promise<KafkaConsumer>;
  /** A producer that writes nothing twice of its own accord. It ends with its first failure: whoever wants to go on makes another. */
  produce(compression?: Compression): Promise<KafkaProducer>;
  /** A producer whose records become visible together, to those who read what is committed. Takes the transactional id over. */
  transact(id: string, compression?: Compression): Promise<KafkaTransactions>;
  /** Makes a topic where there is none. One that is there is left as it is. */
  makeTopic(settings: TopicSettings): Promise<TopicFound>;
  /** The options of a topic as they are in force, its own and those of the brokers; null where there is none. */
  topicOptions(topic: string): Promise<ReadonlyMap<string, string> | null>;
  /** How a topic that is there compares; null where there is none. */
  compareTopic(settings: TopicSettings): Promise<TopicFound | null>;
  /** Forgets the group's offsets. */
  deleteGroup(group: string): Promise<void>;
}

const CONNECT_MS = 5000;
const HEARTBEAT_MS = 1000;
const METADATA_MS = 5000;
const NO_LEADER: ReadonlySet<string> = new Set(['NOT_LEADER_FOR_PARTITION', 'LEADER_NOT_AVAILABLE']);
const LEADER_TRIES = 20;
const LEADER_MS = 100;

CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder: { buffer: Buffer }) => compressFrame(encoder.buffer),
  decompress: (bytes: Buffer) => decompressFrame(bytes),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder: { buffer: Buffer }) => Promise.resolve(zstdCompressSync(encoder.buffer)),
  decompress: (bytes: Buffer) => Promise.resolve(zstdDecompressSync(bytes)),
});

// The client sets a timer after each answer, also where nothing waits and the brokers hold nobody back: then it is one of minus half a century, of which Node warns.
const { scheduleCheckPendingRequests } = RequestQueue.prototype;
RequestQueue.prototype.scheduleCheckPendingRequests = function (): void {
  if (this.pending.length > 0 || this.throttledUntil > Date.now()) scheduleCheckPendingRequests.call(this);
};

type CompressionType = kafkajs.CompressionTypes;
const COMPRESSIONS: Readonly<Record<Compression, CompressionType>> = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

function decompress(bytes: Buffer, codec: number): Promise<Buffer> {
  const made = (CompressionCodecs as Readonly<Record<number, (() => { decompress(bytes: Buffer): Promise<Buffer> }) | undefined>>)[codec]; // Codecs have it, their type does not say so.
  if (made === undefined) throw new PipelineError('BUG', `records are compressed by ${codec}, which nobody knows`);
  return made().decompress(bytes);
}

/** `side` says whose failures its are. */
export function kafkaClient(connection: KafkaConnection, side: Side = 'SOURCE'): KafkaClient {
  return new Client(connection, side);
}

/** As much of the client's inside as is needed to send a request that it has no word for. */
interface Cluster extends FetchingCluster {
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  readonly brokerPool: {
    /** Asks one broker after the other until one answers; null where none does. */
    withBroker<T>(question: (broker: unknown) => Promise<T>): Promise<T | null>;
    readonly seedBroker: {
      readonly connectionPool: {
        send<T>(request: {
          readonly request: typeof METADATA_API & { readonly encode: () => Promise<{ readonly buf: Buffer; readonly buffer: Buffer }> };
          readonly response: { readonly decode: (bytes: Buffer) => Promise<T>; readonly parse: (decoded: T) => Promise<T> };
        }): Promise<T>;
      };
    };
  };
}

class Client implements KafkaClient {
  readonly #connection: KafkaConnection;
  readonly #side: Side;
  #admin: Promise<Admin> | null = null;
  #cluster: Cluster | null = null;

  constructor(connection: KafkaConnection, side: Side) {
    this.#connection = connection;
    this.#side = side;
  }

  async watermarks(topic: string): Promise<ReadonlyMap<number, Watermarks> | null> {
    const doing = `asking for the offsets of ${topic}`;
    return this.#askAdmin(doing, async (admin) => {
      for (let left = LEADER_TRIES; ; left--) {
        try {
          const found = await admin.fetchTopicOffsets(topic);
          return new Map(found.map(({ partition, low, high }) => [partition, { low: BigInt(low), high: BigInt(high) }]));
        } catch (error) {
          if (typeOf(error) === 'UNKNOWN_TOPIC_OR_PARTITION') return null;
          // A partition that was made just now has none yet.
          if (!NO_LEADER.has(typeOf(error) ?? '') || left === 0) throw error;
          await systemClock.sleep(LEADER_MS);
          await admin.fetchTopicMetadata({ topics: [topic] });
        }
      }
    });
  }

  async topics(names: readonly string[] | null): Promise<ReadonlyMap<string, TopicMetadata>> {
    const all = await this.#ask('asking for topics', async () => {
      this.#cluster ??= clusterOf(this.#kafka(() => {}));
      await this.#cluster.connect();
      const encoded = encodeMetadataRequest(names);
      return this.#cluster.brokerPool.seedBroker.connectionPool.send({
        request: { ...METADATA_API, encode: () => Promise.resolve({ buf: encoded, buffer: encoded }) },
        response: { decode: (bytes) => Promise.resolve(decodeMetadataResponse(bytes)), parse: (decoded) => Promise.resolve(decoded) },
      });
    });
    const forbidden = all.find(({ error }) => error === TOPIC_FORBIDDEN);
    if (forbidden !== undefined)
      throw new PipelineError(`${this.#side}_PRIVILEGE`, `asking for the topic ${forbidden.name}: not authorized`);
    return new Map(all.flatMap((one) => (one.error === UNKNOWN_TOPIC || (names === null && one.isInternal) ? [] : [[one.name, one]])));
  }

  async deleteGroup(group: string): Promise<void> {
    await this.#askAdmin(`deleting the group ${group}`, async (admin) => {
      const { groups } = await admin.listGroups();
      if (groups.some(({ groupId }) => groupId === group)) await admin.deleteGroups([group]);
    });
  }

  async produce(compression: Compression = 'none'): Promise<KafkaProducer> {
    const producer = this.#kafka(() => {}).producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: Partitioners.DefaultPartitioner,
      retry: { retries: 5, initialRetryTime: 100, maxRetryTime: 1000 },
    });
    try {
      await producer.connect();
    } catch (error) {
      throw failure(error, 'reaching the brokers', this.#side);
    }
    return new Writing(producer, COMPRESSIONS[compression], this.#side);
  }

  async transact(id: string, compression: Compression = 'none'): Promise<KafkaTransactions> {
    const producer = this.#kafka(() => {}).producer({
      idempotent: true,
      transactionalId: id,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      createPartitioner: Partitioners.DefaultPartitioner,
      // The brokers end a transaction behind their answer, and have the next one wait for it.
      retry: { retries: 12, initialRetryTime: 5, maxRetryTime: 1000 },
    });
    try {
      await producer.connect();
    } catch (error) {
      throw failure(error, 'reaching the brokers', this.#side);
    }
    const doing = `asking for the offsets of ${id}`;
    return openTransactions({
      id,
      producer,
      messagesOf,
      compression: COMPRESSIONS[compression],
      offsetsOf: (groupId) => this.#askAdmin(doing, (admin) => admin.fetchOffsets({ groupId })),
      failure: (error, what) => failure(error, what, this.#side),
    });
  }

  async makeTopic(wanted: TopicSettings): Promise<TopicFound> {
    const { topic, partitions, replication, options } = wanted;
    const made = await this.#askAdmin(`making the topic ${topic}`, async (admin) => {
      const configEntries = Object.entries(options).map(([name, value]) => ({ name, value }));
      return admin.createTopics({
        topics: [{ topic, numPartitions: partitions ?? -1, replicationFactor: replication ?? -1, configEntries }],
        waitForLeaders: true,
      });
    });
    return made ? { kind: 'made' } : ((await this.compareTopic(wanted)) ?? { kind: 'same' });
  }

  async compareTopic({ topic, partitions, options }: TopicSettings): Promise<TopicFound | null> {
    const found = await this.watermarks(topic);
    const inForce = found === null ? null : await this.topicOptions(topic);
    if (found === null || inForce === null) return null;
    const settings: Record<string, string> = {};
    if (partitions !== null && found.size !== partitions) settings['partitions'] = String(found.size);
    for (const [name, value] of inForce) if ((options[name] ?? value) !== value) settings[name] = value;
    return Object.keys(settings).length === 0 ? { kind: 'same' } : { kind: 'other', settings };
  }

  async topicOptions(topic: string): Promise<ReadonlyMap<string, string> | null> {
    return this.#askAdmin(`asking for the settings of ${topic}`, async (admin) => {
      try {
        const { resources } = await admin.describeConfigs({
          resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }],
          includeSynonyms: false,
        });
        return new Map((resources[0]?.configEntries ?? []).map(({ configName, configValue }) => [configName, configValue]));
      } catch (error) {
        if (typeOf(error) === 'UNKNOWN_TOPIC_OR_PARTITION') return null;
        throw error;
      }
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
      metadataMaxAge: options.metadataMs,
      retry: { retries: 3, restartOnFailure: () => Promise.resolve(false) },
    });
    const running = new Running(consumer, options, this.#side);
    try {
      await consumer.connect();
      await consumer.subscribe({ topics: [...options.topics], fromBeginning: true });
      await running.start();
    } catch (error) {
      await running[Symbol.asyncDispose]();
      throw failure(error, `reading ${options.topics.join(', ')}`, this.#side);
    }
    return running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const [admin, cluster] = [this.#admin, this.#cluster];
    [this.#admin, this.#cluster] = [null, null];
    // They may never have been there.
    await Promise.all([admin?.then((one) => one.disconnect()).catch(() => {}), cluster?.disconnect().catch(() => {})]);
  }

  async #askAdmin<T>(doing: string, question: (admin: Admin) => Promise<T>): Promise<T> {
    return this.#ask(doing, async () => {
      this.#admin ??= this.#connectAdmin();
      return question(await this.#admin);
    });
  }

  async #ask<T>(doing: string, question: () => Promise<T>): Promise<T> {
    try {
      return await question();
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw failure(error, doing, this.#side);
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
    const kafka = new Kafka(config);
    tellRefusals(kafka);
    return kafka;
  }
}

class Running implements KafkaConsumer {
  readonly #consumer: Consumer;
  readonly #options: ConsumeOptions;
  #ended = false;
  /** After a failure as well: then it takes no more orders, and throws at whoever gives one before he has heard of it. */
  #isStopped = false;

  constructor(consumer: Consumer, options: ConsumeOptions, side: Side) {
    this.#consumer = consumer;
    this.#options = options;
    const { CRASH, GROUP_JOIN, STOP } = consumer.events;
    consumer.on(STOP, () => {
      this.#isStopped = true;
    });
    consumer.on(GROUP_JOIN, ({ payload }) => {
      if (this.#ended) return;
      const partitions = Object.entries(payload.memberAssignment).flatMap(([topic, all]) => all.map((partition) => ({ topic, partition })));
      // Before the first fetch after the join, which would begin at the group's own offsets.
      for (const partition of partitions) this.pause(partition);
      options.onAssigned(partitions);
    });
    consumer.on(CRASH, ({ payload: { error } }) => {
      if (!this.#ended) options.onFailure(failure(error, `reading ${options.topics.join(', ')}`, side));
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
        const from = BigInt((batch as unknown as { readonly fetchedOffset: string }).fetchedOffset); // It has one, though its type does not say so.
        const records = messages.flatMap(recordsOf).filter(({ offset }) => offset >= from);
        const last = batch.lastOffset();
        this.#options.onRecords({ topic, partition, records, next: BigInt(last) + 1n, end: BigInt(batch.highWatermark) });
        given.resolveOffset(last);
        return given.heartbeat();
      },
    });
  }

  begin(partition: TopicPartition, offset: bigint): void {
    if (this.#isStopped) return;
    this.#consumer.seek({ ...partition, offset: String(offset) });
    this.resume(partition);
  }

  pause({ topic, partition }: TopicPartition): void {
    if (!this.#isStopped) this.#consumer.pause([{ topic, partitions: [partition] }]);
  }

  resume({ topic, partition }: TopicPartition): void {
    if (!this.#isStopped) this.#consumer.resume([{ topic, partitions: [partition] }]);
  }

  async commit(offsets: readonly (TopicPartition & { readonly offset: bigint })[]): Promise<void> {
    if (this.#isStopped || offsets.length === 0) return;
    await this.#consumer.commitOffsets(offsets.map(({ offset, ...partition }) => ({ ...partition, offset: String(offset) })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#isStopped = true;
    await this.#consumer.disconnect().catch(() => {}); // It is gone either way.
  }
}

class Writing implements KafkaProducer {
  readonly #producer: Producer;
  readonly #compression: CompressionType;
  readonly #side: Side;

  constructor(producer: Producer, compression: CompressionType, side: Side) {
    this.#producer = producer;
    this.#compression = compression;
    this.#side = side;
  }

  async send(records: readonly OutgoingRecord[]): Promise<void> {
    if (records.length === 0) return;
    const topicMessages = messagesOf(records);
    try {
      await this.#producer.sendBatch({ acks: -1, compression: this.#compression, topicMessages });
    } catch (error) {
      throw failure(error, `writing to ${topicMessages.map(({ topic }) => topic).join(', ')}`, this.#side);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#producer.disconnect().catch(() => {}); // It is gone either way.
  }
}

function messagesOf(records: readonly OutgoingRecord[]): TopicMessages[] {
  const byTopic = new Map<string, OutgoingRecord[]>();
  for (const record of records) {
    const known = byTopic.get(record.topic);
    if (known === undefined) byTopic.set(record.topic, [record]);
    else known.push(record);
  }
  return [...byTopic].map(([topic, of]) => ({
    topic,
    messages: of.map(({ key, value, headers }) => ({ key, value, headers: { ...headers } })),
  }));
}

type MakeCluster = (options: object) => Cluster;

/** How what its consumers and the like are made of is made. It has no name that others could call it by. */
function clusterMaker(kafka: InstanceType<typeof Kafka>): { readonly name: symbol; readonly make: MakeCluster } {
  const name = Object.getOwnPropertySymbols(kafka).find(({ description }) => description === 'private:Kafka:createCluster');
  const make: unknown = name === undefined ? undefined : Reflect.get(kafka, name);
  if (name === undefined || typeof make !== 'function') throw new PipelineError('BUG', 'the Kafka client is not made as we know it');
  return { name, make: make as MakeCluster };
}

const clusterOf = (kafka: InstanceType<typeof Kafka>): Cluster =>
  clusterMaker(kafka).make({ metadataMaxAge: METADATA_MS, allowAutoTopicCreation: false });

/**
 * The client forgets what the brokers say to a question that it asks all of them, and takes a refusal for nobody being there. Records are read by ourselves.
 */
function tellRefusals(kafka: InstanceType<typeof Kafka>): void {
  const { name, make } = clusterMaker(kafka);
  const telling: MakeCluster = (options) => {
    const cluster = make(options);
    readFetchAnswers(cluster, decompress);
    const { brokerPool } = cluster;
    const ask = brokerPool.withBroker.bind(brokerPool);
    brokerPool.withBroker = async (question) => {
      const refusals: Error[] = [];
      const answer = await ask(async (broker) => {
        try {
          return await question(broker);
        } catch (error) {
          if (error instanceof Error && isForbidden(error)) refusals.push(error);
          throw error;
        }
      });
      const [refusal] = refusals;
      if (answer === null && refusal !== undefined) throw refusal;
      return answer;
    };
    return cluster;
  };
  Reflect.set(kafka, name, telling);
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
