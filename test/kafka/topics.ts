/** Topics as anybody else reads them: by a client of the test's own, from the beginning on. */
import { randomBytes } from 'node:crypto';
import kafkajs from 'kafkajs';

const { Kafka, logLevel } = kafkajs;

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
