/** Which rows a batch writes: batches that have none in common may be written at the same time. */
import type { EventRun } from '../../core/batch.ts';
import type { Dataset } from '../../core/event.ts';
import type { Entry, Folded } from './fold.ts';
import type { Table } from './tables.ts';

/** By the table at the target: keys, once a map for each shape of the dataset, or a run of rows with keys that nobody has read yet. */
export type Touched = ReadonlyMap<string, readonly (ReadonlyMap<string, Entry> | EventRun)[]>;

/**
 * Null where that cannot be told by keys: the batch empties a table, moves a row by what the target has of it, or writes a table in which more than the
 * key ties rows to each other.
 */
export function touchedBy(what: Pick<Folded, 'groups'> | EventRun, tableOf: (dataset: Dataset) => Table | undefined): Touched | null {
  const touched = new Map<string, (ReadonlyMap<string, Entry> | EventRun)[]>();
  const add = (dataset: Dataset, rows: ReadonlyMap<string, Entry> | EventRun): boolean => {
    const table = tableOf(dataset);
    if (table?.standsAlone !== true) return false;
    const known = touched.get(table.qualified);
    if (known === undefined) touched.set(table.qualified, [rows]);
    else known.push(rows);
    return true;
  };
  if ('look' in what) return add(what.dataset, what) ? touched : null;
  for (const { dataset, truncate, move, entries } of what.groups)
    if (truncate !== null || move !== null || !add(dataset, entries)) return null;
  return touched;
}

export function areDisjoint(one: Touched, other: Touched): boolean {
  for (const [table, rows] of one) {
    const others = other.get(table);
    if (others !== undefined && rows.some((own) => others.some((theirs) => !haveNothingInCommon(own, theirs)))) return false;
  }
  return true;
}

function haveNothingInCommon(one: ReadonlyMap<string, Entry> | EventRun, other: ReadonlyMap<string, Entry> | EventRun): boolean {
  if ('look' in one) return 'look' in other && one.pass === other.pass;
  if ('look' in other) return false;
  const [fewer, more] = one.size < other.size ? [one, other] : [other, one];
  for (const key of fewer.keys()) if (more.has(key)) return false;
  return true;
}
