/** What was held keeps its values though its columns are called otherwise by the time it is released, also where the source had renamed them before their rows were read. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ruleFile } from '../support/rules.ts';
import { BothEnds, Following } from './changed-tables.ts';
import { cli } from './cli.ts';
import { untilReady } from './services.ts';

const TABLES = ['behind', 'beside'];
let ends: BothEnds;
let it: Following;

const rules = (hold: 'event' | 'key', max: number): Record<string, string> =>
  Object.fromEntries(TABLES.map((table) => [table, ruleFile(table, hold, `n: [{id: small, between: {max: ${max}}}]`)]));

beforeAll(async () => {
  ends = await BothEnds.make('renamed');
  for (const table of [...TABLES, 'free'])
    await ends.sql.script(`create table ${table} (id int primary key, n int, a int, b text);
      insert into ${table} values (1, 1, 1, 'one'), (2, 2, 2, 'two')`);
  const files = Object.entries(rules('key', 100)).map(([table, text]) => [`${table}.rules.yaml`, text] as const);
  it = await Following.start(
    ends,
    ends.config({ tables: [...TABLES, 'free'].map((one) => `public.${one}`) }, {}, Object.fromEntries(files)),
  );
});

afterAll(async () => {
  await it?.[Symbol.asyncDispose]();
  await ends?.[Symbol.asyncDispose]();
});

test('a column that was renamed, or whose name another one has since, before its rows were read', async () => {
  await it.stop();
  await ends.sql.script(`insert into behind values (3, 5000, 3, 'three'); update behind set n = 5000, a = 11 where id = 1;
    alter table behind rename a to f; insert into behind values (4, 4, 4, 'four');
    insert into beside values (3, 5000, 3, 'three'); update beside set n = 5000, a = 11 where id = 1;
    alter table beside rename a to f; alter table beside add a text; insert into beside (id, n, f, a) values (4, 4, 4, 'new')`);
  await it.restart();
  await untilReady(it.url);
  await it.flows();
  await it.restart(rules('key', 10_000));
  await untilReady(it.url);
  expect((await cli('quarantine', 'release', it.config.file, '--all')).code).toBe(0);
  for (const table of TABLES) await it.followed(table);
  expect(await it.unequal()).toEqual([]);
});

test('what was discarded is known to verify by the columns that it had', async () => {
  await ends.sql.script(`insert into behind values (5, 50000, 5, 'five'); update behind set n = 50000, f = 2 where id = 2`);
  await it.flows();
  expect((await cli('quarantine', 'discard', it.config.file, '--all', '--why', 'not wanted')).code).toBe(0);
  await ends.sql.script(`alter table behind rename f to g; alter table behind add h int default 7;
    insert into behind values (6, 6, 6, 'six')`);
  await it.flows();
  const { json, code } = await cli('verify', it.config.file, '--dataset', 'shop.public.behind', '--json');
  expect(json).toMatchObject({ equal: true, pipelines: [{ tables: [{ counts: { discarded: 2, lost: 0 } }] }] });
  expect(code).toBe(0);
});
