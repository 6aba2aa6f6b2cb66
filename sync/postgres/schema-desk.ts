/** The changes of a pipeline's tables as people see and decide them, over the connection beside the lanes'. */
import type { ScoreColumns } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Dataset, DatasetName } from '../../core/event.ts';
import type { NumberedColumn } from '../../core/shape.ts';
import { PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { withCode } from '../../wire/postgres/errors.ts';
import { quoteQualified } from '../../wire/postgres/ident.ts';
import { targetFailure } from './failures.ts';
import { inTurn } from './held-keys.ts';
import { columnsText, keepShape, type KeptArrival, planOf, readFollowed, wantedOf } from './kept-shapes.ts';
import { aliveSql, type Layouts } from './layout.ts';
import { creationLeft, creationOf, decideNewTables, type LeftOut, type NewTablesQuestion } from './new-tables.ts';
import {
  type Action,
  type Arrival,
  type ChangePlan,
  isOfTheChange,
  type Needs,
  type PlacedShape,
  runPlan,
  statementsLeft,
} from './schema-plan.ts';
import { SCHEMA_KEY_RULE } from './parked-items.ts';
import type { PostgresSinkOptions } from './sink.ts';
import { besideColumns } from './tables.ts';
import { type LackingType, lackingText, stillLacking } from './target-types.ts';
import type { Turns } from './turns.ts';

export type ChangeStatus = 'held' | 'rejected' | 'approved' | 'accepted';

export interface SchemaChangeItem {
  readonly id: string;
  readonly dataset: DatasetName;
  readonly status: ChangeStatus;
  /** The first event of the new shape: its commit in the source's order. */
  readonly version: string;
  readonly kinds: readonly { readonly kind: string; readonly policy: string; readonly column: string | null; readonly message: string }[];
  readonly message: string;
  /** Why it could not be made by itself. */
  readonly problem: string | null;
  /** Events held since, while it is open. */
  readonly held: number;
  readonly reread: 'after' | 'wanted' | 'begun' | 'done' | null;
  readonly atMs: number;
  readonly settledAtMs: number | null;
  readonly by: string | null;
  readonly why: string | null;
}

export interface SchemaChangeDetail extends SchemaChangeItem {
  /** What is left to run at the target, in order; what it would be where the change is not made yet. */
  readonly statements: readonly string[];
}

export type Decided =
  /** Every change that was made, in order; the released events are in line. */
  | { readonly kind: 'approved'; readonly changes: readonly string[]; readonly released: number }
  | { readonly kind: 'rejected' }
  | { readonly kind: 'unknown' }
  /** Nothing was done. */
  | { readonly kind: 'refused'; readonly message: string; readonly fix: string };

/** Rows of a dataset that are to be read anew, or are. */
export interface WantedRows {
  readonly dataset: DatasetName;
  /** The newest change that asks for it. */
  readonly id: string;
  readonly state: 'wanted' | 'begun';
  /** These are all that may hold something else; null where whole rows are read. */
  readonly columns: readonly NumberedColumn[] | null;
}

export interface SchemaDeskParts {
  readonly pipeline: string;
  readonly layouts: Layouts;
  readonly turns: Turns;
  readonly scores: ReadonlyMap<DatasetName, readonly ScoreColumns[]>;
}

/** `tables`: each with the shape that its table is made from, null where none is. */
export type AskAboutTables = Omit<NewTablesQuestion, 'tables'> & {
  readonly tables: readonly { readonly dataset: DatasetName; readonly shape: Dataset | null }[];
};

const NOT_NULL_VIOLATION = '23502';

const COLUMNS = `id, dataset, status, version, kinds, message, problem, held, reread, extract(epoch from at) * 1000, extract(epoch from settled_at) * 1000, by_whom, why`;

export class SchemaDesk {
  readonly #parts: SchemaDeskParts;

  constructor(parts: SchemaDeskParts) {
    this.#parts = parts;
  }

  /** Newest first. `open`: only those that wait or were rejected. */
  list(filter: { readonly open: boolean; readonly limit: number }): Promise<readonly SchemaChangeItem[]> {
    return this.#parts.turns.take('looking at schema changes', async (sql) => {
      const { rows } = await sql.query(
        `select ${COLUMNS} from tidegate.schema_changes where pipeline = $1 and ($2 = false or status in ('held', 'rejected')) order by id desc limit $3`,
        [this.#parts.pipeline, filter.open, filter.limit],
      );
      return rows.map(itemFrom);
    });
  }

  /** The shape that the target follows; null for a dataset of which nothing came yet. */
  shapeOf(dataset: DatasetName): Promise<PlacedShape | null> {
    return this.#parts.turns.take('looking at the shape of a dataset', async (sql) => {
      return (await readFollowed(sql, this.#parts.pipeline, dataset))?.shape ?? null;
    });
  }

  get(id: string): Promise<SchemaChangeDetail | null> {
    return this.#parts.turns.take('looking at a schema change', async (sql) => {
      const { rows } = await sql.query(`select ${COLUMNS}, actions from tidegate.schema_changes where pipeline = $1 and id::text = $2`, [
        this.#parts.pipeline,
        id,
      ]);
      const row = rows[0];
      if (row === undefined) return null;
      const item = itemFrom(row);
      const qualified = this.#qualified(item.dataset);
      const planned = await this.#planOf(sql, item.dataset, id);
      const actions = planned?.actions ?? (JSON.parse(row.at(-1) ?? '[]') as Action[]); // Written by us.
      const created = actions.find((action) => action.do === 'create');
      if (created !== undefined) return { ...item, statements: await creationLeft(sql, qualified, created) };
      const { statements } = await statementsLeft(sql, qualified, actions);
      return { ...item, problem: planned?.problem ?? item.problem, statements };
    });
  }

  /** The changes of a dataset that are open, in their order. */
  async #openChanges(sql: PgConnection, dataset: DatasetName, lock = ''): Promise<readonly OpenChange[]> {
    const { rows } = await sql.query(
      `select id, version, keyless, actions, after, reread, reread_columns, arrival from tidegate.schema_changes
       where pipeline = $1 and dataset = $2 and status in ('held', 'rejected') order by version, id ${lock}`,
      [this.#parts.pipeline, dataset],
    );
    const open: OpenChange[] = [];
    for (const [id, version, keyless, actions, after, reread, columns, arrival] of rows) {
      // All of it was written by us.
      const kept = parsed(arrival) as KeptArrival | null;
      const known = parsed(after) as PlacedShape | null;
      // Of a version that did not keep what it is made from, or of a new table.
      const planned =
        known === null
          ? null
          : { actions: (parsed(actions) ?? []) as Action[], after: known, needs: neededBefore(reread, columns, known), problem: null };
      open.push({
        id: id ?? '',
        version: version ?? '',
        isKeyless: keyless === 't',
        lacking: kept === null ? [] : await this.#lacking(sql, kept.arrival),
        planFrom: (shape) => (kept === null ? planned : planOf(shape, kept, wantedOf(this.#parts, kept.arrival.dataset))),
      });
    }
    return open;
  }

  /** Types of columns that are written by the layout of now, and that the target still lacks. */
  #lacking(sql: PgConnection, { dataset, lacking = [] }: Arrival): Promise<readonly LackingType[]> {
    const { names } = this.#parts.layouts.wanted(dataset);
    return stillLacking(
      sql,
      lacking.filter((type, i) => type !== null && (names[i] ?? null) !== null).filter((type) => type !== null),
    );
  }

  /** What an open change comes to by the layout of now, after all before it; null for one that is not open, or of a new table before its first event. */
  async #planOf(sql: PgConnection, dataset: DatasetName, id: string): Promise<ChangePlan | null> {
    let shape = (await readFollowed(sql, this.#parts.pipeline, dataset))?.shape ?? null;
    for (const change of await this.#openChanges(sql, dataset)) {
      const plan = change.planFrom(shape);
      if (change.id === id) return plan;
      shape = plan?.after ?? shape;
    }
    return null;
  }

  /** Has new tables wait where somebody has to agree with them. Answers those that are not to be followed. */
  newTables({ tables, ...question }: AskAboutTables): Promise<ReadonlyMap<DatasetName, LeftOut>> {
    const { pipeline, turns, layouts, scores } = this.#parts;
    const asked = tables.map(({ dataset, shape }) => {
      if (shape === null) return [dataset, null] as const;
      const layout = layouts.of(shape);
      return [
        dataset,
        creationOf(shape, layout, layout.isHistory ? aliveSql(layout, '') : null, besideColumns(layout, scores.get(dataset) ?? [])),
      ] as const;
    });
    return turns.take('asking about new tables', (sql) =>
      decideNewTables(sql, pipeline, { ...question, tables: new Map(asked) }, (work) => inTurn(sql, pipeline, work)),
    );
  }

  /**
   * Makes the change at the target, and those of its dataset that were before it; puts what was held for them in line, in the source's order. All of it
   * in one transaction: a crash leaves the change as it was.
   */
  approve(id: string, by: string): Promise<Decided> {
    return this.#transaction('approving a schema change', async (sql): Promise<Decided> => {
      const { pipeline } = this.#parts;
      const found = await sql.query('select dataset, status from tidegate.schema_changes where pipeline = $1 and id::text = $2', [
        pipeline,
        id,
      ]);
      const [dataset, status] = found.rows[0] ?? [];
      if (typeof dataset !== 'string') return { kind: 'unknown' };
      if (status !== 'held' && status !== 'rejected')
        return {
          kind: 'refused',
          message: `the change ${id} is ${status ?? ''} already`,
          fix: 'See `tidegate schema list` for those that wait.',
        };
      const open = await this.#openChanges(sql, dataset as DatasetName, 'for update');
      const until = open.findIndex((change) => change.id === id);
      const chosen = open.slice(0, until + 1);
      if (chosen.at(-1)?.isKeyless === true)
        return {
          kind: 'refused',
          message: `${dataset} has no key at the source that tells its rows apart`,
          fix: 'Give the table a primary key again; approve the change that this becomes.',
        };
      let shape = (await readFollowed(sql, pipeline, dataset as DatasetName))?.shape ?? null;
      for (const change of chosen) {
        const [lacking] = change.lacking;
        if (lacking !== undefined) {
          await sql.script('rollback; begin');
          await sql.query('update tidegate.schema_changes set problem = $2 where id = $1', [change.id, lackingText(lacking)]);
          return {
            kind: 'refused',
            message: `the change ${change.id} of ${dataset} waits for a type: ${lackingText(lacking)}`,
            fix: 'Create the type, and approve again; or leave the column out by `layouts` of the target, restart the service, and approve.',
          };
        }
        const plan = change.planFrom(shape);
        if (plan === null) continue;
        if (plan.problem !== null) {
          await sql.script('rollback; begin');
          return {
            kind: 'refused',
            message: `the layout of ${dataset} does not fit the change ${change.id}: ${plan.problem}`,
            fix: 'Mend the layout in the config, restart the service, and approve again.',
          };
        }
        try {
          const { after, needs } = await runPlan(sql, this.#qualified(dataset as DatasetName), plan);
          await sql.query(
            `update tidegate.schema_changes set actions = $2::jsonb, after = $3::jsonb, problem = null, reread = $4, reread_columns = $5::jsonb
             where id = $1`,
            [change.id, JSON.stringify(plan.actions), JSON.stringify(after), needs.length > 0 ? 'after' : null, columnsText(needs, after)],
          );
          shape = after;
        } catch (error) {
          if (!(error instanceof PgError) || !isOfTheChange(error)) throw error;
          await sql.script('rollback; begin');
          const problem = withCode(error);
          await sql.query('update tidegate.schema_changes set problem = $2 where id = $1', [change.id, problem]);
          return {
            kind: 'refused',
            message: `the target does not take the change ${change.id} of ${dataset}: ${problem}`,
            fix:
              error.code === NOT_NULL_VIOLATION
                ? 'Its rows have no values of the new key: fill them in, or empty the table, for its rows are read again; then approve again.'
                : 'Change the table of the target so that it can, and approve again: what is done already is left alone.',
          };
        }
        await keepShape(sql, pipeline, dataset, change.version, shape);
      }
      await sql.query(
        `update tidegate.schema_changes set status = 'approved', settled_at = clock_timestamp(), by_whom = $2, why = null, arrival = null,
           reread = case when reread = 'after' or keyless then 'wanted' else reread end where id = any(string_to_array($1, ',')::bigint[])`,
        [chosen.map((change) => change.id).join(','), by],
      );
      const next = open[until + 1]?.version ?? null;
      const released = await releaseParked(sql, pipeline, dataset, next, by);
      return { kind: 'approved', changes: chosen.map((change) => change.id), released };
    });
  }

  /** The dataset stays as it is, and what is held for the change stays held; the choice is kept, and may be changed by approving. */
  reject(id: string, by: string, why: string): Promise<Decided> {
    return this.#transaction('rejecting a schema change', async (sql): Promise<Decided> => {
      const { rows } = await sql.query(
        `update tidegate.schema_changes set status = 'rejected', settled_at = clock_timestamp(), by_whom = $3, why = $4
         where pipeline = $1 and id::text = $2 and status in ('held', 'rejected') returning id`,
        [this.#parts.pipeline, id, by, why],
      );
      if (rows.length > 0) return { kind: 'rejected' };
      const known = await sql.query('select status from tidegate.schema_changes where pipeline = $1 and id::text = $2', [
        this.#parts.pipeline,
        id,
      ]);
      const status = known.rows[0]?.[0];
      if (typeof status !== 'string') return { kind: 'unknown' };
      return { kind: 'refused', message: `the change ${id} is ${status} already`, fix: 'See `tidegate schema list` for those that wait.' };
    });
  }

  /** Datasets whose rows are to be read anew, or are being so, with the newest change that asks for it. */
  rereads(): Promise<readonly WantedRows[]> {
    return this.#parts.turns.take('looking for rows to read anew', async (sql) => {
      const { rows } = await sql.query(
        `select dataset, max(id), bool_or(reread = 'wanted'), case when bool_and(reread_columns is not null) then jsonb_agg(reread_columns order by id) end
         from tidegate.schema_changes
         where pipeline = $1 and reread in ('wanted', 'begun') and status in ('approved', 'accepted') group by 1`,
        [this.#parts.pipeline],
      );
      return rows.map(([dataset, id, isWanted, columns]) => ({
        dataset: (dataset ?? '') as DatasetName,
        id: id ?? '',
        state: isWanted === 't' ? 'wanted' : 'begun',
        columns: columns === null || columns === undefined ? null : unionOf(JSON.parse(columns) as NumberedColumn[][]), // Written by us.
      }));
    });
  }

  /** For the changes up to `id`. `asRows`: whole rows, whatever was wanted. */
  markReread(dataset: DatasetName, id: string, state: 'begun' | 'done', { asRows }: { readonly asRows: boolean }): Promise<void> {
    return this.#parts.turns.take('reading rows anew', async (sql) => {
      await sql.query(
        `update tidegate.schema_changes set reread = $4, reread_columns = case when $5 then null else reread_columns end
         where pipeline = $1 and dataset = $2 and id <= $3::bigint and reread in ('wanted', 'begun') and status in ('approved', 'accepted')`,
        [this.#parts.pipeline, dataset, id, state, asRows],
      );
    });
  }

  #qualified(dataset: DatasetName): string {
    const { schema, table } = this.#parts.layouts.tableOf(dataset);
    return quoteQualified(schema, table);
  }

  #transaction<T>(doing: string, work: (sql: PgConnection) => Promise<T>): Promise<T> {
    return this.#parts.turns.take(doing, (sql) => inTurn(sql, this.#parts.pipeline, () => work(sql)));
  }
}

/** The datasets whose tables a pipeline follows at the target. Changes nothing; throws TARGET_* errors. */
export async function followedDatasets({
  url,
  name,
  pipeline,
}: Pick<PostgresSinkOptions, 'url' | 'name' | 'pipeline'>): Promise<ReadonlySet<DatasetName>> {
  try {
    await using sql = await PgConnection.connect({ url, applicationName: `tidegate ${pipeline}`, connectTimeoutMs: 3000 });
    const known = await sql.query("select to_regclass('tidegate.schemas')");
    if ((known.rows[0]?.[0] ?? null) === null) return new Set();
    const { rows } = await sql.query('select dataset from tidegate.schemas where pipeline = $1', [pipeline]);
    return new Set(rows.map(([dataset]) => (dataset ?? '') as DatasetName)); // Written by us from a dataset's name.
  } catch (error) {
    throw targetFailure(error, `looking at ${name}`);
  }
}

/** Puts in line what was held for the dataset's sake, up to the change that it waits for next. */
async function releaseParked(sql: PgConnection, pipeline: string, dataset: string, next: string | null, by: string): Promise<number> {
  const { affected } = await sql.query(
    `update tidegate.quarantine q set status = 'released', released_seq = w.seq, by_whom = $4
     from (select id, nextval('tidegate.releases') as seq from (
       select id from tidegate.quarantine
       where pipeline = $1 and dataset = $2 and status = 'held' and ($3::text is null or version < $3)
         and exists (select from jsonb_array_elements(findings) f
           where f ->> 'stage' = 'sync' and f ->> 'rule' like 'schema.%' and f ->> 'rule' <> '${SCHEMA_KEY_RULE}')
       order by version) o) w
     where q.id = w.id`,
    [pipeline, dataset, next, by],
  );
  await sql.query("select pg_notify('tidegate', '')");
  return affected;
}

/** A change that is open. */
interface OpenChange {
  readonly id: string;
  readonly version: string;
  readonly isKeyless: boolean;
  readonly lacking: readonly LackingType[];
  /** What approving it comes to where the target follows `shape`; null for a table that is new, before its first event. */
  readonly planFrom: (shape: PlacedShape | null) => ChangePlan | null;
}

const parsed = (text: string | null | undefined): unknown => (text === null || text === undefined ? null : JSON.parse(text));

/** What a change that waits asks for already: nothing where it needed no rows. */
function neededBefore(reread: string | null | undefined, columns: string | null | undefined, shape: PlacedShape | null): Needs {
  if (reread === null || reread === undefined) return [];
  if (columns === null || columns === undefined || shape === null) return 'rows';
  const ids = new Set((JSON.parse(columns) as NumberedColumn[]).map(({ id }) => id)); // Written by us.
  return shape.columns.flatMap(({ id, place }) => (id !== null && ids.has(id) && place !== null ? [place] : []));
}

/** By their newest names. */
function unionOf(lists: readonly (readonly NumberedColumn[])[]): readonly NumberedColumn[] {
  return [...new Map(lists.flat().map((column) => [column.id, column])).values()];
}

function itemFrom(row: readonly (string | null)[]): SchemaChangeItem {
  const [id, dataset, status, version, kinds, message, problem, held, reread, at, settledAt, by, why] = row;
  if (id === null || id === undefined) throw new PipelineError('BUG', 'a schema change without an id');
  return {
    id,
    dataset: (dataset ?? '') as DatasetName,
    status: status as ChangeStatus, // A check constraint holds it.
    version: version ?? '',
    kinds: JSON.parse(kinds ?? '[]') as SchemaChangeItem['kinds'], // Written by us.
    message: message ?? '',
    problem: problem ?? null,
    held: Number(held),
    reread: (reread ?? null) as SchemaChangeItem['reread'], // A check constraint holds it.
    atMs: Math.floor(Number(at)),
    settledAtMs: settledAt === null || settledAt === undefined ? null : Math.floor(Number(settledAt)),
    by: by ?? null,
    why: why ?? null,
  };
}
