/** A source whose disk is put back, or whose url leads to another server by now: the pipeline halts before it reads anything, for as long as nobody recovers it, and is whole then. */
import { expect, inject, test } from 'vitest';
import { type EmbeddedServer, freePort, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { keepDisk } from '../support/put-back.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, type TestConfig, untilReady } from './services.ts';

const ORDERS = 'create table orders (id bigint primary key, note text not null)';
const rows = (from: number, to: number, note: string) =>
  `insert into orders select n, '${note}' from generate_series(${from}, ${to}) n on conflict (id) do update set note = excluded.note`;

interface Ends extends AsyncDisposable {
  readonly server: EmbeddedServer;
  readonly lake: PgConnection;
  /** With another source, or that of the beginning. */
  readonly config: (source?: string) => TestConfig;
}

async function ends(): Promise<Ends> {
  const stack = new AsyncDisposableStack();
  const server = await startEmbeddedPostgres({ wal_sender_timeout: '2s' });
  stack.defer(() => server.stop());
  const target = stack.use(await createDatabase(inject('targetServer'), 'back'));
  const lake = stack.use(await PgConnection.connect({ url: target.url }));
  const first = stack.use(configFolder({}));
  const state = `${first.folder}/state.db`;
  const port = await freePort();
  const config = (source = server.url()): TestConfig => {
    const shop = { kind: 'postgres', url: source, slot: 'one', publication: 'one', tables: ['public.orders'] };
    return stack.use(configFolder({ sources: { shop }, state, http: { port } }, {}, { source, target: target.url }));
  };
  await on(server.url(), `${ORDERS}; ${rows(1, 100, 'first')}`);
  return { server, lake, config, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function on(url: string, script: string): Promise<void> {
  await using sql = await PgConnection.connect({ url });
  await sql.script(script);
}
const ROWS = (table: string) => `select coalesce(string_agg(id || '=' || note, ' ' order by id), '') from ${table}`;
async function isSame(lake: PgConnection, url: string): Promise<boolean> {
  await using sql = await PgConnection.connect({ url });
  const theirs = (await sql.query(ROWS('orders'))).rows[0]?.[0];
  return theirs === (await lake.query(ROWS('shop.orders'))).rows[0]?.[0];
}
async function errorOf(url: string): Promise<{ readonly code: string; readonly message: string } | null | undefined> {
  const status = (await ask(url, '/api/status')).json as { pipelines: { error: { code: string; message: string } | null }[] };
  return status.pipelines[0]?.error;
}
const isLost = (url: string, message: RegExp) =>
  eventually(async () => {
    const error = await errorOf(url);
    return error?.code === 'SOURCE_POSITION_LOST' && message.test(error.message);
  }, `it is halted: ${message.source}`);

test('a disk that was put back while the service was stopped, and has as much log again: halted over `resume`, and `recover` makes the target what the server is', async () => {
  await using it = await ends();
  const { server, lake } = it;
  const config = it.config();
  let putBack = async (): Promise<void> => {};
  {
    await using service = await startService(config);
    await untilReady(service.url);
    await on(server.url(), rows(50, 150, 'second'));
    await eventually(() => isSame(lake, server.url()), 'all has arrived');
    putBack = await keepDisk(server);
    await on(server.url(), `${rows(140, 200, 'third')}; delete from orders where id < 10`);
    await eventually(() => isSame(lake, server.url()), 'all has arrived');
  }
  await putBack();
  await on(
    server.url(),
    `${rows(120, 160, 'other third')}; delete from orders where id between 20 and 29; select pg_logical_emit_message(false, 'x', repeat('x', 3000000))`,
  );
  await on(server.url(), rows(300, 310, 'fourth'));

  await using service = await startService(config);
  await isLost(service.url, /its disk was put back/);
  await cli('resume', config.file);
  await eventually(async () => (await errorOf(service.url)) !== undefined, 'it answers');
  await isLost(service.url, /its disk was put back/);
  expect((await lake.query(`select 1 from shop.orders where note in ('other third', 'fourth')`)).rows).toEqual([]);
  const { code, json } = await cli('recover', config.file, '--json', '--wait', '30s');
  expect([code, json]).toEqual([0, expect.objectContaining({ isWhole: true })]);
  expect(await isSame(lake, server.url())).toBe(true);
  await on(server.url(), rows(400, 410, 'fifth'));
  await eventually(() => isSame(lake, server.url()), 'it goes on');
});

test('a url that leads to another server with a slot of that name: halted with the numbers of both, and `recover` makes the target what that one is', async () => {
  await using it = await ends();
  const { server, lake } = it;
  {
    await using service = await startService(it.config());
    await untilReady(service.url);
    await on(server.url(), rows(50, 150, 'second'));
    await eventually(() => isSame(lake, server.url()), 'all has arrived');
  }
  const other = await startEmbeddedPostgres();
  try {
    await on(other.url(), `${ORDERS}; ${rows(1, 120, 'there')}; create publication one for table orders`);
    await on(other.url(), `select pg_logical_emit_message(false, 'x', repeat('x', 30000000))`);
    await on(other.url(), `select pg_create_logical_replication_slot('one', 'pgoutput')`);
    await on(other.url(), rows(100, 130, 'later'));
    const config = it.config(other.url());
    await using service = await startService(config);
    await isLost(service.url, /the system identifier \d+, and this one has \d+/);
    expect((await lake.query(`select 1 from shop.orders where note in ('there', 'later')`)).rows).toEqual([]);
    const { code, json } = await cli('recover', config.file, '--json', '--wait', '30s');
    expect([code, json]).toEqual([0, expect.objectContaining({ isWhole: true })]);
    expect(await isSame(lake, other.url())).toBe(true);
    await untilReady(service.url);
    await on(other.url(), rows(400, 410, 'fifth'));
    await eventually(() => isSame(lake, other.url()), 'it goes on');
  } finally {
    await other.stop();
  }
});
