/**
 * Rules that judge a row by other rows. What has come before it is at the target, so the target is asked, in the transaction that would add
 * the row: nothing is remembered beside its tables, and what is in quarantine is not there.
 */
import type { Batch, Finding, Severity } from './batch.ts';
import { formatMillis } from './duration.ts';
import type { ChangeEvent, Dataset, DatasetName } from './event.ts';

/** What is asked. Columns are places in the dataset that the rule was made for. */
export type Question =
  /** No other row has the same values. */
  | { readonly kind: 'unique'; readonly columns: readonly number[] }
  /** The row before the change is what the stream last said of its key. */
  | { readonly kind: 'before'; readonly columns: readonly number[]; readonly whenUnknown: Unknown }
  /** The value is not less (1) or greater (-1) than the last one of the same row; with `strictly`, it is another as well. */
  | { readonly kind: 'course'; readonly column: number; readonly direction: 1 | -1; readonly strictly: boolean }
  /** The number `outOfOrder` steps before the row's own is there, or in quarantine, unless there is none before it. */
  | {
      readonly kind: 'sequence';
      readonly column: number;
      readonly groupBy: readonly number[];
      readonly step: bigint;
      readonly outOfOrder: number;
    }
  /** The row that this one names is there, or comes within `waitMs`; null: within what is usual where rows that fail are held, else at once. */
  | {
      readonly kind: 'reference';
      readonly columns: readonly number[];
      readonly parent: Parent;
      readonly match: Match;
      readonly waitMs: number | null;
    };

/** Columns of another dataset, or of the same one, as the source calls them. */
export interface Parent {
  readonly dataset: DatasetName;
  readonly columns: readonly string[];
}

/** With a null among several columns a row names nothing (`simple`), or fails unless all of them are null (`full`). */
export type Match = 'simple' | 'full';

/** What a check of the old row does where the source sent none, and where the target has no row of the key. */
export interface Unknown {
  readonly noBefore: 'skip' | 'fail';
  readonly missing: 'skip' | 'fail';
}

export interface KeyedRule {
  readonly id: string;
  readonly column: string | null;
  readonly question: Question;
  readonly verdict: Finding['verdict'];
  readonly severity: Severity;
  /** The lane stops before the row; a released one is held again. */
  readonly halts: boolean;
  /** Whether the rule is about this event: its operation, and `where`. */
  readonly meets: (event: ChangeEvent) => boolean;
  /** Says why it fails, without values unless the contract allows them. */
  readonly describe: (event: ChangeEvent) => string;
}

/** A rule of references, as rows that wait for what they name are asked about. */
export interface WaitRule {
  readonly dataset: DatasetName;
  readonly rule: string;
  /** As the source calls them. */
  readonly columns: readonly string[];
  readonly parent: Parent;
  /** Whether a row that has waited for nothing stays in quarantine; where not, it is judged once more, and the rule says what becomes of it. */
  readonly holds: boolean;
  /** Whether it is bad for service levels then: it stays, or is dropped. */
  readonly fails: boolean;
}

export interface WaitsSettled {
  /** Rows that are in line again. */
  readonly released: number;
  /** Rows that have waited for nothing, and stay. */
  readonly overdue: number;
  /** Rows that a later change of their key has taken back. */
  readonly takenBack: number;
}

/** Rows in quarantine that wait for another one to come. */
export interface WaitStore {
  /**
   * Puts in line what has come, what no rule in force has a say in any more, and what newer changes have outrun. `mayPass`: the parents' datasets that are known
   * up to now, so that what is not there has not come: rows of theirs may have waited long enough. Done again, it changes nothing.
   */
  settle(rules: readonly WaitRule[], mayPass: (parent: DatasetName) => boolean): Promise<WaitsSettled>;
}

/** What rules that need other rows would say of events if they were written now. */
export interface AskedRules {
  /** Nothing is written, and nobody is kept waiting. `unasked`: the datasets whose rules could not be asked, so that nothing was found of them. */
  look(batch: Batch): Promise<{ readonly findings: readonly Finding[]; readonly unasked: ReadonlySet<DatasetName> }>;
}

/** Rules of drafts: asked beside those in force, in the transaction that writes a batch, and nothing is done by them. */
export interface DraftRules {
  readonly rulesOf: (dataset: Dataset) => readonly KeyedRule[];
  /** The batch as drafts have judged it by its rows alone; null where none has. */
  readonly judgedBy: (batch: Batch) => Batch | null;
  /** Told each time that the batch is about to be written: the last time counts. Null where the target could not read a question. */
  readonly found: (batch: Batch, findings: readonly Finding[] | null, unasked: readonly Unasked[]) => void;
}

/** A rule of a draft that was left out, since no index finds its rows and there are too many of them. */
export interface Unasked {
  readonly dataset: DatasetName;
  readonly rule: string;
}

/** Beside the words of a rule, while a row waits, and once it has waited for nothing. */
export const waitText = (waitMs: number): string => `; it may come within ${formatMillis(waitMs)}`;
export const lateText = (waitMs: number): string => `, and none has come within ${formatMillis(waitMs)}`;
