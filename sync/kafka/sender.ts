/** Sends records of a batch at least once, in requests that the brokers take. */
import type { KafkaClient, KafkaProducer, OutgoingRecord } from '../../wire/kafka/client.ts';
import { bytesOf } from './topic-rows.ts';

/** Of one request: brokers take no more than a topic's max.message.bytes of a partition at once. */
const REQUEST_BYTES_MAX = 768 << 10;

/** A producer, made anew after each failure. */
export class Sender implements AsyncDisposable {
  readonly #client: KafkaClient;
  #producer: Promise<KafkaProducer> | null = null;

  constructor(client: KafkaClient) {
    this.#client = client;
  }

  async send(records: readonly OutgoingRecord[]): Promise<void> {
    if (records.length === 0) return;
    this.#producer ??= this.#client.produce();
    try {
      const producer = await this.#producer;
      for (const chunk of chunksOf(records)) await producer.send(chunk);
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const producer = this.#producer;
    this.#producer = null;
    await producer?.then((one) => one[Symbol.asyncDispose]()).catch(() => {}); // It may never have been there.
  }
}

/** In order, each as large as a request may be; a larger record comes alone. */
export function* chunksOf(records: readonly OutgoingRecord[]): Generator<readonly OutgoingRecord[]> {
  let from = 0;
  let bytes = 0;
  for (const [at, record] of records.entries()) {
    const more = bytesOf(record);
    if (at > from && bytes + more > REQUEST_BYTES_MAX) {
      yield records.slice(from, at);
      from = at;
      bytes = 0;
    }
    bytes += more;
  }
  yield records.slice(from);
}
