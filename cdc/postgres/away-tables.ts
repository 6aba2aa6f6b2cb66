/**
 * Tables that have another name at the source than the lane knows, or another entry in the publication. The log says so with the next change of such a table, under
 * the one name or the other; nobody may change it for long, so the catalog is asked as well. That is ahead of the log: what the log brings of the other name later on
 * has the table away once more, until the next look.
 */
import type { PgConnection } from '../../wire/postgres/connection.ts';
import type { BesideLog } from './beside-log.ts';
import { entriesOf, nameOfRelation } from './catalog.ts';
import { sourceFailure } from './failures.ts';

export interface AwayParts {
  readonly catalog: PgConnection;
  readonly publication: string;
  /** Told of a table that was dropped before it was copied to its end. */
  readonly onLeftOut: (table: string) => void;
  /** Told of a table that has another name from here on. */
  readonly onRenamed: (table: string, name: string) => void;
  /** Told of a table of which not everything was published for a while: all of it is read again. */
  readonly onMissed: (table: string) => void;
  readonly timing: { readonly awayMs: number; readonly entriesMs: number };
}

/** The reader of the log, as far as it matters here. */
export interface AwayLog {
  isStopped(): boolean;
  /** Of all tables in the publication, as they were seen last; null where that is not known. */
  entries(): ReadonlyMap<string, string | null>;
  /** The table has its name, and this entry in the publication. */
  isBack(table: string, entry: string): void;
  failed(error: unknown): void;
}

export class AwayTables {
  readonly #parts: AwayParts;
  readonly #beside: BesideLog;
  readonly #log: AwayLog;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #comparedAtMs: number;

  /** `now`: the monotonic time. */
  constructor(parts: AwayParts, beside: BesideLog, log: AwayLog, now: number) {
    this.#comparedAtMs = now;
    this.#parts = parts;
    this.#beside = beside;
    this.#log = log;
  }

  /** The table is not there while it is to be copied: the lane goes on as it does where one is dropped, or renamed, later. */
  leaveOut(table: string, oid: number | undefined): void {
    const { catalog, onLeftOut, onRenamed } = this.#parts;
    const look = async (): Promise<void> => {
      const name = oid === undefined ? null : await nameOfRelation(catalog, oid);
      if (this.#log.isStopped()) return;
      if (name === table) return this.#beside.readAgain(table);
      this.#beside.leaveOut(table, name !== null);
      if (name === null) onLeftOut(table);
      else onRenamed(table, name);
    };
    this.#run(look, `looking for ${table}`);
  }

  /** To be called often, with the monotonic time. A table that has its name again but is not published is not back: nothing of it would be read. */
  tick(now: number): void {
    this.#compare(now);
    if (now - this.#lookedAtMs < this.#parts.timing.awayMs) return;
    const away = this.#beside.away();
    if (away.length === 0) return;
    this.#lookedAtMs = Number.POSITIVE_INFINITY; // No look begins while one is under way.
    const look = async (): Promise<void> => {
      const found = await entriesOf(this.#parts.catalog, this.#parts.publication, away);
      this.#lookedAtMs = now;
      if (this.#log.isStopped()) return;
      for (const [table, entry] of found) if (this.#beside.isAway(table)) this.#log.isBack(table, entry);
    };
    this.#run(look, 'looking for tables that were renamed');
  }

  /** Whether tables have left the publication and come back, or it was changed, without a change of theirs since. */
  #compare(now: number): void {
    if (now - this.#comparedAtMs < this.#parts.timing.entriesMs) return;
    this.#comparedAtMs = Number.POSITIVE_INFINITY;
    const look = async (): Promise<void> => {
      const known = this.#log.entries();
      const tables = [...known].flatMap(([table, entry]) => (entry === null || this.#beside.isAway(table) ? [] : [table]));
      const found = await entriesOf(this.#parts.catalog, this.#parts.publication, tables);
      this.#comparedAtMs = now;
      for (const [table, entry] of found) {
        if (this.#log.isStopped()) return;
        const before = this.#log.entries().get(table) ?? null;
        if (before === null || before === entry || this.#beside.isAway(table)) continue;
        this.#parts.onMissed(table);
        this.#log.isBack(table, entry);
      }
    };
    this.#run(look, 'looking at the publication');
  }

  #run(look: () => Promise<void>, doing: string): void {
    // Nobody waits for it: with the lane its connection ends, and what it finds or fails with then is nobody's.
    look().catch((error: unknown) => this.#log.failed(sourceFailure(error, 'reading the catalog', doing)));
  }
}
