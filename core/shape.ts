/** What a dataset looked like when the target last followed it, and what has become of it since. */
import type { Dataset } from './event.ts';

export interface ShapeColumn {
  readonly name: string;
  /** The source's own name of its type. */
  readonly native: string;
  /** See `Column.id`; null where it was not known. */
  readonly id: number | null;
}

/** A column by what names it for good, and what it was called when that was asked for. */
export interface NumberedColumn {
  /** See `Column.id`. */
  readonly id: number;
  readonly name: string;
}

export interface Shape {
  readonly columns: readonly ShapeColumn[];
  /** Names of the key's columns, in its order. */
  readonly key: readonly string[];
  /** See `Dataset.table`; left out where it was not known. */
  readonly table?: number;
}

export type ShapeChange =
  | { readonly kind: 'add'; readonly column: string; readonly nullable: boolean }
  | { readonly kind: 'drop'; readonly column: string }
  | { readonly kind: 'rename'; readonly column: string; readonly former: string }
  | { readonly kind: 'type'; readonly column: string; readonly former: string; readonly from: string; readonly to: string }
  | {
      readonly kind: 'key';
      readonly column: null;
      readonly from: readonly string[];
      readonly to: readonly string[];
      readonly keyless: boolean;
    };

/** Whether it is another table under the same name: it was dropped and made anew, or its server was restored from a dump. */
export const isRemade = ({ table }: Pick<Shape, 'table'>, dataset: Dataset): boolean =>
  table !== undefined && dataset.table !== undefined && table !== dataset.table;

/**
 * The column of `shape` that each of the dataset's columns is; null for one that is new. Ids decide where both sides have them, so that a rename is
 * told from a column that is dropped and another made; names do elsewhere, and between two tables.
 */
export function formerColumns<C extends ShapeColumn>(
  shape: { readonly columns: readonly C[]; readonly table?: number },
  dataset: Dataset,
): (C | null)[] {
  const { columns } = dataset;
  if (isRemade(shape, dataset)) return columns.map(({ name }) => shape.columns.find((column) => column.name === name) ?? null);
  const taken = new Set<C>();
  const byId = new Map(shape.columns.flatMap((column) => (column.id === null ? [] : [[column.id, column] as const])));
  const found = columns.map(({ id }) => {
    const former = id === undefined ? undefined : byId.get(id);
    if (former !== undefined) taken.add(former);
    return former ?? null;
  });
  return found.map((former, i) => {
    const column = columns[i];
    if (former !== null || column === undefined) return former;
    const named = shape.columns.find(({ name }) => name === column.name);
    if (named === undefined || taken.has(named) || (named.id !== null && column.id !== undefined)) return null;
    return named;
  });
}

/** Every difference, in the order of the dataset's columns, then what is gone, then the key. */
export function shapeChanges(before: Shape, dataset: Dataset): ShapeChange[] {
  const changes: ShapeChange[] = [];
  const formers = formerColumns(before, dataset);
  for (const [i, column] of dataset.columns.entries()) {
    const former = formers[i] ?? null;
    if (former === null) {
      changes.push({ kind: 'add', column: column.name, nullable: column.nullable });
      continue;
    }
    if (former.name !== column.name) changes.push({ kind: 'rename', column: column.name, former: former.name });
    if (former.native !== column.native)
      changes.push({ kind: 'type', column: column.name, former: former.name, from: former.native, to: column.native });
  }
  for (const column of before.columns) if (!formers.includes(column)) changes.push({ kind: 'drop', column: column.name });
  const to = keyNames(dataset);
  // By the names of now: a key whose column was only renamed is the same key.
  const from = before.key.map((name) => {
    const at = formers.findIndex((former) => former?.name === name);
    return at < 0 ? name : (dataset.columns[at]?.name ?? name);
  });
  if (dataset.keyless === true || from.toSorted().join('\0') !== to.toSorted().join('\0'))
    changes.push({ kind: 'key', column: null, from: before.key, to, keyless: dataset.keyless === true });
  return changes;
}

export function keyNames({ columns, key }: Dataset): string[] {
  return key.map((i) => columns[i]?.name ?? '');
}

/** accept: the target follows. ignore: the target stays as it is. hold: the dataset waits for a person. quarantine: its rows are held one by one. */
export type ChangePolicy = 'accept' | 'ignore' | 'hold' | 'quarantine' | 'halt';

/** A change as the dataset's contract sees it. */
export interface JudgedChange {
  readonly change: ShapeChange;
  /** The kind of change in the contract's words: add_optional, widen, … */
  readonly kind: string;
  readonly policy: ChangePolicy;
  /** In words. */
  readonly message: string;
}
