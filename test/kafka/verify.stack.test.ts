/** `tidegate verify` of topics that the real Debezium writes, against the database behind them, while both go on. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { cli } from '../app/cli.ts';
import { configFolder, post, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ruleFile } from '../support/rules.ts';
import { stack, startConnector } from './support.ts';

const RULES = ruleFile('orders', 'event', 'status: [{id: known-status, in_set: [new, paid]}]');

interface Verified {
  readonly equal: boolean;
  readonly pipelines: readonly {
    readonly laneStands: boolean;
    readonly tables: readonly {
      readonly rows: number;
      readonly counts: Readonly<Record<string, number>>;
      readonly differences: readonly { key: string; kind: string; reason: string; columns: readonly string[] }[];
    }[];
  }[];
}

test('the target of topics is proved to be the database behind them while both go on, and what was changed there by hand is found', async () => {
  await using source = await createDatabase(inject('sourceServer'), 'verify');
  await using target = await createDatabase(inject('targetServer'), 'verify');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script(`
    create table orders (id bigint primary key, status text not null, total numeric(10,2), at timestamptz, day date, note jsonb);
    insert into orders select n, 'new', n / 100.0, now(), current_date, '{"n": 1}' from generate_series(1, 2000) n;
    update orders set status = 'lost' where id in (3, 4);
  `);
  await using connector = await startConnector(source.url, ['public.orders'], 'json', {
    'topic.creation.default.partitions': '3',
    'slot.drop.on.stop': 'false',
  });
  const { prefix } = connector;
  const database = { url: source.url, slot: `dbz_${prefix}`, publication: `dbz_${prefix}` };
  const topics = { kind: 'kafka', brokers: [stack.broker], group: `g-${prefix}`, prefix, tables: ['public.orders'] };
  const urls = { source: source.url, target: target.url };
  using config = configFolder({ sources: { shop: { ...topics, database } } }, { 'orders.rules.yaml': RULES }, urls);
  using bare = configFolder({ sources: { shop: topics } }, { 'orders.rules.yaml': RULES }, urls);
  const verify = async (...flags: readonly string[]) => {
    const { code, json, stderr } = await cli('verify', config.file, '--json', ...flags);
    const [pipeline] = (json as Verified | null)?.pipelines ?? [];
    return { code, stderr, laneStands: pipeline?.laneStands, table: pipeline?.tables[0] };
  };
  const found = (table: Verified['pipelines'][number]['tables'][number] | undefined) =>
    (table?.differences ?? []).map(({ key, kind, reason, columns }) => [key, kind, reason, ...columns].join(' ')).sort();

  await using running = await startService(config);
  await untilReady(running.url);
  const arrived = async (): Promise<number> => (await lake.query('select from shop.orders').catch(() => ({ rows: [] }))).rows.length;
  await eventually(async () => (await arrived()) === 1998, 'the rows are there', 30_000);
  {
    await using writer = await PgConnection.connect({ url: source.url });
    let isWriting = true;
    const writing = (async () => {
      for (let n = 0; isWriting; n++) {
        // Of the first ten none: what is planted there would be undone by a change that is still on its way.
        await writer.query('update orders set total = total + 1 where id > 10 and id % 97 = $1 and status = $2', [n % 97, 'new']);
        await writer.query(`insert into orders values ($1, 'paid', 0, now(), null, null)`, [10_000 + n]);
        await writer.query('delete from orders where id = $1', [10_000 + n - 50]);
      }
    })();
    const { code, table } = await verify();
    isWriting = false;
    await writing;
    expect([code, found(table), table?.counts['held']]).toEqual([0, ['3 missing held', '4 missing held'], 2]);
    expect(table?.rows).toBeGreaterThanOrEqual(2000);
  }

  // What was given up explains what it would have made of the row, and nothing else.
  const items = (await lake.query('select id from tidegate.quarantine order by id')).rows.map(([id]) => id ?? '');
  await post(running.url, '/api/quarantine/discard', { ids: items, why: 'a test' });
  await eventually(
    async () => (await lake.query(`select from tidegate.quarantine where status = 'discarded'`)).rows.length === 2,
    'both are discarded',
  );
  await sql.query(`update orders set total = 7 where id = 4`);
  await lake.script(`
    delete from shop.orders where id = 5; update shop.orders set total = -1, note = null where id = 6;
    insert into shop.orders (id, status) values (-1, 'new')`);
  const planted = await verify();
  expect(found(planted.table)).toEqual([
    '-1 surplus surplus',
    '3 missing discarded',
    '4 missing held',
    '5 missing lost',
    '6 changed lost total note',
  ]);
  expect(planted.code).toBe(1);

  // Repaired while the table goes on to change: what differs comes from the database, what is new by the topics.
  {
    await using writer = await PgConnection.connect({ url: source.url });
    let isWriting = true;
    const writing = (async () => {
      for (let n = 0; isWriting; n++) await writer.query('update orders set total = total + 1 where id in (5, 6, 7)');
    })();
    const repaired = await verify('--repair');
    isWriting = false;
    await writing;
    expect(repaired.stderr).toBe('');
  }
  const mended = await verify('--repair');
  expect([mended.code, found(mended.table)]).toEqual([0, ['3 missing discarded', '4 missing held']]);
  expect((await lake.query(`select id from shop.orders where id in (-1, 5, 6) order by id`)).rows).toEqual([['5'], ['6']]);
  expect((await lake.query(`select status from tidegate.quarantine where status <> 'discarded'`)).rows).toEqual([['held']]);

  const without = await cli('verify', bare.file);
  expect([without.code, without.stderr]).toEqual([2, expect.stringMatching(/do not say what rows there are[^]*sources\.shop\.database/)]);

  using unknown = configFolder({ sources: { shop: { ...topics, database: { url: source.url } } } }, {}, urls);
  const slot = await cli('verify', unknown.file);
  expect([slot.code, slot.stderr]).toEqual([2, expect.stringMatching(/no replication slot debezium[^]*sources\.shop\.database\.slot/)]);
  expect((await cli('check', unknown.file)).stdout).toMatch(/sources\.shop\.database\.slot: the database has no replication slot debezium/);

  // What the connector has not written yet is not lost.
  await fetch(`${stack.connectUrl}/connectors/${prefix}/stop`, { method: 'PUT' });
  await eventually(
    async () => (await sql.query(`select active from pg_replication_slots where slot_name = 'dbz_${prefix}'`)).rows[0]?.[0] === 'f',
    'the connector stands still',
    30_000,
  );
  await sql.query('update orders set total = 5 where id = 8');
  const waiting = await verify('--wait', '3s');
  expect([waiting.code, waiting.laneStands, found(waiting.table)]).toEqual([
    1,
    true,
    expect.arrayContaining(['8 changed undecided total']),
  ]);
});
