/** A connection that hung while it read the slot does not keep it: its session is ended at the server, by whom it belonged to and nobody else. */
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { PipelineError } from '../../core/errors.ts';
import { findPlace } from '../../cdc/postgres/server-log.ts';
import { answeredWithin, freeSlot, sessionOf } from '../../cdc/postgres/slot-reader.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { CutProxy } from '../e2e/proxy.ts';
import { eventually } from '../support/eventually.ts';
import { failureOf, Model, run, sameAsTable, type TestDatabase, testDatabase, throughPort } from './support.ts';

const server = inject('sourceServer');
/** Waits pass, at a hundredth of their length. */
const hasty: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) };
const code = (expected: PipelineError['code']) => expect.objectContaining({ code: expected }) as PipelineError;

let proxy: CutProxy;
let db: TestDatabase;

beforeEach(async () => {
  proxy = await CutProxy.listen(Number(new URL(server).port));
  db = await testDatabase(server, 'create table t (id int primary key, s text)', 'alter table t alter s set storage external');
  // The server itself never ends a session that says nothing.
  await db.sql.script(`alter database ${db.name} set wal_sender_timeout = 0`);
});
afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  await db[Symbol.asyncDispose]();
});

/** Process, wait, and when it began, of the session that reads the slot; null where none does. */
async function reader(): Promise<readonly (string | null)[] | null> {
  const { rows } = await db.sql.query(
    `select a.pid, a.wait_event, extract(epoch from a.backend_start) from pg_replication_slots s join pg_stat_activity a on a.pid = s.active_pid
      where s.slot_name = $1`,
    [db.slot],
  );
  return rows[0] ?? null;
}

test.each([
  ['with nothing to say', ''],
  // It waits for room in a socket that nobody reads.
  ['in the middle of what it sends', `insert into t select i, repeat('x', 10000) from generate_series(2, 5000) i`],
])('hung %s: the slot is read again at once', async (_, load) => {
  const url = throughPort(db.url, proxy.port);
  const source = db.source({ url, timing: { statusMs: 100, silenceMs: 500, idleMs: 100, idleBytes: 1 } });
  const model = new Model();
  let hung: readonly (string | null)[] | null = null;
  const hang = async (): Promise<boolean> => {
    if (model.batches === 1) await db.sql.script(`insert into t values (0, 'read')`);
    if (model.events === 0 || hung !== null) return false;
    hung = await reader();
    proxy.forget();
    await db.sql.script(`insert into t values (1, 'a')`);
    if (load === '') return false;
    await db.sql.script(load);
    await eventually(async () => (await reader())?.[1] === 'WalSenderWriteData', 'the session waits for room');
    return false;
  };
  expect(await failureOf(source, model, hang)).toEqual(code('SOURCE_UNREACHABLE'));
  expect((await reader())?.[0]).toBe(hung?.[0]);
  await run(source, model, () => model.events === (load === '' ? 2 : 5001));
  await sameAsTable(model, db, 't');
  expect((await db.sql.query('select 1 from pg_stat_activity where pid = $1', [hung?.[0] ?? ''])).rows).toEqual([]);
});

test('another instance that took the slot over since is left alone', async () => {
  const [before, now] = [db.source({ clock: hasty }), db.source()];
  const model = new Model();
  await run(before, model, async () => {
    if (model.batches === 1) await db.sql.script(`insert into t values (1, 'a')`);
    return model.events === 1;
  });
  await db.sql.script(`insert into t values (2, 'b')`);
  await run(now, model, async () => {
    if (model.events < 2) return false;
    const session = await reader();
    expect(session).not.toBeNull();
    expect(await failureOf(before, new Model())).toEqual(code('SOURCE_SLOT_ACTIVE'));
    expect((await reader())?.[0]).toBe(session?.[0]);
    return true;
  });
});

test('a session that got the number of the one that is gone is left alone', async () => {
  await run(db.source(), new Model(), () => true);
  await using other = await PgConnection.connect({ url: db.url, replication: 'database' });
  const session = await sessionOf(other);
  await other.copyBoth(`START_REPLICATION SLOT ${db.slot} LOGICAL 0/0 (proto_version '1', publication_names 'tidegate')`, {
    message: () => {},
    drained: () => {},
    isBehind: () => false,
  });
  const [pid, , startedAt] = (await reader()) ?? [];
  expect(session).toEqual({ pid, startedAt });
  const parts = { catalog: db.sql, options: { slot: db.slot }, clock: hasty };
  const former = { pid: pid ?? '', startedAt: String(Number(startedAt) - 1) };
  await expect(freeSlot({ ...parts, former }, null, new AbortController().signal)).rejects.toEqual(code('SOURCE_SLOT_ACTIVE'));
  expect((await reader())?.[0]).toBe(pid);
  expect(await freeSlot({ ...parts, former: session }, null, new AbortController().signal)).toMatchObject({ active: false });
});

test('a walsender that hangs before it streams is given up', async () => {
  await using walsender = await PgConnection.connect({ url: throughPort(db.url, proxy.port), replication: 'database' });
  proxy.forget();
  await expect(answeredWithin(walsender, 100, systemClock, () => sessionOf(walsender))).rejects.toThrow(/no answer for 100 ms/);
});

test('one that hangs while it is asked which log it writes is given up as well', async () => {
  const connect = async (): Promise<PgConnection> => {
    const walsender = await PgConnection.connect({ url: throughPort(db.url, proxy.port), replication: 'database' });
    proxy.forget();
    return walsender;
  };
  await expect(findPlace(null, { connect, silenceMs: 100, clock: systemClock })).rejects.toEqual(code('SOURCE_UNREACHABLE'));
});
