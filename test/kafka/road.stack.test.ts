/** The service on topics that the real Debezium writes, into a real database. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ask, configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { type Format, stack, startConnector } from './support.ts';

const RULES = ruleFile('orders', 'event', 'status: [{id: known-status, in_set: [new, paid]}]');
const COLUMNS = {
  'public.orders': { id: 'bigint', status: 'text', total: 'numeric(10,2)', note: 'text', at: 'timestamptz', day: 'date', done: 'boolean' },
};
const ROWS = 'select id, status, total, note, at, day, done from';

test.each<Format>(['json', 'flat', 'avro'])(
  'from %s topics every change arrives once, what breaks a rule is held, and both survive a restart',
  async (format) => {
    await using source = await createDatabase(inject('sourceServer'), 'kafka');
    await using target = await createDatabase(inject('targetServer'), 'kafka');
    await using sql = await PgConnection.connect({ url: source.url });
    await using lake = await PgConnection.connect({ url: target.url });
    await sql.script(`
    create table orders (id bigint primary key, status text not null, total numeric(10,2), note text, at timestamptz, day date, done boolean);
    insert into orders select n, 'new', n / 100.0, repeat('n', 10), now(), current_date, n % 2 = 0 from generate_series(1, 50) n;
    insert into orders values (9007199254740993, 'lost', -0.01, null, null, null, null);
  `);
    await using connector = await startConnector(source.url, ['public.orders'], format);
    using config = configFolder(
      {
        sources: {
          shop: {
            kind: 'kafka',
            brokers: [stack.broker],
            group: `g-${connector.prefix}`,
            prefix: connector.prefix,
            tables: ['public.orders'],
            ...(format === 'flat' ? { columns: COLUMNS } : {}),
            ...(format === 'avro' ? { registry: { url: stack.ccompatUrl } } : {}),
          },
        },
      },
      { 'orders.rules.yaml': RULES },
      { source: source.url, target: target.url },
    );
    const isSame = async (): Promise<boolean> => {
      const [here, there] = await Promise.all([
        sql.query(`${ROWS} orders where status <> 'lost' order by id`),
        lake.query(`${ROWS} shop.orders order by id`).catch(() => ({ rows: [] })),
      ]);
      return here.rows.length > 0 && JSON.stringify(here.rows) === JSON.stringify(there.rows);
    };
    {
      await using running = await startService(config);
      await untilReady(running.url);
      await eventually(isSame, 'the target is the source without what is held', 30_000);
      await sql.script(`
      update orders set total = total + 1, note = 'changed' where id <= 10;
      delete from orders where id between 11 and 20;
      update orders set id = id + 1000 where id between 21 and 30;
      insert into orders select n, 'paid', 1, 'more', now(), current_date, true from generate_series(101, 150) n;
      update orders set status = 'lost' where id = 150;
    `);
      await eventually(async () => (await count(lake, 'select count(*) from tidegate.quarantine')) === 2, 'both are held', 30_000);
    }
    await sql.script(`insert into orders select n, 'paid', 1, 'later', now(), current_date, true from generate_series(201, 210) n`);
    await using again = await startService(config);
    await eventually(
      async () => (await count(lake, "select count(*) from shop.orders where note = 'later'")) === 10,
      'what came meanwhile is there',
      30_000,
    );
    // The one that was changed so that it is held stays as it was.
    const { rows } = await lake.query(`${ROWS} shop.orders where id <> 150 order by id`);
    expect(rows).toEqual((await sql.query(`${ROWS} orders where status <> 'lost' order by id`)).rows);
    expect((await lake.query('select status from shop.orders where id = 150')).rows).toEqual([['paid']]);
    const lanes = (await ask(again.url, '/api/lanes')).json as {
      lanes: { lane: string; closed: boolean; ledger: Record<string, number> }[];
    };
    const own = lanes.lanes.filter(({ lane }) => !lane.startsWith('replay:'));
    expect(own.map(({ closed }) => closed)).toEqual([true]);
    // 51 rows of the snapshot, then 10 updates, 10 deletes, 10 moves, 50 inserts, 1 update, 10 inserts: each counted once.
    expect(own[0]?.ledger['events']).toBe(51 + 10 + 10 + 10 + 50 + 1 + 10);
  },
);

const count = async (connection: PgConnection, statement: string): Promise<number> =>
  Number((await connection.query(statement)).rows[0]?.[0] ?? 0);
