/** What a slot keeps of its server's log, how much more it may, and what its publication lacks: asked by an ordinary connection, beside the lane and when that stands still. */
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { arrayLiteral } from '../../wire/postgres/ident.ts';
import { SESSION, splitTable } from './catalog.ts';
import { closeSoon, connectSource } from './connect.ts';
import { sourceFailure } from './failures.ts';
import { findTables, type FoundTables } from './found-tables.ts';
import type { PostgresSourceOptions } from './source.ts';

export interface SlotRetention {
  /** `reserved`, `extended`, `unreserved` or `lost`. */
  readonly walStatus: string | null;
  /** Bytes of log that the server keeps for it. */
  readonly retainedBytes: number;
  /** Bytes that may be written before log is removed that it needs; null where the server removes none. */
  readonly safeBytes: number | null;
  /** `max_slot_wal_keep_size`; null where it is unlimited. */
  readonly keepBytes: number | null;
  /** What lies in the server's pg_wal; null where the role may not know. */
  readonly walBytes: number | null;
  /** Tables of the config that are there, and not in the publication, or not under their own names, or unlogged. */
  readonly unpublished: readonly string[];
  /** Those that are not there. */
  readonly absent: readonly string[];
  /** Operations that the publication leaves out. */
  readonly unsent: readonly string[];
  /** What the patterns of the config find; null where there are none. */
  readonly found: FoundTables | null;
}

/** Another answer than this long after the question is not waited for. */
const ANSWER_MS = 10_000;

const SLOT_SQL = `
  select s.wal_status, s.safe_wal_size,
         pg_catalog.pg_wal_lsn_diff(case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()
                                         else pg_catalog.pg_current_wal_insert_lsn() end, s.restart_lsn),
         (select setting::int8 * 1048576 from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size')
    from pg_catalog.pg_replication_slots s where s.slot_name = $1`;

/**
 * Tables that are not there, or unlogged, or not in the publication, or come under the name of another (the one that they are a partition of, or their partitions). Not asked of
 * pg_publication_tables, which locks all of them. `schemas` is known since PostgreSQL 15.
 */
const missingSql = (schemas: boolean): string => {
  const inSchema = (oids: string): string =>
    schemas
      ? `or exists (select from pg_catalog.pg_publication_namespace m join pg_catalog.pg_class s on s.relnamespace = m.pnnspid
                     where m.pnpubid = p.oid and s.oid in (${oids}))`
      : '';
  const published = (oids: string): string =>
    `(p.puballtables or exists (select from pg_catalog.pg_publication_rel r where r.prpubid = p.oid and r.prrelid in (${oids})) ${inSchema(oids)})`;
  const ancestors = 'select a.relid from pg_catalog.pg_partition_ancestors(c.oid) a';
  return `
  select w.s || '.' || w.t, c.oid is not null
    from unnest($2::text[], $3::text[]) with ordinality w(s, t, place) cross join pg_catalog.pg_publication p
    left join (pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace) on n.nspname = w.s and c.relname = w.t
   where p.pubname = $1 and (c.oid is null or c.relpersistence = 'u' or not ${published(`select c.oid union all ${ancestors}`)} or c.relkind = 'p' and not p.pubviaroot
         or c.relispartition and p.pubviaroot and ${published(`${ancestors} where a.relid <> c.oid`)})
   order by w.place`;
};

/** Operations that are not published. */
export const UNSENT_SQL = `
  select o.name from pg_catalog.pg_publication p,
         lateral (values ('insert', pubinsert), ('update', pubupdate), ('delete', pubdelete), ('truncate', pubtruncate)) o(name, published)
   where pubname = $1 and not published`;

type SlotLookOptions = Pick<PostgresSourceOptions, 'name' | 'url' | 'slot' | 'publication' | 'tables' | 'patterns'>;

export class SlotLook implements AsyncDisposable {
  readonly #options: SlotLookOptions;
  #connection: PgConnection | null = null;
  #seesFiles = false;

  constructor(options: SlotLookOptions) {
    this.#options = options;
  }

  /**
   * Null where there is no such slot (yet). Throws SOURCE_… where the server is away; the next call connects again. `followed`: the tables of the config, and those
   * that its patterns have found.
   */
  async look(signal: AbortSignal, followed = this.#options.tables): Promise<SlotRetention | null> {
    const late = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
    const cut = (): void => this.#connection?.destroy();
    late.addEventListener('abort', cut, { once: true });
    try {
      return await this.#ask(this.#connection ?? (await this.#connect(late)), followed);
    } catch (error) {
      this.#connection?.destroy();
      this.#connection = null;
      throw sourceFailure(error, 'connecting', `looking at the slot ${this.#options.slot}`);
    } finally {
      late.removeEventListener('abort', cut);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#connection !== null) await closeSoon(this.#connection);
    this.#connection = null;
  }

  async #connect(signal: AbortSignal): Promise<PgConnection> {
    const connection = await connectSource(this.#options.name, this.#options.url, false, SESSION, signal);
    this.#connection = connection;
    const may = await connection.query(`select pg_catalog.has_function_privilege('pg_catalog.pg_ls_waldir()', 'execute')`);
    this.#seesFiles = may.rows[0]?.[0] === 't';
    return connection;
  }

  async #ask(connection: PgConnection, followed: readonly string[]): Promise<SlotRetention | null> {
    const [walStatus = null, safe, retained, keep] = (await connection.query(SLOT_SQL, [this.#options.slot])).rows[0] ?? [];
    if (keep === undefined) return null;
    const files = this.#seesFiles ? await connection.query('select sum(size) from pg_catalog.pg_ls_waldir()') : null;
    const number = (text: string | null | undefined): number | null => (text === null || text === undefined ? null : Number(text));
    const keepBytes = number(keep);
    return {
      walStatus,
      retainedBytes: Math.max(0, number(retained) ?? 0),
      safeBytes: number(safe),
      keepBytes: keepBytes === null || keepBytes < 0 ? null : keepBytes,
      walBytes: number(files?.rows[0]?.[0]),
      ...(await this.#missing(connection, followed)),
      found: await this.#found(connection, followed),
    };
  }

  async #found(connection: PgConnection, followed: readonly string[]): Promise<FoundTables | null> {
    const { patterns = null, publication, tables } = this.#options;
    if (patterns === null) return null;
    const known = new Set(followed);
    return findTables(connection, { publication, patterns, named: tables, known: (table) => known.has(table) });
  }

  async #missing(connection: PgConnection, tables: readonly string[]): Promise<Pick<SlotRetention, 'unpublished' | 'absent' | 'unsent'>> {
    const { publication } = this.#options;
    const split = tables.map(splitTable);
    const { rows } = await connection.query(missingSql(connection.majorVersion >= 15), [
      publication,
      arrayLiteral(split.map(({ schema }) => schema)),
      arrayLiteral(split.map(({ name }) => name)),
    ]);
    const named = (isThere: boolean): string[] => rows.flatMap(([table, there]) => (there === (isThere ? 't' : 'f') ? [table ?? ''] : []));
    const unsent = await connection.query(UNSENT_SQL, [publication]);
    return { unpublished: named(true), absent: named(false), unsent: unsent.rows.map(([name]) => name ?? '') };
  }
}
