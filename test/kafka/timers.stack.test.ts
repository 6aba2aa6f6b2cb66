/** Rules that ask databases, or hold one dataset against another, over topics that the real Debezium writes. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ask, configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { stack, startConnector } from './support.ts';

const head = (table: string): string =>
  `apiVersion: quality/v1\nkind: DatasetRules\ndataset: shop.public.${table}\nsource: { event_time: after.at }\n`;
const ORDERS = `${head('orders')}defaults: { window: { every: 1m, out_of_order: 0s, lateness: 1h, idle: 1s } }
checks:
  - { id: below, sql: { query: "select id from {batch} where total < 0", every: 1s } }
  - { id: above, sql: { query: "select max(total) from {batch}", on: source, max: 10, every: 1s } }
  - { id: proof, reconcile: { with: source, every: 1s } }
  - { id: lines, reconcile: { with: shop.public.lines, rows: false, sums: { total: amount }, checksum: [id, at], every: 1s } }
  - { id: as-many, row_count_equals: shop.public.lines }
`;
const MINUTE_MS = 60_000;
const TABLES = ['public.orders', 'public.lines'];

interface Said {
  readonly verdict: string;
  readonly observed: unknown;
  readonly reason: string | null;
  readonly startMs: number;
}

test('queries, reconciliations and rows beside those of another topic are judged as on other roads', async () => {
  // Lately, so that a window which the clock has closed is amended by what comes.
  const fromMs = Math.floor(Date.now() / MINUTE_MS - 5) * MINUTE_MS;
  const at = (minute: number, second: number) => `'${new Date(fromMs + minute * MINUTE_MS + second * 1000).toISOString()}'`;
  await using source = await createDatabase(inject('sourceServer'), 'timers');
  await using target = await createDatabase(inject('targetServer'), 'timers');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script(`
    create table orders (id bigint primary key, total numeric(10,2), at timestamptz);
    create table lines (id bigint primary key, amount numeric(10,2), at timestamptz);
    insert into orders values (1, 4, ${at(0, 30)});
    insert into lines values (1, 4, ${at(0, 30)});
  `);
  await using connector = await startConnector(source.url, TABLES, 'json', {
    'topic.creation.default.partitions': '2',
    'slot.drop.on.stop': 'false',
  });
  const { prefix } = connector;
  const database = { url: source.url, slot: `dbz_${prefix}`, publication: `dbz_${prefix}` };
  const topics = { kind: 'kafka', brokers: [stack.broker], group: `g-${prefix}`, prefix, tables: TABLES, oldRows: 'full', database };
  using config = configFolder(
    { sources: { shop: topics } },
    { 'orders.rules.yaml': ORDERS, 'lines.rules.yaml': head('lines') },
    { source: source.url, target: target.url },
  );
  await using running = await startService(config);
  await untilReady(running.url);
  const results = async (rule: string): Promise<readonly Said[]> => {
    const { json } = await ask(running.url, `/api/windows?pipeline=main&rule=${rule}`);
    return (json as { windows: readonly Said[] }).windows;
  };
  /** The newest one, once it fits: the databases are asked again and again. */
  const says = async (rule: string, expected: Readonly<Record<string, unknown>>, startMs?: number): Promise<void> => {
    await expect
      .poll(async () => (await results(rule)).find((one) => startMs === undefined || one.startMs === startMs), { timeout: 60_000 })
      .toMatchObject(expected);
  };
  await Promise.all(['below', 'above', 'proof', 'lines'].map((rule) => says(rule, { verdict: 'pass' })));

  await sql.script(`
    begin;
    insert into orders values (2, 1, ${at(1, 10)}), (3, 2, ${at(1, 20)}), (4, -5, ${at(2, 10)}), (5, 11, ${at(3, 0)});
    insert into lines values (2, 1, ${at(1, 10)}), (3, 2, ${at(1, 20)}), (4, -5, ${at(2, 10)}), (6, 1, ${at(2, 20)}),
      (7, 1, ${at(4, 0)});
    commit`);
  await says('below', { verdict: 'fail', observed: 1 });
  await says('above', { verdict: 'fail', observed: 11 });
  await says('lines', {
    verdict: 'fail',
    observed: { total: ['13.00', '4.00'] },
    reason: expect.stringContaining('such as only here {"id": "5"}, and') as unknown,
  });
  // A window may be closed before all of it has come, and is amended then.
  for (const [minute, verdict, self, other] of [
    [1, 'pass', 2, 2],
    [2, 'fail', 1, 2],
    [3, 'fail', 1, 0],
  ] as const)
    await says('as-many', { verdict, observed: { self, other } }, fromMs + minute * MINUTE_MS);

  await says('proof', { verdict: 'pass', rows: 5 });
  await lake.script(`delete from shop.orders where id = 2; update shop.orders set total = 3 where id = 3;
    insert into shop.orders (id, total) values (8, 8)`);
  const reason = expect.stringMatching(/ rows 2 lost, 1 surplus: 2 lost; 3 lost \(total\); 8 surplus$/) as unknown;
  await says('proof', { verdict: 'fail', observed: 3, reason });
}, 120_000);
