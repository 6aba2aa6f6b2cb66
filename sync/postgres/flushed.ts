/** Commits that a server answers before they are on its disk (synchronous_commit = off): it writes them there soon after. */
import type { Clock } from '../../core/clock.ts';
import type { Turns } from './turns.ts';

const DOING = 'asking what is on the disk of the target';
/** Most often it takes twice the server's wal_writer_delay, which is 200 ms. */
const LOOK_MS = 100;

/** Resolves once all that is in the server's log by now is on its disk, or `signal` aborts. */
export async function untilFlushed(turns: Turns, clock: Clock, signal: AbortSignal): Promise<void> {
  const { rows } = await turns.query(DOING, 'select pg_catalog.pg_current_wal_insert_lsn()', []);
  const end = rows[0]?.[0] ?? null;
  for (;;) {
    await clock.sleep(LOOK_MS, signal);
    if (signal.aborted) return;
    const { rows: found } = await turns.query(DOING, 'select pg_catalog.pg_current_wal_flush_lsn() >= $1::pg_catalog.pg_lsn', [end]);
    if (found[0]?.[0] === 't') return;
  }
}
