/**
 * Which columns an event that was held is of, where the source did not say: a reader that is behind meets rows of columns that the catalog calls otherwise by
 * then, or has given their name to others, and knows them by their names alone. The target has followed them, and kept what they were called when.
 */
import type { Dataset, DatasetName } from '../../core/event.ts';
import { formerColumns, isRemade } from '../../core/shape.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import type { DatasetThen } from '../../wire/postgres/event-bytes.ts';
import { textArrayParameter } from './arrays.ts';
import type { PlacedShape } from './schema-plan.ts';

/** By dataset the shapes that were followed before each change, in their order; `until`: the first event that was of the next (`versionOf`). */
export type FormerShapes = ReadonlyMap<DatasetName, readonly { readonly until: string; readonly shape: PlacedShape }[]>;

/** Whether columns of a table that numbers them came without their numbers. */
export const lacksNumbers = ({ table, columns }: Dataset): boolean => table !== undefined && columns.some(({ id }) => id === undefined);

export async function readFormer(sql: PgConnection, pipeline: string, datasets: readonly DatasetName[]): Promise<FormerShapes> {
  const { rows } = await sql.query(
    `select dataset, version, before from tidegate.schema_changes
      where pipeline = $1 and dataset = any ($2) and status in ('approved', 'accepted') and before is not null order by version, id`,
    [pipeline, textArrayParameter(datasets)],
  );
  const former = new Map<DatasetName, { until: string; shape: PlacedShape }[]>();
  for (const [name, until, shape] of rows) {
    const dataset = (name ?? '') as DatasetName;
    const known = former.get(dataset) ?? [];
    former.set(dataset, known);
    known.push({ until: until ?? '', shape: JSON.parse(shape ?? '') as PlacedShape }); // Written by us.
  }
  return former;
}

/** A dataset without changes since goes by its names, which are those of now. */
export function numbered(former: FormerShapes): DatasetThen {
  return (dataset, version) => {
    const shape = former.get(dataset.name)?.find(({ until }) => until > version)?.shape;
    if (shape === undefined || !lacksNumbers(dataset) || isRemade(shape, dataset)) return dataset;
    const columns = formerColumns(shape, dataset);
    return {
      ...dataset,
      columns: dataset.columns.map((column, i) => {
        const id = column.id ?? columns[i]?.id ?? null;
        return id === null ? column : { ...column, id };
      }),
    };
  };
}
