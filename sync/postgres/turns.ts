/** One connection at the target, one transaction at a time: work is done in the order in which it was asked for. */
import type { PgConnection, PgParam, PgResult } from '../../wire/postgres/connection.ts';
import { targetFailure } from './failures.ts';

export class Turns {
  readonly connection: PgConnection;
  #last: Promise<unknown> = Promise.resolve();

  constructor(connection: PgConnection) {
    this.connection = connection;
  }

  /** Throws TARGET_* errors; `doing` says in them what was being done. */
  async take<T>(doing: string, work: (sql: PgConnection) => Promise<T>): Promise<T> {
    const begin = (): Promise<T> => work(this.connection);
    const turn = this.#last.then(begin, begin);
    this.#last = turn.catch(() => {});
    try {
      return await turn;
    } catch (error) {
      throw targetFailure(error, doing);
    }
  }

  query(doing: string, text: string, parameters: readonly PgParam[]): Promise<PgResult> {
    return this.take(doing, (sql) => sql.query(text, parameters));
  }
}
