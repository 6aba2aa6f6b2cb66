/**
 * Follows the shapes of a pipeline's datasets at the target: a change that the contract accepts is made to the table, between two batches and in one
 * transaction with the note that it was; a change that has to wait for a person parks its dataset, and only that. What is parked is refused to the
 * lane, which holds it in quarantine in order, as it does with an event whose key waits.
 */
import { isDeepStrictEqual } from 'node:util';
import { type Batch, type Finding, SCHEMA_HELD_RULE, type ScoreColumns, Verdict } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import { type ChangeEvent, type Dataset, type DatasetName, versionOf } from '../../core/event.ts';
import { isRemade, type JudgedChange, type Shape, shapeChanges } from '../../core/shape.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { withCode } from '../../wire/postgres/errors.ts';
import type { PgRelation } from '../../wire/postgres/row.ts';
import {
  columnsText,
  type Followed,
  keepShape,
  type KeptArrival,
  placesAtTarget,
  planOf,
  readAllFollowed,
  wantedOf,
} from './kept-shapes.ts';
import { aliveSql, type Layouts } from './layout.ts';
import { isParkedItem, SCHEMA_KEY_RULE } from './parked-items.ts';
import {
  type Arrival,
  arrivalOf,
  asTaken,
  type ChangePlan,
  isAsWanted,
  isOfTheChange,
  placedAsIs,
  type PlacedShape,
  placesOf,
  runPlan,
  statementsLeft,
} from './schema-plan.ts';
import { type LackingType, lackingText } from './target-types.ts';

/** What the contract says of a dataset's changes: since `before`, or, where there is nothing to compare with yet, of the table as it is. */
export type Evolve = (dataset: Dataset, before: Shape | null) => readonly JudgedChange[];

export const acceptAll: Evolve = (dataset, before) =>
  before === null
    ? []
    : shapeChanges(before, dataset).map((change) => ({
        change,
        kind: change.kind,
        policy: 'accept',
        message: `${change.column ?? 'the key'} changed`,
      }));

export interface SchemasOptions {
  readonly sql: PgConnection;
  readonly pipeline: string;
  readonly layouts: Layouts;
  /** What is written beside the columns of a dataset for its scores; none where that is left out. */
  readonly scores?: ReadonlyMap<DatasetName, readonly ScoreColumns[]>;
  readonly evolve: Evolve;
  /** Whether tables may be changed without asking. */
  readonly widen: boolean;
  /** False for a target that has none: its shapes are followed, and nothing is changed. True if left out. */
  readonly hasTables?: boolean;
  /** Runs a transaction of several statements on `sql`, with nothing of anybody's in between; left out, nobody else writes there. */
  readonly alone?: <T>(transaction: () => Promise<T>) => Promise<T>;
  /** Why what follows the target will not take a dataset in its new shape; null where it will. Left out, nobody is asked. */
  readonly whyRefused?: (dataset: Dataset) => Promise<string | null>;
  /** How many events of one parked dataset are held before the lane stops. */
  readonly parkedRowsMax: number;
}

/** A change that waits for a person, or was rejected by one. */
interface OpenChange {
  readonly id: string;
  readonly dataset: DatasetName;
  /** From this event on (`versionOf`). */
  readonly version: string;
  readonly rule: string;
  readonly message: string;
  /** Null for a table that is new, until its first event. */
  readonly after: PlacedShape | null;
  readonly held: number;
}

/** The types that the columns of a dataset have at the target, as SQL. */
export type TypesHere = (dataset: Dataset, relation: PgRelation | null) => Promise<readonly string[]>;

/** Events that the target will not take as long as their dataset is as it is. Caught by the sink, and answered as a refusal. */
export class SchemaHeld extends Error {
  override readonly name = 'SchemaHeld';
  readonly rule: string;
  readonly reason: string;
  readonly holds: (event: ChangeEvent) => boolean;

  constructor(rule: string, reason: string, holds: (event: ChangeEvent) => boolean) {
    super(reason);
    this.rule = rule;
    this.reason = reason;
    this.holds = holds;
  }
}

export class Schemas {
  readonly #options: SchemasOptions;
  #followed = new Map<DatasetName, Followed>();
  /** Datasets whose table another session has changed since this one began: by a config that may be newer than ours. */
  readonly #changedElsewhere = new Set<DatasetName>();
  #hasLoaded = false;
  #parked = new Map<string, OpenChange[]>();
  #isLoaded = false;
  /** The one that is being applied. */
  #batch: Batch | null = null;
  /** Told when a table was changed: whatever is known of it is old. */
  onChange: (dataset: DatasetName) => void = () => {};

  constructor(options: SchemasOptions) {
    this.#options = options;
  }

  forget(): void {
    this.#isLoaded = false;
  }

  isFollowed(dataset: DatasetName): boolean {
    return this.#followed.has(dataset);
  }

  isParked(dataset: DatasetName): boolean {
    return this.#parked.has(dataset);
  }

  /** Whether the table is new and may be made as it is, before there is an event of it. */
  async isWelcome(dataset: Dataset): Promise<boolean> {
    if (this.#followed.has(dataset.name) || dataset.keyless === true) return false;
    await this.#loadOpen();
    if (this.#parked.has(dataset.name)) return false;
    return this.#options.evolve(dataset, null).every(({ policy }) => policy !== 'hold');
  }

  /**
   * Reads what is kept of the pipeline's datasets. What is open comes first: a change that is approved in between is then waited for once more, and
   * what was held for it freed (`noteParked`). The other way round it would be met again, and parked as another.
   */
  async load(): Promise<void> {
    const { sql, pipeline } = this.#options;
    await this.#loadOpen();
    for (const [dataset, followed] of await readAllFollowed(sql, pipeline)) {
      const known = this.#followed.get(dataset);
      if (isDeepStrictEqual(known, followed)) continue;
      this.#follow(dataset, followed);
      if (this.#hasLoaded) this.#changedElsewhere.add(dataset);
      if (known !== undefined) this.onChange(dataset);
    }
    this.#isLoaded = this.#hasLoaded = true;
  }

  #follow(dataset: DatasetName, followed: Followed): void {
    this.#followed.set(dataset, followed);
    this.#options.layouts.follow(dataset, placesAtTarget(followed));
  }

  /** A change without a rule holds nothing: its table is not read. */
  async #loadOpen(): Promise<void> {
    const { sql, pipeline } = this.#options;
    const { rows } = await sql.query(
      `select id, dataset, version, rule, message, after, held from tidegate.schema_changes
       where pipeline = $1 and status in ('held', 'rejected') and rule <> '' order by version, id`,
      [pipeline],
    );
    this.#parked = new Map();
    for (const [id, dataset, version, rule, message, after, held] of rows) {
      const change: OpenChange = {
        id: id ?? '',
        dataset: (dataset ?? '') as DatasetName,
        version: version ?? '',
        rule: rule ?? '',
        message: message ?? '',
        after: after === null || after === undefined ? null : (JSON.parse(after) as PlacedShape), // Written by us.
        held: Number(held),
      };
      const known = this.#parked.get(change.dataset);
      if (known === undefined) this.#parked.set(change.dataset, [change]);
      else known.push(change);
    }
  }

  /**
   * The findings of the batch's events that are parked; empty where none is. People approve meanwhile, and other sessions park: what is decided on is
   * read anew wherever something is parked, and for released events always.
   */
  async parkedIn(batch: Batch, typesHere: TypesHere): Promise<Finding[]> {
    this.#batch = batch;
    const isReplay = batch.origin === 'replay';
    if (!this.#isLoaded || isReplay || (this.#parked.size > 0 && batch.spans().some(({ dataset }) => this.#parked.has(dataset.name))))
      await this.load();
    if (this.#parked.size === 0) return [];
    const findings: Finding[] = [];
    const newest = new Set<Dataset>();
    const marked = parkedEvents(batch);
    for (const [index, event] of batch.events.entries()) {
      const open = this.#parked.get(event.dataset.name);
      if (open === undefined || event.op === 'truncate' || event.dataset.undecoded === true || marked.has(index)) continue;
      const version = versionOf(event);
      const first = open.find((change) => change.version <= version);
      if (first === undefined) continue;
      if (!isReplay && !newest.has(event.dataset)) {
        newest.add(event.dataset);
        await this.#followParked(open, event, typesHere);
      }
      const last = open.findLast((change) => change.version <= version) ?? first;
      findings.push(heldFinding(index, last.rule, last.message));
    }
    this.#checkRoom(batch, findings);
    return findings;
  }

  /**
   * The findings of the batch's events for a change that was just met. They concern those that a rule has dropped or held as well: it may only have
   * done so because it cannot be read any more, and will be asked again.
   */
  findingsOf(batch: Batch, held: SchemaHeld): Finding[] {
    const marked = parkedEvents(batch);
    const findings = batch.events.flatMap((event, index) =>
      !marked.has(index) && held.holds(event) ? [heldFinding(index, held.rule, held.reason)] : [],
    );
    this.#checkRoom(batch, findings);
    return findings;
  }

  /** Whether the table is followed, and has changed since. Says so of the batch at hand. */
  hasChanged(dataset: Dataset): boolean {
    const followed = this.#followed.get(dataset.name);
    return followed !== undefined && this.#firstOf(dataset) >= followed.since && this.#isNew(followed, dataset);
  }

  /** Whether the target has to do something for a dataset of which it follows an earlier shape, or has done so by another layout or other policies. */
  #isNew({ shape }: Followed, dataset: Dataset): boolean {
    if (shapeChanges(shape, dataset).length > 0) return true;
    if (this.#changedElsewhere.has(dataset.name)) return false;
    if (!isAsWanted(shape, dataset, this.#options.layouts.wanted(dataset))) return true;
    const taken = asTaken(shape, dataset);
    return taken !== shape && this.#options.evolve(dataset, taken).some(({ policy }) => policy !== 'ignore');
  }

  /** Invariant 7, on the target's disk: whoever leaves a dataset parked is told before it holds too much. */
  #checkRoom(batch: Batch, findings: readonly Finding[]): void {
    const { parkedRowsMax } = this.#options;
    for (const [dataset, open] of this.#parked) {
      const more = findings.filter(({ index }) => batch.datasetOf(index)?.name === dataset).length;
      const held = open.reduce((sum, change) => sum + change.held, 0);
      if (more > 0 && batch.origin !== 'replay' && held + more > parkedRowsMax)
        throw new PipelineError('SCHEMA_PARKED_FULL', `holding ${dataset}: ${held} events wait for the schema change ${open[0]?.id ?? ''}`);
    }
  }

  /** A dataset that waits may change again: each change is one of its own, and they are made in their order. */
  async #followParked(open: OpenChange[], event: ChangeEvent, typesHere: TypesHere): Promise<void> {
    const last = open.at(-1);
    const version = versionOf(event);
    if (last === undefined || version <= last.version) return;
    const { dataset } = event;
    if (last.after !== null && shapeChanges(last.after, dataset).length === 0) return;
    const relation = relationOf(event);
    const arrival = arrivalOf(dataset, relation, await typesHere(dataset, relation));
    if (last.after === null) {
      const shape = placedAsIs(dataset, this.#options.layouts.wanted(dataset), arrival.storage);
      await this.#options.sql.query(
        'update tidegate.schema_changes set after = $2::jsonb, arrival = $3::jsonb where id = $1 and after is null',
        [last.id, JSON.stringify(shape), JSON.stringify(this.#met(arrival, []))],
      );
      return this.#readParked(open, dataset);
    }
    const met = this.#met(arrival, this.#options.evolve(dataset, asTaken(last.after, dataset)));
    const plan = planOf(last.after, met, wantedOf(this.#options, dataset));
    await this.#park(met, version, plan, last.after, last.rule, plan.problem);
    await this.#readParked(open, dataset);
  }

  async #readParked(open: OpenChange[], { name }: Dataset): Promise<void> {
    await this.load();
    open.splice(0, open.length, ...(this.#parked.get(name) ?? []));
  }

  /**
   * Where the columns of a dataset are at the target. A shape that is new changes the table first, outside of any transaction of the caller's; throws
   * SchemaHeld where that has to wait.
   */
  async place(dataset: Dataset, relation: PgRelation | null, qualified: string, typesHere: TypesHere): Promise<readonly (string | null)[]> {
    if (!this.#isLoaded) await this.load();
    const version = this.#firstOf(dataset);
    const followed = this.#followed.get(dataset.name);
    if (followed === undefined) {
      await this.#first(dataset, relation, version, typesHere);
      return this.#options.layouts.wanted(dataset).names;
    }
    const { shape, since } = followed;
    if (version < since || !this.#isNew(followed, dataset)) {
      if (!sameKey(shape, dataset))
        throw new SchemaHeld(SCHEMA_KEY_RULE, 'the table has another key since', (event) => event.dataset === dataset);
      if (version >= since && shape.table !== dataset.table) await this.#isAnother(followed, dataset, relation, version);
      return placesOf(shape, dataset);
    }
    return this.#change(followed, arrivalOf(dataset, relation, await typesHere(dataset, relation)), version, qualified);
  }

  /** The table was made anew, as it was: from now on its columns go by their numbers there. */
  async #isAnother({ shape, since }: Followed, dataset: Dataset, relation: PgRelation | null, version: string): Promise<void> {
    if (dataset.table === undefined || shapeChanges(shape, dataset).length > 0) return;
    const { sql, pipeline } = this.#options;
    const columns = shape.columns.map((column) => ({
      ...column,
      id: dataset.columns.find(({ name }) => name === column.name)?.id ?? null,
    }));
    const dropped = isRemade(shape, dataset) ? shape.dropped.map((column) => ({ ...column, id: null })) : shape.dropped;
    const storage = isRemade(shape, dataset) ? (relation?.storage ?? null) : shape.storage;
    const after: PlacedShape = { ...shape, columns, dropped, storage, table: dataset.table };
    const from = isRemade(shape, dataset) ? version : since;
    await keepShape(sql, pipeline, dataset.name, from, after);
    this.#follow(dataset.name, { shape: after, since: from });
  }

  /** The version of the first event of this shape in the batch at hand, whatever becomes of it: released ones need not be in order. */
  #firstOf(dataset: Dataset): string {
    const run = this.#batch?.run ?? null;
    if (run !== null) return run.dataset === dataset ? versionOf(run.look(0)) : '';
    let first: string | null = null;
    for (const event of this.#batch?.events ?? []) {
      if (event.dataset !== dataset) continue;
      const version = versionOf(event);
      if (first === null || version < first) first = version;
    }
    return first ?? '';
  }

  /** Once a table is open, its shape is what later ones are compared with. */
  async opened(dataset: Dataset, relation: PgRelation | null): Promise<void> {
    if (this.#followed.has(dataset.name)) return;
    const since = this.#firstOf(dataset);
    const shape = placedAsIs(dataset, this.#options.layouts.wanted(dataset), relation?.storage ?? null);
    const { sql, pipeline } = this.#options;
    await sql.query('insert into tidegate.schemas (pipeline, dataset, since, shape) values ($1, $2, $3, $4) on conflict do nothing', [
      pipeline,
      dataset.name,
      since,
      JSON.stringify(shape),
    ]);
    this.#follow(dataset.name, { shape, since });
  }

  /**
   * To be called before the target's table, or a column of it, is made: where it was there before, somebody has dropped it, or restored a state without it, and the lane's checkpoint is
   * beyond the rows that it had. All of them are read again, unless that is asked for already: a table that the config moves has said so itself.
   */
  async makeAgain({ name }: Dataset, what: string): Promise<void> {
    const followed = this.#followed.get(name);
    if (followed === undefined) return;
    const { sql, pipeline } = this.#options;
    await sql.query(
      `insert into tidegate.schema_changes (pipeline, dataset, version, kinds, message, actions, before, after, keyless, rule, status, reread, settled_at)
       select $1, $2, $3, '[]', $4, '[]', $5::jsonb, $5::jsonb, false, '', 'accepted', 'wanted', clock_timestamp()
        where not exists (select from tidegate.schema_changes
                           where pipeline = $1 and dataset = $2 and reread = 'wanted' and reread_columns is null and status in ('approved', 'accepted'))`,
      [pipeline, name, followed.since, `${what} was gone: it is made again, and all rows are read`, JSON.stringify(followed.shape)],
    );
  }

  /** A table that is not as its contract has it from the first event on, or that somebody has to agree with. */
  async #first(dataset: Dataset, relation: PgRelation | null, version: string, typesHere: TypesHere): Promise<void> {
    await this.#loadOpen();
    const [open] = this.#parked.get(dataset.name) ?? [];
    if (open !== undefined && open.version <= version) throw await this.#held(dataset);
    const judged = this.#options.evolve(dataset, null);
    const waits = judged.find(({ policy }) => policy === 'hold');
    if (waits === undefined && dataset.keyless !== true) return;
    const met = this.#met(arrivalOf(dataset, relation, await typesHere(dataset, relation)), judged);
    await this.#park(met, version, planOf(null, met, wantedOf(this.#options, dataset)), null, SCHEMA_HELD_RULE, null);
    throw await this.#held(dataset);
  }

  /** The target lacks types for columns that are written, and nothing stands for them: the dataset waits until somebody has made them. Answers what holds it. */
  async lacks(
    dataset: Dataset,
    relation: PgRelation | null,
    lacking: readonly (LackingType | null)[],
    typesHere: TypesHere,
  ): Promise<SchemaHeld> {
    const arrival = { ...arrivalOf(dataset, relation, await typesHere(dataset, relation)), lacking };
    const [first] = lacking.filter((type) => type !== null);
    const before = this.#followed.get(dataset.name)?.shape ?? null;
    const met = this.#met(arrival, []);
    const plan = planOf(before, met, wantedOf(this.#options, dataset));
    await this.#park(met, this.#firstOf(dataset), plan, before, SCHEMA_HELD_RULE, first === undefined ? null : lackingText(first));
    return this.#held(dataset);
  }

  async #change({ shape, since }: Followed, arrival: Arrival, first: string, qualified: string): Promise<readonly (string | null)[]> {
    const isReplay = this.#batch?.origin === 'replay';
    const { sql, widen, layouts } = this.#options;
    const { dataset } = arrival;
    const judged = this.#options.evolve(dataset, asTaken(shape, dataset));
    const met = this.#met(arrival, judged);
    const plan = planOf(shape, met, wantedOf(this.#options, dataset));
    // What is otherwise in the config alone concerns events from before as well.
    const isOfTheSource = shapeChanges(shape, dataset).length > 0;
    const version = isOfTheSource ? first : since;
    if (!isOfTheSource && plan.problem !== null)
      throw new PipelineError('CONFIG_INVALID', `the layout of ${dataset.name}: ${plan.problem}`);
    await this.#checkMarks(shape, dataset, qualified);
    const halting = judged.find(({ policy }) => policy === 'halt');
    if (halting !== undefined && !isReplay)
      throw new PipelineError('SCHEMA_DRIFT', `following ${dataset.name}: ${halting.message} (schema.${halting.kind})`);
    const park = async (rule: string, problem: string | null): Promise<SchemaHeld> => {
      await this.#park(met, version, plan, shape, rule, problem);
      return this.#held(dataset);
    };
    const single = judged.find(({ policy }) => policy === 'quarantine');
    const waits =
      dataset.keyless === true ||
      judged.some(({ policy, change }) => policy === 'hold' || policy === 'halt' || (policy === 'ignore' && change.kind === 'key'));
    if (waits || single !== undefined)
      throw await park(waits || single === undefined ? SCHEMA_HELD_RULE : `schema.${single.kind}`, plan.problem);
    if (plan.problem !== null) throw await park(SCHEMA_HELD_RULE, plan.problem);
    if (layouts.wanted(dataset).isHistory && plan.actions.some((action) => action.do === 'key'))
      throw await park(SCHEMA_HELD_RULE, 'the table keeps versions of rows by their key');
    if (!widen && (await statementsLeft(sql, qualified, plan.actions)).statements.length > 0)
      throw await park(SCHEMA_HELD_RULE, 'tables.widen is off');
    const { alone = now, whyRefused } = this.#options;
    const refused = (await whyRefused?.(dataset)) ?? null;
    if (refused !== null) throw await park(SCHEMA_HELD_RULE, refused);
    let after: PlacedShape;
    try {
      after = await alone(() => this.#make(met, version, plan, shape, qualified));
    } catch (error) {
      if (!(error instanceof PgError) || !isOfTheChange(error)) throw error;
      throw await park(SCHEMA_HELD_RULE, withCode(error));
    }
    this.#follow(dataset.name, { shape: after, since: version });
    this.onChange(dataset.name);
    return placesOf(after, dataset);
  }

  /** Rows that were marked as deleted by a former layout would be taken for ones that are there. */
  async #checkMarks({ at }: PlacedShape, dataset: Dataset, qualified: string): Promise<void> {
    const layout = this.#options.layouts.wanted(dataset);
    const alive = at?.alive ?? null;
    if (alive === null || alive === aliveSql(layout, '') || layout.schema !== at?.schema || layout.table !== at.table) return;
    const gone = `from ${qualified} where not (${alive})`;
    const { rows } = await this.#options.sql.query(`select 1 ${gone} limit 1`);
    if (rows.length > 0)
      throw new PipelineError(
        'CONFIG_INVALID',
        `the layout of ${dataset.name} does not mark deleted rows as it did, and the table has such: have it as it was, or run \`delete ${gone}\``,
      );
  }

  /** The table, its shape and the note of it, all at once. */
  async #make(met: KeptArrival, version: string, plan: ChangePlan, before: PlacedShape, qualified: string): Promise<PlacedShape> {
    const { sql, pipeline } = this.#options;
    const { dataset } = met.arrival;
    await sql.script('begin');
    try {
      // Another session may have made the very change.
      await sql.query('select 1 from tidegate.schemas where pipeline = $1 and dataset = $2 for update', [pipeline, dataset.name]);
      const { after, needs } = await runPlan(sql, qualified, plan);
      await keepShape(sql, pipeline, dataset.name, version, after);
      const reread = needs.length > 0 ? 'wanted' : null;
      await this.#note(met, version, { ...plan, after, needs }, before, { rule: '', status: 'accepted', problem: null, reread });
      await sql.script('commit');
      return after;
    } catch (error) {
      if (sql.open) await sql.script('rollback');
      throw error;
    }
  }

  #met(arrival: Arrival, judged: readonly JudgedChange[]): KeptArrival {
    return { arrival, judged, hasTables: this.#options.hasTables !== false };
  }

  async #park(
    met: KeptArrival,
    version: string,
    plan: ChangePlan,
    before: PlacedShape | null,
    rule: string,
    problem: string | null,
  ): Promise<void> {
    await this.#note(met, version, plan, before, {
      rule,
      status: 'held',
      problem,
      reread: plan.needs.length > 0 ? 'after' : null,
    });
  }

  async #note(
    met: KeptArrival,
    version: string,
    plan: ChangePlan,
    before: PlacedShape | null,
    { rule, status, problem, reread }: { rule: string; status: 'held' | 'accepted'; problem: string | null; reread: string | null },
  ): Promise<void> {
    const { judged } = met;
    const { dataset } = met.arrival;
    await this.#options.sql.query(
      `insert into tidegate.schema_changes (pipeline, dataset, version, kinds, message, actions, before, after, keyless, rule, status, problem, reread, reread_columns, arrival, settled_at)
       values ($1, $2, $3, $4::jsonb, $5, $6::jsonb, $7::jsonb, $8::jsonb, $9, $10, $11, $12, $13, $14::jsonb, $15::jsonb, case when $11 = 'accepted' then clock_timestamp() end)`,
      [
        this.#options.pipeline,
        dataset.name,
        version,
        JSON.stringify(judged.map(({ kind, policy, message, change }) => ({ kind, policy, column: change.column, message }))),
        messageOf(met, problem),
        JSON.stringify(plan.actions),
        before === null ? null : JSON.stringify(before),
        JSON.stringify(plan.after),
        dataset.keyless === true,
        rule,
        status,
        problem,
        reread,
        columnsText(plan.needs, plan.after),
        status === 'held' ? JSON.stringify(met) : null,
      ],
    );
  }

  /** What holds the events of a dataset that is parked. */
  async #held({ name }: Dataset): Promise<SchemaHeld> {
    await this.load();
    const open = this.#parked.get(name)?.[0];
    if (open === undefined) throw new PipelineError('TARGET_BUSY', `parking ${name}: somebody has approved its change already`);
    this.onChange(name);
    return new SchemaHeld(
      open.rule,
      open.message,
      (event) => event.dataset.name === name && event.op !== 'truncate' && versionOf(event) >= open.version,
    );
  }
}

const now = <T>(transaction: () => Promise<T>): Promise<T> => transaction();

function messageOf({ arrival: { dataset, lacking }, judged }: KeptArrival, problem: string | null): string {
  if (lacking !== undefined && problem !== null) return problem;
  if (dataset.keyless === true) return 'the source has no key that tells its rows apart';
  const told = judged.filter(({ policy }) => policy !== 'ignore');
  const messages = (told.length === 0 ? judged : told).map(({ message }) => message);
  return messages.length === 0 ? 'its layout at the target is another' : messages.join('; ');
}

const sameKey = (shape: PlacedShape, dataset: Dataset): boolean => {
  const places = placesOf(shape, dataset);
  const own = dataset.key.map((i) => places[i] ?? '').toSorted();
  const theirs = shape.key.map((name) => shape.columns.find((column) => column.name === name)?.place ?? '').toSorted();
  return dataset.keyless !== true && own.join('\0') === theirs.join('\0');
};

export function relationOf({ after, before }: ChangeEvent): PgRelation | null {
  const row = after ?? before;
  return row !== null && 'relation' in row ? (row.relation as PgRelation) : null; // A PgRow is the only one that has it.
}

function parkedEvents({ findings }: Batch): ReadonlySet<number> {
  return new Set(findings.flatMap((finding) => (isParkedItem([finding]) || finding.rule === SCHEMA_KEY_RULE ? [finding.index] : [])));
}

function heldFinding(index: number, rule: string, message: string): Finding {
  return { index, stage: 'sync', rule, column: null, verdict: Verdict.Quarantine, severity: 'warning', message, notify: false };
}
