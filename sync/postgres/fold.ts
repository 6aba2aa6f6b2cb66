/**
 * A batch becomes what there is to write: per table the last state of every key. Several events of one key fold into one, UNCHANGED cells
 * taken from the earlier ones; a key move is a delete and an upsert. Order only matters between groups: a group ends where a dataset changes its
 * shape or a key move needs cells of the target's old row.
 */
import { type ChangeEvent, type Dataset, type EncodedRow, type Row, UNCHANGED, type Value } from '../../core/event.ts';
import { PgRow } from '../../wire/postgres/row.ts';
import type { Layout, Layouts } from './layout.ts';

/** The last state of one key. */
export interface Entry {
  /** The event in the batch that it comes from; -1 for the old key of a move, whose event is counted at its new key. */
  readonly index: number;
  readonly event: ChangeEvent;
  /** The row to write; null where the key is to be deleted. */
  readonly row: Row | null;
  /** Some of the row's cells are UNCHANGED: only the others are written, where the target has the row. */
  readonly partial: boolean;
  /** The state of the same row before this one, in this batch: its score holds where this event was not scored. Of a deleted row, its last. */
  readonly earlier: Entry | null;
  /** The row was deleted and made anew in this batch: nothing of the target's old one may stay. */
  readonly fresh: boolean;
}

export interface Group {
  readonly dataset: Dataset;
  readonly layout: Layout;
  /** What empties the table first. */
  truncate: { readonly index: number; readonly event: ChangeEvent } | null;
  readonly entries: Map<string, Entry>;
  /** Set for a key move with UNCHANGED cells: the group is this one event, an UPDATE of the row at its old key. */
  readonly move: Entry | null;
}

export interface Folded {
  /** In the order in which they have to be applied. */
  readonly groups: readonly Group[];
  readonly folded: number;
  readonly truncates: number;
  readonly upserts: number;
  readonly deletes: number;
}

export interface FoldOptions {
  readonly layouts: Layouts;
  /** Whether the event is to be written at all. */
  readonly takes: (index: number) => boolean;
  /** Whether the row at a move's old key holds more than its cells (a score), so that it must be updated rather than written anew. */
  readonly keepsRow: (index: number) => boolean;
}

/** Folds `events[from, to)`. */
export function fold(events: readonly ChangeEvent[], options: FoldOptions, from = 0, to = events.length): Folded {
  const groups: Group[] = [];
  const open = new Map<string, Group>();
  let folded = 0;
  const truncated: Group[] = [];

  const groupOf = (dataset: Dataset): Group => {
    const current = open.get(dataset.name);
    if (current !== undefined && current.dataset === dataset) return current;
    const group: Group = { dataset, layout: options.layouts.of(dataset), truncate: null, entries: new Map(), move: null };
    groups.push(group);
    open.set(dataset.name, group);
    return group;
  };
  const put = (group: Group, key: string, entry: Entry): void => {
    const previous = group.entries.get(key);
    if (previous !== undefined) {
      if (previous.index >= 0) folded++;
      group.entries.delete(key); // So that entries stand in the order of their last events.
    }
    group.entries.set(key, entry);
  };

  for (let index = from; index < to; index++) {
    const event = events[index];
    if (event === undefined || !options.takes(index)) continue;
    let group = groupOf(event.dataset);
    if (event.op === 'truncate') {
      if (group.layout.isSoft && group.entries.size > 0) {
        // What it deletes has to be there first, for it stays.
        open.delete(event.dataset.name);
        group = groupOf(event.dataset);
      }
      for (const { index: earlier } of group.entries.values()) if (earlier >= 0) folded++;
      group.entries.clear();
      if (group.truncate !== null) folded++;
      else {
        truncated.push(group);
        group.truncate = { index, event };
      }
      continue;
    }
    const { key, movedFrom } = event;
    if (group.layout.isHistory && (group.entries.has(key) || (movedFrom !== null && group.entries.has(movedFrom)))) {
      // Every state is a version: none folds into the next.
      open.delete(event.dataset.name);
      group = groupOf(event.dataset);
    }
    const source = group.entries.get(movedFrom ?? key);
    if (event.after === null) {
      put(group, key, deletion(index, event, source));
      continue;
    }
    const earlier = source === undefined || source.row === null ? null : source;
    const fresh = source !== undefined && (source.row === null || source.fresh);
    const older = earlier?.row ?? null;
    const row = older === null ? event.after : merge(event.after, older, event.dataset);
    const partial = isPartial(row, event.dataset, group.layout.skipped);
    const entry = { index, event, row, partial, earlier, fresh };
    if (source !== undefined && fresh && partial && movedFrom === null) {
      // The row that it changes was dropped on its way, and the one before that stays deleted.
      put(group, key, deletion(index, event, source));
    } else if (movedFrom === null) {
      put(group, key, entry);
    } else if (partial || (earlier === null && !group.layout.isHistory && options.keepsRow(index))) {
      // What is missing is in the target's row at the old key, where the entries so far have to be first.
      const { dataset, layout } = group;
      groups.push({ dataset, layout, truncate: null, entries: new Map(), move: { ...entry, row: event.after, earlier: null } });
      open.delete(event.dataset.name);
    } else {
      put(group, movedFrom, { index: -1, event, row: null, partial: false, earlier: null, fresh: false });
      put(group, key, { ...entry, fresh: true });
    }
  }

  let upserts = 0;
  let deletes = 0;
  for (const { entries, move } of groups) {
    if (move !== null) upserts++;
    for (const { index, row } of entries.values()) {
      if (index < 0) continue;
      if (row === null) deletes++;
      else upserts++;
    }
  }
  return {
    groups: groups.filter(({ entries, truncate, move }) => truncate !== null || move !== null || entries.size > 0),
    folded,
    truncates: truncated.length,
    upserts,
    deletes,
  };
}

/** A deletion of what is deleted already changes nothing: the event of the first has the key, and tells when. */
function deletion(index: number, event: ChangeEvent, source: Entry | undefined): Entry {
  const isGone = source !== undefined && source.row === null;
  return {
    index,
    event: isGone ? source.event : event,
    row: null,
    partial: false,
    earlier: isGone ? source.earlier : (source ?? null),
    fresh: false,
  };
}

/** A row of cells from several: where the newer one has UNCHANGED, the older one's. */
export class MergedRow implements Row {
  readonly encoded: EncodedRow | null = null;
  readonly #rows: readonly Row[];

  constructor(rows: readonly Row[]) {
    this.#rows = rows;
  }

  /** The row that cell `column` is of. */
  origin(column: number): Row | undefined {
    return this.#rows[column];
  }

  value(column: number): Value {
    return this.#rows[column]?.value(column) ?? null;
  }
}

function merge(newer: Row, older: Row, dataset: Dataset): Row {
  if (!isPartial(newer, dataset, null)) return newer;
  return new MergedRow(dataset.columns.map((_, column) => originOf(isUnchanged(newer, column) ? older : newer, column)));
}

const originOf = (row: Row, column: number): Row => (row instanceof MergedRow ? (row.origin(column) ?? row) : row);

/** Whether a cell was not sent, without decoding it. */
export function isUnchanged(row: Row, column: number): boolean {
  const origin = originOf(row, column);
  if (origin instanceof PgRow) return origin.cells[origin.at + 2 * column + 1] === -2;
  return origin.value(column) === UNCHANGED;
}

/** Whether cells were not sent of columns that are written. */
export function isPartial(row: Row, dataset: Dataset, skipped: Uint8Array | null): boolean {
  const count = dataset.columns.length;
  if (row instanceof PgRow && skipped === null) {
    const { cells, at } = row;
    for (let i = at + 1, end = at + 2 * count; i < end; i += 2) if (cells[i] === -2) return true;
    return false;
  }
  for (let column = 0; column < count; column++) if (skipped?.[column] !== 1 && isUnchanged(row, column)) return true;
  return false;
}
