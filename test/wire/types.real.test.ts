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
let version: number;

beforeAll(async () => {
  database = await createDatabase(inject('sourceServer'), 'types');
  sql = await PgConnection.connect({ url: database.url });
  await sql.script(`
    create extension citext; create extension ltree; create extension hstore;
    create type mood as enum ('sad', 'so so', 'happy');
    create domain positive as integer check (value > 0);
    create type pair as (a integer, "B c" text, m mood);
    create type nested as (p pair, list integer[]);
    create type floats as range (subtype = float8);
    create domain moods as mood[];
    create type "Odd ""type""" as ("a.b" text, "c" moods, "d" money);`);
  version = Number((await sql.query("select current_setting('server_version_num')::int / 10000")).rows[0]?.[0]);
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
  '"char"': ['x', '', '\\351'],
  name: ['abc'],
  citext: ['AbC'],
  ltree: ['Top.Science', ''],
  lquery: ['Top.*{1,2}.!x@'],
  ltxtquery: ['Europe & Russia*@ & !Transportation'],
  hstore: ['', 'a=>1, b=>NULL', '"a b"=>"say \\"hi\\", c:\\\\d", ""=>""', '"=>"=>"NULL", é=>ü'],
  money: ['0', '-0.01', '12.5', '-92233720368547758.08', '92233720368547758.07'],
  point: ['(1,2)', '(-0,1e300)', '(NaN,Infinity)', '(0.1,123456789012345678)', '(0.00001,0.0001)', '(1e15,999999999999999)'],
  line: ['{1,-1,0}', '{0.5,2,1e-7}'],
  lseg: ['[(0,0),(1.5,-2)]'],
  box: ['(3,4),(1,2)', '(1,2),(3,4)'],
  path: ['[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '[(1,2)]'],
  polygon: ['((0,0),(1,1),(2,0))'],
  circle: ['<(1,2),3.5>', '<(0,0),0>'],
  tsvector: ['', 'a fat cat', "a:1A fat:2B,4C cat:5D,16383 'it''s':7 'back\\\\slash':8 'two words'"],
  tsquery: [
    '',
    'fat',
    "fat & (rat | !cat) & 'it''s':*AB",
    'a <-> b <3> c',
    'a <-> (b <-> c)',
    '(a | b) <-> !(c & d)',
    '!!a',
    'a:*',
    'b:ABCD | c',
  ],
  tid: ['(0,1)', '(4294967295,65535)'],
  xid: ['3', '4294967295'],
  cid: ['3'],
  xid8: ['3', '18446744073709551615'],
  pg_snapshot: ['10:20:10,14,15', '10:10:'],
  txid_snapshot: ['10:20:10,14,15'],
  int2vector: ['1 -2 3', ''],
  oidvector: ['1 2 4294967295'],
  refcursor: ['a cursor'],
  regclass: ['pg_class'],
  regtype: ['int4', 'mood'],
  regproc: ['now'],
  regnamespace: ['public'],
  regrole: ['postgres'],
  regconfig: ['english'],
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
  'text[][]': ['{{a,"b c"},{"",NULL}}', '[0:0][5:6]={{"\v",x}}', '{"\u00a0","\u2028"}'],
  'mood[]': ['{sad,"so so",NULL}'],
  moods: ['{sad,NULL}'],
  'real[]': ['{0,-0,1e6,999999,1e-4,0.00001,1.5,16777216,3.4028235e38,1e-45,NaN,Infinity,-Infinity}'],
  'float8[]': ['{0,-0,1e15,999999999999999,123456789012345680,1e-4,0.00001,1e21,1e23,5e-324,1.7976931348623157e308,NaN}'],
  'box[]': ['{(3,4),(1,2);(1,1),(0,0)}'],
  'point[]': ['{"(1,2)",NULL}'],
  'hstore[]': ['{"a=>1, b=>\\"x y\\""}'],
  'interval[]': ['{"1 mon -2 days",00:00:01}'],
  'bit varying[]': ['{101,""}'],
  'jsonb[]': ['{"{\\"a\\": [1, null]}",null}'],
  'xml[]': ['{"<a b=\\"c\\"/>"}'],
  'inet[]': ['{10.0.0.1,::1/64}'],
  'tsvector[]': ["{\"'a':1 'b'\"}"],
  'int4range[]': ['{"[1,2)",empty}'],
  'int8multirange[]': ['{"{[1,2),[5,6)}"}'],
  'numeric[]': ['{1.50,NaN}'],
  'timestamptz[]': ['{2026-11-24 13:45:00.123456+00,infinity}'],
  'boolean[]': ['{t,f}'],
  'bytea[]': ['{"\\\\x00ff"}'],
  int4range: ['[1,5)', 'empty', '(,5)', '[3,)', '(,)'],
  numrange: ['(1.5,2.50]'],
  tstzrange: ['[2026-11-24 13:45:00+00,2026-11-25 00:00:00+00)', '[-infinity,infinity]'],
  tsrange: ['["0044-03-15 00:00:00 BC",)'],
  daterange: ['[2026-01-01,2026-02-01]', '[,infinity)'],
  int8range: ['(-9223372036854775808,9223372036854775806]'],
  floats: ['[0.00001,1e15)', '(-Infinity,NaN]'],
  int4multirange: ['{}', '{[1,3),[5,8)}'],
  nummultirange: ['{(,1.50],[2.5,NaN)}'],
  tstzmultirange: ['{["2026-11-24 13:45:00+00","2026-11-25 00:00:00+00")}'],
  datemultirange: ['{[2026-01-01,2026-02-01)}'],
  pair: ['(1,"a, b",sad)', '(,,)', '(2,"say ""hi""\\\\",happy)', '(3,"",sad)'],
  nested: ['("(1,""a, b"",sad)","{1,2}")'],
  'pair[]': ['{"(1,\\"a, b\\",sad)",NULL}'],
  '"Odd ""type"""': ['("x\ty","{sad,""so so""}",)'],
};

/** What the server has as a text depends on its locale, or names what only it knows: compared as this. */
const compared: Record<string, string> = {
  money: 'numeric',
  regclass: 'oid',
  regtype: 'oid',
  regproc: 'oid',
  regnamespace: 'oid',
  regrole: 'oid',
  regconfig: 'oid',
};

async function decoded(type: string, literal: string): Promise<{ ours: unknown; server: string | null }> {
  const writer = new FrontendWriter();
  writer.parse('', `select $1::text::${type} as v`).bind('', '', [literal], Format.Text, Format.Binary).describe('P', '').execute().sync();
  const [result] = await sql.exchange(writer.bytes(), 1, true);
  const cell = result?.raw[0]?.[0];
  const as = compared[type];
  const { rows } = await sql.query(`select format('%s', $1::text::${type}${as === undefined ? '' : `::${as}`}) as v`, [literal]);
  const types = await describeTypes(sql, [result?.columns[0]?.oid ?? 0]);
  const decode = types.get(result?.columns[0]?.oid ?? 0)?.decode;
  if (cell === null || cell === undefined || decode === undefined) throw new Error(`no codec for ${type}`);
  return { ours: decode(cell, 0, cell.length), server: rows[0]?.[0] ?? null };
}

test.each(Object.entries(literals))('%s is read as the server writes it', async (type, values) => {
  for (const literal of values) {
    if (type === 'interval' && literal.endsWith('infinity') && version < 17) continue; // Not known before.
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

test('random floats, alone and in arrays, are read as the server writes them', async () => {
  const seed = 20_261_126;
  const random = new Random(seed);
  const double = Buffer.alloc(8);
  const numbers = Array.from({ length: 3000 }, () => {
    for (let i = 0; i < 8; i++) double[i] = random.below(256);
    // Bits of any kind, and numbers of a size that people have.
    return random.chance(0.5) ? double.readDoubleBE() : Number(`${random.below(1_000_000_000)}e${random.below(26) - 16}`);
  });
  for (const type of ['float8', 'float4'] as const) {
    const list = numbers.map((number) => (type === 'float4' ? Math.fround(number) : number)).filter((number) => Number.isFinite(number));
    const { ours, server } = await decoded(
      `${type}[]`,
      `{${list.map((number) => (Object.is(number, -0) ? '-0' : String(number))).join(',')}}`,
    );
    const given = String(ours).slice(1, -1).split(',');
    const wanted = (server ?? '').slice(1, -1).split(',');
    for (const [i, text] of wanted.entries()) expect(given[i], `seed ${seed}, ${type} ${list[i]}`).toBe(text);
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
