/** Records that could not be read, as events that hold them: the whole record, and why. */
import { type ChangeEvent, type Column, type Dataset, type DatasetName, type Value, ValueRow } from '../../core/event.ts';
import type { KafkaRecord, TopicPartition } from '../../wire/kafka/client.ts';
import { type BinlogHistory, historyOf, historyText } from './binlog-history.ts';

const PROBLEM = 'problem';
const HISTORY = 'history';
const unreadable = (problem: string): string => `the record cannot be read: ${problem}`;

const rawColumn = (name: string, type: Column['type'], native: string): Column => ({ name, type, native, nullable: true });

/** Records that cannot be read, as a dataset of their own shape under the table's name. `isLater`: what is known of the binlog's history is there as well. */
export function rawDataset(name: DatasetName, isLater: boolean): Dataset {
  return {
    name,
    version: 0,
    columns: [
      rawColumn('topic', 'text', 'text'),
      rawColumn('partition', 'integer', 'integer'),
      rawColumn('offset', 'integer', 'bigint'),
      rawColumn('timestamp', 'integer', 'bigint'),
      rawColumn('key', 'bytes', 'bytea'),
      rawColumn('value', 'bytes', 'bytea'),
      rawColumn('headers', 'json', 'jsonb'),
      rawColumn(PROBLEM, 'text', 'text'),
      ...(isLater ? [rawColumn(HISTORY, 'text', 'text')] : []),
    ],
    key: [0, 1, 2],
    undecoded: true,
  };
}

/** Its cells; null for a history that is the first. */
export function rawCells(
  { topic, partition }: TopicPartition,
  { offset, timestampMs, key, value, headers }: KafkaRecord,
  problem: string,
  history: BinlogHistory | null,
): Value[] {
  const cells = [topic, partition, Number(offset), timestampMs, key, value, headersJson(headers), unreadable(problem)];
  return history === null ? cells : [...cells, historyText(history)];
}

/** The record that an event of what could not be read holds. */
export function recordOf({ after }: ChangeEvent): TopicPartition & KafkaRecord {
  const [topic, partition, offset, timestampMs, key, value, headers] = [0, 1, 2, 3, 4, 5, 6].map((column) => after?.value(column) ?? null);
  return {
    topic: typeof topic === 'string' ? topic : '',
    partition: Number(partition),
    offset: BigInt(Number(offset)),
    timestampMs: Number(timestampMs),
    key: key instanceof Uint8Array ? Buffer.from(key) : null,
    value: value instanceof Uint8Array ? Buffer.from(value) : null,
    headers: headersOf(typeof headers === 'string' ? headers : '{}'),
  };
}

/** What was known of the binlog's history where the lane met it. */
export function historyAt({ after, dataset }: ChangeEvent): BinlogHistory {
  const text = after?.value(dataset.columns.findIndex(({ name }) => name === HISTORY)) ?? null;
  return historyOf(typeof text === 'string' ? text : null);
}

/** The same event of what could not be read, with another reason why it cannot. */
export function withProblem(undecoded: ChangeEvent, problem: string): ChangeEvent {
  const { after, dataset } = undecoded;
  const cells = dataset.columns.map(({ name }, i) => (name === PROBLEM ? unreadable(problem) : (after?.value(i) ?? null)));
  return { ...undecoded, after: new ValueRow(...cells) } as ChangeEvent; // It is an insert, as it was made.
}

/** The reason of such an event, without what all of them begin with. */
export function problemOf({ after, dataset }: ChangeEvent): string {
  const said = after?.value(dataset.columns.findIndex(({ name }) => name === PROBLEM));
  return String(said).slice(unreadable('').length);
}

/** Headers in base64, for they are bytes; one that comes several times has a list. */
function headersJson(headers: KafkaRecord['headers']): string {
  const text = (one: Buffer | string): string => Buffer.from(one).toString('base64');
  return JSON.stringify(
    Object.fromEntries(
      Object.entries(headers).map(([name, one]) => [name, Array.isArray(one) ? one.map(text) : one === undefined ? null : text(one)]),
    ),
  );
}

function headersOf(json: string): KafkaRecord['headers'] {
  const parsed = JSON.parse(json) as Readonly<Record<string, string | string[] | null>>; // Written by headersJson.
  const bytes = (text: string): Buffer => Buffer.from(text, 'base64');
  return Object.fromEntries(
    Object.entries(parsed).map(([name, one]) => [name, Array.isArray(one) ? one.map(bytes) : one === null ? undefined : bytes(one)]),
  );
}
