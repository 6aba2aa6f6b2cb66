/**
 * references: the row that another one names is there at the end of its transaction: at the target, or among what the batch adds. One that a rule holds is
 * not there, and neither is one that the batch deletes or gives other values. What waits for an earlier row of its key changes nothing, and is not judged.
 */
import type { ChangeEvent, Dataset } from '../../../core/event.ts';
import type { Match, Parent } from '../../../core/keyed.ts';
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import { type AskedTable, cellText } from './asked-table.ts';
import { castableOf } from './castable.ts';
import { type Change, Occupancy, type Outcome, type Tuple } from './occupancy.ts';
import type { Asking, Found, Judged } from './rules.ts';
import { Waiting } from './waiting.ts';

/** Both tables as the rule has them, the same one where rows name rows of their own table. */
export interface Reference {
  /** Places in the dataset that the rule was made for. */
  readonly columns: readonly number[];
  readonly parent: Parent;
  /** The table that is named, with those columns; null where there is none yet. */
  readonly table: AskedTable | null;
  /** The same table with its key; null where the batch has no event of it. */
  readonly key: AskedTable | null;
  readonly match: Match;
  /** Whether a row that fails is not written. */
  readonly holds: boolean;
}

export interface Related extends Change {
  /** The rule is about it. */
  readonly isJudged: boolean;
  /** It changes rows of the table that is named. */
  readonly isParent: boolean;
}

export async function judgeReferences(asking: Asking, changes: readonly Judged[]): Promise<Found[]> {
  const rule = changes.find(({ isJudged }) => isJudged)?.rule;
  if (rule?.question.kind !== 'reference') return [];
  const { question, holds } = rule;
  const related = changes.map((change) => ({ ...change, isParent: change.event.dataset.name === question.parent.dataset }));
  const parent = related.find(({ isParent }) => isParent)?.event.dataset;
  const found = await orphans(
    asking,
    {
      ...question,
      holds,
      table: await asking.parentOf(question.parent),
      key: parent === undefined ? null : asking.tableOf(parent, parent.key),
    },
    related,
  );
  const failed = new Set(found);
  return changes.filter(({ index, isJudged }) => isJudged && failed.has(index));
}

/** The indices of the events whose row names one that is not there. */
export async function orphans(
  asking: Pick<Asking, 'keysOf' | 'transactions' | 'waits'> & { readonly sql: PgConnection },
  reference: Reference,
  changes: readonly Related[],
): Promise<number[]> {
  const { columns, parent, table, key } = reference;
  const waiting = new Waiting(asking.waits);
  const named = new Map(changes.flatMap(({ index, event, isJudged }) => (isJudged ? [[index, tupleOf(event, columns)] as const] : [])));
  const judged = (occupancy: Occupancy | null): number[] =>
    asking.transactions(changes).flatMap((transaction) => judge(occupancy, reference, named, transaction, waiting));
  if (table === null) return judged(null);
  const parents = changes.filter(({ isParent }) => isParent).map(({ event }) => event);
  const placesOf = placesIn(parent);
  const had = new Map(parents.map((event) => [event, tupleOf(event, placesOf(event.dataset))]));
  // A cell that is none of the type of the column names no row: it is not asked for, and so not found.
  const own = [...named.values()].filter((tuple) => tuple !== undefined);
  const judgedOf = changes.find(({ isJudged }) => isJudged)?.event.dataset;
  const castable = judgedOf === undefined ? own : await castableOf(asking.sql, table, judgedOf, columns, own);
  const asked = [...castable, ...[...had.values()].filter((tuple) => tuple !== undefined)];
  const occupancy = await Occupancy.ask(asking.sql, table, asked, key, asking.keysOf(parents), (event) => had.get(event));
  return judged(occupancy);
}

/** `occupancy`: null where there is no table, and so nothing that could be named. */
function judge(
  occupancy: Occupancy | null,
  { match, holds }: Pick<Reference, 'match' | 'holds'>,
  named: ReadonlyMap<number, Tuple | undefined>,
  transaction: readonly Related[],
  waiting: Waiting,
): number[] {
  const failed = new Set<number>();
  // What is held is not written: where rows name rows of their own table, others may have named it.
  for (;;) {
    const left = waiting.left(transaction, ({ index }) => holds && failed.has(index));
    const outcome = occupancy?.after(left.filter(({ isParent }) => isParent)) ?? null;
    const isThere = occupancy === null || outcome === null ? none : presence(occupancy, outcome);
    const before = failed.size;
    for (const { index } of left) {
      const tuple = named.get(index);
      if (tuple !== undefined && namesAny(tuple, match) && !isThere(tuple)) failed.add(index);
    }
    if (failed.size > before) continue;
    if (outcome !== null) occupancy?.commit(outcome);
    waiting.commit();
    return [...failed].sort((a, b) => a - b);
  }
}

const none = (): boolean => false;

/** Whether some row has these values once the transaction is done. */
function presence(occupancy: Occupancy, outcome: Outcome): (tuple: Tuple) => boolean {
  const there = new Set([...outcome.rows.values()].map(({ value }) => value));
  return (tuple) => {
    const value = tuple.includes(null) ? null : occupancy.numberOf(tuple);
    return value !== null && (there.has(value) || occupancy.isTaken(value, outcome));
  };
}

/** Whether there is something to be found: with a null among several columns nothing is named, or what cannot be found. */
function namesAny(tuple: Tuple, match: Match): boolean {
  const nulls = tuple.filter((text) => text === null).length;
  return nulls === 0 || (match === 'full' && nulls < tuple.length);
}

/** The places of the columns that are named, in whatever shape of their dataset. */
function placesIn({ columns }: Parent): (dataset: Dataset) => readonly number[] {
  const known = new Map<Dataset, readonly number[]>();
  return (dataset) => {
    const found = known.get(dataset) ?? columns.map((name) => dataset.columns.findIndex((column) => column.name === name));
    known.set(dataset, found);
    return found;
  };
}

/** Undefined where the row is gone, or one of the cells was not sent or is not there. */
function tupleOf({ after }: ChangeEvent, columns: readonly number[]): Tuple | undefined {
  if (after === null || columns.includes(-1)) return undefined;
  const texts = columns.map((column) => cellText(() => after.value(column)));
  return texts.includes(undefined) ? undefined : texts.map((text) => text ?? null);
}

/** Whether what fails may be cured by a row that comes: with some nulls among its columns it names none that could. */
export function mayStillCome({ event, rule: { question } }: Found): boolean {
  if (question.kind !== 'reference') return false;
  return tupleOf(event, question.columns)?.includes(null) === false;
}
