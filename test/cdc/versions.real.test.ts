/** What differs between versions of PostgreSQL at the source: each says what it can do, and the rest is the same. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { catchUp, failureOf, Model, run, testDatabase } from './support.ts';

const server = inject('sourceServer');
const initial = { snapshot: { mode: 'initial' as const, chunkRows: 3, parallel: 1 } };

async function versionOf(url: string): Promise<number> {
  await using sql = await PgConnection.connect({ url });
  return Number((await sql.query("select current_setting('server_version_num')::int / 10000")).rows[0]?.[0]);
}

const TABLE = 'create table t (id int primary key, a int, twice int generated always as (a * 2) stored, b text)';
const ROWS = "insert into t (id, a, b) select i, i * 10, 'row ' || i from generate_series(1, 7) i";

test('generated columns are no part of a publication that does not ask for them: neither chunks nor the log bring them', async () => {
  await using db = await testDatabase(server, TABLE, ROWS);
  const model = new Model();
  const source = db.source(initial);
  await run(source, model, () => source.progress().every(({ state }) => state === 'done'));
  await db.sql.script("update t set a = 5 where id = 1; insert into t (id, a, b) values (8, 80, 'row 8')");
  await catchUp(db.source(initial), model, db.sql);
  expect(model.rows('shop.public.t').length).toBe(8);
  expect(new Set(model.rows('shop.public.t').map((row) => Object.keys(row).join()))).toEqual(new Set(['id,a,b']));
});

test('generated columns that a publication has (PostgreSQL 18) are in chunks and in the log', async () => {
  if ((await versionOf(server)) < 18) return; // There is no such option before.
  for (const publication of [
    "create publication tidegate for table t with (publish_generated_columns = 'stored')",
    'create publication tidegate for table t (id, twice)',
  ]) {
    await using db = await testDatabase(server, TABLE, ROWS, publication);
    const model = new Model();
    const source = db.source(initial);
    await run(source, model, () => source.progress().every(({ state }) => state === 'done'));
    await db.sql.script("update t set a = 5 where id = 1; insert into t (id, a, b) values (8, 80, 'row 8')");
    await catchUp(db.source(initial), model, db.sql);
    const rows = model.rows('shop.public.t');
    expect(rows.map(({ id, twice }) => [id, twice])).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((id) => [id, id === 1 ? 10 : id * 20]));
    expect(new Set(rows.map((row) => Object.keys(row).join())).size).toBe(1);
  }
});

test('a generated column that comes, and one that is no longer generated, are followed; a virtual one (PostgreSQL 18) is never sent', async () => {
  if ((await versionOf(server)) < 18) return;
  await using db = await testDatabase(
    server,
    'create table t (id int primary key, a int, twice int generated always as (a * 2) stored, thrice int generated always as (a * 3) virtual)',
    'insert into t (id, a) values (1, 1), (2, 2)',
    "create publication tidegate for table t with (publish_generated_columns = 'stored')",
  );
  const model = new Model();
  await catchUp(db.source(initial), model, db.sql);
  await db.sql.script(
    `alter table t alter twice drop expression; update t set twice = 77 where id = 1; alter table t drop thrice, add thrice int generated always as (a * 3) virtual`,
  );
  await db.sql.script(
    `alter table t add ten int generated always as (a * 10) stored; insert into t (id, a, twice) values (3, 3, 6); update t set a = 4 where id = 2`,
  );
  await catchUp(db.source(initial), model, db.sql);
  expect(model.rows('shop.public.t')).toEqual([
    { id: 1, a: 1, twice: 77 },
    { id: 2, a: 4, twice: 4, ten: 40 },
    { id: 3, a: 3, twice: 6, ten: 30 },
  ]);
});

test('a prepared transaction arrives when it is committed, and only then', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key)', 'create publication tidegate for table t');
  const model = new Model();
  await catchUp(db.source(), model, db.sql);
  await db.sql.script("begin; insert into t values (1); prepare transaction 'one'");
  await db.sql.script("begin; insert into t values (2); prepare transaction 'two'");
  await db.sql.script('insert into t values (3)');
  await catchUp(db.source(), model, db.sql);
  const before = model.rows('shop.public.t');
  await db.sql.script("commit prepared 'one'");
  await db.sql.script("rollback prepared 'two'");
  await catchUp(db.source(), model, db.sql);
  expect(before).toEqual([{ id: 3 }]);
  expect(model.rows('shop.public.t')).toEqual([{ id: 1 }, { id: 3 }]);
});

test('a slot that sends prepared transactions early is refused', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key)', 'create publication tidegate for table t');
  await db.sql.query("select pg_create_logical_replication_slot($1, 'pgoutput', false, true)", [db.slot]);
  expect(await failureOf(db.source())).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('two_phase') as string });
});

test('a column that the server cannot send in binary is told by its name, whatever it is inside of; alone it comes as its text', async () => {
  await using alone = await testDatabase(
    server,
    'create table t (id int primary key, a aclitem)',
    "insert into t values (1, 'postgres=r/postgres')",
  );
  const model = new Model();
  const source = alone.source(initial);
  await run(source, model, () => source.progress().every(({ state }) => state === 'done'));
  expect(model.rows('shop.public.t')).toEqual([{ id: 1, a: 'postgres=r/postgres' }]);
  for (const type of ['aclitem[]', 'holder', 'held']) {
    await using db = await testDatabase(
      server,
      'create type holder as (a aclitem); create domain held as aclitem[]',
      `create table t (id int primary key, a ${type})`,
    );
    expect(await failureOf(db.source(initial))).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/cannot send .* of the column a in binary/) as string,
    });
  }
});
