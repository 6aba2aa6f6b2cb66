/**
 * What windows over a live stream keep at the target. Lanes keep partial states beside their checkpoints, in the same transaction; whoever
 * closes a window reads all of them, says what it came to, once, and lets them go.
 */
import type { DatasetName, LaneId } from './event.ts';
import type { MinuteCount } from './slo.ts';

/** Stands in for the beginning of the window that rows of a snapshot are in. */
export const SNAPSHOT_WINDOW = -1;

/** Stands in for the set of windows where a rule is about the clock. Its results are kept when what it says changes, and all of them are told. */
export const FRESHNESS_SET = 'freshness';

/** Sets of rules that databases are asked by begin so; each asking is a window of its own. Told is what is another verdict than the one before. */
export const TIMER_SETS = 'timer ';

/** What is known of a time that is further ahead than the clocks of processes differ was found by one that ran ahead, and says nothing. */
export const CLOCKS_DIFFER_MS = 60_000;

/** Stands in for the dataset in the mark by which a lane says that something came, of whichever table. */
export const ANY_DATASET = '' as DatasetName;

/** One window of a dataset: rows whose time is in [startMs, startMs + size of the set), of one group. */
export interface WindowKey {
  readonly dataset: DatasetName;
  /** Checks that share their windows and groups; its id says which those are. */
  readonly set: string;
  /** Unix time in ms, or SNAPSHOT_WINDOW. */
  readonly startMs: number;
  /** The values of the group's columns as JSON; empty where there are no groups. */
  readonly group: string;
  /** Rows that came when their lane was past the window already: they are not in its first verdict. */
  readonly late: boolean;
}

export interface WindowPart extends WindowKey {
  /** Replaces what the lane has kept of this window; else it is added to that. */
  readonly whole: boolean;
  readonly rows: number;
  readonly state: string;
}

/** How far a lane is in the times of a dataset. */
export interface WindowMark {
  readonly dataset: DatasetName;
  /** No row of an earlier time comes in order any more. */
  readonly timeMs: number;
  /** The greatest time of a row of its own; -1 before there is one. Where commits are the time, other tables move `timeMs` as well. */
  readonly rowMs: number;
  /** When the lane was seen to work, by the clock of its process. */
  readonly seenMs: number;
  /** Rows without a time, which are in no window; counted on. */
  readonly untimed: number;
  /** Rows that came later than a window of theirs allows, and are not in it; counted on. */
  readonly tooLate: number;
}

/** Whose it is. */
export interface LaneMark extends WindowMark {
  readonly lane: LaneId;
}

/** Rows of a dataset that are not in windows where they would be, counted over all lanes. */
export interface RowsLeftOut {
  readonly dataset: DatasetName;
  readonly untimed: number;
  readonly tooLate: number;
}

/** What a batch adds, in the transaction of its checkpoint. */
export interface WindowWrites {
  readonly marks: readonly WindowMark[];
  readonly parts: readonly WindowPart[];
  /** Rows for service levels and checks of the clock, added to what the lane has counted. */
  readonly minutes: readonly MinuteCount[];
}

/** Adds to what the batch writes. */
export function addWindowWrites(
  batch: { windows: WindowWrites | null },
  { marks = [], parts = [], minutes = [] }: Partial<WindowWrites>,
): void {
  const known = batch.windows ?? { marks: [], parts: [], minutes: [] };
  batch.windows = { marks: [...known.marks, ...marks], parts: [...known.parts, ...parts], minutes: [...known.minutes, ...minutes] };
}

export type WindowVerdict = 'pass' | 'fail' | 'indeterminate';

/** What a rule says of one window. There is one of these however many rows are at fault. */
export interface WindowFinding {
  readonly dataset: DatasetName;
  readonly rule: string;
  readonly type: string;
  readonly column: string | null;
  readonly set: string;
  /** SNAPSHOT_WINDOW and null: the rows of a snapshot. */
  readonly startMs: number;
  readonly endMs: number | null;
  readonly group: string;
  readonly verdict: WindowVerdict;
  /** JSON; null where there is nothing to show, or it would be a value of a row. */
  readonly observed: string | null;
  /** Why it could not be said, or what is behind it. */
  readonly reason: string | null;
  readonly rows: number;
  readonly missing: number;
  readonly severity: 'info' | 'warning' | 'critical';
  readonly onFail: 'alert' | 'halt' | 'hold';
  /** Of the rule file. */
  readonly version: number;
  readonly digest: string;
  /** It takes back what was said before, and is nothing where that was no fault. */
  readonly takesBack?: boolean;
}

export interface WindowResult extends WindowFinding {
  readonly id: string;
  /** 1, and one more each time rows that came late made it another one. */
  readonly revision: number;
  readonly atMs: number;
}

/** Windows of one set, as they are kept. */
export interface WindowSetState {
  /** Every window that ends here or before has been judged; null before the first was. */
  readonly closedMs: number | null;
  readonly lanes: readonly Pick<LaneMark, 'dataset' | 'lane' | 'timeMs' | 'rowMs' | 'seenMs'>[];
  /** The beginning of the first window that was judged and got rows since; before any was judged, of the first that holds rows that came in time. */
  readonly firstMs: number | null;
  readonly hasSnapshot: boolean;
}

export interface StoredWindow {
  readonly startMs: number;
  readonly group: string;
  /** Of its dataset, and of the one beside it. */
  readonly parts: readonly LanePart[];
}

/** What one lane kept of it. */
export interface LanePart {
  readonly dataset: DatasetName;
  readonly lane: LaneId;
  readonly late: boolean;
  readonly rows: number;
  readonly state: string;
}

/** How far a set is closed now. */
export interface Closing {
  readonly closedMs: number;
  /** Windows that end here or before take no more rows. */
  readonly finalMs: number;
  readonly snapshot: boolean;
}

/** What a rule remembers of the windows of one group that were judged, as a text of its own. */
export interface WindowMemory {
  readonly rule: string;
  readonly group: string;
  readonly state: string;
}

export interface JudgedWindows {
  readonly findings: readonly WindowFinding[];
  /** All that the set is to remember from now on. */
  readonly memories: readonly WindowMemory[];
}

export interface WindowSetRef {
  readonly dataset: DatasetName;
  readonly set: string;
  readonly sizeMs: number;
  /** Another dataset of the pipeline that keeps windows under the name of this set, and is judged with them: they are closed together, and by one. */
  readonly beside?: DatasetName;
}

export interface WindowFilter {
  readonly dataset?: DatasetName;
  readonly rule?: string;
  readonly verdict?: WindowVerdict;
  /** The newest window of each rule and group alone; of rules that databases are asked by, no time that has not come yet. */
  readonly newest?: boolean;
  readonly limit: number;
}

export interface WindowStore {
  /** What a lane has kept of the windows that are open. */
  partsOf(lane: LaneId): Promise<readonly (WindowKey & { readonly rows: number; readonly state: string })[]>;
  /** How far the lane was in each dataset. */
  marksOf(lane: LaneId): Promise<readonly WindowMark[]>;
  /** Looks without a lock; for all sets of the pipeline that are kept. */
  peek(sets: readonly WindowSetRef[]): Promise<readonly WindowSetState[]>;
  /**
   * One transaction, in which nobody else closes windows of the set: `decide` says how far it is to be closed, null for not at all; `judge` is
   * given every window that holds rows and ends by then, but for those that were judged and got no rows since, and what rules remember of earlier ones. Answers with the
   * results that are new or another than before.
   */
  close(
    ref: WindowSetRef,
    decide: (state: WindowSetState) => Closing | null,
    judge: (windows: readonly StoredWindow[], state: WindowSetState, closing: Closing, memories: readonly WindowMemory[]) => JudgedWindows,
  ): Promise<readonly WindowResult[]>;
  /**
   * The rules of a process ask for these sets, said again and again while it lives; `dropped` are those that they asked for before and do no more. What is kept for sets that nobody has
   * asked for in a while is let go, unjudged: another process may have other rules, be it that somebody is changing them process by process.
   */
  ask(sets: readonly WindowSetRef[], dropped: readonly WindowSetRef[]): Promise<void>;
  /** The greatest time of a row of each dataset; null where none has come. */
  newestRows(datasets: readonly DatasetName[]): Promise<readonly (number | null)[]>;
  /** When a lane last said that something came; null before that. */
  lastSeen(): Promise<number | null>;
  leftOut(): Promise<readonly RowsLeftOut[]>;
  /** Keeps what was found without a window. Answers with those that are new or another than before. */
  keep(findings: readonly WindowFinding[]): Promise<readonly WindowResult[]>;
  /** What a rule remembers of its windows, of each of its groups. */
  memoriesOf(dataset: DatasetName, rule: string): Promise<readonly WindowMemory[]>;
  results(filter: WindowFilter): Promise<readonly WindowResult[]>;
  /** Results nobody has been told of yet, oldest first. */
  untold(limit: number): Promise<readonly WindowResult[]>;
  told(ids: readonly string[]): Promise<void>;
}
