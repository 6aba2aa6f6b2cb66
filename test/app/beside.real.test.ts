/** A window beside the same window of another dataset, in the service between two real databases, killed between any two steps. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { configFolder } from './services.ts';

const rules = (table: string, checks = '') => `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.${table}
source: { event_time: after.at }
defaults: { window: { every: 1m, out_of_order: 0s, lateness: 30m, idle: 1h } }
${checks}`;
const EQUAL = 'checks: [{ id: shipped, row_count_equals: shop.public.parcels }]';

/** In commit order: the other table lags behind, and the last of both close all windows before them. */
const STEPS: readonly string[] = [
  `insert into orders values (1, '2026-05-01 10:00:05+00'), (2, '2026-05-01 10:00:45+00'), (3, '2026-05-01 10:01:10+00')`,
  `insert into parcels values (1, '2026-05-01 10:00:50+00'), (2, '2026-05-01 10:00:59+00')`,
  `insert into orders values (4, '2026-05-01 10:03:00+00'); delete from orders where id = 4; insert into orders values (99, '2026-05-01 10:05:00+00')`,
  `insert into parcels values (99, '2026-05-01 10:05:00+00')`,
  // Late: the second verdict of 10:01.
  `insert into parcels values (3, '2026-05-01 10:01:30+00')`,
];

test('both tables come to the same windows, however often the service is killed, and late rows of the other amend them', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'beside');
  await using target = await createDatabase(inject('targetServer'), 'beside');
  const sql = await PgConnection.connect({ url: source.url });
  const lake = await PgConnection.connect({ url: target.url });
  // What was there before says nothing of windows.
  await sql.script(`create table orders (id bigint primary key, at timestamptz not null); create table parcels (like orders including all);
    alter table orders replica identity full; alter table parcels replica identity full; insert into orders values (0, '2026-01-01 00:00:00+00')`);
  using config = configFolder(
    {
      sources: {
        shop: {
          kind: 'postgres',
          url: source.url,
          slot: source.name,
          publication: 'tidegate_beside',
          tables: ['public.orders', 'public.parcels'],
        },
      },
    },
    { 'orders.rules.yaml': rules('orders', EQUAL), 'parcels.rules.yaml': rules('parcels') },
    { source: source.url, target: target.url },
  );
  const counts = 'select (select count(*) from %.orders), (select count(*) from %.parcels)';
  const has = async (sqlOf: PgConnection, schema: string) => JSON.stringify((await sqlOf.query(counts.replaceAll('%', schema))).rows);
  const isThere = async () => {
    const known = await lake.query("select to_regclass('shop.orders'), to_regclass('shop.parcels')");
    return known.rows[0]?.includes(null) === false && (await has(lake, 'shop')) === (await has(sql, 'public'));
  };
  let service = new ServiceProcess(config.file);
  try {
    await eventually(isThere, 'what was there has been copied', 30_000);
    for (const [index, step] of STEPS.entries()) {
      await sql.script(step);
      await eventually(isThere, `the target has step ${index}`, 30_000);
      if (index % 2 === 1) continue;
      await service.kill();
      service = new ServiceProcess(config.file);
    }
    const said = async () => {
      const { json } = await cli('windows', 'list', config.file, '--json');
      const { windows } = json as { windows: readonly Record<string, unknown>[] };
      return windows
        .map(({ startMs, verdict, observed, revision, reason }) =>
          [new Date(Number(startMs)).toISOString().slice(11, 16), verdict, JSON.stringify(observed), revision, reason].join(' '),
        )
        .sort();
    };
    await eventually(
      async () => (await said()).some((line) => line.startsWith('10:01 pass')),
      'the late row has amended its window',
      30_000,
    );
    expect(await said()).toEqual([
      '10:00 pass {"self":2,"other":2} 1 2 rows, and shop.public.parcels has 2',
      '10:01 fail {"self":1,"other":0} 1 1 rows, and shop.public.parcels has 0',
      '10:01 pass {"self":1,"other":1} 2 1 rows, and shop.public.parcels has 1',
      ...['10:02', '10:03', '10:04'].map((minute) => `${minute} pass {"self":0,"other":0} 1 0 rows, and shop.public.parcels has 0`),
    ]);
  } finally {
    await service[Symbol.asyncDispose]();
    await Promise.all([sql.close(), lake.close()]);
  }
}, 120_000);
