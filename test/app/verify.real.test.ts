/** `tidegate verify` between two real databases, with differences planted at the target by hand, at rest and among live traffic. */
import { execFile } from 'node:child_process';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { fromLsn } from '../../core/position.ts';
import { postgresSink } from '../../sync/postgres/sink.ts';
import { PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { systemClock } from '../../core/clock.ts';
import { Exposition } from '../../ops/prometheus.ts';
import type { PipelineConfig } from '../../app/config-schema.ts';
import { silentLogger } from '../../app/logger.ts';
import { loadRuleFiles } from '../../app/rule-files.ts';
import { VerifyWatch } from '../../app/verify/watch.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { ruleFile } from '../support/rules.ts';
import { cli } from './cli.ts';
import { configFolder, post, startService, type TestConfig, untilReady } from './services.ts';

const SEED = Number(process.env['VERIFY_SEED'] ?? 1);
const ROUNDS = Number(process.env['VERIFY_ROUNDS'] ?? 3);

interface Difference {
  readonly key: string;
  readonly kind: string;
  readonly reason: string;
  readonly columns: readonly string[];
}
interface Table {
  readonly dataset: string;
  readonly state: string;
  readonly equal: boolean;
  readonly rows: number;
  readonly repaired: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly differences: readonly Difference[];
  readonly leftOut: readonly string[];
  readonly lacking: readonly string[];
}
interface Result {
  readonly equal: boolean;
  readonly pipelines: readonly [{ readonly through: string; readonly laneStands: boolean; readonly tables: readonly Table[] }];
}

const RULES = ruleFile(
  'orders',
  'event',
  'amount: [{id: not-negative, between: {min: 0}}, {id: not-huge, between: {max: 9000}, on_fail: drop}]',
);

const SOURCE = `
  create table orders (id bigint primary key, amount numeric(12,2), note text, twice bigint generated always as (id * 2) stored);
  alter table orders alter note set storage external;
  create table names (name text primary key, n int);
  create table pairs (a int, b text collate "C", v jsonb, primary key (a, b)) partition by hash (a);
  create table pairs_even partition of pairs for values with (modulus 2, remainder 0);
  create table pairs_odd partition of pairs for values with (modulus 2, remainder 1);
  create table cast_ (id int primary key, i smallint, c char(4), j json, ts timestamp, t text, f real, b boolean, bits bit(4), w text, tag text);
  create table part (n int primary key, v int, secret text);
  create table soft (id int primary key, v text, secret text);
  create table past (id int primary key, v text);
  do $$ begin
    -- Lists of columns and filters came with PostgreSQL 15.
    if current_setting('server_version_num')::int < 150000 then execute 'create publication verify for table soft, past, orders, names, pairs, cast_, part with (publish_via_partition_root = true)';
    else execute 'create publication verify for table soft, past, orders, names, pairs, cast_, part (n, v) where (n % 2 = 0) with (publish_via_partition_root = true)'; end if;
  end $$;
  insert into orders select n, n % 100, case when n % 7 = 0 then null when n % 7 = 1 then '' else 'note ' || n end from generate_series(1, 4000) n;
  insert into names select case when n % 3 = 0 then upper(md5(n::text)) else md5(n::text) end, n from generate_series(1, 1500) n;
  insert into pairs select n % 50, 'b' || n, jsonb_build_object('n', n) from generate_series(1, 1000) n;
  insert into cast_ select n, n, 'c' || n, ('{"b":1,  "a":' || n || '}')::json, '2026-01-01'::timestamp + n * interval '1.234567 s', '00' || n, n / 3.0, n % 2 = 0, B'1010', 'w' || n || ' ', 'tag' from generate_series(1, 20) n;
  insert into part select n, n, 'secret' from generate_series(2, 100, case when current_setting('server_version_num')::int < 150000 then 2 else 1 end) n;
  insert into soft select n, 'v' || n, 'secret' from generate_series(1, 100) n;
  insert into past select n, 'v' || n from generate_series(1, 100) n;
  analyze;`;

/** Types of its own, as somebody who made the tables before may have chosen them. */
const TARGET = `
  create schema shop;
  -- Sorts otherwise than at the source: so it is compared by sets, and not by ranges.
  create table shop.names (name text collate "und-x-icu" primary key, n int);
  create table shop.cast_ (id bigint primary key, i int, c text, j jsonb, ts timestamp(3), t numeric(10,1), f float8, b text, bits bit(4), w char(6),
    tag text generated always as ('made here') stored);`;

let source: TestDatabase;
let target: TestDatabase;
let sql: PgConnection;
let lake: PgConnection;
let config: TestConfig;
let running: Awaited<ReturnType<typeof startService>>;

beforeAll(async () => {
  [source, target] = await Promise.all([createDatabase(inject('sourceServer'), 'v'), createDatabase(inject('targetServer'), 'v')]);
  sql = await PgConnection.connect({ url: source.url });
  lake = await PgConnection.connect({ url: target.url });
  await sql.script(SOURCE);
  await lake.script(TARGET);
  const tables = ['orders', 'names', 'pairs', 'cast_', 'part', 'soft', 'past'].map((name) => `public.${name}`);
  const layout = { schema: 'Kept', table: 'it all', columns: ['id', 'v'], rename: { v: 'Value' }, softDelete: { at: 'gone' } };
  const layouts = [
    { dataset: 'shop.public.soft', ...layout, write: { operation: 'op' } },
    { dataset: 'shop.public.past', history: { from: 'since', to: 'until' } },
  ];
  config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'verify', tables } },
      targets: { lake: { kind: 'postgres', url: target.url, schema: 'shop', layouts } },
    },
    { 'orders.rules.yaml': RULES },
    { source: source.url, target: target.url },
  );
  running = await startService(config);
  await untilReady(running.url);
});

afterAll(async () => {
  await running?.[Symbol.asyncDispose]();
  config?.[Symbol.dispose]();
  await Promise.all([sql?.close(), lake?.close()]);
  await Promise.all([source?.[Symbol.asyncDispose](), target?.[Symbol.asyncDispose]()]);
});

interface Verified {
  readonly code: number;
  readonly result: Result;
  readonly table: (name: string) => Table;
}

async function verify(...flags: readonly string[]): Promise<Verified> {
  const { code, json, stdout, stderr } = await cli('verify', config.file, '--json', ...flags);
  const result = json as Result;
  if (result?.pipelines === undefined) throw new Error(`${stdout}${stderr}`);
  return {
    code,
    result,
    table: (name) => {
      const found = result.pipelines[0].tables.find(({ dataset }) => dataset === `shop.public.${name}`);
      if (found === undefined) throw new Error(`no ${name}`);
      return found;
    },
  };
}
/** `reason kind key (columns)`. */
const shown = ({ differences }: Table): string[] =>
  differences
    .map(({ key, kind, reason, columns }) => `${reason} ${kind} ${key}${columns.length === 0 ? '' : ` (${columns.join(' ')})`}`)
    .sort();

/** Everything that was committed so far is at the target, or in its quarantine. */
async function arrived(): Promise<void> {
  const lsn = (await sql.query(`select pg_logical_emit_message(true, $1, 'place')`, [`tidegate.${source.name}`])).rows[0]?.[0] ?? '';
  await eventually(
    async () =>
      ((await lake.query('select position from tidegate.lanes where lane = $1', [`shop/${source.name}`])).rows[0]?.[0] ?? '') >=
      fromLsn(lsn),
    'the lane has passed the mark',
  );
}
const itemOf = async (key: string): Promise<string> =>
  (await lake.query('select id from tidegate.quarantine where key = $1 order by version desc', [key])).rows[0]?.[0] ?? '';

test('what was copied is equal, whatever the types of the target, the filter of the publication and the order of the keys', async () => {
  const { code, result, table } = await verify();
  expect([code, result.equal, result.pipelines[0].laneStands]).toEqual([0, true, false]);
  expect(result.pipelines[0].tables.map(({ dataset, state, rows, leftOut }) => [dataset, state, rows, leftOut])).toEqual([
    ['shop.public.orders', 'verified', 4000, []],
    ['shop.public.names', 'verified', 1500, []],
    ['shop.public.pairs', 'verified', 1000, []],
    ['shop.public.cast_', 'verified', 20, ['tag']],
    ['shop.public.part', 'verified', 50, []],
    ['shop.public.soft', 'verified', 100, ['secret']],
    ['shop.public.past', 'verified', 100, []],
  ]);
  expect(table('orders').differences).toEqual([]);
  expect(fromLsn(result.pipelines[0].through) > '0'.repeat(16)).toBe(true);
});

test('a table of another layout is held against its source by what it has of it, without its deleted rows', async () => {
  await sql.script(
    `delete from soft where id between 10 and 19; update soft set secret = 'new' where id = 2; insert into soft values (11, 'again', '')`,
  );
  await arrived();
  const equal = await verify('--dataset', 'shop.public.soft');
  expect([equal.code, equal.table('soft').rows, equal.table('soft').differences]).toEqual([0, 91, []]);
  expect((await lake.query('select count(*) from "Kept"."it all" where gone is not null and op = $1', ['delete'])).rows).toEqual([['9']]);
  await lake.script(`
    update "Kept"."it all" set gone = null where id = 12;
    update "Kept"."it all" set gone = now() where id in (1, 11);
    update "Kept"."it all" set "Value" = 'other' where id = 3;
    delete from "Kept"."it all" where id = 13`);
  const { code, table } = await verify('--dataset', 'shop.public.soft');
  expect([code, shown(table('soft'))]).toEqual([1, ['lost changed 3 (v)', 'lost missing 1', 'lost missing 11', 'surplus surplus 12']]);
  await lake.script(`
    update "Kept"."it all" set gone = now() where id = 12;
    update "Kept"."it all" set gone = null where id in (1, 11);
    update "Kept"."it all" set "Value" = 'v3' where id = 3`);
});

test('of a table that keeps every version of a row, the open ones are held against the source, and repaired', async () => {
  await sql.script(`update past set v = 'new' where id <= 10; delete from past where id = 20; update past set id = 200 where id = 30`);
  await arrived();
  const equal = await verify('--dataset', 'shop.public.past');
  expect([equal.code, equal.table('past').rows, equal.table('past').differences]).toEqual([0, 99, []]);
  await lake.script(`
    update shop.past set v = 'other' where id = 1 and until is null;
    update shop.past set until = now() where id = 2 and until is null;
    insert into shop.past (id, v, since) values (500, 'surplus', now())`);
  const { code, table } = await verify('--dataset', 'shop.public.past');
  expect([code, shown(table('past'))]).toEqual([1, ['lost changed 1 (v)', 'lost missing 2', 'surplus surplus 500']]);
  const mended = await verify('--dataset', 'shop.public.past', '--repair');
  expect([mended.code, mended.table('past').repaired]).toEqual([0, 3]);
});

test('each difference is found, and told by its reason', async () => {
  await sql.script(`
    insert into orders values (5001, -1, 'held'), (5002, 9500, 'dropped'), (5003, -1, 'discarded'), (5004, -1, repeat('x', 100000)), (5005, -1, 'superseded');
    update orders set amount = -5 where id = 11;
    update orders set amount = 9500 where id = 12;
    update orders set note = 'discarded', amount = -6 where id = 13;
    update orders set note = 'discarded', amount = -6 where id = 14;`);
  await arrived();
  for (const key of ['5003', '5004', '13', '14'])
    await post(running.url, '/api/quarantine/discard', { ids: [await itemOf(key)], why: 'a test' });
  // A change that leaves the large note out finds no row; one of a row that is there is written whole, but for what was given up before.
  await sql.script('update orders set amount = 1 where id in (5004, 14)');
  await arrived();
  await lake.script(`
    update tidegate.quarantine set status = 'superseded' where key = '5005';
    delete from shop.orders where id in (21, 3999);
    update shop.orders set note = null where id = 8;
    update shop.orders set note = '' where id = 7;
    update shop.orders set amount = amount + 0.01, note = 'other' where id = 2000;
    insert into shop.orders values (0, 1, 'before all'), (9000, 1, 'behind all');
    delete from shop.names where n = 9;
    update shop.names set n = null where n = 10;
    insert into shop.names values ('~', 1), ('ä', 2);
    update shop.pairs set v = jsonb_set(v, '{n}', '"1"') where a = 1 and b = 'b1';
    delete from shop.pairs where a = 49 and b = 'b999';
    update shop.cast_ set ts = ts + interval '1 ms' where id = 3;
    update shop.cast_ set j = '{}', bits = b'0000' where id = 4;
    update shop.cast_ set tag = default where id = 5;
    insert into shop.part values (3, 3);`);
  const { code, result, table } = await verify();
  expect([code, result.equal]).toEqual([1, false]);
  const name = async (n: number): Promise<string> => (await sql.query(`select name from names where n = ${n}`)).rows[0]?.[0] ?? '';
  expect(shown(table('orders'))).toEqual([
    'discarded changed 13 (amount note)',
    'discarded missing 5003',
    'dropped changed 12 (amount)',
    'dropped missing 5002',
    'held changed 11 (amount)',
    'held missing 5001',
    'lost changed 2000 (amount note)',
    'lost changed 7 (note)',
    'lost changed 8 (note)',
    'lost missing 21',
    'lost missing 3999',
    'partial missing 5004',
    'superseded missing 5005',
    'surplus surplus 0',
    'surplus surplus 9000',
  ]);
  expect(table('orders').counts).toEqual({
    held: 2,
    discarded: 2,
    superseded: 1,
    dropped: 2,
    partial: 1,
    lost: 5,
    surplus: 2,
    undecided: 0,
  });
  expect(shown(table('names'))).toEqual(
    [`lost missing ${await name(9)}`, `lost changed ${await name(10)} (n)`, 'surplus surplus ~', 'surplus surplus ä'].sort(),
  );
  expect(shown(table('pairs'))).toEqual(['lost changed ["1","b1"] (v)', 'lost missing ["49","b999"]']);
  expect(shown(table('cast_'))).toEqual(['lost changed 3 (ts)', 'lost changed 4 (j bits)']);
  expect(shown(table('part'))).toEqual(['surplus surplus 3']);

  // What names its rows names them all; what is told to stop at the first stops there.
  const stopped = await verify('--dataset', 'shop.public.orders', '--limit', '2');
  expect(stopped.result.pipelines[0].tables.map(({ state, differences }) => [state, differences.length])).toEqual([['left', 2]]);
  expect((await cli('verify', config.file)).stdout).toMatch(
    /^DATASET +ROWS +HELD[^]*\nshop\.public\.part +3 +surplus[^]*is not what its source was through/,
  );
});

test('the running pipeline brings them again when it is asked to, and what is explained stays as it is', async () => {
  const { code, result, table } = await verify('--repair', '--rate', '100000');
  expect([code, result.equal]).toEqual([0, true]);
  expect(result.pipelines[0].tables.map(({ repaired }) => repaired)).toEqual([8, 4, 2, 2, 1, 0, 0]);
  const explained = { held: 2, discarded: 2, superseded: 1, dropped: 2, partial: 0, lost: 0, surplus: 0, undecided: 0 };
  expect(table('orders').counts).toEqual(explained);
  const again = await verify();
  expect([again.code, again.table('orders').counts, again.table('orders').repaired]).toEqual([0, explained, 0]);
});

test('while the service runs, its metrics tell through which place each dataset was proved', async () => {
  const { config: loaded } = config.load();
  const pipeline = { ...loaded.pipelines['main'], verify: { every: 10, rate: 1_000_000, repair: false } } as PipelineConfig;
  const watch = new VerifyWatch({ config: loaded, name: 'main', pipeline, rules: new Map(), clock: systemClock, logger: silentLogger });
  const metrics = (): string => {
    const out = new Exposition();
    watch.collect(out);
    return out.toString();
  };
  const lsnOf = (dataset: string): number =>
    Number(
      new RegExp(`^tidegate_verified_lsn\\{pipeline="main",dataset="shop.public.${dataset}"\\} (\\d+)$`, 'm').exec(metrics())?.[1] ?? 0,
    );
  expect(metrics()).toBe('');
  const stop = new AbortController();
  await lake.script('update shop.names set n = -5 where n = 1');
  const running = watch.run(stop.signal);
  try {
    await eventually(() => lsnOf('pairs') > 0, 'pairs is proved');
    const first = lsnOf('pairs');
    await eventually(() => lsnOf('pairs') > first, 'and again');
    expect([lsnOf('names'), /differing_rows\{pipeline="main",dataset="shop.public.names",reason="lost"\} 1\n/.test(metrics())]).toEqual([
      0,
      true,
    ]);
    await lake.script('update shop.names set n = 1 where n = -5');
    await eventually(() => lsnOf('names') > first, 'names is proved');
  } finally {
    stop.abort();
    await running;
  }
});

test('a column that the target has not got is told, until the lane brings it', async () => {
  await sql.script('alter table names add column extra text');
  const before = await verify('--dataset', 'shop.public.names');
  expect([before.code, before.table('names')]).toMatchObject([1, { state: 'verified', equal: false, lacking: ['extra'], differences: [] }]);
  expect((await cli('verify', config.file, '--dataset', 'shop.public.names')).stdout).toMatch(/has no column extra\./);
  await sql.script(`update names set extra = 'x' where n = 11`);
  await arrived();
  expect((await verify('--dataset', 'shop.public.names')).code).toBe(0);
});

test('while nothing moves the lane, what it has not brought is told from nothing else, and what is equal is proved', async () => {
  await running[Symbol.asyncDispose]();
  await sql.script(`update names set n = -1 where n = 77; insert into orders values (5010, 1, 'late')`);
  const { code, result, table } = await verify();
  expect([code, result.pipelines[0].laneStands]).toEqual([1, true]);
  expect([table('names').counts['undecided'], table('orders').counts['undecided'], table('pairs').equal]).toEqual([1, 1, true]);
  expect((await cli('verify', config.file)).stdout).toMatch(/Is the service running\?/);
  running = await startService(config);
  await arrived();
  expect((await verify()).code).toBe(0);
});

test('wrong input is told with 2, and nothing is compared', async () => {
  for (const flags of [
    ['--pipeline', 'x'],
    ['--dataset', 'x'],
    ['--limit', '0'],
    ['--rate', '1.5'],
    ['--wait', 'long'],
  ])
    expect([flags, (await cli('verify', config.file, ...flags)).code]).toEqual([flags, 2]);
  await using elsewhere = await createDatabase(inject('targetServer'), 'v');
  using other = configFolder(
    { sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'verify', tables: ['public.orders'] } } },
    {},
    { source: source.url, target: elsewhere.url },
  );
  expect(await cli('verify', other.file)).toMatchObject({ code: 2, stderr: expect.stringMatching(/main has never run/) as unknown });
});

/** Random transactions at the source until it is told to stop: rows that come, change, move and go, bad ones, large ones, and one that changes in every one. */
async function traffic(random: Random, stop: AbortSignal): Promise<number> {
  await using writer = await PgConnection.connect({ url: source.url });
  const change = (): string => {
    const id = 10_000 + random.below(1500);
    const amount = random.chance(0.01) ? -1 : random.below(100);
    const note = random.chance(0.1) ? `repeat('n', 5000)` : random.chance(0.2) ? 'null' : `'live ${random.below(100)}'`;
    const dice = random.next();
    if (dice < 0.4)
      return `insert into orders values (${id}, ${amount}, ${note}) on conflict (id) do update set amount = excluded.amount, note = excluded.note`;
    if (dice < 0.55) return `update orders set amount = ${amount} where id between ${id} and ${id + 10}`;
    if (dice < 0.65) return `delete from orders where id = ${id}`;
    if (dice < 0.75)
      return `update orders set id = ${id + 1500} where id = ${id} and not exists (select from orders where id = ${id + 1500})`;
    if (dice < 0.9) return `insert into names values ('live ${id}', ${amount}) on conflict (name) do update set n = excluded.n`;
    return `delete from names where name = 'live ${id}'`;
  };
  let transactions = 0;
  for (; !stop.aborted; transactions++) {
    const changes = Array.from({ length: 1 + random.below(5) }, change);
    const end = random.chance(0.05) ? 'rollback' : 'commit';
    try {
      await writer.script(`begin; ${changes.join('; ')}; update pairs set v = '${transactions}' where a = 0 and b = 'b50'; ${end}`);
    } catch (error) {
      if (!(error instanceof PgError)) throw error;
      await writer.script('rollback'); // The two of them met in a deadlock, or moved two rows to one key.
    }
  }
  return transactions;
}

/** A difference that was made at the target, as it is to be shown, and how it is undone. */
interface Planted {
  readonly shown: string;
  readonly table: 'orders' | 'names';
  readonly make: string;
  readonly undo: string;
}

function plant(random: Random, id: number): Planted {
  const one = (table: Planted['table'], what: string, make: string, undo: string): Planted => ({ table, shown: what, make, undo });
  const whole = `insert into shop.orders values (${id}, ${id % 100}, 'note ${id}')`;
  switch (random.below(5)) {
    case 0:
      return one('orders', `lost missing ${id}`, `delete from shop.orders where id = ${id}`, whole);
    case 1:
      return one(
        'orders',
        `lost changed ${id} (amount)`,
        `update shop.orders set amount = amount + 1 where id = ${id}`,
        `delete from shop.orders where id = ${id}; ${whole}`,
      );
    case 2:
      return one(
        'orders',
        `lost changed ${id} (note)`,
        `update shop.orders set note = ${random.chance(0.5) ? 'null' : "''"} where id = ${id}`,
        `delete from shop.orders where id = ${id}; ${whole}`,
      );
    case 3:
      return one(
        'orders',
        `surplus surplus ${id + 5000}`,
        `insert into shop.orders values (${id + 5000}, 1, null)`,
        `delete from shop.orders where id = ${id + 5000}`,
      );
    default:
      return one(
        'names',
        `surplus surplus !${id}`,
        `insert into shop.names values ('!${id}', null)`,
        `delete from shop.names where name = '!${id}'`,
      );
  }
}

test(`among live traffic exactly what was planted is found, and nothing else (seed ${SEED})`, async () => {
  const random = new Random(SEED);
  const stop = new AbortController();
  const writing = [1, 2].map((n) => traffic(new Random(SEED + n), stop.signal));
  let held = 0;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      // Rows that nothing else touches; their notes are neither null nor empty.
      const ids = new Set(Array.from({ length: round === 0 ? 0 : random.below(12) }, () => 1000 + 7 * random.below(400) + 3));
      const planted = [...ids].map((id) => plant(random, id));
      await lake.script(planted.map(({ make }) => make).join('; '));
      const bad = random.below(3);
      for (let n = 0; n < bad; n++) await sql.query('insert into orders values ($1, -1, null)', [9100 + 10 * round + n]);
      held += bad;
      const { code, result, table } = await verify();
      for (const name of ['orders', 'names', 'pairs'] as const) {
        const unexplained = shown(table(name)).filter((text) => !/^(held|discarded|superseded|dropped) /.test(text));
        const wanted = planted.flatMap((one) => (one.table === name ? [one.shown] : [])).sort();
        expect([round, name, unexplained]).toEqual([round, name, wanted]);
      }
      expect([round, code, result.equal]).toEqual([round, planted.length === 0 ? 0 : 1, planted.length === 0]);
      expect(table('orders').counts['held']).toBeGreaterThanOrEqual(held);
      if (random.chance(0.5)) {
        await lake.script(planted.map(({ undo }) => undo).join('; '));
        continue;
      }
      const mended = await verify('--repair');
      expect([round, mended.code, mended.result.pipelines[0].tables.reduce((sum, { repaired }) => sum + repaired, 0)]).toEqual([
        round,
        0,
        planted.length,
      ]);
    }
  } finally {
    stop.abort();
  }
  for (const transactions of await Promise.all(writing)) expect(transactions).toBeGreaterThan(20);
});

test(`with repair: true, what somebody makes different is mended again and again while both go on (seed ${SEED})`, async () => {
  const random = new Random(SEED + 10);
  const loaded = config.load();
  const pipeline = { ...loaded.config.pipelines['main'], verify: { every: 10, rate: 1_000_000, repair: true } } as PipelineConfig;
  const rules = loadRuleFiles(loaded, 'main', pipeline).files;
  const watch = new VerifyWatch({ config: loaded.config, name: 'main', pipeline, rules, clock: systemClock, logger: silentLogger });
  const stop = new AbortController();
  const stopWriting = new AbortController();
  const verifying = watch.run(stop.signal);
  const writing = traffic(new Random(SEED + 11), stopWriting.signal);
  try {
    for (let round = 0; round < 3; round++) {
      // Others each time: one that is made different again before it was seen to be mended is only mended the next time.
      const ids = new Set(Array.from({ length: 8 }, () => 1000 + 7 * (130 * round + random.below(130)) + 3));
      const surplus = 99_000 + round;
      const keys = [...ids].join(', ');
      const rowsOf = async (connection: PgConnection, table: string): Promise<unknown> =>
        (await connection.query(`select id, amount, note from ${table} where id in (${keys}, ${surplus}) order by id`)).rows;
      const wanted = await rowsOf(sql, 'orders');
      await lake.script(`delete from shop.orders where id in (${keys}) and id % 2 = 0; update shop.orders set amount = 8999, note = 'other' where id in (${keys});
        insert into shop.orders (id, amount) values (${surplus}, 1)`);
      await eventually(
        async () => JSON.stringify(await rowsOf(lake, 'shop.orders')) === JSON.stringify(wanted),
        `round ${round}: what was made different is mended`,
      );
    }
  } finally {
    stopWriting.abort();
    await writing;
    stop.abort();
    await verifying;
  }
  expect((await verify()).result.equal).toBe(true);
});

test('a table takes no more memory for having many rows', async () => {
  const rows = 100_000;
  await using from = await createDatabase(inject('sourceServer'), 'v');
  await using to = await createDatabase(inject('targetServer'), 'v');
  await using one = await PgConnection.connect({ url: from.url });
  await using other = await PgConnection.connect({ url: to.url });
  const fill = `insert into orders select n, 'note of the row with the number ' || n from generate_series(1, ${rows}) n`;
  const create = 'create table orders (id bigint primary key, note text)';
  await Promise.all([
    one.script(`${create}; ${fill}`),
    other.script(`create schema shop; set search_path = shop; ${create}; ${fill}; reset search_path`),
  ]);
  // A lane that has brought everything.
  const options = {
    name: 'lake',
    url: to.url,
    schema: 'shop',
    tables: { create: true, widen: true },
    hold: () => null,
    scores: [],
    pipeline: 'main',
  };
  await (await postgresSink(options))[Symbol.asyncDispose]();
  await other.script(`insert into tidegate.lanes (lane, epoch, position) values ('shop/${from.name}', 1, 'ffffffffffffffff')`);
  await other.script('delete from shop.orders where id in (1, 77777, 100000)');
  using large = configFolder(
    { sources: { shop: { kind: 'postgres', url: from.url, slot: from.name, publication: 'verify', tables: ['public.orders'] } } },
    {},
    { source: from.url, target: to.url },
  );
  // A list of all keys alone would not fit.
  const args = ['--max-old-space-size=28', 'app/cli/main.ts', 'verify', large.file, '--json'];
  const stdout = await new Promise<string>((done) => execFile(process.execPath, args, (_, text) => done(text)));
  const { pipelines } = JSON.parse(stdout) as Result;
  expect(pipelines[0].tables.map((table) => [table.rows, shown(table)])).toEqual([
    [rows, ['lost missing 1', 'lost missing 100000', 'lost missing 77777']],
  ]);
});
