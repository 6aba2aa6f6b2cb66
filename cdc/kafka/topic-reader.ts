/** A topic read once, from its beginning to where it ended when that was begun; or a stretch of one partition. */
import { randomBytes } from 'node:crypto';
import { PipelineError } from '../../core/errors.ts';
import type { Fetched, KafkaClient, TopicPartition } from '../../wire/kafka/client.ts';

const FETCH = { waitMs: 100, bytesMax: 8 << 20, partitionBytesMax: 2 << 20 };
const SESSION_MS = 30_000;
/** Partitions that are added meanwhile are not read. */
const METADATA_MS = 300_000;

export interface TopicExtent {
  /** Offsets in it; with gaps there are fewer records. */
  readonly total: bigint;
  /** Of each partition in its order. Ends early, without an error, when the signal aborts. */
  read(signal: AbortSignal): AsyncGenerator<Fetched>;
}

export async function openTopic(client: KafkaClient, topic: string): Promise<TopicExtent> {
  const marks = await client.watermarks(topic);
  if (marks === null) throw new PipelineError('SOURCE_TOPIC_MISSING', `reading ${topic}: the brokers have no such topic`);
  const ends = new Map([...marks].flatMap(([partition, { low, high }]) => (high > low ? [[partition, { low, high }] as const] : [])));
  const total = [...ends.values()].reduce((sum, { low, high }) => sum + high - low, 0n);
  return { total, read: (signal) => read(client, topic, new Map(ends), signal) };
}

export interface PartitionExtent {
  /** Where it ends, exclusive. */
  readonly end: bigint;
  read(signal: AbortSignal): AsyncGenerator<Fetched>;
}

/** Records of a partition from `from` up to `to` (exclusive; null: to its end of now). Null where some of them are not kept, or the topic is gone. */
export async function openPartition(
  client: KafkaClient,
  { topic, partition }: TopicPartition,
  from: bigint,
  to: bigint | null,
): Promise<PartitionExtent | null> {
  const marks = (await client.watermarks(topic))?.get(partition);
  if (marks === undefined || from < marks.low || from > marks.high) return null;
  const end = to === null || to > marks.high ? marks.high : to;
  const open = (): Map<number, { low: bigint; high: bigint }> => new Map(end > from ? [[partition, { low: from, high: end }]] : []);
  return { end: end > from ? end : from, read: (signal) => read(client, topic, open(), signal) };
}

async function* read(
  client: KafkaClient,
  topic: string,
  open: Map<number, { readonly low: bigint; readonly high: bigint }>,
  signal: AbortSignal,
): AsyncGenerator<Fetched> {
  if (open.size === 0) return;
  const group = `tidegate-reader-${randomBytes(6).toString('hex')}`;
  const arrived: Fetched[] = [];
  let failure: PipelineError | null = null;
  let wake = (): void => {};
  signal.addEventListener('abort', () => wake(), { once: true });
  const fail = (error: PipelineError): void => {
    failure ??= error;
    wake();
  };
  let begin = (_partition: number, _offset: bigint): void => {};
  // Given before the consumer is there to be told where to begin.
  const assigned = new Set<number>();
  const consumer = await client.consume({
    group,
    topics: [topic],
    sessionMs: SESSION_MS,
    metadataMs: METADATA_MS,
    fetch: FETCH,
    onAssigned: (partitions) => {
      for (const { partition } of partitions) {
        assigned.add(partition);
        begin(partition, open.get(partition)?.low ?? 0n);
      }
    },
    onRecords: (fetched) => {
      // One answer at a time waits, so that memory does not follow the topic.
      consumer.pause(fetched);
      arrived.push(fetched);
      wake();
    },
    onOutOfRange: ({ partition }) =>
      fail(new PipelineError('SOURCE_POSITION_LOST', `reading ${topic}: partition ${partition} forgot records while it was read`)),
    onFailure: fail,
  });
  begin = (partition, offset) => {
    if (open.has(partition)) consumer.begin({ topic, partition }, offset);
  };
  try {
    for (const partition of assigned) begin(partition, open.get(partition)?.low ?? 0n);
    while (open.size > 0 && !signal.aborted) {
      if (failure !== null) throw failure as PipelineError;
      const fetched = arrived.shift();
      if (fetched === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      const known = open.get(fetched.partition);
      if (known === undefined) continue;
      const records = fetched.records.filter(({ offset }) => offset >= known.low && offset < known.high);
      if (records.length > 0) yield { ...fetched, records };
      if (fetched.next >= known.high) open.delete(fetched.partition);
      else {
        open.set(fetched.partition, { low: fetched.next > known.low ? fetched.next : known.low, high: known.high });
        consumer.resume(fetched);
      }
    }
  } finally {
    await consumer[Symbol.asyncDispose]();
    await client.deleteGroup(group);
  }
}
