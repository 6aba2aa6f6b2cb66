/** Changes of tables that the target cannot follow by itself, or only in the right order: they concern their own table, and nobody else waits. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { BothEnds, Following } from './changed-tables.ts';

const TABLES = ['retyped', 'paired', 'exchanged', 'busy', 'seen', 'made', 'chosen', 'ignored', 'typed', 'composed', 'rekeyed', 'free'];
const QUARANTINED = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.busy
schema: {evolution: {add: quarantine}}
columns: {id: [{id: positive, between: {min: 0}}]}
`;

const HELD = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.typed
schema: {evolution: {add: hold}}
columns: {id: [{id: positive, between: {min: 0}}]}
`;

const IGNORED = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.ignored
schema: {evolution: {rename: ignore, add: accept}}
columns: {id: [{id: positive, between: {min: 0}}]}
`;

let ends: BothEnds;
let it: Following;
let sql: PgConnection;
let lake: PgConnection;

beforeAll(async () => {
  ends = await BothEnds.make('hc');
  ({ sql, lake } = ends);
  for (const table of TABLES)
    await sql.script(`create table ${table} (id int, k int, ${table === 'made' ? 'g int generated always as (k * 2) stored, ' : ''}a int, b text, constraint ${table}_pk primary key (${table === 'paired' ? 'id, k' : 'id'}));
      insert into ${table} (id, k, a, b) select n, n, n, 'r' || n from generate_series(1, 10) n`);
  const layouts = [{ dataset: 'shop.public.chosen', columns: ['id', 'b'] }];
  const targets = { lake: { kind: 'postgres', url: ends.target.url, schema: 'shop', layouts } };
  const files = { 'busy.rules.yaml': QUARANTINED, 'ignored.rules.yaml': IGNORED, 'typed.rules.yaml': HELD };
  it = await Following.start(ends, ends.config({ tables: TABLES.map((table) => `public.${table}`) }, { targets }, files));
});

afterAll(async () => {
  await it?.[Symbol.asyncDispose]();
  await ends?.[Symbol.asyncDispose]();
});

test.each([
  ['retyped', 'alter table retyped alter id type uuid using md5(id::text)::uuid', `(id, b) values (md5('11')::uuid, 'new')`, 'id'],
  ['paired', `alter table paired alter k type date using '2026-01-01'::date + k`, `(id, k, b) values (11, '2026-03-01', 'new')`, 'k'],
])('%s: a column of the key whose values have no cast waits for somebody', async (table, change, row, column) => {
  await sql.script(`begin; ${change}; insert into ${table} ${row}; commit; update ${table} set a = 5 where b = 'r2'`);
  const { id, problem } = await it.parked(table);
  expect(problem).toMatch(/22P02|42846|22007/);
  await it.flows();
  expect(await it.approve(id)).toBe(1);
  await it.flows();
  // By hand, as the source did it.
  await lake.script(change.replace(`alter table ${table} alter ${column}`, `alter table shop.${table} alter ${column}`));
  expect(await it.approve(id)).toBe(0);
  await ends.equal(table);
});

test('a key that another column takes over, names and all, in one transaction', async () => {
  await sql.script(`alter table exchanged add id_new bigint; update exchanged set id_new = id + 100`);
  await ends.equal('exchanged');
  await sql.script(`begin; alter table exchanged alter id_new set not null; alter table exchanged drop constraint exchanged_pk;
    alter table exchanged rename id to id_old; alter table exchanged rename id_new to id; alter table exchanged add primary key (id);
    alter table exchanged alter id_old drop not null; insert into exchanged (id, b) values (300, 'new'); commit;
    update exchanged set b = 'changed' where id = 105; delete from exchanged where id = 104`);
  await ends.equal('exchanged');
  await it.flows();
});

test('thousands of rows that are held because their table changed tell nothing of how good rows are: the pipeline goes on', async () => {
  await sql.script(`alter table busy add d int; insert into busy (id, d) select n, n from generate_series(101, 3000) n`);
  const { id } = await it.parked('busy');
  const held = 'select count(*) from tidegate.quarantine where dataset = $1';
  await eventually(async () => Number((await lake.query(held, ['shop.public.busy'])).rows[0]?.[0]) === 2900, 'all of them are held');
  await it.flows();
  expect(await it.approve(id)).toBe(0);
  await ends.equal('busy');
});

test('a view that stands on the column at the target: the change waits, and what the view shows stays true', async () => {
  await lake.script('create view shop.seeing as select id, a from shop.seen');
  await sql.script(`begin; alter table seen alter a type bigint; update seen set a = 9 where id = 1; commit`);
  const { id, problem } = await it.parked('seen');
  expect(problem).toContain('view');
  await it.flows();
  expect((await lake.query('select a from shop.seeing where id = 1')).rows).toEqual([['1']]);
  await lake.script('drop view shop.seeing');
  expect(await it.approve(id)).toBe(0);
  await ends.equal('seen');
});

test('a generated column that is one like others from now on: rows have had values in it', async () => {
  await sql.script('alter table made alter g drop expression; insert into made (id, g) values (11, 1); update made set g = 7 where id = 2');
  await ends.equal('made');
});

test('a column that the layout names and that is called otherwise now is not left behind in silence', async () => {
  await sql.script(`alter table chosen rename b to bb; update chosen set bb = 'changed' where id = 2`);
  const { problem } = await it.parked('chosen');
  expect(problem).toContain('its layout writes b, and not bb');
  await it.flows();
  expect((await lake.query('select b from shop.chosen where id = 2')).rows).toEqual([['r2']]);
});

test('a column that is added under the name of one whose renaming is ignored has nowhere to go, and stops nobody', async () => {
  await sql.script(`alter table ignored rename b to bb; insert into ignored (id, bb) values (11, 'new')`);
  const there = async (): Promise<boolean> => (await lake.query('select from shop.ignored where id = 11')).rows.length > 0;
  await eventually(there, 'the row is there'); // The source can tell a renamed column from another one while it is the last change.
  await sql.script(`alter table ignored add b text; insert into ignored (id, bb, b) values (12, 'new', 'other')`);
  const { problem } = await it.parked('ignored');
  expect(problem).toContain('b has nowhere to go');
  await it.flows();
  expect((await lake.query('select id, b from shop.ignored where id > 10')).rows).toEqual([['11', 'new']]);
});

test('columns of enums that the target lacks, added one after the other while the table is parked, can all be approved', async () => {
  await sql.script(`create type mood as enum ('sad', 'glad'); alter table typed add m mood; insert into typed (id, m) values (11, 'sad')`);
  await it.parked('typed');
  await sql.script(
    `create type tone as enum ('low', 'high'); alter table typed add t tone; insert into typed (id, m, t) values (12, 'glad', 'low')`,
  );
  const { id } = await it.parked('typed', 2);
  await sql.script(`update typed set t = 'high' where id = 12`);
  await it.approved('typed', id);
});

test('a column of a type that the target lacks and that nothing stands for concerns its own table, until the type is there', async () => {
  const type = 'create type public.pair as (n int, s text)';
  await sql.script(`begin; ${type}; alter table composed add p pair; insert into composed (id, p) values (11, (7, 'seven')); commit`);
  const { id, problem } = await it.parked('composed');
  expect(problem).toContain('pair');
  await it.flows();
  expect(await it.approve(id)).toBe(1);
  await lake.script(type);
  await it.approved('composed', id);
  await sql.script(`update composed set p = (8, 'eight') where id = 3`);
  await ends.equal('composed');
});

test('a key over a column that is filled in the same transaction: the reason says what to do, and that works', async () => {
  await sql.script(`begin; alter table rekeyed add uid uuid not null default gen_random_uuid(); alter table rekeyed drop constraint rekeyed_pk,
    add primary key (uid); insert into rekeyed (id) values (11); commit`);
  const { id, problem } = await it.parked('rekeyed');
  expect(problem).toContain('23502');
  await it.flows();
  await lake.script('truncate shop.rekeyed');
  await it.approved('rekeyed', id);
});
