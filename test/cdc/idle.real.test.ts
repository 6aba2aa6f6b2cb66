/** A database in which nothing happens, on a server where others write: its slot must not keep their log. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EmbeddedServer, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { eventually } from '../support/eventually.ts';
import { Model, run, testDatabase } from './support.ts';

const MIB = 1 << 20;
let own: EmbeddedServer;
let sql: PgConnection;

beforeAll(async () => {
  own = await startEmbeddedPostgres();
  sql = await PgConnection.connect({ url: own.url() });
});
afterAll(async () => {
  await sql?.close();
  await own?.stop();
});

/** Log of another database, and what moves slots on: a note of which transactions run. */
async function write(mib: number): Promise<void> {
  for (let n = 0; n < mib; n++) await sql.script(`select pg_logical_emit_message(false, 'other', repeat('x', ${MIB}))`);
  await sql.script('checkpoint');
}
async function kept(slot: string): Promise<number> {
  const found = await sql.query('select pg_current_wal_insert_lsn() - restart_lsn from pg_replication_slots where slot_name = $1', [slot]);
  return Number(found.rows[0]?.[0]);
}

test('its lane is moved on every so often, and with it the slot', async () => {
  await using db = await testDatabase(own.url(), 'create table t (id int primary key)');
  const model = new Model();
  const following = async (timing: { idleMs: number; idleBytes: number }, work: () => Promise<void>): Promise<void> => {
    let isOver = false;
    const running = run(db.source({ timing: { statusMs: 50, ...timing } }), model, () => isOver);
    await eventually(() => model.batches > 0, 'the lane has begun');
    await work();
    isOver = true;
    await db.sql.script(`insert into t select count(*) from t`);
    await running;
  };
  await following({ idleMs: 1e9, idleBytes: 1 }, async () => {
    await write(24);
    expect(await kept(db.slot)).toBeGreaterThan(24 * MIB);
  });
  await following({ idleMs: 20, idleBytes: 65_536 }, async () => {
    for (let round = 0; round < 3; round++) {
      await write(24);
      await eventually(async () => {
        await sql.script('checkpoint');
        return (await kept(db.slot)) < MIB;
      }, 'the slot keeps next to nothing');
    }
  });
});

test('transactions of others that are sent without a change leave nothing to be done', async () => {
  await using db = await testDatabase(own.url(), 'create table t (id int primary key); create table others (id int)');
  const source = db.source({ timing: { statusMs: 20, idleMs: 1e9 } });
  const model = new Model();
  let isOver = false;
  const running = run(source, model, () => isOver);
  await eventually(() => source.status().committedLsn !== null, 'the lane has a checkpoint');
  // The first is sent by every server, the second by those before PostgreSQL 15.
  await db.sql.script(`begin; select pg_logical_emit_message(true, 'other', 'x'); commit; insert into others values (1)`);
  const end = (await db.sql.query(`select lpad(to_hex((pg_current_wal_lsn() - '0/0')::bigint), 16, '0')`)).rows[0]?.[0] ?? '';
  await eventually(() => (source.status().serverLsn ?? '') >= end, 'the lane has read that');
  expect(source.status().isBehind).toBe(false);
  isOver = true;
  await db.sql.script('insert into t values (1)');
  await running;
});
