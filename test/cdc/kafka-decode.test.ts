/** Records that nobody foresaw: whatever they hold, they are changes, or held with a reason; and a key that can be read tells whose they are. */
import { expect, test } from 'vitest';
import { DecodeAgain } from '../../cdc/kafka/decode-again.ts';
import { TableDecoder } from '../../cdc/kafka/debezium.ts';
import { recordOf, withProblem } from '../../cdc/kafka/undecoded.ts';
import type { ChangeEvent, DatasetName, LaneId } from '../../core/event.ts';
import { kafkaClient, type KafkaRecord } from '../../wire/kafka/client.ts';
import fc from '../support/fast-check.ts';

const DATASET = 's.public.t' as DatasetName;
const OPTIONS = { envelope: 'debezium', unavailable: '__debezium_unavailable_value', registry: null } as const;
const TOPIC = 's.public.t';
const NAMES = [
  'org.apache.kafka.connect.data.Decimal',
  'io.debezium.data.VariableScaleDecimal',
  'org.apache.kafka.connect.data.Date',
  'io.debezium.time.Date',
  'org.apache.kafka.connect.data.Time',
  'io.debezium.time.Time',
  'io.debezium.time.MicroTime',
  'io.debezium.time.NanoTime',
  'org.apache.kafka.connect.data.Timestamp',
  'io.debezium.time.Timestamp',
  'io.debezium.time.MicroTimestamp',
  'io.debezium.time.NanoTimestamp',
  'io.debezium.time.ZonedTimestamp',
  'io.debezium.time.ZonedTime',
  'io.debezium.time.IsoDate',
  'io.debezium.time.IsoTime',
  'io.debezium.time.IsoTimestamp',
  'io.debezium.time.MicroDuration',
  'io.debezium.time.NanoDuration',
  'io.debezium.time.Interval',
  'io.debezium.time.Year',
  'io.debezium.data.Json',
  'io.debezium.data.Uuid',
  'io.debezium.data.Xml',
  'io.debezium.data.Enum',
  'io.debezium.data.EnumSet',
  'io.debezium.data.Bits',
  'io.debezium.data.geometry.Point',
  'io.debezium.data.geometry.Geometry',
  'io.debezium.data.SparseDoubleVector',
  'some.Type',
];
const TYPES = ['int8', 'int16', 'int32', 'int64', 'float', 'double', 'boolean', 'string', 'bytes', 'array', 'map', 'struct'];

const record = (key: string | null, value: string | null, offset = 0n): KafkaRecord => ({
  offset,
  timestampMs: 5,
  key: key === null ? null : Buffer.from(key),
  value: value === null ? null : Buffer.from(value),
  headers: { one: 'a', several: ['b', Buffer.from([0, 255])] },
});

const cells = fc.oneof(
  fc.jsonValue(),
  fc.maxSafeInteger(),
  fc.record({ scale: fc.integer(), value: fc.base64String() }),
  fc.record({ x: fc.double(), y: fc.double(), wkb: fc.base64String() }),
  fc.array(fc.maxSafeInteger(), { maxLength: 3 }),
);

test('any cell of any type is read, or its record is held; nothing else happens', () => {
  const field = fc.record({
    type: fc.constantFrom(...TYPES),
    name: fc.option(fc.constantFrom(...NAMES)),
    cell: cells,
    items: fc.constantFrom(...TYPES),
  });
  let [read, held] = [0, 0];
  fc.assert(
    fc.property(fc.array(field, { minLength: 1, maxLength: 4 }), fc.constantFrom('c', 'u', 'd', 'r'), (fields, op) => {
      const decoder = new TableDecoder({ ...OPTIONS, dataset: DATASET, topic: TOPIC, columns: null });
      const described = fields.map(({ type, name, items }, i) => ({
        field: `f${i}`,
        type,
        optional: true,
        ...(name === null ? {} : { name }),
        ...(type === 'array' ? { items: { type: items, optional: true } } : {}),
        parameters: { scale: '2', length: '5' },
      }));
      const id = { field: 'id', type: 'int64', optional: false };
      const row = { id: 7, ...Object.fromEntries(fields.map(({ cell }, i) => [`f${i}`, cell])) };
      const schema = { type: 'struct', fields: [{ field: 'after', type: 'struct', optional: true, fields: [id, ...described] }] };
      const payload = { op, before: null, after: op === 'd' ? null : row, source: { lsn: 9, ts_ms: 1 } };
      const key = JSON.stringify({ schema: { type: 'struct', fields: [id] }, payload: { id: 7 } });
      const { event } = decoder.decode(record(key, JSON.stringify({ schema, payload })), 3);
      expect(event?.dataset.name).toBe(DATASET);
      if (event?.dataset.undecoded === true) {
        held++;
        expect(event.movedFrom).toBe('7'); // Whose it is, all the same.
      } else {
        read++;
        expect(event?.key).toBe('7');
      }
    }),
    { numRuns: 1500 },
  );
  expect(Math.min(read, held)).toBeGreaterThan(100);
});

test('any bytes are held as they came, and come out of the quarantine as the record that they were', () => {
  const decoder = new TableDecoder({ ...OPTIONS, dataset: DATASET, topic: TOPIC, columns: { id: 'bigint' } });
  const bytes = fc.option(
    fc.uint8Array({ maxLength: 40 }).map((one) => Buffer.from(one)),
    { nil: null },
  );
  fc.assert(
    fc.property(bytes, bytes, fc.bigInt({ min: 0n, max: 2n ** 52n }), (key, value, offset) => {
      const given = { ...record(null, null, offset), key, value };
      const { event } = decoder.decode(given, 4);
      if (value === null) {
        expect(event).toBeNull();
        return;
      }
      if (event?.dataset.undecoded !== true) throw new Error('it was read');
      const headers = { one: Buffer.from('a'), several: [Buffer.from('b'), Buffer.from([0, 255])] };
      expect(recordOf(withProblem(event, 'another'))).toEqual({ topic: TOPIC, partition: 4, ...given, headers });
    }),
  );
});

test('a record without its key, or whose key says nothing for sure, is held under its place alone', () => {
  const movedFrom = (key: string | null, columns: Readonly<Record<string, string>> | null): string | null | undefined =>
    new TableDecoder({ ...OPTIONS, dataset: DATASET, topic: TOPIC, columns }).decode(record(key, 'no json'), 0).event?.movedFrom;
  const two = { id: 'bigint', at: 'date' };
  expect(movedFrom('{"id":7}', two)).toBe('7');
  expect(movedFrom('{"id":9007199254740993}', two)).toBe('9007199254740993');
  expect(movedFrom('{"id":7,"at":0}', two)).toBe('["7","1970-01-01"]');
  for (const key of [null, 'no json', '7', '{"other":7}', '{}', '{"id":"seven"}']) expect([key, movedFrom(key, two)]).toEqual([key, null]);
  expect(movedFrom('{"id":7}', null)).toBeNull(); // As a text or as a number: nobody says.
});

test('a registry that is away is a reason of its own: what is released beside it does not wait for it', async () => {
  const registry = { url: 'http://127.0.0.1:1/' };
  const decoder = new TableDecoder({ ...OPTIONS, dataset: DATASET, topic: TOPIC, columns: { id: 'bigint' } });
  const avro = { ...record('{"id":7}', null), value: Buffer.from([0, 0, 0, 0, 9, 2]) };
  const held = decoder.decode(avro, 0).event as ChangeEvent;
  await using again = new DecodeAgain({
    ...OPTIONS,
    registry,
    name: 's',
    tables: [{ table: 'public.t', topic: TOPIC, columns: { id: 'bigint' } }],
    lanes: 's/g' as LaneId,
    tableNamed: () => ({ table: 'public.t', columns: { id: 'bigint' } }),
    client: kafkaClient({ brokers: ['127.0.0.1:1'] }),
    signal: new AbortController().signal,
  });
  const [decoded] = await again.decode([held]);
  expect(decoded?.kind).toBe('undecoded');
  if (decoded?.kind !== 'undecoded') return;
  expect(decoded.event.after?.value(7)).toMatch(/asking the schema registry for the schema 9 \(SOURCE_UNREACHABLE\)/);
  expect([decoded.event.key, decoded.event.movedFrom]).toEqual([held.key, '7']);
});

test.each([5_000, 100_000])('what is nested %i times in itself is held as it came, and what follows is read', (depth) => {
  const nested = (open: string, inner: string, close: string): string => `${open.repeat(depth)}${inner}${close.repeat(depth)}`;
  const id = '{"type":"int64","optional":false,"field":"id"}';
  const key = `{"schema":{"type":"struct","optional":false,"fields":[${id}]},"payload":{"id":7}}`;
  const value = (field: string, payload: string): string =>
    `{"schema":{"type":"struct","fields":[{"type":"struct","optional":true,"field":"after","fields":[${id},${field}]}]},"payload":{"after":${payload},"source":{"lsn":1,"ts_ms":1},"op":"c"}}`;
  const ofLists = `{"type":"array","optional":true,"field":"m","items":${nested('{"type":"array","items":', '{"type":"int32"}', '}')}}`;
  const ofMaps = '{"type":"map","optional":true,"field":"m"}';
  const decoder = new TableDecoder({ ...OPTIONS, dataset: DATASET, topic: TOPIC, columns: null });
  const odd = [
    value(ofLists, '{"id":7,"m":[]}'),
    value(ofMaps, `{"id":7,"m":${nested('{"a":', '1', '}')}}`),
    value(ofMaps, `{"id":9007199254740993,"m":${nested('{"a":', '1', '}')}}`),
    nested('[', '1', ']'),
  ].map((text, i) => record(key, text, BigInt(i)));
  // Of bytes and not as a whole: what differs would be shown at length.
  const isKept = (cell: unknown, bytes: Buffer | null): boolean => Buffer.isBuffer(cell) && bytes !== null && cell.equals(bytes);
  for (const one of odd) {
    const held = decoder.decode(one, 0).event;
    expect([held?.dataset.undecoded, held?.movedFrom, isKept(held?.after?.value(5), one.value)]).toEqual([true, '7', true]);
  }
  const deepKey = `{"schema":{"type":"struct","optional":false,"fields":[${ofLists.replace('"m"', '"k"')}]},"payload":{"k":[]}}`;
  const held = decoder.decode(record(deepKey, value(ofMaps, '{"id":7,"m":{}}')), 0).event;
  expect([held?.dataset.undecoded, held?.movedFrom, isKept(held?.after?.value(4), Buffer.from(deepKey))]).toEqual([true, null, true]);
  expect(decoder.decode(record(key, value(ofMaps, '{"id":7,"m":{"a":1}}'), 9n), 0).event).toMatchObject({ op: 'insert', key: '7' });
});
