/** Which pipelines read no rows beside the log until a person has them go on: so that a restart of the service does not end it. */
import type { DatabaseSync } from 'node:sqlite';

export interface Pause {
  readonly by: string;
  readonly atMs: number;
}

/** What is asked and told of them; answered at once, by what this process knows. */
export interface PauseBook {
  get(pipeline: string): Pause | null;
  /** Who paused it first, and when, stays. */
  set(pipeline: string, pause: Pause): void;
  clear(pipeline: string): void;
}

/** In the state file. */
export class Pauses implements PauseBook {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get(pipeline: string): Pause | null {
    const row = this.#database.prepare('select by_whom, at_ms from snapshot_pause where pipeline = ?').get(pipeline);
    return row === undefined ? null : { by: String(row['by_whom']), atMs: Number(row['at_ms']) };
  }

  set(pipeline: string, { by, atMs }: Pause): void {
    this.#database
      .prepare('insert into snapshot_pause (pipeline, by_whom, at_ms) values (?, ?, ?) on conflict (pipeline) do nothing')
      .run(pipeline, by, atMs);
  }

  clear(pipeline: string): void {
    this.#database.prepare('delete from snapshot_pause where pipeline = ?').run(pipeline);
  }
}
