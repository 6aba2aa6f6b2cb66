/** A PostgreSQL replication slot as a Source: one lane, with the snapshot of its tables in it. */
import type { Batch } from '../../core/batch.ts';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { ColumnsRead, LiveSource, Resume, SnapshotProgress, SourceStatus } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Checkpoint, DatasetName, LaneId, Position } from '../../core/event.ts';
import type { NumberedColumn } from '../../core/shape.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { endWhereItHangs } from '../../wire/postgres/hanging.ts';
import { BatchQueue } from './batches.ts';
import { Datasets, SESSION } from './catalog.ts';
import { closeSoon, connectSource, refusePooler, useDecodingMemory } from './connect.ts';
import { comesAfter } from './copy-order.ts';
import { sourceFailure } from './failures.ts';
import { type DecideNewTables, FollowedTables } from './followed-tables.ts';
import type { LeftTable, TablePatterns } from './found-tables.ts';
import { KeyReader } from './key-reader.ts';
import {
  doneLsn,
  isLeft,
  notBegun,
  parsePlace,
  progressOf,
  reachedLsn,
  type SnapshotMark,
  tablesCopied,
  type TableProgress,
} from './lane-position.ts';
import { ROW_BYTES } from './large-rows.ts';
import { Pace, type SnapshotWait } from './pace.ts';
import { learnEntries, matchFailover, type PrepareParts, prepareLane } from './prepare.ts';
import { checkReread, COLUMN_PARTS_MAX, REREADS_MAX, RereadRefused, type RereadRequest, type RereadStatus } from './reread.ts';
import { Rereads } from './rereads.ts';
import { addToPublication, dropSlotAndPublication, type LeftPublication } from './slot.ts';
import { answeredWithin, freeSlot, type ReaderSession, sessionOf } from './slot-reader.ts';
import { logOf } from './server-log.ts';
import { SnapshotReader } from './snapshot.ts';
import { SlotStream } from './stream.ts';
import { type StreamTiming, TIMING } from './timing.ts';

export interface PostgresSourceOptions {
  /** The source's name in the config: first part of its datasets' names. */
  readonly name: string;
  readonly url: string;
  readonly slot: string;
  readonly publication: string;
  /** `schema.table`; without a schema, public. */
  readonly tables: readonly string[];
  /** What tables are read beside those, also such as are made while the lane is read; left out, none. */
  readonly patterns?: TablePatterns | null;
  /** `own`: what a replication (a target of Tidegate, or PostgreSQL's with an origin) wrote there is left out. Left out, `all`. */
  readonly changes?: 'all' | 'own';
  /** Larger rows are not read whole, and held; the default is that of the config. */
  readonly rowBytes?: number;
  readonly snapshot: {
    /** `initial`: a lane never read begins with the rows that the tables have. `never`: with what changes from now on. */
    readonly mode: 'initial' | 'never';
    readonly chunkRows: number;
    /** So many connections read, each another table, and so many chunks are in memory: above 1, one is read while the one before is on its way. */
    readonly parallel: number;
    /** How many rows a second are read at most, over all tables; left out, as many as there is room for. */
    readonly rate?: number | null;
    /** The same where rows are read again. */
    readonly rereadRows?: number;
    /** No chunk is read while so many sessions of others are at work at the source; left out, however many there are. */
    readonly busySessions?: number | null;
  };
  readonly batch: { readonly rows: number; readonly bytes: number; readonly ageMs: number };
  /** Whether standbys keep a copy of the slot (PostgreSQL 17 and newer); left out, they do. */
  readonly failover?: boolean;
  /** Memory that the server may use for the changes of transactions before their end, in bytes; left out, what its size allows, or its own setting where it has one. */
  readonly decodingBytes?: number | null;
  /** How large the disk of the server's log is, where that is known. */
  readonly walDiskBytes?: number | null;
  readonly clock?: Clock;
  /** The datasets whose rows those of one name: they are copied first. Asked while they are, for that may change. */
  readonly namedBy?: (dataset: DatasetName) => readonly DatasetName[];
  /** Told of a table that was dropped before it was copied to its end, and is left out. */
  readonly onLeftOut?: (dataset: DatasetName) => void;
  /** Asked before new tables are followed; left out, they are, or are not where patterns say `ignore`. */
  readonly decideNewTables?: DecideNewTables;
  /** Told, when a run begins, which tables patterns have added since the one before. */
  readonly onFound?: (datasets: readonly DatasetName[]) => void;
  /** Told of a table that has another name now: what changes there is not read until it has its own again. */
  readonly onRenamed?: (dataset: DatasetName, name: string) => void;
  /**
   * Told of a table that was not published as the lane knew it for a while, or is another one of its name: all of its rows are read again. Those that were deleted
   * meanwhile stay at the target.
   */
  readonly onMissed?: (dataset: DatasetName) => void;
  /**
   * Asked when the slot has a reader: whether that is one of ours that had to give the slot up and may not know, so that its session is ended. Left out,
   * readers are left alone.
   */
  readonly endsReader?: () => boolean;
  /** What outlives the process: the session that the slot was last read with, by this source or by one before it that does not read it any more. */
  readonly lastReader?: { readonly get: () => ReaderSession | null; readonly set: (session: ReaderSession) => void };
  /** How often the server is told of our place and so on; the defaults are meant for everybody. */
  readonly timing?: Partial<StreamTiming>;
}

export interface SlotStatus extends SourceStatus {
  /** LSNs as 16 hex digits, null while unknown. `received`: end of the last commit read that brought something; `committed`: acknowledged; `server`: end of its log. */
  readonly receivedLsn: string | null;
  readonly committedLsn: string | null;
  readonly serverLsn: string | null;
  /** Unix time in ms of the newest commit read. */
  readonly lastEventCommittedAtMs: number | null;
  /** The last failure since the source last worked, else null. */
  readonly failure: { readonly code: string; readonly message: string } | null;
}

export interface PostgresSource extends LiveSource {
  /** Those of the config, and those found by its patterns: `schema.table`. */
  readonly tables: readonly string[];
  /**
   * Ends the run where patterns have found a table that the lane does not have, so that the next one takes it up. Answers the tables that are not to be taken up,
   * for they are new, where that has to be said; nothing is known of that while the lane is not read.
   */
  takeUp(found: readonly string[]): Promise<readonly LeftTable[]>;
  /**
   * Reads rows again, beside the log and in the lane's order. Answers its id once a checkpoint has it: from there on it goes on over restarts. Throws
   * RereadRefused where it cannot be begun; when `signal` aborts before, it is not.
   */
  reread(request: RereadRequest, signal: AbortSignal): Promise<string>;
  readColumns(dataset: DatasetName, columns: readonly NumberedColumn[], id: string): ColumnsRead;
  columnsRead(id: string): ColumnsRead | null;
  /** What is being read again, and the last ones that were. */
  rereads(): readonly RereadStatus[];
  /** Where the target has the lane: until it is taken up, which takes the source and a free slot, that says how far its copies are. */
  recall(kept: Position): void;
  /** Nothing more is read beside the log until `resumeSnapshot`, in this run and those to come; what was read is emitted. */
  pauseSnapshot(): void;
  resumeSnapshot(): void;
  /** Why nothing is read beside the log just now; null where there is no reason. */
  snapshotWait(): SnapshotWait | null;
  status(): SlotStatus;
}

/** Settings of a session that reads rows in the order of their key, or by it. */
const BY_KEY = { ...SESSION, enable_seqscan: 'off', enable_bitmapscan: 'off', max_parallel_workers_per_gather: '0' };

export function postgresSource(options: PostgresSourceOptions): PostgresSource {
  return new SlotSource(options);
}

class SlotSource implements PostgresSource {
  readonly name: string;
  readonly lane: LaneId;
  readonly lanes: readonly LaneId[];
  readonly #options: PostgresSourceOptions;
  readonly #clock: Clock;
  readonly #followed: FollowedTables;
  /** Kept from run to run, so that what is compiled for a Dataset stays good. */
  readonly #datasets: Datasets;
  readonly #estimates = new Map<string, number | null>();
  /** The session that the slot was read with last. */
  #reader: ReaderSession | null = null;
  #stream: SlotStream | null = null;
  #queue: BatchQueue | null = null;
  #state: SlotStatus['state'] = 'stopped';
  #failure: SlotStatus['failure'] = null;
  #acknowledged: Position | null = null;
  /** Of a run before this process, while none of this one has begun. */
  #recalled: SnapshotMark | null = null;
  #isKept: (table: string) => boolean = () => false;
  /** Tables to be read anew of which no checkpoint knows yet, with the step of the snapshot that they are part of. */
  readonly #again = new Map<string, number | null>();
  /** How many rows were copied of each table. */
  readonly #done = new Map<string, number>();
  readonly #rereads: Rereads;
  readonly #pace: Pace;
  #onAcknowledged: (() => void) | null = null;

  constructor(options: PostgresSourceOptions) {
    this.#options = options;
    this.name = options.name;
    this.lane = `${options.name}/${options.slot}` as LaneId;
    this.lanes = [this.lane];
    this.#clock = options.clock ?? systemClock;
    this.#datasets = new Datasets(options.name);
    this.#followed = new FollowedTables(options, this.#datasets, this.#clock);
    this.#rereads = new Rereads((table) => this.#datasets.nameOf(table));
    const { rate = null, rereadRows = null, busySessions = null } = options.snapshot;
    this.#pace = new Pace({ rowsPerSecond: rate, rereadRowsPerSecond: rereadRows, busySessions, clock: this.#clock });
  }

  get tables(): readonly string[] {
    return this.#followed.all;
  }

  async takeUp(found: readonly string[]): Promise<readonly LeftTable[]> {
    const queue = this.#queue;
    if (this.#state !== 'streaming') return [];
    const { isDue, left } = await this.#followed.look(found);
    if (isDue) queue?.end();
    return left;
  }

  async *read(resume: Resume, signal: AbortSignal): AsyncGenerator<Batch> {
    if (signal.aborted) return;
    const open: PgConnection[] = [];
    const stop = (): void => {
      this.#queue?.end();
      this.#onAcknowledged?.();
      // What is not streaming yet waits for answers: cut it off.
      if (this.#stream === null) for (const connection of open) connection.destroy();
    };
    signal.addEventListener('abort', stop, { once: true });
    this.#state = 'connecting';
    try {
      yield* this.#run(resume, signal, open);
    } catch (error) {
      if (signal.aborted) return;
      const failure = sourceFailure(error, 'connecting', `reading ${this.name}`);
      this.#failure = { code: failure.code, message: failure.message };
      throw failure;
    } finally {
      signal.removeEventListener('abort', stop);
      await this.#stream?.stop();
      this.#stream = null;
      this.#state = 'stopped';
      this.#followed.end();
      await Promise.all(open.map((connection) => closeSoon(connection)));
    }
  }

  async *#run(resume: Resume, signal: AbortSignal, open: PgConnection[]): AsyncGenerator<Batch> {
    const { slot, publication, snapshot, batch } = this.#options;
    const connect = async (replication: boolean, settings: Readonly<Record<string, string>> = SESSION): Promise<PgConnection> => {
      const connection = await this.#connect(replication, settings, signal);
      open.push(connection);
      return connection;
    };
    const onLeftOut = (table: string): void => this.#options.onLeftOut?.(this.#datasets.nameOf(table));
    const onMissed = (table: string): void => this.#options.onMissed?.(this.#datasets.nameOf(table));
    const catalog = await connect(false);
    await refusePooler(this.name, this.#options.url, catalog);
    // Another instance that is at work keeps its lease: the lane is only taken over where the slot is free.
    const former = this.#reader ?? this.#options.lastReader?.get() ?? null;
    await freeSlot({ catalog, options: this.#options, former, clock: this.#clock }, null, signal);
    const lease = await resume(this.lane);
    const checkpoint = lease.checkpoint?.position ?? null;
    const from = checkpoint === null ? null : parsePlace(checkpoint);
    await this.#followed.begin(catalog, from, signal, (work) => this.#waiting(work));
    if (signal.aborted) return;
    const timing = { ...TIMING, ...this.#options.timing };
    const parts: PrepareParts = {
      catalog,
      walsender: () => this.#connect(true, SESSION, signal),
      options: this.#options,
      former,
      tables: this.tables,
      isFound: (table) => this.#followed.isFound(table),
      clock: this.#clock,
      silenceMs: timing.silenceMs,
      onLeftOut,
      onMissed,
      onEstimate: (table, rows) => this.#estimates.set(table, rows),
      waiting: (work) => this.#waiting(work),
    };
    // Known also where the lane cannot go on: what was copied is not told to be waited for.
    this.#acknowledged = checkpoint;
    const prepared = await prepareLane(parts, from, signal);
    this.#rereads.resume(from?.snapshot ?? null);
    const queue = new BatchQueue(this.lane, prepared.place, checkpoint, batch, this.#clock);
    this.#queue = queue;
    if (prepared.mark !== null) queue.markSnapshot(prepared.mark);
    if (from === null || prepared.mark !== null) {
      // The lane's first place, or the snapshots still to come, before anything else is said or done.
      queue.closeEmpty();
      const first = await queue.take();
      if (first === null) return;
      yield first;
      if (prepared.added.length > 0) {
        await this.#untilAcknowledged(first.checkpoint.position, signal);
        if (signal.aborted) return;
      }
    }
    if (prepared.added.length > 0) await addToPublication(catalog, publication, prepared.added);
    const learned = prepared.place.within === null ? await learnEntries(parts, queue.snapshot) : null;
    if (learned !== null) {
      queue.markSnapshot(learned);
    }
    // Also where the checkpoint says less of the server's log, or is of another timeline.
    queue.closeEmpty();

    const replication = await connect(true);
    await answeredWithin(replication, timing.silenceMs, this.#clock, async () => {
      // Of the session that is going to be read: with several hosts it may be another server's than those before.
      const { system, timeline } = await logOf(replication);
      if (system !== prepared.place.system || timeline !== prepared.place.timeline)
        throw new PipelineError('SOURCE_UNREACHABLE', `reading ${this.name}: another server took over just now`);
      await matchFailover(catalog, replication, this.#options);
      this.#reader = await sessionOf(replication); // Before it reads the slot: from there on it may hang with it.
      if (this.#reader !== null) this.#options.lastReader?.set(this.#reader);
    });
    const prefix = `tidegate.${slot}`;
    const reading = {
      datasets: this.#datasets,
      publication,
      prefix,
      keysMax: Math.min(500, batch.rows),
      chunkBytes: batch.bytes,
      rowBytesMax: this.#options.rowBytes ?? ROW_BYTES,
      clock: this.#clock,
    };
    const { rowBytesMax } = reading;
    const readers: SnapshotReader[] = [];
    const readRows = (): SnapshotReader => {
      const reader = new SnapshotReader({
        ...reading,
        connect: () => connect(false, BY_KEY),
        run: `${run}.${readers.length}`,
        chunkRows: snapshot.chunkRows,
        parallel: snapshot.parallel,
        comesAfter: (table, left) => this.#comesAfter(table, left),
        pace: this.#pace,
        failed: (error) => stream.failed(sourceFailure(error, 'reading a chunk', `the snapshot of ${this.name}`)),
        gone: (table) => stream.leaveOut(table),
        gaveUp: (id, why) => {
          this.#rereads.gaveUp(id, why);
          stream.dropReread(id);
        },
      });
      readers.push(reader);
      return reader;
    };
    const run = Math.floor(this.#clock.random() * 2 ** 48).toString(36);
    let requests = 0;
    const stream: SlotStream = new SlotStream(
      {
        slot,
        publication,
        prefix,
        copies: snapshot.mode === 'initial',
        // What is to join has no event before the lane says so: all of it is copied then.
        tables: new Set(
          prepared.isWaitedFor && snapshot.mode === 'initial'
            ? this.tables.filter((table) => progressOf(from?.snapshot ?? null, table) !== null)
            : this.tables,
        ),
        mayBeWanted: (table) => !prepared.isWaitedFor && this.#followed.mayBeWanted(table),
        isWanted: (table) => this.#followed.isWanted(table),
        replication,
        catalog,
        readRows,
        there: prepared.there,
        onLeftOut,
        onMissed,
        onRenamed: (table, name) => this.#options.onRenamed?.(this.#datasets.nameOf(table), name),
        isNewlyPublished: !prepared.isNewSlot,
        datasets: this.#datasets,
        queue,
        limits: batch,
        rowBytesMax,
        ownOnly: this.#options.changes === 'own',
        within: prepared.place.within,
        beginning: prepared,
        clock: this.#clock,
        timing: { ...timing, statusMs: Math.min(timing.statusMs, prepared.statusMsMax) },
        onAgain: (tables, seq) => {
          for (const table of tables) this.#again.set(table, seq);
        },
        onRereads: (ids, seq) => this.#rereads.begun(ids, seq),
        onProgress: (jobs) => {
          for (const { reread, ...job } of jobs) {
            if (reread !== undefined) this.#rereads.progressed({ ...job, reread });
            // Of a table that was copied long ago, places do not say how many rows that were.
            else if (!job.done || job.rowsDone > 0) this.#done.set(job.table, job.rowsDone);
          }
        },
        readKeys: (request, onEnd) =>
          new KeyReader({ ...reading, connect: () => this.#connect(false, BY_KEY, signal), run: `${run}.k${requests++}` }, request, onEnd),
      },
      doneLsn(prepared.place),
    );
    this.#stream = stream;
    try {
      await stream.start();
      // What no checkpoint has is begun again.
      for (const table of this.#again.keys()) {
        this.#again.set(table, null);
        stream.readAgain(table, true); // That may be why.
      }
      this.#rereads.beginAll(stream);
      this.#state = 'streaming';
      this.#failure = null;
      if (signal.aborted) return;
      for (;;) {
        const next = await queue.take();
        if (next === null) return;
        stream.taken();
        yield next;
        if (prepared.isWaitedFor && parsePlace(next.checkpoint.position).within === null) return; // The next run lets them join.
      }
    } finally {
      await stream.stop();
      for (const connection of open) if (connection !== replication) connection.destroy();
      await Promise.all(readers.map((reader) => reader.ended()));
    }
  }

  acknowledge(checkpoint: Checkpoint, isLasting = true): Promise<void> {
    const { position } = checkpoint;
    if (this.#acknowledged === null || position > this.#acknowledged) this.#acknowledged = position;
    this.#stream?.acknowledge(position, isLasting);
    const mark = position.includes('@') ? parsePlace(position).snapshot : null;
    // From here on the checkpoint remembers which tables are read anew.
    for (const [table, seq] of this.#again) if (seq !== null && mark !== null && seq <= mark.seq) this.#again.delete(table);
    this.#rereads.acknowledged(mark);
    this.#onAcknowledged?.();
    return Promise.resolve();
  }

  readAgain(dataset: DatasetName): boolean {
    const table = this.tables.find((one) => this.#datasets.nameOf(one) === dataset);
    if (table === undefined || this.#stream === null) return false;
    this.#again.set(table, null);
    return this.#stream.readAgain(table);
  }

  readColumns(dataset: DatasetName, columns: readonly NumberedColumn[], id: string): ColumnsRead {
    const known = this.#rereads.stateOf(id);
    const table = this.tables.find((one) => this.#datasets.nameOf(one) === dataset);
    if (known !== null || table === undefined || this.#stream === null || this.#rereads.count >= COLUMN_PARTS_MAX) return known ?? 'later';
    const rowsEstimated = this.#estimates.get(table) ?? null;
    this.#rereads.askColumns({ ...notBegun(table), reread: { id, where: null, keys: null, rowsEstimated, columns } }, this.#stream);
    return 'asked';
  }

  columnsRead(id: string): ColumnsRead | null {
    return this.#rereads.stateOf(id);
  }

  async reread(request: RereadRequest, signal: AbortSignal): Promise<string> {
    const table = this.tables.find((one) => this.#datasets.nameOf(one) === request.dataset);
    if (table === undefined) {
      const named = this.tables.slice(0, 20).map((one) => this.#datasets.nameOf(one));
      throw new RereadRefused(`${request.dataset} is no dataset of ${this.name}`, `Name one of its own, as ${named.join(', ')}.`);
    }
    if (this.#rereads.count >= REREADS_MAX)
      throw new RereadRefused(`${REREADS_MAX} parts are being read again`, 'Wait for one of them to end.');
    const part = await this.#checked(table, request, signal);
    const id = Math.floor(this.#clock.random() * 2 ** 40).toString(36);
    return this.#rereads.ask({ ...notBegun(table), reread: { ...part, id } }, () => this.#stream, signal);
  }

  async #checked(table: string, request: RereadRequest, signal: AbortSignal): ReturnType<typeof checkReread> {
    const connection = await this.#connect(false, SESSION, signal);
    try {
      return await checkReread(connection, this.name, table, this.#options.publication, request);
    } catch (error) {
      throw error instanceof RereadRefused ? error : sourceFailure(error, 'reading the catalog', `looking at ${table}`);
    } finally {
      await closeSoon(connection);
    }
  }

  rereads(): readonly RereadStatus[] {
    return this.#rereads.list(this.#mark);
  }

  recall(kept: Position): void {
    this.#recalled = parsePlace(kept).snapshot;
    this.#isKept = tablesCopied(this.#recalled);
  }

  pauseSnapshot(): void {
    this.#pace.pause();
  }

  resumeSnapshot(): void {
    this.#pace.resume();
  }

  snapshotWait(): SnapshotWait | null {
    return this.#pace.wait;
  }

  /** A table is done once the target has committed its last chunk: what was only read is still on its way. */
  progress(): readonly SnapshotProgress[] {
    const tables = this.#mark?.tables ?? [];
    const committed = this.#acknowledged === null ? null : (parsePlace(this.#acknowledged).snapshot?.tables ?? []);
    // Asked often, also where there are thousands of tables.
    const byName = new Map(tables.map((one) => [one.table, one]));
    const onTheirWay = new Set(committed?.filter(isLeft).map(({ table }) => table));
    // The connections read the first ones that are left, but for those that come after others.
    const left = tables.filter(isLeft);
    const names = left.map(({ table }) => table);
    const reading = new Set<TableProgress>();
    for (const one of this.#queue === null ? [] : left) {
      if (reading.size === this.#options.snapshot.parallel) break;
      if (!this.#comesAfter(one.table, names)) reading.add(one);
    }
    return this.tables.map((table) => {
      const known = byName.get(table);
      const rowsEstimated = this.#estimates.get(table) ?? null;
      const dataset = this.#datasets.nameOf(table);
      const isOnItsWay = onTheirWay.has(table);
      if (known === undefined) {
        if (this.#again.has(table)) return { dataset, rowsDone: 0, rowsEstimated, state: 'waiting' };
        const waits = committed === null && this.#options.snapshot.mode === 'initial' && !this.#isKept(table);
        const rowsDone = waits ? 0 : (this.#done.get(table) ?? 0);
        return { dataset, rowsDone, rowsEstimated, state: waits ? 'waiting' : isOnItsWay ? 'copying' : 'done' };
      }
      if (known.isAway === true) return { dataset, rowsDone: 0, rowsEstimated, state: 'away' };
      const isDone = known.done && !isOnItsWay;
      const isRead = reading.has(known);
      const rowsDone = known.done ? Math.max(known.rowsDone, this.#done.get(table) ?? 0) : known.rowsDone;
      return { dataset, rowsDone, rowsEstimated, state: isDone ? 'done' : known.done || isRead ? 'copying' : 'waiting' };
    });
  }

  /** How far the lane is with what is read beside the log. */
  get #mark(): SnapshotMark | null {
    return this.#queue === null ? this.#recalled : this.#queue.snapshot;
  }

  #comesAfter(table: string, left: readonly string[]): boolean {
    const { namedBy } = this.#options;
    if (namedBy === undefined) return false;
    const dataset = this.#datasets.nameOf(table);
    // Most name none, and thousands may be left.
    if (namedBy(dataset).length === 0) return false;
    const others = left.map((one) => this.#datasets.nameOf(one));
    return comesAfter(dataset, others, (one) => namedBy(one as DatasetName)); // All are such.
  }

  status(): SlotStatus {
    const stream = this.#stream;
    const committed = this.#acknowledged === null ? null : reachedLsn(this.#acknowledged);
    const server = stream === null || stream.serverLsn === '' ? null : stream.serverLsn;
    const received = stream === null || stream.receivedLsn === '' ? null : stream.receivedLsn;
    const behind = committed !== null && server !== null ? Number(BigInt(`0x${server}`) - BigInt(`0x${committed}`)) : null;
    const copying = this.#state === 'streaming' && this.#queue?.snapshot?.tables.some(isLeft) === true;
    return {
      state: copying ? 'snapshot' : this.#state,
      receivedLsn: received,
      isBehind: received !== null && committed !== null && received > committed,
      committedLsn: committed,
      serverLsn: server,
      lagBytes: behind === null ? null : Math.max(0, behind),
      lastEventCommittedAtMs: stream?.lastCommitAtMs ?? null,
      failure: this.#failure,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#queue?.end();
    await this.#stream?.stop();
  }

  async #connect(replication: boolean, settings: Readonly<Record<string, string>>, signal: AbortSignal): Promise<PgConnection> {
    const { url, timing, decodingBytes = null } = this.#options;
    const asked =
      replication && decodingBytes !== null ? { logical_decoding_work_mem: `${Math.max(64, Math.ceil(decodingBytes / 1024))}kB` } : {};
    const connection = await connectSource(this.name, url, replication, { ...settings, ...asked }, signal);
    const { silenceMs } = { ...TIMING, ...timing };
    if (replication && decodingBytes === null)
      await answeredWithin(connection, silenceMs, this.#clock, () => useDecodingMemory(this.name, connection));
    if (!replication) endWhereItHangs(connection, { url, silenceMs, clock: this.#clock });
    return connection;
  }

  async #waiting<T>(work: () => Promise<T>): Promise<T> {
    this.#state = 'waiting';
    const done = await work();
    this.#state = 'connecting';
    return done;
  }

  async #untilAcknowledged(position: Position, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && (this.#acknowledged === null || this.#acknowledged < position)) {
      await new Promise<void>((resolve) => {
        this.#onAcknowledged = resolve;
      });
    }
    this.#onAcknowledged = null;
  }
}

/** Removes the slot and the publication; answers what is another role's to remove. The lane's checkpoint in the target is then worth nothing. */
export async function teardownPostgresSource(
  options: Pick<PostgresSourceOptions, 'name' | 'url' | 'slot' | 'publication'>,
): Promise<LeftPublication | null> {
  const connection = await connectSource(options.name, options.url, false, SESSION);
  try {
    return await dropSlotAndPublication(connection, options.slot, options.publication);
  } finally {
    await closeSoon(connection);
  }
}

export { describeTables, type DescribedTable, probePostgresSource } from './probe.ts';
