/** Which pipelines stand still until a person resumes them: so that a restart of the service is not taken for one. */
import type { DatabaseSync } from 'node:sqlite';

export interface Halt {
  readonly pipeline: string;
  /** An error code of core/errors.ts, or `OPERATOR` where a person halted it. */
  readonly code: string;
  readonly message: string;
  readonly fix: string;
  readonly atMs: number;
}

/** What a lane's runner asks and tells. Answers at once, by what this process knows. */
export interface HaltBook {
  get(pipeline: string): Halt | null;
  set(halt: Halt): void;
  /** Whether there was one. */
  clear(pipeline: string): boolean;
}

/** In the state file. */
export class Halts implements HaltBook {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get(pipeline: string): Halt | null {
    const row = this.#database.prepare('select pipeline, code, message, fix, at_ms from halt where pipeline = ?').get(pipeline);
    if (row === undefined) return null;
    return {
      pipeline: String(row['pipeline']),
      code: String(row['code']),
      message: String(row['message']),
      fix: String(row['fix']),
      atMs: Number(row['at_ms']),
    };
  }

  set(halt: Halt): void {
    this.#database
      .prepare(
        'insert into halt (pipeline, code, message, fix, at_ms) values (?, ?, ?, ?, ?) on conflict (pipeline) do update set code = excluded.code, message = excluded.message, fix = excluded.fix, at_ms = excluded.at_ms',
      )
      .run(halt.pipeline, halt.code, halt.message, halt.fix, halt.atMs);
  }

  /** Whether there was one. */
  clear(pipeline: string): boolean {
    return Number(this.#database.prepare('delete from halt where pipeline = ?').run(pipeline).changes) > 0;
  }
}
