/** A publication that changes, or is without a table for a while: what was not sent is read again, whenever the lane comes to know of it. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { readPublication } from '../../cdc/postgres/slot.ts';
import { eventually } from '../support/eventually.ts';
import { catchUp, Model, run, sameAsTable, testDatabase } from './support.ts';

const server = inject('sourceServer');
const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 }, tables: ['public.t', 'public.u'] };

/** Makes `t` as it is at the source before and afterwards; what comes between is not sent. */
const WAYS = [
  ['out of a publication of tables', 'alter publication tidegate drop table t', 'alter publication tidegate add table t', ['t']],
  [
    'without updates',
    "alter publication tidegate set (publish = 'insert, delete')",
    "alter publication tidegate set (publish = 'insert, update, delete, truncate')",
    ['t', 'u'],
  ],
  [
    'under the names of its partitions',
    'alter publication tidegate set (publish_via_partition_root = false)',
    'alter publication tidegate set (publish_via_partition_root = true)',
    ['t', 'u'],
  ],
] as const;

const TABLES = [
  'create table t (id int primary key, n int) partition by range (id)',
  'create table t1 partition of t for values from (0) to (20); create table t2 partition of t default',
  'create table u (id int primary key); insert into t select i, 0 from generate_series(1, 30) i; insert into u values (1)',
];

/** Whether a session of this database looks for those who have written to a table. */
const WAITS_SQL = `select exists (select from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid() and query like '%pg_locks%pg_partition_tree%')`;

test.each(WAYS)('%s for a while in which nobody reads: it is told, and copied again, once', async (_, leave, back, missed) => {
  await using db = await testDatabase(server, ...TABLES);
  const told: string[] = [];
  const telling = { ...options, onMissed: (dataset: string) => void told.push(dataset) };
  const model = new Model();
  await catchUp(db.source(telling), model, db.sql);
  for (const statement of [leave, 'update t set n = 7 where id in (1, 25)', back]) await db.sql.script(statement);
  const source = db.source(telling);
  await run(source, model, () => model.rows('shop.public.t').filter(({ n }) => n === 7).length === 2);
  await sameAsTable(model, db, 't');
  expect(told).toEqual(missed.map((table) => `shop.public.${table}`));
  await catchUp(db.source(telling), model, db.sql);
  expect(told).toHaveLength(missed.length);
});

test.each(WAYS)(
  '%s for a while: the lane looks, and copies it again, with what is not committed yet, while others go on',
  async (...way) => {
    const [, leave, back, missed] = way;
    await using db = await testDatabase(server, ...TABLES);
    await using writer = await PgConnection.connect({ url: db.url });
    const told: string[] = [];
    const source = db.source({
      ...options,
      onMissed: (dataset: string) => void told.push(dataset),
      timing: { entriesMs: 100, statusMs: 200, idleMs: 100, idleBytes: 1 },
    });
    const model = new Model();
    let step = 0;
    await run(source, model, async () => {
      if (step === 0 && source.progress().every(({ state }) => state === 'done')) {
        step++;
        await db.sql.script(leave);
        await writer.script('begin; update t set n = 7 where id in (1, 25)');
        await db.sql.script(back);
      } else if (step === 1 && told.length > 0) {
        step++;
        await db.sql.script('insert into u values (2)');
      } else if (step === 2 && model.rows('shop.public.u').length === 2) {
        step++;
        await eventually(async () => (await db.sql.query(WAITS_SQL)).rows[0]?.[0] === 't', 'the writer is waited for');
        await writer.script('commit');
      }
      return model.rows('shop.public.t').filter(({ n }) => n === 7).length === 2;
    });
    await sameAsTable(model, db, 't');
    expect(new Set(told)).toEqual(new Set(missed.map((table) => `shop.public.${table}`)));
  },
);

test('unlogged for a while, among all tables: it is read again when it is, and once it is not, also where nobody read meanwhile, and others go on', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
  await db.sql.script('insert into t select i, 0 from generate_series(1, 30) i; create publication tidegate for all tables');
  const told: string[] = [];
  const timing = { entriesMs: 100, statusMs: 200, idleMs: 100, idleBytes: 1 };
  const following = { ...options, onMissed: (dataset: string) => void told.push(dataset), timing };
  const model = new Model();
  const hasAll = (n: number) => model.rows('shop.public.t').filter((row) => row['n'] === n).length === 30;
  await catchUp(db.source(following), model, db.sql);

  await db.sql.script('alter table t set unlogged; update t set n = 1; insert into u values (1)');
  await run(db.source(following), model, () => hasAll(1) && model.rows('shop.public.u').length === 1);
  await db.sql.script('update t set n = 2; alter table t set logged; insert into u values (2)');
  await run(db.source(following), model, () => hasAll(2) && model.rows('shop.public.u').length === 2);
  expect(told).toEqual(['shop.public.t', 'shop.public.t']);

  const source = db.source(following);
  const steps = [
    'alter table t set unlogged; update t set n = 3',
    'update t set n = 4; alter table t set logged',
    'update t set n = 5 where id = 5',
  ];
  let step = 0;
  await run(source, model, async () => {
    const isDone = source.progress().every(({ state }) => state === 'done');
    if (isDone && hasAll([2, 3, 4][step] ?? -1)) await db.sql.script(steps[step++] ?? '');
    return step === 3 && model.rows('shop.public.t').some((row) => row['n'] === 5);
  });
  await sameAsTable(model, db, 't');
});

test('in a schema that is not published for a moment: it is read again, also where nobody read meanwhile', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key, n int)', 'create table u (id int primary key)');
  if (db.sql.majorVersion < 15) return; // There are no such publications before.
  await db.sql.script('insert into t select i, 0 from generate_series(1, 30) i; create schema other');
  await db.sql.script('create publication tidegate for tables in schema public with (publish_via_partition_root = true)');
  const told: string[] = [];
  const timing = { entriesMs: 100, statusMs: 200, idleMs: 100, idleBytes: 1 };
  const following = { ...options, onMissed: (dataset: string) => void told.push(dataset), timing };
  const model = new Model();
  const hasAll = (n: number) => model.rows('shop.public.t').filter((row) => row['n'] === n).length === 30;
  const change = (n: number) =>
    db.sql.script(`alter table t set schema other; update other.t set n = ${n}; alter table other.t set schema public`);
  await catchUp(db.source(following), model, db.sql);
  await change(1);
  const source = db.source(following);
  let isChanged = false;
  await run(source, model, async () => {
    if (!isChanged && hasAll(1) && source.progress().every(({ state }) => state === 'done')) {
      isChanged = true;
      await change(2);
    }
    return hasAll(2);
  });
  await catchUp(db.source(following), model, db.sql);
  expect(told).toEqual(['shop.public.t', 'shop.public.t']);
});

test('which tables a publication has is what the server says', async () => {
  await using db = await testDatabase(
    server,
    `create schema o; create table a (id int); create table o.b (id int); create unlogged table u (id int); create view v as select 1 x; create sequence s;
     create table pt (id int) partition by range (id); create table pt1 partition of pt for values from (0) to (10);
     create table o.pt2 partition of pt for values from (10) to (20) partition by range (id); create table o.pt21 partition of o.pt2 default;
     create table o.q (id int) partition by range (id); create table q1 partition of o.q default`,
  );
  const named = [
    'for all tables',
    '',
    ...['a', 'pt', 'pt1, a', 'pt, pt1, o.pt2', 'o.pt2', 'o.pt21, pt1'].map((list) => `for table ${list}`),
  ];
  const ofSchemas = ['tables in schema public', 'tables in schema o', 'tables in schema public, o', 'table o.q, tables in schema public'];
  const whats = [...named, ...(db.sql.majorVersion < 15 ? [] : ofSchemas.map((list) => `for ${list}`))];
  for (const what of whats.flatMap((one) => [`${one} with (publish_via_partition_root = true)`, one])) {
    await db.sql.script(`drop publication if exists p; create publication p ${what}`);
    const { rows } = await db.sql.query("select distinct schemaname || '.' || tablename from pg_publication_tables where pubname = 'p'");
    expect([what, await readPublication(db.sql, 'p')]).toEqual([what, new Set(rows.map(([table]) => table))]);
  }
  expect(await readPublication(db.sql, 'none')).toBe(null);
});
