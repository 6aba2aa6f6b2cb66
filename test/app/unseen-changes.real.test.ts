/** Changes of a table that the lane meets late, several at once or in part: what the source has written in its rows meanwhile, without an event, is not forgotten. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BothEnds, evolutionRules, Following } from './changed-tables.ts';

const TABLES = ['filled', 'chosen', 'ignored', 'retyped', 'crossed', 'skipped', 'staged', 'free'];
let ends: BothEnds;
let it: Following;

beforeAll(async () => {
  ends = await BothEnds.make('unseen');
  for (const table of TABLES)
    await ends.sql.script(
      `create table ${table} (id int primary key, a int, c text); insert into ${table} select n, n, 'text ' || n from generate_series(1, 5) n`,
    );
  const layouts = [{ dataset: 'shop.public.chosen', columns: ['id', 'a', 'c'] }];
  const targets = { lake: { kind: 'postgres', url: ends.target.url, schema: 'shop', layouts } };
  const files = {
    'ignored.rules.yaml': evolutionRules('ignored', 'accept').replace('add: accept', 'add: ignore'),
    'staged.rules.yaml': evolutionRules('staged', 'hold'),
  };
  it = await Following.start(ends, ends.config({ patterns: ['public.*'] }, { targets }, files));
});

afterAll(async () => {
  await it?.[Symbol.asyncDispose]();
  await ends?.[Symbol.asyncDispose]();
});

test('a column is added, and another one written anew, before the lane reads on: the values are read', async () => {
  await it.stop();
  for (const [table, filled] of [
    ['filled', 'default 7'],
    ['chosen', ''],
    ['ignored', ''],
  ] as const) {
    await ends.sql.script(`begin; alter table ${table} add d int ${filled}; insert into ${table} values (11, 11, 'x', 1); commit`);
    await ends.sql.script(
      `begin; alter table ${table} alter a type text using 'n' || a; insert into ${table} values (12, 'n12', 'x', 1); commit`,
    );
  }
  await it.restart();
  await ends.equal('filled');
  for (const table of ['chosen', 'ignored']) await ends.equal(table, { place: (column) => (column === 'd' ? null : column) });
});

test('a column whose values had no cast is dropped, and another takes its name: it is the new one', async () => {
  await ends.sql.script(`begin; alter table retyped alter c type int using length(c); insert into retyped values (11, 1, 5); commit`);
  await ends.equal('retyped');
  await ends.sql.script(
    `begin; alter table retyped drop c; alter table retyped add c text; insert into retyped values (12, 1, 'new'); commit`,
  );
  await ends.equal('retyped');
  expect((await ends.columnsOf(ends.lake, 'shop.retyped')).get('c')).toBe('text');
  // Nothing of the target is dropped.
  expect((await ends.lake.query('select c_old, c_old2 from shop.retyped where id in (2, 11) order by id')).rows).toEqual([
    ['text 2', '6'],
    [null, '5'],
  ]);
});

test('the same of changes that wait, approved at once', async () => {
  await ends.sql.script(`begin; alter table staged alter c type int using length(c); insert into staged values (11, 1, 5); commit`);
  await it.parked('staged');
  await ends.sql.script(
    `begin; alter table staged drop c; alter table staged add c text; insert into staged values (12, 1, 'new'); commit`,
  );
  const { id } = await it.parked('staged', 2);
  expect(await it.approve(id)).toBe(0);
  await ends.equal('staged');
});

test('a column is renamed and another made under its former name, in a transaction with rows before; later that is dropped and made again', async () => {
  await ends.sql
    .script(`begin; insert into crossed values (10, 1, 'x'); alter table crossed rename c to f; alter table crossed add c date default '2026-01-01';
    insert into crossed values (11, 1, 'x'); commit`);
  await ends.equal('crossed');
  await ends.sql.script(
    `begin; alter table crossed drop c; alter table crossed add c text; insert into crossed values (12, 1, 'new', 'neu'); commit`,
  );
  await ends.equal('crossed');
});

test('a column that no row has shown is dropped and made again', async () => {
  await ends.sql.script(`alter table skipped add e text default 'first'`);
  await it.flows();
  await ends.sql.script(`begin; update skipped set a = 9 where id = 3; alter table skipped drop e; alter table skipped add e text;
    insert into skipped values (12, 1, 'new'); commit`);
  await ends.equal('skipped');
});
