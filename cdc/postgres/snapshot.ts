/**
 * The rows a table already has, in chunks that take their place in the log (Netflix's DBLog, arXiv:2010.12597, with PostgreSQL's means).
 *
 * A chunk is read between two messages in the log, its low and its high mark: a row of the chunk is as good as the log at the high mark
 * unless its key changed between them, and such keys the log itself has. On this connection, for each chunk:
 *
 * 1. the low mark, in a transaction of its own;
 * 2. one REPEATABLE READ transaction that locks the table against DDL (ACCESS SHARE), notes its snapshot, reads the chunk and emits the high mark:
 *    so no DDL or TRUNCATE commits between the rows and the mark.
 *
 * The marks are *transactional* messages: they have a commit in the log, whose end is a place where the lane can stand, and which is flushed at
 * once (a walsender reads only what is flushed). A transaction that is in the log before the low mark may not be visible yet when the chunk's
 * snapshot is taken (PostgreSQL logs a commit before it lets others see it); the reader of the log knows such transactions and compares them with the
 * snapshot (`isVisible`), and such a chunk is read again.
 *
 * Rows that are read again for somebody come the same way, and so take their place before whatever changes them next.
 */
import type { Clock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import { type CopyMemory, CopyPool } from '../../wire/postgres/copy-memory.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import type { PgRelation } from '../../wire/postgres/row.ts';
import { type CatalogTable, quotedTable } from './catalog.ts';
import { betweenMarks, type Chunk, chunkSql, keyTexts, type MarkParts, operatorPath, setPath, typePath } from './chunk.ts';
import { columnSight, type ColumnSight, mayBeAlone } from './column-rows.ts';
import { CopyReader } from './copy-reader.ts';
import { type Cancelled, copyUntil, unlessCancelled } from './copy-until.ts';
import { readKeyRows } from './key-reader.ts';
import { jobOf, type TableProgress, withWholeRows } from './lane-position.ts';
import type { Pace } from './pace.ts';
import { Settling } from './settle.ts';

export interface SnapshotParts extends MarkParts {
  readonly connect: () => Promise<PgConnection>;
  /** Tells the marks of this run from those of an earlier one that are still in the log. */
  readonly run: string;
  readonly chunkRows: number;
  /** A chunk ends early when it has this many bytes. */
  readonly chunkBytes: number;
  readonly rowBytesMax: number;
  /** Rows that are named by their keys, of one chunk. */
  readonly keysMax: number;
  /** So many connections read at once, and so many chunks may be in memory. */
  readonly parallel: number;
  readonly pace: Pace;
  readonly clock: Clock;
  /** Whether the first copy of a table begins once one of `left` is copied to its end. */
  readonly comesAfter: (table: string, left: readonly string[]) => boolean;
  readonly failed: (error: unknown) => void;
  /** Told of a table that was dropped: there is nothing to be copied of it any more. */
  readonly gone: (table: string) => void;
  /** What is read again for somebody cannot be read: its condition fails, or its table is gone. The lane goes on without it. */
  readonly gaveUp: (id: string, why: string) => void;
}

/** How a job is begun. */
export interface Beginning {
  /** Whether transactions that began before the table was published may still write to it. */
  readonly isNewlyPublished: boolean;
  /** Whether the rows have been there before: they are read at the pace of those. */
  readonly isAgain: boolean;
}

/** One table, or a part of one, that is read chunk after chunk. */
interface Job extends Beginning {
  progress: TableProgress;
  /** Grows when it is begun again: what was read before is not wanted any more. */
  generation: number;
  /** Whether one of the connections reads it. */
  isTaken: boolean;
  /** Rows of the next chunk: as many as fit the bytes by what was read; null until something was. */
  rows: number | null;
}

/** Where nobody knows how large rows are. */
const FIRST_ROWS = 500;
const FIRST_KEYS = 16;

/** Reads chunk after chunk of several tables at once; the reader of the log takes each when it meets its high mark. */
export class SnapshotReader {
  readonly #parts: SnapshotParts;
  readonly #jobs = new Map<string, Job>();
  readonly #chunks = new Map<string, { readonly job: Job; readonly chunk: Promise<Chunk> }>();
  /** Chunks about to be read, which have their room already. */
  #reserved = 0;
  #number = 0;
  readonly #stopping = new AbortController();
  readonly #connections: Promise<void>[] = [];
  readonly #pool = new CopyPool();
  #settled: Promise<void> | null = null;
  #changed: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
  }

  /** Begins to read this, or begins again from here, where it has been begun: what was read of it and not emitted is forgotten. */
  begin(progress: TableProgress, beginning?: Beginning): void {
    const name = jobOf(progress);
    const known = this.#jobs.get(name);
    const isAgain = (beginning ?? known)?.isAgain === true;
    const isNewlyPublished = beginning?.isNewlyPublished === true || known?.isNewlyPublished === true;
    const generation = (known?.generation ?? 0) + 1;
    const rows = known?.rows ?? null;
    for (const [id, { job }] of this.#chunks) if (job === known) this.#chunks.delete(id);
    this.#jobs.set(name, { progress, isNewlyPublished, isAgain, generation, isTaken: false, rows });
    const left = [...this.#jobs.values()].filter(({ progress: { done } }) => !done).length;
    if (this.#connections.length < Math.min(this.#parts.parallel, left)) this.#connections.push(this.#connection());
    this.#wake();
  }

  /** Reads no more of it. */
  drop(name: string): void {
    const known = this.#jobs.get(name);
    for (const [id, { job }] of this.#chunks) if (job === known) this.#chunks.delete(id);
    this.#jobs.delete(name);
    this.#wake();
  }

  /** Whose chunk the marks `id` stand around; null for marks that are not (or no longer) of interest. */
  progressOf(id: string): TableProgress | null {
    return this.#chunks.get(id)?.job.progress ?? null;
  }

  /** The chunk whose high mark was met. */
  async take(id: string): Promise<Chunk | null> {
    return (await this.#chunks.get(id)?.chunk) ?? null;
  }

  /** The chunk is emitted; another may be read. */
  release(id: string): void {
    this.#chunks.delete(id);
    this.#wake();
  }

  stop(): void {
    this.#stopping.abort();
    this.#wake();
  }

  /** After `stop`: resolves when nothing is read any more. */
  async ended(): Promise<void> {
    await Promise.all(this.#connections);
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  async #connection(): Promise<void> {
    try {
      await using connection = await this.#parts.connect();
      await (this.#settled ??= this.#settle(connection));
      while (!this.#stopped) {
        const job = this.#next();
        if (job === null) await this.#changed.promise;
        else await this.#readNext(connection, job);
      }
    } catch (error) {
      if (!this.#stopped) this.#parts.failed(error);
    }
  }

  /** A job that nobody reads, and with it the room for a chunk; null where there is none. The first is read to its end before the next where only one is. */
  #next(): Job | null {
    if (this.#chunks.size + this.#reserved >= this.#parts.parallel) return null;
    const left = [...this.#jobs.values()].filter(isFirstCopy).map(({ progress }) => progress.table);
    for (const job of this.#jobs.values()) {
      if (job.isTaken || job.progress.done) continue;
      if (isFirstCopy(job) && this.#parts.comesAfter(job.progress.table, left)) continue;
      job.isTaken = true;
      this.#reserved++;
      return job;
    }
    return null;
  }

  #isWanted(job: Job): boolean {
    return !this.#stopped && this.#jobs.get(jobOf(job.progress)) === job;
  }

  async #readNext(connection: PgConnection, job: Job): Promise<void> {
    const { pace, clock, run } = this.#parts;
    const { signal } = this.#stopping;
    const { progress, isAgain } = job;
    const id = `${run}.${this.#number++}`;
    let isReserved = true;
    try {
      if (progress.last === null && job.isNewlyPublished) await this.#untilWritersEnd(connection, progress.table);
      await pace.turn(connection, isAgain, signal);
      if (!this.#isWanted(job)) return;
      const reading = this.#read(connection, job, id);
      reading.catch(() => {}); // Awaited just below, and by whoever meets the high mark.
      this.#chunks.set(id, { job, chunk: reading });
      this.#reserved--;
      isReserved = false;
      const chunk = await reading;
      pace.took(chunk.rows.length + chunk.absent.length, isAgain);
      if (this.#isWanted(job)) job.progress = progressAfter(progress, chunk);
      else await clock.sleep(20, signal); // What made the chunk worthless may still be under way.
    } catch (error) {
      const isAsked = progress.reread !== undefined && progress.reread.columns === undefined;
      const isItsOwn = isAsked ? isOfTheRequest : isTableGone;
      if (!isItsOwn(error)) throw error;
      await connection.script('rollback');
      if (this.#isWanted(job)) this.#giveUp(progress, error);
    } finally {
      if (isReserved) this.#reserved--;
      job.isTaken = false;
      this.#wake();
    }
  }

  /** The rest goes on. */
  #giveUp({ table, reread }: TableProgress, error: Error): void {
    this.drop(reread?.id ?? table);
    if (reread === undefined) this.#parts.gone(table);
    else this.#parts.gaveUp(reread.id, faultOf(error));
  }

  /** Before the first chunk: a commit that an earlier run has read from the log, and that others still can't see, is not known to this run. */
  async #settle(connection: PgConnection): Promise<void> {
    const settling = new Settling(connection, this.#parts.clock);
    while (!this.#stopped && !(await settling.settle(this.#stopping.signal)));
  }

  /**
   * Before the first chunk of a table that was published while the slot was in use: transactions that had changed it before that are sent without
   * those changes. Once they have ended, the chunks have what they did.
   */
  async #untilWritersEnd(connection: PgConnection, table: string): Promise<void> {
    const writers = async (): Promise<(string | null | undefined)[]> => {
      const found = await connection.query(
        `select distinct l.virtualtransaction from pg_catalog.pg_locks l
          where l.locktype = 'relation' and l.granted
            and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
            and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
            and l.relation in (select $1::pg_catalog.regclass union all select p.relid from pg_catalog.pg_partition_tree($1::pg_catalog.regclass) p)`,
        [quotedTable(table)],
      );
      return found.rows.map(([transaction]) => transaction);
    };
    for (let left = await writers(); left.length > 0 && !this.#stopped;) {
      await this.#parts.clock.sleep(50, this.#stopping.signal);
      const now = await writers();
      left = left.filter((transaction) => now.includes(transaction));
    }
  }

  #read(connection: PgConnection, job: Job, id: string): Promise<Chunk> {
    return unlessCancelled(connection, (cancelled) => this.#readOnce(connection, job, id, cancelled));
  }

  async #readOnce(connection: PgConnection, job: Job, id: string, cancelled: Cancelled): Promise<Chunk> {
    const { table, last, reread } = job.progress;
    return betweenMarks(connection, this.#parts, id, table, `the snapshot of ${table}`, async (present, relation, snapshot) => {
      if (relation.dataset.keyless === true) throw new PipelineError('SOURCE_NO_KEY', `the snapshot of ${table}: it has no primary key`);
      const { chunkRows, chunkBytes, keysMax, pace } = this.#parts;
      const isByKeys = reread?.keys != null;
      const fitting = job.rows ?? (isByKeys ? FIRST_KEYS : await firstRows(connection, present, chunkBytes));
      const limit = Math.min(chunkRows, fitting, pace.rowsMax(job.isAgain));
      const head = { table, relation, snapshot };
      if (reread?.keys != null) {
        const keys = reread.keys.slice(0, Math.min(limit, keysMax));
        await setPath(connection, operatorPath(relation));
        const found = await readKeyRows(connection, present, relation, keys, this.#parts, cancelled);
        job.rows = nextRows(found.keys, found.keys, found.bytes, chunkBytes);
        return { ...head, ...found, complete: found.keys === reread.keys.length };
      }
      const where = reread?.where ?? null;
      const sight = await sightOf(connection, present, relation, job.progress);
      const memory = this.#pool.memory();
      const reader = new CopyReader(sight?.relation ?? relation, chunkBytes, memory);
      if (sight === null) return { ...head, rows: reader.take(), sight, absent: [], keys: 0, complete: true, cut: false };
      await setPath(connection, where === null ? operatorPath(relation) : typePath(relation));
      const sql = chunkSql(present, sight?.relation ?? relation, last, limit, where);
      await this.#copy(connection, sql, reader, memory, where !== null, cancelled);
      const { bytes, cut } = reader;
      const rows = reader.take();
      job.rows = nextRows(limit, rows.length, bytes, chunkBytes);
      const ofColumns = sight === undefined ? {} : { sight };
      return { ...head, rows, memory, absent: [], keys: 0, complete: !cut && rows.length < limit, cut: reader.isRowCut, ...ofColumns };
    });
  }

  async #copy(
    connection: PgConnection,
    sql: string,
    reader: CopyReader,
    memory: CopyMemory,
    isForeign: boolean,
    cancelled: Cancelled,
  ): Promise<void> {
    const { rowBytesMax } = this.#parts;
    await copyUntil(connection, sql, { rowBytesMax, isForeign, block: () => memory.block() }, cancelled, (bytes) => {
      reader.push(bytes);
      return reader.cut;
    });
  }
}

/** What is read of the rows: undefined for all of it, null for nothing, where the columns that are asked for are gone. Known from the first chunk on. */
async function sightOf(
  connection: PgConnection,
  { message }: CatalogTable,
  relation: PgRelation,
  { last, reread }: TableProgress,
): Promise<ColumnSight | null | undefined> {
  const { columns } = reread ?? {};
  if (columns === undefined || (last === null && !(await mayBeAlone(connection, message.oid, columns)))) return undefined;
  return columnSight(relation, columns);
}

/** Of a table that is not copied to its end. */
const isFirstCopy = ({ progress: { done, reread } }: Job): boolean => !done && reread === undefined;

/** Undefined table, or schema. */
const isTableGone = (error: unknown): error is Error =>
  error instanceof PgError
    ? error.code === '42P01' || error.code === '3F000'
    : error instanceof PipelineError && error.code === 'SOURCE_TABLE_MISSING';

/**
 * Rows of a table's first chunk, in its transaction, by what statistics say of their size. They may be larger than that, compressed or not counted well: so it
 * is to be half full, and is cut where it has more bytes than it may have.
 */
async function firstRows(connection: PgConnection, { message, rowsEstimated }: CatalogTable, chunkBytes: number): Promise<number> {
  if (rowsEstimated === null || rowsEstimated < FIRST_ROWS) return FIRST_ROWS;
  const found = await connection.query('select pg_catalog.pg_table_size($1::pg_catalog.oid::pg_catalog.regclass)', [String(message.oid)]);
  const bytes = Number(found.rows[0]?.[0] ?? 0);
  return bytes === 0 ? FIRST_ROWS : Math.max(FIRST_ROWS, Math.floor((0.5 * chunkBytes * rowsEstimated) / bytes));
}

/** Grows fast while rows prove small, shrinks at once when they don't: so a chunk cut for its bytes is an exception. */
function nextRows(limit: number, rows: number, bytes: number, chunkBytes: number): number {
  if (rows === 0) return limit;
  return Math.max(1, Math.min(limit * 8, Math.floor((0.8 * chunkBytes * rows) / bytes)));
}

/** Where a job is once the chunk is emitted. */
function progressAfter(progress: TableProgress, { rows, keys, complete, sight }: Chunk): TableProgress {
  const { reread } = progress;
  if (reread?.keys != null) return { ...progress, reread: { ...reread, keys: reread.keys.slice(keys) }, done: complete };
  const last = 'look' in rows && rows.length > 0 ? keyTexts(rows.look(rows.length - 1)) : progress.last;
  return { ...(sight === undefined ? withWholeRows(progress) : progress), last, done: complete };
}

/**
 * Whether what was asked for is at fault, and not the server or the way to it: SQL that fails (a division by zero, a column that is gone), a table
 * that is gone or has no key any more.
 */
function isOfTheRequest(error: unknown): error is Error {
  if (error instanceof PipelineError) return error.code === 'SOURCE_TABLE_MISSING' || error.code === 'SOURCE_NO_KEY';
  return error instanceof PgError && /^(?:0A|2|3F|42|54|P0)/.test(error.code);
}

/** The server's words where they are about the statement; about a cell they may quote it. */
function faultOf(error: Error): string {
  if (!(error instanceof PgError) || error.code.startsWith('42')) return error.message;
  return `the source cannot work its condition out for one of the rows (SQLSTATE ${error.code})`;
}
