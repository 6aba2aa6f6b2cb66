/** Several workers share a group's partitions, one ends, and one stands still and wakes up: every change is written once, in its key's order. Kills are in faults.stack.test.ts. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { configFolder } from '../app/services.ts';
import { ServiceProcess } from '../e2e/service-process.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { lanesOf, untilShared } from './sharing.ts';
import { stack, startConnector } from './support.ts';

const PARTITIONS = 4;
const KEYS = 200;

test('workers that end, stand still and wake up lose nothing, double nothing and put nothing out of order', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'workers');
  await using target = await createDatabase(inject('targetServer'), 'workers');
  await using memory = await createDatabase(inject('targetServer'), 'state');
  await using shop = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  const table = 'create table %.orders (id bigint primary key, version bigint not null)';
  await shop.script(`${table.replace('%', 'public')}; insert into orders select n, 0 from generate_series(1, ${KEYS}) n`);
  // The target's own watchman: a row that went back, or was written twice, would be refused, and held.
  await lake.script(`
    create schema shop; ${table.replace('%', 'shop')};
    create function shop.only_forward() returns trigger language plpgsql as $$ begin
      if new.version <= old.version then raise exception using errcode = '23514', message = 'back'; end if; return new;
    end $$;
    create trigger only_forward before update on shop.orders for each row execute function shop.only_forward();
  `);
  await using connector = await startConnector(source.url, ['public.orders'], 'json', {
    'topic.creation.default.partitions': String(PARTITIONS),
  });
  using config = configFolder(
    {
      state: memory.url,
      lease: '2s',
      sources: {
        shop: {
          kind: 'kafka',
          brokers: [stack.broker],
          group: `g-${connector.prefix}`,
          session: '6s',
          prefix: connector.prefix,
          tables: ['public.orders'],
        },
      },
      pipelines: { main: { source: 'shop', target: 'lake', batch: { rows: 50, age: '20ms' } } },
    },
    {},
    { source: source.url, target: target.url },
  );
  await using workers = new AsyncDisposableStack();
  const begin = (): ServiceProcess => workers.use(new ServiceProcess(config.file));
  let changes = KEYS;
  let isWriting = true;
  const writing = (async () => {
    for (let n = 1; isWriting; n++) {
      await shop.query('update orders set version = version + 1 where id % 7 = $1', [n % 7]);
      changes += Number((await shop.query('select count(*) from orders where id % 7 = $1', [n % 7])).rows[0]?.[0]);
    }
  })();
  const [a, b, c] = [begin(), begin(), begin()];
  await untilShared([a, b, c], PARTITIONS);
  expect(await a.stop()).toBe(0);
  await untilShared([b, c], PARTITIONS);
  b.signal('SIGSTOP');
  await eventually(async () => (await lanesOf(c)) === PARTITIONS, 'the one that is left has all of them', 60_000);
  b.signal('SIGCONT');
  await untilShared([b, c], PARTITIONS);
  isWriting = false;
  await writing;

  const rows = async (connection: PgConnection, of: string): Promise<string> =>
    JSON.stringify((await connection.query(`select id, version from ${of} order by id`)).rows);
  await eventually(async () => (await rows(shop, 'orders')) === (await rows(lake, 'shop.orders')), 'the target is the source', 60_000);
  expect((await lake.query('select count(*) from tidegate.quarantine')).rows).toEqual([['0']]);
  const { rows: ledger } = await lake.query(
    `select count(*), sum(events), sum(upserts + folded) from tidegate.lanes where lane not like 'replay:%'`,
  );
  expect(ledger).toEqual([[String(PARTITIONS), String(changes), String(changes)]]);
}, 240_000);
