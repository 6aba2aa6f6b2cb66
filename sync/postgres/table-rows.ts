/** Rows of a batch on the careful road, written to the target's tables inside of its transaction. */
import type { Batch } from '../../core/batch.ts';
import type { ChangeEvent } from '../../core/event.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import type { WriterPool } from '../../wire/postgres/writer-pool.ts';
import type { RowWriter, Written } from './careful.ts';
import { fold, type Folded, isPartial } from './fold.ts';
import type { Layouts } from './layout.ts';
import { keepsScore, type Plan, type Writes } from './writes.ts';

export class TableRows implements RowWriter {
  readonly #sql: PgConnection;
  readonly #writes: Writes;
  readonly #layouts: Layouts;
  readonly #writers: WriterPool;

  constructor(sql: PgConnection, writes: Writes, layouts: Layouts, writers: WriterPool) {
    this.#sql = sql;
    this.#writes = writes;
    this.#layouts = layouts;
    this.#writers = writers;
  }

  /** Tables are made and statements prepared, for they would go with the transaction. */
  async prepare(batch: Batch): Promise<void> {
    await this.#plan(batch, batch.events, 0, batch.events.length, false);
  }

  async write(batch: Batch, events: readonly (ChangeEvent | null)[], from: number, to: number): Promise<Written> {
    const { folded, plan } = await this.#plan(batch, events, from, to, true);
    const missing = await this.#send(batch, plan);
    const { groups: _groups, ...counts } = folded;
    return { ...counts, missing, refusals: [] };
  }

  /** Answers how many rows were not there. */
  async #send(batch: Batch, plan: Plan): Promise<number> {
    const writer = this.#writers.take();
    try {
      const read = this.#writes.emit(plan, batch, writer, 'inside');
      return read(await this.#sql.exchange(writer.sync().bytes()));
    } finally {
      this.#writers.release(writer); // The server has answered all of it, or the session is over.
    }
  }

  isPartial({ after, dataset }: ChangeEvent): boolean {
    return after !== null && isPartial(after, dataset, this.#layouts.of(dataset).skipped);
  }

  columnOf({ dataset }: ChangeEvent, column: string): string {
    const at = this.#layouts.of(dataset).names.indexOf(column);
    return dataset.columns[at]?.name ?? column;
  }

  async #plan(
    batch: Batch,
    events: readonly (ChangeEvent | null)[],
    from: number,
    to: number,
    inTransaction: boolean,
  ): Promise<{ folded: Folded; plan: Plan }> {
    // Events that are not to be written keep their places, so that an index means the same everywhere.
    const all = events.map((event, i) => event ?? batch.events[i]).filter((event) => event !== undefined);
    const folded = fold(
      all,
      {
        layouts: this.#layouts,
        takes: (i) => events[i] !== null && batch.passes(i),
        keepsRow: (i) => {
          const event = all[i];
          return event !== undefined && keepsScore(event, i, batch.scores);
        },
      },
      from,
      to,
    );
    return { folded, plan: await this.#writes.plan(folded, batch.scores, inTransaction ? 'inside' : 'careful') };
  }
}
