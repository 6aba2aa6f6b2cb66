/** The replication slot and the publication: looked at, made, removed. SQL of an ordinary connection. */
import { PipelineError } from '../../core/errors.ts';
import { fromLsn } from '../../core/position.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { quoteIdent } from '../../wire/postgres/ident.ts';
import { quotedTable } from './catalog.ts';
import { sourceFailure } from './failures.ts';

export interface SlotState {
  readonly plugin: string | null;
  /** Whether it is a slot of the database that the connection is to. */
  readonly isHere: boolean;
  readonly active: boolean;
  /** Whether it sends transactions when they are prepared, rather than when they are committed. */
  readonly twoPhase: boolean;
  /** Whether standbys keep a copy of it, which serves once one is promoted; null before PostgreSQL 17. */
  readonly failover: boolean | null;
  /** `lost`: the server has removed log that the slot needs. */
  readonly walStatus: string | null;
  /** 16 hex digits; '' where there is none. */
  readonly confirmed: string;
}

export async function readSlot(connection: PgConnection, slot: string): Promise<SlotState | null> {
  const found = await connection.query(
    `select plugin, database = pg_catalog.current_database(), active, two_phase, wal_status, coalesce(confirmed_flush_lsn, restart_lsn), pg_catalog.to_jsonb(s) ->> 'failover'
       from pg_catalog.pg_replication_slots s where slot_name = $1`,
    [slot],
  );
  const row = found.rows[0];
  if (row === undefined) return null;
  const [plugin = null, isHere, active, twoPhase, walStatus = null, confirmed, failover] = row;
  const place = typeof confirmed === 'string' ? fromLsn(confirmed) : '';
  const isFailover = typeof failover === 'string' ? failover === 'true' : null;
  return {
    plugin,
    isHere: isHere === 't',
    active: active === 't',
    twoPhase: twoPhase === 't',
    failover: isFailover,
    walStatus,
    confirmed: place,
  };
}

/** Makes the slot. Returns the place (16 hex digits) from which it has every commit. Waits for transactions that are under way. */
export async function createSlot(connection: PgConnection, slot: string, failover: boolean): Promise<string> {
  try {
    const more = failover && hasFailover(connection) ? ', false, false, true' : '';
    const made = await connection.query(`select lsn from pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput'${more})`, [slot]);
    return fromLsn(made.rows[0]?.[0] ?? '');
  } catch (error) {
    throw sourceFailure(error, 'creating the slot', `creating the replication slot ${slot}`);
  }
}

/** Whether the server's standbys can keep copies of slots. */
export const hasFailover = (connection: PgConnection): boolean => connection.majorVersion >= 17;

/** Has standbys keep a copy of a slot that nobody reads, or no more. `replication` is a walsender: only that can. */
export async function alterFailover(replication: PgConnection, slot: string, failover: boolean): Promise<void> {
  try {
    await replication.script(`ALTER_REPLICATION_SLOT ${quoteIdent(slot)} ( FAILOVER ${failover ? 'true' : 'false'} )`);
  } catch (error) {
    throw sourceFailure(error, 'streaming', `changing the replication slot ${slot}`);
  }
}

/** The tables of a publication as `schema.table`, or null where there is no such publication. */
export async function readPublication(connection: PgConnection, publication: string): Promise<ReadonlySet<string> | null> {
  const found = await connection.query(publishedSql(connection.majorVersion), [publication]);
  if (found.rows.length === 0) return null;
  return new Set(found.rows.flatMap(([, schema, table]) => (typeof schema === 'string' ? [`${schema}.${table}`] : [])));
}

/** What pg_publication_tables has, which locks every table: whoever changes one of them for long would keep all of them from being read. */
function publishedSql(version: number): string {
  const isListed = (table: string): string => `(p.puballtables
    or exists (select from pg_catalog.pg_publication_rel r where r.prpubid = p.oid and r.prrelid = ${table})
    ${version < 15 ? '' : `or exists (select from pg_catalog.pg_publication_namespace m join pg_catalog.pg_class s on s.relnamespace = m.pnnspid where m.pnpubid = p.oid and s.oid = ${table})`})`;
  const isBelowOne = `c.relispartition and exists (select from pg_catalog.pg_partition_ancestors(c.oid) a where a.relid <> c.oid and ${isListed('a.relid')})`;
  return `select p.pubname, t.nspname, t.relname from pg_catalog.pg_publication p left join lateral (
      select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
       where c.relpersistence = 'p' and c.oid >= 16384 and case when p.pubviaroot then c.relkind in ('r', 'p') and ${isListed('c.oid')} and not (${isBelowOne})
         else c.relkind = 'r' and (${isListed('c.oid')} or ${isBelowOne}) end) t on true
     where p.pubname = $1`;
}

/** Makes the publication of all operations of these tables. A partitioned table is published as itself, not as its partitions. */
export async function createPublication(connection: PgConnection, publication: string, tables: readonly string[]): Promise<void> {
  const list = tables.map(quotedTable).join(', ');
  await changing(
    connection,
    publication,
    `create publication ${quoteIdent(publication)} for table ${list} with (publish_via_partition_root = true)`,
  );
  await checkPublication(connection, publication, tables);
}

export async function addToPublication(connection: PgConnection, publication: string, tables: readonly string[]): Promise<void> {
  await changing(connection, publication, `alter publication ${quoteIdent(publication)} add table ${tables.map(quotedTable).join(', ')}`);
  await checkPublication(connection, publication, tables);
}

/** What is in a publication may have another name there, under which nobody would look for it. */
async function checkPublication(connection: PgConnection, publication: string, tables: readonly string[]): Promise<void> {
  const published = await readPublication(connection, publication);
  const missing = tables.find((table) => published?.has(table) !== true);
  if (missing === undefined) return;
  throw new PipelineError(
    'SOURCE_PUBLICATION_MISSING',
    `the publication ${publication} does not have ${missing} under this name: a partitioned table comes under its own with publish_via_partition_root = true only, and its partitions do not then`,
  );
}

/** A publication that is another role's to drop. */
export interface LeftPublication {
  readonly publication: string;
  readonly owner: string;
  /** What its owner runs to be rid of it. */
  readonly statement: string;
}

/**
 * Removes slot and publication; either may be gone already. Answers what is left where the publication belongs to another role: it keeps no log, as
 * the slot does. Throws SOURCE_SLOT_ACTIVE while somebody reads the slot.
 */
export async function dropSlotAndPublication(connection: PgConnection, slot: string, publication: string): Promise<LeftPublication | null> {
  try {
    await dropSlot(connection, slot);
    return await dropPublication(connection, publication);
  } catch (error) {
    throw sourceFailure(error, 'dropping', `removing the slot ${slot} and the publication ${publication}`);
  }
}

async function dropPublication(connection: PgConnection, publication: string): Promise<LeftPublication | null> {
  const statement = `drop publication if exists ${quoteIdent(publication)}`;
  try {
    await connection.query(statement);
    return null;
  } catch (error) {
    if (!(error instanceof PgError && error.code === '42501')) throw error;
    const { rows } = await connection.query(
      'select pg_catalog.pg_get_userbyid(pubowner) from pg_catalog.pg_publication where pubname = $1',
      [publication],
    );
    const owner = rows[0]?.[0];
    return typeof owner === 'string' ? { publication, owner, statement: `${statement};` } : null; // Its owner was quicker.
  }
}

/** Nothing where there is none of this name in the database. */
export async function dropSlot(connection: PgConnection, slot: string): Promise<void> {
  await connection.query(
    `select pg_catalog.pg_drop_replication_slot(slot_name) from pg_catalog.pg_replication_slots where slot_name = $1 and database = pg_catalog.current_database()`,
    [slot],
  );
}

/** What a running source asks of a slot it has read before. `from`: the lane's place, 16 hex digits. */
export function checkSlot(slot: SlotState | null, name: string, from: string | null): void {
  if (slot === null) {
    if (from === null) return;
    throw new PipelineError('SOURCE_POSITION_LOST', `the replication slot ${name} is gone, and the lane has a checkpoint in it`);
  }
  if (slot.plugin !== 'pgoutput' || !slot.isHere) {
    throw new PipelineError(
      'CONFIG_INVALID',
      `slot: ${name} is a slot of another kind or database (plugin ${slot.plugin ?? 'none'}): name another`,
    );
  }
  if (slot.twoPhase) {
    throw new PipelineError(
      'CONFIG_INVALID',
      `slot: ${name} was made with two_phase, so it sends what may still be rolled back: name another, or drop it and let Tidegate make it`,
    );
  }
  if (slot.walStatus === 'lost') {
    throw new PipelineError(
      'SOURCE_POSITION_LOST',
      `the server has removed log that the replication slot ${name} still needed (wal_status lost)`,
    );
  }
  if (from !== null && slot.confirmed > from) {
    throw new PipelineError(
      'SOURCE_POSITION_LOST',
      `the replication slot ${name} has moved beyond the lane's checkpoint: somebody else has read it`,
    );
  }
}

/** Another instance, or somebody before us, has made the very thing. */
const IS_THERE: ReadonlySet<string> = new Set(['42710', '23505']);

async function changing(connection: PgConnection, publication: string, sql: string): Promise<void> {
  try {
    await connection.script(sql);
  } catch (error) {
    if (error instanceof PgError && IS_THERE.has(error.code)) return;
    throw sourceFailure(error, 'creating the publication', `creating the publication ${publication}`);
  }
}
