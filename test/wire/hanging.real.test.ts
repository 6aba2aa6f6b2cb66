/** A connection that hangs without being closed is found out; one whose server is only slow is left alone. */
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { endWhereItHangs } from '../../wire/postgres/hanging.ts';
import { CutProxy } from '../e2e/proxy.ts';

const SILENCE_MS = 150;

let proxy: CutProxy;
let url: string;
let direct: PgConnection;

beforeEach(async () => {
  const server = new URL(inject('sourceServer'));
  direct = await PgConnection.connect({ url: server.href });
  proxy = await CutProxy.listen(Number(server.port));
  server.port = String(proxy.port);
  url = server.href;
});
afterEach(async () => {
  await direct.close();
  await proxy[Symbol.asyncDispose]();
});

/** A connection through the proxy that is watched, once the watch has begun. */
async function watched(): Promise<PgConnection> {
  const sql = await PgConnection.connect({ url });
  endWhereItHangs(sql, { url, silenceMs: SILENCE_MS });
  await sql.query('select 1'); // Answered in order: the watch has its own answer by now.
  return sql;
}

test('a statement that never arrives ends the connection, and a session in a transaction does not hide it', async () => {
  const sql = await watched();
  await sql.script('begin');
  proxy.forget();
  await expect(sql.query('select 1')).rejects.toThrow(
    /the connection hangs: nothing was answered for 150 ms, and its session waits for us/,
  );
});

test('an answer that never comes ends the connection, whether or not the session is still there', async () => {
  const sql = await watched();
  const [[pid = null] = []] = (await sql.query('select pg_backend_pid()')).rows;
  proxy.forget();
  await direct.query('select pg_terminate_backend($1::int, 5000)', [pid]);
  await expect(sql.query('select 1')).rejects.toThrow(/and its session is gone/);
});

test('a server that nobody can reach any more ends the connection', async () => {
  const sql = await watched();
  proxy.silence();
  await expect(sql.query('select 1')).rejects.toThrow(/and the server cannot be reached/);
});

test('a long statement, one that waits for a lock, and a connection that is owed nothing are left alone', async () => {
  const [working, blocked, idle] = await Promise.all([watched(), watched(), watched()]);
  await direct.query('select pg_advisory_lock(4711)');
  const locked = blocked.query('select pg_advisory_xact_lock(4711)');
  await working.query('select pg_sleep($1)', [(SILENCE_MS * 6) / 1000]);
  await direct.query('select pg_advisory_unlock(4711)');
  await locked;
  await idle.query('select 1');
  await Promise.all([working.close(), blocked.close(), idle.close()]);
});

test('a copy whose reader takes its time is left alone', async () => {
  const sql = await watched();
  const rows = sql.copyOut("copy (select repeat('x', 1000) from generate_series(1, 50000)) to stdout");
  await rows.next();
  const other = await watched();
  await other.query('select pg_sleep($1)', [(SILENCE_MS * 6) / 1000]); // As long as a reader may be busy with the first piece.
  for await (const _ of rows);
  await expect(sql.query('select 1')).resolves.toMatchObject({ rows: [['1']] });
  await Promise.all([sql.close(), other.close()]);
});
