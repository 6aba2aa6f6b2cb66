/** What the files beside it, one for each kind of question, are given to judge, and what they answer. */
import type { ChangeEvent, Dataset } from '../../../core/event.ts';
import type { KeyedRule, Parent } from '../../../core/keyed.ts';
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import type { AskedTable } from './asked-table.ts';
import type { Change } from './occupancy.ts';

/** An event of the rule's dataset that goes on to the target unless the rule, or another one, holds it. */
export interface Judged extends Change {
  readonly rule: Asked;
  /** Whether the rule is about it. One that it is not about gives values up and takes them all the same. */
  readonly isJudged: boolean;
  readonly fate: Fate;
}

/** What has become of an event before any of these rules is asked: it goes on to the target, is in quarantine, or leaves no trace. */
export type Fate = 'written' | 'held' | 'dropped';

export interface Asked extends KeyedRule {
  /** What fails it is not written, or not before it has waited. */
  readonly holds: boolean;
}

export interface Found {
  readonly index: number;
  readonly event: ChangeEvent;
  readonly rule: Asked;
  /** What there is to say beside the rule's own words. */
  readonly detail?: string;
}

export interface Asking {
  readonly sql: PgConnection;
  /** Null where it is not known, or lacks one of the columns. */
  readonly tableOf: (dataset: Dataset, columns: readonly number[]) => AskedTable | null;
  /** The table that a rule of references names; null where there is none yet. */
  readonly parentOf: (parent: Parent) => Promise<AskedTable | null>;
  /** The keys of the rows that these events change, with their parts. */
  readonly keysOf: (events: readonly ChangeEvent[]) => ReadonlyMap<string, readonly string[]>;
  /** Whether an event waits for an earlier one of its key that is held. */
  readonly waits: (event: ChangeEvent) => boolean;
  /** Neighbouring events of one transaction of the source. */
  readonly transactions: <T extends Change>(changes: readonly T[]) => readonly (readonly T[])[];
}

/** What `rule` lets a row wait. */
export const waitOf = ({ question }: KeyedRule): number => (question.kind === 'reference' ? (question.waitMs ?? 0) : 0);
