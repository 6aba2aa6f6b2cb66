/**
 * Rows that are held back as a lot, and then published or diverted as one: those of a window until it is judged (write, audit, publish), and those of a dataset
 * that is held after a window of it failed. They lie in the quarantine, `staged`, where everything that waits lies; what is told of them here is the lots.
 */
import type { DatasetName } from './event.ts';

/** Unix times in ms. A row's lot is a window, or HELD_LOT. */
export interface Lot {
  readonly startMs: number;
  readonly endMs: number;
}

/** What comes while a dataset is held, and would not be staged otherwise. */
export const HELD_LOT: Lot = { startMs: -1, endMs: -1 };

/** So much of a rule file's digest is in its revision, behind the version: `7@3fa9c1d2e4b5`. */
export const REVISION_DIGITS = 12;

/** How many rows of a dataset may be staged, unless its rules say otherwise. They lie on the target's disk. */
export const STAGED_ROWS_MAX = 1_000_000;

/** A dataset whose rows are staged until somebody lets it go on: a window of it failed. */
export interface HeldDataset {
  readonly dataset: DatasetName;
  /** The rule and the window that failed first. */
  readonly rule: string;
  readonly startMs: number;
  readonly endMs: number | null;
  readonly sinceMs: number;
}

/** What lanes have to know of what is staged and held. */
export interface Staging {
  readonly held: ReadonlySet<DatasetName>;
  readonly staged: ReadonlyMap<DatasetName, number>;
}

/** Whose windows a dataset's lots wait for. */
export interface LotRule {
  readonly dataset: DatasetName;
  /** The sets of windows, by id, in which the lot's window is judged. */
  readonly sets: readonly string[];
  /** Whether a lot of which nothing could be said is diverted, too. */
  readonly divertsIndeterminate: boolean;
}

export type LotStatus = 'staged' | 'published' | 'diverted';

export interface LotState extends Lot {
  readonly dataset: DatasetName;
  readonly status: LotStatus;
  /** All that were ever staged in it. */
  readonly rows: number;
  /** The rules that diverted it. */
  readonly rules: readonly string[];
  readonly settledAtMs: number | null;
  /** Why it is not settled although its window may be over: processes have different rules. */
  readonly waitsFor: string | null;
}

export interface LotStore {
  staging(): Promise<Staging>;
  held(): Promise<readonly HeldDataset[]>;
  /** Lets the rows of a dataset go on. False where it was not held. */
  letGoOn(dataset: DatasetName): Promise<boolean>;
  /**
   * Publishes and diverts every lot that is due, in the order of the windows, each at once: those whose windows have been judged, and those that no rule has a say
   * in any more. Done again, it changes nothing. Answers with the lots that it settled. `revisions` are those of the process, of all its datasets (null: it has no rules for it): what was
   * staged by others is left while a process has them in force, or has them newer than these.
   */
  settle(rules: readonly LotRule[], revisions: ReadonlyMap<DatasetName, string | null>): Promise<readonly LotState[]>;
  /**
   * A process that reads lanes has these revisions in force, said before it stages by them, and again and again while that is so. `isAlone`: no other process
   * reads lanes.
   */
  say(process: string, revisions: ReadonlyMap<DatasetName, string | null>, isAlone: boolean): Promise<void>;
  /** Those that wait for something else than their window; a few of them. */
  stuck(): Promise<readonly LotState[]>;
  /** Newest first. */
  lots(limit: number): Promise<readonly LotState[]>;
}
