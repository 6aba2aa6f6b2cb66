/** Every decoder against the server's own text of the same value. */
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import { numericBytes, numericText } from '../../wire/postgres/types-numeric.ts';
import { describeTypes } from '../../wire/postgres/types.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';

let database: TestDatabase;
let sql: PgConnection;

beforeAll(async () => {
  database = await createDatabase(inject('sourceServer'), 'types');
  sql = await PgConnection.connect({ url: database.url });
  await sql.script(`
    create extension citext; create extension ltree; create extension hstore;
    create type mood as enum ('sad', 'so so', 'happy');
    create domain positive as integer check (value > 0);
    create type pair as (a integer, "B c" text, m mood);
    create type nested as (p pair, list integer[]);
    create type floats as range (subtype = float8);`);
});
afterAll(async () => {
  await sql.close();
  await database[Symbol.asyncDispose]();
});

const literals: Record<string, readonly string[]> = {
  boolean: ['true', 'false'],
  smallint: ['-32768', '32767', '0'],
  integer: ['-2147483648', '2147483647', '0'],
  bigint: [
    '-9223372036854775808',
    '9223372036854775807',
    '0',
    '-1',
    '9007199254740991',
    '9007199254740993',
    '-9007199254740993',
    '1000001',
  ],
  oid: ['0', '4294967295'],
  numeric: [
    '0',
    '0.00',
    '-0.10',
    '1',
    '10000',
    '9999.9999',
    '12345678901234567890.123456789012345678901234567890',
    'NaN',
    'Infinity',
    '-Infinity',
    '0.0000000001',
    '1e1000',
    '1e-1000',
    `${'9'.repeat(1000)}.5`,
  ],
  'numeric(12,2)': ['1.9', '-99999999.99', '0'],
  real: ['0', '-0', '1.1', '3.4028235e38', '1e-45', 'NaN', 'Infinity', '-Infinity', '16777216', '0.1'],
  'double precision': ['0', '1.1', '1.7976931348623157e308', '5e-324', 'NaN', 'Infinity', '-Infinity', '0.1'],
  text: ['', 'a', 'ünï', 'with "quotes", and \\ slashes', '🐘'],
  'character varying(10)': ['abc'],
  'character(5)': ['abc'],
  '"char"': ['x'],
  name: ['abc'],
  citext: ['AbC'],
  ltree: ['Top.Science'],
  bytea: ['\\x', '\\x00ff10'],
  uuid: ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'],
  json: ['{"a": 12345678901234567890.10}', 'null'],
  jsonb: ['{"a": 12345678901234567890.10}', '"x"'],
  xml: ['<a>1</a>'],
  date: ['2026-11-24', 'infinity', '-infinity', '0044-03-15 BC', '4713-01-01 BC', '5874897-12-31', '2000-02-29', '1900-03-01'],
  time: ['00:00', '24:00', '12:34:56.789', '00:00:00.000001'],
  'time with time zone': ['12:34:56.789+05:30', '00:00-12', '01:02:03+00:00:01'],
  timestamp: [
    '2026-11-24 13:45:00.123456',
    'infinity',
    '-infinity',
    '4713-01-01 00:00:00 BC',
    '294276-12-31 23:59:59.999999',
    '1999-12-31 23:59:59.5',
  ],
  timestamptz: ['2026-11-24 13:45:00.123456+02', 'infinity', '-infinity', '0044-03-15 12:00+00 BC'],
  interval: [
    '1 year 2 mons -3 days 04:05:06.7',
    '-1 days +02:03:04',
    '0',
    'infinity',
    '-infinity',
    '-1 year -2 mons +3 days -04:05:06',
    '00:00:00.000001',
    '1 mon',
    '-25:00:00',
  ],
  inet: ['127.0.0.1', '10.0.0.0/8', '::1', '2001:db8::/32', '::ffff:1.2.3.4', 'fe80::1:0:0:1', '::', '1:0:0:2:0:0:0:3', '::1.2.3.4'],
  cidr: ['10.0.0.0/8', '2001:db8::/32'],
  macaddr: ['08:00:2b:01:02:03'],
  macaddr8: ['08:00:2b:01:02:03:04:05'],
  'bit(9)': ['101010101'],
  'bit varying': ['', '1', '1010101010101'],
  pg_lsn: ['16/B374D848', '0/0'],
  jsonpath: ['$."a"[*]?(@ > 2)'],
  mood: ['sad', 'so so'],
  positive: ['7'],
  'integer[]': ['{}', '{1,NULL,-3}', '{{1,2},{3,4}}', '[2:3]={7,8}', '[0:1][-1:0]={{1,2},{3,4}}'],
  'text[]': ['{}', '{"", NULL, "NULL", "a b", "q\\"x", "b\\\\s", "{}", "c,d"}'],
  'mood[]': ['{sad,"so so",NULL}'],
  'numeric[]': ['{1.50,NaN}'],
  'timestamptz[]': ['{2026-11-24 13:45:00.123456+00,infinity}'],
  'boolean[]': ['{t,f}'],
  'bytea[]': ['{"\\\\x00ff"}'],
  int4range: ['[1,5)', 'empty', '(,5)', '[3,)', '(,)'],
  numrange: ['(1.5,2.50]'],
  tstzrange: ['[2026-11-24 13:45:00+00,2026-11-25 00:00:00+00)'],
  int4multirange: ['{}', '{[1,3),[5,8)}'],
  pair: ['(1,"a, b",sad)', '(,,)', '(2,"say ""hi""\\\\",happy)', '(3,"",sad)'],
  nested: ['("(1,""a, b"",sad)","{1,2}")'],
  'pair[]': ['{"(1,\\"a, b\\",sad)",NULL}'],
};

async function decoded(type: string, literal: string): Promise<{ ours: unknown; server: string | null }> {
  const writer = new FrontendWriter();
  writer.parse('', `select $1::text::${type} as v`).bind('', '', [literal], Format.Text, Format.Binary).describe('P', '').execute().sync();
  const [result] = await sql.exchange(writer.bytes(), 1, true);
  const cell = result?.raw[0]?.[0];
  const { rows } = await sql.query(`select format('%s', $1::text::${type}) as v`, [literal]);
  const types = await describeTypes(sql, [result?.columns[0]?.oid ?? 0]);
  const decode = types.get(result?.columns[0]?.oid ?? 0)?.decode;
  if (cell === null || cell === undefined || decode === undefined) throw new Error(`no codec for ${type}`);
  return { ours: decode(cell, 0, cell.length), server: rows[0]?.[0] ?? null };
}

test.each(Object.entries(literals))('%s is read as the server writes it', async (type, values) => {
  for (const literal of values) {
    const { ours, server } = await decoded(type, literal);
    const shown =
      typeof ours === 'boolean'
        ? String(ours).slice(0, 1)
        : ours instanceof Uint8Array
          ? `\\x${Buffer.from(ours).toString('hex')}`
          : String(ours);
    if (typeof ours === 'number') expect(Object.is(Number(server), ours), `${type} ${literal}: ${ours} / ${server}`).toBe(true);
    else expect(shown, `${type} ${literal}`).toBe(server);
  }
});

test('random decimals survive the way through numeric and back', async () => {
  const seed = 20_261_124;
  const random = new Random(seed);
  for (let i = 0; i < 300; i++) {
    const digits = (n: number): string => Array.from({ length: n }, () => random.below(10)).join('');
    const literal = `${random.chance(0.5) ? '-' : ''}${digits(1 + random.below(30))}${random.chance(0.7) ? `.${digits(1 + random.below(30))}` : ''}`;
    const { ours, server } = await decoded('numeric', literal);
    expect(ours, `seed ${seed}: ${literal}`).toBe(server);
    expect(numericText(numericBytes(literal), 0), `seed ${seed}: ${literal}`).toBe(
      /^-0*(\.0*)?$/.test(literal) ? server?.replace('-', '') : server,
    );
  }
});

test('random timestamps of ten thousand years are read as the server writes them', async () => {
  const { rows } = await sql.query(
    "select (timestamptz '2000-01-01 00:00+00' + make_interval(secs => n * 15721.123457))::text, n from generate_series(-6000000, 16000000, 98765) n",
  );
  const writer = new FrontendWriter();
  writer
    .parse(
      '',
      "select timestamptz '2000-01-01 00:00+00' + make_interval(secs => n * 15721.123457) from generate_series(-6000000, 16000000, 98765) n",
    )
    .bind('', '', [], Format.Text, Format.Binary)
    .describe('P', '')
    .execute()
    .sync();
  const [result] = await sql.exchange(writer.bytes(), 1, true);
  const decode = (await describeTypes(sql, [1184])).get(1184)?.decode;
  const ours = result?.raw.map((row) => decode?.(row[0] ?? Buffer.alloc(0), 0, 8));
  expect(ours).toEqual(rows.map((row) => row[0]));
});
