/** Tables as people make them: whatever their keys, names, partitions and privileges, the target ends equal to them, or the source says why not. */
import { expect, inject, test } from 'vitest';
import { Datasets, readTable, SESSION } from '../../cdc/postgres/catalog.ts';
import { readPublication } from '../../cdc/postgres/slot.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { catchUp, failureOf, isCopying, Model, run, sameAsTable, testDatabase, testRole } from './support.ts';

const server = inject('sourceServer');
const initial = { snapshot: { mode: 'initial' as const, chunkRows: 5, parallel: 2 } };

test('rows that a policy hides are missed by nobody: the snapshot says that it may not see them', async () => {
  await using role = await testRole(server, 'replication');
  await using db = await testDatabase(
    server,
    'create table t (id int primary key)',
    'insert into t select generate_series(1, 20)',
    `grant select on t to ${role.name}`,
    'create publication tidegate for table t',
    'alter table t enable row level security',
    'create policy few on t using (id < 5)',
  );
  const failure = await failureOf(db.source({ ...initial, url: role.url(db.url) }));
  expect(failure).toMatchObject({ code: 'SOURCE_PRIVILEGE' });
});

/** Names of types by what they are to show, with a key for each of 0 to 23. */
const ROWS = 24;
const KEYS: Readonly<Record<string, readonly [type: string, key: (i: number) => string]>> = {
  of_citext: ['citext', (i) => `${i % 2 === 0 ? 'a' : 'A'}${String.fromCharCode(97 + (i % 26))}${i}`],
  of_ltree: ['ltree', (i) => `a.b${i % 5}.c${i}`],
  of_cube: ['cube', (i) => `(${i % 3}, ${i})`],
  of_domain: ['name_ci', (i) => `${i % 3 === 0 ? 'X' : 'x'}_${i}`],
  icu_ignores_case: ['text collate ci', (i) => `${i % 2 === 0 ? 'é' : 'E'}${i}`],
  icu_sorts_numbers: ['text collate digits', (i) => `item ${i}`],
  of_text: ['text', (i) => `it's \\${i}\\ "q"\n`],
  of_numeric: ['numeric', (i) => String(i / 10)],
  of_bytea: ['bytea', (i) => `\\x${i.toString(16).padStart(4, '0')}5c27`],
  of_enum: ['mood', (i) => `m${(i * 7) % 24}`],
  of_timestamptz: ['timestamptz', (i) => (i === 0 ? 'infinity' : `2026-01-01 00:00:${String(i).padStart(2, '0')}.${i}+03`)],
  of_float8: ['float8', (i) => (i === 0 ? 'NaN' : String((i - 20) / 3))],
  of_array: ['int[]', (i) => `{${i % 4},${i}}`],
  of_char: ['char(6)', (i) => `c${i}`],
  'Quoted "and" Größe': ['text', (i) => `ключ ${i}`],
};

test('keys of any type: chunks, and moves that leave large values out, lose nothing', async () => {
  const tables = Object.keys(KEYS).map((name) => ({ name, quoted: `"${name.replaceAll('"', '""')}"` }));
  await using db = await testDatabase(
    server,
    `create extension citext; create extension ltree; create extension cube; create domain name_ci as citext;
     create type mood as enum (${Array.from({ length: ROWS }, (_, i) => `'m${i}'`).join(',')});
     create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
     create collation digits (provider = icu, locale = 'und-u-kn-true')`,
    ...Object.values(KEYS).map(([type, key], at) => {
      const literals = Array.from({ length: ROWS }, (_, i) => `('${key(i).replaceAll("'", "''")}')`);
      const table = tables[at]?.quoted ?? '';
      return `create table ${table} ("k ""ö" ${type}, n int, big text not null, primary key ("k ""ö", n)); alter table ${table} alter big set storage external;
        insert into ${table} select k::${type}, 1, repeat('x', 4000) from (values ${literals.join(',')}) v(k)`;
    }),
  );
  const model = new Model();
  const moved = new Set<string>();
  const options = { ...initial, tables: tables.map(({ name }) => `public.${name}`), batch: { rows: 5, bytes: 1 << 20, ageMs: 0 } };
  const source = db.source(options);
  const k = '"k ""ö"';
  await run(source, model, async () => {
    for (const { dataset, rowsDone, state } of source.progress()) {
      const t = tables.find(({ name }) => dataset === `shop.public.${name}`)?.quoted ?? '';
      if (state !== 'copying' || rowsDone < 10 || moved.has(t)) continue;
      moved.add(t);
      // Rows that are not copied yet move to where the snapshot has been, and the other way round, all without their large cells.
      const some = (rest: number) =>
        `from (select ${k}, n, row_number() over (order by ${k}, n) r from ${t}) q where q.${k} = t.${k} and q.n = t.n and q.r % 5 = ${rest}`;
      await db.sql.script(`
        update ${t} set n = 2 where n = 1 and ${k} > (select ${k} from ${t} order by ${k} offset 12 limit 1);
        update ${t} t set ${k} = (select ${k} from ${t} order by ${k} limit 1), n = 100 + q.r ${some(4)};
        update ${t} t set ${k} = (select ${k} from ${t} order by ${k} desc limit 1), n = 200 + q.r ${some(1)}`);
    }
    return moved.size === tables.length;
  });
  await catchUp(db.source(options), model, db.sql);
  for (const { quoted } of tables) await sameAsTable(model, db, quoted);
});

test.each([
  ['loses a column', 'drop column extra'],
  ['gets another type for the large values', 'alter big type varchar'],
])('a table that %s behind a move that left large values out keeps them', async (_, how) => {
  await using db = await testDatabase(
    server,
    'create table t (id int primary key, extra int, big text not null); alter table t alter big set storage external',
    `insert into t select i, i, repeat(i::text, 2000) from generate_series(1, 60) i`,
  );
  const model = new Model();
  const source = db.source({ ...initial, batch: { rows: 5, bytes: 1 << 20, ageMs: 0 } });
  let changed = false;
  await run(source, model, async () => {
    if (!changed && (source.progress()[0]?.rowsDone ?? 0) >= 14) {
      changed = true;
      await db.sql.script(`begin; update t set id = id - 1000 where id > 50; alter table t ${how}; commit`);
    }
    return changed && !isCopying(model);
  });
  await catchUp(db.source(initial), model, db.sql);
  await sameAsTable(model, db, 't');
});

test("rows of tables that inherit from a table are not that table's", async () => {
  await using db = await testDatabase(
    server,
    'create table t (id int primary key, s text)',
    'create table child (primary key (id)) inherits (t)',
    `insert into t select i, 'parent' from generate_series(1, 20) i`,
    `insert into child select i, 'child' from generate_series(11, 30) i`,
  );
  const model = new Model();
  await catchUp(db.source(initial), model, db.sql);
  await db.sql.script(
    `insert into t values (31, 'late'); insert into child values (31, 'late child'); update only t set s = 'changed' where id = 12`,
  );
  await catchUp(db.source(initial), model, db.sql);
  await sameAsTable(model, db, 'only t');
});

test('a partitioned table is one table: its rows are copied, move between partitions and are followed in new ones', async () => {
  await using db = await testDatabase(
    server,
    `create table t (id int, region text, big text, primary key (region, id)) partition by list (region);
     create table t_n partition of t for values in ('n'); create table t_s partition of t for values in ('s') partition by range (id);
     create table t_s1 partition of t_s default; alter table t_n alter big set storage external; alter table t_s1 alter big set storage external`,
    `insert into t select i, case when i % 2 = 0 then 'n' else 's' end, repeat('x', 3000) from generate_series(1, 30) i`,
  );
  const model = new Model();
  let begun = false;
  await run(db.source(initial), model, async () => {
    if (!begun && model.events > 8) {
      begun = true;
      await db.sql.script(
        `update t set region = 's' where id % 4 = 0; update t set id = id + 100 where region = 's' and id > 20; delete from t_n where id > 15`,
      );
      await db.sql.script(
        `create table t_w partition of t for values in ('w'); insert into t values (1, 'w', 'new'); insert into t_w values (2, 'w', 'straight')`,
      );
    }
    return begun && !isCopying(model);
  });
  await db.sql.script(
    `update t set region = 'w' where id = 4; truncate t; insert into t select i, 'w', 'again' from generate_series(1, 3) i`,
  );
  await catchUp(db.source(initial), model, db.sql);
  expect([...model.tables.keys()]).toEqual(['shop.public.t']);
  await sameAsTable(model, db, 't');
});

test('partitions whose replica identity is not their table’s: each change finds its row, and large values go along where keys change', async () => {
  const big = 'big text) partition by range (id)';
  await using db = await testDatabase(
    server,
    `create table by_index (id int primary key, code text not null, n int, ${big}; create unique index by_code on by_index (code, id);
     create table by_index_1 partition of by_index for values from (0) to (15); create table by_index_2 partition of by_index default;
     alter table by_index replica identity using index by_code`,
    `create table whole (id int primary key, code text, n int, ${big}; create table whole_1 partition of whole for values from (0) to (15);
     create table whole_2 partition of whole default; alter table whole replica identity full; alter table whole_2 replica identity full`,
    `create table in_part (id int primary key, code text not null, n int, ${big}; create table in_part_1 partition of in_part default;
     alter table in_part_1 replica identity full`,
    `insert into by_index select i, 'c' || i, i, repeat('y', 3000) from generate_series(1, 30) i`,
    'insert into whole select * from by_index; insert into in_part select * from by_index',
  );
  const names = ['by_index', 'whole', 'in_part'];
  await db.sql.script(
    ['by_index_1', 'by_index_2', 'whole_1', 'whole_2', 'in_part_1']
      .map((part) => `alter table ${part} alter big set storage external`)
      .join('; '),
  );
  for (const name of names) await db.sql.script(`update ${name} set big = repeat('z', 3000)`);
  const options = { ...initial, tables: names.map((name) => `public.${name}`) };
  const model = new Model();
  const change = async (n: number): Promise<void> => {
    for (const name of names)
      await db.sql
        .script(`update ${name} set code = code || 'x${n}' where id % 3 = 0; update ${name} set id = id + 100 where id % 7 = ${n}; update ${name} set n = n + 1;
        delete from ${name} where id % 11 = ${n}`);
  };
  let changed = 0;
  await run(db.source(options), model, async () => {
    if (changed < 3) await change(changed++);
    return !isCopying(model);
  });
  await change(3);
  await db.sql.script('alter table whole_1 replica identity full; alter table in_part_1 replica identity default');
  await change(4);
  await catchUp(db.source(options), model, db.sql);
  for (const name of names) await sameAsTable(model, db, name);
});

test('tables told apart by another index than their primary key, by identity columns, and whole: each change finds its row', async () => {
  await using db = await testDatabase(
    server,
    `create table by_index (id int primary key, code text not null, n int, big text); create unique index by_code on by_index (code);
     alter table by_index replica identity using index by_code; alter table by_index alter big set storage external`,
    `create table generated (id int generated always as identity primary key, n int)`,
    `create table whole (a int not null, b text not null, n int, big text); create unique index on whole (b, a); alter table whole replica identity full;
     alter table whole alter big set storage external`,
    `create table empty (id int primary key)`,
    `insert into by_index select i, 'c' || i, i, repeat('y', 3000) from generate_series(1, 30) i; insert into generated (n) select generate_series(1, 30);
     insert into whole select i, 'b' || i % 5, i, repeat('z', 3000) from generate_series(1, 30) i`,
  );
  const names = ['by_index', 'generated', 'whole', 'empty'];
  const options = { ...initial, tables: names.map((name) => `public.${name}`) };
  const model = new Model();
  const change = (n: number): Promise<unknown> =>
    db.sql.script(`
      update by_index set code = code || 'x${n}' where id % 3 = 0; update by_index set id = -id where id % 7 = 0; update by_index set n = n + 1; delete from by_index where id = ${n};
      insert into generated (n) values (${n}); update generated set id = default where n = ${n + 3}; delete from generated where n = ${n + 5};
      update whole set a = a + 1000 where a % 4 = ${n}; update whole set n = ${n}; delete from whole where b = 'b${n}' and a > 1000;
      insert into empty values (${n})`);
  let changed = 0;
  await run(db.source(options), model, async () => {
    if (changed < 4) await change(changed++);
    return !isCopying(model);
  });
  await change(4);
  await catchUp(db.source(options), model, db.sql);
  for (const name of names) await sameAsTable(model, db, name);
});

test('a transaction that locks one table after the other gets both, whatever is being copied', async () => {
  await using db = await testDatabase(
    server,
    'create table t (id int primary key)',
    'create table u (id int primary key)',
    'insert into t select generate_series(1, 30); insert into u select generate_series(1, 30)',
  );
  await using other = await PgConnection.connect({ url: db.url });
  const model = new Model();
  const options = { ...initial, tables: ['public.t', 'public.u'] };
  let locked: Promise<unknown> = Promise.resolve();
  await run(db.source(options), model, async () => {
    if (model.events === 5) {
      await other.script('begin; lock table u in access exclusive mode');
      const waits = `select 1 from pg_stat_activity where datname = $1 and application_name = 'tidegate shop' and wait_event_type = 'Lock'`;
      locked = eventually(async () => (await db.sql.query(waits, [db.name])).rows.length > 0, 'the source waits for the table').then(() =>
        other.script('alter table t add column x int; commit'),
      );
      locked.catch(() => {}); // Awaited below.
    }
    return !isCopying(model);
  });
  await locked;
  await sameAsTable(model, db, 'u');
});

test('a table with defaults, labels and domains, a row filter, or partitions is described while somebody is at work on it: the log goes on', async () => {
  await using db = await testDatabase(
    server,
    `create type mood as enum ('sad'); create domain small as int;
     create table t (id int primary key, n small not null default 7, m mood default 'sad', w int generated always as (id * 2) stored)`,
  );
  const isFiltered = db.sql.majorVersion >= 15; // There are no row filters before.
  await db.sql.script(`create publication p for table t ${isFiltered ? 'where (id > 0)' : ''}`);
  await using reader = await PgConnection.connect({ url: db.url, settings: { ...SESSION, lock_timeout: '1' } });
  await using other = await PgConnection.connect({ url: db.url });
  await db.sql.script('create table parts (id int primary key) partition by range (id); create table part partition of parts default');
  await other.script('begin; alter table t add column x int; alter table parts add column x int');
  expect((await readTable(reader, 'public.parts', 'p', 'not asked'))?.keyNames).toEqual(['id']);
  const table = await readTable(reader, 'public.t', 'p', 'not asked');
  expect([table?.isFiltered, await readPublication(reader, 'p')]).toEqual([isFiltered, new Set(['public.t'])]);
  const described = table && (await new Datasets('shop').relationOf(reader, table.table, table.message, table));
  expect(described?.dataset.columns.map(({ name, declared }) => [name, declared])).toEqual([
    ['id', { required: true }],
    ['n', { required: true, base: 'integer', default: '7' }],
    ['m', { labels: ['sad'], default: "'sad'::public.mood" }],
  ]);
});
