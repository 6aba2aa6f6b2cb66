/** Records of one partition as they become events, without a broker. */
import { expect, test } from 'vitest';
import type { KafkaRecord } from '../../wire/kafka/client.ts';
import { type DecoderOptions, TableDecoder } from '../../cdc/kafka/debezium.ts';
import { PartitionLane } from '../../cdc/kafka/lane.ts';
import { type ChangeEvent, type DatasetName, type LaneId, UNCHANGED } from '../../core/event.ts';

const LIMITS = { rows: 100, bytes: 1 << 20 };
const GONE = '__debezium_unavailable_value';
const AT = { topic: 's.public.t', partition: 0 };

function lane(envelope: DecoderOptions['envelope'] = 'debezium'): PartitionLane {
  const decoder = new TableDecoder({
    dataset: 's.public.t' as DatasetName,
    topic: AT.topic,
    envelope,
    columns: { id: 'bigint', v: 'text' },
    unavailable: GONE,
    registry: null,
  });
  return new PartitionLane('s/g/s.public.t/0' as LaneId, AT, { topicId: null, decoder, from: 0n, end: 0n });
}

function record(offset: number, key: string, value: string | null, headers: Record<string, string> = {}): KafkaRecord {
  return { offset: BigInt(offset), timestampMs: 5, key: Buffer.from(key), value: value === null ? null : Buffer.from(value), headers };
}

const envelope = (op: string, row: string, lsn: number): string =>
  `{"before":${op === 'd' ? row : 'null'},"after":${op === 'd' ? 'null' : row},"source":{"lsn":${lsn},"ts_ms":1,"ts_ns":1795439041136258000},"op":"${op}"}`;
const shown = ({ op, key, movedFrom, after, before }: ChangeEvent): unknown[] => {
  const value = (after ?? before)?.value(1);
  return [op, key, movedFrom, value === UNCHANGED ? 'unchanged' : value];
};

/** Adds the records and takes what comes of them, until there is nothing more. */
async function through(of: PartitionLane, records: readonly KafkaRecord[], nowMs: number) {
  const next = (records.at(-1)?.offset ?? of.next - 1n) + 1n;
  of.add({ ...AT, records, next, end: next });
  const events: unknown[] = [];
  let position = '';
  for (let batch = await of.take(LIMITS, nowMs); batch !== null; batch = await of.take(LIMITS, nowMs)) {
    events.push(...batch.events.map(shown));
    position = batch.checkpoint.position;
  }
  return { events, position: position === '' ? null : Number(`0x${position}`) };
}

const DELETE = record(0, '{"id":1}', envelope('d', '{"id":1,"v":""}', 10), { '__debezium.newkey': '{"id":2}' });
const TOMBSTONE = record(1, '{"id":1}', null);
const CREATE = record(2, '{"id":2}', envelope('c', `{"id":2,"v":"${GONE}"}`, 10), { '__debezium.oldkey': '{"id":1}' });

test('the halves of a key move are one event, also where they come one by one, and the checkpoint stays before the first until the second is there', async () => {
  expect(await through(lane(), [DELETE, TOMBSTONE, CREATE], 0)).toEqual({ events: [['update', '2', '1', 'unchanged']], position: 3 });
  const slow = lane();
  expect(await through(slow, [DELETE], 0)).toEqual({ events: [], position: null });
  expect(await through(slow, [TOMBSTONE], 50)).toEqual({ events: [], position: null });
  expect(await through(slow, [CREATE], 60)).toEqual({ events: [['update', '2', '1', 'unchanged']], position: 3 });
});

test('a half whose other half is in another partition is a delete or an insert; the insert is held where it lacks cells', async () => {
  const deleted = lane();
  await through(deleted, [DELETE, TOMBSTONE], 0);
  expect(deleted.readyInMs(100)).toBe(100);
  expect(await through(deleted, [], 250)).toEqual({ events: [['delete', '1', null, null]], position: 2 });
  const whole = record(2, '{"id":2}', envelope('c', '{"id":2,"v":"x"}', 10), { '__debezium.oldkey': '{"id":1}' });
  expect((await through(lane(), [whole], 0)).events).toEqual([['insert', '2', null, 'x']]);
  const partial = lane();
  partial.add({ ...AT, records: [CREATE], next: 3n, end: 3n });
  const [event] = (await partial.take(LIMITS, 0))?.events ?? [];
  expect([event?.dataset.undecoded, event?.after?.value(7)]).toEqual([true, expect.stringMatching(/in another partition/)]);
});

test('rows alone: a tombstone is the delete, as is a row that says so, and whole numbers stay exact', async () => {
  const records = [
    record(0, '{"id":9007199254740993}', '{"id":9007199254740993,"v":"a","__op":"c","__lsn":7}'),
    record(1, '{"id":2}', '{"id":2,"v":"b","__deleted":"true"}'),
    record(2, '{"id":3}', null),
  ];
  expect((await through(lane('unwrapped'), records, 0)).events).toEqual([
    ['update', '9007199254740993', null, 'a'],
    ['delete', '2', null, null],
    ['delete', '3', null, null],
  ]);
});
