/** The service between two real databases: what it answers about them over HTTP and on the command line, and what it remembers. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { plainMapping, linearModel } from '../inference/models.ts';
import { type Told, webhookReceiver } from '../support/receiver.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { cli, cliIn } from './cli.ts';
import { ask, configFolder, post, startService, type TestConfig, untilReady, upload } from './services.ts';

interface Item {
  readonly id: string;
  readonly key: string;
  readonly status: string;
  readonly by: string | null;
  readonly why: string | null;
  readonly findings: readonly { readonly rule: string }[];
}
interface Page {
  readonly items: readonly Item[];
  readonly next: string | null;
}

const SCORED =
  'checks: [{id: scored, abstain_rate: {model: risk, max: 0}, window: {every: 1s, out_of_order: 0s, lateness: 0s, idle: 1s}}]\n';
const STRICT =
  ruleFile('orders', 'event', 'status: [{id: known-status, in_set: [new, paid]}]', 'a: [{id: not-negative, between: {min: 0}}]') + SCORED;
/** As the strict ones, but for one status more. */
const MENDED = STRICT.replace('[new, paid]', '[new, paid, lost]');

let source: TestDatabase;
let target: TestDatabase;
let sql: PgConnection;
let lake: PgConnection;
let config: TestConfig;
let running: Awaited<ReturnType<typeof startService>>;
const told: Told[] = [];
const receiver = webhookReceiver(told);

beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  [source, target] = await Promise.all([createDatabase(inject('sourceServer'), 'app'), createDatabase(inject('targetServer'), 'app')]);
  sql = await PgConnection.connect({ url: source.url });
  lake = await PgConnection.connect({ url: target.url });
  await sql.script(`
    create table orders (id bigint primary key, status text not null, a double precision, b double precision);
    insert into orders select n, case when n % 5 = 0 then 'lost' else 'new' end, n, 1 from generate_series(1, 20) n;
    analyze orders;
  `);
  config = configFolder(
    {
      sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'tidegate_shop', tables: ['public.orders'] } },
      pipelines: {
        main: {
          source: 'shop',
          target: 'lake',
          datasets: './*.rules.yaml',
          models: [
            {
              model: 'risk',
              dataset: 'shop.public.orders',
              write: { score: 'risk', model: 'risk_model' },
              routes: [
                { when: 'score > 100', do: 'quarantine' },
                { when: 'score > 50', do: 'alert', severity: 'critical' },
              ],
              deadline: '5s',
            },
          ],
        },
      },
      alerts: {
        someone: {
          kind: 'webhook',
          url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
          secret: `whsec_${Buffer.alloc(24, 7).toString('base64')}`,
          events: ['model.*', 'score.alert'],
          allowNetworks: ['127.0.0.1/32'],
        },
      },
    },
    { 'orders.rules.yaml': STRICT },
    { source: source.url, target: target.url },
  );
  running = await startService(config);
  await ready();
});

afterAll(async () => {
  await running?.[Symbol.asyncDispose]();
  receiver.close();
  config?.[Symbol.dispose]();
  await Promise.all([sql?.close(), lake?.close()]);
  await Promise.all([source?.[Symbol.asyncDispose](), target?.[Symbol.asyncDispose]()]);
});

const ready = () => untilReady(running.url);
async function restart(rules: string): Promise<void> {
  await running[Symbol.asyncDispose]();
  writeFileSync(join(config.folder, 'orders.rules.yaml'), rules);
  running = await startService(config);
}
async function rows(connection: PgConnection, statement: string): Promise<readonly string[]> {
  return (await connection.query(statement)).rows.map((row) => row.join('|'));
}
const arrives = (id: number, status: string) =>
  eventually(
    async () => (await rows(lake, `select status from shop.orders where id = ${id}`))[0] === status,
    `order ${id} is ${status} at the target`,
  );
const page = async (query = '') => (await ask(running.url, `/api/quarantine?limit=500&${query}`)).json as Page;
async function itemOf(key: number): Promise<Item> {
  const found = (await page(`key=${key}`)).items[0];
  if (found === undefined) throw new Error(`order ${key} is not in the quarantine`);
  return found;
}
const isHeld = (key: number, count = 1) =>
  eventually(async () => (await page(`key=${key}`)).items.length === count, `order ${key} is in the quarantine ${count} times`);
const dryRun = async (...ids: readonly string[]) =>
  ((await post(running.url, '/api/quarantine/release', { ids, dryRun: true })).json as { results: { outcome: string }[] }).results.map(
    ({ outcome }) => outcome,
  );

test('once the first copy is done it is ready: good rows at the target, bad ones held, everything accounted for', async () => {
  expect(await rows(lake, 'select count(*) from shop.orders')).toEqual(['16']);
  expect((await page()).items.map(({ key, status }) => `${key} ${status}`).sort()).toEqual(['10 held', '15 held', '20 held', '5 held']);
  // The counts are asked for every so often.
  await eventually(
    async () => (await ask(running.url, '/metrics')).text.includes('status="held"} 4\n'),
    'the counts of the quarantine are known',
  );
  const { json } = await ask(running.url, '/api/status');
  expect(json).toMatchObject({
    ready: true,
    pipelines: [
      {
        state: 'running',
        error: null,
        snapshot: [{ dataset: 'shop.public.orders', state: 'done' }],
        datasets: [{ judged: true, ruleFile: 'orders.rules.yaml', totals: { in: 20, held: 4 }, quarantine: { held: 4 } }],
        models: [{ model: 'risk', alias: 'production', version: null, state: 'missing' }],
      },
    ],
  });
  const lanes = await cli('lanes', config.file, '--json');
  expect([lanes.code, lanes.json]).toMatchObject([
    0,
    {
      lanes: [
        { lane: 'replay:main', closed: true },
        { lane: `shop/${source.name}`, closed: true },
      ],
    },
  ]);
});

describe('looking at the quarantine', () => {
  test('it is paged newest first, each item once, and filtered by what the query says', async () => {
    const seen: string[] = [];
    let next: string | null = '';
    for (let pages = 0; next !== null; pages++) {
      expect(pages).toBeLessThan(4);
      const { json } = await ask(running.url, `/api/quarantine?limit=2${next === '' ? '' : `&after=${encodeURIComponent(next)}`}`);
      const { items, next: following } = json as Page;
      seen.push(...items.map(({ key }) => key));
      next = following;
    }
    expect(seen.sort()).toEqual(['10', '15', '20', '5']);
    const count = async (query: string) => (await page(query)).items.length;
    expect(
      await Promise.all(
        [
          'rule=known-status',
          'rule=not-negative',
          'key=5',
          'dataset=shop.public.orders',
          'dataset=x.y.z',
          'status=held',
          'pipeline=main',
          'pipeline=other',
        ].map(count),
      ),
    ).toEqual([4, 0, 1, 4, 0, 4, 4, 0]);
    expect(
      await Promise.all(
        ['status=applied', 'status=applied&status=held', 'from=2020-01-01T00:00:00Z', 'to=2020-01-01T00:00:00Z'].map(count),
      ),
    ).toEqual([0, 4, 4, 0]);
    expect((await ask(running.url, '/api/quarantine?after=nonsense')).status).toBe(409);
  });

  test('one item is shown with its row and its reasons, over HTTP and on the command line', async () => {
    const { id } = await itemOf(5);
    const { status, json } = await ask(running.url, `/api/quarantine/${encodeURIComponent(id)}`);
    expect([status, json]).toMatchObject([
      200,
      {
        id,
        pipeline: 'main',
        op: 'read',
        key: '5',
        status: 'held',
        findings: [{ stage: 'quality', rule: 'known-status', column: 'status' }],
      },
    ]);
    const { columns } = json as { columns: { name: string; key: boolean; after: string | null }[] };
    expect(columns.map(({ name, key, after }) => [name, key, after])).toEqual([
      ['id', true, '5'],
      ['status', false, 'lost'],
      ['a', false, '5'],
      ['b', false, '1'],
    ]);
    expect((await cli('quarantine', 'show', config.file, id, '--json')).json).toEqual(json);
    expect((await cli('quarantine', 'show', config.file, id)).stdout).toMatch(
      /known-status[^]*COLUMN +TYPE +AFTER\n[^]*status +text +lost/,
    );
    expect((await ask(running.url, '/api/quarantine/shop.public.orders%2Fnobody%40x%230')).status).toBe(404);
    expect((await cli('quarantine', 'show', config.file, 'nobody')).code).toBe(2);
  });

  test('the command line lists what HTTP lists', async () => {
    const listed = await cli('quarantine', 'list', config.file, '--rule', 'known-status', '--since', '1h', '--json');
    expect(listed.json).toEqual((await ask(running.url, '/api/quarantine')).json);
    expect((await cli('quarantine', 'list', config.file, '--key', '5')).stdout).toMatch(
      /^HELD +STATUS .*\n.* held +shop\.public\.orders +read +5 +known-status /,
    );
    expect((await cli('quarantine', 'list', config.file, '--status', 'applied')).stdout).toBe('Nothing.\n');
    const misspelled = await cli('quarantine', 'list', config.file, '--dataset', 'shop.public.order');
    expect([misspelled.code, misspelled.stderr]).toEqual([
      2,
      expect.stringMatching(/there is no dataset shop\.public\.order\n +Did you mean shop\.public\.orders\?/),
    ]);
  });

  test('what is held of a table that is no longer in the config is still there to be settled', async () => {
    const shop = { kind: 'postgres', url: source.url, slot: source.name, publication: 'tidegate_shop', tables: ['public.others'] };
    using without = configFolder({ sources: { shop } }, {}, { source: source.url, target: target.url });
    const { json } = await cli('quarantine', 'list', without.file, '--dataset', 'shop.public.orders', '--json');
    const { items } = json as Page;
    expect(items).toHaveLength(4);
    expect((await cli('quarantine', 'show', without.file, items[0]?.id ?? '')).code).toBe(0);
    expect((await cli('quarantine', 'release', without.file, '--dataset', 'shop.public.orders', '--dry-run')).stdout).toMatch(
      /^OUTCOME .*\n(would pass .*\n){4}$/,
    );
  });
});

describe('settling it', () => {
  test('while the rules are as they were, releasing would come to nothing, and says so', async () => {
    const [held, unknown] = [(await itemOf(5)).id, 'shop.public.orders/99@0#0'];
    expect(await dryRun(held, unknown)).toEqual(['still-fails', 'unknown']);
    const { code, json } = await cli('quarantine', 'release', config.file, '--key', '5', '--dry-run', '--json');
    expect([code, json]).toMatchObject([
      0,
      { dryRun: true, results: [{ id: held, outcome: 'still-fails', findings: [{ rule: 'known-status' }] }], notAsked: [], released: [] },
    ]);
    expect((await itemOf(5)).status).toBe('held');
  });

  test('a discarded one never reaches the target, and keeps who and why', async () => {
    const { json } = await post(running.url, '/api/quarantine/discard', { filter: { key: '20' }, why: 'a test order' });
    expect(json).toEqual({ discarded: [(await itemOf(20)).id] });
    expect(await itemOf(20)).toMatchObject({ status: 'discarded', by: 'local', why: 'a test order' });
    expect((await cli('quarantine', 'discard', config.file, '--key', '15', '--why', 'another', '--by', 'ann', '--json')).code).toBe(0);
    expect(await itemOf(15)).toMatchObject({ status: 'discarded', by: 'ann', why: 'another' });
    expect(await dryRun((await itemOf(15)).id)).toEqual(['settled']);
  });

  test('under mended rules they are released: applied where the target has nothing newer, superseded where it has', async () => {
    await sql.script("update orders set status = 'paid' where id = 10");
    await arrives(10, 'paid');
    await restart(MENDED);
    await ready();
    const [five, ten] = [(await itemOf(5)).id, (await itemOf(10)).id];
    expect(await dryRun(five, ten)).toEqual(['would-pass', 'superseded']);
    expect((await cli('quarantine', 'release', config.file, five, '--by', 'ann', '--json')).json).toMatchObject({ released: [five] });
    expect((await post(running.url, '/api/quarantine/release', { ids: [ten] })).json).toMatchObject({ released: [ten] });
    await arrives(5, 'lost');
    await eventually(async () => (await itemOf(10)).status === 'superseded', 'the other one is superseded');
    expect([await itemOf(5), await rows(lake, 'select status from shop.orders where id = 10')]).toMatchObject([
      { status: 'applied', by: 'ann' },
      ['paid'],
    ]);
  });
});

test('a model is taken up by the running pipeline when it is registered', async () => {
  const mapping = { ...plainMapping, columns: { a: 'float', b: 'float' } };
  // Its process is started without a change that asks for it, and `ready` is said of a version only once it is the one that scores.
  const register = async (version: string, weights: readonly number[]) => {
    expect((await upload(running.url, 'risk', linearModel(weights), mapping)).status).toBe(201);
    await eventually(async () => {
      const { pipelines } = (await ask(running.url, '/api/status')).json as {
        pipelines: [{ models: [{ version: string; state: string }] }];
      };
      expect(pipelines[0].models[0].version).toBe(version);
      return pipelines[0].models[0].state === 'ready';
    }, `risk@${version} is ready`);
  };
  await register('1', [1, 0.5]);
  await sql.script("insert into orders values (31, 'new', 2, 1)");
  await arrives(31, 'new');
  expect(await rows(lake, 'select risk, risk_model from shop.orders where id = 31')).toEqual(['2.5|risk@1']);
  expect((await ask(running.url, '/api/models/risk/versions/1')).json).toMatchObject({ usedBy: ['main'] });
  await register('2', [2, 0]);
  await sql.script("insert into orders values (321, 'new', 2, 1)");
  await arrives(321, 'new');
  expect(await rows(lake, 'select risk, risk_model from shop.orders where id = 321')).toEqual(['4|risk@2']);
  await sql.script("insert into orders values (322, 'new', 40, 1)");
  await arrives(322, 'new');
  const heard = (type: string) => told.filter((alert) => alert.type === type).map(({ data }) => data);
  await eventually(() => heard('score.alert').length > 0, 'the alert of the route');
  expect(heard('score.alert')).toMatchObject([{ rule: 'risk.route[1]', severity: 'critical', count: 1, keys: ['322'] }]);
  expect(heard('model.registered')).toMatchObject([{ version: '1' }, { version: '2', aliases: ['production'] }]);
  expect(heard('model.unavailable')).toMatchObject([{ model: 'risk@production', message: 'risk@production is not registered' }]);
  // Of the rows of the snapshot, for which there was no model, and of those that it scored.
  await eventually(async () => {
    const { windows } = (await ask(running.url, '/api/windows?rule=scored')).json as {
      windows: readonly { startMs: number | null; verdict: string; observed: unknown }[];
    };
    const said = windows.map(
      ({ startMs, verdict, observed }) => `${startMs === null ? 'snapshot' : 'stream'} ${verdict} ${String(observed)}`,
    );
    return said.includes('snapshot fail 1') && said.includes('stream pass 0');
  }, 'windows say which rows have a score');
});

test('a row that a model’s route held would pass, for a person lets it: so says the dry run, and so it is', async () => {
  await sql.script("insert into orders values (32, 'new', 200, 1), (33, 'new', 300, 1)");
  await isHeld(32);
  await isHeld(33);
  await sql.script("update orders set status = 'bad' where id = 33");
  await isHeld(33, 2);
  const items = [await itemOf(32), ...(await page('key=33')).items];
  expect(items.map(({ findings }) => findings.map(({ rule }) => rule))).toEqual([['risk.route[0]'], ['known-status'], ['risk.route[0]']]);
  expect(await dryRun(...items.map(({ id }) => id))).toEqual(['would-pass', 'still-fails', 'would-pass']);
  expect((await post(running.url, '/api/quarantine/release', { ids: [items[0]?.id] })).status).toBe(200);
  await arrives(32, 'new');
  await post(running.url, '/api/quarantine/discard', { filter: { pipeline: 'main', key: '33' }, why: 'only a test' });
  expect((await page('key=33&status=held')).items).toEqual([]);
});

test('a halt by a person holds over a restart, is said by /readyz, and nothing moves until it is resumed', async () => {
  expect((await post(running.url, '/api/pipelines/main/halt', { why: 'the night' })).status).toBe(202);
  await restart(MENDED);
  await sql.script("insert into orders values (41, 'new', 1, 1)");
  const { status, text } = await ask(running.url, '/readyz');
  // Nobody has asked the target how far the copies are: they are done.
  expect([status, text]).toEqual([503, expect.stringMatching(/halted.*the night/) as unknown]);
  expect([text, (await ask(running.url, '/metrics')).text]).toEqual([
    expect.not.stringContaining('still being copied'),
    expect.not.stringMatching(/^tidegate_snapshot_done/m),
  ]);
  expect(await cli('status', config.file, '--json')).toMatchObject({ code: 1 });
  expect(await rows(lake, 'select 1 from shop.orders where id = 41')).toEqual([]);
  expect((await ask(running.url, '/api/pipelines/main/resume', { method: 'POST' })).status).toBe(202);
  await arrives(41, 'new');
  await ready();
});

test('once nothing comes any more it has caught up, however late the last change was', async () => {
  await sql.script("begin; insert into orders values (45, 'new', 1, 1); select pg_sleep(0.3); commit");
  await arrives(45, 'new');
  await eventually(async () => {
    const { pipelines } = (await ask(running.url, '/api/status')).json as { pipelines: { lagMs: number | null }[] };
    return pipelines[0]?.lagMs === 0;
  }, 'it has caught up');
});

test('while it is halted it falls behind: the status, the metrics and what it is ready for say so', async () => {
  const lagMs = async () => {
    const { pipelines } = (await ask(running.url, '/api/status')).json as { pipelines: { lagMs: number | null }[] };
    return pipelines[0]?.lagMs ?? null;
  };
  await eventually(async () => (await lagMs()) === 0, 'it has caught up');
  expect((await post(running.url, '/api/pipelines/main/halt', { why: 'the night' })).status).toBe(202);
  await sql.script("insert into orders values (46, 'new', 1, 1)");
  await eventually(async () => ((await lagMs()) ?? 0) > 1000, 'it says that it is behind');
  expect((await ask(running.url, '/metrics')).text).toMatch(/^tidegate_lane_lag_seconds\{pipeline="main".*\} [1-9]/m);
  expect((await ask(running.url, '/api/pipelines/main/resume', { method: 'POST' })).status).toBe(202);
  await arrives(46, 'new');
});

test('connections that are cut are made again, and nothing is lost', async () => {
  await sql.script("insert into orders values (51, 'new', 1, 1)");
  await lake.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()');
  await sql.query('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()');
  await sql.script("insert into orders values (52, 'bad', 1, 1), (53, 'new', 1, 1)");
  await arrives(51, 'new');
  await arrives(53, 'new');
  await isHeld(52);
  await ready();
  expect((await cli('lanes', config.file)).code).toBe(0);
  expect(await rows(lake, 'select id, status, a, b from shop.orders order by id')).toEqual(
    await rows(sql, 'select id, status, a, b from orders where id not in (15, 20, 33, 52) order by id'),
  );
});

test('init writes a config and rules that check accepts', async () => {
  const out = join(config.folder, 'first');
  const init = await cli('init', '--source', source.url, '--target', target.url, '--out', out, '--name', 'mine', '--json');
  expect([init.code, init.json]).toEqual([0, { files: [join(out, 'tidegate.yaml'), join(out, 'datasets/orders.yaml')], skipped: [] }]);
  const text = readFileSync(join(out, 'tidegate.yaml'), 'utf8') + readFileSync(join(out, 'datasets/orders.yaml'), 'utf8');
  expect([text.includes('postgres://'), text.includes(source.name)]).toEqual([false, false]);
  const urls = { SOURCE_URL: source.url, TARGET_URL: target.url };
  const checked = await cliIn(urls, 'check', join(out, 'tidegate.yaml'), '--json');
  expect([checked.code, checked.json]).toMatchObject([0, { ok: true }]);
  expect((await cli('init', '--source', source.url, '--target', target.url, '--out', out)).stderr).toMatch(/exists already/);
  expect((await cliIn(urls, 'check', config.file, '--json')).json).toMatchObject({ ok: true });
});

test('check holds rule files against their tables: columns that are not there, old rows that are not sent, drift', async () => {
  const out = join(config.folder, 'second');
  expect((await cli('init', '--source', source.url, '--target', target.url, '--out', out, '--name', 'mine')).code).toBe(0);
  writeFileSync(
    join(out, 'datasets/orders.yaml'),
    `apiVersion: quality/v1
kind: DatasetRules
dataset: mine.public.orders
schema: { columns: { id: int4 }, evolution: { add: warn } }
columns: { status: [immutable], statsu: [not_null] }
`,
  );
  const urls = { SOURCE_URL: source.url, TARGET_URL: target.url };
  const said = async () => {
    const { code, json } = await cliIn(urls, 'check', join(out, 'tidegate.yaml'), '--json');
    const { problems } = json as { problems: readonly { severity: string; message: string }[] };
    return [code, ...problems.map(({ severity, message }) => `${severity}: ${message}`)];
  };
  const unknown = 'error: mine.public.orders has no column "statsu"';
  expect(await said()).toEqual(expect.arrayContaining([2, unknown]));
  const run = await cliIn(urls, 'run', join(out, 'tidegate.yaml'));
  expect([run.code, run.stderr]).toEqual([
    2,
    expect.stringMatching(/columns\.statsu: mine\.public\.orders has no column "statsu"[^]*"status"/),
  ]);
  expect(await rows(sql, "select slot_name from pg_replication_slots where slot_name like '%mine%'")).toEqual([]);
  const file = join(out, 'datasets/orders.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace(', statsu: [not_null]', ''));
  const warned = await said();
  expect(warned).toEqual(
    expect.arrayContaining([
      0,
      'warning: status.immutable compares with old values, and the source sends only old keys of mine.public.orders',
      'warning: column a is new (schema.add_optional: warn)',
    ]),
  );
});

test('teardown removes slot and publication, and says so', async () => {
  await running[Symbol.asyncDispose]();
  expect(await cli('teardown', config.file, '--yes', '--json')).toMatchObject({
    code: 0,
    json: { dropped: [{ source: 'shop', slot: source.name }] },
  });
  expect(await rows(sql, 'select slot_name from pg_replication_slots where database = current_database()')).toEqual([]);
  expect(await rows(sql, 'select pubname from pg_publication')).toEqual([]);
});
