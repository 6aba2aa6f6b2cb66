/** What the parts of a pipeline promise each other. Everything here moves batches, never single events. */
import type { Batch, Finding, OriginalRecord, StageName } from './batch.ts';
import type { ChangeEvent, Checkpoint, DatasetName, LaneId, Position } from './event.ts';
import type { Lot } from './lots.ts';
import type { NumberedColumn } from './shape.ts';

/** The right to move one lane forward. A newer lease on the lane makes this one's commits fail. */
export interface Lease {
  readonly lane: LaneId;
  readonly epoch: number;
  /** Where the lane resumes, or null for a lane never read. */
  readonly checkpoint: Checkpoint | null;
}

/** Takes a lane over and tells where it resumes. */
export type Resume = (lane: LaneId) => Promise<Lease>;

export interface Source extends AsyncDisposable {
  readonly name: string;
  /**
   * Yields each lane's batches in order, from where `resume` says. Reads ahead no further than its own
   * bounded buffer, so a slow consumer slows the source. Ends, rather than throws, when `signal` aborts.
   */
  read(resume: Resume, signal: AbortSignal): AsyncIterable<Batch>;
  /**
   * Tells upstream that it may forget everything up to here. Only a hint: it may be lost or repeated. With `isLasting` false it is committed and no more: a crash of the target may
   * undo it, and upstream is told when it is acknowledged once more, or something after it is.
   */
  acknowledge(checkpoint: Checkpoint, isLasting?: boolean): Promise<void>;
  /**
   * Whether the batch's lane has gone to somebody else since it was yielded, so that nothing need become of the batch: whoever has the lane now begins at its
   * checkpoint. Asked before a batch is applied, and when its lease turns out to be lost. It is not acknowledged then.
   */
  isAbandoned?(batch: Batch): boolean;
}

/** What a source that follows a log tells of itself. */
export interface SourceStatus {
  /** `waiting`: connected, and something else has to happen first. */
  readonly state: 'stopped' | 'connecting' | 'waiting' | 'snapshot' | 'streaming';
  /** Whether something has been received that is not committed yet. */
  readonly isBehind: boolean;
  /** Bytes of log between what is committed here and the end of the log, as last heard; null where nobody says. */
  readonly lagBytes: number | null;
}

/** `later`: it cannot be begun now. `asked`: no checkpoint has it yet. `reading`: one has, so it goes on over restarts. `ended`: all of it is in one. */
export type ColumnsRead = 'later' | 'asked' | 'reading' | 'ended';

/** A source that goes on for as long as it is let. */
export interface LiveSource extends Source {
  /** Its only lane, or what the names of all its lanes begin with, before a slash. */
  readonly lane: LaneId;
  /** Those that it reads now. */
  readonly lanes: readonly LaneId[];
  /** Those that rows of a dataset may come by, whoever reads them; null before that is known. Left out where there is one. */
  lanesOf?(dataset: DatasetName): readonly LaneId[] | null;
  /**
   * Reads the rows of a table anew, beside the log and in the lane's order. False where it cannot be begun now. Once a checkpoint has it, it goes on
   * over restarts; `progress` tells how far it is.
   */
  readAgain(dataset: DatasetName): boolean;
  /**
   * Reads these columns of all of a table's rows in the same way, as part of what `id` names, and says how far that is: rows come as `read` with the other cells
   * UNCHANGED. Whole rows come where the source cannot tell that only these columns may have other values. Left out by sources that cannot read so.
   */
  readColumns?(dataset: DatasetName, columns: readonly NumberedColumn[], id: string): ColumnsRead;
  /** How far that is; null where nothing of it is known, or any more. */
  columnsRead?(id: string): ColumnsRead | null;
  progress(): readonly SnapshotProgress[];
  status(): SourceStatus;
  /** Records between what a lane has committed and the end of its log, as last heard, for logs that count records; null where nobody says. */
  lagRecords?(lane: LaneId): number | null;
}

/** Judges or scores a batch in place. Throws only when it can't work at all: bad data is a finding. */
export interface Stage {
  readonly name: StageName;
  run(batch: Batch, signal: AbortSignal): Promise<void>;
}

/** What became of every event of a batch. Invariant 8: the counts add up to the number of its events. */
export interface Applied {
  readonly kind: 'applied';
  readonly checkpoint: Checkpoint;
  readonly upserts: number;
  readonly deletes: number;
  readonly truncates: number;
  /** Events that the target already held, or had newer. A released event that is stale is superseded. */
  readonly stale: number;
  /** Outlived by a later event of its key (or a truncate) in the same batch. */
  readonly folded: number;
  readonly held: number;
  readonly dropped: number;
}

/** Rows that the target will not take now: an answer, not an exception. Also how `hold: key` makes an event wait for its key. */
export interface Refused {
  readonly kind: 'refused';
  readonly findings: readonly [Finding, ...Finding[]];
}

export interface Sink extends AsyncDisposable {
  readonly name: string;
  /** Makes this process the lane's only writer. Any older lease on the lane is fenced off from then on. */
  acquire(lane: LaneId): Promise<Lease>;
  /**
   * Gets ready whatever of a batch does not need the target's answer, while the batch before it may still be on its way. It may send the batch
   * ahead, where the target takes it only if the lane stands at `batch.after` by then (Invariant 6); `apply` waits for the answer. Batches are
   * prepared in the order in which they are applied; one may be left out. What was prepared and never applied may or may not be in the target, as
   * after a lost answer.
   */
  prepare?(batch: Batch, held: readonly Quarantined[], lease: Lease): void;
  /**
   * Applies every event marked neither drop nor quarantine, makes `held` durable, and stores `batch.checkpoint`:
   * all of it or nothing. Doing it again changes nothing: a row, or the tombstone of a deleted one, keeps the greater
   * of its version and the event's (kept wherever order can be broken: "Where versions live"), and an event is held once.
   * Events of a `replay` batch settle their quarantine items (applied, superseded, held again) in the same transaction.
   * Refuses or throws with the target as it was.
   */
  apply(batch: Batch, held: readonly Quarantined[], lease: Lease, signal: AbortSignal): Promise<Applied | Refused>;
  /** Resolves once a crash of the target undoes nothing of what was applied by now, or `signal` aborts. Null or left out where that is so when `apply` answers. To be looked at once a lane is acquired. */
  readonly untilLasting?: ((signal: AbortSignal) => Promise<void>) | null;
}

/** Checkpoints for a target that can't keep its own beside its rows (an HTTP API, a topic). */
export interface CheckpointStore {
  acquire(lane: LaneId): Promise<Lease>;
  /** Fails with LEASE_LOST when the lane has a newer lease. */
  save(checkpoint: Checkpoint, lease: Lease): Promise<void>;
}

/** An event taken out of the flow, with everything needed to judge it again. */
export interface Quarantined {
  /** `eventId(event)`: holding the same event twice holds it once. */
  readonly id: string;
  readonly lane: LaneId;
  readonly event: ChangeEvent;
  readonly findings: readonly Finding[];
  /** The revision of the dataset's rules by which it was judged; null where it has none. */
  readonly revision: string | null;
  /** What it was made of, where that was a record of a topic. */
  readonly record?: OriginalRecord | null;
  /** The lot that it waits or waited with; null where nothing but itself holds it. */
  readonly lot?: Lot | null;
}

/**
 * `held`: waits for a person. `waiting`: held only because an earlier event of its key is (hold: key); released by itself
 * after it. `staged`: waits for its lot, with nothing wrong about it. `released`: in line for the replay source. `applied`, `superseded`, `discarded`: settled.
 */
export type ItemStatus = 'held' | 'waiting' | 'staged' | 'released' | 'applied' | 'superseded' | 'discarded';

export interface QuarantineItem extends Quarantined {
  readonly status: ItemStatus;
  readonly heldAtMs: number;
  /** Until then the row that it names may come, and it is released by itself; null where it waits for none. */
  readonly waitsUntilMs: number | null;
  readonly settledAtMs: number | null;
  /** Who released or discarded it, and why. */
  readonly by: string | null;
  readonly why: string | null;
}

export interface QuarantineFilter {
  readonly dataset?: DatasetName;
  readonly rule?: string;
  readonly key?: string;
  readonly status?: readonly ItemStatus[];
  /** Unix times in ms of being held: from (inclusive), to (exclusive). */
  readonly heldFromMs?: number;
  readonly heldToMs?: number;
  /** Of the lot of the window that begins there. */
  readonly lotStartMs?: number;
  /** The id of the last item of the page before. Newest first. */
  readonly after?: string;
  readonly limit: number;
}

/** An item that several rules hold counts for each of them. */
export interface HeldByRule {
  readonly dataset: DatasetName;
  readonly rule: string;
  readonly count: number;
  /** When the first and the last of them was held. */
  readonly fromMs: number;
  readonly toMs: number;
}

export interface Quarantine {
  /** Durable when it resolves. Called before the checkpoint moves past the events. */
  hold(items: readonly Quarantined[], signal: AbortSignal): Promise<void>;
  find(filter: QuarantineFilter): Promise<readonly QuarantineItem[]>;
  get(id: string): Promise<QuarantineItem | null>;
  /** How many items each dataset has in each status. */
  counts(): Promise<readonly { dataset: DatasetName; status: ItemStatus; count: number }[]>;
  /** Open items by what holds them, most first. */
  openByRule(): Promise<readonly HeldByRule[]>;
  /**
   * Puts events in line for the replay source, which sends them through the stages again. Items already settled or
   * released are left alone. Where the dataset holds keys, every earlier and later item of the same key goes along, in
   * the source's order. Returns the ids now in line.
   */
  release(ids: readonly string[], by: string): Promise<readonly string[]>;
  /** Settles items as discarded; events waiting for them are released. Returns the ids discarded. */
  discard(ids: readonly string[], by: string, why: string): Promise<readonly string[]>;
  /** Those of the items that would be superseded if they were released: the target has their key at a newer version. */
  outrun(items: readonly Pick<Quarantined, 'id' | 'event'>[]): Promise<ReadonlySet<string>>;
}

/** A change of a row that came after another one in its partition. */
export interface LaterChange {
  /** As which it may be in the quarantine. */
  readonly ids: readonly string[];
  /** The row went to another key by it: as which it is in the quarantine where both halves came as one event. Null for others. */
  readonly moveId: string | null;
  /** As `versionOf` has it. */
  readonly version: string;
  /** It left cells out, so it changed a row that was there, or nothing. */
  readonly isPartial: boolean;
}

/**
 * Tells the changes of a row that come after a record, up to a place of its lane. `lost`: it does not stand there, or what came after it is not kept any more.
 * `ahead`: the lane has not come as far as the record.
 */
export type ReadLater = (upTo: Position) => Promise<readonly LaterChange[] | 'lost' | 'ahead'>;

/** Where the record of an item stood among the changes of its row. */
export interface RecordPlace {
  /** The lane that it stood in; null for one that came by none, and does not say where it stood. */
  readonly lane: LaneId | null;
  /** What the names of all lanes of its source begin with. */
  readonly lanes: string;
  readonly readLater: ReadLater;
}

/**
 * What came of giving a released item, whose record could not be read, the event that it is. `gone`: it was settled meanwhile. `lost`, `ahead`: as reading what came
 * after it says, so nobody knows whether the target has its row newer. `unplaced`: nobody knows what came after it, and the target keeps no version of its row.
 * `partial`: later changes left cells out that only it may have.
 */
export type Became = { readonly kind: 'became' | 'gone' | 'lost' | 'ahead' | 'unplaced' | 'partial' };

/** The released items as a log: what the replay source reads. Sequence numbers grow with every release and are never reused. */
export interface ReleaseLog {
  /** Items released after `after` (exclusive), in order; at most `limit`. */
  releasedAfter(after: bigint, limit: number): Promise<readonly { readonly seq: bigint; readonly item: Quarantined }[]>;
  /** Resolves when there may be something new, or after a while. */
  changed(signal: AbortSignal): Promise<void>;
}

/** One change of one item, as it was committed: what the quarantine's topics tell. */
export interface QuarantineNews {
  /** Grows in the order in which the changes of a pipeline were committed. */
  readonly seq: bigint;
  /** The same whenever this change is told, and that of no other. */
  readonly messageId: string;
  readonly item: Quarantined;
  readonly status: ItemStatus;
  readonly atMs: number;
  /** As they were then: of an item that is held or waits. */
  readonly findings: readonly Finding[];
  readonly by: string | null;
  readonly why: string | null;
}

/**
 * What is still to be told of a quarantine, kept where the quarantine is: a change is there if and only if it was committed, in the transaction that
 * made it, and until somebody says that it was told.
 */
export interface QuarantineOutbox extends AsyncDisposable {
  /** The oldest changes that were not told, in order; none while another process tells them. At least one where there is one, else as many as fit `bytesMax`. */
  next(limit: number, bytesMax: number): Promise<readonly QuarantineNews[]>;
  /** These were told. */
  told(news: readonly QuarantineNews[]): Promise<void>;
  /** How many wait to be told, and since when the oldest does. */
  backlog(): Promise<{ readonly count: number; readonly sinceMs: number | null }>;
  /** Resolves when there may be something new, or after a while. */
  changed(signal: AbortSignal): Promise<void>;
}

/** What a batch came to, once it is committed. Metrics, the dashboard and ops/ see batches only through this. */
export interface BatchReport {
  readonly batch: Batch;
  readonly applied: Applied;
  readonly millisByStage: Readonly<Record<StageName, number>>;
}
/** Called after the commit, in lane order. What it throws is a BUG, so it had better not. */
export type Observer = (report: BatchReport) => void;

/** How far a snapshot is, for people. */
export interface SnapshotProgress {
  readonly dataset: DatasetName;
  readonly rowsDone: number;
  /** From the planner's statistics; null where there are none. */
  readonly rowsEstimated: number | null;
  /** `away`: the source has it under another name, and nothing of it is read. */
  readonly state: 'waiting' | 'copying' | 'done' | 'away';
}
