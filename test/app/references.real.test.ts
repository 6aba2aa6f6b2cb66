/** References of a real source: the first copy, rows that wait over a restart, and what is refused before anything runs. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { freePort } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import type { ReleaseView } from '../../app/http/shapes.ts';
import { cli } from './cli.ts';
import { configFolder, startService, type TestConfig, untilReady } from './services.ts';

let from: TestDatabase;
let to: TestDatabase;
let source: PgConnection;
let target: PgConnection;
let config: TestConfig;

const rules = (reference: string) => ruleFile('orders', 'event', `customer: [{ references: ${reference} }]`);
const write = (reference: string) => writeFileSync(join(config.folder, 'orders.rules.yaml'), rules(reference));
const good = '{ dataset: shop.public.customers, column: id, wait: 1h }';

beforeAll(async () => {
  from = await createDatabase(inject('sourceServer'), 'refs');
  to = await createDatabase(inject('targetServer'), 'refs');
  source = await PgConnection.connect({ url: from.url });
  target = await PgConnection.connect({ url: to.url });
  await source.script(`
    create table orders (id bigint primary key, customer int, note text);
    create table customers (id bigint primary key, name text, mail text);
    insert into customers select n, 'c' || n from generate_series(1, 2000) n;
    insert into orders select n, n, 'o' from generate_series(1, 2000) n`);
  config = configFolder(
    {
      sources: {
        shop: {
          kind: 'postgres',
          url: from.url,
          slot: from.name,
          publication: 'refs',
          tables: ['public.orders', 'public.customers'],
          snapshot: { chunkRows: 100, parallel: 2 },
        },
      },
      http: { port: await freePort() },
    },
    { 'orders.rules.yaml': rules(good) },
    { source: from.url, target: to.url },
  );
});

afterAll(async () => {
  config?.[Symbol.dispose]();
  await Promise.all([source?.close(), target?.close()]);
  await Promise.all([from?.[Symbol.asyncDispose](), to?.[Symbol.asyncDispose]()]);
});

test.each([
  [
    '{ dataset: shop.public.customer, column: id }',
    'shop.public.customer is none of the tables of the pipeline main',
    'Did you mean shop.public.customers?',
  ],
  ['{ dataset: shop.public.customers, column: idd }', 'shop.public.customers has no column "idd"', 'Did you mean "id"?'],
  [
    '{ dataset: shop.public.customers, column: name }',
    'customer is integer, and name of shop.public.customers is text',
    'Name a column of the same type',
  ],
  ['{ dataset: shop.public.customers }', 'a check at a column says which column of the other dataset it names', 'Write column:'],
  ['{ dataset: shop.public.customers, column: id }, mostly: 0.9', 'references judges each row beside those at the target', 'Remove mostly'],
  ['{ dataset: shop.public.customers, column: id, wait: 2m }, on_fail: halt', 'a lane that halts at a row cannot wait', 'Write wait: 0s'],
  ['{ dataset: shop.public.orders, column: customer }', 'each row names itself', 'Name another dataset'],
  ['{ dataset: shop.public.customers, column: id, wait: soon }', 'has not the form that is needed', 'Write a duration such as 2m'],
])('check refuses %s', async (reference, message, fix) => {
  write(reference);
  const { code, stdout } = await cli('check', config.file);
  expect([code === 0, stdout]).toEqual([false, expect.stringContaining(message)]);
  expect(stdout).toContain(fix);
});

test('check refuses a column that the target is not to have, and names an index that is missing where none are made', async () => {
  const layouts = [{ dataset: 'shop.public.customers', columns: ['id', 'name'] }];
  const checked = async (column: string, create: boolean, reference: string) => {
    using other = configFolder(
      {
        sources: {
          shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'refs', tables: ['public.orders', 'public.customers'] },
        },
        targets: { lake: { kind: 'postgres', url: to.url, schema: 'shop', tables: { create, widen: false }, layouts } },
      },
      { 'orders.rules.yaml': ruleFile('orders', 'event', `${column}: [{ references: ${reference} }]`) },
      { source: from.url, target: to.url },
    );
    return await cli('check', other.file);
  };
  const refused = await checked('note', true, '{ dataset: shop.public.customers, column: mail }');
  expect([refused.code === 0, refused.stdout]).toEqual([false, expect.stringContaining('lacks the column mail')]);
  await target.script('create schema if not exists shop; create table shop.customers (id bigint primary key, name text)');
  try {
    const slow = await checked('note', false, '{ dataset: shop.public.customers, column: name }');
    expect(slow.stdout).toContain('"shop"."customers" has no index on name, and the rule note.references of shop.public.orders asks it');
    expect((await checked('customer', false, '{ dataset: shop.public.customers, column: id }')).stdout).not.toContain('has no index');
  } finally {
    await target.script('drop table shop.customers');
  }
});

test('what is named is copied first, so that nothing of a first copy is held; later rows wait over a restart, and are released when the other one comes', async () => {
  write(good);
  expect(await cli('check', config.file)).toMatchObject({ code: 0 });
  const there = async (): Promise<string> =>
    String((await target.query('select count(*) from shop.orders o join shop.customers c on c.id = o.customer')).rows[0]?.[0]);
  const open = async (): Promise<readonly (string | null)[]> =>
    (await target.query("select key from tidegate.quarantine where status in ('held', 'released') order by version")).rows.map(
      ([key]) => key ?? null,
    );
  {
    await using running = await startService(config);
    await untilReady(running.url);
    await eventually(async () => (await there()) === '2000', 'all that was copied is there');
    expect((await target.query('select count(*) from tidegate.quarantine')).rows).toEqual([['0']]);
    await source.script('insert into orders values (3000, 3000, null), (3001, 3001, null); update orders set note = $$x$$ where id = 3001');
    await eventually(async () => (await open()).length === 3, 'rows wait');
    const { stdout } = await cli('quarantine', 'list', config.file);
    expect(stdout.match(/held \(waits until /g)).toHaveLength(3);
    const tried = (await cli('quarantine', 'release', config.file, '--all', '--dry-run', '--json')).json as ReleaseView;
    expect(tried.notAsked).toEqual([]);
    expect(tried.results.map(({ outcome, findings }) => [outcome, ...findings.map(({ rule }) => rule)])).toEqual(
      Array.from({ length: 3 }, () => ['still-fails', 'customer.references']),
    );
  }
  await using again = await startService(config);
  await untilReady(again.url);
  expect(await open()).toHaveLength(3);
  await source.script("insert into customers values (3000, 'late'); delete from orders where id = 3001");
  await eventually(async () => (await open()).length === 0, 'what waited is in, or taken back');
  expect((await target.query('select id from shop.orders where id >= 3000')).rows).toEqual([['3000']]);
  expect(
    (await target.query('select key, status from tidegate.quarantine where key in ($1, $2) order by version', ['3000', '3001'])).rows,
  ).toEqual([
    ['3000', 'applied'],
    ['3001', 'superseded'],
    ['3001', 'superseded'],
  ]);
});

test.each([
  ['both at once', 'truncate customers, orders'],
  ['with what refers to it', 'truncate customers cascade'],
  [
    'with rows before and after, and a third table between',
    `begin; insert into orders values (9, 1); update customers set name = 'x' where id = 1; truncate orders; truncate customers cascade;
    insert into notes values (5); truncate notes; insert into notes values (6); commit`,
  ],
])('tables that refer to each other at the target as well are emptied: %s', async (_, truncate) => {
  await using here = await createDatabase(inject('sourceServer'), 'emptied');
  await using there = await createDatabase(inject('targetServer'), 'emptied');
  await using sql = await PgConnection.connect({ url: here.url });
  await using lake = await PgConnection.connect({ url: there.url });
  const tables = (schema: string): string => `create table ${schema}.customers (id int primary key, name text);
    create table ${schema}.orders (id int primary key, customer int references ${schema}.customers); create table ${schema}.notes (id int primary key)`;
  await sql.script(tables('public'));
  await lake.script(`create schema shop; ${tables('shop')}`);
  const shop = {
    kind: 'postgres',
    url: here.url,
    slot: here.name,
    publication: 'emptied',
    tables: ['public.customers', 'public.orders', 'public.notes'],
  };
  using service = configFolder({ sources: { shop } }, {}, { source: here.url, target: there.url });
  await using running = await startService(service);
  await untilReady(running.url);
  await sql.script('insert into customers values (1), (2); insert into orders values (1, 1)');
  await eventually(async () => (await lake.query('select from shop.orders')).rows.length === 1, 'the first rows are there');
  await sql.script(`${truncate}; insert into customers values (7); insert into orders values (7, 7)`);
  await eventually(async () => (await lake.query('select from shop.orders where id = 7')).rows.length === 1, 'the last row is there');
  for (const table of ['customers', 'orders', 'notes'])
    expect((await lake.query(`select * from shop.${table}`)).rows).toEqual((await sql.query(`select * from ${table}`)).rows);
});
