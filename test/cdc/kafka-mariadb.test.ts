/** Records of MariaDB's as its connector wrote them (recorded from MariaDB 10.11 by Debezium 3.5), and which change of a row is the later one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ConnectSchema } from '../../cdc/kafka/connect-schema.ts';
import { columnOf, withDurations } from '../../cdc/kafka/connect-types.ts';
import { TableDecoder } from '../../cdc/kafka/debezium.ts';
import { PartitionLane } from '../../cdc/kafka/lane.ts';
import { SourceVersions } from '../../cdc/kafka/source-version.ts';
import { type DatasetName, type LaneId, versionOf } from '../../core/event.ts';
import type { KafkaRecord } from '../../wire/kafka/client.ts';

const AT = { topic: 'm.shop.items', partition: 0 };
const COLUMNS = {
  id: 'numeric(20,0)',
  name: 'text',
  price: 'numeric(10,2)',
  j: 'jsonb',
  b: 'bytea',
  dt: 'timestamp',
  ts: 'timestamptz',
  t: 'time',
  y: 'integer',
  e: 'text',
  s: 'text',
  bt: 'bit(5)',
  f1: 'smallint',
  txt: 'text',
};

function recorded(name: string, offset: number): KafkaRecord {
  const file = join(import.meta.dirname, 'debezium-records', `maria_${name}.json`);
  const { key, value, headers } = JSON.parse(readFileSync(file, 'utf8')) as Record<'key' | 'value', unknown> & {
    headers: Record<string, string>;
  };
  const bytes = (one: unknown): Buffer | null => (one === null ? null : Buffer.from(JSON.stringify(one)));
  return { offset: BigInt(offset), timestampMs: 1, key: bytes(key), value: bytes(value), headers };
}

test('records of a MariaDB are the changes that they were, each later than the one before', async () => {
  const options = { dataset: 'm.shop.items' as DatasetName, envelope: 'debezium', unavailable: '__debezium_unavailable_value' } as const;
  const decoder = new TableDecoder({ ...options, topic: AT.topic, columns: COLUMNS, registry: null });
  const lane = new PartitionLane('m/g/m.shop.items/0' as LaneId, AT, { topicId: null, decoder, from: 0n, end: 0n });
  const names = ['snapshot_read', 'insert', 'update', 'delete_pkchange', 'tombstone_pkchange', 'insert_pkchange', 'delete', 'tombstone'];
  const records = names.map((name, i) => recorded(`items_${name}`, i));
  lane.add({ ...AT, records, next: 8n, end: 8n });
  const events = [];
  for (
    let batch = await lane.take({ rows: 100, bytes: 1 << 20 }, 0);
    batch !== null;
    batch = await lane.take({ rows: 100, bytes: 1 << 20 }, 0)
  )
    events.push(...batch.events);
  expect(events.map(({ op, key, movedFrom }) => [op, key, movedFrom])).toEqual([
    ['read', '1', null],
    ['insert', '18446744073709551615', null],
    ['update', '1', null],
    ['update', '2', '1'],
    ['delete', '2', null],
  ]);
  const order = events.map(versionOf);
  expect(order).toEqual([...order].sort());
  expect(new Set(order).size).toBe(order.length);
  const row = events[0]?.after;
  const cells = Object.fromEntries(Object.keys(COLUMNS).map((name, i) => [name, row?.value(i)]));
  expect(cells).toEqual({
    id: '1',
    name: 'snap',
    price: '15.00',
    j: '{"k":1}',
    b: Buffer.from('abc'),
    dt: '2026-01-02 03:04:05.678901',
    ts: '2026-01-02 03:04:05.678+00',
    t: '-25:00:00.5', // A TIME of MariaDB's is a length of time.
    y: 2026,
    e: 'a',
    s: 'x,y',
    bt: '10101',
    f1: 1,
    txt: 't',
  });
});

test('what else the connector writes is no change of a row', () => {
  const decoder = new TableDecoder({
    dataset: 'm.shop.items' as DatasetName,
    topic: 'm',
    envelope: 'debezium',
    columns: COLUMNS,
    unavailable: '-',
    registry: null,
  });
  for (const name of ['m_schema_change_alter', 'transaction_transaction_begin'])
    expect(decoder.decode(recorded(name, 0), 0).event).toBe(null);
  const beside = (key: string, value: string) =>
    decoder.decode({ offset: 0n, timestampMs: 1, key: Buffer.from(key), value: Buffer.from(value), headers: {} }, 0).event;
  expect(beside('{"serverName":"m"}', '{"ts_ms":1795439041136}')).toBe(null);
  expect(beside('{"serverName":"m"}', '{"ts_ms":1795439041136,"id":1}')?.dataset.undecoded).toBe(true);
});

test('rows without an envelope whose columns have the names of what else the connector writes are held, and not taken for that', () => {
  const options = { dataset: 'm.shop.items' as DatasetName, topic: 'm', envelope: 'debezium', unavailable: '-', registry: null } as const;
  const decoder = new TableDecoder({ ...options, columns: null });
  const held = (key: string, value: string) =>
    decoder.decode({ offset: 0n, timestampMs: 1, key: Buffer.from(key), value: Buffer.from(value), headers: {} }, 0).event?.dataset
      .undecoded;
  for (const [key, value] of [
    ['{"ts_ms":1}', '{"ts_ms":1}'],
    ['{"id":1}', '{"ts_ms":1}'],
    ['{"id":1,"serverName":"m"}', '{"ts_ms":1}'],
    ['{"id":1}', '{"id":1,"ddl":"create table","source":"psql"}'],
    ['{"databaseName":"a"}', '{"databaseName":"a","ddl":"create table","source":"psql"}'],
    ['{"id":1}', '{"id":1,"status":"open","event_count":3,"data_collections":"x"}'],
    ['{"constructor":1}', '{"constructor":1}'],
  ] as const)
    expect([key, value, held(key, value)]).toEqual([key, value, true]);
});

test('places in a binlog sort as they come, over files and rows of one event', () => {
  const places = fc.record({
    file: fc.integer({ min: 1, max: 999_999 }),
    pos: fc.integer({ min: 4, max: 2 ** 32 }),
    row: fc.integer({ min: 0, max: 1e6 }),
  });
  const shown = ({ file, pos, row }: { file: number; pos: number; row: number }): string => {
    const { version, ordinal } = new SourceVersions().of({ connector: 'mysql', file: `bin.${String(file).padStart(6, '0')}`, pos, row });
    expect(version).toMatch(/^[0-9a-f]{16}$/);
    return `${version}#${ordinal.toString(16).padStart(8, '0')}`;
  };
  fc.assert(
    fc.property(places, places, (a, b) => {
      const expected = a.file - b.file || a.pos - b.pos || a.row - b.row;
      const [left, right] = [shown(a), shown(b)];
      expect(left < right ? -1 : left > right ? 1 : 0).toBe(Math.sign(expected));
    }),
    { seed: 20261126 },
  );
  expect(() => new SourceVersions().of({ connector: 'oracle', scn: '1' })).toThrow('oracle');
  expect(() => new SourceVersions().of({ connector: 'mysql', file: 'binlog', pos: 4 })).toThrow('no place');
});

test('a TIME beyond a day is an interval, in milliseconds and in microseconds', () => {
  const schema = (name: string, type: ConnectSchema['type']): ConnectSchema => ({
    type: 'struct',
    optional: false,
    fields: [{ type, optional: true, name, field: 't' }],
  });
  const column = (of: ConnectSchema) => columnOf(withDurations(of).fields?.[0] ?? of, '');
  const micro = column(schema('io.debezium.time.MicroTime', 'int64'));
  const milli = column(schema('io.debezium.time.Time', 'int32'));
  expect([micro.native, micro.decode(3_020_399_000_000), micro.decode(-1)]).toEqual(['interval', '838:59:59', '-00:00:00.000001']);
  expect([milli.native, milli.decode(-90_000_500)]).toEqual(['interval', '-25:00:00.5']);
});
