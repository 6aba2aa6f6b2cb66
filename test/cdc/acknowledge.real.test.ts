/** What the server hears of us, and what becomes of a lane that stands, waits, or is cut in the middle of a transaction. */
import { expect, inject, test } from 'vitest';
import type { Batch } from '../../core/batch.ts';
import type { Position } from '../../core/event.ts';
import { reachedLsn } from '../../cdc/postgres/lane-position.ts';
import { startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { CutProxy } from '../e2e/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import {
  catchUp,
  failureOf,
  isCopying,
  Model,
  run,
  sameAsTable,
  slowWay,
  testDatabase,
  throughPort,
  type TestDatabase,
} from './support.ts';

const server = inject('sourceServer');
const T = 'create table t (id int primary key, s text)';

/** What the server knows of the reader of the slot: its process, and the places that it has said, as positions write them. */
async function walsender(db: TestDatabase): Promise<{ pid: string; flush: string; confirmed: string; replies: number } | null> {
  const { rows } = await db.sql.query(
    `select r.pid, lpad(to_hex((r.flush_lsn - '0/0')::bigint), 16, '0'), lpad(to_hex((s.confirmed_flush_lsn - '0/0')::bigint), 16, '0'),
            extract(epoch from r.reply_time - r.backend_start) * 1000
       from pg_replication_slots s join pg_stat_replication r on r.pid = s.active_pid where s.slot_name = $1`,
    [db.slot],
  );
  const [pid, flush, confirmed, replies] = rows[0] ?? [];
  return pid === undefined ? null : { pid: pid ?? '', flush: flush ?? '', confirmed: confirmed ?? '', replies: Number(replies ?? 0) };
}

test('the server never hears of a place beyond the committed checkpoint, and of that one soon', async () => {
  await using db = await testDatabase(server, T);
  const source = db.source({ batch: { rows: 2, bytes: 1 << 20, ageMs: 0 }, timing: { statusMs: 20, idleMs: 1e9 } });
  const stop = new AbortController();
  const model = new Model();
  let acknowledged = '' as Position;
  for await (const batch of source.read(async (lane) => model.lease(lane), stop.signal)) {
    const checkpoint = model.apply(batch);
    if (model.batches === 1) await db.sql.script('insert into t values (1), (2)');
    else if (model.batches === 2)
      await db.sql.script('begin; insert into t select generate_series(3, 9); commit; insert into t values (10)');
    if (model.batches <= 3) {
      acknowledged = checkpoint.position;
      await source.acknowledge(checkpoint);
    }
    if (model.batches < 4) continue;
    // The third ended inside a transaction: the commit before it is what may be forgotten.
    const from = (await walsender(db))?.replies ?? 0;
    await eventually(async () => ((await walsender(db))?.replies ?? 0) > from + 100, 'several statuses were sent');
    const seen = await walsender(db);
    expect(acknowledged).toMatch(/#/);
    expect(seen?.flush).toBe(reachedLsn(acknowledged));
    expect((seen?.confirmed ?? '') <= reachedLsn(acknowledged), `${seen?.confirmed} beyond ${acknowledged}`).toBe(true);
    expect(source.status().receivedLsn ?? '' > reachedLsn(acknowledged)).toBeTruthy();
    stop.abort();
  }
  await eventually(async () => (await walsender(db)) === null, 'the slot is free');
  const { rows } = await db.sql.query(
    `select lpad(to_hex((confirmed_flush_lsn - '0/0')::bigint), 16, '0') from pg_replication_slots where slot_name = $1`,
    [db.slot],
  );
  expect((rows[0]?.[0] ?? '') <= reachedLsn(acknowledged)).toBe(true);
});

test('a target that takes longer than wal_sender_timeout costs no connection', async () => {
  await using db = await testDatabase(server, T);
  await db.sql.script(`alter database ${db.name} set wal_sender_timeout = '1s'`);
  const model = new Model();
  let held = false;
  await run(db.source({ batch: { rows: 100, bytes: 1 << 20, ageMs: 0 }, timing: {} }), model, async () => {
    if (model.batches === 1) await db.sql.script(`insert into t select i, repeat('x', 10000) from generate_series(1, 3000) i`);
    if (model.rows('shop.public.t').length > 0 && !held) {
      held = true;
      const pid = (await walsender(db))?.pid;
      await eventually(async () => {
        const now = await walsender(db);
        expect(now?.pid).toBe(pid);
        return (now?.replies ?? 0) > 2200;
      }, 'the server has heard of us for two timeouts');
    }
    return model.rows('shop.public.t').length === 3000;
  });
  expect(held).toBe(true);
});

test('a lane in which nothing happens moves on, so that the log of others is not kept for it', async () => {
  await using db = await testDatabase(server, T, 'create table other (s text)');
  const model = new Model();
  const end = async (): Promise<string> =>
    (await db.sql.query(`select lpad(to_hex((pg_current_wal_insert_lsn() - '0/0')::bigint), 16, '0')`)).rows[0]?.[0] ?? '';
  let wanted = '';
  await run(db.source({ timing: { statusMs: 50, idleMs: 50, idleBytes: 4096 } }), model, async () => {
    if (wanted === '') {
      await db.sql.script(`insert into other select repeat('x', 100) from generate_series(1, 200)`);
      wanted = await end();
      return false;
    }
    if (model.reachedLsn < wanted) return false;
    await eventually(async () => ((await walsender(db))?.confirmed ?? '') >= wanted, 'the slot has moved on');
    return true;
  });
  expect(model.events).toBe(0);
  expect(model.batches).toBeLessThan(6);
});

test('a source that is shut down and started again: the server does not wait for us, and the lane goes on', async () => {
  await using cleanup = new AsyncDisposableStack();
  const own = await startEmbeddedPostgres();
  cleanup.defer(() => own.stop());
  await using sql = await PgConnection.connect({ url: own.url() });
  await sql.script(`${T}; create table other (s text)`);
  await sql.close();
  const db = { ...(await testDatabase(server)) };
  cleanup.defer(() => db[Symbol.asyncDispose]());
  const options = { url: own.url(), timing: {} };
  const model = new Model();
  const failure = await failureOf(db.source(options), model, async () => {
    if (model.events === 0) {
      await using writer = await PgConnection.connect({ url: own.url() });
      await writer.script(`insert into t values (1); insert into other values ('log that no event of ours ends')`);
      return false;
    }
    process.kill(own.pid ?? 0, 'SIGINT');
    return false;
  });
  expect(failure.code).toBe('SOURCE_UNREACHABLE');
  await eventually(() => own.pid === undefined, 'the server has ended', 5000);
  expect(own.log.join('\n')).toContain('database system is shut down');
  expect((await failureOf(db.source(options), model)).code).toBe('SOURCE_UNREACHABLE');
  await own.start();
  await using writer = await PgConnection.connect({ url: own.url() });
  await writer.script('insert into t values (2)');
  await run(db.source(options), model, () => model.rows('shop.public.t').length === 2);
  expect(model.rows('shop.public.t').map((row) => row['id'])).toEqual([1, 2]);
});

test.each([1, 2])('restarts anywhere in large transactions apply each event once (seed %i)', async (seed) => {
  const random = new Random(seed);
  await using db = await testDatabase(
    server,
    T,
    'create table u (id int primary key)',
    'create table v (id int primary key)',
    'create table other (id int)',
  );
  await db.sql.script('create publication tidegate for all tables');
  const tables = ['public.t', 'public.u', 'public.v'];
  const model = new Model();
  const options = () => ({ tables, batch: { rows: 1 + random.below(7), bytes: random.chance(0.2) ? 2000 : 1 << 20, ageMs: 0 } });
  await run(db.source(options()), model, () => true);
  let events = 0;
  for (let i = 0; i < 4; i++) {
    await db.sql.script(`begin;
      insert into t select i + ${100 * i}, repeat('x', 100) from generate_series(1, 20) i;
      insert into other select generate_series(1, ${random.below(5)});
      insert into u select generate_series(1, 5); insert into v select generate_series(1, 3);
      truncate other, u, v;
      insert into u select generate_series(${i}, ${i + 2});
      delete from t where id % 4 = 0 and id > ${100 * i};
      commit; truncate u, v, other`);
    events += 20 + 5 + 3 + 2 + 3 + 5 + 2;
  }
  const seen = new Set<string>();
  for (let runs = 0; model.events < events; runs++) {
    expect(runs).toBeLessThan(200);
    let left = 1 + random.below(3);
    await run(
      db.source(options()),
      model,
      (batch: Batch) => {
        for (const event of batch.events) {
          const id = `${event.version} ${event.ordinal}`;
          if (seen.has(id)) throw new Error(`${id} came a second time`);
          seen.add(id);
        }
        return --left === 0 || model.events >= events;
      },
      random.chance(0.7),
    );
  }
  expect(model.events).toBe(events);
  for (const table of ['t', 'u', 'v']) await sameAsTable(model, db, table);
});

test('a table that joins a lane which stands inside a transaction is copied in the run behind it', async () => {
  await using db = await testDatabase(server, T, 'create table u (id int primary key)', 'insert into u select generate_series(1, 9)');
  const initial = { snapshot: { mode: 'initial' as const, chunkRows: 20, parallel: 1 }, batch: { rows: 3, bytes: 1 << 20, ageMs: 0 } };
  const model = new Model();
  await catchUp(db.source(initial), model, db.sql);
  await db.sql.script('insert into t select generate_series(1, 10)');
  await run(db.source(initial), model, () => model.events > 0);
  expect(model.checkpoint).toMatch(/#/);
  const both = { ...initial, tables: ['public.t', 'public.u'] };
  await run(db.source(both), model, () => false); // Ends by itself.
  expect(model.checkpoint).not.toMatch(/#/);
  await run(db.source(both), model, () => model.events > 10 && !isCopying(model));
  await sameAsTable(model, db, 'u');
  await sameAsTable(model, db, 't');
});

test('of a transaction larger than memory, no more is read than a batch beside the one that is held', async () => {
  await using proxy = await CutProxy.listen(Number(new URL(server).port));
  await using db = await testDatabase(server, T);
  const model = new Model();
  const batch = { rows: 1000, bytes: 1 << 20, ageMs: 0 };
  let whileHeld = 0;
  await run(db.source({ url: throughPort(db.url, proxy.port), batch }), model, async () => {
    if (model.batches === 1) await db.sql.script(`insert into t select i, repeat('x', 2000) from generate_series(1, 30000) i`);
    if (model.events > 0 && whileHeld === 0) {
      const waits = `select 1 from pg_stat_activity a join pg_replication_slots s on s.active_pid = a.pid
        where s.slot_name = $1 and a.wait_event in ('WalSenderWriteData', 'WalSenderMain')`;
      // Until nothing more comes: the server waits for us, or has sent all there is.
      let [before, still] = [0, 0];
      await eventually(async () => {
        const isWaiting = (await db.sql.query(waits, [db.slot])).rows.length > 0;
        still = isWaiting && proxy.bytesFromServer === before ? still + 1 : 0;
        before = proxy.bytesFromServer;
        return still === 20;
      }, 'nothing more comes');
      whileHeld = proxy.bytesFromServer;
    }
    return model.events === 30_000;
  });
  // Two batches of ours, and what the sockets on the way hold.
  expect(whileHeld).toBeLessThan(30_000_000);
  expect(proxy.bytesFromServer).toBeGreaterThan(60_000_000);
});

test('a row of tens of megabytes arrives whole, and a server that takes long to send it is not taken for a dead one', async () => {
  await using db = await testDatabase(server, T, 'alter table t alter s set storage external');
  await using slow = await slowWay(Number(new URL(server).port), 8 << 20);
  const model = new Model();
  const source = db.source({
    url: throughPort(db.url, slow.port),
    batch: { rows: 1000, bytes: 1 << 20, ageMs: 0 },
    rowBytes: 32 << 20,
    timing: { statusMs: 100, silenceMs: 1000 },
  });
  const sizes: number[] = [];
  await run(source, model, async (batch) => {
    if (model.batches === 1) await db.sql.script(`insert into t values (1, 'a'), (2, repeat('0123456789', 2000000)), (3, 'b')`);
    if (batch.events.length > 0) sizes.push(batch.events.length);
    return model.events === 3;
  });
  expect(sizes).toEqual([2, 1]);
  await sameAsTable(model, db, 't');
});
