/**
 * Most batches are whole rows and deletes, of tables as the source has them. What is written of them is the last event of each key, and what was before it means
 * nothing: that is found by the bytes of the keys, without a text, an entry and a place in a map for each, which would live until the target has answered.
 */
import type { Batch } from '../../core/batch.ts';
import type { ChangeEvent, Dataset, Row } from '../../core/event.ts';
import { PgRow } from '../../wire/postgres/row.ts';
import { type Entry, type Folded, type Group, isPartial } from './fold.ts';
import { hashOfKey, haveSameKey, type KeyHashes, seedOf, slotsFor } from './key-hashes.ts';
import type { Table } from './tables.ts';

/** What an event is written as. `None`: it does not pass, or another one of its key comes behind it. */
export const WrittenAs = { None: 0, Delete: 1, Upsert: 2, New: 3 } as const;
export type WrittenAs = (typeof WrittenAs)[keyof typeof WrittenAs];

/** The events of one table, as `Group` has them in entries. */
export interface WholeGroup {
  readonly dataset: Dataset;
  readonly layout: Table['layout'];
  readonly truncate: null;
  readonly move: null;
  /** Those of all tables of the batch. */
  readonly last: LastEvents;
  /** Keys of other tables are others. */
  readonly seed: number;
}

/** Like `Folded`, of whole rows perhaps. */
export interface WrittenRows extends Omit<Folded, 'groups'> {
  readonly groups: readonly (Group | WholeGroup)[];
}

export interface WholeRows extends WrittenRows {
  readonly groups: readonly WholeGroup[];
}

/** Of smaller batches entries are cheaper. */
const EVENTS_MIN = 24;
/** The events of each are looked for by themselves. */
const TABLES_MAX = 8;

/** Null for a batch that has something else, or a table that nobody has looked up yet: it has to be folded. */
export function wholeRowsOf(batch: Batch, tableOf: (dataset: Dataset) => Table | undefined): WholeRows | null {
  const { run, size, events, scores } = batch;
  if (run !== null || size < EVENTS_MIN || scores.length > 0) return null;
  const last = new LastEvents(events);
  const groups: WholeGroup[] = [];
  let group: WholeGroup | null = null;
  for (let index = 0; index < size; index++) {
    const event = events[index];
    if (event === undefined || !batch.passes(index)) continue;
    if (group === null || event.dataset !== group.dataset) {
      group = groupOf(groups, event.dataset, last, tableOf);
      if (group === null) return null;
    }
    const row = rowOf(event);
    if (row === null || (event.after !== null && row.framedTo === 0 && isPartial(row, group.dataset, group.layout.skipped))) return null;
    if (!last.take(index, event, row, group.seed)) return null;
  }
  return { groups, folded: last.folded, truncates: 0, upserts: last.upserts, deletes: last.deletes };
}

function groupOf(
  groups: WholeGroup[],
  dataset: Dataset,
  last: LastEvents,
  tableOf: (dataset: Dataset) => Table | undefined,
): WholeGroup | null {
  const known = groups.find((group) => group.dataset === dataset);
  if (known !== undefined) return known;
  const table = tableOf(dataset);
  if (table === undefined || !table.hasPlainKey || table.layout.isSoft || table.layout.isHistory || groups.length === TABLES_MAX)
    return null;
  // Between two shapes of a table the order of their events matters.
  if (groups.some((group) => group.dataset.name === dataset.name)) return null;
  const made: WholeGroup = { dataset, layout: table.layout, truncate: null, move: null, last, seed: seedOf(table) };
  groups.push(made);
  return made;
}

/** The row that the event's key is in, where it is encoded and the event concerns no other key. */
function rowOf({ op, after, before, movedFrom }: ChangeEvent): PgRow | null {
  if (op === 'truncate' || movedFrom !== null) return null;
  const row: Row | null = after ?? before;
  return row instanceof PgRow ? row : null;
}

/** By slots, one more than the index of an event; what is in it means nothing from one use to the next. */
let scratch = new Int32Array(0);

/** Of each key its last event, and what that is written as. */
export class LastEvents {
  readonly #events: readonly ChangeEvent[];
  readonly #writtenAs: Uint8Array;
  /** Of those that were taken; 0 of the others. */
  readonly #hashes: Int32Array;
  readonly #mask: number;
  readonly size: number;
  folded = 0;
  upserts = 0;
  deletes = 0;

  constructor(events: readonly ChangeEvent[]) {
    this.size = events.length;
    this.#events = events;
    this.#writtenAs = new Uint8Array(events.length);
    this.#hashes = new Int32Array(events.length);
    const slots = slotsFor(events.length);
    this.#mask = slots - 1;
    if (scratch.length < slots) scratch = new Int32Array(slots);
    else scratch.fill(0, 0, slots);
  }

  /** False where the key cannot be told. All of a batch are taken before another one begins. */
  take(index: number, event: ChangeEvent, row: PgRow, seed: number): boolean {
    const hash = hashOfKey(row, event.dataset.key, seed);
    if (hash === 0) return false;
    let slot = hash & this.#mask;
    let before = scratch[slot] as number;
    while (before !== 0 && !this.#isSame(before - 1, hash, event, row)) {
      slot = (slot + 1) & this.#mask;
      before = scratch[slot] as number;
    }
    scratch[slot] = index + 1;
    this.#hashes[index] = hash;
    this.#writtenAs[index] =
      event.after === null ? WrittenAs.Delete : event.op === 'update' || before !== 0 ? WrittenAs.Upsert : WrittenAs.New;
    if (event.after === null) this.deletes++;
    else this.upserts++;
    if (before !== 0) this.#fold(before - 1);
    return true;
  }

  #isSame(index: number, hash: number, { dataset }: ChangeEvent, row: PgRow): boolean {
    if (this.#hashes[index] !== hash) return false;
    const other = this.#events[index] as ChangeEvent;
    return other.dataset === dataset && haveSameKey(rowOf(other) as PgRow, row, dataset.key); // It was taken, so it has one.
  }

  #fold(index: number): void {
    this.folded++;
    if (this.#writtenAs[index] === WrittenAs.Delete) this.deletes--;
    else this.upserts--;
    this.#writtenAs[index] = WrittenAs.None;
  }

  addKeysTo(keys: KeyHashes): void {
    for (const hash of this.#hashes) if (hash !== 0) keys.add(hash);
  }

  /** Those of a dataset that are written so, in their order; null where there are none. */
  entries(dataset: Dataset, ...kinds: readonly WrittenAs[]): WholeEntries | null {
    const indices = new Int32Array(this.#events.length);
    let count = 0;
    for (let index = 0; index < indices.length; index++) {
      if (kinds.includes(this.#writtenAs[index] as WrittenAs) && this.#events[index]?.dataset === dataset) indices[count++] = index;
    }
    return count === 0 ? null : new WholeEntries(this.#events, indices.subarray(0, count));
  }
}

/** Events as the entries that fold would have made of them, none of which is an object that is kept. */
export class WholeEntries {
  readonly #events: readonly ChangeEvent[];
  readonly #indices: Int32Array;

  constructor(events: readonly ChangeEvent[], indices: Int32Array) {
    this.#events = events;
    this.#indices = indices;
  }

  get length(): number {
    return this.#indices.length;
  }

  at(place: number): Entry {
    const index = this.#indices[place] as number;
    const event = this.#events[index] as ChangeEvent;
    return { index, event, row: event.after, partial: false, earlier: null, fresh: false };
  }

  /** The row to write; null where there is only a key to be deleted. */
  row(place: number): Row | null {
    return (this.#events[this.#indices[place] as number] as ChangeEvent).after;
  }
}
