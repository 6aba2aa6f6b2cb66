/**
 * Sessions at the target beside the lane's own, so that several batches of a lane are written at the same time. They write what has no row in common, and
 * commit one after the other: a batch's transaction is ended once the one before it is in, so whoever reads the target sees the lane's order all the same. (MySQL's
 * appliers do this with write sets and replica_preserve_commit_order.)
 *
 * A worker is only ever a help: whatever it cannot do is rolled back, and the lane's own session does it in its turn.
 */
import type { EventRun, Scores } from '../../core/batch.ts';
import { type PgConnection, PgError, type PgResult } from '../../wire/postgres/connection.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import { FENCED } from './migrations.ts';
import type { Statements } from './statements.ts';
import type { WrittenRows } from './whole-rows.ts';
import type { Writes } from './writes.ts';

/** A session that knows how to write batches. */
export interface Writer {
  readonly sql: PgConnection;
  readonly statements: Statements;
  readonly writes: Writes;
}

/** One for the batch that is ended next, one for the batch behind it. */
export const WORKERS = 2;
/** After a batch that had to be written by itself after all, so many are. */
const REST_BATCHES = 32;
const BEGIN = 'tg_begin';
const COMMIT = 'tg_commit';
/** Sessions that went away in the middle of their end, or with their server: nobody knows what became of it. */
const ENDED_BY_SERVER = /^(?:08|57P|58|F0|XX)/;

/** Nothing of a batch was written, and it is not the batch's fault: its turn will come. */
export class NotInTurn extends Error {
  override readonly name = 'NotInTurn';
}

/** What every session that may work beside another has to know. A role's own isolation would have each of them fail for the one before it. */
export function prepareWorker(writer: FrontendWriter): void {
  writer.parse(BEGIN, 'begin isolation level read committed').parse(COMMIT, 'commit');
}

/** Behind all that a batch has to say. */
export const emitCommit = (writer: FrontendWriter): FrontendWriter => writer.bind('', COMMIT, [], Format.Text).execute().sync();

export class Workers {
  readonly #open: (signal: AbortSignal) => Promise<Writer>;
  readonly #max: number;
  readonly #workers: Worker[] = [];
  readonly #closed = new AbortController();
  /** One at a time; null while none is opened. Never rejects. */
  #opening: Promise<void> | null = null;
  #rest = 0;

  constructor(max: number, open: (signal: AbortSignal) => Promise<Writer>) {
    this.#max = max;
    this.#open = open;
  }

  /** One that has nothing to wait for; null where there is none now. The first who asks has them opened. */
  free(): Worker | null {
    if (this.#rest > 0) {
      this.#rest--;
      return null;
    }
    const idle = this.#workers.find((worker) => worker.isFree && worker.isIdle);
    if (idle !== undefined) return idle;
    if (this.#workers.filter((worker) => worker.isOpen).length < this.#max) this.#opening ??= this.#openOne();
    return this.#workers.find((worker) => worker.isFree) ?? null;
  }

  /** A batch that a worker wrote had to be written by itself: perhaps the next ones have to be, too. */
  rest(): void {
    this.#rest = REST_BATCHES;
  }

  forget(): void {
    for (const worker of this.#workers) worker.forget();
  }

  avoidAppends(plan: Parameters<Writes['avoidAppends']>[0]): void {
    for (const { writes } of this.#workers) writes.avoidAppends(plan);
  }

  destroy(): void {
    this.#closed.abort();
    for (const worker of this.#workers) worker.destroy();
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.all([this.#opening, ...this.#workers.map((worker) => worker.close())]);
  }

  async #openOne(): Promise<void> {
    const { signal } = this.#closed;
    try {
      const worker = new Worker(await this.#open(signal), () => this.rest());
      if (signal.aborted) worker.destroy();
      const gone = this.#workers.findIndex(({ isOpen }) => !isOpen);
      if (gone >= 0) this.#workers.splice(gone, 1);
      this.#workers.push(worker);
    } catch {
      this.rest(); // No connections left, perhaps: the lane goes on by its own.
    } finally {
      this.#opening = null;
    }
  }
}

export class Worker {
  readonly #writer: Writer;
  readonly #onRefused: () => void;
  /** Has a transaction that another one has to be in before. */
  #isWaiting = false;
  #batches = 0;
  #isLearning = false;

  constructor(writer: Writer, onRefused: () => void) {
    this.#writer = writer;
    this.#onRefused = onRefused;
  }

  get writes(): Writes {
    return this.#writer.writes;
  }

  get isOpen(): boolean {
    return this.#writer.sql.open;
  }

  get isIdle(): boolean {
    return this.#batches === 0;
  }

  /** It may be at work still, on what nothing has to be in before any more. */
  get isFree(): boolean {
    return this.isOpen && !this.#isWaiting && !this.#isLearning;
  }

  /** Prepares what it does not know yet; until then it is not free. */
  learn(rows: Pick<WrittenRows, 'groups'> | EventRun, scores: readonly Scores[]): void {
    this.#isLearning = true;
    void this.#learn(rows, scores);
  }

  async #learn(rows: Pick<WrittenRows, 'groups'> | EventRun, scores: readonly Scores[]): Promise<void> {
    try {
      await ('look' in rows ? this.writes.learnRun(rows) : this.writes.learn(rows, scores));
    } catch {
      // What is wrong with the table is for the lane's own session to say. The next worker is not opened for the same at once.
      this.#onRefused();
      this.destroy();
    } finally {
      this.#isLearning = false;
    }
  }

  /**
   * Writes at once, and ends the transaction with what `end` has, which commits, once `before` says that the batch before is in. Rejects with NotInTurn
   * where nothing was written and the batch may be sent again.
   */
  async write(rows: readonly Uint8Array[], end: Uint8Array, before: Promise<boolean>): Promise<readonly PgResult[]> {
    this.#isWaiting = true;
    this.#batches++;
    try {
      return await this.#write(rows, end, before);
    } finally {
      this.#batches--;
    }
  }

  async #write(rows: readonly Uint8Array[], end: Uint8Array, before: Promise<boolean>): Promise<readonly PgResult[]> {
    const { sql } = this.#writer;
    const begin = new FrontendWriter(64).bind('', BEGIN, [], Format.Text).execute();
    const written = sql.exchange([begin.bytes(), ...rows]);
    written.catch(() => {}); // Read below.
    const isIn = await before;
    this.#isWaiting = false;
    if (!isIn || !sql.open) {
      if (sql.open) this.#rollback();
      throw new NotInTurn('the batch before it is not in');
    }
    // Not only when the rows are answered for: the target is not to wait for us.
    const ended = sql.exchange(end);
    ended.catch(() => {}); // Read below.
    let isWritten = false;
    try {
      await written;
      isWritten = true;
      return await ended;
    } catch (error) {
      if (!(error instanceof PgError) || (isWritten && (ENDED_BY_SERVER.test(error.code) || error.code === FENCED))) throw error;
      if (sql.open) this.#rollback();
      if (error.code !== '23505') this.#onRefused(); // A key that is there is seen to by itself.
      throw new NotInTurn('it has to be written by itself', { cause: error });
    }
  }

  destroy(): void {
    this.#writer.sql.destroy();
  }

  async close(): Promise<void> {
    await this.#writer.sql.close();
  }

  forget(): void {
    this.#writer.statements.forget();
  }

  #rollback(): void {
    this.#writer.sql.script('rollback').catch(() => {}); // Ends with the session, too.
  }
}
