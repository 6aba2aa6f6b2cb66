/** Tables that come while others are followed, and that somebody has to agree with. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { cli } from './cli.ts';
import { type Ends, ends, notes, table } from './pattern-ends.ts';
import { ask, startService, untilReady } from './services.ts';

const MAIN = join(import.meta.dirname, '../../app/cli/main.ts');
const SEED = Number(process.env['NEW_TABLES_SEED'] ?? 3);

interface Change {
  readonly id: string;
  readonly dataset: string;
  readonly status: string;
  readonly message: string;
  readonly held: number;
}

async function changes({ config }: Ends): Promise<readonly Change[]> {
  const { json } = await cli('schema', 'list', config.file, '--json');
  return (json as { changes: readonly Change[] }).changes;
}

/** The open change of a table, once there is one. */
async function waiting(it: Ends, name: string): Promise<Change> {
  const find = async (): Promise<Change | undefined> => (await changes(it)).find(({ dataset }) => dataset === `shop.public.${name}`);
  await eventually(async () => (await find()) !== undefined, `${name} waits`, 30_000);
  return (await find()) as Change;
}

const notReady = async (url: string): Promise<string> => (await ask(url, '/readyz')).text;

test.concurrent.each([
  ['of all tables', 'create publication found for all tables'],
  ['of a schema', 'create publication found for tables in schema public'],
  ['that Tidegate makes', ''],
])(
  'a new table is held until it is approved, whatever is written to it, and over kill -9; the others go on (publication %s)',
  async (_name, publication) => {
    const random = new Random(SEED);
    console.log(`NEW_TABLES_SEED=${SEED}`);
    await using it = await ends(`${table('a')}; insert into a values (1, 'a'); ${publication}`, {
      patterns: ['public.*'],
      newTables: 'hold',
    });
    const { sql, config } = it;
    let n = 1;
    const write = (): Promise<unknown> =>
      sql.script(
        `begin; insert into b values (${++n}, 'b${random.below(99)}'); update b set v = 'u${random.below(99)}' where id = ${1 + random.below(n)};
         delete from b where id = ${1 + random.below(n)}; insert into a values (${n}, 'a'); commit`,
      );
    {
      await using running = await startService(config);
      await untilReady(running.url);
      await sql.script(
        `create type public.mood as enum ('so');
         create table public.b (id int primary key, v varchar(20), m public.mood); insert into b select i, 'old' from generate_series(1000, 1010) i`,
      );
      for (let i = 0; i < 3; i++) await write();
      await it.equal('a');
      await waiting(it, 'b');
      await eventually(async () => (await notReady(running.url)).includes('shop.public.b is new'), 'it is said');
    }
    const child = spawn(process.execPath, [MAIN, 'run', config.file], { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    for (let i = 0; i < 3; i++) await write();
    await it.equal('a');
    child.kill('SIGKILL');
    await ended;

    await using running = await startService(config);
    await write();
    await it.equal('a');
    const held = await waiting(it, 'b');
    expect(await changes(it)).toEqual([held]);
    expect(held).toMatchObject({ status: 'held', message: 'the table is new', held: 0 });
    expect((await it.rows('target', 'b'))[0]).toEqual(['no such table']);
    const { json: shown } = await cli('schema', 'show', config.file, held.id, '--json');
    expect(shown).toMatchObject({
      statements: ['create table if not exists "shop"."b" ("id" integer, "v" character varying(20), "m" text, primary key ("id"))'],
    });
    const status = (await ask(running.url, '/api/status')).json as {
      pipelines: { datasets: { dataset: string }[]; schemaChanges: { id: string }[] }[];
    };
    expect(status.pipelines[0]?.datasets.map(({ dataset }) => dataset)).toContain('shop.public.b');
    expect(status.pipelines[0]?.schemaChanges.map(({ id }) => id)).toEqual([held.id]);
    expect((await ask(running.url, '/metrics')).text).toContain(
      'tidegate_schema_changes_open{pipeline="main",dataset="shop.public.b",status="held"} 1',
    );
    expect((await cli('schema', 'list', config.file)).code).toBe(1);
    const { code, json } = await cli('schema', 'approve', config.file, held.id, '--by', 'ann', '--json');
    expect([code, json]).toEqual([0, { kind: 'approved', changes: [held.id], released: 0 }]);
    for (let i = 0; i < 3; i++) await write();
    await it.equal('b');
    await write();
    await it.equal('b');
    await it.equal('a');
    await untilReady(running.url);
    expect((await cli('verify', config.file, '--json')).code).toBe(0);
    expect(await changes(it)).toEqual([]);
  },
);

test.concurrent('one that is rejected stays out, over restarts and a lane that begins anew, until it is approved', async () => {
  await using it = await ends(table('a'), { patterns: ['public.*'], newTables: 'hold' });
  const { sql, config } = it;
  {
    await using running = await startService(config);
    await untilReady(running.url);
    await sql.script(`${table('b')}; insert into b values (1, 'b')`);
    const { id } = await waiting(it, 'b');
    expect((await cli('schema', 'reject', config.file, id, '--why', 'not ours', '--by', 'bob')).code).toBe(0);
    await untilReady(running.url);
    await eventually(
      async () => (await notes(running.url)).includes('shop.public.b is left out: bob rejected it (not ours)'),
      'it is noted',
      30_000,
    );
    expect((await cli('schema', 'list', config.file)).code).toBe(0);
  }
  await sql.script(`insert into a values (1, 'a'); insert into b values (2, 'b')`);
  {
    await using running = await startService(config);
    await it.equal('a');
    await untilReady(running.url);
    expect(await changes(it)).toMatchObject([{ status: 'rejected' }]);
  }
  expect((await cli('teardown', config.file, '--yes')).code).toBe(0);
  await it.lake.query('delete from tidegate.lanes');
  await using running = await startService(config);
  await sql.script(`insert into a values (2, 'a')`);
  await it.equal('a');
  await untilReady(running.url);
  expect((await it.rows('target', 'b'))[0]).toEqual(['no such table']);
  const { id } = await waiting(it, 'b');
  expect((await cli('schema', 'approve', config.file, id)).code).toBe(0);
  await it.equal('b');
});

test.concurrent('one that is dropped while it waits is forgotten', async () => {
  await using it = await ends(table('a'), { patterns: ['public.*'], newTables: 'hold' });
  await using running = await startService(it.config);
  await untilReady(running.url);
  await it.sql.script(table('b'));
  await waiting(it, 'b');
  await it.sql.script('drop table b');
  await eventually(async () => (await changes(it)).length === 0, 'nothing waits', 30_000);
  await untilReady(running.url);
});

test.concurrent('with quarantine its rows are held under schema.table, and released once it is approved', async () => {
  await using it = await ends(`${table('a')}; create publication found for all tables`, {
    patterns: ['public.*'],
    newTables: 'quarantine',
  });
  const { sql, lake, config } = it;
  const held = async (): Promise<unknown> =>
    (await lake.query(`select distinct key, status, rules from tidegate.quarantine where dataset = 'shop.public.b' order by key`)).rows;
  const item = (key: string): unknown => [key, 'held', '{schema.table}'];
  {
    await using running = await startService(config);
    await untilReady(running.url);
    await sql.script(`${table('b')}; insert into b values (1, 'old'), (2, 'old')`);
    await waiting(it, 'b');
    await eventually(async () => JSON.stringify(await held()) === JSON.stringify([item('1'), item('2')]), 'its rows are held', 30_000);
  }
  await using running = await startService(config);
  await sql.script(
    `update b set v = 'new' where id = 2; insert into b values (3, 'new'); alter table b add w int; insert into b values (4, 'new', 4)`,
  );
  await sql.script(`insert into a values (1, 'a')`);
  await it.equal('a');
  const open = async (): Promise<readonly Change[]> => (await changes(it)).filter(({ dataset }) => dataset === 'shop.public.b');
  await eventually(async () => (await open()).length === 2, 'its own change waits with it');
  expect((await it.rows('target', 'b'))[0]).toEqual(['no such table']);
  const [newest, first] = await open();
  expect([newest, first]).toMatchObject([{ message: 'column w is new' }, { message: 'the table is new' }]);
  expect(await notReady(running.url)).toContain('shop.public.b is parked');
  const { json } = await cli('schema', 'approve', config.file, newest?.id ?? '', '--json');
  expect(json).toEqual({ kind: 'approved', changes: [first?.id, newest?.id], released: expect.any(Number) as unknown });
  await it.equal('b');
  await sql.script(`insert into b values (5, 'new', 5)`);
  await it.equal('b');
});

test.concurrent(
  'with quarantine nothing of a table is lost that is written to by thousands of rows while it is copied, held and approved',
  async () => {
    await using it = await ends(table('a'), { patterns: ['public.*'], newTables: 'quarantine' });
    const { sql, lake, config } = it;
    const random = new Random(SEED);
    await using running = await startService(config);
    await untilReady(running.url);
    await sql.script(`${table('b')}; insert into b select n, 'old' from generate_series(1, 5000) n`);
    let next = 5001;
    const write = async (): Promise<void> => {
      const id = 1 + random.below(next);
      await sql.script(`begin; insert into b select n, 'new' from generate_series(${next}, ${(next += 1000) - 1}) n; update b set v = v || '+' where id between ${id} and ${id + 99};
      delete from b where id between ${id + 50} and ${id + 60}; update b set id = -id where id = ${id}; commit`);
    };
    for (let i = 0; i < 8; i++) await write();
    const { id } = await waiting(it, 'b');
    for (let i = 0; i < 6; i++) await write();
    const there = async (where: string): Promise<number> =>
      Number((await lake.query(`select count(*) from tidegate.quarantine where dataset = 'shop.public.b' and ${where}`)).rows[0]?.[0]);
    await eventually(async () => (await there(`key = '${next - 1}'`)) > 0, 'all of it is held', 60_000);
    expect((await it.rows('target', 'b'))[0]).toEqual(['no such table']);
    const approved = cli('schema', 'approve', config.file, id);
    for (let i = 0; i < 6; i++) await write();
    expect((await approved).code).toBe(0);
    await it.equal('b');
    await eventually(async () => (await there(`status in ('held', 'waiting', 'released')`)) === 0, 'nothing of it is held');
    expect((await cli('verify', config.file, '--json')).code).toBe(0);
  },
);
