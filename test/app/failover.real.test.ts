/** A source that fails over: the primary is killed, a standby with a copy of the slot takes over, and the lane goes on; or is told that it cannot. */
import { expect, inject, test } from 'vitest';
import { type EmbeddedServer, freePort, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { postgresSource } from '../../cdc/postgres/source.ts';
import { reachedLsn } from '../../cdc/postgres/lane-position.ts';
import type { Position } from '../../core/event.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { STANDBY_SLOT, startStandby, syncSlots } from '../support/standby.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, untilReady } from './services.ts';

const SOURCE = `
  create sequence changes;
  create table orders (id bigint primary key, seq bigint not null);
  insert into orders select n, nextval('changes') from generate_series(1, 100) n;`;
/** Every write of a row at the target. */
const TARGET = `
  create schema shop;
  create table shop.orders (id bigint primary key, seq bigint);
  create table history (n bigserial primary key, id bigint, seq bigint);
  create function remember() returns trigger language plpgsql as $$ begin insert into public.history (id, seq) values (new.id, new.seq); return null; end $$;
  create trigger remember after insert or update on shop.orders for each row execute function remember();`;

interface Pair extends AsyncDisposable {
  readonly primary: EmbeddedServer;
  readonly standby: EmbeddedServer;
  readonly service: { readonly url: string };
  readonly config: { readonly file: string };
  readonly lake: PgConnection;
}

/** A primary with a standby that has a copy of the slot, and a service that knows both by one url. */
async function pair(settings: Readonly<Record<string, string>>): Promise<Pair> {
  const stack = new AsyncDisposableStack();
  const primary = await startEmbeddedPostgres({ ...settings, wal_sender_timeout: '2s' });
  stack.defer(() => primary.stop());
  const target = stack.use(await createDatabase(inject('targetServer'), 'fail'));
  const lake = stack.use(await PgConnection.connect({ url: target.url }));
  await lake.script(TARGET);
  await run(primary, SOURCE);
  const standby = await startStandby(primary);
  stack.defer(() => standby.stop());
  const url = `postgres://postgres@127.0.0.1:${standby.port},127.0.0.1:${primary.port}/postgres`;
  const shop = { kind: 'postgres', url, slot: 'failing', publication: 'failing', tables: ['public.orders'] };
  const config = configFolder({ sources: { shop }, http: { port: await freePort() } }, {}, { source: url, target: target.url });
  stack.defer(() => config[Symbol.dispose]());
  const service = await startService(config);
  stack.use(service);
  await untilReady(service.url);
  await eventually(
    async () => {
      await run(primary, 'update orders set seq = nextval($$changes$$) where id = 1');
      await run(primary, 'select pg_log_standby_snapshot()'); // Behind the end of what was written: from within it, the slot would move on to its beginning only.
      return syncSlots(standby);
    },
    `the standby has a copy of the slot: ${standby.log.slice(-5).join('\n')}`,
    30_000,
  );
  return { primary, standby, service, config, lake, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function run(server: EmbeddedServer, script: string): Promise<void> {
  await using sql = await PgConnection.connect({ url: server.url() });
  await sql.script(script);
}
async function value(server: EmbeddedServer, query: string): Promise<string | null> {
  await using sql = await PgConnection.connect({ url: server.url() });
  return (await sql.query(query)).rows[0]?.[0] ?? null;
}
/** What somebody would get who reads the slot there. */
async function firstBatch(server: EmbeddedServer): Promise<unknown> {
  const source = postgresSource({
    name: 'shop',
    url: server.url(),
    slot: 'failing',
    publication: 'failing',
    tables: ['public.orders'],
    snapshot: { mode: 'initial', chunkRows: 100, parallel: 1 },
    batch: { rows: 100, bytes: 1 << 20, ageMs: 0 },
  });
  const batches = source.read(async (lane) => ({ lane, epoch: 1, checkpoint: null }), new AbortController().signal);
  return (await batches[Symbol.asyncIterator]().next()).value;
}
const ROWS = `select coalesce(string_agg(id || '=' || seq, ' ' order by id), '') from`;
const isSame = async ({ standby, lake }: Pair): Promise<boolean> =>
  (await value(standby, `${ROWS} orders`)) === ((await lake.query(`${ROWS} shop.orders`)).rows[0]?.[0] ?? null);
const change = (from: number, to: number) =>
  `insert into orders select n, nextval('changes') from generate_series(${from}, ${to}) n; update orders set seq = nextval('changes') where id % 7 = 0; delete from orders where id = ${from}`;

test('a standby takes over, and the lane goes on by itself: nothing is lost, nothing written twice', async () => {
  await using it = await pair({ synchronized_standby_slots: STANDBY_SLOT });
  const { primary, standby, lake, service } = it;
  expect(await value(primary, `select failover from pg_replication_slots where slot_name = 'failing'`)).toBe('t');
  // Killed in the middle of writing: what the standby does not have, the target does not have either.
  const writing = (async () => {
    for (let n = 1000; ; n += 10) await run(primary, change(n, n + 9));
  })().catch(() => {});
  await eventually(async () => Number((await lake.query('select count(*) from shop.orders')).rows[0]?.[0]) > 200, 'changes flow');
  await primary.kill();
  await writing;
  await expect(firstBatch(standby)).rejects.toThrow('the server is a standby'); // Until it has taken over.
  await value(standby, 'select pg_promote()');
  await run(standby, change(5000, 5100));
  await eventually(() => isSame(it), 'the target is what the standby is', 40_000);
  await untilReady(service.url);
  expect((await lake.query('select seq from history group by seq having count(*) > 1')).rows).toEqual([]);
  const lane = await lake.query(
    `select position, events = upserts + deletes + folded + stale from tidegate.lanes where lane = 'shop/failing'`,
  );
  expect(lane.rows).toEqual([[expect.stringMatching(/!00000002\./), 't']]);
}, 120_000);

test('a standby that lacks only what was read without a commit takes over, and the lane goes on from where its log parts', async () => {
  await using it = await pair({});
  const { primary, standby, lake } = it;
  const received = Number(await value(standby, `select pg_last_wal_receive_lsn() - '0/0'`));
  await standby.kill();
  // Others fill the log, and the lane, for which nothing is in it, takes a checkpoint there.
  await run(primary, `create table notes (note text); insert into notes select repeat(md5(n::text), 10) from generate_series(1, 15000) n`);
  const reached = async () => {
    const position = (await lake.query(`select position from tidegate.lanes where lane = 'shop/failing'`)).rows[0]?.[0] ?? '';
    return Number(BigInt(`0x${reachedLsn(position as Position)}`));
  };
  await eventually(async () => (await reached()) > received + 4_000_000, 'the lane stands beyond what the standby has', 40_000);
  const stood = await reached(); // Once the standby is there, the lane goes back.
  await primary.kill();
  await standby.start();
  await value(standby, 'select pg_promote()');
  await run(standby, change(3000, 3100));
  expect(Number(await value(standby, `select pg_current_wal_lsn() - '0/0'`))).toBeLessThan(stood);
  await eventually(() => isSame(it), 'the target is what the standby is', 40_000);
  // What was committed there before the lane's old place was written, and so is what comes behind it.
  await run(standby, `select pg_logical_emit_message(false, 'other', repeat('x', 8000000)); ${change(4000, 4100)}`);
  await eventually(() => isSame(it), 'the target is what the standby is still', 40_000);
  expect((await lake.query('select seq from history group by seq having count(*) > 1')).rows).toEqual([]);
}, 120_000);

test('a standby that lacks what the lane has read already is not followed in silence, and recover makes it whole', async () => {
  await using it = await pair({});
  const { primary, standby, lake, service, config } = it;
  const checked = (await cli('check', config.file, '--json')).json as { problems: { path: string; message: string }[] };
  expect(checked.problems.filter(({ path }) => path.endsWith('.failover')).map(({ message }) => message)).toEqual([
    'synchronized_standby_slots is empty: the lane may read what a standby that takes over has not got.',
  ]);
  await standby.kill();
  await run(primary, change(2000, 2100));
  await eventually(async () => (await lake.query('select 1 from shop.orders where id = 2100')).rows.length === 1, 'the lane has read it');
  await primary.kill();
  await standby.start();
  await value(standby, 'select pg_promote()');
  // Its log grows beyond the place that the lane has.
  await run(standby, `${change(3000, 3100)}; select pg_logical_emit_message(false, 'x', repeat('x', 1000000))`);
  const said = async () =>
    ((await ask(service.url, '/api/status')).json as { pipelines: { error: { code: string; message: string } | null }[] }).pipelines[0]
      ?.error;
  await eventually(async () => (await said())?.code === 'SOURCE_POSITION_LOST', 'it is halted', 40_000);
  expect((await said())?.message).toMatch(
    /timeline 1 of the server, which is at timeline 2 now: a standby took over that lacks the log from 0\/\w+ to 0\/\w+; should/,
  );
  expect((await lake.query('select 1 from shop.orders where id = 3100')).rows).toEqual([]);

  const { code, json } = await cli('recover', config.file, '--json', '--wait', '30s');
  expect([code, json]).toEqual([0, expect.objectContaining({ isWhole: true })]);
  expect(await isSame(it)).toBe(true);
}, 120_000);
