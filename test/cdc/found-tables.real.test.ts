/** Which tables patterns find, for each form that a publication has. */
import { describe, expect, inject, test } from 'vitest';
import { findTables, tableMatcher } from '../../cdc/postgres/found-tables.ts';
import { testDatabase } from './support.ts';

test('patterns fit by schema and by name, and never what is of the system or of Tidegate', () => {
  const fits = tableMatcher({ patterns: ['public.*', 'Sal?s.order_*', 'p+g.(a)', '*.all', 'pg_*.*'], except: ['*.audit', 'public.tmp*'] });
  const found = [
    'public.a',
    'public.audit',
    'public.tmp',
    'public.tm',
    'Sales.order_1',
    'sales.order_1',
    'Sales.orders',
    'p+g.(a)',
    'ppg.a',
  ];
  expect([...found, 'x.all', 'tidegate.all', 'pg_catalog.all', 'information_schema.all', 'public.ü\n'].filter(fits)).toEqual([
    'public.a',
    'public.tm',
    'Sales.order_1',
    'p+g.(a)',
    'x.all',
    'public.ü\n',
  ]);
});

const TABLES = `create table a (id int primary key); create table nokey (id int); create table full_id (id int not null unique); alter table full_id replica identity full;
  create table p (id int primary key) partition by range (id); create table p1 partition of p for values from (0) to (9);
  create schema "Other"; create table "Other".b (id int primary key); create table "Other"."b.c" (id int primary key); create schema "Ot.her"; create table "Ot.her".d (id int primary key); create view seen as select 1`;

describe.each([
  ['none yet', '', ['Other.b', 'Other.b.c', 'public.a', 'public.full_id', 'public.p']],
  [
    'of all tables',
    'create publication pub for all tables with (publish_via_partition_root)',
    ['Other.b', 'Other.b.c', 'public.a', 'public.full_id', 'public.p'],
  ],
  [
    'of all tables, by their partitions',
    'create publication pub for all tables',
    ['Other.b', 'Other.b.c', 'public.a', 'public.full_id', 'public.p1'],
  ],
  [
    'of one table',
    'create publication pub for table a with (publish_via_partition_root)',
    ['Other.b', 'Other.b.c', 'public.a', 'public.full_id', 'public.p'],
  ],
])('a publication %s', (_form, publication, tables) => {
  test('finds what comes under its own name, and says why others do not', async () => {
    await using db = await testDatabase(inject('sourceServer'), TABLES, publication);
    const patterns = { patterns: ['*.*'], except: [], newTables: 'accept' as const, writtenAs: (table: string) => table };
    const search = { publication: 'pub', patterns, named: [], known: () => false };
    expect(await findTables(db.sql, search)).toEqual({
      tables,
      left: [
        { table: 'Ot.her.d', why: 'there is a dot in the name of its schema' },
        { table: 'public.nokey', why: 'it has no primary key' },
      ],
    });
    expect(await findTables(db.sql, { ...search, only: 'public.a', named: ['public.p'] })).toEqual({ tables: ['public.a'], left: [] });
    const sameName = { ...patterns, patterns: ['public.*'], writtenAs: () => 'one' };
    const known = (table: string): boolean => table === 'public.full_id';
    expect((await findTables(db.sql, { ...search, patterns: sameName, known })).tables).toEqual(['public.full_id']);
  });
});

test('a role is told what it lacks', async () => {
  await using db = await testDatabase(inject('sourceServer'), TABLES, 'create publication pub for table a', 'create role reader_of_found');
  try {
    await db.sql.script('grant select on full_id to reader_of_found; set role reader_of_found');
    const patterns = {
      patterns: ['public.*'],
      except: ['*.p*', '*.nokey'],
      newTables: 'accept' as const,
      writtenAs: (table: string) => table,
    };
    const { tables, left } = await findTables(db.sql, { publication: 'pub', patterns, named: [], known: () => false });
    expect([tables, left]).toEqual([
      [],
      [
        { table: 'public.a', why: 'the role may not read it: grant select on it (and usage on its schema)' },
        { table: 'public.full_id', why: 'it is not in the publication pub, and the role may not add it' },
      ],
    ]);
  } finally {
    await db.sql.script('reset role; drop owned by reader_of_found; drop role reader_of_found');
  }
});
