/**
 * Follows the shapes of a pipeline's datasets at the target: a change that the contract accepts is made to the table, between two batches and in one
 * transaction with the note that it was; a change that has to wait for a person parks its dataset, and only that. What is parked is refused to the
 * lane, which holds it in quarantine in order, as it does with an event whose key waits.
 */
import { type Batch, type Finding, isOfSchema, SCHEMA_HELD_RULE, Verdict } from '../../core/batch.ts';
import type { Quarantined } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import { type ChangeEvent, type Dataset, type DatasetName, versionOf } from '../../core/event.ts';
import { type JudgedChange, type Shape, shapeChanges } from '../../core/shape.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import type { PgRelation } from '../../wire/postgres/row.ts';
import type { Layouts } from './layout.ts';
import {
  isOfTheChange,
  placedAsIs,
  placesOf,
  type Needs,
  needsBoth,
  neededColumns,
  planChange,
  type ChangePlan,
  type PlacedShape,
  runActions,
  statementsLeft,
} from './schema-plan.ts';

/** The finding of an event that was made when the table had another key: nobody can say which row it is of. */
export const SCHEMA_KEY_RULE = 'schema.former_key';

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

interface Followed {
  readonly shape: PlacedShape;
  /** The first event of this shape (`versionOf`). */
  readonly since: string;
}

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
  #followed = new Map<string, Followed>();
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
    const { rows } = await sql.query('select dataset, since, shape from tidegate.schemas where pipeline = $1', [pipeline]);
    const before = this.#followed;
    this.#followed = new Map(
      rows.map(([dataset, since, shape]) => [dataset ?? '', { since: since ?? '', shape: JSON.parse(shape ?? '') as PlacedShape }]), // Our own.
    );
    for (const [dataset, { since }] of this.#followed)
      if ((before.get(dataset)?.since ?? since) !== since) this.onChange(dataset as DatasetName);
    this.#isLoaded = true;
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
  async parkedIn(batch: Batch): Promise<Finding[]> {
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
        await this.#followParked(open, event);
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
    return followed !== undefined && this.#firstOf(dataset) >= followed.since && shapeChanges(followed.shape, dataset).length > 0;
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
  async #followParked(open: OpenChange[], event: ChangeEvent): Promise<void> {
    const last = open.at(-1);
    const version = versionOf(event);
    if (last === undefined || version <= last.version) return;
    const relation = relationOf(event);
    const layout = this.#options.layouts.of(event.dataset);
    if (last.after === null) {
      const shape = placedAsIs(event.dataset, layout, relation);
      await this.#options.sql.query('update tidegate.schema_changes set after = $2::jsonb where id = $1 and after is null', [
        last.id,
        JSON.stringify(shape),
      ]);
      return this.#readParked(open, event.dataset);
    }
    if (shapeChanges(last.after, event.dataset).length === 0) return;
    const judged = this.#options.evolve(event.dataset, last.after);
    const typeOf = (i: number): string => event.dataset.columns[i]?.native ?? 'text';
    const plan = this.#toDo(planChange(last.after, judged, event.dataset, layout, relation, typeOf));
    await this.#park(event.dataset, version, judged, plan, last.after, last.rule, null);
    await this.#readParked(open, event.dataset);
  }

  async #readParked(open: OpenChange[], { name }: Dataset): Promise<void> {
    await this.load();
    open.splice(0, open.length, ...(this.#parked.get(name) ?? []));
  }

  /**
   * Where the columns of a dataset are at the target. A shape that is new changes the table first, outside of any transaction of the caller's; throws
   * SchemaHeld where that has to wait.
   */
  async place(
    dataset: Dataset,
    relation: PgRelation | null,
    qualified: string,
    typeOf: (index: number) => string,
  ): Promise<readonly (string | null)[]> {
    if (!this.#isLoaded) await this.load();
    const version = this.#firstOf(dataset);
    const followed = this.#followed.get(dataset.name);
    if (followed === undefined) {
      await this.#first(dataset, relation, version);
      return this.#options.layouts.of(dataset).names;
    }
    const { shape, since } = followed;
    if (version < since || shapeChanges(shape, dataset).length === 0) {
      if (!sameKey(shape, dataset))
        throw new SchemaHeld(SCHEMA_KEY_RULE, 'the table has another key since', (event) => event.dataset === dataset);
      return placesOf(shape, dataset);
    }
    return this.#change(followed, dataset, relation, version, qualified, typeOf);
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
    const version = this.#firstOf(dataset);
    const shape = placedAsIs(dataset, this.#options.layouts.of(dataset), relation);
    const { sql, pipeline } = this.#options;
    await sql.query('insert into tidegate.schemas (pipeline, dataset, since, shape) values ($1, $2, $3, $4) on conflict do nothing', [
      pipeline,
      dataset.name,
      version,
      JSON.stringify(shape),
    ]);
    this.#followed.set(dataset.name, { shape, since: version });
  }

  /** A table that is not as its contract has it from the first event on, or that somebody has to agree with. */
  async #first(dataset: Dataset, relation: PgRelation | null, version: string): Promise<void> {
    await this.#loadOpen();
    const [open] = this.#parked.get(dataset.name) ?? [];
    if (open !== undefined && open.version <= version) throw await this.#held(dataset);
    const judged = this.#options.evolve(dataset, null);
    const waits = judged.find(({ policy }) => policy === 'hold');
    if (waits === undefined && dataset.keyless !== true) return;
    const after = placedAsIs(dataset, this.#options.layouts.of(dataset), relation);
    const plan: ChangePlan = { actions: [], after, needs: [], problem: null };
    await this.#park(dataset, version, judged, plan, null, SCHEMA_HELD_RULE, null);
    throw await this.#held(dataset);
  }

  async #change(
    { shape }: Followed,
    dataset: Dataset,
    relation: PgRelation | null,
    version: string,
    qualified: string,
    typeOf: (index: number) => string,
  ): Promise<readonly (string | null)[]> {
    const isReplay = this.#batch?.origin === 'replay';
    const { sql, widen } = this.#options;
    const judged = this.#options.evolve(dataset, shape);
    const layout = this.#options.layouts.of(dataset);
    const plan = this.#toDo(planChange(shape, judged, dataset, layout, relation, typeOf));
    const halting = judged.find(({ policy }) => policy === 'halt');
    if (halting !== undefined && !isReplay)
      throw new PipelineError('SCHEMA_DRIFT', `following ${dataset.name}: ${halting.message} (schema.${halting.kind})`);
    const single = judged.find(({ policy }) => policy === 'quarantine');
    const waits =
      dataset.keyless === true ||
      judged.some(({ policy, change }) => policy === 'hold' || policy === 'halt' || (policy === 'ignore' && change.kind === 'key'));
    if (waits || single !== undefined) {
      const rule = waits || single === undefined ? SCHEMA_HELD_RULE : `schema.${single.kind}`;
      await this.#park(dataset, version, judged, plan, shape, rule, null);
      throw await this.#held(dataset);
    }
    if (plan.problem !== null) {
      await this.#park(dataset, version, judged, plan, shape, SCHEMA_HELD_RULE, plan.problem);
      throw await this.#held(dataset);
    }
    if (layout.isHistory && plan.actions.some((action) => action.do === 'key')) {
      await this.#park(dataset, version, judged, plan, shape, SCHEMA_HELD_RULE, 'the table keeps versions of rows by their key');
      throw await this.#held(dataset);
    }
    if (!widen && (await statementsLeft(sql, qualified, plan.actions)).statements.length > 0) {
      await this.#park(dataset, version, judged, plan, shape, SCHEMA_HELD_RULE, 'tables.widen is off');
      throw await this.#held(dataset);
    }
    const { alone = now, whyRefused } = this.#options;
    const refused = (await whyRefused?.(dataset)) ?? null;
    if (refused !== null) {
      await this.#park(dataset, version, judged, plan, shape, SCHEMA_HELD_RULE, refused);
      throw await this.#held(dataset);
    }
    try {
      await alone(() => this.#make(dataset, version, judged, plan, shape, qualified));
    } catch (error) {
      if (!(error instanceof PgError) || !isOfTheChange(error)) throw error;
      await this.#park(dataset, version, judged, plan, shape, SCHEMA_HELD_RULE, `${error.message} (${error.code})`);
      throw await this.#held(dataset);
    }
    this.#followed.set(dataset.name, { shape: plan.after, since: version });
    this.onChange(dataset.name);
    return placesOf(plan.after, dataset);
  }

  /** The table, its shape and the note of it, all at once. */
  async #make(
    dataset: Dataset,
    version: string,
    judged: readonly JudgedChange[],
    plan: ChangePlan,
    before: PlacedShape,
    qualified: string,
  ): Promise<void> {
    const { sql, pipeline } = this.#options;
    await sql.script('begin');
    try {
      // Another session may have made the very change.
      await sql.query('select 1 from tidegate.schemas where pipeline = $1 and dataset = $2 for update', [pipeline, dataset.name]);
      const needs = needsBoth(plan.needs, await runActions(sql, qualified, plan.actions));
      await keepShape(sql, pipeline, dataset.name, version, plan.after);
      const reread = needs.length > 0 ? 'wanted' : null;
      await this.#note(dataset, version, judged, { ...plan, needs }, before, { rule: '', status: 'accepted', problem: null, reread });
      await sql.script('commit');
    } catch (error) {
      if (sql.open) await sql.script('rollback');
      throw error;
    }
  }

  /** What is left of a plan to do: nothing where there are no tables. */
  #toDo(plan: ChangePlan): ChangePlan {
    return this.#options.hasTables === false ? { ...plan, actions: [], needs: [] } : plan;
  }

  async #park(
    dataset: Dataset,
    version: string,
    judged: readonly JudgedChange[],
    plan: ChangePlan,
    before: PlacedShape | null,
    rule: string,
    problem: string | null,
  ): Promise<void> {
    await this.#note(dataset, version, judged, plan, before, {
      rule,
      status: 'held',
      problem,
      reread: plan.needs.length > 0 ? 'after' : null,
    });
  }

  async #note(
    dataset: Dataset,
    version: string,
    judged: readonly JudgedChange[],
    plan: ChangePlan,
    before: PlacedShape | null,
    { rule, status, problem, reread }: { rule: string; status: 'held' | 'accepted'; problem: string | null; reread: string | null },
  ): Promise<void> {
    const message =
      dataset.keyless === true ? 'the source has no key that tells its rows apart' : judged.map((change) => change.message).join('; ');
    await this.#options.sql.query(
      `insert into tidegate.schema_changes (pipeline, dataset, version, kinds, message, actions, before, after, keyless, rule, status, problem, reread, reread_columns, settled_at)
       values ($1, $2, $3, $4::jsonb, $5, $6::jsonb, $7::jsonb, $8::jsonb, $9, $10, $11, $12, $13, $14::jsonb, case when $11 = 'accepted' then clock_timestamp() end)`,
      [
        this.#options.pipeline,
        dataset.name,
        version,
        JSON.stringify(judged.map(({ kind, policy, message: text, change }) => ({ kind, policy, column: change.column, message: text }))),
        message,
        JSON.stringify(plan.actions),
        before === null ? null : JSON.stringify(before),
        JSON.stringify(plan.after),
        dataset.keyless === true,
        rule,
        status,
        problem,
        reread,
        columnsText(plan.needs, plan.after),
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

const sameKey = (shape: PlacedShape, dataset: Dataset): boolean => {
  const places = placesOf(shape, dataset);
  const own = dataset.key.map((i) => places[i] ?? '').toSorted();
  const theirs = shape.key.map((name) => shape.columns.find((column) => column.name === name)?.place ?? '').toSorted();
  return dataset.keyless !== true && own.join('\0') === theirs.join('\0');
};

/** As `schema_changes.reread_columns` has them: null for whole rows, and where nothing has to be read. */
export function columnsText(needs: Needs, after: PlacedShape): string | null {
  const columns = needs.length === 0 ? null : neededColumns(needs, after);
  return columns === null ? null : JSON.stringify(columns);
}

export async function keepShape(sql: PgConnection, pipeline: string, dataset: string, since: string, shape: PlacedShape): Promise<void> {
  await sql.query(
    `insert into tidegate.schemas (pipeline, dataset, since, shape) values ($1, $2, $3, $4::jsonb)
     on conflict (pipeline, dataset) do update set since = excluded.since, shape = excluded.shape, updated_at = clock_timestamp()`,
    [pipeline, dataset, since, JSON.stringify(shape)],
  );
}

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

/** Whether an item is held for its dataset's sake. */
export const isParkedItem = (findings: readonly Finding[]): boolean =>
  findings.some((finding) => finding.stage === 'sync' && isOfSchema(finding) && finding.rule !== SCHEMA_KEY_RULE);

/**
 * Counts items that were just held onto the change they wait for. Answers those that wait for none any more: it was approved after they were judged. In
 * a transaction that has the pipeline's turn.
 */
export async function noteParked(sql: PgConnection, pipeline: string, items: readonly Quarantined[]): Promise<readonly string[]> {
  const parked = items.filter(({ findings }) => isParkedItem(findings));
  if (parked.length === 0) return [];
  const { rows } = await sql.query(
    `select dataset, min(id), min(version) from tidegate.schema_changes where pipeline = $1 and status in ('held', 'rejected') and rule <> '' group by 1`,
    [pipeline],
  );
  const open = new Map(rows.map(([dataset, id, version]) => [dataset, { id: id ?? '', version: version ?? '', count: 0 }]));
  const free: string[] = [];
  for (const { id, event } of parked) {
    const change = open.get(event.dataset.name);
    if (change === undefined || versionOf(event) < change.version) free.push(id);
    else change.count++;
  }
  for (const { id, count } of open.values())
    if (count > 0) await sql.query('update tidegate.schema_changes set held = held + $2 where id = $1', [id, count]);
  return free;
}
