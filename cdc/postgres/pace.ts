/**
 * How fast rows are read beside the log, over all connections that read them and from run to run: not at all while somebody has paused it, no more
 * rows a second than is allowed, and no chunk while too many sessions of others are at work at the source.
 */
import type { Clock } from '../../core/clock.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';

export interface PaceOptions {
  /** No more rows a second than so many; null: as many as there is room for. */
  readonly rowsPerSecond: number | null;
  /** The same of rows that are read again. */
  readonly rereadRowsPerSecond: number | null;
  /** With so many sessions of others at work no chunk is read; null: however many there are. */
  readonly busySessions: number | null;
  readonly clock: Clock;
}

/** Why no chunk is read just now; null where chunks are read. */
export type SnapshotWait = 'paused' | 'rate' | 'busy';

/** Between two looks at a source that is busy. */
const BUSY_POLL_MS = 1000;

/** Ours have a name of their own. Autovacuum, walsenders and the like are no clients. */
const ACTIVE_SQL = `select pg_catalog.count(*) from pg_catalog.pg_stat_activity
  where state = 'active' and backend_type = 'client backend' and application_name not like 'tidegate %'`;

export class Pace {
  readonly #options: PaceOptions;
  readonly #all: Limit;
  readonly #again: Limit;
  #isPaused = false;
  #resumed: PromiseWithResolvers<void> = Promise.withResolvers();
  #wait: SnapshotWait | null = null;

  constructor(options: PaceOptions) {
    this.#options = options;
    this.#all = new Limit(options.rowsPerSecond);
    this.#again = new Limit(options.rereadRowsPerSecond);
  }

  get wait(): SnapshotWait | null {
    return this.#isPaused ? 'paused' : this.#wait;
  }

  /** What is being read is read to its end; nothing is begun until `resume`. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#resumed.resolve();
    this.#resumed = Promise.withResolvers();
  }

  /** Rows of one chunk at most: about a second's worth. */
  rowsMax(isAgain: boolean): number {
    return Math.min(this.#all.rowsMax, isAgain ? this.#again.rowsMax : Number.POSITIVE_INFINITY);
  }

  /** Resolves when a chunk may be read, or at the end. */
  async turn(connection: PgConnection, isAgain: boolean, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      if (this.#isPaused) {
        await this.#untilResumed(signal);
        continue;
      }
      const now = clock.monotonic();
      const waitMs = Math.max(this.#all.waitMs(now), isAgain ? this.#again.waitMs(now) : 0);
      if (waitMs > 0) {
        this.#wait = 'rate';
        await clock.sleep(waitMs, signal);
      } else if (await this.#isBusy(connection)) {
        this.#wait = 'busy';
        await clock.sleep(BUSY_POLL_MS, signal);
      } else {
        this.#wait = null;
        return;
      }
    }
  }

  /** So many rows were read: whoever is next waits for as long as they would have taken. */
  took(rows: number, isAgain: boolean): void {
    const now = this.#options.clock.monotonic();
    this.#all.took(rows, now);
    if (isAgain) this.#again.took(rows, now);
  }

  async #isBusy(connection: PgConnection): Promise<boolean> {
    const { busySessions } = this.#options;
    if (busySessions === null) return false;
    return Number((await connection.query(ACTIVE_SQL)).rows[0]?.[0] ?? 0) >= busySessions;
  }

  async #untilResumed(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = this.#resumed;
    signal.addEventListener('abort', () => resolve(), { once: true });
    if (!signal.aborted) await promise;
  }
}

/** Rows a second, whoever reads them: each chunk is paid for before the next begins. */
class Limit {
  readonly #rowsPerSecond: number;
  #freeAtMs = Number.NEGATIVE_INFINITY;

  constructor(rowsPerSecond: number | null) {
    this.#rowsPerSecond = rowsPerSecond ?? Number.POSITIVE_INFINITY;
  }

  get rowsMax(): number {
    return Math.max(1, this.#rowsPerSecond);
  }

  waitMs(now: number): number {
    return this.#freeAtMs - now;
  }

  took(rows: number, now: number): void {
    this.#freeAtMs = Math.max(this.#freeAtMs, now) + (1000 * rows) / this.#rowsPerSecond;
  }
}
