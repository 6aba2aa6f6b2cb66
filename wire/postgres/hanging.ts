/**
 * A connection can hang without anybody being told: a firewall between forgot it, a machine froze. The system finds that out after a quarter of an
 * hour, and not at all while something between still answers for the server. A server that works on a long statement, or waits for a lock, looks the same from
 * here. So while an answer is owed and nothing comes, the server is asked over another connection what the session does: one that waits for us, while we
 * wait for it, will never answer.
 */
import { type Clock, systemClock } from '../../core/clock.ts';
import { PgConnection, PgConnectionError } from './connection.ts';

export interface HangOptions {
  readonly url: string;
  /** How long a session may be seen to do nothing about what it was asked. The end comes within twice that. */
  readonly silenceMs: number;
  readonly clock?: Clock;
}

const LOOKS = 3;

/** Ends the connection (not a replication stream) with a PgConnectionError where it hangs. Watches it until it is gone, and holds nothing up. */
export function endWhereItHangs(connection: PgConnection, options: HangOptions): void {
  // Resolves in any case: what fails on the way is the connection itself, and then there is nothing to watch.
  void watch(connection, options).catch(() => {});
}

async function watch(connection: PgConnection, { url, silenceMs, clock = systemClock }: HangOptions): Promise<void> {
  const gone = new AbortController();
  void connection.closed.then(() => gone.abort());
  // Behind a pooler the number that the login told is not the session's.
  const [pid = null] = (await connection.query('select pg_catalog.pg_backend_pid()')).rows[0] ?? [];
  let progress = '';
  let doing: string | null = null;
  let looks = 0;
  for (;;) {
    await clock.sleep(silenceMs / LOOKS, gone.signal);
    if (gone.signal.aborted) return;
    const now = `${connection.bytesRead} ${connection.bytesUnsent}`;
    const seen: string | null = connection.isOwed && now === progress ? await lookAt(pid, url, silenceMs, gone.signal) : null;
    looks = seen !== null && seen === doing ? looks + 1 : 1;
    progress = now;
    doing = seen;
    if (doing === null || looks < LOOKS) continue;
    connection.destroy(new PgConnectionError(`the connection hangs: nothing was answered for ${silenceMs} ms, and ${doing}`));
    return;
  }
}

/** What can be said against the session, in words that change when it does something; null where nothing can. */
async function lookAt(pid: string | null, url: string, silenceMs: number, signal: AbortSignal): Promise<string | null> {
  try {
    await using other = await PgConnection.connect({ url, applicationName: 'tidegate look', connectTimeoutMs: silenceMs }, signal);
    const { rows } = await other.query(
      `select wait_event_type is not distinct from 'Client', state, state_change from pg_catalog.pg_stat_activity where pid = $1`,
      [pid],
    );
    const [session] = rows;
    if (session === undefined) return 'its session is gone';
    const [waits, state, since] = session;
    return waits === 't' ? `its session waits for us (${state ?? ''} since ${since ?? ''})` : null;
  } catch (error) {
    // A server that refuses us may still be at work for the other session.
    return error instanceof PgConnectionError ? 'the server cannot be reached' : null;
  }
}
