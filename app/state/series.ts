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
  /** In place of what the instance said before. `isLast`: it ends, and others need not wait for its silence. */
  say(pipeline: string, instance: string, record: string, isLast: boolean): Promise<void>;
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

  async say(pipeline: string, instance: string, record: string, isLast: boolean): Promise<void> {
    this.#database
      .prepare(
        `insert into rule_series (pipeline, instance, record, said_ms) values (?, ?, ?, ?)
         on conflict (pipeline, instance) do update set record = excluded.record, said_ms = excluded.said_ms`,
      )
      .run(pipeline, instance, record, isLast ? 0 : this.#clock.now());
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

  async say(pipeline: string, instance: string, record: string, isLast: boolean): Promise<void> {
    await this.#database.query(
      `insert into tidegate_state.rule_series (pipeline, instance, record, said_at)
       values ($1, $2, $3, case when $4::boolean then '-infinity' else clock_timestamp() end)
       on conflict (pipeline, instance) do update set record = excluded.record, said_at = excluded.said_at`,
      [pipeline, instance, record, String(isLast)],
    );
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
