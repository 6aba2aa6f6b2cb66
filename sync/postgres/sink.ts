/**
 * PostgreSQL as a target. A batch is one transaction: its rows, its held events, its counts and its checkpoint.
 *
 * The common road needs no answer before it commits: a batch is sent while those before it are still at work; see common-road.ts. Where the outcome has to be
 * known first (keys with something held, updates that bring only some cells, released events, rows that the target refuses) the careful road takes an
 * explicit transaction, and nothing is sent ahead; see careful.ts.
 */
import type { Batch, FoundTable, ScoreColumns } from '../../core/batch.ts';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { Applied, Lease, Quarantine, Quarantined, Refused, ReleaseLog, Sink } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import type { ChangeEvent, Dataset, DatasetName, LaneId, Position } from '../../core/event.ts';
import type { AskedRules, DraftRules, KeyedRule, WaitStore } from '../../core/keyed.ts';
import type { LotStore } from '../../core/lots.ts';
import type { SloStore } from '../../core/slo.ts';
import type { WindowStore } from '../../core/windows.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { endWhereItHangs } from '../../wire/postgres/hanging.ts';
import type { PgRelation } from '../../wire/postgres/row.ts';
import { changesSessions, POOLED } from '../../wire/postgres/pooled.ts';
import { WriterPool } from '../../wire/postgres/writer-pool.ts';
import { CarefulRoad } from './careful.ts';
import { CommonRoad, datasetsIn, laneStatements, WRITTEN } from './common-road.ts';
import { targetFailure } from './failures.ts';
import { untilFlushed } from './flushed.ts';
import { growEnums } from './enums.ts';
import { holdModes, mayBePartial } from './hold-mode.ts';
import type { HoldMode } from './items.ts';
import { AskedDrafts } from './keyed/drafts.ts';
import { Keyed } from './keyed/keyed.ts';
import { KeyedLook } from './keyed/look.ts';
import { Parents } from './keyed/parents.ts';
import { PostgresWaits } from './keyed/waits.ts';
import { KnownHeld } from './known-held.ts';
import { acquireLane, endHangingWorkers, forgetLoss, type LaneState, moveLane, readLanes } from './lanes.ts';
import { type DatasetsOptions, Layouts } from './layout.ts';
import { PostgresLots } from './lots.ts';
import { migrate } from './migrations.ts';
import { PostgresQuarantine } from './quarantine.ts';
import { setTelling } from './quarantine-outbox.ts';
import { type RowVersionOptions, RowVersions } from './row-versions.ts';
import { SchemaDesk } from './schema-desk.ts';
import { acceptAll, type Evolve, relationOf, SchemaHeld, Schemas } from './schemas.ts';
import { PostgresSlo } from './slo.ts';
import { Statements } from './statements.ts';
import { TableRows } from './table-rows.ts';
import { type ClaimOptions, TableClaims } from './table-claims.ts';
import { Tables } from './tables.ts';
import { Turns } from './turns.ts';
import { PostgresWindows } from './windows.ts';
import { prepareWorker, Workers, WORKERS } from './workers.ts';
import { Writes } from './writes.ts';

export type { LaneState, Ledger } from './lanes.ts';
export type { DatasetOptions, DatasetsOptions } from './layout.ts';
export { probePostgresTables, probePostgresTarget } from './probe.ts';

export interface PostgresSinkOptions {
  /** The target's name in the config. */
  readonly name: string;
  readonly url: string;
  /** Where the tables are: one per dataset, under the table's own name unless its options say otherwise. */
  readonly schema: string;
  readonly datasets?: DatasetsOptions;
  readonly tables: { readonly create: boolean; readonly widen: boolean };
  /** Whether later events of a held key wait for it; null for the default: `key` where an update may leave cells out, else `event`. */
  readonly hold: (dataset: DatasetName) => HoldMode | null;
  readonly scores: readonly { readonly dataset: DatasetName; readonly write: ScoreColumns }[];
  /** Of the sessions that write; null leaves it to the server. */
  readonly synchronousCommit?: 'on' | 'off' | null;
  /** `replica`: the tables' triggers, rules and foreign keys are not for what is written here. */
  readonly replicationRole?: 'origin' | 'replica';
  /** Constraints that may be deferred are looked at when a batch commits. */
  readonly deferConstraints?: boolean;
  /** How long a session may do nothing about what it was asked before its connection is taken to hang; 30 s if left out. */
  readonly silenceMs?: number;
  readonly pipeline: string;
  /** What the datasets' contracts say of changes of their tables; left out, each is followed. */
  readonly evolve?: Evolve;
  /** The rules that need other rows: a batch of a dataset that has some takes the careful road. */
  readonly keyed?: (dataset: Dataset) => readonly KeyedRule[];
  /** Rules that judge beside those; left out where there are none. */
  readonly drafts?: DraftRules | null;
  /** Whether values that the source's enums have got are added to the target's; left out, they are. */
  readonly growsEnums?: (dataset: DatasetName) => boolean;
  /** How many events of a dataset are held while a change of its table waits for a person; then the lane stops. */
  readonly parkedRowsMax?: number;
  /** How many sessions beside the lane's own may write batches at the same time; 2 if left out, and 0 for none. See workers.ts. */
  readonly workers?: number;
  /** Batches of fewer rows are not written beside others; 256 if left out. */
  readonly besideRowsMin?: number;
  /** So many keys with something held are known one by one; 100,000 if left out. */
  readonly heldKeysExact?: number;
  /** For tables that more than one lane may write, and sources that send again: versions are kept of all rows. Null and left out: only of those with something held. */
  readonly rowVersions?: RowVersionOptions | null;
  /** How tables are kept from being written by others as well; left out, nobody is asked. */
  readonly claims?: ClaimOptions;
  /** Whether what becomes of held events is kept to be told (`postgresOutbox`), and the records that they were made of beside them. */
  readonly tellsQuarantine?: boolean;
  readonly clock?: Clock;
}

export interface PostgresSink extends Sink {
  readonly quarantine: Quarantine & ReleaseLog & Pick<PostgresQuarantine, 'known' | 'takeIn' | 'letIn' | 'inLine' | 'become' | 'ids'>;
  readonly schemas: SchemaDesk;
  readonly windows: WindowStore;
  readonly slo: SloStore;
  readonly lots: LotStore;
  readonly waits: WaitStore;
  readonly asked: AskedRules;
  lanes(): Promise<readonly LaneState[]>;
  /** See lanes.ts. */
  moveLane(lane: LaneId, from: Position, to: Position): Promise<boolean>;
  forgetLoss(lane: LaneId, to: Position): Promise<void>;
}

/**
 * Of every session at the target, whatever its role's own settings are. A transaction that stands still ends: a process that hangs in one must not keep
 * its locks for ever. One that works is not given up half way: the next attempt would take as long.
 */
export const SESSION: Readonly<Record<string, string>> = {
  idle_in_transaction_session_timeout: '10s',
  idle_session_timeout: '0',
  statement_timeout: '0',
  lock_timeout: '0',
};
const SILENCE_MS = 30_000;
const PARKED_ROWS_MAX = 100_000;
const BESIDE_ROWS_MIN = 256;
/** Only a log that is decoded has room for messages, and somebody may have taken the right to write them away. */
const LANE_SQL = `select current_setting('wal_level') = 'logical' and bool_and(has_function_privilege(oid, 'execute')), current_setting('synchronous_commit')
  from pg_catalog.pg_proc where proname = 'pg_logical_emit_message'`;

/** Connects and makes what Tidegate keeps in the target. Throws TARGET_* errors. */
export async function postgresSink(options: PostgresSinkOptions): Promise<PostgresSink> {
  try {
    const desk = await PgConnection.connect({
      url: options.url,
      applicationName: `tidegate ${options.pipeline}`,
      settings: { ...SESSION, jit: 'off' },
    });
    endWhereItHangs(desk, hangOptions(options));
    try {
      if (await changesSessions(desk, options.url))
        throw new PipelineError('CONFIG_INVALID', `the url of targets.${options.name} ${POOLED}`);
      await migrate(desk);
      await setTelling(desk, options.pipeline, options.tellsQuarantine ?? false);
      return new Target(options, desk);
    } catch (error) {
      desk.destroy();
      throw error;
    }
  } catch (error) {
    throw targetFailure(error, `opening the target ${options.name}`);
  }
}

const hangOptions = ({ url, silenceMs = SILENCE_MS, clock = systemClock }: PostgresSinkOptions) => ({ url, silenceMs, clock });

class Target implements PostgresSink {
  readonly name: string;
  readonly quarantine: PostgresQuarantine;
  readonly schemas: SchemaDesk;
  readonly windows: PostgresWindows;
  readonly slo: PostgresSlo;
  readonly lots: PostgresLots;
  readonly waits: PostgresWaits;
  readonly asked: AskedRules;
  readonly #options: PostgresSinkOptions;
  readonly #layouts: Layouts;
  readonly #turns: Turns;
  readonly #modeOf: (event: ChangeEvent) => HoldMode;
  readonly #scores = new Map<DatasetName, readonly ScoreColumns[]>();
  #lane: LaneSession | null = null;
  /** The synchronous_commit of the sessions that write, as the lane's own had it when it began: null before. */
  #commits: string | null = null;

  constructor(options: PostgresSinkOptions, desk: PgConnection) {
    this.name = options.name;
    this.#options = options;
    this.#layouts = new Layouts(options.schema, options.datasets);
    this.#turns = new Turns(desk);
    this.#modeOf = holdModes(options.hold, (dataset) => this.#layouts.of(dataset).skipped);
    const { pipeline, rowVersions = null, clock = systemClock } = options;
    for (const { dataset, write } of options.scores) this.#scores.set(dataset, [...(this.#scores.get(dataset) ?? []), write]);
    this.quarantine = new PostgresQuarantine({
      pipeline,
      turns: this.#turns,
      modeOf: this.#modeOf,
      rowOf: ({ dataset }) => ({
        mayBePartial: mayBePartial(dataset, this.#layouts.of(dataset).skipped),
        versions: rowVersions === null ? null : { ...rowVersions, table: this.#layouts.nameOf(dataset.name) },
      }),
      keepsRecords: this.#keepsRecords,
      clock,
    });
    this.schemas = new SchemaDesk({ pipeline, layouts: this.#layouts, turns: this.#turns, scores: this.#scores });
    this.windows = new PostgresWindows({ pipeline, turns: this.#turns, clock });
    this.slo = new PostgresSlo({ pipeline, turns: this.#turns });
    this.lots = new PostgresLots({ pipeline, turns: this.#turns });
    this.waits = new PostgresWaits({
      pipeline,
      turns: this.#turns,
      parents: new Parents(this.#layouts),
      histories: this.#layouts.histories(),
    });
    const rulesOf = options.keyed ?? noRules;
    this.asked = new KeyedLook({ turns: this.#turns, layouts: this.#layouts, rulesOf, waits: (event) => this.#modeOf(event) === 'key' });
  }

  async acquire(lane: LaneId): Promise<Lease> {
    try {
      const session = (this.#lane ??= await this.#openLane());
      const lease = await acquireLane(session.sql, lane);
      await endHangingWorkers(session.sql, sessionName(this.#options.pipeline, 'worker'));
      await session.heldKeys.begin(session.sql);
      await session.schemas.load();
      await session.claims?.load();
      return lease;
    } catch (error) {
      throw targetFailure(error, `taking over the lane ${lane} at ${this.name}`);
    }
  }

  async apply(batch: Batch, held: readonly Quarantined[], lease: Lease, signal: AbortSignal): Promise<Applied | Refused> {
    const session = this.#lane;
    if (session === null) throw new PipelineError('BUG', `${this.name} is to write a lane it never acquired`);
    signal.throwIfAborted();
    const cut = (): void => {
      session.sql.destroy();
      session.workers.destroy();
    };
    signal.addEventListener('abort', cut, { once: true });
    try {
      if (session.heldKeys.isDue) await session.heldKeys.read(session.sql);
      await session.rowVersions?.prune();
      const applied = await this.#apply(session, batch, held, lease);
      if (applied.kind === 'applied') {
        session.heldKeys.applied(held);
        session.common.done(batch);
      }
      return applied;
    } catch (error) {
      const failure = targetFailure(error, `writing to ${this.name}`);
      // Somebody may have mended the tables by the next run.
      if (failure instanceof PipelineError && failure.code === 'TARGET_SCHEMA') session.forget();
      throw failure;
    } finally {
      signal.removeEventListener('abort', cut);
    }
  }

  async #apply(session: LaneSession, batch: Batch, held: readonly Quarantined[], lease: Lease): Promise<Applied | Refused> {
    const { tables, schemas, claims, common } = session;
    if (claims?.has(batch) === false) await common.standAside(() => claims.take(batch));
    const [first, ...more] = await schemas.parkedIn(batch, tables.typesHere);
    if (first !== undefined) return { kind: 'refused', findings: [first, ...more] };
    await this.#openFound(session, batch);
    try {
      // Also where no event of a new shape passes: that may be for its sake.
      for (const [dataset, event] of datasetsIn(batch)) {
        if (tables.known(dataset) !== undefined || schemas.isParked(dataset.name) || !schemas.hasChanged(dataset)) continue;
        await tables.open(dataset, relationOf(event));
      }
      for (let grown = false; ; grown = true) {
        const outcome = (await common.apply(batch, held, lease)) ?? (await this.#carefulRoad(session, batch, held, lease));
        if (outcome.kind === 'applied' || grown || !(await growEnums(session.sql, batch, outcome.findings, this.#mayGrow))) return outcome;
      }
    } catch (error) {
      if (!(error instanceof SchemaHeld)) throw error;
      const [one, ...others] = schemas.findingsOf(batch, error);
      if (one === undefined) throw new PipelineError('BUG', `a batch of ${batch.lane} is held for a schema that none of it has`);
      return { kind: 'refused', findings: [one, ...others] };
    }
  }

  /** A table without rows is made at once, where nobody has to be asked first. */
  async #openFound({ tables, schemas }: LaneSession, { found }: Batch): Promise<void> {
    if (!this.#options.tables.create) return;
    for (const one of found) {
      if (!(await schemas.isWelcome(one.dataset))) continue;
      try {
        await tables.open(one.dataset, asRelation(one));
      } catch (error) {
        if (!(error instanceof SchemaHeld)) throw error; // It waits, and has no rows that could.
      }
    }
  }

  lanes(): Promise<readonly LaneState[]> {
    return this.#turns.take(`reading the lanes at ${this.name}`, readLanes);
  }

  moveLane(lane: LaneId, from: Position, to: Position): Promise<boolean> {
    return this.#turns.take(`moving the lane ${lane} at ${this.name}`, (sql) => moveLane(sql, lane, from, to));
  }

  forgetLoss(lane: LaneId, to: Position): Promise<void> {
    return this.#turns.take(`writing to the lane ${lane} at ${this.name}`, (sql) => forgetLoss(sql, lane, to));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#turns.connection.close(), this.#lane?.sql.close(), this.#lane?.workers.close()]);
  }

  prepare(batch: Batch, held: readonly Quarantined[], lease: Lease): void {
    this.#lane?.common.prepare(batch, held, lease);
  }

  #carefulRoad({ common, careful }: LaneSession, batch: Batch, held: readonly Quarantined[], lease: Lease): Promise<Applied | Refused> {
    return common.standAside(() => careful.apply(batch, held, lease));
  }

  get untilLasting(): ((signal: AbortSignal) => Promise<void>) | null {
    const { clock = systemClock } = this.#options;
    return this.#commits === 'off' ? (signal) => untilFlushed(this.#turns, clock, signal) : null;
  }

  async #openLane(): Promise<LaneSession> {
    const { pipeline, tables: table, deferConstraints = false } = this.#options;
    const layouts = this.#layouts;
    const [sql, isMarked] = await this.#openSession('lane', async (session) => {
      const { rows: known } = await session.query(LANE_SQL);
      const marks = known[0]?.[0] === 't';
      this.#commits = known[0]?.[1] ?? null;
      // From here on it is no other's to decide.
      await session.query(`select set_config('synchronous_commit', $1, false)`, [this.#commits]);
      await session.exchange(laneStatements(marks).sync().bytes());
      return marks;
    });
    const { evolve = acceptAll, parkedRowsMax = PARKED_ROWS_MAX, heldKeysExact } = this.#options;
    const schemas = new Schemas({
      sql,
      pipeline,
      layouts,
      scores: this.#scores,
      evolve,
      widen: table.widen,
      parkedRowsMax,
      alone: (transaction) => common.standAside(transaction),
    });
    const tables = new Tables(sql, { layouts, create: table.create, widen: table.widen, scores: this.#scores, schemas });
    const statements = new Statements(sql, tables);
    const writes = new Writes(tables, statements);
    const heldKeys = new KnownHeld(heldKeysExact === undefined ? {} : { exact: heldKeysExact, growth: 1 });
    const { workers: workersMax = WORKERS, besideRowsMin = BESIDE_ROWS_MIN } = this.#options;
    const workers = new Workers(workersMax, async (signal) => {
      const writer = laneStatements(isMarked);
      prepareWorker(writer);
      const [own] = await this.#openSession('worker', (session) => session.exchange(writer.sync().bytes()), signal);
      const known = new Statements(own, tables);
      return { sql: own, statements: known, writes: new Writes(tables, known) };
    });
    const writers = new WriterPool();
    const rows = new TableRows(sql, writes, layouts, writers);
    const rowVersions = this.#rowVersionsOf(sql, rows);
    const parents = new Parents(layouts);
    const waits = (event: ChangeEvent): boolean => this.#modeOf(event) === 'key' || rows.isPartial(event);
    const rulesOf = this.#options.keyed ?? noRules;
    const keyed = new Keyed({ sql, tables, parents, rulesOf, makesIndices: table.create, takesTurns: true, waits });
    const { drafts: beside = null } = this.#options;
    const drafts = beside === null ? null : new AskedDrafts({ sql, drafts: beside, tables, parents, waits });
    const [modeOf, keepsRecords] = [this.#modeOf, this.#keepsRecords];
    const shared = { sql, heldKeys, rowVersions, keyed, drafts, pipeline, deferConstraints, modeOf, keepsRecords };
    const markStatement = isMarked ? WRITTEN : null;
    const { claims: own, name: target } = this.#options;
    const claims =
      own === undefined
        ? null
        : new TableClaims({
            sql,
            session: sessionName(pipeline, 'lane'),
            pipeline,
            target,
            layouts,
            keepsVersions: rowVersions !== null,
            options: own,
          });
    const common = new CommonRoad({ ...shared, writes, layouts, tables, schemas, claims, workers, writers, isMarked, besideRowsMin });
    const careful = new CarefulRoad({ ...shared, rows, markStatement });
    const forget = (): void => {
      tables.forget();
      parents.forget();
      statements.forget();
      workers.forget();
      schemas.forget();
      common.forget();
    };
    schemas.onChange = (dataset) => {
      tables.forgetTable(dataset);
      parents.forget();
      common.forget();
    };
    return { sql, tables, common, careful, schemas, heldKeys, rowVersions, workers, claims, forget };
  }

  /** A session that writes, the lane's own or a worker's, and what was made ready there. Where that fails, or `signal` aborts meanwhile, it is ended again. */
  async #openSession<T>(
    role: 'lane' | 'worker',
    ready: (session: PgConnection) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<readonly [PgConnection, T]> {
    const { url, pipeline, synchronousCommit, replicationRole } = this.#options;
    const commits = role === 'worker' ? this.#commits : (synchronousCommit ?? null);
    const settings = {
      ...SESSION,
      // The planner knows nothing of staged rows: without these it may read a whole table for a few of them.
      enable_hashjoin: 'off',
      enable_mergejoin: 'off',
      // Rows are looked for by their keys. A plan that was kept from when a table was one page long would read all of it for each.
      enable_seqscan: 'off',
      jit: 'off',
      ...(commits === null ? {} : { synchronous_commit: commits }),
      ...(replicationRole === 'replica' ? { session_replication_role: 'replica' } : {}),
    };
    const sql = await PgConnection.connect({ url, applicationName: sessionName(pipeline, role), settings }, signal);
    endWhereItHangs(sql, hangOptions(this.#options));
    const cut = (): void => sql.destroy();
    signal?.addEventListener('abort', cut, { once: true });
    try {
      return [sql, await ready(sql)];
    } catch (error) {
      sql.destroy();
      throw error;
    } finally {
      signal?.removeEventListener('abort', cut);
    }
  }

  #rowVersionsOf(sql: PgConnection, rows: TableRows): RowVersions | null {
    const { rowVersions = null, clock = systemClock } = this.#options;
    const isPartial = (event: ChangeEvent): boolean => rows.isPartial(event);
    return rowVersions === null ? null : new RowVersions({ ...rowVersions, sql, layouts: this.#layouts, isPartial, clock });
  }

  get #keepsRecords(): boolean {
    return this.#options.tellsQuarantine ?? false;
  }

  readonly #mayGrow = (dataset: DatasetName): boolean => this.#options.tables.widen && (this.#options.growsEnums?.(dataset) ?? true);
}

const noRules = (): readonly KeyedRule[] => [];

const sessionName = (pipeline: string, role: 'lane' | 'worker'): string => `tidegate ${pipeline} ${role}`;

interface LaneSession {
  readonly sql: PgConnection;
  readonly tables: Tables;
  readonly common: CommonRoad;
  readonly careful: CarefulRoad;
  readonly schemas: Schemas;
  readonly heldKeys: KnownHeld;
  readonly rowVersions: RowVersions | null;
  readonly workers: Workers;
  /** Null where nobody asks. */
  readonly claims: TableClaims | null;
  readonly forget: () => void;
}

/** What a PostgreSQL source found is a PgRelation. */
const asRelation = (found: FoundTable): PgRelation | null => (found.types.every((type) => 'oid' in type) ? (found as PgRelation) : null);
