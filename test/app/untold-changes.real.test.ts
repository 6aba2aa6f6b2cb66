/** Changes of tables that the log does not tell: what docs/schema-changes.md says of each is what happens. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { configFolder, startService, untilReady } from './services.ts';

interface Followed extends AsyncDisposable {
  readonly sql: PgConnection;
  readonly lake: PgConnection;
  readonly file: string;
  /** The first column of what a query answers at the target. */
  column(query: string): Promise<readonly (string | null | undefined)[]>;
}

/** A service that follows public.t and has copied it. */
async function follow(sourceSql: string, targetSql = ''): Promise<Followed> {
  const stack = new AsyncDisposableStack();
  const source = stack.use(await createDatabase(inject('sourceServer'), 'untold'));
  const target = stack.use(await createDatabase(inject('targetServer'), 'untold'));
  const sql = stack.use(await PgConnection.connect({ url: source.url }));
  const lake = stack.use(await PgConnection.connect({ url: target.url }));
  await sql.script(sourceSql);
  if (targetSql !== '') await lake.script(targetSql);
  const sources = { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'untold', tables: ['public.t'] } };
  const config = stack.use(configFolder({ sources }, {}, { source: source.url, target: target.url }));
  const running = stack.use(await startService(config));
  await untilReady(running.url);
  return {
    sql,
    lake,
    file: config.file,
    column: async (query) => (await lake.query(query)).rows.map(([cell]) => cell),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

test('a partition that comes with rows, and one that goes with its own: what changes is followed, and verify --repair sees to the rest', async () => {
  await using it = await follow(`
    create table t (id int, day date, v text, primary key (id, day)) partition by range (day);
    create table t1 partition of t for values from ('2026-01-01') to ('2026-02-01');
    insert into t values (1, '2026-01-05', 'a'), (2, '2026-01-06', 'a');
    create table t2 (v text, gone int, id int not null, day date not null);
    alter table t2 drop gone; insert into t2 (id, day, v) values (3, '2026-02-03', 'a'), (4, '2026-02-04', 'a')`);
  // Columns of the partition are in another order, which is its own affair.
  await it.sql.script(`alter table t attach partition t2 for values from ('2026-02-01') to ('2026-03-01');
    update t set v = 'b' where id = 3; insert into t2 (id, day, v) values (5, '2026-02-05', 'b'); update t set day = '2026-02-06' where id = 1`);
  await it.sql.script(`alter table t detach partition t1; update t1 set v = 'elsewhere'; update t set v = 'c' where id = 5`);
  await eventually(async () => (await it.column(`select id from shop.t where v = 'c'`)).length === 1, 'what changes is followed');
  expect(await it.column('select id from shop.t order by id')).toEqual(['1', '2', '3', '5']);
  expect((await cli('verify', it.file, '--repair')).code).toBe(0);
  expect(await it.column(`select id || v from shop.t order by id`)).toEqual(['1a', '3b', '4a', '5c']);
});

test('an attribute of a composite type: rows that have it are held until the type of the target has it too', async () => {
  const pair = 'create type pair as (x int, y text)';
  await using it = await follow(`${pair}; create table t (id int primary key, c pair); insert into t values (1, (1, 'x'))`, pair);
  await it.sql.script(
    `alter type pair add attribute z int; insert into t values (2, (2, 'y', 3)); update t set c = (5, 'z', 5) where id = 1`,
  );
  await eventually(async () => (await it.column('select key from tidegate.quarantine')).length === 2, 'both are held');
  expect(await it.column('select distinct rules from tidegate.quarantine')).toEqual(['{target.42804}']);
  await it.lake.script('alter type pair add attribute z int');
  expect((await cli('quarantine', 'release', it.file, '--dataset', 'shop.public.t')).code).toBe(0);
  await it.sql.script(`insert into t values (3, (3, 'y', 3))`);
  await eventually(async () => (await it.column('select id from shop.t')).length === 3, 'all are there');
  await eventually(async () => (await cli('verify', it.file)).code === 0, 'nothing differs');
  expect(await it.column('select c::text from shop.t order by id')).toEqual(['(5,z,5)', '(2,y,3)', '(3,y,3)']);
});

test('a value of an enum that gets another name: rows that change have it, and verify --repair sees to the others', async () => {
  const mood = `create type mood as enum ('calm', 'sad')`;
  await using it = await follow(
    `${mood}; create table t (id int primary key, m mood, ms mood[]); insert into t select i, 'calm', '{calm,sad}' from generate_series(1, 3) i`,
    mood,
  );
  await it.sql.script(`alter type mood rename value 'calm' to 'quiet'; update t set m = m where id = 1`);
  await eventually(async () => (await it.column(`select id from shop.t where m::text = 'quiet'`)).length === 1, 'the new name is there');
  expect((await cli('verify', it.file)).code).toBe(1);
  expect((await cli('verify', it.file, '--repair')).code).toBe(0);
  expect(await it.column('select distinct m || ms::text from shop.t')).toEqual(['quiet{quiet,sad}']);
});
