/** Topics as anybody else reads them: by a client of the test's own, from the beginning on. */
import { randomBytes } from 'node:crypto';
import kafkajs, { type Admin, type ITopicConfig } from 'kafkajs';
import { eventually } from '../support/eventually.ts';

const { Kafka, logLevel } = kafkajs;

/** The client's own wait for leaders gives up where the broker that it asks has not heard of a topic yet. */
export async function makeTopics(admin: Admin, topics: ITopicConfig[]): Promise<void> {
  await admin.createTopics({ topics, waitForLeaders: false });
  const names = topics.map(({ topic }) => topic);
  const areLed = async (): Promise<boolean> => {
    const found = await admin.fetchTopicMetadata({ topics: names });
    return found.topics.every(({ partitions }) => partitions.length > 0 && partitions.every(({ leader }) => leader >= 0));
  };
  const isNotYet = (error: unknown): boolean =>
    error instanceof Error && 'type' in error && (error.type === 'UNKNOWN_TOPIC_OR_PARTITION' || error.type === 'LEADER_NOT_AVAILABLE');
  await eventually(
    () =>
      areLed().catch((error: unknown) => {
        if (isNotYet(error)) return false;
        throw error;
      }),
    `${names.join(', ')} can be written`,
    30_000,
  );
}

export interface SeenRecord {
  readonly partition: number;
  readonly offset: string;
  readonly key: string | null;
  readonly value: string | null;
  readonly rawKey: Buffer | null;
  readonly rawValue: Buffer | null;
  /** The last of each name. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface TopicReader extends AsyncDisposable {
  /** What was read so far: within a partition in its order. */
  readonly records: readonly SeenRecord[];
}

export async function readTopic(broker: string, topic: string): Promise<TopicReader> {
  const kafka = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING });
  const consumer = kafka.consumer({ groupId: `look-${randomBytes(6).toString('hex')}`, maxWaitTimeInMs: 100, readUncommitted: false });
  const records: SeenRecord[] = [];
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  await consumer.run({
    eachMessage: ({ partition, message: { offset, key, value, headers = {} } }) => {
      records.push({
        partition,
        offset,
        key: key?.toString() ?? null,
        value: value?.toString() ?? null,
        rawKey: key,
        rawValue: value,
        headers: Object.fromEntries(Object.entries(headers).map(([name, one]) => [name, String(Array.isArray(one) ? one.at(-1) : one)])),
      });
      return Promise.resolve();
    },
  });
  return { records, [Symbol.asyncDispose]: () => consumer.disconnect() };
}

/** Records without those that repeat a message of the quarantine's. */
export function withoutRepeats(records: readonly SeenRecord[]): readonly SeenRecord[] {
  const seen = new Set<string>();
  return records.filter(({ headers }) => {
    const id = headers['tidegate.message.id'] ?? '';
    return !seen.has(id) && seen.add(id);
  });
}
