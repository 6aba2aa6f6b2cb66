/** What the service says of itself while a server is down, unreachable or silent, and that it goes on by itself afterwards. */
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { CutProxy } from '../e2e/proxy.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ask, configFolder, startService, type TestConfig, untilReady } from './services.ts';

let source: TestDatabase;
let target: TestDatabase;
let toSource: CutProxy;
let toTarget: CutProxy;
let sql: PgConnection;
let lake: PgConnection;
let config: TestConfig;
let running: Awaited<ReturnType<typeof startService>>;
let order = 1;

beforeAll(async () => {
  [source, target] = await Promise.all([createDatabase(inject('sourceServer'), 'out'), createDatabase(inject('targetServer'), 'out')]);
  [toSource, toTarget] = await Promise.all([CutProxy.listen(portOf(source)), CutProxy.listen(portOf(target))]);
  sql = await PgConnection.connect({ url: source.url });
  lake = await PgConnection.connect({ url: target.url });
  await sql.script("create table orders (id bigint primary key, status text not null); insert into orders values (0, 'new')");
  const urls = { source: through(toSource, source), target: through(toTarget, target) };
  const shop = { kind: 'postgres', url: urls.source, slot: source.name, publication: 'tidegate_shop', tables: ['public.orders'] };
  config = configFolder({ sources: { shop } }, {}, urls);
  running = await startService(config);
});
beforeEach(() => isReady());
afterAll(async () => {
  await running?.[Symbol.asyncDispose]();
  config?.[Symbol.dispose]();
  await Promise.all([sql?.close(), lake?.close()]);
  await Promise.all([toSource?.[Symbol.asyncDispose](), toTarget?.[Symbol.asyncDispose]()]);
  await Promise.all([source?.[Symbol.asyncDispose](), target?.[Symbol.asyncDispose]()]);
});

const portOf = ({ url }: TestDatabase) => Number(new URL(url).port);
function through(proxy: CutProxy, { url }: TestDatabase): string {
  const way = new URL(url);
  way.port = String(proxy.port);
  return way.href;
}
const isReady = () => untilReady(running.url);
const saysNotReady = (why: RegExp) =>
  eventually(
    async () => {
      const { status, text } = await ask(running.url, '/readyz');
      return status === 503 && why.test(text);
    },
    `/readyz says ${String(why)}`,
  );
const errorOf = async () =>
  ((await ask(running.url, '/api/status')).json as { pipelines: { state: string; error: { code: string; fix: string } | null }[] })
    .pipelines[0];
/** A change made now reaches the target. */
async function flows(): Promise<void> {
  const id = order++;
  await sql.script(`insert into orders values (${id}, 'new')`);
  await eventually(
    async () => (await lake.query(`select 1 from shop.orders where id = ${id}`)).rows.length === 1,
    `order ${id} arrives`,
    30_000,
  );
}

describe.each([
  ['source', () => toSource],
  ['target', () => toTarget],
])('while the %s is down', (role, proxy) => {
  test(`/readyz and the status say so, /healthz does not, and it goes on by itself`, async () => {
    await flows();
    proxy().close();
    await saysNotReady(new RegExp(`the Postgres server at 127\\.0\\.0\\.1:${proxy().port}`));
    await sql.script(`insert into orders values (${order++}, 'new')`); // A lane with nothing to write does not notice a target that is away.
    await eventually(async () => (await errorOf())?.state === 'backing-off', 'it backs off');
    expect(await errorOf()).toMatchObject({
      error: { code: `${role.toUpperCase()}_UNREACHABLE`, fix: `Check that the ${role} is up and reachable.` },
    });
    expect((await ask(running.url, '/healthz')).status).toBe(200);
    expect((await ask(running.url, '/api/quarantine')).status).toBe(role === 'target' ? 503 : 200);
    expect((await ask(running.url, '/metrics')).text).toMatch(/^tidegate_pipeline_state\{pipeline="main",state="backing-off"\} 1$/m);
    proxy().open();
    await isReady();
    await flows();
  });
});

test('a target that is silent is not taken for one that is there', async () => {
  await flows();
  toTarget.silence();
  await saysNotReady(/the target has not answered for \d/);
  toTarget.open();
  await isReady();
  await flows();
});

test.each([
  ['source', () => toSource],
  ['target', () => toTarget],
])('a %s that is silent does not keep the service from stopping', async (_role, proxy) => {
  await flows();
  proxy().silence();
  const startedMs = performance.now();
  await running.service.stop(500);
  expect(performance.now() - startedMs).toBeLessThan(10_000);
  proxy().open();
  running = await startService(config);
  await isReady();
  await flows();
});
