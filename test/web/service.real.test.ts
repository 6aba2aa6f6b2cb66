/// <reference lib="dom" />
/** The page over the real service between two databases: what is pressed there happens in the target, and a breaker is seen by everybody it concerns. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { cli } from '../app/cli.ts';
import { ask, configFolder, startService, type TestConfig, upload } from '../app/services.ts';
import { linearModel, plainMapping } from '../inference/models.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { launchBrowser, NO_BROWSER } from './browser.ts';

const RULES = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
version: 1
columns: {status: [{id: known-status, in_set: [new, paid]}]}
breaker: {open_when: {quarantined_ratio: 0.5, over: 1m, min_rows: 20}}
`;
const KEY = Buffer.from('a key that only the two of them know');

let browser: Browser | null = null;
let source: TestDatabase;
let target: TestDatabase;
let sql: PgConnection;
let lake: PgConnection;
let receiver: Awaited<ReturnType<typeof startReceiver>>;
let config: TestConfig;
let running: Awaited<ReturnType<typeof startService>>;
let page: Page;

beforeAll(async () => {
  browser = await launchBrowser();
  if (browser === null) return;
  [source, target, receiver] = await Promise.all([
    createDatabase(inject('sourceServer'), 'page'),
    createDatabase(inject('targetServer'), 'page'),
    startReceiver(),
  ]);
  sql = await PgConnection.connect({ url: source.url });
  lake = await PgConnection.connect({ url: target.url });
  await sql.script(`create table orders (id bigint primary key, status text not null, a double precision, b double precision);
    insert into orders values (1, 'new', 1, 1)`);
  config = configOf(0);
  running = await startService(config);
  await upload(running.url, 'risk', linearModel([1, 0]), { ...plainMapping, columns: { a: 'float', b: 'float' } });
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(15_000);
  await arrives(1);
  await page.goto(running.url);
  await page.locator('.pill', { hasText: 'Running' }).waitFor();
}, 330_000);
beforeEach((context) => context.skip(browser === null, NO_BROWSER));
afterAll(async () => {
  await browser?.close();
  await running?.[Symbol.asyncDispose]();
  config?.[Symbol.dispose]();
  await Promise.all([sql?.close(), lake?.close(), receiver?.[Symbol.asyncDispose]()]);
  await Promise.all([source?.[Symbol.asyncDispose](), target?.[Symbol.asyncDispose]()]);
});

function configOf(port: number): TestConfig {
  const shop = { kind: 'postgres', url: source.url, slot: source.name, publication: 'tidegate_shop', tables: ['public.orders'] };
  const secret = `whsec_${KEY.toString('base64')}`;
  const models = [{ model: 'risk', dataset: 'shop.public.orders', routes: [{ when: 'score > 100', do: 'quarantine' }], deadline: '5s' }];
  return configFolder(
    {
      sources: { shop },
      pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml', models } },
      alerts: { oncall: { kind: 'webhook', url: receiver.url, secret, events: ['breaker.*', 'lane.*'], allowNetworks: ['127.0.0.1/32'] } },
      http: { port },
    },
    { 'orders.rules.yaml': RULES },
    { source: source.url, target: target.url },
  );
}

const isThere = async (id: number) => (await lake.query(`select 1 from shop.orders where id = ${id}`).catch(() => null))?.rows.length === 1;
const arrives = (id: number) => eventually(() => isThere(id), `order ${id} arrives`, 30_000);
/** Thirty rows that pass no rule, and one behind them that does. */
const flood = (from: number) =>
  sql.script(
    `insert into orders select n, 'lost', 1, 1 from generate_series(${from}, ${from + 29}) n; insert into orders values (${from + 30}, 'new', 1, 1)`,
  );

test('a row that is released on the page is in the target, and no longer in the list', async () => {
  await sql.script("insert into orders values (7, 'new', 700, 1)");
  const row = page.locator('.quarantine tbody tr').filter({ hasText: /orders\s*7/ });
  await row.getByText('risk.route[0]').waitFor();
  expect(await isThere(7)).toBe(false);
  await row.getByRole('button', { name: 'Release' }).click();
  await page.getByRole('dialog').locator('.results').getByText('would pass').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Release', exact: true }).click();
  await arrives(7);
  await page.mouse.move(0, 0);
  await row.waitFor({ state: 'detached' });
});

test('too much in quarantine halts the lane: the page, /readyz and a signed webhook say so, and it goes on when resumed on the page', async () => {
  await flood(100);
  const banner = page.getByRole('alert').filter({ hasText: 'Halted: TOO_MUCH_QUARANTINE' });
  await banner.getByText(/shop\.public\.orders/).waitFor();
  const { status, text } = await ask(running.url, '/readyz');
  expect([status, text]).toEqual([503, expect.stringMatching(/halted/) as unknown]);
  await eventually(() => receiver.of('breaker.opened').length === 1 && receiver.of('lane.halted').length === 1, 'the receiver is told');
  expect(receiver.of('breaker.opened')).toMatchObject([
    {
      data: {
        pipeline: 'main',
        dataset: 'shop.public.orders',
        topRules: expect.arrayContaining([{ rule: 'known-status', count: 30 }]) as unknown,
      },
    },
  ]);
  await sql.script("insert into orders values (199, 'new', 1, 1)");
  expect(await isThere(199)).toBe(false);
  await banner.getByRole('button', { name: 'Resume…' }).click();
  await page.getByRole('button', { name: 'Resume', exact: true }).click();
  await arrives(199);
  await page.locator('.pill', { hasText: 'Running' }).waitFor();
  await eventually(() => receiver.of('lane.recovered').length === 1, 'the receiver is told that it goes on');
  expect(receiver.refused).toBe(0);
});

test('and once more, resumed on the command line', async () => {
  await flood(200);
  await page.getByRole('alert').filter({ hasText: 'Halted: TOO_MUCH_QUARANTINE' }).waitFor();
  using known = configOf(Number(new URL(running.url).port));
  await sql.script("insert into orders values (299, 'new', 1, 1)");
  expect((await cli('status', known.file)).stdout).toMatch(/main +halted .*TOO|main +halted .*quarantine/);
  expect(await cli('resume', known.file)).toMatchObject({ code: 0, stdout: 'main goes on.\n' });
  await arrives(299);
});

/** A receiver that knows nothing of ours, and takes what the Standard Webhooks specification says is signed. */
async function startReceiver() {
  const got: { readonly type: string; readonly data: unknown }[] = [];
  const ids = new Set<string>();
  let refused = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8');
      const id = String(request.headers['webhook-id']);
      if (!isSigned(request.headers, body)) refused++;
      else if (!ids.has(id)) got.push(JSON.parse(body) as (typeof got)[number]);
      ids.add(id);
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/alerts`,
    of: (type: string) => got.filter((one) => one.type === type),
    get refused() {
      return refused;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

function isSigned(headers: IncomingHttpHeaders, body: string): boolean {
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => String(headers[name]));
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > 300) return false;
  const wanted = createHmac('sha256', KEY).update(`${id}.${timestamp}.${body}`).digest();
  return (signatures ?? '').split(' ').some((signature) => {
    const [version, value = ''] = signature.split(',');
    const given = Buffer.from(value, 'base64');
    return version === 'v1' && given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}
