/**
 * Versions of rows, for targets whose tables more than one lane may write (partitions that were added, two roads into one table), and for sources that send again
 * what they sent before. Each transaction claims the keys that it writes: a key whose row is as new, or newer, is not claimed, and what would be written is left out.
 * The versions are kept beside the tables, of rows that are gone too, and forgotten `keepMs` after the last change: an event that comes later than that is not known to be old.
 */
import { type ChangeEvent, type DatasetName, versionOf } from '../../core/event.ts';
import type { Clock } from '../../core/clock.ts';
import { hasPlace } from '../../core/position.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { textArrayParameter } from './arrays.ts';
import type { RowWriter } from './careful.ts';
import { keysOf, refOf, split } from './held-keys.ts';
import type { Layouts } from './layout.ts';
import { withoutOutrun } from './outrun.ts';

export interface RowVersionOptions {
  /** Of the source's history: what happened in a later one is newer, wherever it stands in its log. */
  readonly epoch: number;
  readonly keepMs: number;
}

export interface RowVersionParts extends RowVersionOptions {
  readonly sql: PgConnection;
  readonly layouts: Layouts;
  readonly isPartial: RowWriter['isPartial'];
  readonly clock: Clock;
}

/** What the target has newer of a batch. */
export interface Outrun {
  /** How many events are left out. */
  readonly stale: number;
  /** Truncates of tables that have newer rows. */
  readonly truncates: readonly number[];
}

/** A table that the batch writes, under its oid: one that is made anew knows nothing of the one before. */
interface Relation {
  readonly oid: string;
  /** What emptied it last; '' where nothing did. */
  version: string;
}

const TABLES_SQL = `insert into tidegate.table_versions (relation, version)
  select distinct to_regclass(n)::oid, '' from unnest($1::text[]) n where to_regclass(n) is not null order by 1 on conflict do nothing`;
const LOCK_SQL = `select n, v.relation, v.version from unnest($1::text[]) n join tidegate.table_versions v on v.relation = to_regclass(n)::oid
  order by v.relation`;
/** Waits for who is about to write the same row, and looks again. Always in one order, so that two never wait for each other. */
const CLAIM_SQL = `insert into tidegate.row_versions as r (relation, key, version)
  select relation::oid, key, version from unnest($1::text[], $2::text[], $3::text[]) w(relation, key, version) order by 1, key collate "C"
  on conflict (relation, key) do update set previous = r.version, version = excluded.version, changed_at = now() where r.version < excluded.version
  returning relation, key, previous`;
const ROWS_SQL = 'select 1 from tidegate.row_versions where relation = $1 and version > $2 and version <= $3 limit 1';
const EMPTIED_SQL = 'update tidegate.table_versions set version = $2 where relation = $1';
const NEWEST_SQL = `select max(version) from (
  select version from tidegate.row_versions where relation = to_regclass($1)::oid and key = $2
  union all select version from tidegate.table_versions where relation = to_regclass($1)::oid and version <> '') v`;
const FORGET_SQL = 'delete from tidegate.row_versions where relation = $1 and version <= $2';
const PRUNED_MAX = 10_000;
/** Those that a transaction is about to claim are not waited for. */
const PRUNE_SQL = `delete from tidegate.row_versions where ctid = any(array(
  select ctid from tidegate.row_versions where changed_at < now() - $1::float8 * interval '1 millisecond' limit ${PRUNED_MAX} for update skip locked))`;
/** Twenty times while a version is kept, but no more than once a second. */
const PRUNES = 20;
const PRUNE_MS = { min: 1000, max: 3_600_000 } as const;

/** Newer than whatever comes. */
const NEWEST = '~';

export class RowVersions {
  readonly #parts: RowVersionParts;
  #pruneAtMs = 0;

  constructor(parts: RowVersionParts) {
    this.#parts = parts;
  }

  /** In the transaction that writes them: cuts `events` down to what the target does not have as new, and claims their keys. */
  async claim(events: (ChangeEvent | null)[]): Promise<Outrun> {
    const relations = await this.#lock(events);
    const before = new Map([...relations.values()].map((relation) => [relation, relation.version]));
    const truncates: number[] = [];
    const wanted = new Map<string, string>();
    let stale = 0;
    for (const [index, event] of events.entries()) {
      const relation = event === null ? undefined : relations.get(event.dataset.name);
      if (event === null || relation === undefined || !isVersioned(event)) continue;
      const version = this.#versionOf(event);
      if (version <= relation.version) {
        stale++;
        events[index] = null;
      } else if (event.op === 'truncate') {
        const isBehind = [...wanted].some(([ref, one]) => ref.startsWith(`${relation.oid}\0`) && one > version);
        const isOutrun = isBehind || (await this.#hasRows(relation, version, NEWEST));
        if (isOutrun && !isBehind && relation.version !== '' && !(await this.#hasRows(relation, relation.version, version))) {
          // Another lane brought it already, under a version of its own: nothing that it would take is there any more.
          stale++;
          events[index] = null;
          continue;
        }
        if (isOutrun) truncates.push(index);
        relation.version = version;
      } else {
        for (const ref of refsOf(event, relation)) if (version > (wanted.get(ref) ?? '')) wanted.set(ref, version);
      }
    }
    if (truncates.length > 0) return { stale, truncates };
    const taken = await this.#claimKeys(wanted);
    stale += this.#leaveOut(events, relations, taken);
    for (const [{ oid, version }, was] of before) if (version !== was) await this.#emptied(oid, version);
    return { stale, truncates };
  }

  /** Forgets what is too old, now and then. Outside of transactions. */
  async prune(): Promise<void> {
    const { sql, keepMs, clock } = this.#parts;
    const now = clock.monotonic();
    if (now < this.#pruneAtMs) return;
    const { affected } = await sql.query(PRUNE_SQL, [String(keepMs)]);
    if (affected < PRUNED_MAX) this.#pruneAtMs = now + Math.min(PRUNE_MS.max, Math.max(PRUNE_MS.min, keepMs / PRUNES));
  }

  /** Has nobody else empty these tables meanwhile, or write them where they are to be emptied. Datasets of one table have one relation. */
  async #lock(events: readonly (ChangeEvent | null)[]): Promise<ReadonlyMap<DatasetName, Relation>> {
    const { sql, layouts } = this.#parts;
    const names = new Map<DatasetName, string>();
    let empties = false;
    for (const event of events) {
      if (event === null || !isVersioned(event)) continue;
      const { name } = event.dataset;
      if (!names.has(name)) names.set(name, layouts.nameOf(name));
      empties ||= event.op === 'truncate';
    }
    if (names.size === 0) return new Map();
    const parameters = [textArrayParameter([...new Set(names.values())])];
    await sql.query(TABLES_SQL, parameters);
    const { rows } = await sql.query(`${LOCK_SQL} for ${empties ? 'no key update' : 'share'} of v`, parameters);
    const relations = new Map(rows.map(([name, oid, version]) => [name ?? '', { oid: oid ?? '', version: version ?? '' }]));
    return new Map(
      [...names].flatMap(([dataset, name]) => {
        const relation = relations.get(name);
        return relation === undefined ? [] : [[dataset, relation] as const];
      }),
    );
  }

  /** Whether rows have versions beyond `from` and up to `to`. */
  async #hasRows({ oid }: Relation, from: string, to: string): Promise<boolean> {
    return (await this.#parts.sql.query(ROWS_SQL, [oid, from, to])).rows.length > 0;
  }

  /** Of the keys that were claimed, the version that they had. */
  async #claimKeys(wanted: ReadonlyMap<string, string>): Promise<Map<string, string>> {
    if (wanted.size === 0) return new Map();
    const [relations, keys] = split(wanted.keys());
    const { rows } = await this.#parts.sql.query(CLAIM_SQL, [relations, keys, [...wanted.values()]].map(textArrayParameter));
    return new Map(rows.map(([relation, key, previous]) => [refOf(relation ?? '', key ?? ''), previous ?? '']));
  }

  /** In the batch's own order: an older state may stand behind a newer one here as well. */
  #leaveOut(events: (ChangeEvent | null)[], relations: ReadonlyMap<DatasetName, Relation>, taken: Map<string, string>): number {
    let stale = 0;
    for (const [index, event] of events.entries()) {
      const relation = event === null ? undefined : relations.get(event.dataset.name);
      if (event === null || relation === undefined || event.op === 'truncate' || !isVersioned(event)) continue;
      const version = this.#versionOf(event);
      const isOutrun = (key: string): boolean => (taken.get(refOf(relation.oid, key)) ?? NEWEST) >= version;
      const left = withoutOutrun(event, this.#parts.isPartial, isOutrun);
      events[index] = left;
      if (left === null) stale++;
      else for (const ref of refsOf(left, relation)) taken.set(ref, version);
    }
    return stale;
  }

  /** What the table had before needs no versions: the table's own tells. */
  async #emptied(oid: string, version: string): Promise<void> {
    await this.#parts.sql.query(EMPTIED_SQL, [oid, version]);
    await this.#parts.sql.query(FORGET_SQL, [oid, version]);
  }

  #versionOf(event: ChangeEvent): string {
    return rowVersion(this.#parts, event);
  }
}

/** The version of an event's row as it is kept: within the source's history. */
export const rowVersion = ({ epoch }: Pick<RowVersionOptions, 'epoch'>, event: ChangeEvent): string =>
  `${epoch.toString(16).padStart(8, '0')}:${versionOf(event)}`;

/** The newest that is kept of a row, or of what emptied its table (named as in SQL); null where that is none. */
export async function newestVersion(sql: PgConnection, table: string, key: string): Promise<string | null> {
  const { rows } = await sql.query(NEWEST_SQL, [table, key]);
  return rows[0]?.[0] ?? null;
}

/** Without a key (which no truncate brings) there are no two states of one row, and a place in a topic is none in the source's log. */
const isVersioned = ({ op, dataset, version }: ChangeEvent): boolean =>
  (dataset.keyless !== true || op === 'truncate') && hasPlace(version);

const refsOf = (event: ChangeEvent, { oid }: Relation): string[] => keysOf(event).map((key) => refOf(oid, key));
