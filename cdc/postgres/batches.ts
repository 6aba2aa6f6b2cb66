/**
 * Events become batches. One side appends what the log brings, the other takes a batch whenever it is ready for one: a batch is whatever
 * gathered in the meantime. Batches end at commits; a transaction larger than a batch is cut. At most one closed batch waits beside the one
 * being filled (Invariant 7): then the reader of the log has to wait for `room`.
 */
import { Batch, type EventRun, type FoundTable, type Origin, ROW_BYTES_RULE, Verdict } from '../../core/batch.ts';
import type { Clock } from '../../core/clock.ts';
import type { ChangeEvent, LaneId, Position } from '../../core/event.ts';
import {
  inLog,
  type LanePlace,
  type LastCommit,
  placeText,
  reachedLsn,
  readOnText,
  type SnapshotMark,
  withinText,
} from './lane-position.ts';
import { asChangeEvent, type PgEvent } from './pg-event.ts';

export interface BatchLimits {
  readonly rows: number;
  readonly bytes: number;
  /** How long a batch may wait for more events before it is handed out; 0: not at all. */
  readonly ageMs: number;
}

/**
 * While the log flows, a batch waits this long for so many events: a small one costs the target nearly as much as a large one, and whoever is behind by
 * more than a read has no use for the millisecond.
 */
const FLOW_MS = 3;
const FLOW_ROWS = 2000;

export class BatchQueue {
  readonly #lane: LaneId;
  readonly #limits: BatchLimits;
  readonly #clock: Clock;
  readonly #closed: Batch[] = [];
  #events: ChangeEvent[] = [];
  /** Those whose rows were too large to be read whole, with their bytes; 0 where these are not known. */
  readonly #tooLarge = new Map<ChangeEvent, number>();
  #bytes = 0;
  #firstAtMs = 0;
  /** Place of the last commit among what was appended. */
  #lsn: string;
  /** How far the log was read beyond it; null where it was not. */
  #readOn: string | null;
  #snapshot: SnapshotMark | null = null;
  readonly #timeline: number;
  readonly #system: string | null;
  #last: LastCommit | null;
  /** Of the transaction being appended: its commit LSN, its first event in `#events`, and the bytes before that. */
  #commit: string | null = null;
  #openFrom = 0;
  #openFromBytes = 0;
  /** Whether it brought anything. */
  #brought = false;
  #emitted: Position | null;
  #emittedAtMs: number;
  #flows = false;
  /** Whoever waits to take a batch waits for a moment, and not until it is woken. */
  #isTimed = false;
  #wakeTaker: (() => void) | null = null;
  #wakeReader: (() => void) | null = null;
  #failure: { readonly error: unknown } | null = null;
  #ended = false;

  /** `from` is where the lane stands; `emitted` is what the target has of that already, null for nothing. */
  constructor(lane: LaneId, from: LanePlace, emitted: Position | null, limits: BatchLimits, clock: Clock) {
    this.#lane = lane;
    this.#limits = limits;
    this.#clock = clock;
    this.#lsn = from.lsn;
    this.#readOn = from.readOn;
    this.#snapshot = from.snapshot;
    this.#timeline = from.timeline;
    this.#system = from.system;
    this.#last = from.last;
    // From inside a transaction nothing without events leads on.
    this.#emitted = emitted === null || from.within === null ? emitted : this.#place();
    this.#emittedAtMs = clock.monotonic();
  }

  /** End of the last commit appended. */
  get commitLsn(): string {
    return this.#lsn;
  }
  /** The same, or the end of the log read since. */
  get lsn(): string {
    return this.#readOn ?? this.#lsn;
  }
  get snapshot(): SnapshotMark | null {
    return this.#snapshot;
  }
  /** Whether nothing waits to be taken. */
  get empty(): boolean {
    return this.#closed.length === 0 && this.#events.length === 0;
  }
  /** Whether a closed batch waits, so that reading should pause. */
  get waiting(): boolean {
    return this.#closed.length > 0;
  }
  /** The newest position handed out, '' before. */
  get emitted(): string {
    return this.#emitted ?? '';
  }
  /** Up to where it has the log, '' before. */
  get emittedLsn(): string {
    return this.#emitted === null ? '' : reachedLsn(this.#emitted);
  }
  get emittedAtMs(): number {
    return this.#emittedAtMs;
  }

  // --- The reader's side.

  begin(commit: string): void {
    this.#commit = commit;
    this.#brought = false;
    this.#openFrom = this.#events.length;
    this.#openFromBytes = this.#bytes;
  }

  /**
   * `bytes` is what the event takes in memory, roughly; `cutBytes` what its row had, where cells were left out of it. `goesOn`: the next one is of the same statement, and
   * has to be in the same batch.
   */
  append(event: PgEvent, bytes: number, { cutBytes = 0, goesOn = false }: { cutBytes?: number; goesOn?: boolean } = {}): void {
    if (cutBytes > 0) this.#tooLarge.set(asChangeEvent(event), cutBytes);
    if (this.#events.length === 0) this.#firstAtMs = this.#clock.monotonic();
    this.#events.push(asChangeEvent(event));
    this.#bytes += bytes;
    this.#brought = true;
    if (goesOn) return;
    if (this.#events.length >= this.#limits.rows || this.#bytes >= this.#limits.bytes) this.#closeInTransaction(event.ordinal + 1);
  }

  /** The transaction is complete, and ends at `lsn`. Answers whether it brought anything. */
  commit(lsn: string, last: LastCommit): boolean {
    this.#commit = null;
    this.#lsn = lsn;
    this.#last = last;
    this.#readOn = null;
    this.#openFrom = this.#events.length;
    this.#openFromBytes = this.#bytes;
    if (this.#events.length >= this.#limits.rows || this.#bytes >= this.#limits.bytes) this.#closeComplete();
    return this.#brought;
  }

  /** A batch ends here, `eventsDone` events into the transaction: what follows has another shape, and the target's table changes between them. */
  cut(eventsDone: number): void {
    this.#closeComplete();
    if (this.#events.length > 0) this.#closeInTransaction(eventsDone);
  }

  /** The log was read up to `lsn`, between two transactions. */
  advance(lsn: string): void {
    if (this.#commit === null && lsn > this.lsn) this.#readOn = lsn;
  }

  /** Hands out a batch without events, so that the lane moves on though nothing happens in it. */
  closeEmpty(): void {
    if (this.#commit !== null || !this.empty || this.#place() === this.#emitted) return;
    this.#close([], this.#place());
    this.#wake();
  }

  /** Rows of a chunk, after everything appended so far, with the progress they make. Only between transactions. */
  appendSnapshot(
    events: readonly PgEvent[] | EventRun,
    mark: SnapshotMark,
    { found = [], tooLarge = [] }: { found?: readonly FoundTable[]; tooLarge?: readonly PgEvent[] } = {},
  ): void {
    this.#closeComplete();
    for (const event of tooLarge) this.#tooLarge.set(asChangeEvent(event), 0);
    this.#snapshot = mark;
    this.#close('look' in events ? events : events.map(asChangeEvent), this.#place(), 'snapshot', found);
    this.#wake();
  }

  /** A new snapshot begins (or more tables join it): said in the positions from now on. */
  markSnapshot(mark: SnapshotMark): void {
    this.#closeComplete();
    this.#snapshot = mark;
  }

  /** A part of the snapshot begins again: said in the positions from now on, inside a transaction too. */
  beginAgain(mark: SnapshotMark): void {
    this.#snapshot = mark;
  }

  /** To be called when no more can be read at once: whoever waits takes what there is. `flows`: a moment later there will be more. */
  pause(flows = false): void {
    this.#flows = flows;
    if (!flows || !this.#isTimed || this.#openFrom >= FLOW_ROWS) this.#wake();
  }

  /** Resolves when another batch may be filled. */
  async room(): Promise<void> {
    while (this.#closed.length > 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wakeReader = resolve;
      });
    }
  }

  /** No more will come. What is complete may still be taken, unless there is an error: that comes first. */
  end(failure?: { readonly error: unknown }): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure ?? null;
    this.#wake();
    this.#wakeReader?.();
  }

  // --- The taker's side.

  /** The next batch, or null at the end. */
  async take(): Promise<Batch | null> {
    for (;;) {
      if (this.#failure !== null) throw this.#failure.error;
      if (this.#ended) return null;
      const first = this.#closed.shift();
      if (first !== undefined) {
        this.#wakeReader?.();
        return first;
      }
      if (this.#openFrom > 0) {
        const patience = this.#flows && this.#openFrom < FLOW_ROWS ? Math.max(FLOW_MS, this.#limits.ageMs) : this.#limits.ageMs;
        const wait = patience - (this.#clock.monotonic() - this.#firstAtMs);
        if (wait <= 0) {
          this.#closeComplete();
          continue;
        }
        await this.#woken(wait);
      } else {
        await this.#woken(null);
      }
    }
  }

  async #woken(atMostMs: number | null): Promise<void> {
    const timer = atMostMs === null ? null : new AbortController();
    this.#isTimed = timer !== null;
    await new Promise<void>((resolve) => {
      this.#wakeTaker = resolve;
      if (atMostMs !== null) void this.#clock.sleep(atMostMs, timer?.signal).then(resolve); // Never rejects.
    });
    timer?.abort(null); // With a reason, or one would be made each time.
    this.#wakeTaker = null;
  }

  #wake(): void {
    this.#wakeTaker?.();
  }

  /** At the limit, inside a transaction: cut before it where that leaves something, else after the last event. */
  #closeInTransaction(eventsDone: number): void {
    if (this.#openFrom > 0) return this.#closeComplete();
    if (this.#commit === null) return;
    const events = this.#events;
    this.#events = [];
    this.#bytes = 0;
    this.#openFrom = 0;
    this.#openFromBytes = 0;
    this.#close(events, this.#inLog(withinText(this.#outside(), this.#commit, eventsDone)));
    this.#wake();
  }

  /** Everything of complete transactions becomes a batch; what the open one has so far begins the next. */
  #closeComplete(): void {
    if (this.#openFrom === 0) return;
    const rest = this.#events.length > this.#openFrom ? this.#events.splice(this.#openFrom) : [];
    const events = this.#events;
    this.#events = rest;
    this.#bytes -= this.#openFromBytes;
    this.#openFrom = 0;
    this.#openFromBytes = 0;
    this.#firstAtMs = this.#clock.monotonic();
    this.#close(events, this.#place());
    this.#wake();
  }

  #close(
    events: readonly ChangeEvent[] | EventRun,
    position: Position,
    origin: Origin = 'stream',
    found: readonly FoundTable[] = [],
  ): void {
    const batch = new Batch(events, { lane: this.#lane, position }, origin, null, found);
    if (this.#tooLarge.size > 0) this.#holdTooLarge(batch);
    this.#closed.push(batch);
    this.#emitted = position;
    this.#emittedAtMs = this.#clock.monotonic();
  }

  #holdTooLarge(batch: Batch): void {
    for (const [index, event] of batch.events.entries()) {
      const bytes = this.#tooLarge.get(event);
      if (bytes === undefined) continue;
      this.#tooLarge.delete(event);
      const size = bytes === 0 ? '' : ` of ${Math.ceil(bytes / (1 << 20))} MiB`;
      batch.mark({
        index,
        stage: 'cdc',
        rule: ROW_BYTES_RULE,
        column: null,
        verdict: Verdict.Quarantine,
        severity: 'critical',
        message: `the row${size} is larger than rowBytes of the source allows: its large cells were not read`,
        notify: false,
      });
    }
  }

  #place(): Position {
    return this.#inLog(this.#outside());
  }

  #inLog(position: Position): Position {
    return inLog(position, { timeline: this.#timeline, system: this.#system, last: this.#last });
  }

  #outside(): Position {
    const place = placeText(this.#lsn, this.#snapshot);
    return this.#readOn === null ? place : readOnText(place, this.#timeline, this.#readOn);
  }
}
