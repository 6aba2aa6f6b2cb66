/** `tidegate recover`: a slot that is lost for real, changes of every kind that no log has any more, and a quarantine that stays what it is. */
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type EmbeddedServer, freePort, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { ruleFile } from '../support/rules.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, type TestConfig, untilReady } from './services.ts';

const SEED = Number(process.env['RECOVER_SEED'] ?? 1);

const NOT_NEGATIVE = 'amount: [{id: not-negative, between: {min: 0}}]';
const TABLES = ['events', 'keys'] as const;
const SOURCE = TABLES.map(
  (table) => `
  create table ${table} (id bigint primary key, amount int not null, note text);
  alter table ${table} alter note set storage external;
  insert into ${table} select n, n, case when n % 4 = 1 then repeat('n', 3000) else 'short' end from generate_series(1, 400) n;`,
).join('');

interface Recovered {
  readonly moved: { readonly why: string; readonly from: string; readonly to: string; readonly isNewSlot: boolean } | null;
  readonly isRunning: boolean;
  readonly isWhole: boolean;
  readonly held: readonly { readonly dataset: string; readonly keys: number; readonly brought: number }[];
  readonly verified: {
    readonly tables: readonly { readonly dataset: string; readonly repaired: number; readonly equal: boolean }[];
  } | null;
}

let server: EmbeddedServer;
let target: TestDatabase;
let sql: PgConnection;
let lake: PgConnection;
let config: TestConfig;
let running: Awaited<ReturnType<typeof startService>>;

beforeAll(async () => {
  [server, target] = await Promise.all([
    startEmbeddedPostgres({ max_slot_wal_keep_size: '1MB', min_wal_size: '32MB', max_wal_size: '32MB', wal_sender_timeout: '2s' }),
    createDatabase(inject('targetServer'), 'rec'),
  ]);
  sql = await PgConnection.connect({ url: server.url() });
  lake = await PgConnection.connect({ url: target.url });
  await sql.script(SOURCE);
  const tables = TABLES.map((name) => `public.${name}`);
  config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: server.url(), slot: 'lost', publication: 'lost', tables } },
      http: { port: await freePort() },
    },
    { 'events.rules.yaml': ruleFile('events', 'event', NOT_NEGATIVE), 'keys.rules.yaml': ruleFile('keys', 'key', NOT_NEGATIVE) },
    { source: server.url(), target: target.url },
  );
  running = await startService(config);
  await isReady();
});

afterAll(async () => {
  await running?.[Symbol.asyncDispose]();
  config?.[Symbol.dispose]();
  await Promise.all([sql?.close(), lake?.close()]);
  await Promise.all([server?.stop(), target?.[Symbol.asyncDispose]()]);
});

const isReady = () => untilReady(running.url);
const both = (script: (table: string) => string) => sql.script(TABLES.map(script).join(';'));
async function recover(wait = '20s'): Promise<{ readonly code: number; readonly result: Recovered }> {
  const { code, json, stdout } = await cli('recover', config.file, '--json', '--wait', wait);
  if ((json as Recovered | null)?.isWhole === undefined) throw new Error(stdout);
  return { code, result: json as Recovered };
}
const errorOf = async () =>
  ((await ask(running.url, '/api/status')).json as { pipelines: { error: { code: string; fix: string } | null }[] }).pipelines[0]?.error;

/** The server removes log that the slot needs. */
async function lose(): Promise<void> {
  await eventually(async () => {
    await sql.script('select pg_switch_wal()');
    await sql.script('checkpoint');
    return (await sql.query("select 1 from pg_replication_slots where wal_status = 'lost'")).rows.length > 0;
  }, 'the slot is lost');
}
const isHalted = () => eventually(async () => (await errorOf())?.code === 'SOURCE_POSITION_LOST', 'it is halted', 30_000);

/** Open items as `table key amount`. */
async function open(): Promise<string[]> {
  const found = await lake.query(
    `select dataset, key, row_json ->> 'amount' from tidegate.quarantine where status in ('held', 'waiting') order by dataset, version, id`,
  );
  return found.rows.map(([dataset, key, amount]) => `${dataset?.split('.').at(-1) ?? ''} ${key ?? ''} ${amount ?? ''}`);
}
async function rowsOf(connection: PgConnection, table: string): Promise<string[]> {
  const found = await connection.query(`select t::text from ${table} t order by id`);
  return found.rows.map(([row]) => row ?? '');
}

test('what no log has any more is found and brought, and late releases replace nothing newer', async () => {
  // Held before the log is lost: 5 is mended meanwhile, 6 stays, 7 goes back to what the target has, 8 is deleted, 9 moves to another key.
  await both((t) => `update ${t} set amount = -1 where id in (5, 6, 7, 8, 9)`);
  await eventually(async () => (await open()).length === 10, 'the bad rows are held');
  expect((await cli('halt', config.file)).code).toBe(0);
  await both(
    (t) => `
    update ${t} set amount = 500 where id = 5;
    update ${t} set amount = 7 where id = 7;
    delete from ${t} where id = 8;
    update ${t} set id = 900, amount = 9 where id = 9;
    insert into ${t} select n, n, repeat('m', 3000) from generate_series(1000, 1020) n;
    insert into ${t} values (1100, -5, 'bad');
    delete from ${t} where id between 20 and 39;
    update ${t} set amount = amount + 1000 where id between 50 and 69;
    update ${t} set id = id + 2000 where id between 80 and 89;
    update ${t} set note = null where id = 99`,
  );
  const random = new Random(SEED);
  for (let n = 0; n < 40; n++) {
    const id = 100 + random.below(200);
    const change = random.chance(0.3) ? `delete from {} where id = ${id}` : `update {} set amount = ${random.below(9)} where id = ${id}`;
    await both((t) => change.replace('{}', t));
  }
  await lose();
  await both((t) => `update ${t} set amount = 3 where id = 41`);
  await cli('resume', config.file);
  await isHalted();
  expect((await errorOf())?.fix).toMatch(/`tidegate recover`/);

  const { code, result } = await recover();
  expect([code, result.isWhole, result.moved?.isNewSlot]).toEqual([0, true, true]);
  expect(result.moved?.why).toMatch(/wal_status lost/);
  // 5, 7, 8 and 9 have changed since, 6 has not.
  expect(result.held.map(({ dataset, keys, brought }) => [dataset, keys, brought])).toEqual([
    ['shop.public.events', 5, 4],
    ['shop.public.keys', 5, 4],
  ]);
  await isReady();

  const without = (table: string, ids: string) => rowsOf(sql, `(select * from ${table} where id not in (${ids}))`);
  // Held as before: the bad rows, and under `hold: key` what came behind them, waiting.
  const [events, keys] = await Promise.all([rowsOf(lake, 'shop.events'), rowsOf(lake, 'shop.keys')]);
  expect(events).toEqual(
    [...(await without('events', '6, 1100')), (await rowsOf(lake, '(select * from shop.events where id = 6)'))[0] ?? ''].sort(byId),
  );
  expect(keys.filter((row) => !/^\(([5-9]),/.test(row))).toEqual(await without('keys', '5, 6, 7, 8, 9, 1100'));
  expect((await lake.query('select id, amount from shop.keys where id between 5 and 9 order by id')).rows).toEqual(
    [5, 6, 7, 8, 9].map((id) => [String(id), String(id)]),
  );
  expect((await open()).filter((item) => item.startsWith('events'))).toEqual([
    ...[5, 6, 7, 8, 9].map((id) => `events ${id} -1`),
    'events 1100 -5',
  ]);

  // A late release would replace nothing newer.
  const dry = await cli('quarantine', 'release', config.file, '--json', '--dry-run', '--dataset', 'shop.public.events');
  const outcomes = (dry.json as { results: { id: string; outcome: string }[] }).results;
  expect(outcomes.map(({ id, outcome }) => `${/\/(\d+)@/.exec(id)?.[1] ?? ''} ${outcome}`).sort()).toEqual([
    '1100 still-fails',
    '5 superseded',
    '6 still-fails',
    '7 superseded',
    '8 superseded',
    '9 superseded',
  ]);
  // Once the bad rows are mended and given up, the target is the source: what waited under `hold: key` has come out.
  await both((t) => `update ${t} set amount = 1 where id in (6, 1100)`);
  for (const table of TABLES) {
    const dataset = `shop.public.${table}`;
    await eventually(
      async () =>
        (await open()).includes(`${table} 1100 1`) || (await rowsOf(lake, `(select * from shop.${table} where id = 1100)`)).length === 1,
      'the mended rows are there',
    );
    expect((await cli('quarantine', 'discard', config.file, '--why', 'mended', '--dataset', dataset, '--rule', 'not-negative')).code).toBe(
      0,
    );
  }
  await eventually(async () => {
    for (const table of TABLES) if (String(await rowsOf(lake, `shop.${table}`)) !== String(await rowsOf(sql, table))) return false;
    return true;
  }, 'the target is the source');
});

test('a lane that can go on is left alone', async () => {
  const { code, result } = await recover();
  expect([code, result]).toEqual([0, { pipeline: 'main', moved: null, isRunning: true, held: [], verified: null, isWhole: true }]);
});

test('cut off behind any of its steps, it is done again, and until it is done the pipeline is not ready', async () => {
  await running[Symbol.asyncDispose]();
  await both((t) => `delete from ${t} where id < 3; update ${t} set amount = 77 where id = 41`);
  await sql.query("select pg_drop_replication_slot('lost')");
  // The slot was made, and the lane not moved.
  await sql.query("select pg_create_logical_replication_slot('lost', 'pgoutput')");
  const alone = await recover('1s');
  expect([alone.code, alone.result.isRunning, alone.result.moved?.isNewSlot]).toEqual([1, false, false]);
  const again = await recover('1s');
  expect([again.code, again.result.isRunning, again.result.moved]).toEqual([1, false, null]);
  running = await startService(config);
  await eventually(
    async () => /was lost from the source's log: `tidegate recover`/.test((await ask(running.url, '/readyz')).text),
    'it says so',
  );
  const done = await recover();
  expect([done.code, done.result.isWhole, done.result.moved]).toEqual([0, true, null]);
  expect(done.result.verified?.tables.map(({ repaired }) => repaired)).toEqual([3, 3]);
  await isReady();
  for (const table of TABLES) expect(await rowsOf(lake, `shop.${table}`)).toEqual(await rowsOf(sql, table));
});

test('without slot and publication, after a teardown, nothing is copied again', async () => {
  await running[Symbol.asyncDispose]();
  expect((await cli('teardown', config.file, '--yes')).code).toBe(0);
  await both((t) => `update ${t} set amount = 78 where id = 41`);
  running = await startService(config);
  await isHalted();
  const { code, result } = await recover();
  expect([code, result.isWhole, result.moved?.isNewSlot]).toEqual([0, true, true]);
  expect(result.verified?.tables.map(({ repaired }) => repaired)).toEqual([1, 1]);
  await isReady();
});

const byId = (one: string, other: string): number => Number(/\d+/.exec(one)?.[0]) - Number(/\d+/.exec(other)?.[0]);
