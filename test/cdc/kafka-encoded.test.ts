/** Rows that are written in the target's form as they are read, beside the values that the slow way reads of the same records. */
import avsc from 'avsc';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Long } from '../../cdc/kafka/avro.ts';
import { avroEnvelope, avroKey } from '../../cdc/kafka/avro-envelope.ts';
import { cellForm } from '../../cdc/kafka/cell-forms.ts';
import { CellWriter } from '../../cdc/kafka/cell-writer.ts';
import { type ConnectSchema, fieldOf, fromAvro } from '../../cdc/kafka/connect-schema.ts';
import { columnOf } from '../../cdc/kafka/connect-types.ts';
import { jsonEnvelope } from '../../cdc/kafka/json-envelope.ts';
import { TableDecoder } from '../../cdc/kafka/debezium.ts';
import type { DatasetName, Value } from '../../core/event.ts';
import type { PgRow } from '../../wire/postgres/row.ts';

const SEED = { seed: 20261127 };
const GONE = '__debezium_unavailable_value';
const DATASET = 's.public.t' as DatasetName;

interface Kind {
  readonly type: ConnectSchema['type'];
  readonly name?: string;
  readonly parameters?: Readonly<Record<string, string>>;
  /** As JSON has it. */
  readonly cells: fc.Arbitrary<unknown>;
}

const base64 = (max: number): fc.Arbitrary<string> => fc.uint8Array({ maxLength: max }).map((one) => Buffer.from(one).toString('base64'));
const clock = fc.date({ min: new Date('-000100-01-01'), max: new Date('+012000-01-01'), noInvalidDate: true });
const moments = fc.oneof(
  fc
    .tuple(clock, fc.integer({ min: 0, max: 999_999 }))
    .map(([at, micros]) =>
      at.toISOString().replace(/\.\d+Z/, micros === 0 ? 'Z' : `.${String(micros).padStart(6, '0').replace(/0+$/, '')}Z`),
    ),
  fc.constantFrom(
    '2024-02-29T23:59:59Z',
    '2023-02-29T00:00:00Z',
    '2026-11-24T24:00:00Z',
    '2026-11-24T01:02:03.5+05:30',
    '0000-01-01T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2016-12-31T23:59:60Z',
    'infinity',
    '20२6-11-24T00:00:00Z',
    '2026-11-24T00:00:00.1234567Z',
  ),
);
const KINDS: readonly Kind[] = [
  { type: 'boolean', cells: fc.oneof(fc.boolean(), fc.constant('t')) },
  { type: 'int16', cells: fc.oneof(fc.integer({ min: -40_000, max: 40_000 }), fc.double()) },
  { type: 'int32', cells: fc.oneof(fc.integer(), fc.maxSafeInteger()) },
  { type: 'int64', cells: fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt()) },
  { type: 'double', cells: fc.oneof(fc.double(), fc.constantFrom('NaN', '-Infinity', 'x')) },
  { type: 'float', cells: fc.float() },
  {
    type: 'string',
    cells: fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(GONE, Buffer.from(GONE).toString('hex'), `{"${GONE}":"${GONE}"}`, `${GONE}s`, '\ud800'),
    ),
  },
  { type: 'bytes', cells: fc.oneof(base64(40), fc.constant(Buffer.from(GONE).toString('base64'))) },
  ...['0', '2', '5', '30', '-2', '16384'].map((scale): Kind => ({
    type: 'bytes',
    name: 'org.apache.kafka.connect.data.Decimal',
    parameters: { scale },
    cells: fc.oneof(base64(9), base64(2), fc.maxSafeInteger(), fc.constant(Buffer.from(GONE).toString('base64'))),
  })),
  {
    type: 'int32',
    name: 'io.debezium.time.Date',
    cells: fc.oneof(fc.integer({ min: -800_000, max: 3_000_000 }), fc.integer(), fc.constantFrom(-2_147_472_692, -622_191_234)),
  },
  ...[
    'io.debezium.time.Timestamp',
    'io.debezium.time.MicroTimestamp',
    'io.debezium.time.NanoTimestamp',
    'io.debezium.time.MicroTime',
    'io.debezium.time.MicroDuration',
  ].map((name): Kind => ({
    type: 'int64',
    name,
    cells: fc.oneof(
      fc.maxSafeInteger(),
      fc.integer({ min: 0, max: 80_000_000_000 }),
      fc.constantFrom(9_223_372_036_825_200_000n, -9_223_372_036_832_400_000n),
    ),
  })),
  { type: 'string', name: 'io.debezium.time.ZonedTimestamp', cells: moments },
  { type: 'string', name: 'io.debezium.data.Json', cells: fc.json() },
  { type: 'string', name: 'io.debezium.data.Uuid', cells: fc.uuid() },
  { type: 'array', cells: fc.array(fc.option(fc.string())) },
];

test('a cell that is written is the value that it is read as; what is not sure is not written', () => {
  let [written, left] = [0, 0];
  for (const kind of KINDS) {
    const schema: ConnectSchema = { ...kind, optional: true, items: { type: 'string', optional: true } };
    const column = columnOf(schema, GONE);
    const form = cellForm(schema, column, GONE);
    const writer = new CellWriter();
    fc.assert(
      fc.property(kind.cells, (raw) => {
        const row = rowOf(form.type, writer, () => form.value(raw, writer));
        if (row === null) left++;
        else {
          written++;
          expect(plain(row.value(0))).toEqual(plain(column.decode(raw)));
        }
      }),
      { ...SEED, numRuns: 400 },
    );
  }
  expect([written > 6000, left > 300]).toEqual([true, true]);
});

function rowOf(type: PgRow['types'][number], writer: CellWriter, write: () => boolean): PgRow | null {
  const relation = { dataset: { name: DATASET, version: 1, columns: [], key: [] }, types: [type] };
  writer.begin(1);
  if (write()) return writer.end(relation);
  writer.giveUp();
  return null;
}

/** Zero has no sign in a database. */
const plain = (value: Value): unknown =>
  value instanceof Uint8Array ? Buffer.from(value).toString('hex') : Object.is(value, -0) ? 0 : value;

const optional = (type: unknown): unknown => ['null', type];
const AVRO_FIELDS: readonly (readonly [type: unknown, cells: fc.Arbitrary<unknown>])[] = [
  [
    'long',
    fc.oneof(
      { weight: 20, arbitrary: fc.maxSafeInteger() },
      { weight: 20, arbitrary: fc.integer({ min: -200, max: 200 }) },
      { weight: 1, arbitrary: fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }) },
      { weight: 1, arbitrary: fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 53n) }) },
    ),
  ],
  [optional('int'), fc.option(fc.integer())],
  [
    ['string', 'null'],
    fc.option(fc.oneof(fc.string({ unit: 'grapheme', maxLength: 90 }), fc.constantFrom(GONE, Buffer.from(GONE).toString('base64')))),
  ],
  [
    { type: 'bytes', 'connect.name': 'org.apache.kafka.connect.data.Decimal', 'connect.parameters': { scale: '2' } },
    fc.uint8Array({ minLength: 1, maxLength: 9 }).map((one) => Buffer.from(one)),
  ],
  [
    optional({ type: 'string', 'connect.name': 'io.debezium.time.ZonedTimestamp' }),
    fc.option(moments.filter((one) => /^[12]\d{3}-(0[1-9]|1[0-2])-[01]\dT[01].*[^0]Z$/.test(one) && !one.includes('60Z'))),
  ],
  [optional({ type: 'int', 'connect.name': 'io.debezium.time.Date' }), fc.option(fc.integer({ min: -700_000, max: 3_000_000 }))],
  [{ type: 'long', 'connect.name': 'io.debezium.time.MicroTimestamp' }, fc.integer({ min: -(2 ** 50), max: 2 ** 50 })],
  [{ type: 'long', 'connect.name': 'io.debezium.time.MicroTime' }, fc.integer({ min: 0, max: 86_399_999_999 })],
  ['double', fc.double()],
  [optional('float'), fc.option(fc.float())],
  ['boolean', fc.boolean()],
  [optional('bytes'), fc.option(fc.uint8Array({ maxLength: 90 }).map((one) => Buffer.from(one)))],
  [{ type: 'string', 'connect.name': 'io.debezium.data.Uuid' }, fc.uuid()],
];
const VALUE = { type: 'record', name: 'Value', fields: AVRO_FIELDS.map(([type], i) => ({ name: `c${i}`, type })) };
const ENVELOPE = {
  type: 'record',
  name: 'Envelope',
  namespace: 's.public.t',
  fields: [
    { name: 'before', type: optional(VALUE), default: null },
    { name: 'after', type: optional('Value'), default: null },
    {
      name: 'source',
      type: {
        type: 'record',
        name: 'Source',
        namespace: 'io.debezium',
        fields: [
          { name: 'connector', type: 'string' },
          { name: 'ts_ms', type: 'long' },
          { name: 'snapshot', type: [{ type: 'string', 'connect.default': 'false' }, 'null'], default: 'false' },
          { name: 'sequence', type: optional('string'), default: null },
          { name: 'nothing', type: optional({ type: 'array', items: 'string' }), default: null },
          { name: 'lsn', type: optional('long'), default: null },
        ],
      },
    },
    {
      name: 'transaction',
      type: optional({
        type: 'record',
        name: 'block',
        namespace: 'event',
        fields: [
          { name: 'id', type: 'string' },
          { name: 'order', type: 'long' },
        ],
      }),
      default: null,
    },
    { name: 'op', type: 'string' },
  ],
};
const rows = fc.tuple(...AVRO_FIELDS.map(([, cells]) => cells)).map((cells) => Object.fromEntries(cells.map((cell, i) => [`c${i}`, cell])));
const envelopes = fc.record({
  before: fc.option(rows),
  after: fc.option(rows, { freq: 8 }),
  source: fc.record({
    connector: fc.constantFrom('postgresql', 'mysql'),
    ts_ms: fc.integer({ min: 0, max: 2 ** 45 }),
    snapshot: fc.option(fc.constantFrom('true', 'false', 'last')),
    sequence: fc.option(fc.constantFrom('["1","2"]', '["1","3"]')),
    nothing: fc.constant(null),
    lsn: fc.option(fc.nat()),
  }),
  transaction: fc.option(fc.record({ id: fc.string(), order: fc.maxSafeInteger() })),
  op: fc.constantFrom('r', 'c', 'u', 'd'),
});
const AVRO = avsc.Type.forSchema(ENVELOPE as avsc.Schema, {
  typeHook: (schema) => (schema === 'long' || (schema as unknown as { type?: unknown }).type === 'long' ? Long : undefined),
});

function readBy(bytes: Buffer): { readonly before: unknown; readonly after: unknown } | null {
  try {
    return AVRO.fromBuffer(bytes) as ReturnType<typeof readBy>;
  } catch {
    return null;
  }
}

/** The cells of a row as the slow way has them, of the row that was parsed, and as they were written. */
function bothReadingsOf(columns: readonly (ReturnType<typeof columnOf> & { readonly field: ConnectSchema })[]) {
  const cellsOf = (row: unknown): unknown[] | null =>
    row === null
      ? null
      : columns.map(({ field, decode }) => {
          const raw = (row as Record<string, unknown>)[field.field ?? ''];
          return raw === null ? null : plain(decode(raw));
        });
  const shown = (row: PgRow | null): unknown[] | null => row && columns.map((_, i) => plain(row.value(i)));
  return { cellsOf, shown };
}

function envelopeReader() {
  const row = fieldOf(fromAvro(ENVELOPE), 'after');
  const found = (row?.fields ?? []).map((field) => ({ field, ...columnOf(field, GONE) }));
  const forms = found.map((column) => cellForm(column.field, column, GONE));
  const columns = found.map(({ field, type, native }) => ({ name: field.field ?? '', type, native, nullable: true }));
  const relation = { dataset: { name: DATASET, version: 1, columns, key: [0] }, types: forms.map(({ type }) => type) };
  const reader =
    avroEnvelope({ root: ENVELOPE, referenced: [] }, relation, forms, new CellWriter()) ?? expect.fail('a schema that is read');
  return { reader, ...bothReadingsOf(found) };
}

test('an envelope in Avro has the cells and the place that the library reads of it', () => {
  const { reader, cellsOf, shown } = envelopeReader();
  let [read, left] = [0, 0];
  fc.assert(
    fc.property(envelopes, fc.nat(9), (envelope, beside) => {
      const bytes = AVRO.toBuffer(envelope);
      // It lies among others.
      const among = Buffer.concat([Buffer.alloc(beside, 0xff), bytes, Buffer.alloc(20, 2)]);
      const found = reader.read(among, beside, beside + bytes.length);
      if (found === null) {
        left++;
        return;
      }
      read++;
      const { connector, ts_ms, snapshot, sequence, lsn } = envelope.source;
      expect([found.op, found.source]).toEqual([
        envelope.op,
        { connector, ts_ms, snapshot, sequence, lsn, file: null, gtid: null, pos: null, row: null },
      ]);
      expect([shown(found.before), shown(found.after)]).toEqual([cellsOf(envelope.before), cellsOf(envelope.after)]);
    }),
    { ...SEED, numRuns: 1500 },
  );
  expect([read > 500, left > 20]).toEqual([true, true]); // Numbers beyond 2^53 are left to the library.
});

test('what the library does not read, nobody does', () => {
  const { reader, cellsOf, shown } = envelopeReader();
  const isKey = avroKey({ root: ENVELOPE, referenced: [] });
  let refused = 0;
  fc.assert(
    fc.property(envelopes, fc.nat(), fc.nat(255), fc.boolean(), (envelope, place, byte, isCut) => {
      const whole = AVRO.toBuffer(envelope);
      const bytes = isCut ? whole.subarray(0, place % whole.length) : Buffer.from(whole);
      if (!isCut) bytes[place % bytes.length] = byte;
      const found = reader.read(bytes, 0, bytes.length);
      const theirs = readBy(bytes);
      if (theirs === null) {
        refused++;
        expect([found, isCut && isKey(bytes, 0, bytes.length)]).toEqual([null, false]);
      } else if (found !== null) {
        expect([shown(found.before), shown(found.after)]).toEqual([cellsOf(theirs.before), cellsOf(theirs.after)]);
      }
    }),
    { ...SEED, numRuns: 1500 },
  );
  expect(refused).toBeGreaterThan(300);
});

const COLUMNS = KINDS.map((kind, i): ConnectSchema => ({
  ...kind,
  field: `c${i}`,
  optional: true,
  items: { type: 'string', optional: true },
}));
const ROW = { type: 'struct', optional: true, fields: COLUMNS } as const;
const JSON_SOURCE = ['connector', 'ts_ms', 'snapshot', 'sequence', 'ts_ns'].map(
  (field) => ({ field, type: 'string', optional: true }) as const,
);
const JSON_ENVELOPE: ConnectSchema = {
  type: 'struct',
  optional: false,
  fields: [
    { ...ROW, field: 'before' },
    { ...ROW, field: 'after' },
    { type: 'struct', optional: false, field: 'source', fields: JSON_SOURCE },
    { type: 'struct', optional: true, field: 'transaction', fields: [] },
    { type: 'string', optional: false, field: 'op' },
  ],
};
/** Cells that are read, nearly always: one that is not would hide the others of its row. */
const usual = (i: number): fc.Arbitrary<unknown> =>
  fc.option(fc.constantFrom(...fc.sample((KINDS[i] as Kind).cells, { ...SEED, numRuns: 200 }).filter((raw) => isTaken(i, raw))), {
    freq: 6,
  });
const jsonRows = fc.tuple(...KINDS.map((_, i) => usual(i))).map((cells) => Object.fromEntries(cells.map((cell, i) => [`c${i}`, cell])));
const jsonEnvelopes = fc.record({
  before: fc.option(jsonRows),
  after: fc.option(jsonRows, { freq: 8 }),
  source: fc.record({
    connector: fc.constantFrom('postgresql', 'mysql'),
    ts_ms: fc.nat(),
    snapshot: fc.constantFrom(null, 'last'),
    sequence: fc.constantFrom('["1","2"]', '[null,"2"]'),
    ts_ns: fc.constant(1_795_439_041_136_258_000n),
  }),
  transaction: fc.option(
    fc.record({
      id: fc.string({ unit: 'grapheme' }),
      of: fc.array(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean())),
    }),
  ),
  op: fc.constantFrom('r', 'c', 'u', 'd'),
});

function isTaken(i: number, raw: unknown): boolean {
  const schema = COLUMNS[i] as ConnectSchema;
  const form = cellForm(schema, columnOf(schema, GONE), GONE);
  const writer = new CellWriter();
  writer.begin(1);
  return typeof raw !== 'bigint' && form.value(raw, writer);
}

/** With whole numbers of any size. */
function jsonOf(of: unknown): string {
  return JSON.stringify(of, (_, value: unknown) => (typeof value === 'bigint' ? `@${value}@` : value)).replace(/"@(-?\d+)@"/g, '$1');
}

function jsonReader() {
  const found = COLUMNS.map((field) => ({ field, ...columnOf(field, GONE) }));
  const forms = found.map((column) => cellForm(column.field, column, GONE));
  const relation = { dataset: { name: DATASET, version: 1, columns: [], key: [0] }, types: forms.map(({ type }) => type) };
  const reader = jsonEnvelope(JSON_ENVELOPE, relation, forms, new CellWriter()) ?? expect.fail('a schema that is read');
  return { reader, ...bothReadingsOf(found) };
}

test('an envelope in JSON has the cells and the place that JSON.parse reads of it, and what that does not read nobody does', () => {
  const { reader, cellsOf, shown } = jsonReader();
  let [read, refused] = [0, 0];
  fc.assert(
    fc.property(
      jsonEnvelopes,
      fc.nat(9),
      fc.option(fc.tuple(fc.nat(), fc.constantFrom(...Buffer.from('{}[]",:0-.e\\ntx \u0001')))),
      (envelope, beside, change) => {
        const bytes = Buffer.from(jsonOf(envelope));
        if (change !== null) bytes[change[0] % bytes.length] = change[1];
        const among = Buffer.concat([Buffer.alloc(beside, 0x7b), bytes, Buffer.from('}}}}')]);
        const found = reader.read(among, beside, beside + bytes.length);
        const theirs = parsed(bytes);
        if (theirs === null) {
          refused++;
          expect(found).toBeNull();
        }
        if (theirs === null || found === null) return;
        read++;
        const { connector, ts_ms, snapshot, sequence } = theirs.source;
        expect([found.op, found.source]).toEqual([
          theirs.op,
          { connector, ts_ms, snapshot, sequence, lsn: null, file: null, gtid: null, pos: null, row: null },
        ]);
        expect([shown(found.before), shown(found.after)]).toEqual([cellsOf(theirs.before), cellsOf(theirs.after)]);
      },
    ),
    { ...SEED, numRuns: 2000 },
  );
  expect([read > 400, refused > 200]).toEqual([true, true]);
});

function parsed(bytes: Buffer): { op: unknown; before: unknown; after: unknown; source: Record<string, unknown> } | null {
  try {
    return JSON.parse(bytes.toString()) as ReturnType<typeof parsed>;
  } catch {
    return null;
  }
}

test('what lies too deep to be stepped over is left to JSON.parse, and the stack holds', () => {
  const { reader } = jsonReader();
  const envelope = (depth: number): Buffer => {
    const deep = `${'['.repeat(depth)}${']'.repeat(depth)}`;
    const source = '{"connector":"postgresql","ts_ms":1,"snapshot":null,"sequence":null,"ts_ns":1}';
    return Buffer.from(`{"before":null,"after":null,"source":${source},"transaction":${deep},"op":"c"}`);
  };
  const isRead = (bytes: Buffer): boolean => reader.read(bytes, 0, bytes.length) !== null;
  expect([3, 500_000].map((depth) => isRead(envelope(depth)))).toEqual([true, false]);
});

test('a row of before whose columns stand in another order is read by their names', () => {
  const decoder = new TableDecoder({
    dataset: DATASET,
    topic: 't',
    envelope: 'debezium',
    columns: null,
    unavailable: GONE,
    registry: null,
  });
  const column = (field: string) => ({ field, type: 'int64', optional: false });
  const [id, a, b] = [column('id'), column('a'), column('b')];
  const row = (field: string, fields: readonly unknown[]) => ({ field, type: 'struct', optional: true, fields });
  const place = { field: 'source', type: 'struct', fields: [column('lsn'), column('ts_ms')] };
  const op = { field: 'op', type: 'string' };
  const schema = { type: 'struct', fields: [row('before', [id, b, a]), row('after', [id, a, b]), place, op] };
  const payload = { before: { id: 7, b: 2, a: 1 }, after: { id: 7, a: 3, b: 4 }, source: { lsn: 9, ts_ms: 1 }, op: 'u' };
  const bytes = (of: unknown): Buffer => Buffer.from(JSON.stringify(of));
  const key = bytes({ schema: { type: 'struct', fields: [id] }, payload: { id: 7 } });
  const shown = (): unknown[] => {
    const { event } = decoder.decode({ offset: 0n, timestampMs: 0, key, value: bytes({ schema, payload }), headers: {} }, 0);
    return [event?.before, event?.after].map((one) => [0, 1, 2].map((at) => one?.value(at)));
  };
  // The first one makes the schema known.
  for (let i = 0; i < 2; i++)
    expect(shown()).toEqual([
      [7, 1, 2],
      [7, 3, 4],
    ]);
});

test('a column whose unit changes keeps its meaning', () => {
  const decoder = new TableDecoder({
    dataset: DATASET,
    topic: 't',
    envelope: 'debezium',
    columns: null,
    unavailable: GONE,
    registry: null,
  });
  const shown = (name: string, at: number): unknown => {
    const id = { field: 'id', type: 'int64', optional: false };
    const after = { field: 'after', type: 'struct', optional: true, fields: [id, { field: 'at', type: 'int64', optional: true, name }] };
    const payload = { op: 'c', before: null, after: { id: 7, at }, source: { lsn: 9, ts_ms: 1 } };
    const key = { schema: { type: 'struct', fields: [id] }, payload: { id: 7 } };
    const bytes = (of: unknown): Buffer => Buffer.from(JSON.stringify(of));
    const value = { schema: { type: 'struct', fields: [after] }, payload };
    return decoder.decode({ offset: 0n, timestampMs: 0, key: bytes(key), value: bytes(value), headers: {} }, 0).event?.after?.value(1);
  };
  const moment = '2026-11-24 01:02:03.5';
  const ms = Date.parse('2026-11-24T01:02:03.5Z');
  expect([shown('io.debezium.time.MicroTimestamp', ms * 1000), shown('io.debezium.time.Timestamp', ms)]).toEqual([moment, moment]);
});
