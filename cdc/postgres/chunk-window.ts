/**
 * What the log says of a table between a chunk's two marks, and what that leaves of the chunk. Most keys that changed just leave it: the
 * log has their rows. An update that did not send all cells (a large value stored apart, unchanged) is laid over the chunk's row instead, since the
 * target has nothing yet to keep those cells from. (A key move that did not send all cells has been completed before it comes here.)
 */
import { type Dataset, keyOf } from '../../core/event.ts';
import type { PgRelation, PgRow } from '../../wire/postgres/row.ts';
import type { PgEvent } from './pg-event.ts';
import { isPartial, laidOver } from './row-cells.ts';

export class ChunkWindow {
  readonly table: string;
  /** Transactions seen before the low mark, among those remembered. */
  readonly earlier: readonly number[];
  /** Set when the chunk has to be read again: the table was truncated, or changed its shape. */
  spoiled = false;
  /** By key: null where the row leaves the chunk, else the rows to lay over it, in order. */
  readonly #changed = new Map<string, PgRow[] | null>();
  #dataset: Dataset | null = null;
  #overlays = 0;

  constructor(table: string, earlier: readonly number[]) {
    this.table = table;
    this.earlier = earlier;
  }

  /** An event of the table, in the log's order. */
  add(event: PgEvent): void {
    this.#dataset ??= event.dataset;
    if (event.op === 'truncate' || event.dataset !== this.#dataset) {
      this.spoiled = true;
      return;
    }
    const { key, movedFrom, after } = event;
    if (movedFrom !== null) this.#changed.set(movedFrom, null);
    const known = this.#changed.get(key);
    // The class is the one that the decoder makes rows of.
    const row = after as PgRow | null;
    if (row === null || movedFrom !== null || known === null || !isPartial(row)) {
      this.#changed.set(key, null);
    } else {
      this.#overlays++;
      if (known === undefined) this.#changed.set(key, [row]);
      else known.push(row);
    }
  }

  /** An event whose row has cells missing that the table has: nothing of its keys is taken from the chunk. */
  leave(event: PgEvent): void {
    this.#dataset ??= event.dataset;
    if (event.dataset !== this.#dataset) this.spoiled = true;
    for (const key of [event.key, event.movedFrom]) if (key !== null) this.#changed.set(key, null);
  }

  /** Whether the chunk, whose rows are of `relation`, can be combined with what was added. */
  fits(relation: PgRelation): boolean {
    if (this.spoiled) return false;
    if (this.#dataset === null || this.#dataset === relation.dataset) return true;
    return this.#overlays === 0 && keyNames(this.#dataset) === keyNames(relation.dataset);
  }

  /** Whether every row of the chunk is emitted as it is. */
  get isEmpty(): boolean {
    return this.#changed.size === 0;
  }

  /** The chunk's rows that are to be emitted, in order; null in the place of a row that leaves. */
  combine(relation: PgRelation, rows: Iterable<PgRow>): (PgRow | null)[] {
    const { dataset } = relation;
    return Array.from(rows, (row) => {
      const overlay = this.isEmpty ? undefined : this.#changed.get(keyOf(dataset, row));
      if (overlay === undefined) return row;
      return overlay === null ? null : laidOver(relation, row, overlay);
    });
  }
}

const keyNames = (dataset: Dataset): string => JSON.stringify(dataset.key.map((index) => dataset.columns[index]?.name));
