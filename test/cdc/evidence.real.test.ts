/** A table that is not described again where the catalog has it as it was: whatever was changed, it is described as it is. */
import { expect, inject, test } from 'vitest';
import { Datasets, readTable, SESSION } from '../../cdc/postgres/catalog.ts';
import { betweenMarks } from '../../cdc/postgres/chunk.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { Random } from '../support/random.ts';
import { testDatabase } from './support.ts';

const SEEDS = [1, 2, 3];
const STEPS = 250;

/** What people do to a table, its types and its publication; some fail, for they come in any order. */
const CHANGES: readonly ((random: Random, version: number) => string)[] = [
  (random) => `alter table t add column ${columnOf(random)} ${typeOf(random)}${random.chance(0.5) ? " default '1'" : ''}`,
  (random) => `alter table t drop column ${columnOf(random)}`,
  (random) => `alter table t rename column ${columnOf(random)} to ${columnOf(random)}`,
  (random) => `alter table t alter ${columnOf(random)} type text using null`,
  (random) => `alter table t alter ${columnOf(random)} ${random.chance(0.5) ? 'set not null' : 'drop not null'}`,
  (random) => `alter table t alter ${columnOf(random)} ${random.chance(0.5) ? "set default '2'" : 'drop default'}`,
  (random) => `comment on column t.${columnOf(random)} is 'step ${random.below(9)}'`,
  (random) => `comment on table t is 'step ${random.below(9)}'`,
  (random) => `alter table t replica identity ${['default', 'full', 'nothing'][random.below(3)]}`,
  (random) => `alter table p1 replica identity ${['default', 'full', 'nothing'][random.below(3)]}`,
  (random) => `create unique index u${random.below(3)} on t (id, other); alter table t replica identity using index u${random.below(3)}`,
  (random) => `drop index u${random.below(3)}`,
  () => 'alter table t drop constraint t_pkey',
  () => 'alter table t add primary key (id)',
  () => 'alter table t add primary key (other, id)',
  () => 'truncate t',
  () => 'alter table t set unlogged',
  () => 'alter table t set logged',
  () => 'alter table t rename to gone; alter table later rename to t; alter table gone rename to later',
  () => 'alter table t detach partition p1; alter table t rename to top; alter table p1 rename to t; alter table top rename to p1',
  () => 'alter publication tidegate drop table t',
  () => 'alter publication tidegate add table t',
  (random, version) =>
    version < 15 ? 'select 1' : `alter publication tidegate set table t (id, other)${random.chance(0.5) ? ' where (id > 3)' : ''}`,
  (_, version) => (version < 15 ? 'select 1' : 'alter publication tidegate set table t where (id > 4)'),
  (_, version) => (version < 15 ? 'select 1' : 'alter publication tidegate add tables in schema public'),
  (_, version) => (version < 15 ? 'select 1' : 'alter publication tidegate drop tables in schema public'),
  (random) => `alter publication tidegate set (publish_via_partition_root = ${random.chance(0.5)})`,
  () => 'drop publication tidegate; create publication tidegate for table t',
  (random) => `alter type mood add value if not exists 'm${random.below(9)}'`,
  (random) => `alter type mood rename value 'm${random.below(9)}' to 'm${random.below(9)}'`,
  () => 'alter type mood rename to moods; alter type moods rename to mood',
  (random) => `alter type mood set schema ${random.chance(0.5) ? 'kinds' : 'public'}`,
  () => 'alter schema kinds rename to sorts; alter schema sorts rename to kinds',
  (random) => `alter type place add attribute a${random.below(4)} int`,
  (random) => `alter type place drop attribute if exists a${random.below(4)}`,
  (random) => `alter domain small ${random.chance(0.5) ? 'set' : 'drop'} not null`,
  () => 'analyze t',
  () => 'vacuum t',
];

const columnOf = (random: Random): string => ['c1', 'c2', 'c3', 'other'][random.below(4)] ?? '';
const typeOf = (random: Random): string =>
  ['int', 'numeric(9,2)', 'mood', 'small', 'place', 'mood[]', 'text', 'money'][random.below(8)] ?? '';

test.each(SEEDS)('what is known of a table is what its catalog says, whatever has become of it: seed %i', async (seed) => {
  await using db = await testDatabase(
    inject('sourceServer'),
    `create schema kinds; create type mood as enum ('m1', 'm2'); create domain small as int; create type place as (x int, m mood);
     create table t (id int not null primary key, other int not null, c1 mood, c2 place, c3 small default 7);
     create table later (id int not null, other int not null, c1 text) partition by range (id); create table p1 partition of later default;
     create publication tidegate for table t`,
  );
  const random = new Random(seed);
  await using people = await PgConnection.connect({ url: db.url, settings: { search_path: 'public, kinds' } });
  await using reader = await PgConnection.connect({ url: db.url, settings: SESSION });
  const [known, asked] = [new Datasets('shop'), new Datasets('shop')];
  const parts = { datasets: known, publication: 'tidegate', prefix: 'marks' };
  let [changed, again] = [0, 0];
  let before: unknown = null;
  for (let step = 0; step < STEPS; step++) {
    const change = CHANGES[random.below(CHANGES.length)]?.(random, people.majorVersion) ?? '';
    for (const sql of change.split(';')) await people.script(sql).catch(() => {}); // One that can't be done now is done later.
    const taken = await betweenMarks(reader, parts, String(step), 'public.t', 'the test', async (present, relation) => {
      const found = await readTable(reader, 'public.t', 'tidegate');
      const described = found === null ? null : await asked.relationOf(reader, 'public.t', found.message, found);
      expect(shown({ present, relation }), `step ${step}: ${change}`).toEqual(shown({ present: found, relation: described }));
      return { present };
    });
    if (taken.present === before) again++;
    else changed++;
    before = taken.present;
  }
  expect(Math.min(changed, again)).toBeGreaterThan(5);
});

/** Estimates of the planner change by themselves, and are only asked for once. */
const shown = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (key, one: unknown) => (one instanceof Map ? [...one] : key === 'rowsEstimated' ? undefined : one)));
