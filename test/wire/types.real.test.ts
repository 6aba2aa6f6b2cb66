/** Every decoder against the server's own text of the same value. */
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import { numericBytes, numericText } from '../../wire/postgres/types-numeric.ts';
import { describeTypes } from '../../wire/postgres/types.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';
import { COMPARED_AS, LARGE_VALUES, TYPES_SQL, VALUES, valuesOf } from '../support/types.ts';

let database: TestDatabase;
let sql: PgConnection;
let version: number;

beforeAll(async () => {
  database = await createDatabase(inject('sourceServer'), 'types');
  sql = await PgConnection.connect({ url: database.url });
  await sql.script(TYPES_SQL);
  version = Number((await sql.query("select current_setting('server_version_num')::int / 10000")).rows[0]?.[0]);
});
afterAll(async () => {
  await sql.close();
  await database[Symbol.asyncDispose]();
});

async function decoded(type: string, literal: string): Promise<{ ours: unknown; server: string | null }> {
  const writer = new FrontendWriter();
  writer.parse('', `select $1::text::${type} as v`).bind('', '', [literal], Format.Text, Format.Binary).describe('P', '').execute().sync();
  const [result] = await sql.exchange(writer.bytes(), 1, true);
  const cell = result?.raw[0]?.[0];
  const as = COMPARED_AS[type];
  const { rows } = await sql.query(`select format('%s', $1::text::${type}${as === undefined ? '' : `::${as}`}) as v`, [literal]);
  const types = await describeTypes(sql, [result?.columns[0]?.oid ?? 0]);
  const decode = types.get(result?.columns[0]?.oid ?? 0)?.decode;
  if (cell === null || cell === undefined || decode === undefined) throw new Error(`no codec for ${type}`);
  return { ours: decode(cell, 0, cell.length), server: rows[0]?.[0] ?? null };
}

test.each(Object.keys(VALUES))('%s is read as the server writes it', async (type) => {
  for (const literal of [...valuesOf(type, version), ...(LARGE_VALUES[type] ?? [])]) {
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

test('decimals of as many digits as numeric holds are the same bytes as the server makes of them, and one more is refused', async () => {
  for (const literal of [...(LARGE_VALUES['numeric'] ?? []), `-1.${'0'.repeat(16_383)}`, `0.${'0'.repeat(16_382)}1`, '9e131071']) {
    const bytes = numericBytes(literal);
    const { rows } = await sql.query("select encode(numeric_send($1::text::numeric), 'hex')", [literal]);
    expect(bytes.toString('hex')).toBe(rows[0]?.[0]);
    expect(numericText(bytes, 0)).toBe((await decoded('numeric', literal)).server);
  }
  for (const beyond of ['1e131072', `1${'0'.repeat(131_072)}`, '1e-16384', `0.${'0'.repeat(16_384)}`])
    expect(() => numericBytes(beyond)).toThrow(RangeError);
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

test('a composite that has other attributes than when it was described is read by those that it has', async () => {
  await sql.script(`create type shade as enum ('dark'); create type changing as (a int, b text, c numeric)`);
  const cell = async (): Promise<{ readonly oid: number; readonly bytes: Buffer; readonly text: string | null | undefined }> => {
    const writer = new FrontendWriter();
    writer.parse('', 'select v from changed').bind('', '', [], Format.Text, Format.Binary).describe('P', '').execute().sync();
    const [result] = await sql.exchange(writer.bytes(), 1, true);
    const text = (await sql.query('select v::text from changed')).rows[0]?.[0];
    return { oid: result?.columns[0]?.oid ?? 0, bytes: result?.raw[0]?.[0] ?? Buffer.alloc(0), text };
  };
  await sql.script(`create table changed as select (1, 'x, y', 2.50)::changing as v`);
  const { oid } = await cell();
  const former = (await describeTypes(sql, [oid])).get(oid);
  const read = (bytes: Buffer): unknown => former?.decode(bytes, 0, bytes.length);
  for (const change of [
    'alter type changing add attribute d timestamptz',
    `update changed set v.d = '2026-01-02T03:04:05Z'`,
    'alter type changing drop attribute b',
    'alter type changing drop attribute a, add attribute e int[]',
  ]) {
    await sql.script(`set timezone to utc; ${change}`);
    const { bytes, text } = await cell();
    expect([change, read(bytes)]).toEqual([change, text]);
  }
  await sql.script(`alter type changing add attribute f shade; update changed set v.f = 'dark'`);
  expect(read((await cell()).bytes)).toBe(`(2.50,"2026-01-02 03:04:05+00",,"\\\\x6461726b")`);
  const { bytes, text } = await cell();
  expect((await describeTypes(sql, [oid])).get(oid)?.decode(bytes, 0, bytes.length)).toBe(text);
});
