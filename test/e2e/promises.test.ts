/**
 * What others of this kind are known to get wrong, each on real servers with the service as it ships. docs/delivery.md says which test holds which
 * promise; the last test here holds that table.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { cli } from '../app/cli.ts';
import { ask, configFolder, startService, type TestConfig, untilReady } from '../app/services.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';

const SEED = Number(process.env['PROMISES_SEED'] ?? 1);
const MAIN = join(import.meta.dirname, '../../app/cli/main.ts');

let from: TestDatabase;
let to: TestDatabase;
let source: PgConnection;
let target: PgConnection;
let config: TestConfig;

beforeEach(async () => {
  from = await createDatabase(inject('sourceServer'), 'promise');
  to = await createDatabase(inject('targetServer'), 'promise');
  source = await PgConnection.connect({ url: from.url });
  target = await PgConnection.connect({ url: to.url });
  await source.script(`
    create table t (id bigint primary key, n int, note text, big text);
    alter table t alter big set storage external`);
  await target.script('create schema shop');
  config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'promises', tables: ['public.t'] } },
      pipelines: { main: { source: 'shop', target: 'lake', batch: { rows: 100 }, breaker: { enabled: false } } },
    },
    {},
    { source: from.url, target: to.url },
  );
});

afterEach(async () => {
  config[Symbol.dispose]();
  await Promise.all([source.close(), target.close()]);
  await Promise.all([from[Symbol.asyncDispose](), to[Symbol.asyncDispose]()]);
});

const hash = async (sql: PgConnection, table: string) =>
  (await sql.query(`select count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) from ${table} t`)).rows;

async function same(): Promise<void> {
  const isSame = async () => JSON.stringify(await hash(target, 'shop.t')) === JSON.stringify(await hash(source, 't'));
  await eventually(isSame, 'the target has the same rows as the source', 30_000);
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
}
function spawned(): Running {
  const child = spawn(process.execPath, [MAIN, 'run', config.file], { stdio: 'ignore' });
  return { child, ended: new Promise((resolve) => child.once('exit', resolve)) };
}

test(`kill -9 again and again, among inserts and updates of the same rows: the rows end the same (seed ${SEED})`, async () => {
  const random = new Random(SEED);
  const writing = new AbortController();
  const written = (async () => {
    await using sql = await PgConnection.connect({ url: from.url });
    for (let first = 1; !writing.signal.aborted; first += 10) {
      await sql.script(
        `insert into t select i, 0, 'n', repeat('x', case when i % 7 = 0 then 3000 else 10 end) from generate_series(${first}, ${first + 9}) i;
         update t set n = n + 1 where id % 10 = ${random.below(10)} and id > ${first - 300}; delete from t where id = ${first - random.below(200)}`,
      );
    }
  })();
  const events = async (): Promise<number> =>
    Number(
      (await target.query("select coalesce(sum(events), 0) from tidegate.lanes where lane like 'shop/%'").catch(() => null))
        ?.rows[0]?.[0] ?? 0,
    );
  for (let kills = 0; kills < 3; kills++) {
    const reached = (await events()) + 100 + random.below(900);
    const { child, ended } = spawned();
    await eventually(async () => (await events()) > reached, 'it moved on', 30_000);
    child.kill('SIGKILL');
    await ended;
  }
  writing.abort();
  await written;
  {
    await using running = await startService(config);
    await untilReady(running.url);
    await same();
  }
  // And where the lane begins anew, over rows that are there, some of them others.
  await cli('teardown', config.file, '--yes');
  await target.script(
    "delete from tidegate.lanes; update shop.t set n = -1, note = 'stale' where id % 3 = 0; delete from shop.t where id % 11 = 0",
  );
  await using again = await startService(config);
  await untilReady(again.url);
  await same();
});

test('one row that the target refuses is held, delays nothing else, and comes when the reason is gone', async () => {
  await target.script('create table shop.t (id bigint primary key, n int check (n <> 77), note text, big text)');
  await using running = await startService(config);
  await untilReady(running.url);
  for (let n = 0; n < 20; n++)
    await source.script(`insert into t select i, i, 'n', 'b' from generate_series(${n * 10 + 1}, ${n * 10 + 10}) i`);
  await eventually(async () => (await target.query('select count(*) from shop.t')).rows[0]?.[0] === '199', 'all the others are there');
  expect((await target.query('select key, rules from tidegate.quarantine')).rows).toEqual([['77', '{target.23514}']]);
  expect((await ask(running.url, '/readyz')).status).toBe(200);
  await target.script('alter table shop.t drop constraint t_n_check');
  await cli('quarantine', 'release', config.file, '--all');
  await same();
});

test('a key many times in a batch, unchanged large values, keys that change with them, truncates: the rows end the same', async () => {
  await source.script(`insert into t select i, 0, 'n', repeat('x', 9000) from generate_series(1, 200) i`);
  await using running = await startService(config);
  await untilReady(running.url);
  const steps = [
    'begin; update t set n = n + 1 where id < 40; update t set n = n + 1 where id < 30; delete from t where id = 3; insert into t values (3, 3); update t set n = 4 where id = 3; commit',
    'update t set n = 5 where id between 50 and 90',
    'update t set id = id + 9007199254740992, n = 6 where id between 60 and 99; update t set id = -id where id < 5',
    'begin; update t set n = 7 where id > 100; update t set id = id * 1000000 where id between 101 and 120; update t set n = 8 where id > 1000000; commit',
    'begin; update t set n = 9; truncate t; insert into t select i, 1, null, repeat($$y$$, 5000) from generate_series(9007199254740990, 9007199254741020) i; update t set n = 10; commit',
  ];
  for (const step of steps) {
    await source.script(step);
    await same();
  }
  await source.script('truncate t');
  await same();
  expect((await target.query('select count(*) from tidegate.quarantine')).rows).toEqual([['0']]);
});

test('a column that is added is added there, with its values in rows that nobody touched', async () => {
  await source.script(`insert into t select i, i, 'n', 'b' from generate_series(1, 300) i`);
  await using running = await startService(config);
  await untilReady(running.url);
  await source.script(
    `alter table t add column extra numeric(12,2) default 7.5; alter table t add column at timestamptz default 'infinity'; insert into t (id) values (1000)`,
  );
  await same();
});

test('numbers, times and documents keep every digit', async () => {
  await source.script('insert into t values (1)');
  await source.script('alter table t add column exact numeric, add column at timestamptz, add column doc jsonb, add column real float8');
  await using running = await startService(config);
  await untilReady(running.url);
  await source.script(`insert into t (id, exact, at, doc, real) values (1000001, 9999999999.99, 'infinity', '{"n": 12345678901234567890123456789}', 'NaN'),
    (9223372036854775807, 'NaN', '-infinity', null, 0.1), (-9223372036854775808, 1e-200, '0044-03-15 BC', '[9007199254740993]', 1e308), (9007199254740993, null, null, '{}', null)`);
  await same();
});

test('the source may forget only what the target has committed', async () => {
  await source.script("insert into t values (1, 1, 'n', 'b')");
  await using running = await startService(config);
  await untilReady(running.url);
  await using locking = await PgConnection.connect({ url: to.url });
  await locking.script('begin; lock table shop.t in access exclusive mode');
  const before = (await source.query('select pg_current_wal_insert_lsn()')).rows[0]?.[0] ?? '';
  await source.script("insert into t values (2, 2, 'n', 'b')");
  const confirmed = async (than: string) =>
    (
      await source.query(`select confirmed_flush_lsn ${than} $1::pg_lsn from pg_replication_slots where slot_name = $2`, [
        before,
        from.name,
      ])
    ).rows[0]?.[0] === 't';
  const waits = `select count(*) from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'`;
  await eventually(async () => (await target.query(waits, [to.name])).rows[0]?.[0] === '1', 'the batch waits for the table');
  const replies = async () =>
    (
      await source.query(
        'select reply_time::text from pg_stat_replication r join pg_replication_slots s on s.active_pid = r.pid where slot_name = $1',
        [from.name],
      )
    ).rows[0]?.[0] ?? '';
  const heard = await replies();
  await eventually(async () => (await replies()) > heard, 'the source heard from it meanwhile', 30_000);
  expect(await confirmed('<=')).toBe(true);
  await locking.script('commit');
  await eventually(() => confirmed('>'), 'the source is told', 30_000);
});

test('what ends the service ends it with a code that is not zero', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  const address = await new Promise<number>((resolve) =>
    taken.once('listening', () => resolve((taken.address() as { port: number }).port)),
  );
  config[Symbol.dispose]();
  config = configFolder({ http: { port: address } }, {}, { source: from.url, target: to.url });
  expect(await spawned().ended).toBeGreaterThan(0);
  taken.close();
  // A pipeline that halts leaves the others and the page alone; whoever asks is told.
  config[Symbol.dispose]();
  config = configFolder(
    { sources: { shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'promises', tables: ['public.nowhere'] } } },
    {},
    { source: from.url, target: to.url },
  );
  await using running = await startService(config);
  await eventually(
    async () =>
      (await ask(running.url, '/readyz')).status === 503 && (await ask(running.url, '/api/status')).text.includes('SOURCE_TABLE_MISSING'),
    'it has halted',
  );
});

test('docs/delivery.md names tests that there are', () => {
  const root = join(import.meta.dirname, '../..');
  const page = readFileSync(join(root, 'docs/delivery.md'), 'utf8');
  const named = [...page.matchAll(/`(test\/[\w/.-]+\.ts)`: ([^|]+?) \|/g)];
  const missing = named.flatMap(([, file = '', names = '']) => {
    const text = readFileSync(join(root, file), 'utf8').replaceAll("\\'", "'");
    return names
      .split('; ')
      .filter((name) => !text.includes(name))
      .map((name) => `${file}: ${name}`);
  });
  expect(missing).toEqual([]);
  expect(named.length).toBeGreaterThan(15);
});
