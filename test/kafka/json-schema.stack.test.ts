/** Records in the Confluent wire format whose body is JSON, described by a JSON Schema in a registry: as Confluent's converter writes what Debezium gives it. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { TableDecoder } from '../../cdc/kafka/debezium.ts';
import { type ChangeEvent, type DatasetName, UNCHANGED } from '../../core/event.ts';
import { stack } from './support.ts';

/** A part of a schema that may be null. */
const optional = (index: number, schema: object) => ({ 'connect.index': index, oneOf: [{ type: 'null' }, schema] });
const integer = (type: string, title?: string) => ({ type: 'integer', 'connect.type': type, ...(title === undefined ? {} : { title }) });

const ROW = {
  type: 'object',
  title: 'shop.public.t.Value',
  properties: {
    // Sorted by name, as some registries have them: the row's own order is that of the indices.
    amount: optional(3, {
      type: 'string',
      title: 'org.apache.kafka.connect.data.Decimal',
      'connect.type': 'bytes',
      'connect.parameters': { scale: '2', 'connect.decimal.precision': '12' },
    }),
    at: optional(4, integer('int64', 'io.debezium.time.MicroTimestamp')),
    big: optional(2, { type: 'string' }),
    id: { 'connect.index': 0, ...integer('int64') },
    ok: optional(6, { type: 'boolean' }),
    on: optional(5, integer('int32', 'io.debezium.time.Date')),
    ratio: optional(7, { type: 'number', 'connect.type': 'float64' }),
    raw: optional(8, { type: 'string', 'connect.type': 'bytes' }),
    small: optional(1, integer('int16')),
    tags: optional(9, { type: 'array', items: { oneOf: [{ type: 'null' }, { type: 'string' }] } }),
  },
};
const ENVELOPE = {
  type: 'object',
  title: 'shop.public.t.Envelope',
  definitions: { Row: ROW },
  properties: {
    before: optional(0, { $ref: '#/definitions/Row' }),
    after: optional(1, { $ref: '#/definitions/Row' }),
    source: {
      'connect.index': 2,
      type: 'object',
      title: 'io.debezium.connector.postgresql.Source',
      properties: {
        lsn: optional(0, integer('int64')),
        sequence: optional(1, { type: 'string' }),
        ts_ms: { 'connect.index': 2, ...integer('int64') },
      },
    },
    op: { 'connect.index': 3, type: 'string' },
  },
};
const KEY = { type: 'object', title: 'shop.public.t.Key', properties: { id: { 'connect.index': 0, ...integer('int64') } } };

async function register(schema: object): Promise<number> {
  const answer = await fetch(`${stack.ccompatUrl}/subjects/s${randomBytes(4).toString('hex')}-value/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schemaType: 'JSON', schema: JSON.stringify(schema) }),
  });
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { id: number }).id;
}

function wire(id: number, body: string): Buffer {
  const head = Buffer.alloc(5);
  head.writeInt32BE(id, 1);
  return Buffer.concat([head, Buffer.from(body)]);
}

const decoder = () =>
  new TableDecoder({
    dataset: 'shop.public.t' as DatasetName,
    topic: 'shop.public.t',
    envelope: 'debezium',
    columns: null,
    unavailable: '__debezium_unavailable_value',
    registry: { url: stack.ccompatUrl },
  });

async function decoded(of: TableDecoder, key: Buffer, value: Buffer): Promise<ChangeEvent> {
  const { event } = await of.decodeAsking({ offset: 0n, timestampMs: 5, key, value, headers: {} }, 0);
  if (event === null) throw new Error('it is nothing');
  return event;
}

test('values and keys described by JSON Schemas are read by their types, with whole numbers exact', async () => {
  const [envelope, key] = [await register(ENVELOPE), await register(KEY)];
  const of = decoder();
  const row =
    '{"id":9007199254740993,"small":-7,"big":"__debezium_unavailable_value","amount":"BNI=","at":1795439040782518,"on":20000,"ok":true,"ratio":0.1,"raw":"AP8=","tags":["a",null]}';
  const source = '{"lsn":16,"sequence":"[\\"8\\",\\"16\\"]","ts_ms":77}';
  const event = await decoded(
    of,
    wire(key, '{"id":9007199254740993}'),
    wire(envelope, `{"before":null,"after":${row},"source":${source},"op":"u"}`),
  );
  expect([event.op, event.key, event.version, event.committedAtMs]).toEqual([
    'update',
    '9007199254740993',
    '0000000000000010.0000000000000010',
    77,
  ]);
  expect(event.dataset.columns.map(({ name, native, nullable }, i) => [name, native, nullable, event.after?.value(i)])).toEqual([
    ['id', 'bigint', false, 9007199254740993n],
    ['small', 'smallint', true, -7],
    ['big', 'text', true, UNCHANGED],
    ['amount', 'numeric(12,2)', true, '12.34'],
    ['at', 'timestamp without time zone', true, '2026-11-23 13:04:00.782518'],
    ['on', 'date', true, '2024-10-04'],
    ['ok', 'boolean', true, true],
    ['ratio', 'double precision', true, 0.1],
    ['raw', 'bytea', true, Buffer.from([0, 255])],
    ['tags', 'text[]', true, '{a,NULL}'],
  ]);
  const deleted = await decoded(of, wire(key, '{"id":3}'), wire(envelope, `{"before":null,"after":null,"source":${source},"op":"d"}`));
  expect([deleted.op, deleted.key, deleted.dataset === event.dataset]).toEqual(['delete', '3', true]);
});

test('what does not fit is held with its reason', async () => {
  const key = await register(KEY);
  const of = decoder();
  const choice = await register({ type: 'object', properties: { n: { oneOf: [{ type: 'string' }, { type: 'integer' }] } } });
  for (const [value, reason] of [
    [wire(choice, '{"n":1}'), /choice of several types/],
    [wire(key, '{"id":'), /no valid JSON/],
    [wire(2_000_000_000, '{}'), /no schema 2000000000/],
  ] as const) {
    const event = await decoded(of, wire(key, '{"id":1}'), value);
    expect([event.dataset.undecoded, event.after?.value(7)]).toEqual([true, expect.stringMatching(reason)]);
  }
});
