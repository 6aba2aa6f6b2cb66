/** Tables that the source empties, while others at the target refer to them. */
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { BothEnds, Following } from './changed-tables.ts';
import { cli } from './cli.ts';

test('a table to which another of the target alone refers is emptied by deletes; where a row stands on one of its rows, only the truncate is held', async () => {
  await using ends = await BothEnds.make('trunc');
  await ends.sql.script(`create table orders (id int primary key, v text); create table lines (id int primary key, v text);
    create table free (id int primary key)`);
  await ends.lake
    .script(`create schema shop; create table shop.orders (id int primary key, v text); create table shop.lines (id int primary key, v text);
    create table shop.notes (of int references shop.orders on delete cascade); create table shop.claims (of int references shop.lines)`);
  await using it = await Following.start(ends, ends.config({ tables: ['public.orders', 'public.lines', 'public.free'] }));
  const fill = (table: string) => ends.sql.script(`insert into ${table} select n, 'v' from generate_series(1, 40) n`);
  await fill('orders');
  await fill('lines');
  await ends.equal('orders');
  await ends.equal('lines');
  await ends.lake.script('insert into shop.notes values (7); insert into shop.claims values (7)');

  await ends.sql.script(`truncate orders; insert into orders values (7, 'anew')`);
  await ends.equal('orders');
  expect((await ends.lake.query('select * from shop.notes')).rows).toEqual([]);

  await ends.sql.script('truncate lines; insert into free values (1)');
  await ends.equal('free');
  const held = await ends.lake.query(`select op, rules::text, status from tidegate.quarantine`);
  expect(held.rows).toEqual([['truncate', '{target.23503}', 'held']]);
  await it.flows();

  await ends.lake.script('delete from shop.claims');
  expect((await cli('quarantine', 'release', it.config.file, '--dataset', 'shop.public.lines')).code).toBe(0);
  await ends.equal('lines');
  expect(await it.unequal()).toEqual([]);
});

test('tables that refer to each other are emptied together wherever a batch ends, and beside rows that the target refuses', async () => {
  await using ends = await BothEnds.make('trunc');
  const tables = (schema: string): string => `create table ${schema}.parents (id int primary key, v int);
    create table ${schema}.children (id int primary key, parent int references ${schema}.parents);
    create table ${schema}.free (id int primary key, v int)`;
  await ends.sql.script(tables('public'));
  // Parents are in the way of nothing but for what the target alone has.
  await ends.lake.script(`create schema shop; ${tables('shop')}; alter table shop.free add check (v < 10);
    create table shop.outside (of int references shop.parents)`);
  await using it = await Following.start(
    ends,
    ends.config(
      { tables: ['public.parents', 'public.children', 'public.free'] },
      { pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml', batch: { rows: 4 } } } },
    ),
  );
  // By how many events of its transaction the truncate is behind: it meets the end of a batch in each of its places.
  for (const before of [0, 1, 2, 3, 4, 5]) {
    for (const bad of [false, true]) {
      await ends.sql.script(
        'delete from free; insert into parents select generate_series(1, 3), 0; insert into children select generate_series(1, 3), 2',
      );
      for (const table of ['parents', 'children', 'free']) await ends.equal(table);
      const others = Array.from({ length: before }, (_, i) => `insert into free values (${i + 1}, 0)`);
      await ends.sql.script(
        ['begin', ...others, bad ? 'insert into free values (99, 99)' : 'select 1', 'truncate parents, children', 'commit'].join('; '),
      );
      await ends.equal('parents');
      await ends.equal('children');
      const { rows } = await ends.lake.query(`select op, status from tidegate.quarantine where op = 'truncate'`);
      expect(rows, `${before} before, ${bad ? 'one' : 'none'} refused`).toEqual([]);
    }
  }
  await eventually(async () => (await ends.heldRules('free')) === 'target.23514', 'the row is held');
  await ends.sql.script('delete from free');
  await ends.equal('free');
  expect(await it.unequal()).toEqual([]);
});
