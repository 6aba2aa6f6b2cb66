/**
 * A batch becomes what there is to write: per table the last state of every key. Several events of one key fold into one, UNCHANGED cells
 * taken from the earlier ones; a key move is a delete and an upsert. Order only matters between groups: a group ends where a dataset changes its
 * shape or a key move needs cells of the target's old row.
 */
import type { Batch } from '../../core/batch.ts';
import { type ChangeEvent, type Dataset, type EncodedRow, type Row, UNCHANGED, type Value } from '../../core/event.ts';
import { PgRow } from '../../wire/postgres/row.ts';

/** The last state of one key. */
export interface Entry {
  /** The event in the batch that it comes from; -1 for the old key of a move, whose event is counted at its new key. */
  readonly index: number;
  readonly event: ChangeEvent;
  /** The row to write; null where the key is to be deleted. */
  readonly row: Row | null;
  /** Some of the row's cells are UNCHANGED: only the others are written, where the target has the row. */
  readonly partial: boolean;
}

export interface Group {
  readonly dataset: Dataset;
  /** The table is emptied first. */
  truncate: boolean;
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

/** `takes(i)` tells whether event i is to be written at all. */
export function fold(batch: Batch, takes: (index: number) => boolean): Folded {
  const groups: Group[] = [];
  const open = new Map<string, Group>();
  let folded = 0;
  const truncated: Group[] = [];
  const { events } = batch;

  const begin = (dataset: Dataset, move: Entry | null): Group => {
    const group: Group = { dataset, truncate: false, entries: new Map(), move };
    groups.push(group);
    return group;
  };
  const groupOf = (dataset: Dataset): Group => {
    const current = open.get(dataset.name);
    if (current !== undefined && current.dataset === dataset) return current;
    const group = begin(dataset, null);
    open.set(dataset.name, group);
    return group;
  };
  const put = (group: Group, key: string, entry: Entry): void => {
    const previous = group.entries.get(key);
    if (previous !== undefined && previous.index >= 0) folded++;
    group.entries.set(key, entry);
  };

  for (let index = 0; index < events.length; index++) {
    const event = events[index];
    if (event === undefined || !takes(index)) continue;
    const group = groupOf(event.dataset);
    if (event.op === 'truncate') {
      for (const { index: earlier } of group.entries.values()) if (earlier >= 0) folded++;
      group.entries.clear();
      if (group.truncate) folded++;
      else truncated.push(group);
      group.truncate = true;
      continue;
    }
    const { key, movedFrom } = event;
    if (event.after === null) {
      put(group, key, { index, event, row: null, partial: false });
      continue;
    }
    const source = group.entries.get(movedFrom ?? key);
    const merged = source?.row === undefined || source.row === null ? event.after : merge(event.after, source.row, event.dataset);
    const partial = isPartial(merged, event.dataset);
    if (movedFrom === null) {
      put(group, key, { index, event, row: merged, partial });
      continue;
    }
    if (partial) {
      // The missing cells are in the target's row at the old key, where the entries so far have to be first.
      begin(event.dataset, { index, event, row: merged, partial });
      open.delete(event.dataset.name);
      continue;
    }
    put(group, movedFrom, { index: -1, event, row: null, partial: false });
    put(group, key, { index, event, row: merged, partial });
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
    groups: groups.filter(({ entries, truncate, move }) => truncate || move !== null || entries.size > 0),
    folded,
    truncates: truncated.length,
    upserts,
    deletes,
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
  if (!isPartial(newer, dataset)) return newer;
  return new MergedRow(dataset.columns.map((_, column) => originOf(isUnchanged(newer, column) ? older : newer, column)));
}

const originOf = (row: Row, column: number): Row => (row instanceof MergedRow ? (row.origin(column) ?? row) : row);

/** Whether a cell was not sent, without decoding it. */
export function isUnchanged(row: Row, column: number): boolean {
  const origin = originOf(row, column);
  if (origin instanceof PgRow) return origin.cells[origin.at + 2 * column + 1] === -2;
  return origin.value(column) === UNCHANGED;
}

export function isPartial(row: Row, dataset: Dataset): boolean {
  const count = dataset.columns.length;
  if (row instanceof PgRow) {
    const { cells, at } = row;
    for (let i = at + 1, end = at + 2 * count; i < end; i += 2) if (cells[i] === -2) return true;
    return false;
  }
  for (let column = 0; column < count; column++) if (isUnchanged(row, column)) return true;
  return false;
}
