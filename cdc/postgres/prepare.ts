/** What is looked at and made on the server before a lane is read: its tables, its publication and its slot; and where the lane begins. */
import type { Clock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import { fromLsn } from '../../core/position.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { type CatalogTable, entriesOf, keylessText, readTable } from './catalog.ts';
import {
  anew,
  awayTable,
  doneLsn,
  type LanePlace,
  notBegun,
  progressOf,
  type SnapshotMark,
  snapshotMark,
  tableCount,
  type TableProgress,
  withEntries,
} from './lane-position.ts';
import { addToPublication, alterFailover, createPublication, createSlot, readPublication, readSlot } from './slot.ts';
import { type Beginning, beginning } from './done-log.ts';
import { findPlace } from './server-log.ts';
import { freeSlot, type ReaderSession } from './slot-reader.ts';
import type { PostgresSourceOptions } from './source.ts';

export interface PrepareParts {
  readonly catalog: PgConnection;
  /** Opens one. */
  readonly walsender: () => Promise<PgConnection>;
  readonly options: PostgresSourceOptions;
  /** What this source read the slot with before. */
  readonly former: ReaderSession | null;
  /** `schema.table`, each once. */
  readonly tables: readonly string[];
  /** Whether a table was found by a pattern, and is not named by the config. */
  readonly isFound: (table: string) => boolean;
  readonly clock: Clock;
  /** What is asked of a walsender is given up after so long. */
  readonly silenceMs: number;
  /** Told of a table that was dropped before it was copied to its end. */
  readonly onLeftOut: (table: string) => void;
  /** Told of a table that is copied again, for not all of its changes were sent while nobody read. */
  readonly onMissed: (table: string) => void;
  readonly onEstimate: (table: string, rows: number | null) => void;
  /** Does what may wait for transactions of others. */
  readonly waiting: <T>(work: () => Promise<T>) => Promise<T>;
}

export interface Prepared extends Beginning {
  readonly place: LanePlace;
  /** To be said before anything else, null where the place says it. */
  readonly mark: SnapshotMark | null;
  /** Tables that the publication lacks. */
  readonly added: readonly string[];
  readonly isNewSlot: boolean;
  readonly there: readonly CatalogTable[];
  /** Tables join once the lane is out of the transaction that it stands in. */
  readonly isWaitedFor: boolean;
  /** How often the server wants to hear of us. */
  readonly statusMsMax: number;
}

const TABLES_AT_ONCE = 64;

/** Makes what is missing on the server and says where the lane begins. */
export async function prepareLane(parts: PrepareParts, resumed: LanePlace | null, signal: AbortSignal): Promise<Prepared> {
  const { catalog, options } = parts;
  const { publication, slot, snapshot } = options;
  const { statusMsMax, end } = await checkServer(catalog, options);
  const { log, place: from, lost } = await findPlace(resumed, { ...parts, connect: parts.walsender });
  if (lost !== null) throw new PipelineError('SOURCE_POSITION_LOST', `reading ${options.name}: ${lost}`);
  if (from !== null && end < doneLsn(from)) {
    throw new PipelineError(
      'SOURCE_POSITION_LOST',
      `reading ${options.name}: the lane's checkpoint is beyond the end of the server's log; was it restored from a backup?`,
    );
  }
  const { gone, there, neverHad } = await lookAtTables(parts, from);
  const tables = parts.tables.filter((table) => !neverHad.has(table));
  const published = await publishedAmong(parts, there);
  const state = await freeSlot(parts, from, signal);
  if (published === null) {
    if (from !== null)
      throw new PipelineError('SOURCE_PUBLICATION_MISSING', `the publication ${publication} is gone, and the lane has a checkpoint`);
    // Before the slot: the log is decoded with the catalog of its time.
    if (state !== null) {
      throw new PipelineError(
        'CONFIG_INVALID',
        `slot: ${slot} is older than the publication ${publication}, which is not there yet: drop the slot, or make the publication before it`,
      );
    }
    await createPublication(catalog, publication, tables);
  }
  const missing = published === null ? [] : tables.filter((table) => !published.has(table) && !gone.has(table));
  if (from === null) {
    if (missing.length > 0) await addToPublication(catalog, publication, missing);
    const lsn = state?.confirmed ?? (await parts.waiting(() => createSlot(catalog, slot, options.failover ?? true)));
    const mark = snapshot.mode === 'initial' ? snapshotMark(1, await begun(parts, tables)) : null;
    return {
      place: { lsn, readOn: null, snapshot: mark, within: null, ...log, last: null },
      from: lsn,
      expected: null,
      mark: null,
      added: [],
      isNewSlot: state === null,
      there,
      isWaitedFor: false,
      statusMsMax,
    };
  }
  const begin = beginning(from, state?.confirmed ?? '');
  const mark = joining(parts, { wanted: tables, known: from.snapshot, published, gone, there });
  // A place inside a transaction must stay one: what joins waits until the lane is out of it.
  if (from.within !== null)
    return {
      place: from,
      ...begin,
      mark: null,
      added: [],
      isNewSlot: false,
      there,
      isWaitedFor: mark !== null || missing.length > 0,
      statusMsMax,
    };
  return { place: from, ...begin, mark, added: missing, isNewSlot: false, there, isWaitedFor: false, statusMsMax };
}

/** The tables of the publication, with those that it has and does not send while they are unlogged; null where there is none. */
async function publishedAmong({ catalog, options }: PrepareParts, there: readonly CatalogTable[]): Promise<ReadonlySet<string> | null> {
  const published = await readPublication(catalog, options.publication);
  if (published === null) return null;
  return new Set([...published, ...there.flatMap(({ table, isLogged, entry }) => (isLogged || entry === null ? [] : [table]))]);
}

/** Answers those that are gone, and that the lane goes on without, and those that are there. */
async function lookAtTables(
  { catalog, tables, isFound, options, onLeftOut, onEstimate }: PrepareParts,
  from: LanePlace | null,
): Promise<{ readonly gone: ReadonlySet<string>; readonly there: readonly CatalogTable[]; readonly neverHad: ReadonlySet<string> }> {
  const gone = new Set<string>();
  const neverHad = new Set<string>();
  const there: CatalogTable[] = [];
  for await (const [table, found] of readTables(catalog, tables, options.publication)) {
    // A lane that has a table goes on without it, and without its key: the log may still have its rows, and other tables have theirs.
    const known = from === null ? null : progressOf(from.snapshot, table);
    const progress = from !== null && options.snapshot.mode === 'never' ? (known ?? undefined) : known;
    const isFollowed = progress === undefined || progress?.done === true || progress?.isAway === true;
    if (found === null && progress === null && isFound(table)) {
      neverHad.add(table); // Dropped since it was found.
      continue;
    }
    if (found === null && progress === null) throw new PipelineError('SOURCE_TABLE_MISSING', `reading ${table}: there is no such table`);
    if (found === null) {
      if (!isFollowed) onLeftOut(table);
      gone.add(table);
      continue;
    }
    if (found.keyNames.length === 0 && !isFollowed)
      throw new PipelineError('SOURCE_NO_KEY', `reading ${table}: ${await keylessText(catalog, found)}`);
    if (!found.isLogged && progress === null)
      throw new PipelineError('CONFIG_INVALID', `tables: the changes of ${table} are not in the log, for it is unlogged`);
    onEstimate(table, found.rowsEstimated);
    there.push(found);
  }
  return { gone, there, neverHad };
}

/** Asks for several at once: with thousands of tables, each question by itself would wait for as many answers to come back. */
async function* readTables(
  catalog: PgConnection,
  tables: readonly string[],
  publication: string,
): AsyncGenerator<readonly [table: string, found: CatalogTable | null]> {
  for (let from = 0; from < tables.length; from += TABLES_AT_ONCE) {
    const some = tables.slice(from, from + TABLES_AT_ONCE);
    const found = await Promise.all(some.map((table) => readTable(catalog, table, publication, 'not asked')));
    for (const [i, table] of some.entries()) yield [table, found[i] ?? null];
  }
}

/** What the lane is to have, and what there is. */
interface Present {
  readonly wanted: readonly string[];
  readonly known: SnapshotMark | null;
  readonly published: ReadonlySet<string> | null;
  readonly gone: ReadonlySet<string>;
  readonly there: readonly CatalogTable[];
}

/**
 * What the lane is to say from now on, where its tables are others than those of its place: null where they are the same. A table that it does
 * not have is copied, whether or not it is published: what became of it meanwhile was not read. So is one that has left the publication, which is
 * another table of that name; one that is gone is still known. Where a table is gone and the publication has one that nobody named, that is likely to be it;
 * where tables are found by patterns, it may be any of them.
 */
function joining({ options, onMissed }: PrepareParts, { wanted, known, published, gone, there }: Present): SnapshotMark | null {
  const copies = options.snapshot.mode === 'initial';
  if (known === null && !copies) return null;
  const hasOthers = (options.patterns ?? null) !== null || [...(published ?? [])].some((table) => !wanted.includes(table));
  const entries = new Map(there.map(({ table, entry }) => [table, entry]));
  const tables = wanted.flatMap((table): TableProgress[] => {
    const progress = progressOf(known, table);
    const isAnother = copies && published?.has(table) === false && !gone.has(table);
    if (progress !== null && progress !== undefined && gone.has(table))
      return [progress.isAway === true || hasOthers ? awayTable(progress) : { ...progress, done: true }];
    const entry = entries.get(table) ?? progress?.entry;
    const again = anew({ ...notBegun(table), ...(entry === undefined ? {} : { entry }) });
    if (progress?.isAway === true) return [{ ...again, isAgain: true }];
    const wasPublished = progress?.done === true || progress?.entry !== undefined;
    if (progress !== null && progress !== undefined && isAnother && wasPublished) {
      onMissed(table);
      return [notBegun(table)];
    }
    // It was out of the publication for a while, or without all that it has there now.
    if (copies && progress?.entry !== undefined && progress.entry !== entry) {
      onMissed(table);
      return [{ ...again, isAgain: progress.done || progress.isAgain === true }];
    }
    if (progress !== null && progress !== undefined) return [progress];
    // Also where the place does not say: that of a lane that was to follow changes alone. As long as it is, it goes on saying nothing.
    return copies ? [notBegun(table)] : [];
  });
  const isSame =
    known !== null &&
    known.rereads.every(({ table }) => wanted.includes(table)) &&
    tables.length === tableCount(known) &&
    tables.every((one) => isAsFar(progressOf(known, one.table), one));
  const rereads = known?.rereads.filter(({ table }) => wanted.includes(table)) ?? [];
  return isSame ? null : snapshotMark((known?.seq ?? 0) + 1, tables, rereads);
}

const isAsFar = (before: TableProgress | null | undefined, { done, isAway, entry }: TableProgress): boolean =>
  before?.done === done && (before.isAway === true) === (isAway === true) && before.entry === entry;

/** Once they are published. */
async function begun({ catalog, options }: PrepareParts, tables: readonly string[]): Promise<readonly TableProgress[]> {
  const entries = await entriesOf(catalog, options.publication, tables);
  return tables.map((table) => {
    const entry = entries.get(table);
    return entry === undefined ? notBegun(table) : { ...notBegun(table), entry };
  });
}

/** Nobody looks at what a place does not say: from here on it does. Null where there is nothing new. */
export async function learnEntries({ catalog, options, tables }: PrepareParts, mark: SnapshotMark | null): Promise<SnapshotMark | null> {
  if (mark === null || tables.every((table) => hasEntry(mark, table))) return null;
  return withEntries(mark, tables, await entriesOf(catalog, options.publication, tables));
}

const hasEntry = (mark: SnapshotMark, table: string): boolean => progressOf(mark, table)?.entry !== undefined;

/** Why it cannot be the source. */
export const STANDBY = 'the server is a standby, where no marks can be written into the log';

/** Answers where its log ends, and how often the server has to hear of us: while we read nothing, its own questions do not reach us. */
async function checkServer(
  catalog: PgConnection,
  { name, snapshot }: PostgresSourceOptions,
): Promise<{ readonly statusMsMax: number; readonly end: string }> {
  const found = await catalog.query(
    `select pg_catalog.current_setting('wal_level'), pg_catalog.current_setting('server_version_num')::int4 >= 140000,
            case when not pg_catalog.pg_is_in_recovery() then pg_catalog.pg_current_wal_insert_lsn() end,
            (select setting from pg_catalog.pg_settings where name = 'wal_sender_timeout'),
            pg_catalog.quote_ident(current_user), pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage'), pg_catalog.pg_is_in_recovery()`,
  );
  const [walLevel, recent, lsn, timeoutMs, role, countsSessions, isStandby] = found.rows[0] ?? [];
  if (recent !== 't') throw new PipelineError('CONFIG_INVALID', `sources.${name}.url: the server is older than PostgreSQL 14`);
  // It may be about to take over; until then nothing of its log is read, so that a lane is only ever on the timeline of a primary.
  if (isStandby === 't') throw new PipelineError('SOURCE_UNREACHABLE', `reading ${name}: ${STANDBY}`);
  if (countsSessions !== 't' && snapshot.busySessions != null) {
    const path = `sources.${name}.snapshot.busySessions`;
    throw new PipelineError(
      'CONFIG_INVALID',
      `${path}: the sessions of others cannot be counted; grant pg_read_all_stats to ${role ?? ''}`,
    );
  }
  if (walLevel !== 'logical') throw new PipelineError('SOURCE_WAL_LEVEL', `reading ${name}: wal_level is ${walLevel ?? 'unknown'}`);
  const statusMsMax = Number(timeoutMs ?? 0) === 0 ? Number.POSITIVE_INFINITY : Number(timeoutMs) / 4;
  return { statusMsMax, end: fromLsn(lsn ?? '') };
}

/** Before the slot is read. */
export async function matchFailover(
  catalog: PgConnection,
  replication: PgConnection,
  { slot, failover = true }: PostgresSourceOptions,
): Promise<void> {
  const state = await readSlot(catalog, slot);
  if (state !== null && state.failover !== null && state.failover !== failover) await alterFailover(replication, slot, failover);
}
