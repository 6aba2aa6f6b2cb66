/** What is written to topics, as their series: how much, how long the brokers take, and what came of it when it failed. */
import type { ErrorCode } from '../core/errors.ts';
import { cumulativeSeconds, LATENCY_BUCKETS, latencyBucket } from './histogram.ts';
import type { Exposition } from './prometheus.ts';

/** `undecided`: the brokers were asked to commit and did not answer; whoever takes the lane over next finds out. */
export type TransactionEnd = 'committed' | 'aborted' | 'undecided';

const ENDS: readonly TransactionEnd[] = ['committed', 'aborted', 'undecided'];

/** One for each pipeline. There are as many topics as tables, so its memory is bounded. */
export class TopicSeries {
  readonly #topics = new Map<string, { records: number; bytes: number }>();
  readonly #buckets = new Uint32Array(LATENCY_BUCKETS);
  #sumMs = 0;
  readonly #failures = new Map<ErrorCode, number>();
  readonly #ends: Record<TransactionEnd, number> = { committed: 0, aborted: 0, undecided: 0 };
  #isTransactional = false;

  /** Every replica in sync has these, and where they were in a transaction it is committed. */
  written(topic: string, records: number, bytes: number): void {
    const of = this.#topics.get(topic);
    if (of === undefined) this.#topics.set(topic, { records, bytes });
    else {
      of.records += records;
      of.bytes += bytes;
    }
  }

  /** A batch, from its first record on the way to the brokers' last answer. */
  took(ms: number): void {
    const bucket = latencyBucket(ms);
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#sumMs += ms;
  }

  ended(end: TransactionEnd): void {
    this.#isTransactional = true;
    this.#ends[end]++;
  }

  failed(code: ErrorCode): void {
    this.#failures.set(code, (this.#failures.get(code) ?? 0) + 1);
  }

  collect(pipeline: string, out: Exposition): void {
    for (const [topic, { records, bytes }] of this.#topics) {
      const labels = { pipeline, topic };
      out.counter('tidegate_topic_records_total', 'Records that the brokers have, tombstones included.', labels, records);
      out.counter('tidegate_topic_bytes_total', 'Bytes of their keys, values and headers, before compression.', labels, bytes);
    }
    const help = 'How long the brokers took to have the records of a batch; with exactlyOnce, to commit them.';
    out.histogram('tidegate_produce_seconds', help, { pipeline }, cumulativeSeconds(this.#buckets), this.#sumMs / 1000);
    for (const [code, count] of this.#failures)
      out.counter(
        'tidegate_produce_failures_total',
        'Batches that could not be written, by the code of the error.',
        { pipeline, code },
        count,
      );
    if (!this.#isTransactional) return;
    for (const outcome of ENDS)
      out.counter('tidegate_transactions_total', 'Transactions of Kafka’s, by how they ended.', { pipeline, outcome }, this.#ends[outcome]);
  }
}
