/** Another MariaDB takes over, whose binlog files are numbered lower: its changes are the later ones, also where the target keeps the versions of its rows. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { type Mariadb, startMariadb } from '../../examples/stack/mariadb.ts';
import { mustRun } from '../../examples/stack/debezium.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { configFolder, startService, untilReady } from '../app/services.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { stack, startConnector } from './support.ts';

const ROWS = 'select id, v from t order by id';

test('changes of a server that took over are later than those of the one before', async () => {
  await using servers = new AsyncDisposableStack();
  const start = async (...flags: string[]): Promise<Mariadb> => {
    const server = await startMariadb(mkdtempSync(join(tmpdir(), 'tidegate-mariadb-')), { flags });
    servers.defer(() => server.stop());
    return server;
  };
  const [first, second] = await Promise.all([start(), start('--server-id=2', '--log-slave-updates')]);
  await using target = await createDatabase(inject('targetServer'), 'maria');
  await using lake = await PgConnection.connect({ url: target.url });
  await first.sql(`
    create database shop;
    create table shop.t (id int primary key, v text);
    insert into shop.t values (1, 'a'), (2, 'a'), (3, 'a'), (4, 'a');
    flush binary logs; flush binary logs; flush binary logs; flush binary logs;
  `);
  const { hostname, port, username, password } = new URL(first.url);
  await second.sql(
    `change master to master_host = '${hostname}', master_port = ${port}, master_user = '${username}', master_password = '${password}', master_use_gtid = slave_pos; start slave`,
  );
  await using connector = await startConnector(first.url, ['shop.t'], 'json');
  using config = configFolder({
    sources: {
      shop: { kind: 'kafka', brokers: [stack.broker], group: `g-${connector.prefix}`, prefix: connector.prefix, tables: ['shop.t'] },
    },
    targets: { lake: { kind: 'postgres', url: target.url, schema: 'lake', rowVersions: { keep: '1d' } } },
    pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml' } },
  });
  const isAs = async (server: Mariadb): Promise<boolean> => {
    const [there, { rows }] = await Promise.all([
      server.sql(ROWS, 'shop'),
      lake.query('select id, v from lake.t order by id').catch(() => ({ rows: [] })),
    ]);
    return JSON.stringify(there) === JSON.stringify(rows);
  };
  {
    await using running = await startService(config);
    await untilReady(running.url, 60_000);
    await first.sql(
      "update t set v = 'of the first' where id <= 3; delete from t where id = 4; insert into t values (5, 'of the first')",
      'shop',
    );
    await eventually(() => isAs(first), 'the target is as the first server', 30_000);
  }
  const before = await first.sql(ROWS, 'shop');
  await eventually(
    async () => JSON.stringify(await second.sql(ROWS, 'shop').catch(() => [])) === JSON.stringify(before),
    'the second server has all',
    30_000,
  );
  await second.sql('stop slave; reset slave all');
  await connector.restart({ 'database.port': new URL(second.url).port });
  await eventually(
    async () => {
      await mustRun(stack.connectUrl, connector.prefix);
      return (await second.sql('show processlist')).some((process) => process.includes('Binlog Dump'));
    },
    'the connector reads from the second server',
    30_000,
  );
  await first.kill();
  await second.sql(
    "update t set v = 'of the second' where id <= 2; delete from t where id = 3; insert into t values (4, 'of the second')",
    'shop',
  );
  await using running = await startService(config);
  await untilReady(running.url, 60_000);
  await eventually(
    async () => {
      await mustRun(stack.connectUrl, connector.prefix);
      return isAs(second);
    },
    'the target is as the second server',
    30_000,
  );
  const { rows } = await lake.query("select stale, split_part(position, '.', 3) from tidegate.lanes where lane like '%shop.t/0'");
  expect(rows).toEqual([['0', expect.stringMatching(/^1\+/)]]);
});
