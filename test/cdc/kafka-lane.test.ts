/** Records of one partition as they become events, without a broker. */
import { expect, test } from 'vitest';
import type { KafkaRecord } from '../../wire/kafka/client.ts';
import { type DecoderOptions, TableDecoder } from '../../cdc/kafka/debezium.ts';
import { PartitionLane } from '../../cdc/kafka/lane.ts';
import { type ChangeEvent, type DatasetName, type LaneId, UNCHANGED } from '../../core/event.ts';

const LIMITS = { rows: 100, bytes: 1 << 20 };
const GONE = '__debezium_unavailable_value';
const AT = { topic: 's.public.t', partition: 0 };

function lane(envelope: DecoderOptions['envelope'] = 'debezium', added?: DecoderOptions['added']): PartitionLane {
  const decoder = new TableDecoder({
    dataset: 's.public.t' as DatasetName,
    topic: AT.topic,
    envelope,
    columns: { id: 'bigint', v: 'text' },
    unavailable: GONE,
    registry: null,
    ...(added === undefined ? {} : { added }),
  });
  return laneOf(decoder);
}

function laneOf(decoder: TableDecoder): PartitionLane {
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

async function eventsOf(of: PartitionLane, records: readonly KafkaRecord[]): Promise<readonly ChangeEvent[]> {
  const next = BigInt(records.length);
  of.add({ ...AT, records, next, end: next });
  return (await of.take(LIMITS, 0))?.events ?? [];
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
    ['insert', '9007199254740993', null, 'a'],
    ['delete', '2', null, null],
  ]);
});

/** Records of a key move as ExtractNewRecordState leaves them, by its delete.tombstone.handling.mode; and what tells the version. */
const moves: Readonly<Record<string, readonly KafkaRecord[]>> = {
  tombstone: [
    record(0, '{"id":9007199254740993}', null),
    record(1, '{"id":2}', `{"id":2,"v":"${GONE}"}`, { '__debezium.oldkey': '{"id":9007199254740993}' }),
  ],
  'delete-to-tombstone, headers': [
    record(0, '{"id":9007199254740993}', null, { '__debezium.newkey': '{"id":2}', __op: 'd', __lsn: '10' }),
    record(1, '{"id":2}', `{"id":2,"v":"${GONE}"}`, { '__debezium.oldkey': '{"id":9007199254740993}', __op: 'c', __lsn: '10' }),
  ],
  'rewrite-with-tombstone, fields': [
    record(0, '{"id":9007199254740993}', '{"id":9007199254740993,"v":"","__deleted":"true","__lsn":10}', {
      '__debezium.newkey': '{"id":2}',
    }),
    record(1, '{"id":9007199254740993}', null),
    record(2, '{"id":2}', `{"id":2,"v":"${GONE}","__deleted":"false","__lsn":10}`, {
      '__debezium.oldkey': '{"schema":{},"payload":{"id":9007199254740993}}',
    }),
  ],
};

test.each(Object.entries(moves))('rows alone, %s: a key move is one event', async (_, records) => {
  const position = records.length;
  expect(await through(lane('unwrapped'), records, 0)).toEqual({
    events: [['update', '2', '9007199254740993', 'unchanged']],
    position,
  });
});

test('rows alone: a delete of another key is no half of a move, and a tombstone waits for the next record, or a moment', async () => {
  const other = record(0, '{"id":7}', null);
  const from = (v: string) => record(1, '{"id":2}', `{"id":2,"v":"${v}"}`, { '__debezium.oldkey': '{"id":1}' });
  expect((await through(lane('unwrapped'), [other, from('x')], 0)).events).toEqual([
    ['delete', '7', null, null],
    ['update', '2', null, 'x'],
  ]);
  const [, held] = await eventsOf(lane('unwrapped'), [other, from(GONE)]);
  expect([held?.dataset.undecoded, held?.after?.value(7)]).toEqual([true, expect.stringMatching(/in another partition/)]);
  const alone = lane('unwrapped');
  expect((await through(alone, [other], 0)).events).toEqual([]);
  expect(alone.readyInMs(50)).toBe(150);
  expect(await through(alone, [], 250)).toEqual({ events: [['delete', '7', null, null]], position: 1 });
});

test('rows alone: a tombstone behind the delete that it repeats is nothing, but for another key, or after a row', async () => {
  const deleted = (offset: number, id: number): KafkaRecord => record(offset, `{"id":${id}}`, `{"id":${id},"v":"b","__deleted":true}`);
  const records = [
    deleted(0, 1),
    record(1, '{"id":1}', null),
    deleted(2, 2),
    record(3, '{"id":3}', null),
    deleted(4, 4),
    record(5, '{"id":4}', '{"id":4,"v":"again"}'),
    record(6, '{"id":4}', null),
    record(7, '{"id":5}', '{"id":5,"v":"end"}'),
  ];
  expect((await through(lane('unwrapped'), records, 0)).events).toEqual([
    ['delete', '1', null, null],
    ['delete', '2', null, null],
    ['delete', '3', null, null],
    ['delete', '4', null, null],
    ['update', '4', null, 'again'],
    ['delete', '4', null, null],
    ['update', '5', null, 'end'],
  ]);
});

test('rows alone: what is added tells operation, version and time, with a prefix, with another one, without any, or in headers', async () => {
  const row = (fields: string): string => `{"id":1,"v":"a"${fields}}`;
  const sequence = '"[\\"9\\",\\"12\\"]"';
  const told: readonly (readonly [DecoderOptions['added'], KafkaRecord])[] = [
    [undefined, record(0, '{"id":1}', row(`,"__op":"r","__source_sequence":${sequence},"__source_ts_ms":77,"__table":"t"`))],
    [{ prefix: 'dbz.', names: [] }, record(0, '{"id":1}', row(`,"dbz.op":"r","dbz.sequence":${sequence},"dbz.ts_ms":77`))],
    [{ prefix: '', names: ['op', 'sequence', 'ts_ms'] }, record(0, '{"id":1}', row(`,"op":"r","sequence":${sequence},"ts_ms":77`))],
    [undefined, record(0, '{"id":1}', row(''), { __op: 'r', __source_sequence: sequence, __source_ts_ms: '77' })],
  ];
  for (const [added, one] of told) {
    const [event] = await eventsOf(lane('unwrapped', added), [one]);
    expect([event?.op, event?.version, event?.committedAtMs, event?.dataset.columns.length]).toEqual([
      'read',
      '000000000000000c.000000000000000c',
      77,
      2,
    ]);
  }
  const [unplaced] = await eventsOf(lane('unwrapped'), [record(0, '{"id":1}', row(''))]);
  expect(unplaced?.version).toBe('0000000000000000@');
});

test('what a row had that was deleted is taken where it is known to be true: of `oldRows: full`, and of binary logs', async () => {
  const seen: unknown[] = [];
  for (const oldRows of ['key', 'full'] as const)
    for (const connector of ['postgresql', 'mysql']) {
      const options = {
        dataset: 's.public.t' as DatasetName,
        topic: AT.topic,
        envelope: 'debezium',
        unavailable: GONE,
        registry: null,
      } as const;
      const of = laneOf(new TableDecoder({ ...options, columns: { id: 'bigint', v: 'text' }, oldRows }));
      const value = envelope('d', '{"id":1,"v":"x"}', 10).replace(
        '"source":{',
        `"source":{"connector":"${connector}","file":"b.1","pos":4,"row":0,`,
      );
      seen.push(...(await eventsOf(of, [record(0, '{"id":1}', value)])).map(({ before }) => [oldRows, connector, before?.value(1)]));
    }
  expect(seen).toEqual([
    ['key', 'postgresql', null],
    ['key', 'mysql', 'x'],
    ['full', 'postgresql', 'x'],
    ['full', 'mysql', 'x'],
  ]);
});

/** As JsonConverter writes rows with their schemas. */
const KEY_SCHEMA = '{"type":"struct","optional":false,"fields":[{"type":"int64","optional":false,"field":"id"}]}';
const ROW_SCHEMA =
  '{"type":"struct","optional":false,"fields":[{"type":"int64","optional":false,"field":"id"},{"type":"string","optional":true,"field":"v"},{"type":"bytes","optional":true,"field":"raw"}]}';
const described = (offset: number, id: number, row: string | null): KafkaRecord =>
  record(
    offset,
    `{"schema":${KEY_SCHEMA},"payload":{"id":${id}}}`,
    row === null ? null : `{"schema":${ROW_SCHEMA},"payload":{"id":${id},${row}}}`,
  );

function undeclared(followed: DecoderOptions['followed']): PartitionLane {
  const dataset = 's.public.t' as DatasetName;
  const options = { dataset, topic: AT.topic, columns: null, unavailable: GONE, registry: null, envelope: 'unwrapped' } as const;
  return laneOf(new TableDecoder({ ...options, ...(followed === undefined ? {} : { followed }) }));
}

const FOLLOWED = {
  key: ['id'],
  columns: [
    { name: 'v', native: 'text', id: null },
    { name: 'id', native: 'bigint', id: null },
    { name: 'raw', native: 'bytea', id: null },
  ],
};

test('rows alone that bring their schemas: a tombstone before any row is a delete in the shape that the target has, which is asked once', async () => {
  let asked = 0;
  const alone = undeclared(() => {
    asked++;
    return Promise.resolve(FOLLOWED);
  });
  const [first, second, moved, ...rest] = await eventsOf(alone, [
    described(0, 1, null),
    described(1, 2, null),
    described(2, 3, null),
    { ...described(3, 4, '"v":"x","raw":null'), headers: { '__debezium.oldkey': `{"schema":{},"payload":{"id":3}}` } },
    described(4, 5, null),
    described(5, 4, '"v":"y","raw":null'),
  ]);
  expect(asked).toBe(1);
  const large = record(0, `{"schema":${KEY_SCHEMA},"payload":{"id":9007199254740993}}`, null);
  const exact = undeclared(() => Promise.resolve(FOLLOWED));
  await eventsOf(exact, [large]);
  expect((await exact.take(LIMITS, 1000))?.events.map(({ op, key }) => [op, key])).toEqual([['delete', '9007199254740993']]);
  for (const event of [first, second])
    expect(event?.dataset.columns.map(({ name, type, native }) => [name, type, native])).toEqual([
      ['v', 'text', 'text'],
      ['id', 'integer', 'bigint'],
      ['raw', 'bytes', 'bytea'],
    ]);
  expect([first, second].map((event) => [event?.op, event?.key, event?.dataset.key, event?.before?.value(1)])).toEqual([
    ['delete', '1', [1], 1],
    ['delete', '2', [1], 2],
  ]);
  // What follows brings the schema: the row before has its columns, too.
  expect([moved?.op, moved?.movedFrom, moved?.key, moved?.dataset.columns.map(({ name }) => name), moved?.before?.value(0)]).toEqual([
    'update',
    '3',
    '4',
    ['id', 'v', 'raw'],
    3,
  ]);
  expect(rest.map(({ op, key, dataset }) => [op, key, dataset === moved?.dataset])).toEqual([
    ['delete', '5', true],
    ['update', '4', true],
  ]);
});

test('rows alone that bring their schemas: where the target has no such table a later row tells its shape, and without one the tombstone is held under its key', async () => {
  const nothing = (): Promise<null> => Promise.resolve(null);
  const read = await eventsOf(undeclared(nothing), [described(0, 1, null), described(1, 2, '"v":"x","raw":null')]);
  expect(read.map(({ op, key, dataset }) => [op, key, dataset.columns.length])).toEqual([
    ['delete', '1', 3],
    ['update', '2', 3],
  ]);
  const heartbeat = record(
    1,
    '{"schema":null,"payload":{"serverName":"s"}}',
    '{"schema":{"type":"struct","name":"io.debezium.connector.common.Heartbeat","fields":[{"type":"int64","optional":false,"field":"ts_ms"}]},"payload":{"ts_ms":1}}',
  );
  const behind = await eventsOf(undeclared(nothing), [described(0, 1, null), heartbeat, described(2, 2, '"v":"x","raw":null')]);
  expect(behind.map(({ op, key, dataset }) => [op, key, dataset.columns.length])).toEqual([
    ['delete', '1', 3],
    ['update', '2', 3],
  ]);
  const otherKey = (): Promise<typeof FOLLOWED> => Promise.resolve({ ...FOLLOWED, key: ['v'] });
  for (const followed of [nothing, otherKey, undefined]) {
    const alone = undeclared(followed);
    await eventsOf(alone, [described(0, 1, null)]);
    const held = (await alone.take(LIMITS, 1000))?.events ?? (await eventsOf(undeclared(followed), [described(0, 1, null)]));
    expect(held.map(({ dataset, movedFrom }) => [dataset.undecoded, movedFrom])).toEqual([[true, '1']]);
  }
});

test('rows alone: a tombstone that JsonConverter writes with the schema of its row is the delete', async () => {
  const gone = record(0, `{"schema":${KEY_SCHEMA},"payload":{"id":1}}`, `{"schema":${ROW_SCHEMA},"payload":null}`);
  const read = await eventsOf(undeclared(undefined), [gone, described(1, 2, '"v":"x","raw":null')]);
  expect(read.map(({ op, key, dataset }) => [op, key, dataset.columns.length])).toEqual([
    ['delete', '1', 3],
    ['update', '2', 3],
  ]);
});
