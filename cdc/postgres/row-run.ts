/** Rows of a chunk as a batch's events: see `EventRun`. */
import type { EventRun } from '../../core/batch.ts';
import type { ChangeEvent, Dataset, Version } from '../../core/event.ts';
import type { CopiedRows } from '../../wire/postgres/copied-rows.ts';
import type { PgRow } from '../../wire/postgres/row.ts';
import { asChangeEvent, PgEvent } from './pg-event.ts';

export class RowRun implements EventRun {
  readonly rows: CopiedRows;
  readonly length: number;
  readonly dataset: Dataset;
  readonly version: Version;
  readonly committedAtMs: number;
  readonly pass: object;
  /** Of the first row. */
  readonly #ordinal: number;
  readonly #looked: PgEvent;

  constructor(rows: CopiedRows, version: Version, ordinal: number, committedAtMs: number, pass: object) {
    this.rows = rows;
    this.length = rows.length;
    this.dataset = rows.relation.dataset;
    this.version = version;
    this.committedAtMs = committedAtMs;
    this.pass = pass;
    this.#ordinal = ordinal;
    this.#looked = this.#eventOf(rows.look(0), 0);
  }

  look(index: number): ChangeEvent {
    this.rows.look(index); // Its row is the one that the event has.
    this.#looked.becomes(this.#ordinal + index);
    return asChangeEvent(this.#looked);
  }

  events(): readonly ChangeEvent[] {
    return Array.from(this.rows.copy(), (row, index) => asChangeEvent(this.#eventOf(row, index)));
  }

  event(index: number): ChangeEvent {
    const [row] = this.rows.slice(index, index + 1).copy();
    if (row === undefined) throw new RangeError(`there is no event ${index} among ${this.length}`);
    return asChangeEvent(this.#eventOf(row, index));
  }

  #eventOf(row: PgRow, index: number): PgEvent {
    return new PgEvent('read', null, row, this.dataset, this.version, this.#ordinal + index, this.committedAtMs, false);
  }
}
