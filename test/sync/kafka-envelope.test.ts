/** Changes as Debezium writes them, read back by what reads Debezium: whatever is written is what is read, with every digit, or is refused. */
import { expect, test } from 'vitest';
import { PartitionLane } from '../../cdc/kafka/lane.ts';
import { TableDecoder } from '../../cdc/kafka/debezium.ts';
import {
  type ChangeEvent,
  type Column,
  type Dataset,
  type DatasetName,
  keyOf,
  type LaneId,
  UNCHANGED,
  type Value,
  ValueRow,
  type Version,
} from '../../core/event.ts';
import { type CellForms, connectColumn } from '../../sync/kafka/connect-columns.ts';
import { Unwritable } from '../../sync/kafka/connect-schema.ts';
import { jsonOf, recordsOf, shapeOf, UnwritableCell } from '../../sync/kafka/envelope.ts';
import { topicName } from '../../sync/kafka/topic-name.ts';
import { quoteElement } from '../../wire/postgres/types-nested.ts';
import { dateText, intervalText, timestampText, timeText } from '../../wire/postgres/types-time.ts';
import fc from '../support/fast-check.ts';

const NAME = 'shop.public.t' as DatasetName;
const TOPIC = 'shop.public.t';
/** What stands where there is no value: with the second, an update left it out. */
const BLANKS: readonly Value[] = [null, UNCHANGED];
const big = (bits: number) => fc.bigInt({ min: -(2n ** BigInt(bits - 1)), max: 2n ** BigInt(bits - 1) - 1n });
const whole = (bits: number) =>
  big(bits).map((value) => (BigInt(Number(value)) === value && Number.isSafeInteger(Number(value)) ? Number(value) : value));
const decimal = (scale: number, digits: number) =>
  fc.bigInt({ min: -(10n ** BigInt(digits)), max: 10n ** BigInt(digits) }).map((unscaled) => {
    const size = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, '0');
    return `${unscaled < 0n ? '-' : ''}${size.slice(0, size.length - scale)}${scale === 0 ? '' : `.${size.slice(size.length - scale)}`}`;
  });
/** From 4714 BC to the year 20000, microseconds since 2000. */
const moment = fc.bigInt({ min: -211_000_000_000_000_000n, max: 568_000_000_000_000_000n });
const orInfinite = (text: fc.Arbitrary<string>) =>
  fc.oneof({ weight: 9, arbitrary: text }, { weight: 1, arbitrary: fc.constantFrom('infinity', '-infinity') });

const arrayText = (elements: readonly (string | null)[]): string =>
  `{${elements.map((one) => (one === null ? 'NULL' : quoteElement(one, ','))).join(',')}}`;

/** By column: its types, whether an update may leave it out, and values of it. */
const COLUMNS: Readonly<Record<string, readonly [Column['type'], string, boolean, fc.Arbitrary<Value>]>> = {
  flag: ['boolean', 'boolean', false, fc.boolean()],
  i2: ['integer', 'smallint', false, whole(16)],
  i4: ['integer', 'integer', false, whole(32)],
  i8: ['integer', 'bigint', false, whole(64)],
  f4: ['float', 'real', false, fc.float()],
  f8: ['float', 'double precision', false, fc.double()],
  money: ['decimal', 'numeric(12,2)', false, decimal(2, 12)],
  exact: ['decimal', 'numeric', false, fc.nat(30).chain((scale) => decimal(scale, 40))],
  note: ['text', 'text', true, fc.string({ unit: 'binary' })],
  raw: ['bytes', 'bytea', true, fc.uint8Array().map((bytes) => Buffer.from(bytes))],
  doc: ['json', 'jsonb', true, fc.json()],
  who: ['other', 'uuid', true, fc.uuid()],
  at: ['timestamp', 'timestamp with time zone', false, orInfinite(moment.map((us) => timestampText(us, '+00')))],
  local: ['timestamp', 'timestamp without time zone', false, orInfinite(moment.map((us) => timestampText(us, '')))],
  day: ['date', 'date', false, orInfinite(fc.integer({ min: -2_400_000, max: 6_500_000 }).map(dateText))],
  span: [
    'other',
    'interval',
    true,
    fc
      .tuple(big(60), fc.integer({ min: -99_999, max: 99_999 }), fc.integer({ min: -99_999, max: 99_999 }))
      .map(([us, days, months]) => intervalText(us, days, months)),
  ],
  words: ['other', 'text[]', true, fc.array(fc.option(fc.string({ unit: 'binary' }))).map(arrayText)],
  counts: ['other', 'bigint[]', true, fc.array(fc.option(big(64).map(String))).map(arrayText)],
  prices: ['other', 'numeric(12,2)[]', false, fc.array(fc.option(decimal(2, 12))).map(arrayText)],
  moments: ['other', 'timestamp with time zone[]', true, fc.array(moment.map((us) => timestampText(us, '+00'))).map(arrayText)],
  clock: ['time', 'time without time zone', false, fc.bigInt({ min: 0n, max: 86_400_000_000n }).map(timeText)],
};
const COLUMN_LIST: readonly Column[] = [
  { name: 'id', type: 'integer', native: 'bigint', nullable: false },
  ...Object.entries(COLUMNS).map(([name, [type, native]]): Column => ({ name, type, native, nullable: true })),
];
const DATASET: Dataset = { name: NAME, version: 1, columns: COLUMN_LIST, key: [0] };

const FORMS = { decimals: 'precise', intervals: 'string', arrays: 'list', bits: 'bytes', defaults: 'required' } as const;

const cells = fc.tuple(
  ...Object.values(COLUMNS).map(([, , mayBeLeftOut, value]) =>
    fc.oneof({ weight: 8, arbitrary: value }, { weight: 1, arbitrary: fc.constantFrom(...(mayBeLeftOut ? BLANKS : [null])) }),
  ),
);
const row = fc.tuple(whole(64), cells).map(([id, rest]) => [id, ...rest] as Value[]);

const event = (op: ChangeEvent['op'], before: Value[] | null, after: Value[] | null, movedFrom: string | null = null): ChangeEvent => {
  const [was, is] = [before, after].map((one) => (one === null ? null : new ValueRow(...one)));
  const key = keyOf(DATASET, (is ?? was) as ValueRow);
  return {
    op,
    dataset: DATASET,
    before: was,
    after: is,
    key,
    movedFrom,
    version: '00000000000000ff' as Version,
    ordinal: 0,
    committedAtMs: 7,
  } as ChangeEvent; // Rows as the operation has them.
};

/** As JsonConverter writes it, and back by the source's own lane. */
async function through(written: ChangeEvent): Promise<readonly ChangeEvent[]> {
  const shape = shapeOf(DATASET, TOPIC, FORMS);
  const records = recordsOf(written, shape, { version: '1', nowMs: 1, transactions: false }).map(({ key, value, headers }, i) => ({
    offset: BigInt(i),
    timestampMs: 1,
    key: Buffer.from(`{"schema":${JSON.stringify(shape.key)},"payload":${key === null ? 'null' : jsonOf(key)}}`),
    value: value === null ? null : Buffer.from(`{"schema":${JSON.stringify(shape.value)},"payload":${jsonOf(value)}}`),
    headers: Object.fromEntries(Object.entries(headers).map(([name, one]) => [name, jsonOf(one)])),
  }));
  const decoder = new TableDecoder({
    dataset: NAME,
    topic: TOPIC,
    envelope: 'debezium',
    columns: null,
    unavailable: '__debezium_unavailable_value',
    registry: null,
  });
  const end = BigInt(records.length);
  const lane = new PartitionLane('l' as LaneId, { topic: TOPIC, partition: 0 }, { topicId: null, decoder, from: 0n, end });
  lane.add({ topic: TOPIC, partition: 0, records, next: end, end });
  return (await lane.take({ rows: 100, bytes: 1 << 24 }, 0))?.events ?? [];
}

const valuesOf = (of: ChangeEvent['after']): unknown[] | null =>
  of === null
    ? null
    : COLUMN_LIST.map((_, i) => {
        const value = of.value(i);
        return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
      });

test('a row of any values comes back as it was, with the types of its columns', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom<'insert' | 'update' | 'read'>('insert', 'update', 'read'), row, async (op, values) => {
      const written = event(op, null, values);
      const [read, ...more] = await through(written);
      expect(more).toEqual([]);
      expect([read?.op, read?.key, read?.version]).toEqual([op, written.key, written.version]);
      expect(valuesOf(read?.after ?? null)).toEqual(valuesOf(written.after));
      expect(read?.dataset.columns.map(({ name, type, native }) => [name, type, native])).toEqual(
        COLUMN_LIST.map(({ name, type, native }) => [name, type, native]),
      );
    }),
    { numRuns: 200 },
  );
});

test('a delete is followed by a tombstone, and a key move is a delete and an insert that are put together again', async () => {
  await fc.assert(
    fc.asyncProperty(row, row, async (before, after) => {
      const gone = event('delete', before, null);
      expect(
        recordsOf(gone, shapeOf(DATASET, TOPIC, FORMS), { version: '1', nowMs: 1, transactions: false }).map(({ value }) => value === null),
      ).toEqual([false, true]);
      expect((await through(gone)).map(({ op, key }) => [op, key])).toEqual([['delete', gone.key]]);
      if (before[0] === after[0]) return;
      const moved = event('update', before, after, keyOf(DATASET, new ValueRow(...before)));
      const read = await through(moved);
      expect(read.map((one) => [one.op, one.key, one.movedFrom, valuesOf(one.after)])).toEqual([
        ['update', moved.key, moved.movedFrom, valuesOf(moved.after)],
      ]);
    }),
    { numRuns: 50 },
  );
});

test('what a type has no form for is refused by its column', () => {
  const shape = shapeOf(DATASET, TOPIC, FORMS);
  const place = COLUMN_LIST.findIndex(({ name }) => name === 'money');
  const refused: readonly Value[] = ['NaN', 'Infinity', '-Infinity', UNCHANGED];
  for (const value of refused) {
    const values: Value[] = COLUMN_LIST.map((_, i) => (i === 0 ? 1 : i === place ? value : null));
    const writing = (): unknown => recordsOf(event('insert', null, values), shape, { version: '1', nowMs: 1, transactions: false });
    expect(writing).toThrow(UnwritableCell);
    expect(writing).toThrow(expect.objectContaining({ column: 'money' }));
  }
});

const cell = (native: string, value: Value, forms: Partial<CellForms> = {}): unknown => {
  const type: Column['type'] = native === 'money' ? 'decimal' : 'other';
  return connectColumn({ name: 'c', type, native, nullable: true }, { ...FORMS, ...forms }).encode(value);
};

test('bits, points, hstore, money and intervals have the forms that Debezium gives them', () => {
  expect([cell('bit(1)', '1'), cell('bit', '0')]).toEqual([true, false]);
  expect(cell('bit varying(20)', '00000000100000001')).toEqual(Buffer.from([1, 1]));
  expect(cell('bit(9)', '000000000')).toEqual(Buffer.alloc(0));
  expect(cell('point', '(1.5,-2)')).toEqual({
    x: 1.5,
    y: -2,
    wkb: Buffer.from('0101000000000000000000f83f00000000000000c0', 'hex'),
    srid: null,
  });
  expect(cell('public.hstore', '"a b"=>"say \\"hi\\", c:\\\\d", ""=>"", "n"=>NULL')).toBe('{"a b":"say \\"hi\\", c:\\\\d","":"","n":null}');
  expect(cell('money', '-12.34')).toEqual(Buffer.from('fb2e', 'hex'));
  expect(cell('interval', '1 mon -1 days -00:00:00.5', { intervals: 'numeric' })).toBe(2_629_800_000_000n - 86_400_000_000n - 500_000n);
  expect(cell('interval day to second', '3 days 01:02:03', { intervals: 'text' })).toBe('3 days 01:02:03');
});

test('a type that somebody made under the name of another one is the text that PostgreSQL shows', () => {
  for (const [native, text] of [
    ['app.money', '(12.50,EUR)'],
    ['app.point', 'north'],
    ['app."interval"', '[1,2)'],
    ['public.constructor', '(1)'],
  ] as const)
    expect(cell(native, text)).toBe(text);
});

test('arrays of more than one dimension or with bounds of their own are no lists, and text where that is asked for', () => {
  for (const text of ['{{1,2},{3,4}}', '[0:1]={1,2}']) {
    expect(() => cell('integer[]', text)).toThrow(Unwritable);
    expect(cell('integer[]', text, { arrays: 'text' })).toBe(text);
  }
  expect(() => cell('interval', 'infinity')).toThrow(Unwritable);
  expect(() => cell('money', '1.234')).toThrow(Unwritable);
});

const declared = (native: string, type: Column['type'], is: NonNullable<Column['declared']>, forms: Partial<CellForms> = {}) =>
  connectColumn({ name: 'c', type, native, nullable: true, declared: is }, { ...FORMS, ...forms });

test('what a column is declared to be is in its schema: labels, the base of a domain, a constant default, and that it cannot be null', () => {
  expect(declared('public.mood', 'text', { labels: ['a', 'b'], required: true, default: "'b'::public.mood" }).schema).toEqual({
    type: 'string',
    optional: false,
    name: 'io.debezium.data.Enum',
    version: 1,
    parameters: { allowed: 'a,b' },
    default: 'b',
  });
  expect(declared('public.price', 'decimal', { base: 'numeric(10,2)' }).schema).toMatchObject({
    type: 'bytes',
    parameters: { scale: '2' },
  });
  const ofDefault = (native: string, type: Column['type'], expression: string) =>
    declared(native, type, { required: true, default: expression }).schema.default;
  expect(ofDefault('text', 'text', "'it''s; (now)'::text")).toBe("it's; (now)");
  expect(ofDefault('integer', 'integer', "'-5'::integer")).toBe(-5);
  expect(ofDefault('bigint', 'integer', "'9007199254740993'::bigint")).toBe(9_007_199_254_740_993n);
  expect(ofDefault('timestamp(3) without time zone', 'timestamp', "'2026-01-02 00:00:00'::timestamp without time zone")).toBe(
    1_767_312_000_000n,
  );
  const computed = [
    'now()',
    "('now'::text)::date",
    "nextval('s'::regclass)",
    '(1 + 2)',
    'CURRENT_USER',
    "('a'::text || 'b'::text)",
    'NULL::text',
  ];
  for (const expression of computed) expect([expression, ofDefault('text', 'text', expression)]).toEqual([expression, undefined]);
  expect(ofDefault('numeric(3,1)', 'decimal', '12.55')).toBeUndefined(); // No value of the column.
  expect(declared('text', 'text', { default: "'x'::text" }).schema.default).toBeUndefined();
  expect(declared('text', 'text', { default: "'x'::text" }, { defaults: 'all' }).schema.default).toBe('x');
});

test('a null of a column that cannot be null by its schema is refused, and one that nobody knows is made up', () => {
  expect(() => declared('text', 'text', { required: true }).encode(null)).toThrow(Unwritable);
  expect(() => declared('public.mood[]', 'other', { labels: ['a'] }).encode('{a,NULL}')).toThrow(Unwritable);
  expect(declared('text', 'text', { required: true }).unknown).toBe('');
  expect(declared('text', 'text', { required: true, default: "'x'::text" }).unknown).toBe('x');
  expect(declared('text', 'text', {}).unknown).toBe(null);
});

test('a table keeps the dots of its name in that of its topic', () => {
  expect(topicName('cdc.{schema}.{table}', 'main', 'shop.public.orders.2026 q1' as DatasetName)).toBe('cdc.public.orders.2026_q1');
});
