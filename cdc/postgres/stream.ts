/**
 * One run of a replication slot: messages of the log become events in a `BatchQueue`, in the order of the log.
 *
 * Messages come by callback and are read at once, except while something has to be asked of the server first: the shape of a table (Relation
 * messages), the chunk that belongs to a high mark, the cells that a key move did not send. Then what the socket still hands over waits in
 * `#backlog` (less than one read) and the socket is paused. It is also paused while a closed batch waits to be taken (Invariant 7). The
 * server is told of our place by a timer of its own, so that it does not take a slow consumer for a dead one.
 */
import type { Clock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Dataset, Position } from '../../core/event.ts';
import { toLsn } from '../../core/position.ts';
import { WRITTEN_PREFIX } from '../../wire/postgres/written.ts';
import { type CopyBoth, type CopyBothHandler, type LargePayloads, type PgConnection } from '../../wire/postgres/connection.ts';
import { quoteIdent, quoteLiteral } from '../../wire/postgres/ident.ts';
import type { PgRow } from '../../wire/postgres/row.ts';
import { type AwayParts, AwayTables } from './away-tables.ts';
import type { BatchQueue } from './batches.ts';
import { BesideLog, type BesideParts } from './beside-log.ts';
import { type CatalogTable, type Datasets, readTable } from './catalog.ts';
import { readRow } from './chunk.ts';
import { type Beginning, DoneLog } from './done-log.ts';
import { sourceFailure } from './failures.ts';
import { progressOf, type RereadProgress } from './lane-position.ts';
import { checkKey, type CutMessage, cutMessage } from './large-rows.ts';
import { EVENT_OVERHEAD_BYTES, PgEvent } from './pg-event.ts';
import { type FollowedTable, PgoutputDecoder, Read, type RelationMessage } from './pgoutput.ts';
import { isPartial, laidOver } from './row-cells.ts';
import { untilSeen } from './settle.ts';
import { answeredWithin } from './slot-reader.ts';
import type { StreamTiming } from './timing.ts';

export interface StreamParts extends BesideParts, AwayParts {
  readonly slot: string;
  readonly prefix: string;
  /** The walsender. */
  readonly replication: PgConnection;
  readonly datasets: Datasets;
  /** Of larger rows the large cells are left out, and what is left is held. */
  readonly rowBytesMax: number;
  /** Whether what a replication brought to this database is left out. */
  readonly ownOnly: boolean;
  /** The tables, as they were when the lane began. */
  readonly there: readonly CatalogTable[];
  /** Asked of a table that the lane does not have, by its name alone: whether it may be one that it is to have. */
  readonly mayBeWanted: (table: string) => boolean;
  /** Whether it is, as the table is now. */
  readonly isWanted: (table: string) => Promise<boolean>;
  /** The transaction that the lane has done in part: as many of its events are left out. */
  readonly within: { readonly commit: string; readonly events: number } | null;
  readonly beginning: Beginning;
  readonly clock: Clock;
  readonly timing: StreamTiming;
}

/**
 * Content of a transactional message, with the slot's own prefix, behind which the lane is to have a checkpoint: who compares source and target
 * would wait for ever for a lane in which nothing happens.
 */
export const PLACE_MARK = 'place';

const TICK_MS = 250;
/** Changes that are older were not made just now: the log is ahead of what is read. */
const BEHIND_MS = 1000;

export class SlotStream implements CopyBothHandler {
  readonly #parts: StreamParts;
  readonly #decoder = new PgoutputDecoder();
  readonly #queue: BatchQueue;
  readonly #beside: BesideLog;
  readonly #away: AwayTables;
  readonly #stopped = new AbortController();
  #copy: CopyBoth | null = null;
  #blocked = false;
  #paused = false;
  readonly #backlog: Waiting[] = [];
  /** What the message being read had in bytes, where cells were left out of its row; else 0. */
  #cutBytes = 0;
  /** The last transaction that is known to be seen by others. */
  #seenXid: number | null = null;
  #inTransaction = false;
  /** The transaction being read was brought by a replication, and is nobody's news. */
  #isLeftOut = false;
  #skip = 0;
  readonly #done: DoneLog;
  /** By table, which relation had its name last. */
  readonly #relations: Map<string, number>;
  /** Of the tables in the publication, as they were seen last. */
  readonly #entries: Map<string, string | null>;
  /** As the log last described them. */
  readonly #shapes = new Map<string, Dataset>();
  /** Where somebody wants the lane to stand, whether or not anything happens to its tables, as the beginning of a position; null where nobody does. */
  #wanted: string | null = null;
  /** Whether the transaction being read asks for that. */
  #wantsPlace = false;
  #heardAtMs: number;
  #bytesRead = 0;
  #toldAtMs: number;
  #receivedLsn = '';
  #serverLsn = '';
  #lastCommitAtMs: number | null = null;
  #ticking: Promise<void> = Promise.resolve();

  /** `acknowledged` is the place (16 hex digits) that the target has for sure. */
  constructor(parts: StreamParts, acknowledged: string) {
    this.#parts = parts;
    this.#queue = parts.queue;
    this.#beside = new BesideLog(parts, this.#decoder, {
      isStopped: () => this.#stopped.signal.aborted,
      isBetween: () => !this.#blocked && !this.#inTransaction && this.#done.isPassed,
      want: (place) => this.#want(place),
      stand: () => this.#stand(),
      entryOf: (table) => this.#entries.get(table) ?? null,
    });
    const away = {
      isStopped: () => this.#stopped.signal.aborted,
      entries: () => this.#entries,
      isBack: (table: string, entry: string) => {
        this.#entries.set(table, entry);
        this.#beside.readAgain(table, { isNewlyPublished: true });
      },
      failed: (error: unknown) => this.#fail(error),
    };
    this.#away = new AwayTables(parts, this.#beside, away, parts.clock.monotonic());
    this.#done = new DoneLog(parts.beginning, parts.within, acknowledged);
    this.#relations = new Map(parts.there.map(({ message, table }) => [table, message.oid]));
    this.#entries = new Map(parts.there.map(({ table, entry }) => [table, progressOf(parts.queue.snapshot, table)?.entry ?? entry]));
    this.#heardAtMs = parts.clock.monotonic();
    this.#toldAtMs = this.#heardAtMs;
  }

  get receivedLsn(): string {
    return this.#receivedLsn;
  }
  get serverLsn(): string {
    return this.#serverLsn;
  }
  get lastCommitAtMs(): number | null {
    return this.#lastCommitAtMs;
  }

  /** Chunks of what the queue's place has still to copy are taken as their marks come by. */
  async start(): Promise<void> {
    const { replication, catalog, slot, publication, beginning } = this.#parts;
    this.#beside.start();
    const options = `proto_version '1', binary 'true', messages 'true', publication_names ${quoteLiteral(quoteIdent(publication))}`;
    // Since PostgreSQL 18 a publication that was not there when changes were made is warned of, once, and the changes are left out.
    replication.onNotice(({ routine }) => {
      if (routine !== 'LoadPublications') return;
      const message = `the publication ${publication} was not there when changes were made, so they cannot be had`;
      this.#fail(new PipelineError('SOURCE_POSITION_LOST', message));
    });
    const { clock, timing } = this.#parts;
    const begin = `START_REPLICATION SLOT ${quoteIdent(slot)} LOGICAL ${toLsn(beginning.from)} (${options})`;
    try {
      this.#copy = await answeredWithin(replication, timing.silenceMs, clock, () => replication.copyBoth(begin, this));
    } catch (error) {
      throw sourceFailure(error, 'streaming', `reading the replication slot ${slot}`);
    }
    void replication.closed.then((reason) => {
      if (!this.#stopped.signal.aborted) this.#fail(reason ?? new PipelineError('SOURCE_UNREACHABLE', `the stream of ${slot} ended`));
    });
    // A server that is shut down ends its ordinary sessions first, and then waits for as long as we read its log and have not committed all of it.
    void catalog.closed.then((reason) => {
      if (!this.#stopped.signal.aborted) this.#fail(reason ?? new PipelineError('SOURCE_UNREACHABLE', `a connection beside ${slot} ended`));
    });
    this.#ticking = this.#tick();
  }

  /**
   * Reads the rows of a table anew, beside the log: its chunks take their place in it, and what the positions say of them goes on after a restart.
   * False where the stream has ended.
   */
  readAgain(table: string, isNewlyPublished = false): boolean {
    if (this.#stopped.signal.aborted || this.#copy === null) return false;
    this.#beside.readAgain(table, { isNewlyPublished });
    return true;
  }

  /** The table is not there while it is to be copied: the lane goes on as it does where one is dropped, or renamed, later. */
  leaveOut(table: string): void {
    this.#away.leaveOut(table, this.#relations.get(table));
  }

  /** Reads rows again, beside the log, as `readAgain` does. Only one that the positions know goes on after a restart: `onRereads` says from where on. */
  reread(progress: RereadProgress): boolean {
    if (this.#stopped.signal.aborted || this.#copy === null) return false;
    this.#beside.reread(progress);
    return true;
  }

  /** Gives up what is read again. */
  dropReread(id: string): void {
    this.#beside.dropReread(id);
  }

  /** The snapshot's own failures end the stream as well. */
  failed(error: unknown): void {
    this.#fail(error);
  }

  /** To be called whenever a batch was taken: there is room for another. */
  taken(): void {
    this.#stand();
    this.#flow();
  }

  /** Invariant 5: the server hears of this place, where it is lasting, and never of a later one. */
  acknowledge(position: Position, isLasting: boolean): void {
    this.#beside.acknowledge(position);
    if (isLasting && this.#done.acknowledge(position)) this.#tell(false);
  }

  async stop(): Promise<void> {
    if (!this.#stopped.signal.aborted && this.#copy !== null) this.#tell(false);
    this.#stopped.abort();
    this.#beside.stop();
    this.#queue.end();
    await this.#beside.ended();
    await this.#ticking;
  }

  // --- CopyBothHandler: called by the connection.

  get large(): LargePayloads {
    const bytesMax = this.#parts.rowBytesMax;
    return { bytesMax, begin: (bytes) => cutMessage(bytesMax, (message) => this.#cutMessage(message, bytes)) };
  }

  message(bytes: Buffer, from: number, to: number, owned: boolean): void {
    if (this.#stopped.signal.aborted) return;
    if (this.#blocked) {
      this.#backlog.push({ bytes: owned ? bytes : Buffer.from(bytes.subarray(from, to)), cutBytes: 0 });
      return;
    }
    try {
      this.#handle(bytes, from, to, owned);
    } catch (error) {
      this.#fail(error);
    }
  }

  #cutMessage({ bytes, isCut }: CutMessage, cutBytes: number): void {
    if (bytes === null || this.#stopped.signal.aborted) return;
    const waiting = { bytes, cutBytes: isCut ? cutBytes : 0 };
    if (this.#blocked) this.#backlog.push(waiting);
    else this.#handleWaiting(waiting);
  }

  #handleWaiting({ bytes, cutBytes }: Waiting): void {
    this.#cutBytes = cutBytes;
    try {
      this.#handle(bytes, 0, bytes.length, true);
    } catch (error) {
      this.#fail(error);
    }
    this.#cutBytes = 0;
  }

  isBehind(): boolean {
    const { committedAtMs } = this.#decoder;
    return committedAtMs > 0 && this.#parts.clock.now() - committedAtMs > BEHIND_MS;
  }

  drained(flows: boolean): void {
    if (!this.#blocked) this.#queue.pause(flows);
    this.#flow();
  }

  // --- Reading.

  #handle(bytes: Buffer, from: number, to: number, owned: boolean): void {
    if (bytes[from] === 107) return this.#keepalive(bytes, from); // 'k'
    if (bytes[from] !== 119) return; // 'w': the start of the data, the end of the log, the time, then the message.
    const decoder = this.#decoder;
    const read = decoder.read(bytes, from + 25, to, owned, this.#cutBytes > 0);
    switch (read) {
      case Read.Event:
        if (decoder.event !== null && decoder.followed !== null) this.#event(decoder.event, decoder.followed, to - from);
        return;
      case Read.Begin:
        this.#begin();
        return;
      case Read.Commit:
        this.#commit();
        return;
      case Read.Relation:
        if (decoder.relation !== null) this.#relation(decoder.relation);
        return;
      case Read.Truncate:
        // Tables that refer to each other cannot be emptied one by one.
        for (const [i, { followed, event }] of decoder.truncates.entries())
          this.#event(event, followed, EVENT_OVERHEAD_BYTES, i < decoder.truncates.length - 1);
        return;
      case Read.Message:
        this.#mark();
        return;
      case Read.Origin:
        this.#isLeftOut = this.#parts.ownOnly;
        return;
      case Read.Ignored:
    }
  }

  #keepalive(bytes: Buffer, from: number): void {
    const lsn = bytes.toString('hex', from + 1, from + 9);
    if (lsn > this.#serverLsn) this.#serverLsn = lsn;
    // All that committed before has been sent before this message, so the lane may stand here.
    if (!this.#inTransaction) this.#done.reach(lsn);
    if (!this.#inTransaction && this.#done.isPassed) this.#queue.advance(lsn);
    if (bytes[from + 17] === 1) this.#tell(false);
  }

  #begin(): void {
    const { commitLsn, xid, committedAtMs } = this.#decoder;
    this.#inTransaction = true;
    this.#isLeftOut = false;
    const skip = this.#done.begin(commitLsn, xid, committedAtMs);
    this.#skip = skip ?? Number.MAX_SAFE_INTEGER;
    if (skip === null) return;
    this.#queue.begin(commitLsn);
    this.#beside.begin(xid);
  }

  #event(event: PgEvent, followed: FollowedTable, bytes: number, goesOn = false): void {
    if (event.ordinal < this.#skip) return;
    // Of a chunk it takes its rows all the same: where it came from they are newer.
    if (this.#isLeftOut) return this.#beside.see(event, followed.table);
    if (this.#cutBytes > 0) return this.#tooLarge(event, followed, bytes);
    if (followed.isFiltered && (event.op === 'insert' || event.movedFrom !== null) && isPartial(event.after as PgRow))
      return this.#complete(event, followed, bytes);
    if (this.#beside.isReading) {
      if (event.movedFrom !== null && this.#beside.isBeingCopied(followed.table) && isPartial(event.after as PgRow))
        return this.#complete(event, followed, bytes);
      this.#beside.see(event, followed.table);
    }
    this.#queue.append(event, bytes + EVENT_OVERHEAD_BYTES, { goesOn });
  }

  /** What was left out is nowhere any more, and nothing may be laid over it: a chunk has no use for it either. */
  #tooLarge(event: PgEvent, followed: FollowedTable, bytes: number): void {
    checkKey(event, followed.table);
    this.#beside.leave(event, followed.table);
    this.#queue.append(event, bytes + EVENT_OVERHEAD_BYTES, { cutBytes: this.#cutBytes });
  }

  #commit(): void {
    const { endLsn, committedAtMs, commitLsn, xid } = this.#decoder;
    this.#inTransaction = false;
    if (!this.#done.commit(endLsn)) {
      this.#wantsPlace = false;
      this.#beside.goOn();
      return;
    }
    if (endLsn > this.#serverLsn) this.#serverLsn = endLsn;
    this.#lastCommitAtMs = committedAtMs;
    const last = { commit: commitLsn, xid, atMs: committedAtMs };
    // One without a change (a message of others; before PostgreSQL 15 any that wrote elsewhere) leaves nothing to be done, and may be the last for long.
    if (this.#queue.commit(endLsn, last)) this.#receivedLsn = endLsn;
    if (this.#wantsPlace) this.#want(endLsn);
    this.#wantsPlace = false;
    this.#stand();
    const work = this.#beside.commit();
    if (work !== null) this.#block(work);
    this.#beside.goOn();
  }

  /** Messages of others, and marks of earlier runs, mean nothing to us. */
  #mark(): void {
    const { message } = this.#decoder;
    if (message.prefix === WRITTEN_PREFIX && message.transactional) this.#isLeftOut = this.#parts.ownOnly;
    if (message.prefix !== this.#parts.prefix) return;
    const content = message.content();
    if (content === PLACE_MARK) this.#wantsPlace = this.#inTransaction;
    this.#beside.mark(content);
  }

  #relation(message: RelationMessage): void {
    const table = `${message.schema}.${message.table}`;
    if (!this.#parts.tables.has(table)) {
      this.#decoder.follow(message.oid, null);
      if (this.#done.isKnown) return; // What that says of tables, the lane knows.
      for (const [former, oid] of this.#relations) if (oid === message.oid) this.#renamed(former, table);
      if (this.#done.isPassed) this.#meet(table);
      return;
    }
    this.#block(this.#describe(message, table));
  }

  /** What happens to it under its new name is lost to the lane, which has to know that when it has its own again. */
  #renamed(former: string, table: string): void {
    const isKnown = this.#beside.isAway(former);
    this.#beside.goAway(former);
    if (!isKnown) this.#parts.onRenamed(former, table);
  }

  /** A table that came while the lane was read, and that it is to have from its next run on. The log is read again from the checkpoint then. */
  #meet(table: string): void {
    const xid = this.#inTransaction ? this.#decoder.xid : null;
    const look = async (): Promise<void> => {
      if (xid !== null) await this.#untilSeen(xid);
      if (await this.#parts.isWanted(table)) this.#queue.end();
    };
    if (this.#parts.mayBeWanted(table)) this.#block(look());
  }

  async #describe(message: RelationMessage, table: string): Promise<void> {
    const { catalog, datasets, publication } = this.#parts;
    const xid = this.#inTransaction ? this.#decoder.xid : null;
    if (xid !== null) await this.#untilSeen(xid);
    const present = await readTable(catalog, table, publication, 'not asked');
    const relation = await datasets.relationOf(catalog, table, message, present, xid);
    // No batch has two shapes of one table: the target changes its own between two.
    if ((this.#shapes.get(table) ?? relation.dataset) !== relation.dataset && this.#done.isPassed) this.#queue.cut(this.#decoder.changes);
    this.#shapes.set(table, relation.dataset);
    const hasKeysAlone = present?.isPartitioned === true && !present.sendsOldRows;
    this.#decoder.follow(message.oid, { table, relation, isFiltered: present?.isFiltered === true, hasKeysAlone });
    const isAnother = this.#isAnother(table, message);
    const isAnotherEntry = this.#isAnotherEntry(table, present);
    const isAway = this.#beside.isAway(table);
    if (!isAway && !isAnother && !isAnotherEntry) return;
    if (!isAway) this.#parts.onMissed(table);
    this.#beside.readAgain(table, { xid, isNewlyPublished: isAnotherEntry });
  }

  /** Whether another relation has taken the name: it may have had rows before, which the log did not send under this name. */
  #isAnother(table: string, { oid }: RelationMessage): boolean {
    const before = this.#relations.get(table) ?? oid;
    this.#relations.set(table, oid);
    return before !== oid;
  }

  /** Whether the table was not in the publication for a while, or not with all that it has there now: what changed meanwhile was not sent. */
  #isAnotherEntry(table: string, present: CatalogTable | null): boolean {
    const before = this.#entries.get(table) ?? null;
    const now = present?.entry ?? null;
    this.#entries.set(table, now ?? before);
    return before !== null && now !== null && before !== now;
  }

  async #untilSeen(xid: number): Promise<boolean> {
    const isSeen = xid === this.#seenXid || (await untilSeen(this.#parts.catalog, xid, this.#parts.clock, this.#stopped.signal));
    if (isSeen) this.#seenXid = xid;
    return isSeen;
  }

  /**
   * A key move that did not send all cells, while its row may not be in the target yet, or an update that came as an insert, for it moved the row into the
   * publication's condition: the cells are read from the table. Should they have changed again since, the log has that too, further on; should the row be gone,
   * the log has that, or the move that took it away, which is completed as well. Where the table has other columns by now they can't be had, and it is read again,
   * or its snapshot begins again: the place says so from this event on. So it is where nobody else sees the transaction for long.
   */
  #complete(event: PgEvent, followed: FollowedTable, bytes: number): void {
    const { catalog, publication } = this.#parts;
    const { relation, table } = followed;
    const after = event.after as PgRow; // A move has one, of the class that the decoder makes.
    const { xid } = this.#decoder;
    // As it was before its transaction it may be under another key, or have other cells.
    const read = this.#untilSeen(xid).then((isSeen) => (isSeen ? readRow(catalog, publication, table, after) : 'reshaped'));
    this.#block(
      read.then((base) => {
        if (base === 'reshaped') {
          if (this.#beside.isBeingCopied(table)) this.#beside.copyAgain(table);
          else this.#beside.readAgain(table, { xid });
        }
        const row = base === null || base === 'reshaped' ? after : laidOver(relation, base, [after]);
        const { dataset, version, ordinal, committedAtMs } = event;
        // What is still not whole is no new row.
        const op = event.op === 'insert' && !isPartial(row) ? 'insert' : 'update';
        const whole = new PgEvent(op, event.before, row, dataset, version, ordinal, committedAtMs, event.movedFrom !== null);
        this.#beside.see(whole, table);
        this.#queue.append(whole, bytes + EVENT_OVERHEAD_BYTES);
      }),
    );
  }

  /** An empty batch where the lane is wanted, unless one with events brings it there anyway. */
  #stand(): void {
    if (this.#wanted === null) return;
    this.#queue.closeEmpty();
    if (this.#queue.emitted >= this.#wanted) this.#wanted = null;
  }

  #want(place: string): void {
    if (this.#wanted === null || place > this.#wanted) this.#wanted = place;
  }

  // --- Flow.

  /** Messages wait until `work` is done. */
  #block(work: Promise<void>): void {
    this.#blocked = true;
    this.#flow();
    work.then(
      () => this.#unblock(),
      (error: unknown) => this.#fail(sourceFailure(error, 'reading the catalog', `reading what the log of ${this.#parts.slot} refers to`)),
    );
  }

  #unblock(): void {
    this.#blocked = false;
    try {
      let next = 0;
      while (next < this.#backlog.length && !this.#blocked) {
        const waiting = this.#backlog[next++];
        if (waiting !== undefined) this.#handleWaiting(waiting);
      }
      this.#backlog.splice(0, next);
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (!this.#blocked) {
      this.#beside.change();
      this.#queue.pause();
    }
    this.#flow();
  }

  #flow(): void {
    const pause = this.#blocked || this.#queue.waiting;
    if (pause === this.#paused || this.#copy === null) return;
    this.#paused = pause;
    if (pause) this.#copy.pause();
    else {
      this.#heardAtMs = this.#parts.clock.monotonic(); // Silence while we did not listen is none.
      this.#copy.resume();
    }
  }

  #fail(error: unknown): void {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort();
    this.#beside.stop();
    this.#queue.end({ error: sourceFailure(error, 'streaming', `reading the replication slot ${this.#parts.slot}`) });
  }

  // --- What the server hears.

  async #tick(): Promise<void> {
    const { clock, timing, replication } = this.#parts;
    while (!this.#stopped.signal.aborted) {
      await clock.sleep(Math.min(TICK_MS, timing.statusMs), this.#stopped.signal);
      if (this.#stopped.signal.aborted) return;
      const now = clock.monotonic();
      // A large message may be on its way for long.
      if (replication.bytesRead !== this.#bytesRead) this.#heardAtMs = now;
      this.#bytesRead = replication.bytesRead;
      const silentMs = this.#paused ? 0 : now - this.#heardAtMs;
      if (silentMs > timing.silenceMs) {
        const message = `the server has said nothing on the slot ${this.#parts.slot} for ${Math.round(silentMs)} ms`;
        return this.#fail(new PipelineError('SOURCE_UNREACHABLE', message));
      }
      if (now - this.#toldAtMs >= timing.statusMs) this.#tell(true);
      this.#moveOn(now);
      this.#away.tick(now);
    }
  }

  /** An idle lane: the log grows by what others do, and the slot must not hold it back for ever. */
  #moveOn(now: number): void {
    const { timing } = this.#parts;
    const queue = this.#queue;
    if (this.#blocked || !queue.empty || now - queue.emittedAtMs < timing.idleMs) return;
    if (queue.emittedLsn !== '' && BigInt(`0x${queue.lsn}`) - BigInt(`0x${queue.emittedLsn}`) < BigInt(timing.idleBytes)) return;
    queue.closeEmpty();
  }

  /** Standby status update: written, flushed, applied, time, and whether the server shall answer. */
  #tell(ask: boolean): void {
    if (this.#copy === null || this.#stopped.signal.aborted || !this.#parts.replication.open) return;
    const { clock } = this.#parts;
    const status = Buffer.alloc(34);
    status[0] = 114; // 'r'
    const written = this.#queue.lsn > this.#done.acknowledged ? this.#queue.lsn : this.#done.acknowledged;
    status.write(written, 1, 'hex');
    status.write(this.#done.told, 9, 'hex'); // Invariant 5
    status.write(this.#done.told, 17, 'hex');
    status.writeBigInt64BE(BigInt(Math.round(clock.now() - 946_684_800_000)) * 1000n, 25);
    status[33] = ask ? 1 : 0;
    this.#copy.send(status);
    this.#toldAtMs = clock.monotonic();
  }
}

/** A message that came while another had to be finished, without what belongs to the stream's protocol. */
interface Waiting {
  readonly bytes: Buffer;
  readonly cutBytes: number;
}
