/** A replication slot on a real server: every operation, types, restarts, acknowledgements. */
import { expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import { type ChangeEvent, UNCHANGED } from '../../core/event.ts';
import { fromLsn } from '../../core/position.ts';
import { endOfLog, Model, run, testDatabase } from './support.ts';

const server = inject('sourceServer');

/** Reads until an event of `table` `done` arrives; all events before it. */
async function eventsOf(
  db: Awaited<ReturnType<typeof testDatabase>>,
  options: Parameters<typeof db.source>[0],
  change: () => Promise<unknown>,
): Promise<ChangeEvent[]> {
  const events: ChangeEvent[] = [];
  const model = new Model();
  let begun = false;
  await run(db.source({ tables: ['public.t', 'public.done'], ...options }), model, async (batch: Batch) => {
    if (!begun) {
      begun = true;
      await change();
      await db.sql.script('insert into done default values');
    }
    events.push(...batch.events);
    return batch.events.some((event) => event.dataset.name === 'shop.public.done');
  });
  return events.filter((event) => event.dataset.name !== 'shop.public.done');
}
const DONE = 'create table done (id serial primary key)';

test('inserts, updates, deletes, key moves and truncates arrive as what they are, in order', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key, name text, n numeric(12,2))', DONE);
  const events = await eventsOf(db, {}, () =>
    db.sql.script(`
      insert into t values (1, 'one', 1.50), (2, null, 2);
      update t set name = 'uno' where id = 1;
      update t set id = 11 where id = 1;
      delete from t where id = 2;
      truncate t;
      insert into t values (3, '', 3)`),
  );
  const shown = events.map((e) => [
    e.op,
    e.key,
    e.movedFrom,
    e.before?.value(0) ?? null,
    e.before?.value(1) ?? null,
    e.after?.value(1) ?? null,
    e.after?.value(2) ?? null,
  ]);
  expect(shown).toEqual([
    ['insert', '1', null, null, null, 'one', '1.50'],
    ['insert', '2', null, null, null, null, '2.00'],
    ['update', '1', null, null, null, 'uno', '1.50'],
    ['update', '11', '1', 1, UNCHANGED, 'uno', '1.50'],
    ['delete', '2', null, 2, UNCHANGED, null, null],
    ['truncate', '', null, null, null, null, null],
    ['insert', '3', null, null, null, '', '3.00'],
  ]);
  expect(events.map((e) => e.ordinal)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(new Set(events.map((e) => e.version)).size).toBe(1);
  expect(events[0]?.version).toMatch(/^[0-9a-f]{16}$/);
  expect(Math.abs((events[0]?.committedAtMs ?? 0) - Date.now())).toBeLessThan(60_000);
});

test('with replica identity full the old row is whole, and large values that did not change are filled in from it', async () => {
  await using db = await testDatabase(
    server,
    `create table t (id int primary key, small int, big text); alter table t alter big set storage external; alter table t replica identity full`,
    DONE,
  );
  const events = await eventsOf(db, {}, () =>
    db.sql.script(`insert into t values (1, 1, repeat('x', 9000)); update t set small = 2; update t set id = 5; delete from t`),
  );
  const big = 'x'.repeat(9000);
  expect(
    events.map((e) => [e.op, e.key, e.movedFrom, e.before?.value(1) ?? null, e.before?.value(2) === big, e.after?.value(2) === big]),
  ).toEqual([
    ['insert', '1', null, null, false, true],
    ['update', '1', null, 1, true, true],
    ['update', '5', '1', 2, true, true],
    ['delete', '5', null, 2, true, false],
  ]);
});

test('a large value that an update left alone is UNCHANGED', async () => {
  await using db = await testDatabase(
    server,
    `create table t (id int primary key, small int, big text); alter table t alter big set storage external`,
    DONE,
  );
  const events = await eventsOf(db, {}, () =>
    db.sql.script(
      `insert into t values (1, 1, repeat('x', 9000)); update t set small = 2; update t set id = 2; update t set big = 'short'`,
    ),
  );
  expect(events.map((e) => [e.op, e.key, e.movedFrom, e.after?.value(1), e.after?.value(2) === UNCHANGED])).toEqual([
    ['insert', '1', null, 1, false],
    ['update', '1', null, 2, true],
    ['update', '2', '1', 2, true],
    ['update', '2', null, 2, false],
  ]);
});

test('ADD COLUMN, DROP COLUMN and a changed type in mid-stream each make a new version of the dataset', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key, a text not null)', DONE);
  const events = await eventsOf(db, {}, async () => {
    await db.sql.script(`insert into t values (1, 'a')`);
    await db.sql.script(`insert into t values (2, 'b')`);
    await db.sql.script(`alter table t add column extra numeric(6,1) default 7`);
    await db.sql.script(`update t set a = 'c' where id = 1`);
    await db.sql.script(`alter table t drop column a; alter table t alter id type bigint`);
    await db.sql.script(`insert into t values (9007199254740993, 1)`);
  });
  expect(
    events.map((e) => [e.dataset.version, e.dataset.columns.map((c) => `${c.name} ${c.native}${c.nullable ? '' : ' not null'}`), e.key]),
  ).toEqual(
    [
      [1, ['id integer not null', 'a text'], '1'].map((x) => x),
      [1, ['id integer not null', 'a text'], '2'],
      [2, ['id integer not null', 'a text', 'extra numeric(6,1)'], '1'],
      [3, ['id bigint not null', 'extra numeric(6,1)'], '9007199254740993'],
    ].map(([version, columns, key]) => [version, columns, key]),
  );
  expect(events[0]?.dataset).toBe(events[1]?.dataset);
  expect(events[2]?.after?.value(2)).toBe('7.0');
});

test('composite keys are in the order of the primary key, and tables of other names are left alone', async () => {
  await using db = await testDatabase(
    server,
    'create table t (a text, x int, b int, primary key (b, a)); create table other (id int primary key)',
    DONE,
  );
  await db.sql.script('create publication tidegate for all tables');
  const events = await eventsOf(db, {}, () =>
    db.sql.script(`insert into other values (1); insert into t values ('k', 1, 2); insert into other values (2); update t set a = 'l'`),
  );
  expect(events.map((e) => [e.op, e.key, e.movedFrom, e.ordinal])).toEqual([
    ['insert', '["2","k"]', null, 1],
    ['update', '["2","l"]', '["2","k"]', 3],
  ]);
});

test('a type without a codec passes as its own encoding, and types without a binary form as text', async () => {
  await using db = await testDatabase(
    server,
    `create extension cube; create type mood as enum ('sad', 'ok'); create domain positive as int check (value > 0); create type pair as (a int, b text);
     create table t (id uuid primary key, m mood, p positive, c pair, ts timestamptz, ar int[], r int4range, j jsonb, by bytea, acl aclitem, c3 cube)`,
    DONE,
  );
  const events = await eventsOf(db, {}, () =>
    db.sql.script(
      `insert into t values ('0b5b4b2e-6f1f-4e0e-9a57-1c1de4f7a001', 'ok', 5, (1, 'x y'), '2026-11-24 13:45:00.123456+02', '{1,null}', '[1,5)', '{"a": 1}', '\\x00ff', 'postgres=r/postgres', '(1,2)')`,
    ),
  );
  const row = events[0]?.after;
  expect(events[0]?.dataset.columns.map((c) => c.native)).toEqual([
    'uuid',
    'public.mood',
    'public.positive',
    'public.pair',
    'timestamp with time zone',
    'integer[]',
    'int4range',
    'jsonb',
    'bytea',
    'aclitem',
    'public.cube',
  ]);
  expect([0, 1, 2, 3, 4, 5, 6, 7, 9].map((column) => row?.value(column))).toEqual([
    '0b5b4b2e-6f1f-4e0e-9a57-1c1de4f7a001',
    'ok',
    5,
    '(1,"x y")',
    '2026-11-24 11:45:00.123456+00',
    '{1,NULL}',
    '[1,5)',
    '{"a": 1}',
    'postgres=r/postgres',
  ]);
  expect(row?.encoded?.cells.length).toBeGreaterThan(0);
  expect(Buffer.from((row?.value(10) as Uint8Array) ?? []).toString('hex')).toBe('800000023ff00000000000004000000000000000');
});

test('a lane in which nothing happens gets a checkpoint where a mark asks for one, and only there', async () => {
  await using db = await testDatabase(server, 'create table t (id int primary key)', 'create table other (id int)');
  const model = new Model();
  const mark = async (prefix: string, content: string): Promise<string> =>
    (await db.sql.query('select pg_logical_emit_message(true, $1, $2)', [prefix, content])).rows[0]?.[0] ?? '';
  let wanted: string | null = null;
  let before = '';
  // By itself an idle lane moves on, but not so soon.
  await run(db.source({ timing: { statusMs: 200, idleMs: 600_000, idleBytes: 1 << 30 } }), model, async () => {
    if (wanted === null) {
      await db.sql.script('insert into other values (1)');
      await mark('somebody', 'place');
      await mark(`tidegate.${db.slot}`, 'nothing');
      before = await endOfLog(db.sql);
      wanted = fromLsn(await mark(`tidegate.${db.slot}`, 'place'));
      return false;
    }
    return true;
  });
  expect(model.batches).toBe(2);
  expect([model.events, (model.checkpoint ?? '') >= before, (model.checkpoint ?? '') >= (wanted ?? 'x')]).toEqual([0, true, true]);
});
