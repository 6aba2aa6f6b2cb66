/** Rules over windows in the service, between two real databases: what they say, whom they tell, and that a kill changes nothing of it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { inject, expect, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { type Told, webhookReceiver } from '../support/receiver.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, untilReady } from './services.ts';

const RULES = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
source: { event_time: after.at }
defaults: { window: { every: 1m, out_of_order: 0s, lateness: 30m, idle: 1h } }
columns:
  total: [{ mean: { between: [5, 50] } }]
  status: [{ distinct_in_set: [new, paid], group_by: shop }]
checks:
  - { id: volume, row_count: { min: 2 } }
  - freshness: { max: 1h }
`;
const TABLE = `create table orders (id bigint primary key, shop text not null, status text not null, total numeric(12,2), at timestamptz not null);
  alter table orders replica identity full;`;

interface Verdict {
  readonly rule: string;
  readonly startMs: number | null;
  readonly group: string | null;
  readonly verdict: string;
  readonly observed: unknown;
  readonly rows: number;
  readonly revision: number;
}

async function world(rules: string, alerts: Readonly<Record<string, unknown>> = {}) {
  const [source, target] = await Promise.all([
    createDatabase(inject('sourceServer'), 'win'),
    createDatabase(inject('targetServer'), 'win'),
  ]);
  const sql = await PgConnection.connect({ url: source.url });
  const lake = await PgConnection.connect({ url: target.url });
  await sql.script(
    `${TABLE} insert into orders values (1, 'a', 'new', 10, '2026-01-01 00:00:00+00'), (2, 'b', 'new', 30, '2026-03-01 00:00:00+00');`,
  );
  const config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'tidegate_win', tables: ['public.orders'] } },
      alerts,
    },
    { 'orders.rules.yaml': rules },
    { source: source.url, target: target.url },
  );
  return {
    sql,
    lake,
    config,
    /** The last verdict of every window, in words. */
    async said(): Promise<string[]> {
      const { rows } = await lake.query(
        `select distinct on (rule, starts, grp) rule, to_char(to_timestamp(starts / 1000) at time zone 'utc', 'HH24:MI'), grp, verdict, observed, rows
         from tidegate.window_results where starts >= 0 and win <> 'freshness' order by rule, starts, grp, revision desc`,
      );
      return rows.map((row) => row.map((cell) => cell ?? '-').join(' '));
    },
    async [Symbol.asyncDispose]() {
      config[Symbol.dispose]();
      await Promise.all([sql.close(), lake.close()]);
      await Promise.all([source[Symbol.asyncDispose](), target[Symbol.asyncDispose]()]);
    },
  };
}

/** Twelve minutes of a day long ago, in commit order; the last closes all windows before it. */
const STEPS: readonly string[] = [
  `insert into orders values (11, 'a', 'new', 10, '2026-05-01 10:00:05+00'), (12, 'a', 'new', 20, '2026-05-01 10:00:45+00')`,
  `update orders set total = 40, status = 'paid' where id = 12`,
  `insert into orders values (13, 'a', 'odd', 90, '2026-05-01 10:01:10+00'), (14, 'b', 'new', 80, '2026-05-01 10:01:20+00')`,
  `insert into orders values (15, 'a', 'new', 7, '2026-05-01 10:03:00+00'), (16, 'a', 'new', 8, '2026-05-01 10:03:01+00')`,
  `delete from orders where id = 16`,
  // Late by three minutes: the second verdict of 10:01.
  `insert into orders values (17, 'b', 'new', -150, '2026-05-01 10:01:30+00')`,
  `insert into orders values (99, 'a', 'new', 6, '2026-05-01 10:12:00+00')`,
];
const SAID = [
  'status.distinct_in_set 10:00 ["a"] pass - 2',
  'status.distinct_in_set 10:01 ["a"] fail - 1',
  'status.distinct_in_set 10:01 ["b"] pass - 2',
  'status.distinct_in_set 10:03 ["a"] pass - 1',
  'total.mean 10:00  pass 25 2',
  'total.mean 10:01  pass 6.666666666666667 3',
  'total.mean 10:03  pass 7 1',
  'volume 10:00  pass 2 2',
  'volume 10:01  pass 3 3',
  'volume 10:02  fail 0 0',
  'volume 10:03  fail 1 1',
  ...['10:04', '10:05', '10:06', '10:07', '10:08', '10:09', '10:10', '10:11'].map((minute) => `volume ${minute}  fail 0 0`),
];

test('a window that fails is one verdict: in the API, the command line, metrics and an alert, and late rows amend it', async () => {
  const told: Told[] = [];
  const receiver = webhookReceiver(told);
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  await using at = await world(RULES, {
    someone: {
      kind: 'webhook',
      url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
      secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}`,
      events: ['window.*'],
      allowNetworks: ['127.0.0.1/32'],
    },
  });
  const running = await startService(at.config);
  try {
    await untilReady(running.url);
    const windows = async (query = '') => (await ask(running.url, `/api/windows?${query}`)).json as { windows: readonly Verdict[] };
    await eventually(async () => (await windows('rule=total.mean')).windows.length === 1, 'the rows of the snapshot are judged');
    expect((await windows('rule=total.mean')).windows).toMatchObject([{ startMs: null, verdict: 'pass', observed: 20, rows: 2 }]);
    for (const step of STEPS) await at.sql.script(step);
    await at.sql.script(`insert into orders values (100, 'a', 'new', 6, '2026-05-01 09:10:00+00')`);
    await eventually(async () => (await at.said()).length >= SAID.length, 'all windows are closed');
    expect(await at.said()).toEqual(SAID);

    const startMs = Date.UTC(2026, 4, 1, 10, 1);
    const mean = (await windows('rule=total.mean')).windows.filter((one) => one.startMs === startMs);
    // Whether the first verdict was there before the late row came is a matter of time; what it said is not.
    expect(mean.map(({ revision, verdict, observed }) => [revision, verdict, observed])).toEqual([
      [2, 'pass', 6.666666666666667],
      [1, 'fail', 85],
    ]);
    await eventually(async () => (await windows('rule=freshness')).windows.length === 1, 'the newest row is too old, which is told once');
    expect((await windows('rule=freshness')).windows.map(({ verdict }) => verdict)).toEqual(['fail']);
    const run = await cli('windows', 'list', at.config.file, '--json', '--verdict', 'fail', '--rule', 'status.distinct_in_set');
    expect([run.code, run.json]).toMatchObject([0, { windows: [{ rule: 'status.distinct_in_set', group: 'a', startMs, observed: null }] }]);
    expect((await cli('windows', 'list', at.config.file, '--newest')).code).toBe(1);
    await eventually(() => told.some(({ type, data }) => type === 'window.failed' && data['rule'] === 'volume'), 'somebody is told');
    await eventually(
      () => told.some(({ type, data }) => type === 'window.passed' && data['startMs'] === startMs),
      'and of the amended one',
    );
    expect((await ask(running.url, '/metrics')).text).toMatch(/tidegate_windows_total\{.*rule="volume",verdict="fail"\} \d+/);
    const tooLate = /tidegate_window_rows_left_out_total\{.*dataset="shop.public.orders",why="too_late"\} 1\n/;
    await eventually(async () => tooLate.test((await ask(running.url, '/metrics')).text), 'the row that came too late is counted');
    const status = (await ask(running.url, '/api/status')).json as { pipelines: readonly { windows: readonly Verdict[] }[] };
    expect(status.pipelines[0]?.windows.find(({ rule }) => rule === 'volume')).toMatchObject({ verdict: 'fail', observed: 0 });
    expect((await at.lake.query('select count(*) from shop.orders')).rows).toEqual([['10']]);
    // What a rule said last that is not in the files any more is no failure of today.
    writeFileSync(
      join(at.config.folder, 'orders.rules.yaml'),
      RULES.replace(/columns:[^]*/, 'checks: [{ id: other, row_count: { min: 0 } }]'),
    );
    expect((await cli('windows', 'list', at.config.file, '--newest')).code).toBe(0);
  } finally {
    await running[Symbol.asyncDispose]();
    receiver.close();
  }
}, 60_000);

/** Each minute is held against the ten before it: 2, 2, 0, 1 rows, and none from then on. */
const BESIDE_RULE = `
  - { id: beside, volume_anomaly: { baseline: 10m, min_windows: 3, sensitivity: 1 }, window: { lateness: 0s } }
  - { id: mix, column: status, js: { reference: { rolling: { windows: 2, values: 5 } }, max: 1 }, window: { lateness: 0s } }
`;
const BESIDE = [
  '10:00  indeterminate - 2',
  '10:01  indeterminate - 2',
  '10:02  indeterminate - 0',
  '10:03  fail 1 1',
  '10:04  fail 0 0',
  ...['10:05', '10:06', '10:07', '10:08', '10:09', '10:10', '10:11'].map((minute) => `${minute}  pass 0 0`),
].map((said) => `beside ${said}`);
/** Of the statuses of the two minutes before that had rows: new and paid, new and odd; then new alone. */
const MIX = ['mix 10:00  indeterminate - 2', 'mix 10:01  indeterminate - 2', 'mix 10:03  pass 0.31127812445913283 1'];

test('killed between any two steps, the windows come to the same, and those beside others do', async () => {
  await using at = await world(RULES.trimEnd() + BESIDE_RULE);
  let service = new ServiceProcess(at.config.file);
  try {
    await eventually(async () => {
      const known = await at.lake.query("select to_regclass('tidegate.window_results')");
      return known.rows[0]?.[0] !== null && (await at.lake.query('select from tidegate.window_results where starts < 0')).rows.length > 0;
    }, 'what was there has been copied and judged');
    for (const [index, step] of STEPS.entries()) {
      await at.sql.script(step);
      if (index % 2 === 1) continue;
      const ids = await at.sql.query('select count(*), sum(total) from orders');
      await eventually(
        async () => {
          const known = await at.lake.query("select to_regclass('shop.orders')");
          if (known.rows[0]?.[0] === null) return false;
          return JSON.stringify((await at.lake.query('select count(*), sum(total) from shop.orders')).rows) === JSON.stringify(ids.rows);
        },
        `the target has step ${index}`,
        30_000,
      );
      await service.kill();
      service = new ServiceProcess(at.config.file);
    }
    const all = [...BESIDE, ...MIX, ...SAID];
    await eventually(async () => (await at.said()).length >= all.length, 'all windows are closed', 30_000);
    expect(await at.said()).toEqual(all);
    const kept = await cli('reference', at.config.file, 'shop.public.orders', '--windows-of', 'mix', '--values', '5', '--json');
    expect(kept).toMatchObject({ code: 0, json: { column: 'status', values: ['new', 'odd'], weights: [2, 1], other_weight: 0 } });
  } finally {
    await service[Symbol.asyncDispose]();
  }
}, 120_000);

test('on_fail: halt stops the pipeline until somebody resumes it', async () => {
  await using at = await world(RULES.replace('row_count: { min: 2 }', 'row_count: { min: 2 }, on_fail: halt'));
  await using running = await startService(at.config);
  await untilReady(running.url);
  for (const step of STEPS) await at.sql.script(step);
  await eventually(async () => {
    const status = (await ask(running.url, '/api/status')).json as {
      pipelines: readonly { state: string; error: { code: string } | null }[];
    };
    return status.pipelines[0]?.state === 'halted' && status.pipelines[0].error?.code === 'WINDOW_FAILED';
  }, 'the pipeline is halted');
}, 60_000);

test('publish: after_window: rows of windows that passed are at the target, those of others held as lots, however often the service is killed', async () => {
  await using at = await world(RULES.replace('source:', 'publish: after_window\nsource:'));
  const ids = async () => (await at.lake.query('select id from shop.orders order by id')).rows.map(([id]) => Number(id));
  const kept = async () =>
    (
      await at.lake.query(
        "select to_char(to_timestamp(lot_starts / 1000) at time zone 'utc', 'HH24:MI'), status, op || ' ' || key from tidegate.quarantine order by lot_starts, version, id",
      )
    ).rows.map((row) => row.join(' '));
  const isThere = async () => (await at.lake.query("select to_regclass('tidegate.window_results')")).rows[0]?.[0] !== null;
  let service = new ServiceProcess(at.config.file);
  try {
    await eventually(async () => {
      return (await isThere()) && (await at.lake.query('select from tidegate.window_results where starts < 0')).rows.length > 0;
    }, 'what was there has been copied, and did not wait');
    expect(await ids()).toEqual([1, 2]);
    for (const [index, step] of STEPS.entries()) {
      await at.sql.script(step);
      const staged = async () => Number((await at.lake.query('select coalesce(sum(rows), 0) from tidegate.lots')).rows[0]?.[0]);
      // Steps have 2, 1, 2, 2, 1, 1 and 1 changes.
      if (index % 2 === 1)
        await eventually(async () => (await staged()) >= ([2, 3, 5, 7, 8, 9, 10][index] ?? 0), `step ${index} is staged`, 30_000);
      await service.kill();
      service = new ServiceProcess(at.config.file);
    }
    const waiting = async () => (await kept()).filter((one) => one.includes(' staged ')).length;
    await eventually(async () => (await waiting()) === 1 && (await ids()).length === 4, 'all lots but the last are settled', 30_000);
    expect(await ids()).toEqual([1, 2, 11, 12]);
    expect(await kept()).toEqual([
      '10:01 held insert 13',
      '10:01 held insert 14',
      '10:03 held insert 15',
      '10:03 held insert 16',
      '10:03 held delete 16',
      // Too late for its own window, so that it went with the next one.
      '10:03 held insert 17',
      '10:12 staged insert 99',
    ]);
    const lots = await cli('windows', 'lots', at.config.file, '--json');
    const settled = (lots.json as { lots: readonly { startMs: number; status: string; rows: number; rules: readonly string[] }[] }).lots;
    expect([lots.code, settled.map(({ status, rows, rules }) => [status, rows, rules])]).toEqual([
      0,
      [
        ['staged', 1, []],
        ['diverted', 4, ['volume']],
        ['diverted', 2, ['status.distinct_in_set', 'total.mean']],
        ['published', 3, []],
      ],
    ]);
    const verify = await cli('verify', at.config.file, '--json');
    expect(JSON.stringify(verify.json)).toContain('"held"');
    const dataset = ['--dataset', 'shop.public.orders'];
    await cli('quarantine', 'release', at.config.file, ...dataset, '--window', '2026-05-01T10:01:00Z');
    await cli('quarantine', 'discard', at.config.file, ...dataset, '--window', '2026-05-01T10:03:00Z', '--why', 'a bad lot');
    await eventually(async () => (await ids()).length === 6, 'the lot that was released is published', 30_000);
    expect(await ids()).toEqual([1, 2, 11, 12, 13, 14]);
  } finally {
    await service[Symbol.asyncDispose]();
  }
}, 120_000);

test('on_fail: hold keeps what comes after it until somebody lets it go on', async () => {
  await using at = await world(RULES.replace('row_count: { min: 2 }', 'row_count: { min: 2 }, on_fail: hold'));
  await using running = await startService(at.config);
  await untilReady(running.url);
  for (const step of STEPS) await at.sql.script(step);
  const held = async () => (await ask(running.url, '/api/lots')).json as { held: readonly { dataset: string; rule: string }[] };
  await eventually(async () => (await held()).held.length === 1, 'the dataset is held');
  expect((await held()).held).toMatchObject([{ dataset: 'shop.public.orders', rule: 'volume' }]);
  const isTold = async () => JSON.stringify((await ask(running.url, '/api/status')).json).includes('is held since the rule volume failed');
  await eventually(isTold, 'the status says so');
  // What lanes know of it may be a second old.
  let id = 1000;
  await eventually(async () => {
    await at.sql.script(`insert into orders values (${++id}, 'a', 'new', 6, '2026-05-01 10:12:00+00')`);
    return (await at.lake.query("select from tidegate.quarantine where status = 'staged'")).rows.length > 0;
  }, 'rows wait');
  expect((await cli('windows', 'lots', at.config.file)).code).toBe(1);
  expect((await cli('windows', 'resume', at.config.file, 'shop.public.orders')).code).toBe(0);
  expect((await cli('windows', 'resume', at.config.file, 'shop.public.orders')).code).not.toBe(0);
  await eventually(async () => (await at.lake.query(`select from shop.orders where id = ${id}`)).rows.length === 1, 'and go on');
  expect((await at.lake.query("select from tidegate.quarantine where status = 'staged'")).rows).toEqual([]);
}, 60_000);
