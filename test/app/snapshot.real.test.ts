/** Rows that are read beside the log, as people see and steer it: tables that are empty or come later, pauses, and rows that are read again. */
import { renameSync } from 'node:fs';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import type { SnapshotView } from '../../app/http/shapes.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { freePort } from '../../examples/embedded-postgres.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, type TestConfig, untilReady } from './services.ts';

let source: TestDatabase;
let target: TestDatabase;
let sql: PgConnection;
let lake: PgConnection;

beforeAll(async () => {
  [source, target] = await Promise.all([createDatabase(inject('sourceServer'), 'snap'), createDatabase(inject('targetServer'), 'snap')]);
  sql = await PgConnection.connect({ url: source.url });
  lake = await PgConnection.connect({ url: target.url });
  await sql.script(`
    create table orders (id int primary key, n int not null, note text);
    insert into orders select i, i, repeat('x', i % 50) from generate_series(1, 3000) i;
    create table nothing (a text collate "C", b numeric(8,2), c int[] not null, primary key (b, a));
    create table later (id int primary key, n int);
    create table later_empty (id int primary key);
    insert into later select i, i from generate_series(1, 500) i;
    analyze;
  `);
});

afterAll(async () => {
  await Promise.all([sql?.close(), lake?.close()]);
  await Promise.all([source?.[Symbol.asyncDispose](), target?.[Symbol.asyncDispose]()]);
});

const configOf = (tables: readonly string[], snapshot: Readonly<Record<string, unknown>> = {}): TestConfig =>
  configFolder(
    {
      sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'tidegate_shop', tables, snapshot } },
      pipelines: { main: { source: 'shop', target: 'lake' } },
    },
    {},
    { source: source.url, target: target.url },
  );

const rows = async (connection: PgConnection, statement: string): Promise<readonly string[]> =>
  (await connection.query(statement)).rows.map((row) => row.join(' '));

const columnsOf = (connection: PgConnection, table: string) =>
  rows(
    connection,
    `select attname, format_type(atttypid, atttypmod) from pg_attribute where attrelid = '${table}'::regclass and attnum > 0 order by attnum`,
  );

test('after the first copy every table is there, those without rows as well, and so is one that is added later; one that is left out stays', async () => {
  const first = ['public.orders', 'public.nothing'];
  {
    using config = configOf(first);
    await using running = await startService(config);
    await untilReady(running.url);
    expect(await columnsOf(lake, 'shop.nothing')).toEqual(await columnsOf(sql, 'nothing'));
    expect(await rows(lake, 'select count(*), sum(n) from shop.orders')).toEqual(await rows(sql, 'select count(*), sum(n) from orders'));
  }
  await sql.script(`update later set n = n + 1 where id < 10; insert into nothing values ('a', 1, '{2}')`);
  // What is copied is not copied again: a row that was taken away stays away.
  await lake.script('delete from shop.orders where id = 17');
  {
    using config = configOf([...first, 'public.later', 'public.later_empty']);
    await using running = await startService(config);
    await untilReady(running.url);
    await sql.script('update later set n = 0 where id = 500; insert into later_empty values (1)');
    await eventually(async () => (await rows(lake, 'select n from shop.later where id = 500'))[0] === '0', 'the added table is followed');
    await eventually(async () => (await rows(lake, 'select id from shop.later_empty'))[0] === '1', 'the empty one as well');
    expect(await rows(lake, 'select id, n from shop.later order by id')).toEqual(await rows(sql, 'select id, n from later order by id'));
    expect(await rows(lake, 'select a, b, c from shop.nothing')).toEqual(['a 1.00 {2}']);
    expect(await rows(lake, 'select count(*) from shop.orders')).toEqual(['2999']);
  }
  // What the config leaves out from now on stays as it is at the target.
  using fewer = configOf(['public.later']);
  await using left = await startService(fewer);
  await untilReady(left.url);
  await sql.script('delete from orders where id = 18; update later set n = -1 where id = 499');
  await eventually(async () => (await rows(lake, 'select n from shop.later where id = 499'))[0] === '-1', 'the other is followed');
  expect(await rows(lake, 'select count(*) from shop.orders')).toEqual(['2999']);
  await sql.script("insert into orders values (18, 18, repeat('x', 18))");
  await lake.script("insert into shop.orders select 17, 17, repeat('x', 17)");
});

test('a pause outlives the service, killed or not, while changes pass; resumed, what waited is read to its end', async () => {
  await sql.script(`create table sums (id int primary key, n int not null); insert into sums select i, i from generate_series(1, 2000) i`);
  const shop = { kind: 'postgres', url: source.url, slot: `${source.name}_sums`, publication: 'sums', tables: ['public.sums'] };
  const parts = { pipelines: { sums: { source: 'shop', target: 'lake' } }, http: { port: await freePort() } };
  const urls = { source: source.url, target: target.url };
  const withRate = (rate: number | undefined) =>
    configFolder({ ...parts, sources: { shop: { ...shop, snapshot: rate === undefined ? {} : { rate } } } }, {}, urls);
  const copied = async () => Number((await rows(lake, 'select count(*) from shop.sums'))[0]);
  const state = async (file: string) => (await cli('snapshot', file, 'status', '--json')).json as SnapshotView;

  using slow = withRate(100);
  {
    await using service = new ServiceProcess(slow.file);
    await eventually(async () => (await rows(lake, `select to_regclass('shop.sums')`))[0] !== '', 'the table is there');
    await eventually(async () => (await copied()) > 0, `rows come: ${service.lastWords}`);
    expect((await cli('snapshot', slow.file, 'pause')).code).toBe(0);
    await service.kill();
  }
  using fast = withRate(undefined);
  renameSync(fast.file, slow.file); // The same state, and nothing that slows it down.
  for (const round of [1, 2]) {
    await using service = new ServiceProcess(slow.file);
    const known = (await rows(sql, `update sums set n = -${round} where id = 1 returning n`)).join();
    await eventually(async () => (await rows(lake, 'select n from shop.sums where id = 1')).join() === known, 'changes pass');
    expect(await state(slow.file)).toMatchObject({ waits: 'paused', paused: { by: 'local' } });
    expect((await ask(`http://127.0.0.1:${parts.http.port}`, '/readyz')).text).toMatch(/still being copied \(\d+[^)]*, paused\)/);
    expect(await copied()).toBeLessThan(2000);
    if (round === 1) await service.kill();
    else {
      expect((await cli('snapshot', slow.file, 'resume')).code).toBe(0);
      await untilReady(`http://127.0.0.1:${parts.http.port}`);
      expect(await state(slow.file)).toMatchObject({ waits: null, paused: null });
    }
  }
  expect(await rows(lake, 'select * from shop.sums order by id')).toEqual(await rows(sql, 'select * from sums order by id'));
});

test('killed while it copies, a service says how far the copies are before it may read the slot again, and goes on from there', async () => {
  await sql.script(`create table few (id int primary key); create table many (id int primary key); create table more (id int primary key);
    insert into few select generate_series(1, 40); insert into many select generate_series(1, 20000); insert into more select generate_series(1, 20000)`);
  const [slot, tables] = [`${source.name}_killed`, ['public.few', 'public.many', 'public.more']];
  const snapshot = { rate: 2000, chunkRows: 200, parallel: 2 };
  using config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: source.url, slot, publication: 'killed', tables, snapshot } },
      pipelines: { killed: { source: 'shop', target: 'lake' } },
      http: { port: await freePort() },
    },
    {},
    { source: source.url, target: target.url },
  );
  const state = async () => ((await cli('snapshot', config.file, 'status', '--json')).json as Partial<SnapshotView>).tables ?? [];
  const copied = async () => (await rows(lake, 'select count(*) from shop.many union all select count(*) from shop.more')).map(Number);
  {
    await using service = new ServiceProcess(config.file);
    await eventually(
      async () => (await rows(lake, `select to_regclass('shop.more')`))[0] !== '' && Math.min(...(await copied())) >= 400,
      `rows come: ${service.lastWords}`,
    );
    await service.kill();
  }
  const [many = 0, more = 0] = await copied();
  const kept = [
    { dataset: 'shop.public.few', rowsDone: 40, state: 'done' },
    { dataset: 'shop.public.many', rowsDone: many, state: 'waiting' },
    { dataset: 'shop.public.more', rowsDone: more, state: 'waiting' },
  ];
  // The server has not noticed yet that the process is gone.
  const reader = await PgConnection.connect({ url: source.url, replication: 'database' });
  await eventually(
    async () => (await rows(sql, `select active from pg_replication_slots where slot_name = '${slot}'`))[0] === 'f',
    'it is free',
  );
  await reader.copyBoth(`START_REPLICATION SLOT ${slot} LOGICAL 0/0 (proto_version '1', publication_names 'killed')`, {
    message: () => {},
    isBehind: () => false,
    drained: () => {},
  });
  await using service = new ServiceProcess(config.file);
  await eventually(async () => (await state()).some(({ rowsDone }) => rowsDone > 0), `something is known: ${service.lastWords}`);
  expect(await state()).toMatchObject(kept);
  await reader.close();
  // From there on, and never from less.
  await eventually(async () => {
    const now = await state();
    expect(now.every(({ rowsDone }, at) => rowsDone >= (kept[at]?.rowsDone ?? 0))).toBe(true);
    return now.slice(1).every(({ rowsDone }, at) => rowsDone > ([many, more][at] ?? 0));
  }, 'it goes on');
});

const BILLS = ruleFile('bills', 'key', 'n: [{id: not-negative, between: {min: 0}}]');

test('people have rows read again, by a condition, by keys and all of them: rules judge them, held keys wait, and a pause lets changes pass', async () => {
  await sql.script(`
    create table bills (id int primary key, n int not null);
    insert into bills select i, case i when 7 then -7 else i end from generate_series(1, 100) i;
    analyze bills;
  `);
  const shop = { kind: 'postgres', url: source.url, slot: `${source.name}_bills`, publication: 'bills', tables: ['public.bills'] };
  const parts = { sources: { shop }, pipelines: { bills: { source: 'shop', target: 'lake', datasets: './*.rules.yaml' } } };
  const urls = { source: source.url, target: target.url };
  using config = configFolder(parts, { 'bills.rules.yaml': BILLS }, urls);
  await using running = await startService(config);
  await untilReady(running.url);
  const port = Number(new URL(running.url).port);
  using known = configFolder({ ...parts, http: { port } }, { 'bills.rules.yaml': BILLS }, urls);

  const state = async () => (await cli('snapshot', known.file, 'status', '--json')).json as SnapshotView;
  const resnapshot = async (...flags: readonly string[]): Promise<string> => {
    const { code, json, stdout } = await cli('resnapshot', known.file, 'bills', 'shop.public.bills', '--json', ...flags);
    expect([stdout, code]).toEqual([stdout, 0]);
    return (json as { id: string }).id;
  };
  const isRead = async (id: string) =>
    eventually(async () => (await state()).rereads.some((one) => one.id === id && one.state === 'done'), `${id} is read`);
  const bills = (connection: PgConnection, where: string) =>
    rows(connection, `select id, n from ${connection === sql ? '' : 'shop.'}bills where ${where} order by id`);
  const held = async (key: number) =>
    ((await ask(running.url, `/api/quarantine?key=${key}`)).json as { items: { status: string }[] }).items.map(({ status }) => status);

  await sql.script('update bills set n = -15 where id = 15');
  await eventually(async () => (await held(15)).length === 1, 'a change is held');
  await lake.script(
    'delete from shop.bills where id between 10 and 20; update shop.bills set n = 0 where id = 30; insert into shop.bills values (9999, 1)',
  );

  await isRead(await resnapshot('--where', 'id between 5 and 20'));
  expect(await bills(lake, 'id <= 20')).toEqual(await bills(sql, 'id <= 20 and n > 0'));
  expect(await bills(lake, 'id = 30')).toEqual(['30 0']);
  expect([await held(7), await held(15)]).toEqual([
    ['held', 'held'],
    ['held', 'held'],
  ]);
  await isRead(await resnapshot('--keys', '30', '--keys', '["9999"]'));
  expect(await bills(lake, 'id >= 30')).toEqual(await bills(sql, 'id >= 30'));

  // What is mended at the source and was given up here comes by its key.
  await sql.script('update bills set n = id where n < 0');
  for (const key of [7, 15])
    await eventually(async () => (await held(key)).join(' ') === 'waiting held held', `what is mended of ${key} waits for what is held`);
  expect((await cli('quarantine', 'discard', known.file, '--all', '--why', 'mended')).code).toBe(0);
  await isRead(await resnapshot('--keys', '7', '--keys', '15'));
  expect(await bills(lake, 'true')).toEqual(await bills(sql, 'true'));

  expect((await cli('snapshot', known.file, 'pause')).stdout).toBe('The snapshot of bills waits.\n');
  await lake.script('delete from shop.bills where id < 50');
  const all = await resnapshot();
  await sql.script('update bills set n = 1000 where id = 100');
  await eventually(async () => (await bills(lake, 'id = 100'))[0] === '100 1000', 'changes pass');
  expect(await state()).toMatchObject({
    waits: 'paused',
    paused: { by: 'local', atMs: expect.any(Number) as unknown },
    tables: [{ dataset: 'shop.public.bills', state: 'done', rowsDone: 100 }],
    rereads: [{ id: all, state: 'reading', rowsDone: 0 }, {}, {}, {}],
  });
  expect((await cli('snapshot', known.file, 'status')).stdout).toMatch(
    /^Paused by local at [^]*\nshop\.public\.bills +reading +0 of about 100 /,
  );
  expect(await cli('snapshot', known.file, 'resume', '--json')).toMatchObject({ code: 0, json: { pipeline: 'bills', paused: false } });
  await isRead(all);
  expect(await bills(lake, 'true')).toEqual(await bills(sql, 'true'));

  for (const [dataset, flags, message] of [
    ['shop.public.bills', ['--where', 'm = 1'], /the source does not understand the condition: .*\n +Write it as/],
    ['shop.public.bills', ['--keys', '["1","2"]'], /the key of public\.bills is \(id\)/],
    ['shop.public.orders', [], /shop\.public\.orders is no dataset of shop/],
  ] as const) {
    const { code, stderr } = await cli('resnapshot', known.file, 'bills', dataset, ...flags);
    expect([code, stderr]).toEqual([2, expect.stringMatching(message) as unknown]);
  }
});
