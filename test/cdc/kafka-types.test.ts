/** Cells of Debezium's records are what PostgreSQL would write, over all of the range that its types have. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { columnOf } from '../../cdc/kafka/connect-types.ts';
import type { ConnectSchema } from '../../cdc/kafka/connect-schema.ts';
import { declaredColumn } from '../../cdc/kafka/declared.ts';
import { UNCHANGED } from '../../core/event.ts';
import { connectColumn } from '../../sync/kafka/connect-columns.ts';
import { dateText, timestampText } from '../../wire/postgres/types-time.ts';

function decoder(type: ConnectSchema['type'], name: string, parameters?: Readonly<Record<string, string>>) {
  return columnOf({ type, optional: true, name, parameters }, '').decode;
}

/** Java's ISO 8601: years before Christ count from 0 downwards, and those of more than four digits have a sign. */
function isoYear(shown: string): string {
  const [, digits = '', rest = '', era = ''] = /^(\d+)(-.*?)( BC)?$/.exec(shown) ?? [];
  const year = era === '' ? Number(digits) : 1 - Number(digits);
  const sign = year < 0 ? '-' : year > 9999 ? '+' : '';
  return `${sign}${String(Math.abs(year)).padStart(4, '0')}${rest}`;
}

test('moments with a zone, from 4714 BC to 294276', () => {
  const decode = decoder('string', 'io.debezium.time.ZonedTimestamp');
  const moments = fc.bigInt({ min: -211_813_488_000_000_000n, max: 9_223_371_331_199_999_999n });
  fc.assert(
    fc.property(moments, (micros) => {
      const shown = timestampText(micros, '+00');
      expect(decode(isoYear(shown).replace(' ', 'T').replace('+00', 'Z'))).toBe(shown);
    }),
    { examples: [[9_223_371_331_199_999_999n], [-211_813_488_000_000_000n]] },
  );
  expect(decode('2026-11-24T01:02:03.5+05:30')).toBe('2026-11-23 19:32:03.5+00');
  for (const none of ['2026-02-30T00:00:00Z', '2026-11-24', '2026-11-24 01:02:03+00', 'soon'])
    expect(() => decode(none)).toThrow('a timestamp');
});

test('dates as ISO texts, those before Christ too', () => {
  const decode = decoder('string', 'io.debezium.time.IsoDate');
  fc.assert(
    fc.property(fc.integer({ min: -2_451_507, max: 106_000_000 }), (days) => {
      const shown = dateText(days);
      expect(decode(`${isoYear(shown)}Z`)).toBe(shown);
    }),
    { examples: [[-2_451_507]] },
  );
});

test('decimals of any scale', () => {
  const decimal = (bytes: readonly number[], scale: number) =>
    decoder('bytes', 'org.apache.kafka.connect.data.Decimal', { scale: String(scale) })(Buffer.from(bytes).toString('base64'));
  expect([decimal([0xfb, 0x1e], 2), decimal([5], 3), decimal([0], 2), decimal([0xff], 0), decimal([12], -2)]).toEqual([
    '-12.50',
    '0.005',
    '0.00',
    '-1',
    '1200',
  ]);
});

test('texts with a name of Debezium’s have their type, and are written under that name', () => {
  const forms = { decimals: 'precise', intervals: 'numeric', arrays: 'list', bits: 'bytes', defaults: 'required' } as const;
  for (const [native, name] of [
    ['uuid', 'io.debezium.data.Uuid'],
    ['xml', 'io.debezium.data.Xml'],
    ['ltree', 'io.debezium.data.Ltree'],
    ['tsvector', 'io.debezium.data.Tsvector'],
  ] as const) {
    const written = connectColumn({ name: 'c', type: 'other', native, nullable: true }, forms);
    expect(written.schema).toMatchObject({ type: 'string', name });
    expect(columnOf({ type: 'string', optional: true, name }, '')).toMatchObject({ type: 'other', native });
  }
});

test('a declared array is a list, as Debezium writes it, or the text of PostgreSQL’s that our own topics have', () => {
  const { native, decode } = columnOf(declaredColumn('text[]') ?? expect.fail('a type that is known'), 'none');
  expect(native).toBe('text[]');
  expect(decode(['a,b', null])).toBe('{"a,b",NULL}');
  for (const text of ['{}', '{"a,b",NULL}', '{{1},{"\n"}}', '[0:1]={a,b}', '[-1:-1][2:3]={{a,b}}']) expect(decode(text)).toBe(text);
  expect([decode('none'), decode(['none'])]).toEqual([UNCHANGED, UNCHANGED]);
  for (const none of ['', 'a', '{a', 'a}', '[]={a}', '[1]={a}', ' {a}', 7]) expect(() => decode(none)).toThrow('an array');
  const described = columnOf({ type: 'array', optional: true, items: { type: 'string', optional: true } }, '');
  expect(() => described.decode('{a}')).toThrow('an array');
});

test('the placeholder of a value that was not sent is known in every form that the connector’s settings give it', () => {
  const gone = '__debezium_unavailable_value';
  const read = (schema: Partial<ConnectSchema> & Pick<ConnectSchema, 'type'>, raw: unknown) =>
    columnOf({ optional: true, ...schema }, gone).decode(raw);
  const bytes = Buffer.from(gone);
  const text = { type: 'string', optional: true } as const;
  const forms: readonly (readonly [Parameters<typeof read>[0], unknown])[] = [
    [text, gone],
    [{ type: 'string', name: 'io.debezium.data.Json' }, gone],
    [{ type: 'string', name: 'io.debezium.data.Json' }, `{"${gone}":"${gone}"}`],
    [text, bytes.toString('base64')],
    [text, bytes.toString('hex')],
    [{ type: 'bytes' }, bytes],
    [{ type: 'bytes' }, bytes.toString('base64')],
    [{ type: 'array', items: text }, [gone]],
    [{ type: 'array', items: { type: 'int32', optional: true } }, [...bytes]],
    [{ type: 'array', items: { type: 'int64', optional: true } }, [...bytes]],
    [{ type: 'map' }, { [gone]: gone }],
  ];
  for (const [schema, raw] of forms) expect([schema, read(schema, raw)]).toEqual([schema, UNCHANGED]);
  expect(read(text, `${gone}s`)).toBe(`${gone}s`);
  expect(read({ type: 'array', items: text }, [gone, 'b'])).toBe(`{${gone},b}`);
});
