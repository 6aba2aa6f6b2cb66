/** Rows that are read beside the log, as people see and steer it: tables that are empty or come later, pauses, and rows that are read again. */
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ask, configFolder, startService, type TestConfig } from './services.ts';

let source: TestDatabase;
let target: TestDatabase;
let sql: PgConnection;
let lake: PgConnection;

beforeAll(async () => {
  [source, target] = await Promise.all([createDatabase(inject('sourceServer'), 'snap'), createDatabase(inject('targetServer'), 'snap')]);
  sql = await PgConnection.connect({ url: source.url });
  lake = await PgConnection.connect({ url: target.url });
  await sql.script(`
    create table orders (id int primary key, n int not null, note text);
    insert into orders select i, i, repeat('x', i % 50) from generate_series(1, 3000) i;
    create table nothing (a text collate "C", b numeric(8,2), c int[] not null, primary key (b, a));
    create table later (id int primary key, n int);
    create table later_empty (id int primary key);
    insert into later select i, i from generate_series(1, 500) i;
    analyze;
  `);
});

afterAll(async () => {
  await Promise.all([sql?.close(), lake?.close()]);
  await Promise.all([source?.[Symbol.asyncDispose](), target?.[Symbol.asyncDispose]()]);
});

const configOf = (tables: readonly string[], snapshot: Readonly<Record<string, unknown>> = {}): TestConfig =>
  configFolder(
    {
      sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'tidegate_shop', tables, snapshot } },
      pipelines: { main: { source: 'shop', target: 'lake' } },
    },
    {},
    { source: source.url, target: target.url },
  );

const ready = (url: string) => eventually(async () => (await ask(url, '/readyz')).status === 200, 'the service is ready', 30_000);

const rows = async (connection: PgConnection, statement: string): Promise<readonly string[]> =>
  (await connection.query(statement)).rows.map((row) => row.join(' '));

const columnsOf = (connection: PgConnection, table: string) =>
  rows(
    connection,
    `select attname, format_type(atttypid, atttypmod) from pg_attribute where attrelid = '${table}'::regclass and attnum > 0 order by attnum`,
  );

test('after the first copy every table is there, those without rows as well, and so is one that is added later', async () => {
  const first = ['public.orders', 'public.nothing'];
  {
    using config = configOf(first);
    await using running = await startService(config);
    await ready(running.url);
    expect(await columnsOf(lake, 'shop.nothing')).toEqual(await columnsOf(sql, 'nothing'));
    expect(await rows(lake, 'select count(*), sum(n) from shop.orders')).toEqual(await rows(sql, 'select count(*), sum(n) from orders'));
  }
  await sql.script(`update later set n = n + 1 where id < 10; insert into nothing values ('a', 1, '{2}')`);
  // What is copied is not copied again: a row that was taken away stays away.
  await lake.script('delete from shop.orders where id = 17');
  using config = configOf([...first, 'public.later', 'public.later_empty']);
  await using running = await startService(config);
  await ready(running.url);
  await sql.script('update later set n = 0 where id = 500; insert into later_empty values (1)');
  await eventually(async () => (await rows(lake, 'select n from shop.later where id = 500'))[0] === '0', 'the added table is followed');
  await eventually(async () => (await rows(lake, 'select id from shop.later_empty'))[0] === '1', 'the empty one as well');
  expect(await rows(lake, 'select id, n from shop.later order by id')).toEqual(await rows(sql, 'select id, n from later order by id'));
  expect(await rows(lake, 'select a, b, c from shop.nothing')).toEqual(['a 1.00 {2}']);
  expect(await rows(lake, 'select count(*) from shop.orders')).toEqual(['2999']);
  await lake.script("insert into shop.orders select 17, 17, repeat('x', 17)");
});
