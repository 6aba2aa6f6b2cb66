/**
 * Rules that judge a row by other rows. What has come before it is at the target, so the target is asked, in the transaction that would add
 * the row: nothing is remembered beside its tables, and what is in quarantine is not there.
 */
import type { Finding, Severity } from './batch.ts';
import type { ChangeEvent } from './event.ts';

/** What is asked. Columns are places in the dataset that the rule was made for. */
export type Question =
  /** No other row has the same values. */
  | { readonly kind: 'unique'; readonly columns: readonly number[] }
  /** The row before the change is what the stream last said of its key. */
  | { readonly kind: 'before'; readonly columns: readonly number[]; readonly whenUnknown: Unknown }
  /** The number `outOfOrder` steps before the row's own is there, or in quarantine, unless there is none before it. */
  | {
      readonly kind: 'sequence';
      readonly column: number;
      readonly groupBy: readonly number[];
      readonly step: bigint;
      readonly outOfOrder: number;
    };

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
