/**
 * New tables of a source as changes that somebody decides on. One that waits is a row of `schema_changes` without a shape: with no rule its rows are not even
 * read (`hold`), with one they are, and held by it (`quarantine`).
 */
import type { Dataset, DatasetName } from '../../core/event.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteIdent } from '../../wire/postgres/ident.ts';
import { textArrayParameter } from './arrays.ts';
import type { Layout } from './layout.ts';

export type NewTablesPolicy = 'accept' | 'hold' | 'quarantine' | 'ignore';

/** The kind of such a change, and the finding of rows that are held for it. */
export const NEW_TABLE = 'table';
const NEW_TABLE_RULE = 'schema.table';
const MESSAGE = 'the table is new';

export interface NewTablesQuestion {
  readonly policy: NewTablesPolicy;
  /** Those that are not followed, each with what there is of it to make at the target. */
  readonly tables: ReadonlyMap<DatasetName, Creation | null>;
  /** Of the config: nobody has to decide on them any more. */
  readonly named: readonly DatasetName[];
  /** What is found is no news: only what was decided before counts. */
  readonly isBeginning: boolean;
  /** There are no others: what waits and is not among them is gone. */
  readonly isAll: boolean;
}

/** Why a table is not followed. */
export type LeftOut =
  /** It waits for somebody. */
  { readonly kind: 'held' } | { readonly kind: 'rejected'; readonly by: string; readonly why: string } | { readonly kind: 'ignored' };

/** The table that a dataset has no table of yet, as it would be made. */
export interface Creation {
  readonly do: 'create';
  readonly columns: readonly CreatedColumn[];
  readonly key: readonly string[];
  /** Of the rows that are unique by their key; null where all are. */
  readonly where: string | null;
}

interface CreatedColumn {
  readonly name: string;
  readonly type: string;
  /** Whether texts stand for its values: an enum that the target lacks is made as such. */
  readonly isText?: boolean;
}

interface Known {
  readonly status: string;
  readonly rule: string;
  readonly by: string;
  readonly why: string;
}

/** What is to be done about the rows that there are. */
interface Due {
  readonly insert: readonly DatasetName[];
  /** Held so far without being read. */
  readonly accept: readonly DatasetName[];
  readonly quarantine: readonly DatasetName[];
  readonly forget: readonly DatasetName[];
}

/** Answers those that are not to be followed. `transaction` is only asked for where something has to be written down. */
export async function decideNewTables(
  sql: PgConnection,
  pipeline: string,
  question: NewTablesQuestion,
  transaction: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<ReadonlyMap<DatasetName, LeftOut>> {
  const before = await readKnown(sql, pipeline);
  if (!isAnyDue(dueOf(question, before))) return leftOut(question, before);
  return transaction(async () => {
    await write(sql, pipeline, question, dueOf(question, await readKnown(sql, pipeline)));
    return leftOut(question, await readKnown(sql, pipeline));
  });
}

async function readKnown(sql: PgConnection, pipeline: string): Promise<ReadonlyMap<DatasetName, Known>> {
  const { rows } = await sql.query(
    `select distinct on (dataset) dataset, status, rule, by_whom, why from tidegate.schema_changes
     where pipeline = $1 and kinds -> 0 ->> 'kind' = '${NEW_TABLE}' order by dataset, id desc`,
    [pipeline],
  );
  return new Map(
    rows.map(([dataset, status, rule, by, why]) => [
      (dataset ?? '') as DatasetName, // Written by us.
      { status: status ?? '', rule: rule ?? '', by: by ?? '', why: why ?? '' },
    ]),
  );
}

function dueOf({ policy, tables, named, isBeginning, isAll }: NewTablesQuestion, known: ReadonlyMap<DatasetName, Known>): Due {
  const unread = [...known].filter(([, { rule, status }]) => rule === '' && (status === 'held' || status === 'rejected'));
  const waiting = unread.flatMap(([dataset, { status }]) => (status === 'held' ? [dataset] : []));
  const present = waiting.filter((dataset) => tables.has(dataset));
  const isAsked = policy === 'hold' || policy === 'quarantine';
  return {
    insert: isAsked && !isBeginning ? [...tables.keys()].filter((dataset) => !known.has(dataset)) : [],
    accept: [...unread.flatMap(([dataset]) => (named.includes(dataset) ? [dataset] : [])), ...(policy === 'accept' ? present : [])],
    quarantine: policy === 'quarantine' ? present : [],
    forget: waiting.filter((dataset) => !named.includes(dataset) && (policy === 'ignore' || (isAll && !tables.has(dataset)))),
  };
}

const isAnyDue = ({ insert, accept, quarantine, forget }: Due): boolean =>
  [insert, accept, quarantine, forget].some((datasets) => datasets.length > 0);

/** In a transaction that has the pipeline's turn. */
async function write(sql: PgConnection, pipeline: string, { policy, tables }: NewTablesQuestion, due: Due): Promise<void> {
  const rule = policy === 'quarantine' ? NEW_TABLE_RULE : '';
  for (const dataset of due.insert)
    await sql.query(
      `insert into tidegate.schema_changes (pipeline, dataset, version, kinds, message, actions, keyless, rule, status)
       values ($1, $2, '', $3::jsonb, $4, $5::jsonb, false, $6, 'held')`,
      [pipeline, dataset, kindsOf(policy), MESSAGE, JSON.stringify([tables.get(dataset) ?? []].flat()), rule],
    );
  const update = (datasets: readonly DatasetName[], what: string): Promise<unknown> =>
    sql.query(
      `${what} where pipeline = $1 and dataset = any($2::text[]) and kinds -> 0 ->> 'kind' = '${NEW_TABLE}' and rule = ''
       and status in ('held', 'rejected')`,
      [pipeline, textArrayParameter(datasets)],
    );
  await update(due.accept, "update tidegate.schema_changes set status = 'accepted', settled_at = clock_timestamp()");
  await update(due.quarantine, `update tidegate.schema_changes set rule = '${NEW_TABLE_RULE}', kinds = '${kindsOf('quarantine')}'`);
  await update(due.forget, 'delete from tidegate.schema_changes');
}

const kindsOf = (policy: NewTablesPolicy): string => JSON.stringify([{ kind: NEW_TABLE, policy, column: null, message: MESSAGE }]);

function leftOut({ policy, tables, isBeginning }: NewTablesQuestion, known: ReadonlyMap<DatasetName, Known>): Map<DatasetName, LeftOut> {
  const left = new Map<DatasetName, LeftOut>();
  for (const dataset of tables.keys()) {
    const { status, rule, by, why } = known.get(dataset) ?? { status: '', rule: '', by: '', why: '' };
    if (status === 'rejected') left.set(dataset, { kind: 'rejected', by, why });
    else if (status === 'held' && rule === '') left.set(dataset, { kind: 'held' });
    else if (policy === 'ignore' && !isBeginning && status !== 'approved' && status !== 'accepted') left.set(dataset, { kind: 'ignored' });
  }
  return left;
}

/** `beside`: what is written beside the dataset's own columns. */
export function creationOf(
  dataset: Dataset,
  layout: Layout,
  where: string | null,
  beside: readonly { readonly name: string; readonly type: string }[],
): Creation {
  const own = dataset.columns.flatMap(({ native, type }, i): CreatedColumn[] => {
    const name = layout.names[i] ?? null;
    return name === null ? [] : [{ name, type: native, ...(type === 'text' ? { isText: true } : {}) }];
  });
  return { do: 'create', columns: [...own, ...beside], key: dataset.key.map((i) => layout.names[i] ?? ''), where };
}

/** The statements that make a table. */
export function creationSql(qualified: string, { columns, key, where }: Omit<Creation, 'do'>): string[] {
  const list = columns.map(({ name, type }) => `${quoteIdent(name)} ${type}`).join(', ');
  const keyList = key.map(quoteIdent).join(', ');
  return where === null
    ? [`create table if not exists ${qualified} (${list}, primary key (${keyList}))`]
    : [`create table if not exists ${qualified} (${list})`, `create unique index on ${qualified} (${keyList}) where ${where}`];
}

/** Those that are left to run, were the table made now: none where it is there. */
export async function creationLeft(sql: PgConnection, qualified: string, creation: Creation): Promise<readonly string[]> {
  const there = await sql.query('select to_regclass($1)', [qualified]);
  if ((there.rows[0]?.[0] ?? null) !== null) return [];
  const texts = creation.columns.flatMap(({ type, isText }) => (isText === true ? [type] : []));
  const { rows } = await sql.query('select n from unnest($1::text[]) n where to_regtype(n) is null', [textArrayParameter(texts)]);
  const lacking = new Set(rows.map(([type]) => type ?? ''));
  const columns = creation.columns.map((column) =>
    lacking.has(column.type) && column.isText === true ? { ...column, type: 'text' } : column,
  );
  return creationSql(qualified, { ...creation, columns });
}
