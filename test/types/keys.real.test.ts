/** Every type that can be a primary key as one: snapshots that page by it, updates and deletes that find by it, and keys that move. */
import { expect, inject, test } from 'vitest';
import { PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { quoteLiteral } from '../../wire/postgres/ident.ts';
import { createDatabase } from '../support/databases.ts';
import { TYPES_SQL, VALUES, valuesOf } from '../support/types.ts';
import { sync } from './sync.ts';

/** Types that have no order an index could have. */
const NO_KEYS =
  'point line lseg box path polygon circle xid cid pg_snapshot txid_snapshot refcursor json xml jsonpath lquery ltxtquery'.split(' ');
/** Arrays of such: a table can be made of them, and no second row goes in. The order of hstore has operators that nobody compares rows by. */
const NO_ORDER = new Set(['box[]', 'point[]', 'xml[]', 'hstore']);
/** Their numbers mean other objects at the target, and the log has nothing but these. */
const OBJECTS = new Set(['regclass', 'regtype', 'regproc', 'regnamespace', 'regrole', 'regconfig']);

test('a key may be of any type that has an order', async () => {
  await using from = await createDatabase(inject('sourceServer'), 'keys');
  await using to = await createDatabase(inject('targetServer'), 'keys');
  await using source = await PgConnection.connect({ url: from.url });
  await using target = await PgConnection.connect({ url: to.url });
  await source.script(TYPES_SQL);
  await target.script(`create type other as enum ('x'); ${TYPES_SQL}`);
  const version = Number((await source.query("select current_setting('server_version_num')::int / 10000")).rows[0]?.[0]);

  const tables: { readonly table: string; readonly type: string }[] = [];
  const without: string[] = [];
  for (const [i, type] of Object.keys(VALUES).entries()) {
    const table = `k${i}`;
    try {
      await source.script(`create table ${table} (k ${type} primary key, v text)`);
    } catch (error) {
      if (!(error instanceof PgError && error.code === '42704')) throw error;
      without.push(type);
      continue;
    }
    if (OBJECTS.has(type) || NO_ORDER.has(type)) continue;
    for (const value of valuesOf(type, version))
      await source.query(`insert into ${table} values ($1::text::${type}, 'there') on conflict do nothing`, [value]);
    tables.push({ table, type });
  }
  expect(without.toSorted()).toEqual(NO_KEYS.toSorted());
  await source.script('create table marks (k integer primary key, v text)');
  tables.push({ table: 'marks', type: 'integer' });

  const run = (mark: number): Promise<void> =>
    sync(source, target, { from, to, tables: tables.map(({ table }) => `public.${table}`), mark });
  const rows = tables.map(({ table, type }) => `select ${quoteLiteral(type)}, format('%s', k), v from ${table}`).join(' union all ');
  const expectSame = async (): Promise<void> => {
    const wanted = await source.query(`${rows} order by 1, 2, 3`);
    expect(new Set(wanted.rows.map(([type]) => type)).size).toBe(tables.length - 1); // The marks are of a type that another table has.
    expect((await target.query(`${rows} order by 1, 2, 3`)).rows).toEqual(wanted.rows);
  };

  await run(1);
  await expectSame();
  for (const { table } of tables) {
    await source.script(`update ${table} set v = 'changed' where k = (select k from ${table} order by k limit 1)`);
    // The greatest key is freed, and the row with the least takes it.
    await source.script(`with freed as (select k from ${table} order by k desc limit 1) delete from ${table} t using freed where t.k = freed.k
      and (select count(*) from ${table}) > 2`);
  }
  await run(2);
  await expectSame();
  for (const { table, type } of tables) {
    const values = valuesOf(type, version);
    const last = table === 'marks' ? undefined : values.at(-1);
    if (last === undefined) continue;
    await source.query(
      `update ${table} set k = $1::text::${type}, v = 'moved' where k = (select k from ${table} order by k limit 1)
       and not exists (select from ${table} where k = $1::text::${type})`,
      [last],
    );
  }
  await run(3);
  await expectSame();
});

test('a key that is only spelled in another way stays one row, with the cells that were left out', async () => {
  await using from = await createDatabase(inject('sourceServer'), 'keys');
  await using to = await createDatabase(inject('targetServer'), 'keys');
  await using source = await PgConnection.connect({ url: from.url });
  await using target = await PgConnection.connect({ url: to.url });
  for (const sql of [source, target]) await sql.script('create extension citext');
  await source.script(`create table marks (k integer primary key, v text);
    create table people (k citext primary key, v text, big text); alter table people alter big set storage external;
    insert into people select k, 'there', repeat(k, 3000) from unnest('{Ann,Bob,Cid}'::text[]) k;
    create table sizes (k numeric primary key, v text, big text); alter table sizes alter big set storage external;
    insert into sizes select k, 'there', repeat(k::text, 3000) from unnest('{1,2.50,3}'::numeric[]) k;
    create table names (k citext primary key, v text, big text); insert into names select k, 'there', k from unnest('{Ann,Bob,Cid}'::text[]) k`);
  const tables = ['public.people', 'public.sizes', 'public.names', 'public.marks'];
  await sync(source, target, { from, to, tables, mark: 1 });
  await source.script(
    "update people set k = lower(k), v = 'moved'; update sizes set k = k * 1.0, v = 'moved'; update names set k = lower(k), v = 'moved'",
  );
  await sync(source, target, { from, to, tables, mark: 2 });
  for (const table of ['people', 'sizes', 'names']) {
    const rows = `select k::text, v, length(big) from ${table} order by 1`;
    expect((await target.query(rows)).rows).toEqual((await source.query(rows)).rows);
  }
});
