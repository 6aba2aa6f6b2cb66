/** Sends records of a batch at least once, in requests that the brokers take. */
import type { Clock } from '../../core/clock.ts';
import type { Compression, KafkaClient, KafkaProducer } from '../../wire/kafka/client.ts';
import { noteWritten, type TopicWatch } from './topic-watch.ts';
import type { SizedRecord } from './topic-rows.ts';

/** Of one request: brokers take no more of a partition at once than its topic's max.message.bytes, a megabyte by default. */
const REQUEST_BYTES_MAX = 768 << 10;

/** A producer, made anew after each failure. */
export class Sender implements AsyncDisposable {
  readonly #client: KafkaClient;
  readonly #compression: Compression;
  readonly #clock: Clock;
  readonly #watch: TopicWatch | null;
  #producer: Promise<KafkaProducer> | null = null;

  constructor(client: KafkaClient, compression: Compression, clock: Clock, watch: TopicWatch | null) {
    this.#client = client;
    this.#compression = compression;
    this.#clock = clock;
    this.#watch = watch;
  }

  async send(records: readonly SizedRecord[]): Promise<void> {
    if (records.length === 0) return;
    const started = this.#clock.monotonic();
    this.#producer ??= this.#client.produce(this.#compression);
    try {
      const producer = await this.#producer;
      for (const chunk of chunksOf(records)) await producer.send(chunk);
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
    noteWritten(this.#watch, records, this.#clock.monotonic() - started);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    await producer?.then((one) => one[Symbol.asyncDispose]()).catch(() => {}); // It may never have been there.
  }
}

/** In order, each as large as a request and every topic in it allow; a larger record comes alone. */
export function* chunksOf(records: readonly SizedRecord[]): Generator<readonly SizedRecord[]> {
  let from = 0;
  let bytes = 0;
  let room = REQUEST_BYTES_MAX;
  for (const [at, record] of records.entries()) {
    if (at > from && bytes + record.bytes > Math.min(room, record.room)) {
      yield records.slice(from, at);
      from = at;
      bytes = 0;
      room = REQUEST_BYTES_MAX;
    }
    bytes += record.bytes;
    room = Math.min(room, record.room);
  }
  yield records.slice(from);
}
