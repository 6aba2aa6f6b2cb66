/**
 * By which session of its source each pipeline last read the slot. Where a process ends while its connection hangs, the server does not hear of it and keeps the slot taken: the next one knows the
 * session by this, and has it ended. Whoever has the pipeline's turn may: who noted it has not, any more.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { ReaderSession } from '../../cdc/postgres/slot-reader.ts';

/** What is asked and told of them; answered at once, by what this process knows. */
export interface ReaderBook {
  get(pipeline: string): ReaderSession | null;
  set(pipeline: string, session: ReaderSession): void;
}

/** In the state file. */
export class Readers implements ReaderBook {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get(pipeline: string): ReaderSession | null {
    const row = this.#database.prepare('select pid, started_at from slot_reader where pipeline = ?').get(pipeline);
    return row === undefined ? null : { pid: String(row['pid']), startedAt: String(row['started_at']) };
  }

  set(pipeline: string, { pid, startedAt }: ReaderSession): void {
    this.#database
      .prepare(
        `insert into slot_reader (pipeline, pid, started_at) values (?, ?, ?)
         on conflict (pipeline) do update set pid = excluded.pid, started_at = excluded.started_at`,
      )
      .run(pipeline, pid, startedAt);
  }
}
