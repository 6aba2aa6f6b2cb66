/**
 * What instances have counted of their rules, so that it outlives them. Each says its own again and again; what one said that has been silent since then is taken
 * over by another, once.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../../core/clock.ts';
import { inTransaction } from './database.ts';
import type { StateDatabase } from './postgres-database.ts';

/** An instance that has not said anything for so long is gone; it speaks several times within that. */
export const SILENT_MS = 15_000;

export interface SeriesBook {
  /**
   * In place of what the instance said before. `isLast`: it ends, and others need not wait for its silence. False, and nothing is said, where it is not the first time and
   * what it said before is gone: it was silent, and another has taken that over.
   */
  say(pipeline: string, instance: string, record: string, how: { readonly isFirst: boolean; readonly isLast: boolean }): Promise<boolean>;
  /** What those had said that are gone. */
  takeOver(pipeline: string, instance: string): Promise<readonly string[]>;
}

/** In the state file. */
export class SqliteSeries implements SeriesBook {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;

  constructor(database: DatabaseSync, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
  }

  async say(pipeline: string, instance: string, record: string, { isFirst, isLast }: Parameters<SeriesBook['say']>[3]): Promise<boolean> {
    const saidMs = isLast ? 0 : this.#clock.now();
    const { changes } = isFirst
      ? this.#database
          .prepare(
            `insert into rule_series (pipeline, instance, record, said_ms) values (?, ?, ?, ?)
             on conflict (pipeline, instance) do update set record = excluded.record, said_ms = excluded.said_ms`,
          )
          .run(pipeline, instance, record, saidMs)
      : this.#database
          .prepare('update rule_series set record = ?, said_ms = ? where pipeline = ? and instance = ?')
          .run(record, saidMs, pipeline, instance);
    return Number(changes) > 0;
  }

  async takeOver(pipeline: string, instance: string): Promise<readonly string[]> {
    return inTransaction(this.#database, () => {
      const rows = this.#database
        .prepare('delete from rule_series where pipeline = ? and instance <> ? and said_ms < ? returning record')
        .all(pipeline, instance, this.#clock.now() - SILENT_MS);
      return rows.map((row) => String(row['record']));
    });
  }
}

/** In the database that several instances share, by its own clock. */
export class PostgresSeries implements SeriesBook {
  readonly #database: StateDatabase;

  constructor(database: StateDatabase) {
    this.#database = database;
  }

  async say(pipeline: string, instance: string, record: string, { isFirst, isLast }: Parameters<SeriesBook['say']>[3]): Promise<boolean> {
    const saidAt = `case when $4::boolean then '-infinity'::timestamptz else clock_timestamp() end`;
    const { rows } = await this.#database.query(
      isFirst
        ? `insert into tidegate_state.rule_series (pipeline, instance, record, said_at) values ($1, $2, $3, ${saidAt})
           on conflict (pipeline, instance) do update set record = excluded.record, said_at = excluded.said_at returning true`
        : `update tidegate_state.rule_series set record = $3, said_at = ${saidAt} where pipeline = $1 and instance = $2 returning true`,
      [pipeline, instance, record, String(isLast)],
    );
    return rows.length > 0;
  }

  async takeOver(pipeline: string, instance: string): Promise<readonly string[]> {
    const { rows } = await this.#database.query(
      `delete from tidegate_state.rule_series
       where pipeline = $1 and instance <> $2 and said_at < clock_timestamp() - $3::integer * interval '1 ms' returning record`,
      [pipeline, instance, SILENT_MS],
    );
    return rows.map(([record]) => record ?? '[]');
  }
}
