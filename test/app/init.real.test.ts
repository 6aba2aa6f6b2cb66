/** tidegate init on a source that was not made for it: whatever the tables are called, check accepts what is written. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { parse } from 'yaml';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { cli, cliIn } from './cli.ts';

const TABLES = `
  create schema crm; create schema "Sales EU"; create schema "a.b"; create table "a.b".c (id int primary key);
  create type mood as enum ('so, so', 'it''s', 'x: y', '#no', '', 'null', '1');
  create domain positive as int check (value > 0);
  create table orders (id bigint primary key, email text, total numeric(12,2) not null, m mood not null, tags text[], d positive, at timestamptz);
  comment on table orders is 'Orders: "quoted" # no comment
- in two lines';
  insert into orders select n, 'a' || n || '@example.com', n * 1.5, 'so, so', array['a'], 1 from generate_series(1, 40) n;
  create table crm.orders (a int, b text, primary key (b, a));
  create table "Orders" (id int primary key);
  create table "Sales EU"."Order Lines" ("Order ID" int, "Line #" int, gen int generated always as ("Order ID" * 2) stored, primary key ("Order ID", "Line #"));
  create table "/up/and/away" (id int primary key);
  create table parted (id int, r text, primary key (id, r)) partition by list (r);
  create table parted_a partition of parted for values in ('a');
  create table empty_one (id int primary key, "yes" boolean, "null" text, "1st" int, "äö" text not null, "a.b" int, "it's [*]" int not null);
  create table ${'t'.repeat(63)} (id int primary key, ${'c'.repeat(63)} text);
  create table no_key (a int); create table "with.dot" (id int primary key); create unlogged table passing (id int primary key);
  create view seen as select * from orders;
`;

test('every table that can be read gets a file, under a name that nothing else has, and the others are named with the reason', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'My-Shop');
  await using target = await createDatabase(inject('targetServer'), 'init');
  await using sql = await PgConnection.connect({ url: source.url });
  await sql.script(TABLES);
  // Nobody has ever read by it, so it is no standby's, and nothing to warn of.
  const unused = `init_${randomUUID().replaceAll('-', '').slice(0, 16)}`;
  await sql.query('select pg_create_physical_replication_slot($1)', [unused]);
  const out = mkdtempSync(join(tmpdir(), 'tidegate-init-'));
  try {
    const args = ['--source', source.url, '--target', target.url, '--out', out, '--name', 'shop'];
    const words = await cli('init', ...args);
    expect([words.code, words.stderr]).toEqual([0, '']);
    expect(words.stdout).toMatch(
      /! a\.b\.c is left out: there is a dot in the name of its schema\.\n! public\.no_key is left out: it has no primary key\./,
    );
    expect(readdirSync(join(out, 'datasets'))).toHaveLength(9);
    const config = parse(readFileSync(join(out, 'tidegate.yaml'), 'utf8')) as { targets: Record<string, { layouts: unknown }> };
    expect(Object.values(config.targets)[0]?.layouts).toEqual([{ dataset: 'shop.crm.orders', table: 'crm_orders' }]);
    const urls = { SOURCE_URL: source.url, TARGET_URL: target.url };
    const checked = await cliIn(urls, 'check', join(out, 'tidegate.yaml'), '--json');
    expect([checked.code, checked.json]).toEqual([
      0,
      {
        ok: true,
        problems: [/: alerts$/, /: sources\.shop\.wal$/].map((path): unknown =>
          expect.objectContaining({ severity: 'warning', path: expect.stringMatching(path) as unknown }),
        ),
      },
    ]);
    expect((await sql.query('select 1 from pg_replication_slots where database = current_database()')).rows).toEqual([]);
  } finally {
    await sql.query('select pg_drop_replication_slot($1)', [unused]);
    rmSync(out, { recursive: true, force: true });
  }
});

test('by patterns: the config has them and not the tables, check accepts it, and an empty database will do', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'init_by');
  await using target = await createDatabase(inject('targetServer'), 'init_by');
  const out = mkdtempSync(join(tmpdir(), 'tidegate-init-'));
  const urls = { SOURCE_URL: source.url, TARGET_URL: target.url };
  const init = (to: string, ...more: readonly string[]) =>
    cli('init', '--source', source.url, '--target', target.url, '--out', join(out, to), '--name', 'shop', ...more);
  const sourceOf = (to: string) =>
    (parse(readFileSync(join(out, to, 'tidegate.yaml'), 'utf8')) as { sources: { shop: Record<string, unknown> } }).sources.shop;
  try {
    expect((await init('wrong', '--pattern', 'public')).code).toBe(2);
    expect((await init('empty', '--pattern', 'public.*')).code).toBe(0);
    const empty = await cliIn(urls, 'check', join(out, 'empty/tidegate.yaml'));
    expect([empty.code, empty.stdout + empty.stderr]).toEqual([0, expect.stringContaining('No table fits the patterns yet')]);
    await using sql = await PgConnection.connect({ url: source.url });
    await sql.script(TABLES);
    expect((await init('some', '--pattern', 'public.o*', '--pattern', 'Sales EU.*', '--table', 'crm.orders')).code).toBe(0);
    expect(sourceOf('some')).toMatchObject({ tables: ['crm.orders'], patterns: ['public.o*', 'Sales EU.*'] });
    expect(readdirSync(join(out, 'some/datasets')).toSorted()).toEqual(['Order_Lines.yaml', 'orders.yaml', 'public.orders.yaml']);
    const checked = await cliIn(urls, 'check', join(out, 'some/tidegate.yaml'), '--json');
    expect([checked.code, checked.stdout.includes('left out')]).toEqual([0, false]);
    const profiled = await cliIn(urls, 'profile', join(out, 'some/tidegate.yaml'), 'shop.public.orders', '--json');
    expect([profiled.code, profiled.stderr]).toEqual([0, '']);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
});
