/** What a look at the source may not have seen: commits that are in the log already, and open transactions, which are not. */
import { expect, inject, test } from 'vitest';
import { SourceRows } from '../../cdc/postgres/source-rows.ts';
import { startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';

test('a commit that waits for a standby keeps a look from being settled, an open transaction does not', async () => {
  // A server of its own: the setting holds for all of it.
  await using cleanup = new AsyncDisposableStack();
  const server = await startEmbeddedPostgres();
  cleanup.defer(() => server.stop());
  await using sql = await PgConnection.connect({ url: server.url() });
  await sql.script('create table t (id int primary key); insert into t values (1), (2)');
  const signal = new AbortController().signal;
  await using source = await SourceRows.open({ name: 'shop', url: server.url(), slot: 's', publication: 'p' }, signal);

  await using open = await PgConnection.connect({ url: server.url() });
  await open.script('begin; delete from t where id = 1');
  const started = performance.now();
  expect(await source.settle(signal)).toBe(true);
  expect(performance.now() - started).toBeLessThan(1500);

  await sql.script(`alter system set synchronous_standby_names = 'nobody'`);
  await sql.script('select pg_reload_conf()');
  await using writer = await PgConnection.connect({ url: server.url() });
  await eventually(
    async () => (await writer.query('show synchronous_standby_names')).rows[0]?.[0] === 'nobody',
    'the server waits for a standby',
  );
  const waiting = writer.script('delete from t where id = 2');
  await eventually(
    async () => (await sql.query(`select 1 from pg_stat_activity where wait_event = 'SyncRep'`)).rows.length === 1,
    'the commit waits',
  );
  expect((await sql.query('select id from t order by id')).rows).toEqual([['1'], ['2']]);
  expect(await source.settle(signal)).toBe(false);
  // Our own marks wait for nobody.
  expect(await source.mark()).toMatch(/^[0-9a-f]{16}$/);

  await sql.script('alter system reset synchronous_standby_names');
  await sql.script('select pg_reload_conf()');
  await waiting;
  expect(await source.settle(signal)).toBe(true);
});

test('a slot that was made just now has not confirmed what a connector is to pass', async () => {
  await using database = await createDatabase(inject('sourceServer'), 'mark');
  await using sql = await PgConnection.connect({ url: database.url });
  const options = { name: 'shop', url: database.url, slot: database.name, publication: 'p', reader: 'connector' } as const;
  await using source = await SourceRows.open(options, new AbortController().signal);
  await sql.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [database.name]);
  try {
    const [confirmed, place] = [await source.confirmed(), await source.mark()];
    expect(confirmed).toMatch(/^[0-9a-f]{16}$/);
    expect(place > String(confirmed)).toBe(true);
  } finally {
    await sql.query('select pg_drop_replication_slot($1)', [database.name]);
  }
});
