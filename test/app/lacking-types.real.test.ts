/** Types of the source that the target lacks, and that nothing stands for there: they concern their table, and no other. */
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { ask, untilReady } from './services.ts';
import { BothEnds, Following } from './changed-tables.ts';
import { cli } from './cli.ts';

test('a table of a type that the target lacks waits from its first row on, with the fix, while others are copied and followed', async () => {
  await using ends = await BothEnds.make('lacking');
  await ends.sql
    .script(`create type pair as (a int, b int); create type span as range (subtype = timetz); create type mood as enum ('ok', 'sad');
    create domain positive as int check (value > 0); create type boxed as (p pair, m mood);
    create table keyed (id pair primary key, v text); create table plain (id int primary key, s span[], b boxed);
    create table soft (id int primary key, m mood, p positive); create table empty (id int primary key, p pair);
    create table typed (id int primary key, p pair); create table free (id int primary key);
    insert into keyed values ((1, 2), 'x'); insert into plain values (1, null, ((1, 2), 'sad')); insert into soft values (1, 'ok', 1);
    insert into typed values (1, (3, 4)); insert into free values (0)`);
  // Made by somebody who has no such type, and wants the text.
  await ends.lake.script('create schema shop; create table shop.typed (id int primary key, p text)');
  const tables = ['keyed', 'plain', 'soft', 'empty', 'typed', 'free'];
  await using it = new Following(ends, ends.config({ tables: tables.map((table) => `public.${table}`) }));
  await it.restart();
  const waiting = new Map<string, string>();
  for (const table of ['keyed', 'plain', 'empty', 'typed']) {
    const change = await it.parked(table);
    expect(change.problem).toMatch(/^the target has no type public\.\w+: create it there as the source has it/);
    waiting.set(table, change.id);
  }
  const isThere = async (table: string) => (await ends.lake.query('select to_regclass($1)', [`shop.${table}`])).rows[0]?.[0] !== null;
  for (const table of ['free', 'soft']) {
    await eventually(() => isThere(table), `${table} is made`);
    await ends.equal(table);
  }
  await ends.sql.script(`insert into keyed values ((2, 2), 'y'); update plain set s = '{}'; insert into typed values (2, (5, 6))`);
  await it.flows();

  const early = await cli('schema', 'approve', it.config.file, waiting.get('keyed') ?? '');
  expect([early.code, early.stderr + early.stdout]).toEqual([1, expect.stringContaining('the target has no type public.pair')]);
  await it.restart();
  await it.flows();
  await ends.lake.script(
    `create type pair as (a int, b int); create type span as range (subtype = timetz); create type mood as enum ('ok', 'sad')`,
  );
  const half = await cli('schema', 'approve', it.config.file, waiting.get('plain') ?? '');
  expect([half.code, half.stderr + half.stdout]).toEqual([1, expect.stringContaining('the target has no type public.boxed')]);
  await ends.lake.script('create type boxed as (p pair, m mood)');
  for (const table of ['keyed', 'plain', 'empty', 'typed']) expect(await it.approve(waiting.get(table) ?? '')).toBe(0);
  await eventually(async () => (await ends.lake.query('select id, p from shop.typed')).rows.length === 2, 'the texts are there');
  await ends.sql.script(
    `insert into empty values (1, (1, 1)); insert into keyed values ((3, 3), 'z'); delete from keyed where id = (1, 2)::pair`,
  );
  for (const table of ['keyed', 'plain', 'empty']) {
    await eventually(() => isThere(table), `${table} is made`);
    await it.followed(table);
  }
  await it.flows();
  await untilReady(it.url).catch(async () => expect((await ask(it.url, '/readyz')).text).toBe('ready'));
  expect(await it.unequal()).toEqual([]);
});
