/**
 * What is read beside the log: copies of tables, rows that are read again, and rows that were asked for by their keys. Their chunks take their place in the
 * queue when the log comes to their high marks; until then the log's own events of the table are gathered in their windows.
 */
import type { EventRun } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Version } from '../../core/event.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import type { CopiedRows } from '../../wire/postgres/copied-rows.ts';
import type { CopyMemory } from '../../wire/postgres/copy-memory.ts';
import type { PgRow } from '../../wire/postgres/row.ts';
import type { BatchLimits, BatchQueue } from './batches.ts';
import { ChunkWindow } from './chunk-window.ts';
import { type Chunk, keyTexts } from './chunk.ts';
import { widened } from './column-rows.ts';
import { type KeyReader, type KeyRequest, readRequest } from './key-reader.ts';
import {
  anew,
  awayTable,
  isLeft,
  jobOf,
  movedOn,
  nextStep,
  notBegun,
  progressOf,
  type RereadProgress,
  type SnapshotMark,
  snapshotMark,
  type TableProgress,
  withWholeRows,
} from './lane-position.ts';
import { checkKey } from './large-rows.ts';
import { EVENT_OVERHEAD_BYTES, PgEvent } from './pg-event.ts';
import type { PgoutputDecoder } from './pgoutput.ts';
import { isMissing, isPartial } from './row-cells.ts';
import { RowRun } from './row-run.ts';
import { SeenTransactions } from './seen.ts';
import { snapshotOf, visibility } from './settle.ts';
import type { SnapshotReader } from './snapshot.ts';

export interface BesideParts {
  /** `schema.table`. */
  readonly tables: ReadonlySet<string>;
  /** For questions to the catalog. */
  readonly catalog: PgConnection;
  readonly queue: BatchQueue;
  readonly limits: BatchLimits;
  /** False for a lane that is to follow changes alone: of tables that its places do not name it has no more than these. */
  readonly copies: boolean;
  /** Reads rows of tables in chunks, beside the log. */
  readonly readRows: () => SnapshotReader;
  /** Whether transactions that began before the tables still to be copied were published may still write to them. */
  readonly isNewlyPublished: boolean;
  /** Told how far it is with every chunk, to its end. */
  readonly onProgress: (tables: readonly TableProgress[]) => void;
  /** Told from which step of the snapshot on the positions say that these tables are read anew. */
  readonly onAgain: (tables: readonly string[], seq: number) => void;
  /** The same of rows that are read again for somebody. */
  readonly onRereads: (ids: readonly string[], seq: number) => void;
  /** Begins to read rows that were asked for. */
  readonly readKeys: (request: KeyRequest, onEnd: () => void) => KeyReader;
}

/** The reader of the log, as far as it matters here. */
export interface LogSide {
  isStopped(): boolean;
  /** Whether it stands between two transactions, and waits for nothing. */
  isBetween(): boolean;
  /** The lane is to have a checkpoint there … */
  want(place: string): void;
  /** … and has one now, where it can. */
  stand(): void;
  /** Of a table in the publication, as it was seen last; null where that is not known. */
  entryOf(table: string): string | null;
}

/** Requests for rows that wait; beyond them who asks has to ask again. */
const REQUESTS_MAX = 100;
const SEEN_MANY = 10_000;

export class BesideLog {
  readonly #parts: BesideParts;
  readonly #queue: BatchQueue;
  readonly #decoder: Pick<PgoutputDecoder, 'commitLsn' | 'committedAtMs'>;
  readonly #log: LogSide;
  #snapshot: SnapshotReader | null = null;
  /** Tables whose rows somebody wants to have read anew, once the transaction is over, and whether that is for what was not published. */
  readonly #again = new Map<string, boolean>();
  /** Tables that were not there any more before they were copied to their end, and whether that is because they have another name. */
  readonly #gone = new Map<string, boolean>();
  /** Rows that somebody wants to have read again, and those that are not wanted any more. */
  readonly #rereads: RereadProgress[] = [];
  readonly #dropped = new Set<string>();
  /** Rows that were asked for in the log, for one request at a time. */
  #keys: KeyReader | null = null;
  readonly #requests: KeyRequest[] = [];
  /** By the id of their marks. */
  readonly #windows = new Map<string, ChunkWindow>();
  #highMark: string | null = null;
  /** By job: what runs of one reading have in common, and how far that is. */
  readonly #passes = new Map<string, { readonly pass: object; readonly rowsDone: number }>();
  /** What chunks are in that were emitted as they were read, with the position of their last batch. */
  readonly #emitted: { readonly position: string; readonly memory: CopyMemory }[] = [];
  /** Transactions seen while chunks are read, that these may not have seen; see snapshot.ts. */
  readonly #seen = new SeenTransactions(SEEN_MANY);

  /** `decoder` has read the log up to where it is. */
  constructor(parts: BesideParts, decoder: Pick<PgoutputDecoder, 'commitLsn' | 'committedAtMs'>, log: LogSide) {
    this.#parts = parts;
    this.#queue = parts.queue;
    this.#decoder = decoder;
    this.#log = log;
  }

  get isReading(): boolean {
    return this.#snapshot !== null || this.#keys !== null;
  }

  /** Begins with what the queue's place has still to read. */
  start(): void {
    const { isNewlyPublished } = this.#parts;
    const { tables = [], rereads = [] } = this.#queue.snapshot ?? {};
    for (const table of tables) if (isLeft(table)) this.#reader().begin(table, { isNewlyPublished, isAgain: table.isAgain === true });
    for (const reread of rereads) this.#reader().begin(reread, { isNewlyPublished: false, isAgain: true });
  }

  /**
   * `xid`: of the transaction that the log stands in, which others may not see yet: no chunk is to be read without it. `isNewlyPublished`: what transactions wrote that may
   * still be open was not published then, and is not sent.
   */
  readAgain(table: string, { xid = null, isNewlyPublished = false }: { xid?: number | null; isNewlyPublished?: boolean } = {}): void {
    this.#again.set(table, isNewlyPublished || this.#again.get(table) === true);
    if (xid !== null) this.#seen.add(xid);
    if (this.#log.isBetween()) this.#beginAgain();
    else this.#sayAgain(table);
  }

  /** The positions say so from here on, inside a transaction too, though it begins after that: who goes on from the commit has to know. */
  #sayAgain(table: string): void {
    const mark = this.#queue.snapshot;
    const tables = this.#known(mark, this.#again).map((one) =>
      one.table === table ? { ...this.#anew(one), isAgain: hasBeenThere(progressOf(mark, table)) } : one,
    );
    this.#queue.beginAgain(snapshotMark((mark?.seq ?? 0) + 1, tables, mark?.rereads));
  }

  isAway(table: string): boolean {
    return progressOf(this.#queue.snapshot, table)?.isAway === true;
  }

  /** Tables that have another name at the source. */
  away(): readonly string[] {
    return (this.#queue.snapshot?.tables ?? []).filter(({ isAway }) => isAway === true).map(({ table }) => table);
  }

  /** From here on, inside a transaction too, the table has another name at the source. */
  goAway(table: string): void {
    if (this.isAway(table)) return void this.#again.delete(table); // It had its own for a moment.
    const mark = this.#queue.snapshot;
    const tables = this.#known(mark, new Set([table])).map((one) => (one.table === table ? awayTable(one) : one));
    this.#again.delete(table);
    this.#queue.beginAgain(snapshotMark((mark?.seq ?? 0) + 1, tables, mark?.rereads));
    this.#snapshot?.drop(table);
    this.#forgetWindows();
    this.#endSnapshot();
  }

  leaveOut(table: string, isAway: boolean): void {
    this.#gone.set(table, isAway);
    this.#leaveOut();
  }

  reread(progress: RereadProgress): void {
    this.#rereads.push(progress);
    this.#beginAgain();
  }

  dropReread(id: string): void {
    this.#dropped.add(id);
    this.#beginAgain();
  }

  /** The target has everything up to `position`. */
  acknowledge(position: string): void {
    let done = 0;
    for (const { position: last, memory } of this.#emitted) {
      if (last > position) break;
      memory.release();
      done++;
    }
    this.#emitted.splice(0, done);
  }

  stop(): void {
    this.#snapshot?.stop();
    this.#keys?.stop();
  }

  /** After `stop`: resolves when no rows are asked for by their keys any more. The snapshot's reader says so itself. */
  async ended(): Promise<void> {
    await this.#keys?.done;
  }

  #reader(): SnapshotReader {
    return (this.#snapshot ??= this.#parts.readRows());
  }

  // --- What the log brings.

  /** A transaction begins. */
  begin(xid: number): void {
    if (this.isReading) this.#seen.add(xid);
  }

  /** An event of the table, whether or not it goes on to the target. */
  see(event: PgEvent, table: string): void {
    for (const window of this.#windows.values()) if (window.table === table) window.add(event);
  }

  /** An event whose row was too large to be read whole. */
  leave(event: PgEvent, table: string): void {
    for (const window of this.#windows.values()) if (window.table === table) window.leave(event);
  }

  /** A message with the slot's own prefix: a request for rows, or a mark. Those of earlier runs mean nothing. */
  mark(content: string): void {
    const request = readRequest(content);
    if (request !== null && this.#parts.tables.has(request.table) && this.#requests.length < REQUESTS_MAX) this.#requests.push(request);
    const [which, id = ''] = content.split(' ');
    if (which === 'low') {
      const table = this.#keys?.has(id) === true ? this.#keys.table : (this.#snapshot?.progressOf(id)?.table ?? null);
      if (table !== null) this.#windows.set(id, new ChunkWindow(table, this.#seen.list()));
    } else if (which === 'high' && this.#windows.has(id)) {
      this.#highMark = id;
    }
  }

  /** A transaction has ended. Answers what has to be done before the log is read on, as it is begun; null where nothing has. */
  commit(): Promise<void> | null {
    const id = this.#highMark;
    this.#highMark = null;
    if (id !== null) return this.#keys?.has(id) === true ? this.#finishKeys(this.#keys, id) : this.#finishChunk(id);
    return this.#seen.isLong ? this.#forgetSeen() : null;
  }

  /** To be called between two transactions: tables and rows that were named since, to be read or left out, take effect. */
  change(): void {
    this.#leaveOut();
    this.#beginAgain();
  }

  /** Between two transactions: what is to be read anew joins the snapshot, or is one of its own; what is not wanted any more leaves it. */
  #beginAgain(): void {
    const isIdle = this.#again.size === 0 && this.#rereads.length === 0 && this.#dropped.size === 0;
    if (isIdle || !this.#log.isBetween()) return;
    const again = new Map(this.#again);
    const begun = this.#rereads.filter(({ reread }) => !this.#dropped.has(reread.id));
    const mark = this.#queue.snapshot;
    const tables = this.#known(mark, this.#again).map((one) =>
      this.#again.has(one.table) ? { ...this.#anew(one), isAgain: hasBeenThere(progressOf(mark, one.table)) } : one,
    );
    const rereads = [...(mark?.rereads ?? []), ...begun].filter(({ reread }) => !this.#dropped.has(reread.id));
    const seq = (mark?.seq ?? 0) + 1;
    for (const id of this.#dropped) this.#snapshot?.drop(id);
    this.#again.clear();
    this.#rereads.length = 0;
    this.#dropped.clear();
    const next = snapshotMark(seq, tables, rereads);
    this.#queue.markSnapshot(next);
    this.#log.want(this.#queue.commitLsn + next.text.slice(0, 9));
    if (again.size > 0) this.#parts.onAgain([...again.keys()], seq);
    if (begun.length > 0)
      this.#parts.onRereads(
        begun.map(({ reread }) => reread.id),
        seq,
      );
    for (const table of tables) {
      const isNewlyPublished = again.get(table.table);
      if (isNewlyPublished !== undefined) this.#reader().begin(table, { isNewlyPublished, isAgain: table.isAgain === true });
    }
    for (const one of begun) this.#reader().begin(one, { isNewlyPublished: false, isAgain: true });
    this.#forgetWindows();
    this.#parts.onProgress(tables.filter(({ table }) => again.has(table)));
    this.#log.stand();
    this.#endSnapshot();
  }

  #anew(progress: TableProgress): TableProgress {
    const entry = this.#log.entryOf(progress.table);
    return anew(entry === null ? progress : { ...progress, entry });
  }

  /** The positions say which tables the lane has, and go on saying it; of those that are `changed` in any case. */
  #known(mark: SnapshotMark | null, changed: Pick<ReadonlySet<string>, 'has'>): readonly TableProgress[] {
    return [...this.#parts.tables].flatMap((table): TableProgress[] => {
      const progress = progressOf(mark, table);
      if (progress !== null && progress !== undefined) return [progress];
      if (progress === null) return changed.has(table) ? [notBegun(table)] : [];
      return this.#parts.copies || changed.has(table) ? [{ ...notBegun(table), done: true }] : [];
    });
  }

  /** Between two transactions: what was dropped counts as copied, in the positions from now on. */
  #leaveOut(): void {
    const mark = this.#queue.snapshot;
    if (this.#gone.size === 0 || this.#log.isStopped() || !this.#log.isBetween()) return;
    const gone = new Map(this.#gone);
    this.#gone.clear();
    if (mark === null || this.#snapshot === null) return;
    const tables = mark.tables.map((one) => {
      const isAway = gone.get(one.table);
      return isAway === undefined || one.done ? one : isAway ? awayTable(one) : { ...one, done: true };
    });
    this.#queue.markSnapshot(snapshotMark(mark.seq + 1, tables, mark.rereads));
    this.#queue.closeEmpty();
    this.#parts.onProgress(tables);
    this.#forgetWindows();
    this.#endSnapshot();
  }

  /** Windows whose chunk nobody wants any more: the log must not gather in them. */
  #forgetWindows(): void {
    for (const id of this.#windows.keys())
      if (this.#keys?.has(id) !== true && (this.#snapshot?.progressOf(id) ?? null) === null) this.#windows.delete(id);
  }

  isBeingCopied(table: string): boolean {
    const { tables = [], rereads = [] } = this.#queue.snapshot ?? {};
    return (
      this.#keys?.table === table || tables.some((one) => one.table === table && !one.done) || rereads.some((one) => one.table === table)
    );
  }

  /** What is read of the table begins again, but for rows that are named by their keys: those are looked at in any case. */
  copyAgain(table: string): void {
    const mark = this.#queue.snapshot;
    const snapshot = this.#snapshot;
    if (mark === null || snapshot === null) return;
    const hasWindow = [...this.#windows.values()].some((window) => window.table === table);
    const isAffected = (one: TableProgress): boolean =>
      one.table === table && !one.done && one.reread?.keys == null && (hasWindow || one.last !== null); // A chunk that the log comes to from here on has seen it all.
    const begun = [...mark.tables, ...mark.rereads].filter(isAffected).map((one) => ({ ...one, rowsDone: 0, last: null }));
    if (begun.length === 0) return;
    this.#queue.beginAgain(begun.reduce(movedOn, mark));
    for (const one of begun) snapshot.begin(one);
    this.#forgetWindows();
  }

  async #finishChunk(id: string): Promise<void> {
    const window = this.#windows.get(id);
    const snapshot = this.#snapshot;
    this.#windows.delete(id);
    const chunk = (await snapshot?.take(id)) ?? null;
    const progress = this.#progressOf(id);
    if (window === undefined || snapshot === null || chunk === null || progress === null) return;
    if (!this.#fits(chunk, window)) {
      snapshot.begin(progress);
      return this.#forgetWindows();
    }
    if (chunk.keys > 0) await this.#emitKeys(chunk, window, progress);
    else await this.#emitChunk(chunk, window, progress);
    snapshot.release(id);
    this.#endSnapshot();
  }

  /** What the positions say of the job that the marks `id` stand around a chunk of; null where nobody wants it any more. */
  #progressOf(id: string): TableProgress | null {
    const job = this.#snapshot?.progressOf(id) ?? null;
    const { tables = [], rereads = [] } = this.#queue.snapshot ?? {};
    return job === null ? null : ([...tables, ...rereads].find((one) => jobOf(one) === jobOf(job)) ?? null);
  }

  /** Whether the chunk has seen all that the log brought before its low mark, and can be combined with what it brought since. */
  #fits(chunk: Chunk, window: ChunkWindow): boolean {
    const isVisible = visibility(chunk.snapshot);
    const isComplete = window.earlier.every(isVisible);
    this.#seen.forget(isVisible);
    return isComplete && window.fits(chunk.relation);
  }

  /** Once all is copied, and read again. */
  #endSnapshot(): void {
    const { tables = [], rereads = [] } = this.#queue.snapshot ?? {};
    if (this.#snapshot === null || rereads.length > 0 || tables.some(isLeft)) return;
    this.#snapshot.stop();
    this.#snapshot = null;
    this.#forgetWindows();
    if (this.#keys === null) this.#seen.clear();
    this.goOn();
  }

  /** Rows that were asked for take their place as a chunk does, and keys without a row become deletes. */
  async #finishKeys(keys: KeyReader, id: string): Promise<void> {
    const window = this.#windows.get(id);
    this.#windows.delete(id);
    const chunk = await keys.take(id).catch(() => null); // Given up: `done` says so.
    if (window === undefined || chunk === null) return;
    if (!this.#fits(chunk, window)) return keys.again();
    await this.#emitRows(chunk, window, nextStep(this.#queue.snapshot));
    keys.release(chunk.keys);
  }

  async #emitKeys(chunk: Chunk, window: ChunkWindow, progress: TableProgress): Promise<void> {
    const { reread } = progress;
    const mark = this.#queue.snapshot;
    if (reread?.keys == null || mark === null) throw new PipelineError('BUG', 'keys were read that nobody asked for');
    const keys = reread.keys.slice(chunk.keys);
    const after = { ...progress, rowsDone: progress.rowsDone + chunk.keys, reread: { ...reread, keys }, done: keys.length === 0 };
    this.#parts.onProgress([after]);
    await this.#emitRows(chunk, window, movedOn(mark, after));
  }

  /** In one batch. */
  async #emitRows(chunk: Chunk, window: ChunkWindow, mark: SnapshotMark): Promise<void> {
    const { commitLsn, committedAtMs } = this.#decoder;
    const { dataset } = chunk.relation;
    const rows = window.combine(chunk.relation, chunk.rows).filter((row) => row !== null);
    const gone = window.combine(chunk.relation, chunk.absent).filter((row, i) => row === chunk.absent[i]);
    const events = rows.map((row, n) => new PgEvent('read', null, row, dataset, commitLsn as Version, n, committedAtMs, false));
    const tooLarge = chunk.cut ? events.filter((_, i) => isCut(rows[i])) : [];
    for (const row of gone)
      events.push(new PgEvent('delete', row, null, dataset, commitLsn as Version, events.length, committedAtMs, false));
    await this.#queue.room();
    if (!this.#log.isStopped()) this.#queue.appendSnapshot(events, mark, { tooLarge });
  }

  /** The same, and the next request for rows is begun. */
  goOn(): void {
    if (this.#log.isStopped()) return;
    this.change();
    if (this.#keys !== null) return;
    const request = this.#requests.shift();
    if (request === undefined) return;
    const keys = this.#parts.readKeys(request, () => {
      if (this.#keys !== keys) return;
      this.#keys = null;
      this.#forgetWindows();
      if (this.#snapshot === null) this.#seen.clear();
      this.goOn();
    });
    this.#keys = keys;
  }

  async #forgetSeen(): Promise<void> {
    this.#seen.forget(visibility(await snapshotOf(this.#parts.catalog)));
  }

  /** Cut into batches, each with the progress it makes. The rows' version is that of the high mark: their place in the log. */
  async #emitChunk(chunk: Chunk, window: ChunkWindow, before: TableProgress): Promise<void> {
    const { table, rows, relation, complete, cut, sight } = chunk;
    if (!('look' in rows)) throw new PipelineError('BUG', `a chunk of ${table} that is no copy`);
    const isAsItIs = window.isEmpty && !cut && sight === undefined;
    const kept = isAsItIs ? [] : window.combine(relation, sight == null ? rows : Array.from(rows, (row) => widened(relation, sight, row)));
    let next = 0;
    do {
      const part = isAsItIs
        ? this.#run(rows, next, this.#passOf({ ...before, rowsDone: before.rowsDone + next }))
        : this.#rows(chunk, kept, next);
      next = part.next;
      const last = next === 0 ? before.last : keyTexts(rows.look(next - 1));
      const done = next >= rows.length && complete;
      await this.#queue.room();
      const mark = this.#queue.snapshot;
      if (this.#log.isStopped() || mark === null) return;
      const after = { ...(sight === undefined ? withWholeRows(before) : before), rowsDone: before.rowsDone + next, last, done };
      this.#parts.onProgress([...mark.tables, after]);
      this.#queue.appendSnapshot(part.events, movedOn(mark, after), { found: done ? [relation] : [], tooLarge: part.tooLarge });
    } while (next < rows.length);
    // Rows that became objects may be kept by others.
    if (isAsItIs && chunk.memory !== undefined) this.#emitted.push({ position: this.#queue.emitted, memory: chunk.memory });
  }

  /** Tables are read along their keys, so no key comes twice until one is read from its beginning again. */
  #passOf(progress: TableProgress): object {
    const job = jobOf(progress);
    const known = this.#passes.get(job);
    const pass = known !== undefined && known.rowsDone < progress.rowsDone ? known.pass : {};
    this.#passes.set(job, { pass, rowsDone: progress.rowsDone });
    return pass;
  }

  /** Rows from `from` on that fit a batch, none of them an object. */
  #run(rows: CopiedRows, from: number, pass: object): ChunkPart {
    if (rows.length === 0) return { events: [], tooLarge: [], next: 0 };
    const { limits } = this.#parts;
    const { commitLsn, committedAtMs } = this.#decoder;
    let next = from;
    for (let bytes = 0; next < rows.length && next - from < limits.rows && bytes < limits.bytes; next++) {
      const { framedFrom, framedTo } = rows.look(next);
      bytes += framedTo - framedFrom;
    }
    const events = new RowRun(rows.slice(from, next), commitLsn as Version, from, committedAtMs, pass);
    return { events, tooLarge: [], next };
  }

  /** The same of what is left of a chunk that is not as it was read, or has rows that were too large. */
  #rows({ table, rows, cut, sight }: Chunk, kept: readonly (PgRow | null)[], from: number): ChunkPart {
    const { limits } = this.#parts;
    const { commitLsn, committedAtMs } = this.#decoder;
    const events: PgEvent[] = [];
    const tooLarge: PgEvent[] = [];
    let next = from;
    for (let bytes = 0; next < rows.length && events.length < limits.rows && bytes < limits.bytes; next++) {
      const row = kept[next];
      if (row === null || row === undefined) continue;
      const event = new PgEvent('read', null, row, row.relation.dataset, commitLsn as Version, next, committedAtMs, false);
      events.push(event);
      bytes += EVENT_OVERHEAD_BYTES + bytesOf(row);
      if (!cut || !(sight == null ? isPartial(row) : sight.brought.some((column) => isMissing(row, column)))) continue;
      checkKey(event, table);
      tooLarge.push(event);
    }
    return { events, tooLarge, next };
  }
}

/** What of a chunk makes one batch. */
interface ChunkPart {
  readonly events: readonly PgEvent[] | EventRun;
  readonly tooLarge: readonly PgEvent[];
  /** The first row behind it. */
  readonly next: number;
}

/** Whether a table that is copied once more was copied to its end before: what is not, goes at the pace of a first copy. */
const hasBeenThere = (progress: TableProgress | null | undefined): boolean =>
  progress === undefined || progress?.done === true || progress?.isAgain === true || progress?.isAway === true;

const isCut = (row: PgRow | undefined): boolean => row !== undefined && isPartial(row);

function bytesOf(row: PgRow): number {
  let bytes = 0;
  for (let column = 0; column < row.relation.types.length; column++) bytes += Math.max(0, row.cells[row.at + 2 * column + 1] ?? 0);
  return bytes;
}
