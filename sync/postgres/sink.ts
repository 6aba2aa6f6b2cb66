/**
 * PostgreSQL as a target. A batch is one transaction: its rows, its held events, its counts and its checkpoint.
 *
 * The common road needs no answer before it commits: everything goes in one write, ended by one Sync, as one implicit transaction. So a batch is
 * sent while the one before it is still at work, and the target never waits for us; should that one fail, `tidegate.advance` fails this one too, for
 * the lane does not stand where it goes on from. Where the outcome has to be known first (keys with something held, updates that bring only some cells,
 * released events, rows that the target refuses) the careful road takes an explicit transaction, and nothing is sent ahead; see careful.ts.
 */
import { type Batch, type FoundTable, HOLD_KEY_RULE, type ScoreColumns, Verdict } from '../../core/batch.ts';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { Applied, Lease, Quarantine, Quarantined, Refused, ReleaseLog, Sink } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import type { ChangeEvent, Dataset, DatasetName, LaneId, Position } from '../../core/event.ts';
import type { KeyedRule } from '../../core/keyed.ts';
import type { SloStore } from '../../core/slo.ts';
import type { LotStore } from '../../core/lots.ts';
import type { WindowStore } from '../../core/windows.ts';
import { PgConnection, type PgResult } from '../../wire/postgres/connection.ts';
import { endWhereItHangs } from '../../wire/postgres/hanging.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import type { PgRelation } from '../../wire/postgres/row.ts';
import { WRITTEN_PREFIX } from '../../wire/postgres/written.ts';
import { CarefulRoad } from './careful.ts';
import { isOutOfTurn, isRefusal, targetFailure } from './failures.ts';
import { growEnums } from './enums.ts';
import { fold, type Folded } from './fold.ts';
import { refOf, TURN_SQL } from './held-keys.ts';
import { holdModes } from './hold-mode.ts';
import { type HoldMode, HOLD_SQL, holdParameters } from './items.ts';
import { Keyed } from './keyed/keyed.ts';
import { KnownHeld } from './known-held.ts';
import { acquireLane, emitAdvance, forgetLoss, type LaneState, moveLane, prepareAdvance, readLanes } from './lanes.ts';
import { type DatasetsOptions, Layouts } from './layout.ts';
import { PostgresLots } from './lots.ts';
import { migrate } from './migrations.ts';
import { PostgresQuarantine } from './quarantine.ts';
import { setTelling } from './quarantine-outbox.ts';
import { type RowVersionOptions, RowVersions } from './row-versions.ts';
import { SchemaDesk } from './schema-desk.ts';
import { acceptAll, type Evolve, isParkedItem, relationOf, SchemaHeld, Schemas } from './schemas.ts';
import { Statements } from './statements.ts';
import { TableRows } from './table-rows.ts';
import { Tables } from './tables.ts';
import { Turns } from './turns.ts';
import { PostgresSlo } from './slo.ts';
import { emitWindows, PostgresWindows, prepareWindows } from './windows.ts';
import { keepsScore, type Plan, Writes } from './writes.ts';

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
  /** Whether values that the source's enums have got are added to the target's; left out, they are. */
  readonly growsEnums?: (dataset: DatasetName) => boolean;
  /** How many events of a dataset are held while a change of its table waits for a person; then the lane stops. */
  readonly parkedRowsMax?: number;
  /** So many keys with something held are known one by one; 100,000 if left out. */
  readonly heldKeysExact?: number;
  /** For tables that more than one lane may write, and sources that send again: versions are kept of all rows. Null and left out: only of those with something held. */
  readonly rowVersions?: RowVersionOptions | null;
  /** Whether what becomes of held events is kept to be told (`postgresOutbox`), and the records that they were made of beside them. */
  readonly tellsQuarantine?: boolean;
  readonly clock?: Clock;
}

export interface PostgresSink extends Sink {
  readonly quarantine: Quarantine & ReleaseLog & Pick<PostgresQuarantine, 'known' | 'takeIn' | 'ids'>;
  readonly schemas: SchemaDesk;
  readonly windows: WindowStore;
  readonly slo: SloStore;
  readonly lots: LotStore;
  lanes(): Promise<readonly LaneState[]>;
  /** See lanes.ts. */
  moveLane(lane: LaneId, from: Position, to: Position): Promise<boolean>;
  forgetLoss(lane: LaneId, to: Position): Promise<void>;
}

/** A buffer that a large row made larger than this is not kept for the batches to come. */
const WRITER_BYTES_KEPT = 64 << 20;
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
/** PostgreSQL 17 and newer have it, and older ones refuse a login that names it. */
const NO_TRANSACTION_TIMEOUT = "select set_config(name, '0', false) from pg_catalog.pg_settings where name = 'transaction_timeout'";
const SILENCE_MS = 30_000;
const PARKED_ROWS_MAX = 100_000;
const HOLD = 'tg_hold';
const TURN = 'tg_turn';
const DEFER = 'tg_defer';
const WRITTEN = 'tg_written';
/** Only a log that is decoded has room for messages, and somebody may have taken the right to write them away. */
const IS_MARKED_SQL = `select current_setting('wal_level') = 'logical' and bool_and(has_function_privilege(oid, 'execute'))
  from pg_catalog.pg_proc where proname = 'pg_logical_emit_message'`;

/** Connects and makes what Tidegate keeps in the target. Throws TARGET_* errors. */
export async function postgresSink(options: PostgresSinkOptions): Promise<PostgresSink> {
  try {
    const desk = await PgConnection.connect({
      url: options.url,
      applicationName: `tidegate ${options.pipeline}`,
      settings: SESSION,
    });
    endWhereItHangs(desk, hangOptions(options));
    try {
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
  readonly #options: PostgresSinkOptions;
  readonly #layouts: Layouts;
  readonly #desk: PgConnection;
  readonly #turns = new Turns();
  readonly #modeOf: (event: ChangeEvent) => HoldMode;
  /** Batches folded, encoded and perhaps sent ahead of their turn. */
  readonly #ready = new WeakMap<Batch, Ready>();
  readonly #writers: FrontendWriter[] = [];
  #lane: LaneSession | null = null;

  constructor(options: PostgresSinkOptions, desk: PgConnection) {
    this.name = options.name;
    this.#options = options;
    this.#layouts = new Layouts(options.schema, options.datasets);
    this.#desk = desk;
    this.#modeOf = holdModes(options.hold, (dataset) => this.#layouts.of(dataset).skipped);
    const { pipeline, clock = systemClock } = options;
    this.quarantine = new PostgresQuarantine({
      pipeline,
      connection: desk,
      turns: this.#turns,
      modeOf: this.#modeOf,
      keepsRecords: this.#keepsRecords,
      clock,
    });
    this.schemas = new SchemaDesk({ pipeline, layouts: this.#layouts, connection: desk, turns: this.#turns });
    this.windows = new PostgresWindows({ pipeline, connection: desk, turns: this.#turns, clock });
    this.slo = new PostgresSlo({ pipeline, connection: desk, turns: this.#turns });
    this.lots = new PostgresLots({ pipeline, connection: desk, turns: this.#turns });
  }

  async acquire(lane: LaneId): Promise<Lease> {
    try {
      const session = (this.#lane ??= await this.#openLane());
      const lease = await acquireLane(session.sql, lane);
      await session.heldKeys.begin(session.sql);
      await session.schemas.load();
      return lease;
    } catch (error) {
      throw targetFailure(error, `taking over the lane ${lane} at ${this.name}`);
    }
  }

  async apply(batch: Batch, held: readonly Quarantined[], lease: Lease, signal: AbortSignal): Promise<Applied | Refused> {
    const session = this.#lane;
    if (session === null) throw new PipelineError('BUG', `${this.name} is to write a lane it never acquired`);
    signal.throwIfAborted();
    const cut = (): void => session.sql.destroy();
    signal.addEventListener('abort', cut, { once: true });
    try {
      if (session.heldKeys.isDue) await session.heldKeys.read(session.sql);
      await session.rowVersions?.prune();
      const applied = await this.#apply(session, batch, held, lease);
      if (applied.kind === 'applied') session.heldKeys.applied(held);
      if (session.unsent === batch && applied.kind === 'applied') session.unsent = null;
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
    const { tables, schemas } = session;
    const [first, ...more] = await schemas.parkedIn(batch);
    if (first !== undefined) return { kind: 'refused', findings: [first, ...more] };
    await this.#openFound(session, batch);
    try {
      // Also where no event of a new shape passes: that may be for its sake.
      for (const [dataset, event] of datasetsIn(batch)) {
        if (tables.known(dataset) !== undefined || schemas.isParked(dataset.name) || !schemas.hasChanged(dataset)) continue;
        await tables.open(dataset, relationOf(event));
      }
      for (let grown = false; ; grown = true) {
        const outcome = (await this.#commonRoad(session, batch, held, lease)) ?? (await this.#carefulRoad(session, batch, held, lease));
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
    for (const one of found) if (schemas.isWelcome(one.dataset)) await tables.open(one.dataset, asRelation(one));
  }

  async lanes(): Promise<readonly LaneState[]> {
    try {
      return await this.#turns.take(() => readLanes(this.#desk));
    } catch (error) {
      throw targetFailure(error, `reading the lanes at ${this.name}`);
    }
  }

  async moveLane(lane: LaneId, from: Position, to: Position): Promise<boolean> {
    try {
      return await this.#turns.take(() => moveLane(this.#desk, lane, from, to));
    } catch (error) {
      throw targetFailure(error, `moving the lane ${lane} at ${this.name}`);
    }
  }

  async forgetLoss(lane: LaneId, to: Position): Promise<void> {
    try {
      await this.#turns.take(() => forgetLoss(this.#desk, lane, to));
    } catch (error) {
      throw targetFailure(error, `writing to the lane ${lane} at ${this.name}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#desk.close(), this.#lane?.sql.close()]);
  }

  prepare(batch: Batch, held: readonly Quarantined[], lease: Lease): void {
    const session = this.#lane;
    if (session === null) return;
    session.newest = batch;
    const follows = session.unsent === null;
    session.unsent = batch;
    if (batch.origin === 'replay' || session.rowVersions !== null) return;
    session.heldKeys.remember(held);
    const planned = this.#planRun(session, batch) ?? this.#planKnown(session, batch);
    if (planned === null) return;
    const ready = this.#encode(session, batch, planned);
    this.#ready.set(batch, ready);
    // In vain behind a batch that was not sent itself; and never into the middle of the careful road's transaction.
    if (!follows || session.isCareful || this.#isTouched(session, batch, held)) return;
    const { tables, schemas } = session;
    for (const dataset of datasetsIn(batch).keys()) if (schemas.isParked(dataset.name) || tables.known(dataset) === undefined) return;
    this.#send(session, batch, held, lease, ready, false);
  }

  async #plan(session: LaneSession, batch: Batch): Promise<Planned | null> {
    const counts = foldOf(batch, this.#layouts);
    const plan = await session.writes.plan(counts, batch.scores, 'common');
    return plan.isUncertain ? null : { counts, plan };
  }

  /** The same without asking the target; null, too, where it has to be asked. */
  #planKnown(session: LaneSession, batch: Batch): Planned | null {
    const counts = foldOf(batch, this.#layouts);
    const plan = session.writes.planKnown(counts, batch.scores, 'common');
    return plan === null || plan.isUncertain ? null : { counts, plan };
  }

  /** Rows that the source made anew and that are no objects yet. */
  #planRun(session: LaneSession, batch: Batch): Planned | null {
    const plan = batch.run === null ? null : session.writes.planRun(batch.run, batch);
    if (plan === null) return null;
    let upserts = 0;
    for (let index = 0; index < batch.size; index++) if (batch.passes(index)) upserts++;
    return { plan, counts: { upserts, deletes: 0, truncates: 0, folded: 0 } };
  }

  #encode(session: LaneSession, batch: Batch, planned: Planned): Ready {
    const writer = this.#writers.pop() ?? new FrontendWriter(1 << 18);
    session.writes.emit(planned.plan, batch, writer.reset());
    return { ...planned, writer: writer.sync(), findings: batch.findings.length, generation: session.generation, sent: null };
  }

  /** One write, one Sync: the batch commits by itself, or fails as a whole. */
  #send(session: LaneSession, batch: Batch, held: readonly Quarantined[], lease: Lease, ready: Ready, inTurn: boolean): void {
    const { writer } = ready;
    const { upserts, deletes, truncates, folded } = ready.counts;
    const counts = {
      upserts,
      deletes,
      truncates,
      stale: 0,
      folded,
      held: held.length,
      dropped: countOf(batch.verdicts, Verdict.Drop),
    };
    const head = new FrontendWriter(1 << 10);
    if (session.isMarked) head.bind('', WRITTEN, [], Format.Text).execute();
    emitAdvance(head, batch, lease, counts);
    if (batch.windows !== null) emitWindows(head, batch.windows, this.#options.pipeline, batch.lane);
    if (this.#options.deferConstraints === true) head.bind('', DEFER, [], Format.Text).execute();
    if (held.length > 0) {
      head.bind('', TURN, [this.#options.pipeline], Format.Text).execute();
      head.bind('', HOLD, holdParameters(held, this.#options.pipeline, this.#modeOf, this.#keepsRecords), HOLD_FORMATS).execute();
    }
    const answer = session.sql.exchange([head.bytes(), writer.bytes()]).finally(() => {
      if (writer.capacity <= WRITER_BYTES_KEPT) this.#writers.push(writer);
    });
    answer.catch(() => {}); // Read by `apply`; a run that ends before that has no use for it.
    if (session.unsent === batch) session.unsent = null;
    ready.sent = { answer, applied: { kind: 'applied', checkpoint: batch.checkpoint, ...counts }, inTurn };
  }

  /** Answers null, with the target as it was, where the careful road has to be taken. */
  async #commonRoad(session: LaneSession, batch: Batch, held: readonly Quarantined[], lease: Lease): Promise<Applied | null> {
    let ready = this.#ready.get(batch);
    this.#ready.delete(batch);
    session.heldKeys.remember(held);
    for (;;) {
      if (ready?.sent) {
        const outcome = await answered(ready.sent);
        if (outcome === 'applied') return ready.sent.applied;
        // What is prepared from here on would be sent in vain until this batch is in.
        session.unsent = session.newest;
        if (outcome !== 'out of turn') {
          if (outcome !== 'key is there' || !ready.plan.appends) return null;
          session.writes.avoidAppends(ready.plan);
        } else if (ready.sent.inTurn) {
          throw new PipelineError('BUG', `the lane ${batch.lane} does not stand at ${batch.after ?? 'its beginning'}`);
        }
        ready = undefined;
      }
      if (batch.origin === 'replay' || this.#isTouched(session, batch, held)) return null;
      if (ready?.findings !== batch.findings.length || ready.generation !== session.generation) {
        const planned = this.#planRun(session, batch) ?? (await this.#plan(session, batch));
        if (planned === null) return null;
        ready = this.#encode(session, batch, planned);
      }
      this.#send(session, batch, held, lease, ready, true);
    }
  }

  async #carefulRoad(session: LaneSession, batch: Batch, held: readonly Quarantined[], lease: Lease): Promise<Applied | Refused> {
    session.isCareful = true;
    try {
      return await session.careful.apply(batch, held, lease);
    } finally {
      session.isCareful = false;
    }
  }

  /** Whether the target has to be asked first: by a rule, because rows have versions, or because an event that passes concerns a key that has, or may have, something held. */
  #isTouched({ heldKeys, rowVersions, keyed }: LaneSession, batch: Batch, held: readonly Quarantined[]): boolean {
    if (rowVersions !== null || keyed.concerns(batch)) return true;
    if (heldKeys.size === 0) return false;
    // Items that wait for their key may be free by now, and who only waits is told so in the transaction that holds it.
    if (held.some(({ findings }) => findings.some(({ rule }) => rule === HOLD_KEY_RULE) || isParkedItem(findings))) return true;
    for (let index = 0; index < batch.size; index++) {
      const event = batch.passes(index) ? (batch.run?.look(index) ?? batch.event(index)) : undefined;
      if (event === undefined) continue;
      const { name } = event.dataset;
      if (event.op === 'truncate' || heldKeys.has(refOf(name, event.key))) return true;
      if (event.movedFrom !== null && heldKeys.has(refOf(name, event.movedFrom))) return true;
    }
    return false;
  }

  async #openLane(): Promise<LaneSession> {
    const { url, pipeline, tables: table, scores, synchronousCommit, replicationRole, deferConstraints = false } = this.#options;
    const layouts = this.#layouts;
    const sql = await PgConnection.connect({
      url,
      applicationName: `tidegate ${pipeline} lane`,
      settings: {
        ...SESSION,
        // The planner knows nothing of staged rows: without these it may read a whole table for a few of them.
        enable_hashjoin: 'off',
        enable_mergejoin: 'off',
        ...(synchronousCommit === undefined || synchronousCommit === null ? {} : { synchronous_commit: synchronousCommit }),
        ...(replicationRole === 'replica' ? { session_replication_role: 'replica' } : {}),
      },
    });
    endWhereItHangs(sql, hangOptions(this.#options));
    await sql.query(NO_TRANSACTION_TIMEOUT);
    const byDataset = new Map<DatasetName, ScoreColumns[]>();
    for (const { dataset, write } of scores) byDataset.set(dataset, [...(byDataset.get(dataset) ?? []), write]);
    const { evolve = acceptAll, parkedRowsMax = PARKED_ROWS_MAX, heldKeysExact } = this.#options;
    const schemas = new Schemas({ sql, pipeline, layouts, evolve, widen: table.widen, parkedRowsMax });
    const tables = new Tables(sql, { layouts, create: table.create, widen: table.widen, scores: byDataset, schemas });
    const statements = new Statements(sql, tables);
    const writes = new Writes(tables, statements);
    const rows = new TableRows(sql, writes, layouts);
    const keyed = new Keyed({
      sql,
      tables,
      rulesOf: this.#options.keyed ?? noRules,
      makesIndices: table.create,
      waits: (event) => this.#modeOf(event) === 'key' || rows.isPartial(event),
    });
    const heldKeys = new KnownHeld(heldKeysExact === undefined ? {} : { exact: heldKeysExact, growth: 1 });
    const rowVersions = this.#rowVersionsOf(sql);
    const writer = new FrontendWriter();
    prepareAdvance(writer);
    prepareWindows(writer);
    writer.parse(TURN, TURN_SQL).parse(HOLD, HOLD_SQL).parse(DEFER, 'select tidegate.defer_constraints()');
    const isMarked = (await sql.query(IS_MARKED_SQL)).rows[0]?.[0] === 't';
    if (isMarked) writer.parse(WRITTEN, `select pg_catalog.pg_logical_emit_message(true, '${WRITTEN_PREFIX}', '')`);
    await sql.exchange(writer.sync().bytes());
    const careful = new CarefulRoad({
      sql,
      rows,
      deferConstraints,
      markStatement: isMarked ? WRITTEN : null,
      heldKeys,
      rowVersions,
      keyed,
      pipeline,
      holdStatement: HOLD,
      holdFormats: HOLD_FORMATS,
      modeOf: this.#modeOf,
      keepsRecords: this.#keepsRecords,
    });
    const session: LaneSession = {
      sql,
      tables,
      writes,
      careful,
      schemas,
      heldKeys,
      rowVersions,
      keyed,
      isMarked,
      newest: null,
      unsent: null,
      isCareful: false,
      generation: 0,
      forget: () => {
        tables.forget();
        statements.forget();
        schemas.forget();
        session.generation++;
      },
    };
    schemas.onChange = (dataset) => {
      tables.forgetTable(dataset);
      session.generation++;
    };
    return session;
  }

  #rowVersionsOf(sql: PgConnection): RowVersions | null {
    const { rowVersions = null, clock = systemClock } = this.#options;
    const layouts = this.#layouts;
    return rowVersions === null ? null : new RowVersions({ ...rowVersions, sql, layouts, clock });
  }

  get #keepsRecords(): boolean {
    return this.#options.tellsQuarantine ?? false;
  }

  readonly #mayGrow = (dataset: DatasetName): boolean => this.#options.tables.widen && (this.#options.growsEnums?.(dataset) ?? true);
}

interface LaneSession {
  readonly sql: PgConnection;
  readonly tables: Tables;
  readonly writes: Writes;
  readonly careful: CarefulRoad;
  readonly schemas: Schemas;
  /** Only the lane that writes a key adds to what is held of it, so what its one writer knows misses nothing. */
  readonly heldKeys: KnownHeld;
  /** With them every batch takes the careful road. */
  readonly rowVersions: RowVersions | null;
  readonly keyed: Keyed;
  /** Each transaction says in the log that it is ours. */
  readonly isMarked: boolean;
  /** The newest batch that was prepared, and the newest of those that were not sent ahead; null once that one is in. */
  newest: Batch | null;
  unsent: Batch | null;
  /** The careful road's transaction is under way on this connection. */
  isCareful: boolean;
  /** Changes whenever what was got ready ahead is worth nothing any more. */
  generation: number;
  readonly forget: () => void;
}

const noRules = (): readonly KeyedRule[] => [];

/** What is written of a batch, and what that comes to. */
interface Planned {
  readonly plan: Plan;
  readonly counts: Pick<Folded, 'upserts' | 'deletes' | 'truncates' | 'folded'>;
}

interface Ready extends Planned {
  readonly writer: FrontendWriter;
  /** Of the batch when it was encoded: a batch that was marked since has to be encoded anew. */
  readonly findings: number;
  readonly generation: number;
  sent: Sent | null;
}

interface Sent {
  readonly answer: Promise<readonly PgResult[]>;
  /** What the batch comes to if the target takes it. */
  readonly applied: Applied;
  /** Every batch before it was in when it was sent. */
  readonly inTurn: boolean;
}

async function answered({ answer }: Sent): Promise<'applied' | 'refused' | 'key is there' | 'out of turn'> {
  try {
    await answer;
    return 'applied';
  } catch (error) {
    if (isOutOfTurn(error)) return 'out of turn';
    if (!isRefusal(error)) throw error;
    return error.code === '23505' ? 'key is there' : 'refused';
  }
}

/** The datasets of a batch, each with one of its events; truncates know of no shape. */
export function datasetsIn(batch: Batch): ReadonlyMap<Dataset, ChangeEvent> {
  const { run } = batch;
  if (run !== null) return new Map([[run.dataset, run.event(0)]]);
  const found = new Map<Dataset, ChangeEvent>();
  let last: Dataset | null = null;
  for (const event of batch.events) {
    if (event.dataset === last || event.op === 'truncate' || event.dataset.undecoded === true) continue;
    last = event.dataset;
    if (!found.has(last)) found.set(last, event);
  }
  return found;
}

/** What a PostgreSQL source found is a PgRelation. */
const asRelation = (found: FoundTable): PgRelation | null => (found.types.every((type) => 'oid' in type) ? (found as PgRelation) : null);

const foldOf = (batch: Batch, layouts: Layouts): Folded =>
  fold(batch.events, { layouts, takes: (i) => batch.passes(i), keepsRow: (i) => keepsRow(batch, i) });

/** Arrays in binary, and the pipeline's name, the thirteenth of them, as text. */
export const HOLD_FORMATS: readonly Format[] = Array.from({ length: 17 }, (_, at) => (at === 12 ? Format.Text : Format.Binary));

function keepsRow(batch: Batch, index: number): boolean {
  const event = batch.events[index];
  return event !== undefined && batch.scores.length > 0 && keepsScore(event, index, batch.scores);
}

function countOf(verdicts: Uint8Array, verdict: number): number {
  let count = 0;
  for (const one of verdicts) if (one === verdict) count++;
  return count;
}
