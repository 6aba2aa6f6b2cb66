/**
 * Topics as a target. What a topic cannot hold is in a PostgreSQL database beside it, the store: where each lane stands and who may write it, the quarantine,
 * windows, and the shapes of datasets. A batch is one transaction of the store's: it decides what passes and moves the lane, then the records are sent, and
 * once every replica in sync has them it commits. So a lane never passes an event that is not in its topic, and a crash in between has the batch sent again: at
 * least once; exactly once where both are committed together (exactly-once.ts).
 */
import type { Batch } from '../../core/batch.ts';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { Applied, Lease, Quarantined, Refused } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Dataset, DatasetName, LaneId, Position } from '../../core/event.ts';
import { type Compression, type KafkaClient, kafkaClient, type KafkaConnection } from '../../wire/kafka/client.ts';
import type { SchemaRegistryWriter } from '../../wire/kafka/registry.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { endWhereItHangs } from '../../wire/postgres/hanging.ts';
import { FrontendWriter } from '../../wire/postgres/messages.ts';
import { CarefulRoad } from '../postgres/careful.ts';
import { targetFailure } from '../postgres/failures.ts';
import { holdModes } from '../postgres/hold-mode.ts';
import { type HoldMode, prepareHold } from '../postgres/items.ts';
import { KnownHeld } from '../postgres/known-held.ts';
import { acquireLane, type LaneState, prepareAdvance } from '../postgres/lanes.ts';
import { Layouts } from '../postgres/layout.ts';
import { acceptAll, type Evolve, SchemaHeld, Schemas, type TypesHere } from '../postgres/schemas.ts';
import { datasetsIn } from '../postgres/common-road.ts';
import { type PostgresSink, postgresSink, SESSION } from '../postgres/sink.ts';
import { prepareWindows } from '../postgres/windows.ts';
import { ExactlyOnce, mayPrepare } from './exactly-once.ts';
import type { RecordFormat } from './record-format.ts';
import { Sender } from './sender.ts';
import { passesAny, type TopicOptions, TopicRows } from './topic-rows.ts';
import type { TopicWatch } from './topic-watch.ts';

export interface KafkaSinkOptions {
  /** The target's name in the config. */
  readonly name: string;
  readonly connection: KafkaConnection;
  readonly topics: TopicOptions;
  readonly format: RecordFormat;
  /** Where the format keeps its schemas; null where it has none. */
  readonly registry?: SchemaRegistryWriter | null;
  readonly compression: Compression;
  readonly exactlyOnce: boolean;
  readonly store: { readonly url: string; readonly silenceMs?: number };
  readonly hold: (dataset: DatasetName) => HoldMode | null;
  readonly pipeline: string;
  /** Of this service. */
  readonly version: string;
  readonly evolve?: Evolve;
  readonly parkedRowsMax?: number;
  readonly tellsQuarantine?: boolean;
  readonly onOther?: (topic: string, settings: Readonly<Record<string, string>>) => void;
  /** Told of what is written; left out, nobody is. */
  readonly watch?: TopicWatch | null;
  readonly clock?: Clock;
}

/** No table of this schema is ever looked for: shapes are followed as if there were one. */
const NO_SCHEMA = 'tidegate_topics';
const PARKED_ROWS_MAX = 100_000;
const SILENCE_MS = 30_000;

/** Connects to the store and makes what Tidegate keeps there; the brokers are asked when there is something for them. Throws TARGET_* errors. */
export async function kafkaSink(options: KafkaSinkOptions): Promise<PostgresSink> {
  const { name, store, hold, pipeline, evolve = acceptAll, parkedRowsMax = PARKED_ROWS_MAX, tellsQuarantine = false, clock } = options;
  const kept = await postgresSink({
    name: `${name} (its store)`,
    ...store,
    schema: NO_SCHEMA,
    tables: { create: false, widen: true },
    hold,
    scores: [],
    pipeline,
    evolve,
    parkedRowsMax,
    tellsQuarantine,
    ...(clock === undefined ? {} : { clock }),
  });
  return new Topics(options, kept);
}

class Topics implements PostgresSink {
  readonly name: string;
  readonly #options: KafkaSinkOptions;
  /** What people and the replay source ask, by a connection beside the lanes'. */
  readonly #kept: PostgresSink;
  readonly #client: KafkaClient;
  #lane: LaneSession | null = null;

  constructor(options: KafkaSinkOptions, kept: PostgresSink) {
    this.name = options.name;
    this.#options = options;
    this.#kept = kept;
    this.#client = kafkaClient(options.connection, 'TARGET');
  }

  get quarantine(): PostgresSink['quarantine'] {
    return this.#kept.quarantine;
  }

  get schemas(): PostgresSink['schemas'] {
    return this.#kept.schemas;
  }

  get lots(): PostgresSink['lots'] {
    return this.#kept.lots;
  }

  get asked(): PostgresSink['asked'] {
    return this.#kept.asked;
  }

  get waits(): PostgresSink['waits'] {
    return this.#kept.waits;
  }

  get windows(): PostgresSink['windows'] {
    return this.#kept.windows;
  }

  get slo(): PostgresSink['slo'] {
    return this.#kept.slo;
  }

  lanes(): Promise<readonly LaneState[]> {
    return this.#kept.lanes();
  }

  moveLane(lane: LaneId, from: Position, to: Position): Promise<boolean> {
    return this.#kept.moveLane(lane, from, to);
  }

  forgetLoss(lane: LaneId, to: Position): Promise<void> {
    return this.#kept.forgetLoss(lane, to);
  }

  async acquire(lane: LaneId): Promise<Lease> {
    try {
      const session = (this.#lane ??= await this.#openLane());
      const take = (): Promise<Lease> => acquireLane(session.sql, lane);
      const lease = await (session.exactly?.acquire(lane, take) ?? take());
      await session.heldKeys.begin(session.sql);
      await session.schemas.load();
      return lease;
    } catch (error) {
      throw targetFailure(error, `taking over the lane ${lane} in the store of ${this.name}`);
    }
  }

  prepare(batch: Batch): void {
    this.#lane?.rows.encodeAhead(batch);
  }

  async apply(batch: Batch, held: readonly Quarantined[], lease: Lease, signal: AbortSignal): Promise<Applied | Refused> {
    const session = this.#lane;
    if (session === null) throw new PipelineError('BUG', `${this.name} is to write a lane it never acquired`);
    signal.throwIfAborted();
    const cut = (): void => session.sql.destroy();
    signal.addEventListener('abort', cut, { once: true });
    try {
      return await this.#apply(session, batch, held, lease);
    } catch (error) {
      const failure = targetFailure(error, `writing to the store of ${this.name}`);
      if (failure instanceof PipelineError && !signal.aborted) this.#options.watch?.failed(failure.code);
      throw failure;
    } finally {
      signal.removeEventListener('abort', cut);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const session = this.#lane;
    await Promise.all([
      this.#kept[Symbol.asyncDispose](),
      session?.sql.close(),
      session?.sender[Symbol.asyncDispose](),
      session?.exactly?.[Symbol.asyncDispose](),
      this.#client[Symbol.asyncDispose](),
    ]);
  }

  async #apply(session: LaneSession, batch: Batch, held: readonly Quarantined[], lease: Lease): Promise<Applied | Refused> {
    const { schemas, heldKeys, careful, sql } = session;
    if (heldKeys.isDue) await heldKeys.read(sql);
    const [parked, ...more] = await schemas.parkedIn(batch, nativeTypes);
    if (parked !== undefined) return { kind: 'refused', findings: [parked, ...more] };
    try {
      await this.#followShapes(session, batch);
    } catch (error) {
      if (!(error instanceof SchemaHeld)) throw error;
      const [one, ...others] = schemas.findingsOf(batch, error);
      if (one === undefined) throw new PipelineError('BUG', `a batch of ${batch.lane} is held for a schema that none of it has`);
      return { kind: 'refused', findings: [one, ...others] };
    }
    heldKeys.remember(held);
    const outcome = await careful.apply(batch, held, lease);
    if (outcome.kind === 'applied') heldKeys.applied(held);
    return outcome;
  }

  /** Throws SchemaHeld where a dataset has a shape that has to wait for a person. */
  async #followShapes({ schemas, placed }: LaneSession, batch: Batch): Promise<void> {
    const passing = new Set(batch.spans().flatMap(({ dataset, from, to }) => (passesAny(batch, from, to) ? [dataset] : [])));
    for (const dataset of datasetsIn(batch).keys()) {
      if (placed.has(dataset)) continue;
      // Also where no event of a new shape passes: that may be for its sake.
      if (!passing.has(dataset) && (schemas.isParked(dataset.name) || !schemas.hasChanged(dataset))) continue;
      await schemas.place(dataset, null, NO_SCHEMA, nativeTypes);
      await schemas.opened(dataset, null);
      placed.add(dataset);
    }
  }

  async #openLane(): Promise<LaneSession> {
    const { name, store, pipeline, hold, evolve = acceptAll, parkedRowsMax = PARKED_ROWS_MAX, clock = systemClock, format } = this.#options;
    const { url, silenceMs = SILENCE_MS } = store;
    const sql = await PgConnection.connect({ url, applicationName: `tidegate ${pipeline} lane`, settings: LANE_SESSION });
    endWhereItHangs(sql, { url, silenceMs, clock });
    const writer = new FrontendWriter();
    prepareAdvance(writer);
    prepareWindows(writer);
    prepareHold(writer);
    await sql.exchange(writer.sync().bytes());
    // A lane that went back in a crash of the store would send again what is in the topics.
    await sql.script("select set_config('synchronous_commit', 'local', false) where current_setting('synchronous_commit') = 'off'");
    const { topics, version, onOther = () => {}, tellsQuarantine = false, compression, watch = null } = this.#options;
    const rows = new TopicRows({ client: this.#client, pipeline, version, topics, format, clock, onOther });
    const schemas = new Schemas({
      sql,
      pipeline,
      layouts: new Layouts(NO_SCHEMA),
      evolve,
      widen: true,
      hasTables: false,
      whyRefused: (dataset) => rows.whyRefused(dataset),
      parkedRowsMax,
    });
    const sender = new Sender(this.#client, compression, clock, watch);
    const exactly = this.#options.exactlyOnce
      ? new ExactlyOnce({ name, client: this.#client, compression, pipeline, sql, clock, watch })
      : null;
    if (exactly !== null && !(await mayPrepare(sql)))
      throw new PipelineError('CONFIG_INVALID', `exactlyOnce of ${name} needs max_prepared_transactions above 0 at its store`);
    if (exactly !== null) await sql.script("set tidegate.prepares = 'on'");
    const heldKeys = new KnownHeld();
    const careful = new CarefulRoad({
      sql,
      rows,
      commit: async ({ lane }) => {
        const records = rows.take();
        if (exactly !== null) return exactly.commit(lane, records);
        await sender.send(records);
        await sql.script('commit');
      },
      deferConstraints: false,
      markStatement: null,
      heldKeys,
      keyed: null,
      pipeline,
      modeOf: holdModes(hold, () => null),
      keepsRecords: tellsQuarantine,
    });
    const session: LaneSession = { sql, rows, schemas, heldKeys, careful, sender, exactly, placed: new WeakSet() };
    schemas.onChange = () => {
      session.placed = new WeakSet();
    };
    return session;
  }
}

/** Its transaction stands still while the brokers work; they are given up before this. */
const LANE_SESSION: Readonly<Record<string, string>> = { ...SESSION, idle_in_transaction_session_timeout: '60s' };

interface LaneSession {
  readonly sql: PgConnection;
  readonly rows: TopicRows;
  readonly schemas: Schemas;
  readonly heldKeys: KnownHeld;
  readonly careful: CarefulRoad;
  readonly sender: Sender;
  /** Null where at least once will do. */
  readonly exactly: ExactlyOnce | null;
  /** Shapes that were followed already. */
  placed: WeakSet<Dataset>;
}

/** Topics have no tables: nothing is made of the types. */
const nativeTypes: TypesHere = ({ columns }) => Promise.resolve(columns.map(({ native }) => native));
