/** `tidegate reference` of a live table: exact for its rows as the database counts them, taken by rules, and nothing is changed by the look. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { readReference } from '../../quality/reference/read.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { cli } from './cli.ts';
import { configFolder, type TestConfig } from './services.ts';

const DATASET = 'shop.public.orders';

let from: TestDatabase;
let to: TestDatabase;
let sql: PgConnection;
let config: TestConfig;

beforeAll(async () => {
  from = await createDatabase(inject('sourceServer'), 'reference');
  to = await createDatabase(inject('targetServer'), 'reference');
  sql = await PgConnection.connect({ url: from.url });
  await sql.script(`
    create table orders (id bigint primary key, total numeric(12,2), quantity int, weight float8, status text, flag boolean, at timestamptz not null default now());
    insert into orders select n, case when n % 10 > 0 then (n * 7919 % 1000) / 4.0 - 50 end, n % 7, case when n = 5 then 'NaN' else sqrt(n) end,
      case when n % 10 < 6 then 'new' when n % 10 < 9 then 'paid' else 'other ' || n end, n % 3 = 0 from generate_series(1, 3000) n;
    create table empty (id int primary key, total int);
    analyze;`);
  config = configFolder(
    {
      sources: {
        shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'reference', tables: ['public.orders', 'public.empty'] },
      },
    },
    {},
    { source: from.url, target: to.url },
  );
});

afterAll(async () => {
  config?.[Symbol.dispose]();
  await sql?.close();
  await Promise.all([from?.[Symbol.asyncDispose](), to?.[Symbol.asyncDispose]()]);
});

async function made(...flags: readonly string[]) {
  const { code, stdout, stderr } = await cli('reference', config.file, DATASET, ...flags, '--json');
  expect([code, stderr]).toEqual([0, '']);
  return referenceIn(stdout);
}

function referenceIn(text: string) {
  const found = readReference(JSON.parse(text));
  return typeof found === 'string' ? expect.fail(found) : found;
}

const numbers = async (query: string) => (await sql.query(query)).rows.map((row) => row.map(Number));

test.each(['total', 'quantity', 'weight'])('the bins of %s have as many rows as the database counts in them', async (column) => {
  const found = await made('--column', column, '--all');
  const { bins = [], weights, tail_weights: tails } = found;
  expect(bins.length).toBeGreaterThan(2);
  expect(found).toMatchObject({ dataset: DATASET, column, rows: 3000 });
  // A value at an edge is in the bin above, but at the last edge in the one below.
  const last = bins.length - 1;
  const counted = bins.slice(1).map((high, at) => {
    const upper = at + 1 === last ? '<=' : '<';
    return `count(*) filter (where v >= ${bins[at]}::float8 and v ${upper} ${high}::float8)`;
  });
  const tailsCounted = [
    `count(*) filter (where v < ${bins[0]}::float8)`,
    `count(*) filter (where v > ${bins[last]}::float8 and v <> 'NaN')`,
  ];
  const [[missing, below, above, ...inside] = []] = await numbers(
    `select count(*) filter (where v is null), ${[...tailsCounted, ...counted].join(', ')} from (select ${column}::float8 as v from orders) o`,
  );
  expect({ missing: found.missing, tails, weights }).toEqual({ missing, tails: [below, above], weights: inside });
});

test('values are counted by name, and all others together', async () => {
  const found = await made('--column', 'status', '--values', '2', '--all');
  const [[others] = []] = await numbers(`select count(*) from orders where status not in ('new', 'paid')`);
  expect(found).toMatchObject({ values: ['new', 'paid'], weights: [1800, 900], other_weight: others, type: 'text', missing: 0 });
  expect(await made('--column', 'flag', '--values', '5')).toMatchObject({ values: [false, true], weights: [2000, 1000], type: 'boolean' });
});

test('of a table with more rows a sample is read, and the source is only read', async () => {
  const before = await sql.query('select n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables order by relname');
  const { rows } = await made('--column', 'total', '--rows', '100');
  expect(rows).toBeGreaterThan(50);
  expect(rows).toBeLessThanOrEqual(100);
  const after = await sql.query('select n_tup_ins + n_tup_upd + n_tup_del from pg_stat_user_tables order by relname');
  expect(after.rows).toEqual(before.rows);
  expect((await sql.query('select count(*) from pg_replication_slots where slot_name = $1', [from.name])).rows).toEqual([['0']]);
});

test('rules are held against the file: the table passes, and a table that moved does not', async () => {
  const out = join(config.folder, 'total.json');
  const { code, stdout } = await cli('reference', config.file, DATASET, '--column', 'total', '--all', '--out', out);
  expect([code, stdout]).toEqual([0, expect.stringContaining('values of total')]);
  expect(referenceIn(readFileSync(out, 'utf8'))).toMatchObject({ rows: 3000, missing: 300 });
  const rules = join(config.folder, 'orders.rules.yaml');
  writeFileSync(
    rules,
    `apiVersion: quality/v1\nkind: DatasetRules\ndataset: ${DATASET}\ncolumns:\n  total: [{ psi: { reference: ./total.json, max: 0.1 } }]\n`,
  );
  const judged = async (expression: string) => {
    const input = join(config.folder, 'rows.ndjson');
    const rows = await sql.query(`select json_build_object('total', ${expression})::text from orders`);
    writeFileSync(input, rows.rows.map(([row]) => `${row}\n`).join(''));
    return (await cli('judge', '--rules', rules, '--input', input)).code;
  };
  expect([await judged('total'), await judged('total * 3')]).toEqual([0, 1]);
});

test('what cannot be made is told with the way out', async () => {
  const refused = async (...args: readonly string[]) => {
    const { code, stderr } = await cli('reference', config.file, ...args);
    expect(code).toBe(2);
    return stderr;
  };
  expect(await refused(DATASET)).toMatch(/which column is not said.*--column/s);
  expect(await refused(DATASET, '--column', 'totl')).toMatch(/no column "totl".*total/s);
  expect(await refused(DATASET, '--column', 'at')).toMatch(/times move on/);
  expect(await refused(DATASET, '--column', 'status')).toMatch(/only numbers have bins.*--values/s);
  expect(await refused('shop.public.empty', '--column', 'total')).toMatch(/no values in 0 rows/);
  expect(await refused('shop.public.missing', '--column', 'total')).toMatch(/shop\.public\.orders|no table|not among/);
});
