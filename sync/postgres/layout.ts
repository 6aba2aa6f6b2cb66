/**
 * How a dataset's table looks at the target: under which names, with which of the source's columns, what is written beside them (stamps), and what
 * a delete becomes there. Without options it is the source's table as it is.
 */
import type { ScoreColumns } from '../../core/batch.ts';
import { type Dataset, type DatasetName, partsOfName } from '../../core/event.ts';
import type { Problem } from '../../core/problems.ts';
import { quoteIdent, quoteQualified } from '../../wire/postgres/ident.ts';

/** What the config says of one dataset; null where it leaves something as it is. */
export interface DatasetOptions {
  readonly schema: string | null;
  readonly table: string | null;
  /** Those of the source's columns that are written; null: all. */
  readonly columns: readonly string[] | null;
  /** The target's name of a column by the source's. */
  readonly rename: Readonly<Record<string, string>>;
  /** Columns that say that a row was deleted: it then stays. With neither, it goes. */
  readonly softDelete: { readonly at: string | null; readonly flag: string | null };
  /** Columns that say from when to when a version of a row held; with both, every version stays. */
  readonly history: { readonly from: string | null; readonly to: string | null };
  readonly write: {
    readonly position: string | null;
    readonly committedAt: string | null;
    readonly operation: string | null;
    readonly verdict: string | null;
  };
}

export type DatasetsOptions = ReadonlyMap<DatasetName, DatasetOptions>;

/** What a column holds that is not of the row, but of the change that the row was last written by. */
export type Stamp = 'position' | 'committedAt' | 'operation' | 'verdict' | 'deletedAt' | 'isDeleted' | 'validFrom' | 'validTo';

export interface StampColumn {
  readonly stamp: Stamp;
  readonly name: string;
}

export const STAMP_TYPES: Readonly<Record<Stamp, { readonly type: string; readonly oid: number }>> = {
  position: { type: 'pg_lsn', oid: 3220 },
  committedAt: { type: 'timestamp with time zone', oid: 1184 },
  operation: { type: 'text', oid: 25 },
  verdict: { type: 'text', oid: 25 },
  deletedAt: { type: 'timestamp with time zone', oid: 1184 },
  isDeleted: { type: 'boolean', oid: 16 },
  validFrom: { type: 'timestamp with time zone', oid: 1184 },
  validTo: { type: 'timestamp with time zone', oid: 1184 },
};

export interface Layout {
  readonly schema: string;
  readonly table: string;
  /** The target's names by the dataset's columns; null where one is not written. */
  readonly names: readonly (string | null)[];
  /** The source's names of all that are written, by the config; null where that does not choose. */
  readonly chosen: readonly string[] | null;
  /** 1 for each of the dataset's columns that is not written; null where all are. */
  readonly skipped: Uint8Array | null;
  readonly stamps: readonly StampColumn[];
  /** Deleted rows stay. */
  readonly isSoft: boolean;
  /** And so does every version of a row. */
  readonly isHistory: boolean;
}

/** Where the target has the columns of a dataset, by what it has followed; undefined for a column that it does not know. */
type PlacesAtTarget = (dataset: Dataset) => readonly (string | null | undefined)[];

/** The layouts of one target, each made once per dataset. */
export class Layouts {
  readonly #schema: string;
  readonly #options: DatasetsOptions;
  readonly #wanted = new WeakMap<Dataset, Layout>();
  readonly #followed = new Map<DatasetName, PlacesAtTarget>();
  #made = new WeakMap<Dataset, Layout>();

  constructor(schema: string, options: DatasetsOptions = new Map()) {
    this.#schema = schema;
    this.#options = options;
  }

  optionsOf(dataset: DatasetName): DatasetOptions | undefined {
    return this.#options.get(dataset);
  }

  /** Datasets of whose rows every version stays. */
  histories(): DatasetName[] {
    return [...this.#options].flatMap(([name, { history }]) => (isHistory(history) ? [name] : []));
  }

  /** Where the table of a dataset is, whatever its shape. */
  tableOf(name: DatasetName): { readonly schema: string; readonly table: string } {
    const options = this.#options.get(name);
    return { schema: options?.schema ?? this.#schema, table: options?.table ?? partsOfName(name).table };
  }

  /** The same as SQL names it. */
  nameOf(name: DatasetName): string {
    const { schema, table } = this.tableOf(name);
    return quoteQualified(schema, table);
  }

  /** Whether a row of it is there, as SQL; null where all are. */
  aliveIn(name: DatasetName): string | null {
    const options = this.#options.get(name);
    return options === undefined ? null : aliveSql({ stamps: stampsOf(options) }, '');
  }

  /** As the config has it. */
  wanted(dataset: Dataset): Layout {
    const known = this.#wanted.get(dataset);
    if (known !== undefined) return known;
    const made = layoutOf(dataset, this.#schema, this.#options.get(dataset.name));
    this.#wanted.set(dataset, made);
    return made;
  }

  /** From now on `of` answers where the columns of a dataset are. */
  follow(dataset: DatasetName, places: PlacesAtTarget): void {
    this.#followed.set(dataset, places);
    this.#made = new WeakMap();
  }

  /** As the target has it: a column may still be under a former name, or never have been taken up. As the config has it where nothing is followed. */
  of(dataset: Dataset): Layout {
    const known = this.#made.get(dataset);
    if (known !== undefined) return known;
    const wanted = this.wanted(dataset);
    const places = this.#followed.get(dataset.name)?.(dataset);
    const made = places === undefined ? wanted : placedLayout(wanted, places);
    this.#made.set(dataset, made);
    return made;
  }
}

/** The layout with its columns elsewhere. */
export function placedLayout(layout: Layout, places: readonly (string | null | undefined)[]): Layout {
  const names = layout.names.map((name, i) => (places[i] === undefined ? name : places[i]));
  return { ...layout, names, skipped: skippedOf(names) };
}

const skippedOf = (names: readonly (string | null)[]): Uint8Array | null =>
  names.includes(null) ? Uint8Array.from(names, (one) => (one === null ? 1 : 0)) : null;

const isHistory = ({ from, to }: DatasetOptions['history']): boolean => from !== null && to !== null;

function layoutOf(dataset: Dataset, schema: string, options: DatasetOptions | undefined): Layout {
  const name = partsOfName(dataset.name).table;
  if (options === undefined) {
    return {
      schema,
      table: name,
      names: dataset.columns.map((column) => column.name),
      chosen: null,
      skipped: null,
      stamps: [],
      isSoft: false,
      isHistory: false,
    };
  }
  const { columns, softDelete, history } = options;
  const keepsVersions = isHistory(history);
  const names = dataset.columns.map((column) =>
    columns === null || columns.includes(column.name) ? (renamed(options, column.name) ?? column.name) : null,
  );
  return {
    schema: options.schema ?? schema,
    table: options.table ?? name,
    names,
    chosen: columns,
    skipped: skippedOf(names),
    stamps: stampsOf(options),
    isSoft: softDelete.at !== null || softDelete.flag !== null || keepsVersions,
    isHistory: keepsVersions,
  };
}

/** The stamps' columns, each under what the config calls it. */
function stampsOf(options: DatasetOptions): StampColumn[] {
  return STAMPS.flatMap(([stamp, column]) => {
    const name = column(options);
    return name === null ? [] : [{ stamp, name }];
  });
}

const STAMPS: readonly (readonly [Stamp, (options: DatasetOptions) => string | null])[] = [
  ['position', ({ write }) => write.position],
  ['committedAt', ({ write }) => write.committedAt],
  ['operation', ({ write }) => write.operation],
  ['verdict', ({ write }) => write.verdict],
  ['deletedAt', ({ softDelete }) => softDelete.at],
  ['isDeleted', ({ softDelete }) => softDelete.flag],
  ['validFrom', ({ history }) => history.from],
  ['validTo', ({ history }) => history.to],
];

const MARKS: readonly Stamp[] = ['validTo', 'deletedAt', 'isDeleted'];

/** The column that says whether a row is there; undefined where all are. */
export const markOf = ({ stamps }: Pick<Layout, 'stamps'>): StampColumn | undefined =>
  MARKS.flatMap((one) => stamps.find(({ stamp }) => stamp === one) ?? [])[0];

/** Whether a row is there, as SQL; null where all are. */
export function aliveSql(layout: Pick<Layout, 'stamps'>, alias: string): string | null {
  const mark = markOf(layout);
  if (mark === undefined) return null;
  return `${alias === '' ? '' : `${alias}.`}${quoteIdent(mark.name)} is ${mark.stamp === 'isDeleted' ? 'not true' : 'null'}`;
}

/** What of the options does not fit the table that the source has. Paths go on from that of the options, with a dot. */
export function layoutProblems(dataset: Dataset, options: DatasetOptions, scores: readonly ScoreColumns[]): Problem[] {
  const problems: Problem[] = [];
  const error = (path: string, message: string, fix: string): void => {
    problems.push({ severity: 'error', path, message, fix });
  };
  const known = dataset.columns.map((column) => column.name);
  const { columns, rename } = options;
  for (const name of columns ?? []) {
    if (!known.includes(name)) error('columns', `${dataset.name} has no column ${name}`, `Name some of: ${known.join(', ')}.`);
  }
  for (const name of Object.keys(rename)) {
    if (!known.includes(name)) error(`rename.${name}`, `${dataset.name} has no column ${name}`, `Name one of: ${known.join(', ')}.`);
  }
  problems.push(...layoutFaults(dataset, options, scores));
  return problems;
}

/** What cannot be written at all: rows without their key, two values for one column. */
export function layoutFaults(dataset: Dataset, options: DatasetOptions, scores: readonly ScoreColumns[]): Problem[] {
  const { names, stamps } = layoutOf(dataset, '', options);
  return placesFaults(dataset, names, besideNames(stamps, scores));
}

/** The names of what is written beside the dataset's own columns. */
export const besideNames = (stamps: readonly StampColumn[], scores: readonly ScoreColumns[]): string[] => [
  ...stamps.map(({ name }) => name),
  ...scores.flatMap(({ score, model, at }) => [score, model, at].filter((name) => name !== null)),
];

/** The same of columns that are where `names` say, with `beside` them. */
export function placesFaults(dataset: Dataset, names: readonly (string | null)[], beside: readonly string[]): Problem[] {
  const problems: Problem[] = [];
  const lacking = dataset.key.filter((i) => (names[i] ?? null) === null).map((i) => dataset.columns[i]?.name ?? '');
  if (lacking.length > 0) {
    problems.push({
      severity: 'error',
      path: 'columns',
      message: `lacks ${lacking.join(', ')} of the key of ${dataset.name}, by which rows are found`,
      fix: `Add ${lacking.join(', ')} to the columns.`,
    });
  }
  const seen = new Set<string>();
  for (const name of [...names, ...beside]) {
    if (name === null) continue;
    if (seen.has(name)) {
      problems.push({
        severity: 'error',
        path: 'table',
        message: `two things of ${dataset.name} would go to the column ${name}`,
        fix: `Rename one of them: a column by rename, others by their own option.`,
      });
    }
    seen.add(name);
  }
  return problems;
}

const renamed = ({ rename }: DatasetOptions, name: string): string | undefined => (Object.hasOwn(rename, name) ? rename[name] : undefined);
