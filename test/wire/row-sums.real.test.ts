/** Checksums of the same rows on two servers: equal exactly where the rows are. */
import { randomUUID } from 'node:crypto';
import { describe, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteLiteral } from '../../wire/postgres/ident.ts';
import {
  commonHash,
  describeColumns,
  COMPARING,
  type ComparedTable,
  type HashKind,
  isOrderedAlike,
  plainTable,
  RowSums,
  type SideColumn,
} from '../../wire/postgres/row-sums.ts';
import { createDatabase } from '../support/databases.ts';
import { Random } from '../support/random.ts';

const SEED = Number(process.env['SUMS_SEED'] ?? 1);
const EVERYTHING = { after: null, to: null };

interface Cells {
  readonly a: number;
  readonly b: string;
  readonly v: string | null;
  readonly n: string | null;
}

const VALUES: readonly (string | null)[] = [null, '', ' ', 'a', 'a,b', '"', '(', 'NULL', '\\', 'ä', 'a\nb', ','];

const tableOf = (hash: HashKind): ComparedTable => {
  const columns = ['a', 'b', 'v', 'n'].map((name) => `t."${name}"`);
  return {
    ...plainTable('public', 'rows', false),
    filter: null,
    key: [
      { name: 't."a"', type: 'integer', text: 't."a"::text' },
      { name: 't."b"', type: 'text', text: 't."b"::text' },
    ],
    cells: columns.map((name) => `${name}::text`),
    rowCells: columns,
    hash,
  };
};

async function fill(sql: PgConnection, rows: readonly Cells[]): Promise<void> {
  const literal = (text: string | null): string => (text === null ? 'null' : quoteLiteral(text));
  const values = rows.map(({ a, b, v, n }) => `(${a}, ${literal(b)}, ${literal(v)}, ${literal(n)}::numeric)`);
  await sql.script(`truncate public.rows; ${values.length === 0 ? '' : `insert into public.rows values ${values.join(', ')}`}`);
}

test(`a sum changes with any cell, any row and nothing else (seed ${SEED})`, async () => {
  const random = new Random(SEED);
  await using source = await createDatabase(inject('sourceServer'), 'sums');
  await using target = await createDatabase(inject('targetServer'), 'sums');
  await using one = await PgConnection.connect({ url: source.url, settings: COMPARING });
  await using other = await PgConnection.connect({ url: target.url, settings: COMPARING });
  const create = 'create table public.rows (a int, b text collate "C", v text, n numeric, primary key (a, b))';
  await Promise.all([one.script(create), other.script(create)]);
  const hash = await commonHash(one, other);
  expect(hash).toBe('native');
  const [here, there] = [new RowSums(one, tableOf(hash)), new RowSums(other, tableOf(hash))];
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T;
  for (let round = 0; round < 15; round++) {
    const keys = [
      ...new Set(Array.from({ length: 1 + random.below(20) }, () => `${random.below(4)} ${pick(['x', '', 'ä', 'B', 'b', '~'])}`)),
    ];
    const rows: Cells[] = keys.map((key) => ({
      a: Number(key.split(' ')[0]),
      b: key.split(' ')[1] ?? '',
      v: pick(VALUES),
      n: random.chance(0.2) ? null : (random.below(1000) / 100).toFixed(random.below(3)),
    }));
    const at = `seed ${SEED}, round ${round}`;
    await Promise.all([fill(one, rows), fill(other, [...rows].reverse())]);
    const sum = await here.sum(EVERYTHING);
    expect([at, await there.sum(EVERYTHING)]).toEqual([at, sum]);
    expect([at, sum.rows]).toEqual([at, rows.length]);

    // Ranges hold what their bounds say, and nothing falls between two of them.
    const bound = await here.boundary(EVERYTHING, 1 + random.below(rows.length));
    const parts = await Promise.all([here.sum({ after: null, to: bound }), here.sum({ after: bound, to: null })]);
    expect([at, parts.reduce((rowsSoFar, part) => rowsSoFar + part.rows, 0)]).toEqual([at, rows.length]);
    expect([at, String(parts.reduce((xor, part) => BigInt.asIntN(64, xor ^ BigInt(part.sum)), 0n))]).toEqual([at, sum.sum]);
    expect([at, await there.boundary({ after: bound, to: null }, 1)]).toEqual([at, await here.boundary({ after: bound, to: null }, 1)]);

    // One cell of one row, or one row, is another.
    const changed = pick(rows);
    const v = pick(VALUES.filter((value) => value !== changed.v));
    await fill(
      other,
      random.chance(0.3) ? rows.filter((row) => row !== changed) : rows.map((row) => (row === changed ? { ...row, v } : row)),
    );
    expect([at, await there.sum(EVERYTHING)]).not.toEqual([at, sum]);
    const key = [String(changed.a), changed.b];
    const [mine, theirs] = [await here.sights([['-1', ''], key]), await there.sights([['-1', ''], key])];
    expect([at, mine[0]]).toEqual([at, { cells: null, version: null }]);
    expect([at, mine[1]?.cells === null, mine[1]?.cells === theirs[1]?.cells]).toEqual([at, false, false]);
    const hashes = new Map((await there.list(EVERYTHING)).map((row) => [JSON.stringify(row.key), row.hash]));
    const differing = (await here.list(EVERYTHING)).filter((row) => hashes.get(JSON.stringify(row.key)) !== row.hash);
    expect([at, differing.map((row) => row.key)]).toEqual([at, [key]]);
    expect([at, await there.listOf([key])]).toEqual([
      at,
      theirs[1]?.cells === null ? [] : [{ key, hash: hashes.get(JSON.stringify(key)) }],
    ]);
  }
});

test('a version is that of the row: written again with the same cells, it is another', async () => {
  await using database = await createDatabase(inject('targetServer'), 'sums');
  await using sql = await PgConnection.connect({ url: database.url, settings: COMPARING });
  await sql.script(
    `create table public.rows (a int, b text, v text, n numeric, primary key (a, b)); insert into public.rows values (1, 'x', null, 1)`,
  );
  const sums = new RowSums(sql, tableOf('native'));
  const look = async () => (await sums.sights([['1', 'x']]))[0];
  const first = await look();
  expect(await look()).toEqual(first);
  await sql.script('update public.rows set v = v');
  const second = await look();
  expect(second?.cells).toBe(first?.cells);
  expect(second?.version).not.toBe(first?.version);
});

test('servers of other encodings have a hash in common', async () => {
  await using admin = await PgConnection.connect({ url: inject('targetServer') });
  const name = `sums_${randomUUID().slice(0, 8)}`;
  await admin.script(`create database "${name}" encoding 'LATIN1' locale 'C' template template0`);
  try {
    await using wide = await createDatabase(inject('sourceServer'), 'sums');
    const url = new URL(inject('targetServer'));
    url.pathname = `/${name}`;
    await using one = await PgConnection.connect({ url: wide.url, settings: COMPARING });
    await using other = await PgConnection.connect({ url: url.href, settings: COMPARING });
    const hash = await commonHash(one, other);
    expect(hash).toBe('portable');
    const sums: unknown[] = [];
    for (const sql of [one, other]) {
      await sql.script('create table public.rows (a int, b text, v text, n numeric, primary key (a, b))');
      await fill(sql, [
        { a: 1, b: 'ä', v: 'größe', n: null },
        { a: 2, b: 'é', v: null, n: '1.50' },
      ]);
      sums.push([await new RowSums(sql, tableOf(hash)).sum(EVERYTHING), await new RowSums(sql, tableOf('native')).sum(EVERYTHING)]);
    }
    const [[portable, native], [otherPortable, otherNative]] = sums as [[unknown, unknown], [unknown, unknown]];
    expect(otherPortable).toEqual(portable);
    expect(otherNative).not.toEqual(native); // Or there would be no need for it.
  } finally {
    await admin.script(`drop database "${name}" with (force)`);
  }
});

describe('a range of keys holds the same on both servers', () => {
  const column = (oid: number, order: string | null): SideColumn => ({
    name: 'k',
    oid,
    type: '',
    base: '',
    order,
    schema: 'pg_catalog',
    generated: false,
  });
  test.each<[string, SideColumn, SideColumn, boolean]>([
    ['integers of any size', column(23, 'bytes'), column(20, 'bytes'), true],
    ['uuids', column(2950, 'bytes'), column(2950, 'bytes'), true],
    ['texts by their bytes', column(25, 'bytes'), column(1043, 'bytes'), true],
    ['texts by one collation', column(25, 'i und 153.80'), column(1043, 'i und 153.80'), true],
    ['texts by a collation of two versions', column(25, 'i und 153.80'), column(25, 'i und 153.14'), false],
    ['texts by a collation that may be anything', column(25, null), column(25, null), false],
    ['a number and its text', column(23, 'bytes'), column(25, 'bytes'), false],
    ['a type of somebody’s own', column(90_000, 'bytes'), column(90_000, 'bytes'), false],
  ])('%s', (_, source, target, alike) => {
    expect(isOrderedAlike(source, target)).toBe(alike);
  });
});

test('texts under a collation are read by ranges where both servers have it in one version, by the index of the key', async () => {
  const create = `
    create collation loose (provider = icu, locale = 'und', deterministic = false);
    create table public.rows (a int, b text collate "und-x-icu", v text, n numeric, plain text, bytes text collate "C", loose text collate loose,
      posix text collate "en-US-x-icu", primary key (a, b));
    create table public.names (b varchar collate "und-x-icu" primary key);
    insert into public.names select chr(97 + n % 26) || n from generate_series(1, 5000) n; analyze public.names`;
  await using one = await createDatabase(inject('sourceServer'), 'sums');
  await using other = await createDatabase(inject('targetServer'), 'sums');
  const orders: (readonly (string | null | undefined)[])[] = [];
  for (const { url } of [one, other]) {
    await using sql = await PgConnection.connect({ url, settings: { ...COMPARING, search_path: 'public' } });
    await sql.script(create);
    const oid = Number((await sql.query(`select 'public.rows'::regclass::oid`)).rows[0]?.[0]);
    const described = await describeColumns(sql, oid);
    orders.push(['a', 'b', 'plain', 'bytes', 'loose', 'posix'].map((name) => described.get(name)?.order));

    const plans: string[] = [];
    const explained = {
      query: async (text: string, params: readonly (string | null)[] = []) => {
        plans.push((await sql.query(`explain ${text}`, params)).rows.map(([line]) => line).join('\n'));
        return sql.query(text, params);
      },
    };
    const names = { ...tableOf('native'), ...plainTable('public', 'names', false), cells: ['t.b::text'], rowCells: ['t.b'] };
    const sums = new RowSums(explained, { ...names, key: [{ name: 't.b', type: 'character varying', text: 't.b::text' }] });
    const middle = await sums.boundary(EVERYTHING, 2500);
    const [below, above] = [await sums.sum({ after: null, to: middle }), await sums.sum({ after: middle, to: null })];
    expect([below.rows, above.rows]).toEqual([2500, 2500]);
    expect((await sums.list({ after: middle, to: null }, 3)).map(({ key }) => key)).toHaveLength(3);
    for (const plan of plans) expect(plan).toMatch(/Index (Only )?Scan using names_pkey/);
    for (const plan of plans.slice(1)) expect(plan).toMatch(/Index Cond: /);
  }
  expect(orders[0]).toEqual(orders[1]);
  expect(orders[0]).toEqual(['bytes', expect.stringMatching(/^i und \d/), 'bytes', 'bytes', null, expect.stringMatching(/^i en-US \d/)]);
});
