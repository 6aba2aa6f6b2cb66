/**
 * Rules that judge a row by other rows. What has come before it is at the target, so the target is asked, in the transaction that would add
 * the row: nothing is remembered beside its tables, and what is in quarantine is not there.
 */
import type { Finding, Severity } from './batch.ts';
import type { ChangeEvent } from './event.ts';

/** What is asked: that no other row has the same values. Columns are places in the dataset that the rule was made for. */
export interface Question {
  readonly kind: 'unique';
  readonly columns: readonly number[];
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
