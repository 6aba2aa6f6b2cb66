/** Checks of the clock in the service, between two real databases: rows that come late, and a source from which nothing comes. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { configFolder, startService, untilReady } from './services.ts';

const RULES = `
apiVersion: quality/v1
kind: DatasetRules
dataset: shop.public.orders
source: { event_time: after.at }
checks:
  - event_lag: { max: 10m, mostly: 0.5, min_rows: 3 }
  - late_ratio: { max: 0.9, by: 1m, min_rows: 3 }
  - heartbeat: { every: 5s }
  - freshness: { max: 30d, warn: 3h }
`;

test('rows that come late are told of, and a source from which nothing comes until it comes again', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'clock');
  await using target = await createDatabase(inject('targetServer'), 'clock');
  const sql = await PgConnection.connect({ url: source.url });
  // The copy of an old row is not late.
  await sql.script(`create table orders (id bigint primary key, at timestamptz not null);
    alter table orders replica identity full; insert into orders values (0, '2020-01-01 00:00:00+00'); create table others (id bigint primary key)`);
  using config = configFolder(
    {
      sources: {
        shop: {
          kind: 'postgres',
          url: source.url,
          slot: source.name,
          publication: 'tidegate_clock',
          tables: ['public.orders', 'public.others'],
        },
      },
    },
    { 'orders.rules.yaml': RULES },
    { source: source.url, target: target.url },
  );
  await using running = await startService(config);
  await untilReady(running.url);
  const said = async (rule: string) =>
    ((await cli('windows', 'list', config.file, '--json', '--rule', rule)).json as { windows: readonly Record<string, unknown>[] }).windows;
  await sql.script(`insert into orders values (1, now() - interval '4 hours')`);
  await eventually(async () => (await said('freshness')).length === 1, 'the newest row is old enough for a warning');
  await sql.script(`insert into orders values (2, now() - interval '5 hours'), (3, now() - interval '6 hours')`);
  await eventually(async () => (await said('event_lag')).length === 1, 'they came late');
  expect(await said('event_lag')).toMatchObject([
    { verdict: 'fail', observed: 1, rows: 3, reason: '3 of 3 rows came more than 600 s after they happened' },
  ]);
  expect(await said('freshness')).toMatchObject([{ verdict: 'fail', severity: 'warning' }]);
  await eventually(async () => (await said('heartbeat')).length === 1, 'nothing comes any more');
  // Of whichever table.
  await sql.script('insert into others values (1)');
  await eventually(async () => (await said('heartbeat')).length === 2, 'something comes again');
  expect((await said('heartbeat')).map(({ verdict }) => verdict)).toEqual(['pass', 'fail']);
  // Two of three were more than a minute behind the newest.
  expect(await said('late_ratio')).toEqual([]);
  await sql.script(`insert into orders select n, now() - interval '9 hours' from generate_series(10, 40) n`);
  await eventually(async () => (await said('late_ratio')).length === 1, 'too many are');
  expect(await said('late_ratio')).toMatchObject([{ verdict: 'fail', rows: 34, observed: 0.970588235 }]);
  await sql.close();
}, 60_000);
