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
import {
  type Fetched,
  type KafkaClient,
  kafkaClient,
  type KafkaConnection,
  type KafkaConsumer,
  type TopicPartition,
  type Watermarks,
} from '../../wire/kafka/client.ts';
import { PartitionLane } from './lane.ts';
import { type LanePlace, partitionLane, placeOf, sourceLane } from './lane-place.ts';
import { TopicList, type TopicListOptions } from './topic-list.ts';

export interface KafkaSourceOptions extends TopicListOptions {
  readonly connection: KafkaConnection;
  readonly group: string;
  /** How long a member of the group may be silent before its partitions go to others; the default is that of the config. */
  readonly sessionMs?: number;
  /** Where a lane begins that the target knows nothing of. */
  readonly start: 'earliest' | 'latest';
  /** Bytes of records that wait, over all partitions (Invariant 7): beyond, partitions are paused. One answer of the broker's comes on top. */
  readonly bufferBytes: number;
  readonly batch: { readonly rows: number; readonly bytes: number; readonly ageMs: number };
  /** How often topics are looked for that are new, or not the same any more. */
  readonly lookMs?: number;
  readonly clock?: Clock;
}

const SESSION_MS = 10_000;
const FETCH_WAIT_MS = 100;
const FETCH_BYTES = 16 << 20;
const PARTITION_BYTES = 4 << 20;
/** How often the group is told how far we are. */
const COMMIT_MS = 2000;
const LOOK_MS = 5000;

/** A lane that is ours at the target from now on. */
interface Resumed {
  readonly at: TopicPartition;
  /** Null where the target knows nothing of it. */
  readonly place: LanePlace | null;
}

export function kafkaSource(options: KafkaSourceOptions): LiveSource {
  return new Topics(options);
}

class Topics implements LiveSource {
  readonly name: string;
  readonly lane: LaneId;
  readonly #options: KafkaSourceOptions;
  readonly #clock: Clock;
  readonly #list: TopicList;
  readonly #lookMs: number;
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
  /** Whether there are checkpoints that the group was not told of; when it was told last. */
  #isUntold = false;
  #toldAtMs = 0;
  #turn = 0;
  #subscribed: ReadonlySet<string> = new Set();
  /** Partitions of each topic when the first run began: those beyond are new, and none of their records were there before. */
  #atStart: ReadonlyMap<string, number> | null = null;
  #looking: Promise<void> | null = null;
  #hasLooked = false;
  #lookAtMs = 0;

  constructor(options: KafkaSourceOptions) {
    const { name, clock = systemClock } = options;
    this.#options = options;
    this.name = name;
    this.lane = sourceLane(options);
    this.#clock = clock;
    this.#list = new TopicList(options);
    this.#lookMs = options.lookMs ?? LOOK_MS;
  }

  get lanes(): readonly LaneId[] {
    return [...this.#byId.keys()];
  }

  lanesOf(dataset: DatasetName): readonly LaneId[] | null {
    const topics = this.#list.topicsOf(dataset);
    if (this.#atStart === null) return null;
    return topics.flatMap(({ topic, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => partitionLane(this.lane, { topic, partition })),
    );
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
      await this.#list.look(client);
      if (signal.aborted) return;
      this.#atStart ??= new Map(this.#list.topics.map((topic) => [topic, this.#list.get(topic)?.partitions ?? 0]));
      await this.#subscribe(client);
      yield* this.#run(client, resume, signal);
    } catch (error) {
      if (signal.aborted) return;
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#state = 'stopped';
      for (const key of this.#lanes.keys()) this.#end(key);
      await this.#leave();
      await this.#looking;
      this.#onTheirWay.clear();
    }
  }

  async *#run(client: KafkaClient, resume: Resume, signal: AbortSignal): AsyncGenerator<Batch> {
    while (!signal.aborted) {
      if (this.#failure !== null) throw this.#failure;
      this.#lookNowAndThen(client);
      if (this.#hasLooked) await this.#follow(client);
      // A lane is taken over between two batches: the target is asked on the connection that writes.
      if (this.#assigned !== null && this.#onTheirWay.size === 0) await this.#takeOver(client, resume, signal);
      if (this.#tellInMs() === 0) void this.#tellGroup(); // No lane waits for it.
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
    this.#isUntold = true;
    if (this.#assigned !== null || this.#tellInMs() === 0) this.#wake?.();
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

  lagRecords(id: LaneId): number | null {
    return this.#byId.get(id)?.lag ?? null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wake?.();
    await this.#consumer?.[Symbol.asyncDispose]();
  }

  /** Beside the lanes, which must not wait for it. Brokers that are away are met by who reads from them. */
  #lookNowAndThen(client: KafkaClient): void {
    if (this.#looking !== null || this.#clock.monotonic() < this.#lookAtMs) return;
    const look = async (): Promise<void> => {
      await this.#list.look(client);
      // Those that are read hear of it with each answer.
      const paused = [...this.#lanes.values()].filter(({ isPaused }) => isPaused);
      for (const [topic, lanes] of Map.groupBy(paused, ({ at }) => at.topic)) {
        const marks = await client.watermarks(topic);
        for (const lane of lanes) lane.grown(marks?.get(lane.at.partition)?.high ?? 0n);
      }
      this.#hasLooked = true;
    };
    this.#looking = look()
      .catch((error: unknown) => {
        if (!(error instanceof PipelineError) || error.after !== 'backoff') this.#fail(error as PipelineError); // As the client throws them.
      })
      .finally(() => {
        this.#looking = null;
        this.#lookAtMs = this.#clock.monotonic() + this.#lookMs;
        this.#wake?.();
      });
  }

  /** What is there now, and was not, or was another: topics that are new are read as well from now on. */
  async #follow(client: KafkaClient): Promise<void> {
    this.#hasLooked = false;
    for (const lane of this.#lanes.values()) {
      const now = this.#list.get(lane.at.topic)?.id ?? null;
      if (now !== null && lane.topicId !== null && now !== lane.topicId) throw madeAnew(lane.at);
    }
    if (this.#list.topics.every((topic) => this.#subscribed.has(topic))) return;
    await this.#leave();
    await this.#subscribe(client);
  }

  async #subscribe(client: KafkaClient): Promise<void> {
    const { topics } = this.#list;
    const [first] = this.#options.tables;
    if (topics.length === 0) {
      const what = first === undefined ? 'no topic that fits the pattern' : `no topic ${first.topic}`;
      throw new PipelineError('SOURCE_TOPIC_MISSING', `reading ${first?.table ?? this.name}: the brokers have ${what}`);
    }
    this.#subscribed = new Set(topics);
    this.#lookAtMs = this.#clock.monotonic() + this.#lookMs;
    this.#consumer = await this.#consume(client, topics);
  }

  async #leave(): Promise<void> {
    const consumer = this.#consumer;
    this.#consumer = null;
    await consumer?.[Symbol.asyncDispose]();
  }

  #consume(client: KafkaClient, topics: readonly string[]): Promise<KafkaConsumer> {
    const { group, sessionMs = SESSION_MS } = this.#options;
    return client.consume({
      group,
      sessionMs,
      topics,
      metadataMs: this.#lookMs,
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
    // Another assignment may come meanwhile, and rules: what it leaves out must not begin.
    const isOver = (): boolean => this.#assigned !== assigned || signal.aborted;
    const fresh = assigned.filter((at) => !this.#lanes.has(keyOf(at)));
    for (const [topic, partitions] of Map.groupBy(fresh, (at) => at.topic)) {
      const resumed: Resumed[] = [];
      for (const at of partitions) {
        const { checkpoint } = await resume(partitionLane(this.lane, at));
        if (isOver()) return;
        resumed.push({ at, place: checkpoint === null ? null : placeOf(checkpoint.position) });
      }
      // Asked after the checkpoints, which are not beyond the end of then.
      const marks = await client.watermarks(topic);
      if (isOver()) return;
      for (const one of resumed) this.#begin(one, marks?.get(one.at.partition) ?? { low: 0n, high: 0n });
    }
    this.#assigned = null;
    this.#isUntold = true; // What was committed when another run ended, or another member.
    for (const at of assigned) {
      const lane = this.#lanes.get(keyOf(at));
      if (lane === undefined) continue;
      lane.isPaused = false;
      this.#consumer?.begin(at, lane.next);
    }
    this.#state = 'streaming';
  }

  #begin({ at, place }: Resumed, { low, high }: Watermarks): void {
    const decoder = this.#list.decoder(at.topic);
    if (decoder === undefined) throw new PipelineError('BUG', `the group gave us ${at.topic}, which we did not ask for`);
    const id = partitionLane(this.lane, at);
    const topicId = this.#list.get(at.topic)?.id ?? null;
    if (place !== null && place.topicId !== null && topicId !== null && place.topicId !== topicId) throw madeAnew(at);
    const isNew = at.partition >= (this.#atStart?.get(at.topic) ?? 0);
    const from = place?.offset ?? (this.#options.start === 'latest' && !isNew ? high : low);
    if (from < low || from > high) throw positionLost(at, from, { low, high });
    const isTold = place !== null && place.topicId === topicId;
    const lane = new PartitionLane(id, at, { topicId, decoder, from, history: place?.history ?? null, end: high, isTold });
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
    const lanes = this.#assigned === null ? [...this.#lanes.values()] : []; // Which wait for the assignment.
    const waits = lanes.flatMap((lane) => lane.readyInMs(now) ?? []);
    if (this.#looking === null) waits.push(Math.max(0, this.#lookAtMs - now));
    const tellInMs = this.#tellInMs();
    if (tellInMs !== null) waits.push(tellInMs);
    const timer = new AbortController();
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (signal.aborted || this.#failure !== null || this.#hasLooked) resolve();
      if (waits.length > 0) void this.#clock.sleep(Math.min(...waits) + 1, timer.signal).then(resolve); // Never rejects.
    });
    timer.abort(null);
    this.#wake = null;
  }

  #fail(error: PipelineError): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  /** Null where there is nothing to tell, or somebody else may have what there is. */
  #tellInMs(): number | null {
    if (!this.#isUntold || this.#assigned !== null) return null;
    return Math.max(0, this.#toldAtMs + COMMIT_MS - this.#clock.monotonic());
  }

  /** Only a hint to others: what it may fail by is met again by the next fetch. */
  async #tellGroup(): Promise<void> {
    this.#toldAtMs = this.#clock.monotonic();
    this.#isUntold = false;
    const offsets = [...this.#lanes.values()].filter(({ isKept }) => isKept).map(({ at, committed }) => ({ ...at, offset: committed }));
    try {
      if (offsets.length > 0) await this.#consumer?.commit(offsets);
    } catch {
      this.#isUntold = true;
    }
  }
}

const keyOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`;

function madeAnew({ topic, partition }: TopicPartition): PipelineError {
  return new PipelineError(
    'SOURCE_POSITION_LOST',
    `reading ${topic}: the topic was deleted and made anew since partition ${partition} was last read, so its offsets are others`,
  );
}

function positionLost({ topic, partition }: TopicPartition, from: bigint, kept: { low: bigint; high: bigint } | null): PipelineError {
  const has = kept === null ? 'is not kept any more' : `is none that it has: it keeps ${kept.low} to ${kept.high}`;
  const why = kept !== null && from > kept.high ? ' (was the topic deleted and made anew?)' : '';
  return new PipelineError('SOURCE_POSITION_LOST', `reading ${topic}: the offset ${from} of partition ${partition} ${has}${why}`);
}
