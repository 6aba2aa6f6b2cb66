/**
 * Whether a look at the source has seen all that was committed before a moment. PostgreSQL writes a commit into the log, from which a lane reads it, a
 * moment before it lets others see it; with a synchronous standby that hangs, the moment is long.
 */
import { type Clock } from '../../core/clock.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';

/** How long a commit may take to be seen by others; only a synchronous standby makes it longer, and that is looked at by itself. */
const SETTLE_MS = 2000;
const POLL_MS = 20;

/** Every transaction locks its own id until others see how it ended; a snapshot does not tell of the newest ones. */
const RUNNING_SQL = `select distinct transactionid from pg_catalog.pg_locks where locktype = 'transactionid' and mode = 'ExclusiveLock' and granted`;
const ACTIVITY_SQL = 'select backend_xid, state, wait_event from pg_catalog.pg_stat_activity where backend_xid is not null';

export class Settling {
  readonly #sql: PgConnection;
  readonly #clock: Clock;
  /** Since when transactions that are under way have been seen so. */
  readonly #since = new Map<number, number>();

  constructor(sql: PgConnection, clock: Clock) {
    this.#sql = sql;
    this.#clock = clock;
  }

  /** The transactions that are under way, by their 32-bit ids. */
  async running(): Promise<ReadonlySet<number>> {
    const { rows } = await this.#sql.query(RUNNING_SQL);
    const running = new Set(rows.map(([xid]) => Number(xid)));
    for (const xid of this.#since.keys()) if (!running.has(xid)) this.#since.delete(xid);
    for (const xid of running) if (!this.#since.has(xid)) this.#since.set(xid, this.#clock.monotonic());
    return running;
  }

  /**
   * Whether a snapshot has seen all of the transactions under way before that had committed by then. One that waits for its client has not
   * committed. One that has been under way for long may do so just now, but that takes no time worth speaking of.
   */
  async hasSeen(snapshot: string, before: ReadonlySet<number>): Promise<boolean> {
    const isVisible = visibility(snapshot);
    const left = [...before].filter((xid) => !isVisible(xid));
    if (left.length === 0) return true;
    const activity = await this.#sql.query(ACTIVITY_SQL);
    const known = new Map(activity.rows.map(([xid, state, waitsFor]) => [Number(xid), { state, waitsFor }]));
    const atMs = this.#clock.monotonic();
    return left.every((xid) => {
      const { state = null, waitsFor = null } = known.get(xid) ?? {};
      if (state?.startsWith('idle') === true) return true;
      return waitsFor !== 'SyncRep' && atMs - (this.#since.get(xid) ?? atMs) >= SETTLE_MS;
    });
  }

  /** Waits until all that was committed before the call is seen by whoever looks next. False where that takes too long: a commit waits for a standby. */
  async settle(signal: AbortSignal): Promise<boolean> {
    const before = await this.running();
    const deadline = this.#clock.monotonic() + 2 * SETTLE_MS;
    for (;;) {
      const snapshot = await snapshotOf(this.#sql);
      if (await this.hasSeen(snapshot, before)) return true;
      if (signal.aborted || this.#clock.monotonic() > deadline) return false;
      await this.#clock.sleep(POLL_MS, signal);
    }
  }
}

/** What the statements around it see, for `visibility`. */
export async function snapshotOf(connection: PgConnection): Promise<string> {
  return (await connection.query(SNAPSHOT_SQL)).rows[0]?.[0] ?? '';
}

export const SNAPSHOT_SQL = 'select pg_catalog.pg_current_snapshot()::text';

/** Whether a transaction (its 32-bit id, as the log has it) had ended for those who hold this snapshot: `xmin:xmax:xip,xip…`. */
export function visibility(snapshot: string): (xid: number) => boolean {
  const [, xmax = '0', list = ''] = snapshot.split(':');
  const low = (text: string): number => Number(BigInt.asUintN(32, BigInt(text)));
  const limit = low(xmax);
  const running = new Set(list === '' ? [] : list.split(',').map(low));
  return (xid) => ((xid - limit) | 0) < 0 && !running.has(xid);
}

const SEEN_ROUNDS = 200;
const SEEN_POLL_MS = 5;

/**
 * A commit is in the log a moment before others see it: what it did to tables and their catalog is not there yet. Where that takes longer (it waits for a standby), what is read is of the
 * past, and says less for sure: then it answers false, as when `signal` aborts.
 */
export async function untilSeen(sql: PgConnection, xid: number, clock: Clock, signal: AbortSignal): Promise<boolean> {
  for (let round = 0; round < SEEN_ROUNDS && !signal.aborted; round++) {
    if (visibility(await snapshotOf(sql))(xid)) return true;
    await clock.sleep(SEEN_POLL_MS, signal);
  }
  return false;
}
