/**
 * Keys that have something in quarantine, in `tidegate.held_keys`. Everybody who decides about one (the lane that would write it, the lane of
 * released rows, the people who release and discard) does so in a transaction that holds the pipeline's turn.
 */
import type { ChangeEvent, DatasetName } from '../../core/event.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { textArrayParameter } from './arrays.ts';

export interface KeyRef {
  readonly dataset: string;
  readonly key: string;
}

export interface HeldKey {
  /** How many items wait to be settled. */
  open: number;
  /** The newest version that the target took of this key since it has something held. */
  version: string | null;
}

/** A dataset and a key as one string; text of Postgres has no NUL. */
export const refOf = (dataset: string, key: string): string => `${dataset}\0${key}`;

/** Of a truncate. */
export const TABLE_KEY = '';
export const tableRefOf = (dataset: string): string => refOf(dataset, TABLE_KEY);

/** Both keys of a move, else the one. */
export function keysOf(event: ChangeEvent): readonly string[] {
  return event.movedFrom === null ? [event.key] : [event.key, event.movedFrom];
}

/**
 * First in every transaction that decides about held keys: those of one pipeline take turns, so that none meets another's row locks in
 * another order, and numbers of releases become visible in their order.
 */
export const TURN_SQL = "select pg_advisory_xact_lock(hashtext('tidegate'), hashtext($1::text))";

const DEADLOCK = '40P01';
const ATTEMPTS_MAX = 4;

/** A transaction that has the pipeline's turn; done again where it met a lane's on the same keys in another order. */
export async function inTurn<T>(sql: PgConnection, pipeline: string, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    await sql.script('begin');
    try {
      await sql.query(TURN_SQL, [pipeline]);
      const result = await work();
      await sql.script('commit');
      return result;
    } catch (error) {
      if (sql.open) await sql.script('rollback');
      if (!(error instanceof PgError && error.code === DEADLOCK && attempt < ATTEMPTS_MAX)) throw error;
    }
  }
}

/** Locks the rows of these keys until the transaction ends, always in the same order. Keys without anything held are left out. */
export async function lockKeys(sql: PgConnection, refs: ReadonlySet<string>): Promise<Map<string, HeldKey>> {
  const [datasets, keys] = split(refs);
  const { rows } = await sql.query(
    `select h.dataset, h.key, h.open, h.version from tidegate.held_keys h join unnest($1::text[], $2::text[]) w(dataset, key) using (dataset, key)
     order by h.dataset, h.key for update of h`,
    [textArrayParameter(datasets), textArrayParameter(keys)],
  );
  return new Map(
    rows.map(([dataset, key, open, version]) => [refOf(dataset ?? '', key ?? ''), { open: Number(open), version: version ?? null }]),
  );
}

/** Remembers what the target took of keys that have something held. */
export async function raiseVersions(sql: PgConnection, versions: ReadonlyMap<string, string>): Promise<void> {
  if (versions.size === 0) return;
  const [datasets, keys] = split(versions.keys());
  await sql.query(
    `update tidegate.held_keys h set version = greatest(h.version, w.version)
     from unnest($1::text[], $2::text[], $3::text[]) w(dataset, key, version) where h.dataset = w.dataset and h.key = w.key`,
    [textArrayParameter(datasets), textArrayParameter(keys), textArrayParameter([...versions.values()])],
  );
}

/** A truncate concerns every key of its dataset. */
export async function raiseAllVersions(sql: PgConnection, dataset: DatasetName, version: string): Promise<void> {
  await sql.query('update tidegate.held_keys set version = greatest(version, $2) where dataset = $1', [dataset, version]);
}

/** Counts items off their keys; a key with nothing left is forgotten. */
export async function settleKeys(sql: PgConnection, settled: readonly KeyRef[]): Promise<void> {
  if (settled.length === 0) return;
  const parameters = [textArrayParameter(settled.map(({ dataset }) => dataset)), textArrayParameter(settled.map(({ key }) => key))];
  await sql.query(
    `update tidegate.held_keys h set open = h.open - w.count
     from (select dataset, key, count(*) as count from unnest($1::text[], $2::text[]) u(dataset, key) group by 1, 2) w
     where h.dataset = w.dataset and h.key = w.key`,
    parameters,
  );
  await sql.query(
    `delete from tidegate.held_keys h using unnest($1::text[], $2::text[]) w(dataset, key)
     where h.dataset = w.dataset and h.key = w.key and h.open <= 0`,
    parameters,
  );
}

export function split(refs: Iterable<string>): [datasets: string[], keys: string[]] {
  const pairs = Array.from(refs, keyOfRef);
  return [pairs.map(({ dataset }) => dataset), pairs.map(({ key }) => key)];
}

/** What `refOf` made one string of. */
export function keyOfRef(ref: string): KeyRef {
  const at = ref.indexOf('\0');
  return { dataset: ref.slice(0, at), key: ref.slice(at + 1) };
}
