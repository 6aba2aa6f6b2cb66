/** Statements that are asked again and again in one session: the server plans them once, which takes longer than all else that it does for a look into its catalog. */
import type { PgConnection, PgParam, PgResult } from './connection.ts';
import { PgError } from './errors.ts';
import { Format, FrontendWriter } from './messages.ts';
import { NO_RESULT } from './results.ts';

/** What looks into a catalog are asked by. */
export type Asking = Pick<PgConnection, 'query' | 'majorVersion'>;

/** Those that are kept; what is asked beyond them is planned each time. */
const KEPT_MAX = 100;
const NO_SUCH_STATEMENT = '26000';

/** Like the connection itself, for texts that are always the same. One for a session, and not inside a transaction. */
export class KeptStatements implements Asking {
  readonly #sql: PgConnection;
  readonly #names = new Map<string, string>();
  #made = 0;

  constructor(sql: PgConnection) {
    this.#sql = sql;
  }

  get majorVersion(): number {
    return this.#sql.majorVersion;
  }

  async query(sql: string, params: readonly PgParam[] = []): Promise<PgResult> {
    const known = this.#names.get(sql);
    if (known === undefined && this.#names.size >= KEPT_MAX) return this.#sql.query(sql, params);
    const name = known ?? `tidegate_kept_${++this.#made}`;
    const writer = new FrontendWriter(sql.length + 256);
    if (known === undefined) {
      writer.parse(name, sql);
      // Whoever asks the same before this is answered relies on it: the server takes one after the other.
      this.#names.set(sql, name);
    }
    const values = params.map((value) => (value === null || value instanceof Uint8Array ? value : String(value)));
    const formats = values.map((value) => (value instanceof Uint8Array ? Format.Binary : Format.Text));
    writer.bind('', name, values, formats).describe('P', '').execute().sync();
    try {
      return (await this.#sql.exchange(writer.bytes()))[0] ?? NO_RESULT;
    } catch (error) {
      if (this.#names.get(sql) === name) this.#names.delete(sql);
      // The one that was to make it has failed.
      if (known !== undefined && error instanceof PgError && error.code === NO_SUCH_STATEMENT) return this.#sql.query(sql, params);
      throw error;
    }
  }
}
