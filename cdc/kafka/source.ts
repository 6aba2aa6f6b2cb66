/**
 * Topics that Debezium writes, as a Source: a lane for each partition. The target's checkpoint is where a lane goes on, and the group only says which
 * partitions are ours: on every assignment lanes are taken over at the target first, and begin there. The group's own offsets follow what is committed, for
 * those who watch its lag. A lane that goes to another member is left as it stands; what of it was on its way is committed, or refused by its lease.
 */
import type { Batch } from '../../core/batch.ts';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { LiveSource, Resume, SnapshotProgress, SourceStatus } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Checkpoint, DatasetName, LaneId } from '../../core/event.ts';
import type { RegistryOptions } from './avro.ts';
import {
  type Fetched,
  type KafkaClient,
  kafkaClient,
  type KafkaConnection,
  type KafkaConsumer,
  type TopicPartition,
} from '../../wire/kafka/client.ts';
import { TableDecoder } from './debezium.ts';
import { PartitionLane } from './lane.ts';

export interface KafkaTable {
  /** `schema.table` */
  readonly table: string;
  readonly topic: string;
  /** Types of its columns, for records without schemas; null where they bring them. */
  readonly columns: Readonly<Record<string, string>> | null;
}

export interface KafkaSourceOptions {
  /** The source's name in the config: first part of its datasets' names. */
  readonly name: string;
  readonly connection: KafkaConnection;
  readonly group: string;
  /** How long a member of the group may be silent before its partitions go to others; the default is that of the config. */
  readonly sessionMs?: number;
  readonly tables: readonly KafkaTable[];
  readonly envelope: 'debezium' | 'unwrapped';
  readonly unavailable: string;
  readonly registry: RegistryOptions | null;
  /** Where a lane begins that the target knows nothing of. */
  readonly start: 'earliest' | 'latest';
  /** Bytes of records that wait, over all partitions (Invariant 7): beyond, partitions are paused. One answer of the broker's comes on top. */
  readonly bufferBytes: number;
  readonly batch: { readonly rows: number; readonly bytes: number; readonly ageMs: number };
  readonly clock?: Clock;
}

export interface KafkaSource extends LiveSource {
  /** Offsets still to be read and committed, over our partitions; null before the first answer. */
  recordLag(): bigint | null;
}

const SESSION_MS = 10_000;
const FETCH_WAIT_MS = 100;
const FETCH_BYTES = 16 << 20;
const PARTITION_BYTES = 4 << 20;
/** How often the group is told how far we are. */
const COMMIT_MS = 2000;

export function kafkaSource(options: KafkaSourceOptions): KafkaSource {
  return new Topics(options);
}

class Topics implements KafkaSource {
  readonly name: string;
  readonly lane: LaneId;
  readonly #options: KafkaSourceOptions;
  readonly #clock: Clock;
  /** Kept from run to run, so that what is compiled for a Dataset stays good. */
  readonly #decoders: ReadonlyMap<string, TableDecoder>;
  readonly #lanes = new Map<string, PartitionLane>();
  readonly #byId = new Map<LaneId, PartitionLane>();
  /** Which lane each batch on its way is of: a lane that was lost and came back is another one. */
  readonly #origins = new WeakMap<Batch, PartitionLane>();
  readonly #onTheirWay = new Set<Batch>();
  #consumer: KafkaConsumer | null = null;
  #assigned: readonly TopicPartition[] | null = null;
  #failure: PipelineError | null = null;
  #wake: (() => void) | null = null;
  #state: SourceStatus['state'] = 'stopped';
  #bytes = 0;
  #toldAtMs = 0;
  #turn = 0;

  constructor(options: KafkaSourceOptions) {
    const { name, group, tables, envelope, unavailable, registry, clock = systemClock } = options;
    this.#options = options;
    this.name = name;
    this.lane = `${name}/${group}` as LaneId;
    this.#clock = clock;
    this.#decoders = new Map(
      tables.map(({ table, topic, columns }) => {
        const dataset = `${name}.${table}` as DatasetName;
        return [topic, new TableDecoder({ dataset, topic, envelope, columns, unavailable, registry })];
      }),
    );
  }

  get lanes(): readonly LaneId[] {
    return [...this.#byId.keys()];
  }

  async *read(resume: Resume, signal: AbortSignal): AsyncGenerator<Batch> {
    if (signal.aborted) return;
    const stop = (): void => this.#wake?.();
    signal.addEventListener('abort', stop, { once: true });
    this.#state = 'connecting';
    this.#failure = null;
    this.#assigned = null;
    const { connection } = this.#options;
    await using client = kafkaClient(connection);
    try {
      await this.#checkTopics(client);
      if (signal.aborted) return;
      this.#consumer = await this.#consume(client);
      yield* this.#run(client, resume, signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#state = 'stopped';
      for (const key of this.#lanes.keys()) this.#end(key);
      await this.#consumer?.[Symbol.asyncDispose]();
      this.#consumer = null;
      this.#onTheirWay.clear();
    }
  }

  async *#run(client: KafkaClient, resume: Resume, signal: AbortSignal): AsyncGenerator<Batch> {
    while (!signal.aborted) {
      if (this.#failure !== null) throw this.#failure;
      // A lane is taken over between two batches: the target is asked on the connection that writes.
      if (this.#assigned !== null && this.#onTheirWay.size === 0) await this.#takeOver(client, resume, signal);
      const lane = this.#assigned === null ? this.#nextReady() : null;
      if (lane === null) {
        await this.#woken(signal);
        continue;
      }
      const started = this.#clock.monotonic();
      const before = lane.bytes;
      const batch = await lane.take(this.#options.batch, started);
      this.#bytes -= before - lane.bytes;
      this.#resumePaused();
      if (batch === null || lane.isEnded) continue;
      batch.millisByStage.cdc = this.#clock.monotonic() - started;
      this.#origins.set(batch, lane);
      this.#onTheirWay.add(batch);
      yield batch;
    }
  }

  acknowledge({ lane: id, position }: Checkpoint): Promise<void> {
    const lane = this.#byId.get(id);
    lane?.acknowledge(position);
    for (const batch of this.#onTheirWay) if (batch.lane === id && batch.checkpoint.position <= position) this.#onTheirWay.delete(batch);
    if (this.#assigned !== null) this.#wake?.();
    this.#tellGroup();
    return Promise.resolve();
  }

  isAbandoned(batch: Batch): boolean {
    const isEnded = this.#origins.get(batch)?.isEnded !== false;
    if (isEnded && this.#onTheirWay.delete(batch)) this.#wake?.();
    return isEnded;
  }

  /** A topic keeps what it keeps: nothing can be read beside it. */
  readAgain(): boolean {
    return false;
  }

  progress(): readonly SnapshotProgress[] {
    return [];
  }

  status(): SourceStatus {
    return { state: this.#state, isBehind: [...this.#lanes.values()].some((lane) => lane.isBehind), lagBytes: null };
  }

  recordLag(): bigint | null {
    if (this.#state !== 'streaming') return null;
    let lag = 0n;
    for (const lane of this.#lanes.values()) if (lane.end > lane.committed) lag += lane.end - lane.committed;
    return lag;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wake?.();
    await this.#consumer?.[Symbol.asyncDispose]();
  }

  async #checkTopics(client: KafkaClient): Promise<void> {
    for (const { topic, table } of this.#options.tables) {
      if ((await client.watermarks(topic)) === null)
        throw new PipelineError('SOURCE_TOPIC_MISSING', `reading ${table}: the brokers have no topic ${topic}`);
    }
  }

  #consume(client: KafkaClient): Promise<KafkaConsumer> {
    const { group, tables, sessionMs = SESSION_MS } = this.#options;
    return client.consume({
      group,
      sessionMs,
      topics: tables.map(({ topic }) => topic),
      fetch: { waitMs: FETCH_WAIT_MS, bytesMax: FETCH_BYTES, partitionBytesMax: PARTITION_BYTES },
      onAssigned: (partitions) => {
        this.#assigned = partitions;
        const kept = new Set(partitions.map(keyOf));
        for (const key of this.#lanes.keys()) if (!kept.has(key)) this.#end(key);
        this.#wake?.();
      },
      onRecords: (fetched) => this.#add(fetched),
      onOutOfRange: (partition) => {
        const lane = this.#lanes.get(keyOf(partition));
        if (lane !== undefined) this.#fail(positionLost(lane.at, lane.next, null));
      },
      onFailure: (error) => this.#fail(error),
    });
  }

  /** Takes over the lanes that are new to us, and has all of ours go on where they stand. */
  async #takeOver(client: KafkaClient, resume: Resume, signal: AbortSignal): Promise<void> {
    const assigned = this.#assigned ?? [];
    for (const at of assigned) {
      const known = this.#lanes.get(keyOf(at));
      if (known === undefined) await this.#begin(client, at, resume);
      // Another assignment has come meanwhile, and rules.
      if (this.#assigned !== assigned || signal.aborted) return;
    }
    this.#assigned = null;
    for (const at of assigned) {
      const lane = this.#lanes.get(keyOf(at));
      if (lane === undefined) continue;
      lane.isPaused = false;
      this.#consumer?.begin(at, lane.next);
    }
    this.#state = 'streaming';
  }

  async #begin(client: KafkaClient, at: TopicPartition, resume: Resume): Promise<void> {
    const decoder = this.#decoders.get(at.topic);
    if (decoder === undefined) throw new PipelineError('BUG', `the group gave us ${at.topic}, which we did not ask for`);
    const id = `${this.lane}/${at.topic}/${at.partition}` as LaneId;
    const { checkpoint } = await resume(id);
    const { low, high } = (await client.watermarks(at.topic))?.get(at.partition) ?? { low: 0n, high: 0n };
    const from = checkpoint === null ? (this.#options.start === 'latest' ? high : low) : BigInt(`0x${checkpoint.position}`);
    if (from < low || from > high) throw positionLost(at, from, { low, high });
    const lane = new PartitionLane(id, at, decoder, from, high);
    this.#lanes.set(keyOf(at), lane);
    this.#byId.set(id, lane);
  }

  #end(key: string): void {
    const lane = this.#lanes.get(key);
    if (lane === undefined) return;
    lane.isEnded = true;
    this.#bytes -= lane.bytes;
    this.#lanes.delete(key);
    if (this.#byId.get(lane.id) === lane) this.#byId.delete(lane.id);
  }

  #add(fetched: Fetched): void {
    const lane = this.#lanes.get(keyOf(fetched));
    if (lane === undefined) return;
    const before = lane.bytes;
    if (!lane.add(fetched)) return;
    this.#bytes += lane.bytes - before;
    if (this.#bytes > this.#options.bufferBytes && !lane.isPaused) {
      lane.isPaused = true;
      this.#consumer?.pause(lane.at);
    }
    this.#wake?.();
  }

  #resumePaused(): void {
    if (this.#bytes > this.#options.bufferBytes / 2 || this.#assigned !== null) return;
    for (const lane of this.#lanes.values()) {
      if (!lane.isPaused) continue;
      lane.isPaused = false;
      this.#consumer?.resume(lane.at);
    }
  }

  /** Lanes take turns, so that a full one holds up no other. */
  #nextReady(): PartitionLane | null {
    const lanes = [...this.#lanes.values()];
    const now = this.#clock.monotonic();
    for (let i = 0; i < lanes.length; i++) {
      const lane = lanes[(this.#turn + i) % lanes.length];
      if (lane?.readyInMs(now) !== 0) continue;
      this.#turn = (this.#turn + i + 1) % lanes.length;
      return lane;
    }
    return null;
  }

  /** Until something comes, or the time of something that waits. */
  async #woken(signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    const waits = [...this.#lanes.values()].flatMap((lane) => lane.readyInMs(now) ?? []);
    const timer = new AbortController();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (signal.aborted || this.#failure !== null) resolve();
      if (waits.length > 0 && this.#assigned === null) void this.#clock.sleep(Math.min(...waits) + 1, timer.signal).then(resolve); // Never rejects.
    });
    timer.abort(null);
    this.#wake = null;
  }

  #fail(error: PipelineError): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  /** Only a hint to others: what it may fail by is met again by the next fetch. */
  #tellGroup(): void {
    const now = this.#clock.monotonic();
    if (now < this.#toldAtMs + COMMIT_MS || this.#assigned !== null) return;
    this.#toldAtMs = now;
    const offsets = [...this.#lanes.values()].map(({ at, committed }) => ({ ...at, offset: committed }));
    this.#consumer?.commit(offsets).catch(() => {});
  }
}

const keyOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

function positionLost({ topic, partition }: TopicPartition, from: bigint, kept: { low: bigint; high: bigint } | null): PipelineError {
  const has = kept === null ? 'is not kept any more' : `is none that it has: it keeps ${kept.low} to ${kept.high}`;
  const why = kept !== null && from > kept.high ? ' (was the topic deleted and made anew?)' : '';
  return new PipelineError('SOURCE_POSITION_LOST', `reading ${topic}: the offset ${from} of partition ${partition} ${has}${why}`);
}
