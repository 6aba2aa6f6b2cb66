/** What is kept at the target of the shapes that it follows, and of those that wait for somebody. */
import type { ScoreColumns } from '../../core/batch.ts';
import type { Dataset, DatasetName } from '../../core/event.ts';
import type { JudgedChange } from '../../core/shape.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { arrayLiteral } from '../../wire/postgres/ident.ts';
import { besideNames, type Layouts, placesFaults } from './layout.ts';
import {
  type Arrival,
  type ChangePlan,
  isElsewhere,
  neededColumns,
  type Needs,
  placedAsIs,
  placedColumns,
  type PlacedShape,
  planChange,
  type Wanted,
} from './schema-plan.ts';

export interface Followed {
  readonly shape: PlacedShape;
  /** The first event of this shape (`versionOf`). */
  readonly since: string;
}

/** The shapes that a pipeline's target follows. */
export async function readAllFollowed(sql: PgConnection, pipeline: string): Promise<ReadonlyMap<DatasetName, Followed>> {
  const { rows } = await sql.query('select dataset, since, shape from tidegate.schemas where pipeline = $1', [pipeline]);
  return new Map(rows.map(([dataset, since, shape]) => [(dataset ?? '') as DatasetName, followedFrom(since, shape)])); // Ours.
}

/** That of one dataset; null where nothing of it came yet, or to no target that is Tidegate's. */
export async function readFollowed(sql: PgConnection, pipeline: string, dataset: DatasetName): Promise<Followed | null> {
  return (await readFollowedOf(sql, pipeline, [dataset])).get(dataset) ?? null;
}

/** The same of several; those without one are left out. */
export async function readFollowedOf(
  sql: PgConnection,
  pipeline: string,
  datasets: readonly DatasetName[],
): Promise<ReadonlyMap<DatasetName, Followed>> {
  const known = await sql.query("select to_regclass('tidegate.schemas')");
  if ((known.rows[0]?.[0] ?? null) === null) return new Map();
  const { rows } = await sql.query('select dataset, since, shape from tidegate.schemas where pipeline = $1 and dataset = any($2::text[])', [
    pipeline,
    arrayLiteral(datasets),
  ]);
  return new Map(rows.map(([dataset, since, shape]) => [(dataset ?? '') as DatasetName, followedFrom(since, shape)])); // Ours.
}

function followedFrom(since: string | null | undefined, shape: string | null | undefined): Followed {
  return { shape: JSON.parse(shape ?? '') as PlacedShape, since: since ?? '' }; // Written by us.
}

/** For `Layouts.follow`. */
export const placesAtTarget =
  ({ shape }: Followed) =>
  (dataset: Dataset): (string | null | undefined)[] =>
    placedColumns(shape, dataset).map((column) => column?.place);

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

/** A change that waits, as `schema_changes.arrival` has it: when it is approved it is planned anew, by the layout of then. */
export interface KeptArrival {
  readonly arrival: Arrival;
  readonly judged: readonly JudgedChange[];
  /** False for a target that has none: its shapes are followed, and nothing is to be done. */
  readonly hasTables: boolean;
}

/** What there is to do for a dataset of which the target follows `before`; null where it follows nothing yet. */
export function planOf(before: PlacedShape | null, { arrival, judged, hasTables }: KeptArrival, wanted: Wanted): ChangePlan {
  const { dataset, storage } = arrival;
  // Another table is made, or taken, as every first one is; what the former has stays there.
  if (before === null || isElsewhere(before, wanted.layout)) {
    const [fault] = placesFaults(dataset, wanted.layout.names, wanted.beside);
    const needs = before === null || !hasTables ? [] : 'rows';
    return { actions: [], after: placedAsIs(dataset, wanted.layout, storage), needs, problem: fault?.message ?? null };
  }
  const plan = planChange(before, judged, arrival, wanted);
  return hasTables ? plan : { ...plan, actions: [], needs: [] };
}

/** How the config wants a dataset. */
export function wantedOf(
  { layouts, scores }: { readonly layouts: Layouts; readonly scores?: ReadonlyMap<DatasetName, readonly ScoreColumns[]> },
  dataset: Dataset,
): Wanted {
  const layout = layouts.wanted(dataset);
  return { layout, beside: besideNames(layout.stamps, scores?.get(dataset.name) ?? []) };
}
