/** Which rows a batch writes: batches that have none in common may be written at the same time. */
import type { EventRun } from '../../core/batch.ts';
import type { Dataset } from '../../core/event.ts';
import { PgRow } from '../../wire/postgres/row.ts';
import type { Entry } from './fold.ts';
import { hashOfKey, hashOfText, KeyHashes, seedOf } from './key-hashes.ts';
import type { Table } from './tables.ts';
import type { WrittenRows } from './whole-rows.ts';

/** Rows of tables by their keys, or a run of rows with keys that nobody has read yet. */
export type Touched =
  | { readonly run: EventRun; readonly table: string }
  | { readonly run: null; readonly tables: ReadonlySet<string>; readonly keys: KeyHashes; readonly form: KeyForm };

/** Whether keys are hashed as they are encoded, or as texts: of two forms nothing can be told. */
type KeyForm = 'encoded' | 'text';

/**
 * Null where that cannot be told by keys: the batch empties a table, moves a row by what the target has of it, writes a table in which more than the
 * key ties rows to each other, or has keys of both forms.
 */
export function touchedBy(what: Pick<WrittenRows, 'groups'> | EventRun, tableOf: (dataset: Dataset) => Table | undefined): Touched | null {
  if ('look' in what) {
    const table = tableOf(what.dataset);
    return table?.standsAlone === true ? { run: what, table: table.qualified } : null;
  }
  const { groups } = what;
  // Whole rows of all tables are in one.
  const rows = new Set(groups.map((group) => ('last' in group ? group.last : group.entries)));
  const keys = new KeyHashes([...rows].reduce((sum, { size }) => sum + size, 0));
  const tables = new Set<string>();
  const forms = new Set<KeyForm>();
  for (const group of groups) {
    const table = tableOf(group.dataset);
    if (table?.standsAlone !== true || group.truncate !== null || group.move !== null) return null;
    tables.add(table.qualified);
    if ('last' in group) {
      if (rows.delete(group.last)) group.last.addKeysTo(keys);
      forms.add('encoded');
    } else addKeys(keys, forms, group.entries, table);
  }
  const [form = 'encoded', ...others] = forms;
  return others.length === 0 ? { run: null, tables, keys, form } : null;
}

function addKeys(keys: KeyHashes, forms: Set<KeyForm>, entries: ReadonlyMap<string, Entry>, table: Table): void {
  const seed = seedOf(table);
  for (const [key, { event }] of entries) {
    const row = event.key === key ? (event.after ?? event.before) : event.before;
    const hash = row instanceof PgRow && table.hasPlainKey ? hashOfKey(row, event.dataset.key, seed) : 0;
    forms.add(hash === 0 ? 'text' : 'encoded');
    keys.add(hash === 0 ? hashOfText(key, seed) : hash);
  }
}

export function areDisjoint(one: Touched, other: Touched): boolean {
  if (one.run !== null)
    return other.run === null ? !other.tables.has(one.table) : one.table !== other.table || one.run.pass === other.run.pass;
  if (other.run !== null) return areDisjoint(other, one);
  return one.form === other.form ? one.keys.isDisjoint(other.keys) : one.tables.isDisjointFrom(other.tables);
}
