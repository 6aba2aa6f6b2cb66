/** Who counts what is written to topics. */
import type { ErrorCode } from '../../core/errors.ts';
import type { SizedRecord } from './topic-rows.ts';

export interface TopicWatch {
  /** Every replica in sync has these, and where they were in a transaction it is committed. */
  written(topic: string, records: number, bytes: number): void;
  /** How long a batch was on its way. */
  took(ms: number): void;
  /** `undecided`: nobody knows whether the brokers have committed it, until the lane is taken over again. */
  ended(end: 'committed' | 'aborted' | 'undecided'): void;
  /** A batch could not be written. */
  failed(code: ErrorCode): void;
}

export function noteWritten(watch: TopicWatch | null, records: readonly SizedRecord[], ms: number): void {
  if (watch === null) return;
  const topics = new Map<string, { records: number; bytes: number }>();
  for (const { topic, bytes } of records) {
    const of = topics.get(topic) ?? { records: 0, bytes: 0 };
    of.records++;
    of.bytes += bytes;
    topics.set(topic, of);
  }
  for (const [topic, { records: count, bytes }] of topics) watch.written(topic, count, bytes);
  watch.took(ms);
}
