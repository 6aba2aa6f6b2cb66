/**
 * Records of other people's dead letter queues: where each first stood and why it is there, as Kafka Connect (`__connect.errors.…`) and Spring (`kafka_dlt-…`) say it
 * in headers. Key and value are the original's.
 */
import type { KafkaRecord } from '../../wire/kafka/client.ts';

export interface DeadLetter {
  readonly from: 'connect' | 'spring' | 'unknown';
  /** Where the original stood; null where that is not said. */
  readonly topic: string | null;
  readonly partition: number | null;
  readonly offset: bigint | null;
  readonly timestampMs: number | null;
  /** What went wrong, in their words; null where nothing is said. */
  readonly reason: string | null;
}

export function deadLetterOf({ headers }: KafkaRecord): DeadLetter {
  const text = (name: string): string | null => last(headers[name])?.toString('utf8') ?? null;
  const number = (name: string): bigint | null => bigEndian(last(headers[name]));
  if (text('__connect.errors.topic') !== null || text('__connect.errors.exception.class.name') !== null) {
    return {
      from: 'connect',
      topic: text('__connect.errors.topic'),
      partition: asNumber(digits(text('__connect.errors.partition'))),
      offset: digits(text('__connect.errors.offset')),
      timestampMs: null,
      reason: reasonOf(text('__connect.errors.exception.class.name'), text('__connect.errors.exception.message')),
    };
  }
  if (text('kafka_dlt-original-topic') === null) return NOTHING_SAID;
  const timestamp = number('kafka_dlt-original-timestamp');
  return {
    from: 'spring',
    topic: text('kafka_dlt-original-topic'),
    partition: asNumber(number('kafka_dlt-original-partition')),
    offset: number('kafka_dlt-original-offset'),
    timestampMs: asNumber(timestamp),
    reason: reasonOf(
      text('kafka_dlt-exception-cause-fqcn') ?? text('kafka_dlt-exception-fqcn') ?? text('kafka_dlt-key-exception-fqcn'),
      text('kafka_dlt-exception-message') ?? text('kafka_dlt-key-exception-message'),
    ),
  };
}

const NOTHING_SAID: DeadLetter = { from: 'unknown', topic: null, partition: null, offset: null, timestampMs: null, reason: null };
/** Stack traces and whole statements end up in messages. */
const REASON_CHARACTERS_MAX = 1000;

function reasonOf(kind: string | null, message: string | null): string | null {
  const said = [kind, message].filter((one) => one !== null && one !== '').join(': ');
  return said === '' ? null : said.slice(0, REASON_CHARACTERS_MAX);
}

/** Of several headers of one name the last is the newest. */
function last(value: KafkaRecord['headers'][string]): Buffer | null {
  const one = Array.isArray(value) ? value.at(-1) : value;
  return one === undefined ? null : Buffer.from(one);
}

/** Spring writes numbers as Java has them in memory: four or eight bytes. */
function bigEndian(bytes: Buffer | null): bigint | null {
  if (bytes?.length === 4) return BigInt(bytes.readInt32BE());
  return bytes?.length === 8 ? bytes.readBigInt64BE() : null;
}

const digits = (text: string | null): bigint | null => (text !== null && /^\d{1,18}$/.test(text) ? BigInt(text) : null);
const asNumber = (value: bigint | null): number | null => (value === null ? null : Number(value));
