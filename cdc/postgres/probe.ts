/** What a source would run into, found before it runs; and what its tables look like. Nothing is changed on the server. */
import { PipelineError, withCauses } from '../../core/errors.ts';
import type { Dataset } from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { arrayLiteral, quoteIdent } from '../../wire/postgres/ident.ts';
import { Datasets, keylessText, readTable, SESSION, splitTable } from './catalog.ts';
import { connectSource, refusePooler } from './connect.ts';
import { sourceFailure } from './failures.ts';
import { allTables, findTables } from './found-tables.ts';
import { STANDBY } from './prepare.ts';
import { UNSENT_SQL } from './slot-look.ts';
import { checkSlot, hasFailover, readPublication, readSlot } from './slot.ts';
import type { PostgresSourceOptions } from './source.ts';

export interface DescribedTable {
  /** `schema.table`. */
  readonly table: string;
  /** Null where the table has no key, and so can't be followed. */
  readonly dataset: Dataset | null;
  readonly comment: string | null;
  readonly columnComments: ReadonlyMap<string, string>;
  /** What its log holds of a row before a change: all of it (REPLICA IDENTITY FULL), or its key. */
  readonly oldRows: 'full' | 'key';
  /** From the planner's statistics; null where there are none yet. */
  readonly rowsEstimated: number | null;
}

/** The tables named, with those that patterns find, or every table of the database outside the system's schemas. `source` is the first part of the datasets' names. */
export async function describeTables(
  url: string,
  tables?: readonly string[],
  source = 'source',
  signal?: AbortSignal,
  more?: Pick<PostgresSourceOptions, 'publication' | 'patterns'>,
): Promise<readonly DescribedTable[]> {
  const connection = await connectSource(source, url, false, SESSION, signal);
  try {
    const datasets = new Datasets(source);
    const described: DescribedTable[] = [];
    const named = tables ?? (await everyTable(connection));
    for (const name of more === undefined ? named : await allTables(connection, { ...more, tables: named })) {
      const found = await readTable(connection, name, null);
      if (found === null && !named.includes(name)) continue; // Dropped since it was found.
      if (found === null) throw new PipelineError('SOURCE_TABLE_MISSING', `describing ${name}: there is no such table`);
      const { comment, columnComments, rowsEstimated, keyNames, message, sendsOldRows } = found;
      const dataset = keyNames.length === 0 ? null : (await datasets.relationOf(connection, name, message, found)).dataset;
      const oldRows = sendsOldRows ? 'full' : 'key';
      described.push({ table: `${found.schema}.${found.name}`, dataset, comment, columnComments, oldRows, rowsEstimated });
    }
    return described;
  } catch (error) {
    throw sourceFailure(error, 'reading the catalog', `describing the tables of ${source}`);
  } finally {
    await connection.close();
  }
}

async function everyTable(connection: PgConnection): Promise<string[]> {
  const found = await connection.query(
    `select n.nspname || '.' || c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence = 'p'
        and n.nspname not in ('pg_catalog', 'information_schema', 'tidegate') and n.nspname !~ '^pg_'
      order by 1`,
  );
  return found.rows.flatMap(([name]) => (typeof name === 'string' ? [name] : []));
}

/** Every problem that can be seen now, with its fix. */
export async function probePostgresSource(options: PostgresSourceOptions): Promise<Problem[]> {
  const path = `sources.${options.name}`;
  let connection: PgConnection;
  try {
    connection = await connectSource(options.name, options.url, false, SESSION);
  } catch (error) {
    return [problemOf(error, `${path}.url`)];
  }
  try {
    await refusePooler(options.name, options.url, connection);
    const problems = [...(await probeServer(connection, path)), ...(await probeTables(connection, options, path))];
    const { found, unfit } = await probePatterns(connection, options, path);
    problems.push(...unfit);
    const all = { ...options, tables: [...options.tables, ...found] };
    problems.push(...(await probePublication(connection, all, path)), ...(await probeSlot(connection, options, path)));
    problems.push(...(await probeRetention(connection, options, path)), ...(await probeFailover(connection, options, path)));
    return problems;
  } catch (error) {
    return [problemOf(sourceFailure(error, 'reading the catalog', `probing ${options.name}`), path)];
  } finally {
    await connection.close();
  }
}

function problemOf(error: unknown, path: string): Problem {
  if (!(error instanceof PipelineError)) throw error;
  return { severity: 'error', path, message: `${withCauses(error)}.`, fix: error.fix };
}

const problem = (code: ConstructorParameters<typeof PipelineError>[0], path: string, message: string): Problem =>
  problemOf(new PipelineError(code, message), path);

async function probeServer(connection: PgConnection, path: string): Promise<Problem[]> {
  const found = await connection.query(
    `select pg_catalog.current_setting('wal_level'), pg_catalog.current_setting('server_version_num')::int4 >= 140000,
            r.rolsuper or r.rolreplication, pg_catalog.pg_is_in_recovery(), r.rolname, pg_catalog.current_setting('server_encoding')
       from pg_catalog.pg_roles r where r.rolname = current_user`,
  );
  const [walLevel, recent, replication, standby, role, encoding] = found.rows[0] ?? [];
  const problems: Problem[] = [];
  if (recent !== 't') {
    problems.push({
      severity: 'error',
      path: `${path}.url`,
      message: 'The server is older than PostgreSQL 14.',
      fix: 'Use a source of PostgreSQL 14 or newer.',
    });
  }
  if (walLevel !== 'logical') problems.push(problem('SOURCE_WAL_LEVEL', `${path}.url`, `wal_level is ${walLevel ?? 'unknown'}`));
  if (replication !== 't') problems.push(problem('SOURCE_PRIVILEGE', `${path}.url`, `The role ${role ?? ''} may not start replication`));
  if (encoding === 'SQL_ASCII') {
    problems.push({
      severity: 'warning',
      path: `${path}.url`,
      message: 'The database takes texts in any encoding (SQL_ASCII): one that is not UTF-8 halts the lane.',
      fix: 'Mend such texts first, or leave their columns out of the publication.',
    });
  }
  if (standby === 't') {
    const fix = 'Point the url at the primary.';
    problems.push({
      severity: 'error',
      path: `${path}.url`,
      message: `${STANDBY[0]?.toUpperCase()}${STANDBY.slice(1)}.`,
      fix,
    });
  }
  return problems;
}

async function probeTables(connection: PgConnection, options: PostgresSourceOptions, path: string): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const [index, table] of options.tables.entries()) {
    const at = `${path}.tables[${index}]`;
    const found = await readTable(connection, table, null);
    if (found === null) {
      problems.push(problem('SOURCE_TABLE_MISSING', at, `The table ${table} does not exist`));
      continue;
    }
    if (!found.isLogged)
      problems.push({
        severity: 'error',
        path: at,
        message: `The changes of ${table} are not in the log, for it is unlogged.`,
        fix: 'Make it a logged table (`alter table … set logged`), or leave it out.',
      });
    if (found.keyNames.length === 0)
      problems.push(problem('SOURCE_NO_KEY', at, `The table ${table} cannot be followed: ${await keylessText(connection, found)}`));
    if (options.snapshot.mode === 'never') continue;
    const { rows } = await connection.query(`select pg_catalog.has_table_privilege($1::pg_catalog.oid, 'select')`, [found.message.oid]);
    if (rows[0]?.[0] !== 't')
      problems.push(problem('SOURCE_PRIVILEGE', at, `The role may not select from ${table}, which the snapshot needs`));
  }
  return problems;
}

async function probePatterns(
  connection: PgConnection,
  { patterns = null, publication, tables: named }: PostgresSourceOptions,
  path: string,
): Promise<{ readonly found: readonly string[]; readonly unfit: readonly Problem[] }> {
  if (patterns === null) return { found: [], unfit: [] };
  const { tables, left } = await findTables(connection, { publication, patterns, named, known: () => false });
  const warn = (message: string, fix: string): Problem => ({ severity: 'warning', path: `${path}.patterns`, message, fix });
  const unfit = left.map(({ table, why }) => warn(`${table} is left out: ${why}.`, `Mend that, or except it (${path}.except).`));
  if (tables.length === 0 && named.length === 0 && left.length === 0)
    unfit.push(
      warn('No table fits the patterns yet: the pipeline begins with the first that is made.', 'Correct them if that is not meant.'),
    );
  return { found: tables, unfit };
}

async function probePublication(connection: PgConnection, options: PostgresSourceOptions, path: string): Promise<Problem[]> {
  const published = await readPublication(connection, options.publication);
  const wanted = options.tables.map((table) => splitTable(table));
  const missing = wanted.filter(({ schema, name }) => published?.has(`${schema}.${name}`) !== true);
  const unsent = published === null ? [] : await probeOperations(connection, options, path);
  if (missing.length === 0) return unsent;
  // It will be made or extended, where we may: that takes ownership of the tables, and create on the database for a new one.
  const { rows } = await connection.query(
    `select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create'),
            not exists (select from unnest($1::text[], $2::text[]) w(s, t)
                          join pg_catalog.pg_namespace n on n.nspname = w.s
                          join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.t
                         where not pg_catalog.pg_has_role(c.relowner, 'usage'))`,
    [arrayLiteral(missing.map(({ schema }) => schema)), arrayLiteral(missing.map(({ name }) => name))],
  );
  const [mayCreate, owns] = rows[0] ?? [];
  if (owns === 't' && (published !== null || mayCreate === 't')) return unsent;
  const what =
    published === null
      ? 'does not exist, and the role may not create it'
      : `lacks ${missing.length} of the tables, and the role may not add them`;
  return [...unsent, problem('SOURCE_PUBLICATION_MISSING', `${path}.publication`, `The publication ${options.publication} ${what}`)];
}

/** Somebody may mean it so, for a table that only grows. */
async function probeOperations(connection: PgConnection, { publication }: PostgresSourceOptions, path: string): Promise<Problem[]> {
  const { rows } = await connection.query(UNSENT_SQL, [publication]);
  if (rows.length === 0) return [];
  const operations = rows.map(([name]) => name).join(', ');
  return [
    {
      severity: 'warning',
      path: `${path}.publication`,
      message: `The publication ${publication} leaves out ${operations}: the target will not be what the source is.`,
      fix: `alter publication ${quoteIdent(publication)} set (publish = 'insert, update, delete, truncate')`,
    },
  ];
}

async function probeSlot(connection: PgConnection, options: PostgresSourceOptions, path: string): Promise<Problem[]> {
  const slot = await readSlot(connection, options.slot);
  const at = `${path}.slot`;
  if (slot === null) {
    const { rows } = await connection.query(
      `select (select count(*) from pg_catalog.pg_replication_slots) < pg_catalog.current_setting('max_replication_slots')::int4`,
    );
    return rows[0]?.[0] === 't' ? [] : [problem('SOURCE_SLOTS_FULL', at, 'Every replication slot of the server is taken')];
  }
  try {
    checkSlot(slot, options.slot, null);
  } catch (error) {
    return [problemOf(error, at)];
  }
  const kept = slot.walStatus === 'extended' || slot.walStatus === 'unreserved' ? [retentionProblem(options.slot, slot.walStatus, at)] : [];
  if (!slot.active) return kept;
  return [
    ...kept,
    { ...problem('SOURCE_SLOT_ACTIVE', at, `The slot ${options.slot} is being read by another process`), severity: 'warning' },
  ];
}

function retentionProblem(slot: string, walStatus: 'extended' | 'unreserved', path: string): Problem {
  const message =
    walStatus === 'extended'
      ? `The server keeps more log for the slot ${slot} than max_wal_size (wal_status extended).`
      : `The server is about to remove log that the slot ${slot} needs (wal_status unreserved).`;
  return { severity: 'warning', path, message, fix: 'Let the pipeline run until it has caught up, or raise max_slot_wal_keep_size.' };
}

/** Less than this may be written in the time that a restart takes. */
const KEEP_BYTES_FEW = 1 << 30;

/** A slot that nobody reads fills the disk, or is lost: one of the two is decided here. */
async function probeRetention(connection: PgConnection, { walDiskBytes = null }: PostgresSourceOptions, path: string): Promise<Problem[]> {
  const { rows } = await connection.query(
    `select setting::int8 * 1048576 from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'`,
  );
  const keepBytes = Number(rows[0]?.[0] ?? -1);
  const warn = (message: string, fix: string): Problem[] => [{ severity: 'warning', path: `${path}.wal`, message, fix }];
  if (keepBytes < 0 && walDiskBytes === null)
    return warn(
      'max_slot_wal_keep_size is -1: a slot that nobody reads keeps log until the disk of the source is full.',
      `Set it to what the disk can spare, or say how large the disk is (${path}.wal.disk), so that you are told in time.`,
    );
  if (keepBytes >= 0 && keepBytes < KEEP_BYTES_FEW)
    return warn(
      `max_slot_wal_keep_size is ${keepBytes / 1048576} MB: a pipeline that stands still for some minutes may lose its slot.`,
      'Raise it to what the disk can spare.',
    );
  return [];
}

const ON_STANDBYS =
  'on each standby sync_replication_slots = on, hot_standby_feedback = on, primary_slot_name, and a dbname in primary_conninfo';

/** What is missing for the lane to go on when a standby takes over. Settings of the standbys show here only by what they do; a slot without a place in the log was never used by one. */
async function probeFailover(connection: PgConnection, { failover = true }: PostgresSourceOptions, path: string): Promise<Problem[]> {
  if (!failover) return [];
  const { rows } = await connection.query(
    `select (select count(*) from pg_catalog.pg_stat_replication r
              where not exists (select from pg_catalog.pg_replication_slots s where s.active_pid = r.pid))::text,
            (select string_agg(slot_name, ', ') from pg_catalog.pg_replication_slots where slot_type = 'physical' and restart_lsn is not null),
            (select string_agg(slot_name, ', ') from pg_catalog.pg_replication_slots
              where slot_type = 'physical' and active and xmin is null and catalog_xmin is null),
            pg_catalog.current_setting('synchronized_standby_slots', true)`,
  );
  const [withoutSlot = '0', standbys = null, withoutFeedback = null, waitedFor = null] = rows[0] ?? [];
  if (withoutSlot === '0' && standbys === null) return [];
  const warn = (message: string, fix: string): Problem => ({ severity: 'warning', path: `${path}.failover`, message, fix });
  if (!hasFailover(connection))
    return [
      warn(
        'Before PostgreSQL 17 standbys keep no copy of the slot.',
        'When one of them takes over, run `tidegate recover`; set failover: false to hear no more of it.',
      ),
    ];
  const problems: Problem[] = [];
  if (withoutSlot !== '0')
    problems.push(warn(`${withoutSlot} standbys follow without a slot of their own, and so keep no copy of ours.`, `Set ${ON_STANDBYS}.`));
  if (withoutFeedback !== null)
    problems.push(
      warn(`hot_standby_feedback is off at the standby of ${withoutFeedback}: it keeps no copy of the slot.`, `Set ${ON_STANDBYS}.`),
    );
  if (standbys !== null && (waitedFor ?? '') === '')
    problems.push(
      warn(
        'synchronized_standby_slots is empty: the lane may read what a standby that takes over has not got.',
        `Name the slots of the standbys that may take over (of ${standbys}) in synchronized_standby_slots; ${ON_STANDBYS}.`,
      ),
    );
  return problems;
}
