/** Queries of rules, as a database is asked them: in a transaction that only reads, for no longer than they may take, on a connection that is opened for it. */
import { type DatasetName, partsOfName } from '../../core/event.ts';
import type { Comparison, ComparisonAnswer, Query, QueryAnswer, Side, Statement } from '../../quality/timers/check.ts';
import { Layouts } from '../../sync/postgres/layout.ts';
import { PgConnection, PgConnectionError, PgError, type PgResult } from '../../wire/postgres/connection.ts';
import { quoteIdent, quoteLiteral, quoteQualified } from '../../wire/postgres/ident.ts';
import { partsOf } from '../config.ts';
import type { Config, PipelineConfig } from '../config-schema.ts';
import { layoutOptions } from '../connect.ts';
import { errorFields, type LogFields } from '../logger.ts';

/** What is shown of rows, where it may be. */
const EXAMPLES = 3;
const EXAMPLE_CHARACTERS = 200;

/** A database that can be asked, and how tables of datasets are named there. */
export interface Askable {
  readonly url: string;
  readonly tableOf: (dataset: DatasetName) => string;
  /** Whether a row of it is there, as SQL; null where all are. */
  readonly aliveIn: (dataset: DatasetName) => string | null;
}

/** null: the pipeline has no database on that side. */
export function askable(config: Config, pipeline: PipelineConfig, side: Side): Askable | null {
  const { source, target } = partsOf(config, pipeline);
  if (side === 'source') {
    const url = source.kind === 'kafka' ? source.database?.url : source.url;
    return url === undefined ? null : { url: url.reveal(), tableOf: sourceTable, aliveIn: () => null };
  }
  if (target.kind !== 'postgres') return null;
  const layouts = new Layouts(target.schema, layoutOptions(target));
  return { url: target.url.reveal(), tableOf: (dataset) => layouts.nameOf(dataset), aliveIn: (dataset) => layouts.aliveIn(dataset) };
}

/** Of `source.schema.table`. */
function sourceTable(dataset: DatasetName): string {
  const { schema, table } = partsOfName(dataset);
  return quoteQualified(schema, table);
}

const DONE = /[\s;]+$/;
/** What a server that is alive may take beyond its own limits, of two statements. */
const GRACE_MS = 5000;

/** The query as a table of another: so that it can write nothing, and is one statement. */
function within(sql: string, dataset: DatasetName, { tableOf }: Askable): string {
  return `(${sql.replaceAll('{batch}', () => tableOf(dataset)).replace(DONE, '')}\n) tidegate_query`;
}

/** Runs `work` in a transaction that only reads. Throws what the server says, and where `signal` aborts. */
async function reading<T>({ url }: Askable, timeoutMs: number, signal: AbortSignal, work: (sql: PgConnection) => Promise<T>): Promise<T> {
  await using sql = await PgConnection.connect(
    { url, applicationName: 'tidegate rules', settings: { default_transaction_read_only: 'on', statement_timeout: String(timeoutMs) } },
    signal,
  );
  const stop = () => {
    sql.cancel().catch(() => {}); // Not waited for: a server that does not hear it ends the query at its limit.
    sql.destroy(new PgConnectionError('the query was given up'));
  };
  signal.addEventListener('abort', stop, { once: true });
  // A server that is gone without a word ends nothing.
  const timer = setTimeout(stop, 2 * timeoutMs + GRACE_MS);
  try {
    signal.throwIfAborted();
    await sql.script('begin read only');
    return await work(sql);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

/** What the query comes to. `examples`: whether values of rows may be shown. */
export function askQuery(query: Query, dataset: DatasetName, of: Askable, examples: boolean, signal: AbortSignal): Promise<QueryAnswer> {
  const from = within(query.sql, dataset, of);
  return reading(of, query.timeoutMs, signal, async (sql) => {
    if (query.returns !== 'rows') {
      const answer = await sql.query(`select * from ${from} limit 2`);
      // A table that was not there when the rule was loaded.
      const wrong = shapeProblem(query, answer);
      if (wrong !== null) throw new WrongShape(wrong.message);
      return { rows: answer.rows.length, examples: [], cell: answer.rows[0]?.[0] ?? null };
    }
    const counted = await sql.query(`select count(*) from ${from}`);
    const rows = Number(counted.rows[0]?.[0] ?? 0);
    const shown =
      examples && rows > 0
        ? await sql.query(`select left(to_jsonb(tidegate_query)::text, ${EXAMPLE_CHARACTERS}) from ${from} limit ${EXAMPLES}`)
        : null;
    return { rows, examples: (shown?.rows ?? []).map(([row]) => row ?? ''), cell: null };
  });
}

/** Of one table: how many rows it has, what columns add up to, and what its rows come to in any order. */
function measured(
  dataset: DatasetName,
  sums: readonly string[],
  checksum: readonly string[] | null,
  { tableOf, aliveIn }: Askable,
): string {
  const alive = aliveIn(dataset);
  const added = sums.map((name) => `coalesce(sum(${quoteIdent(name)}::numeric), 0)`);
  const row = `row(${(checksum ?? []).map((name) => `${quoteIdent(name)}::text`).join(', ')})::text`;
  const hashed = checksum === null ? '0' : `coalesce(sum(hashtextextended(${row}, 0)::numeric), 0)`;
  return `(select array[count(*), ${[...added, hashed].join(', ')}]::numeric[]::text[] from ${tableOf(dataset)}${alive === null ? '' : ` where ${alive}`})`;
}

/** Both in one statement, which sees both as they are at one moment. */
function comparisonSql({ other, sums, checksum }: Comparison, dataset: DatasetName, of: Askable): string {
  const own = measured(
    dataset,
    sums.map(([name]) => name),
    checksum,
    of,
  );
  const theirs = measured(
    other as DatasetName, // It was looked for among the pipeline's when the rule was loaded.
    sums.map(([, name]) => name),
    checksum,
    of,
  );
  return `select * from unnest(${own}, ${theirs}) measured(own, theirs)`;
}

/** What the two tables come to. `examples`: whether values of rows may be shown beside their keys. */
export function askComparison(
  question: Comparison,
  dataset: DatasetName,
  of: Askable,
  examples: boolean,
  signal: AbortSignal,
): Promise<ComparisonAnswer> {
  return reading(of, question.timeoutMs, signal, async (sql) => {
    const { rows } = await sql.query(comparisonSql(question, dataset, of));
    const pairs = rows.map(([own, theirs]) => [own ?? '', theirs ?? ''] as const);
    const none = ['', ''] as const;
    const checksums = pairs.at(-1) ?? none;
    const only = checksums[0] === checksums[1] ? NO_ROWS : await onlyIn(sql, question, dataset, of, examples);
    return { rows: pairs[0] ?? none, sums: pairs.slice(1, -1), checksums, ...only };
  });
}

const NO_ROWS: Pick<ComparisonAnswer, 'onlyOwn' | 'onlyTheirs'> = { onlyOwn: [], onlyTheirs: [] };

/** Some of the rows that the one table has and the other has not, by their keys, where these are compared, or by all that is compared. */
async function onlyIn(
  sql: PgConnection,
  { checksum, other }: Comparison,
  dataset: DatasetName,
  of: Askable,
  examples: boolean,
): Promise<Pick<ComparisonAnswer, 'onlyOwn' | 'onlyTheirs'>> {
  const compared = checksum ?? [];
  try {
    const key = await keyOf(sql, of.tableOf(dataset));
    const isKeyed = key.length > 0 && key.every((name) => compared.includes(name));
    const shown = examples ? compared : isKeyed ? key : [];
    if (shown.length === 0) return NO_ROWS;
    const valuesOf = (name: DatasetName): string => {
      const alive = of.aliveIn(name);
      const columns = compared.map((column) => `${quoteIdent(column)}::text`).join(', ');
      return `select ${columns} from ${of.tableOf(name)}${alive === null ? '' : ` where ${alive}`}`;
    };
    const json = `jsonb_build_object(${shown.flatMap((column) => [quoteLiteral(column), quoteIdent(column)]).join(', ')})::text`;
    const without = (one: DatasetName, less: DatasetName): string =>
      `select left(${json}, ${EXAMPLE_CHARACTERS}) from (${valuesOf(one)} except all ${valuesOf(less)}) differing limit ${EXAMPLES}`;
    const theirs = other as DatasetName; // It was looked for among the pipeline's when the rule was loaded.
    const { rows } = await sql.query(`select to_json(array(${without(dataset, theirs)})), to_json(array(${without(theirs, dataset)}))`);
    const [onlyOwn, onlyTheirs] = (rows[0] ?? []).map((texts) => JSON.parse(texts ?? '[]') as readonly string[]); // Made by the query.
    return { onlyOwn: onlyOwn ?? [], onlyTheirs: onlyTheirs ?? [] };
  } catch (error) {
    // They differ all the same: which rows do takes longer than the query may, or cannot be told.
    if (error instanceof PgError) return NO_ROWS;
    throw error;
  }
}

/** The columns of the table's primary key. */
async function keyOf(sql: PgConnection, table: string): Promise<readonly string[]> {
  const { rows } = await sql.query(
    `select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
     where i.indrelid = $1::regclass and i.indisprimary`,
    [table],
  );
  return rows.map(([name]) => name ?? '');
}

const BOOLEAN = 16;
/** int8, int2, int4, oid, float4, float8, numeric. */
const NUMBERS: ReadonlySet<number> = new Set([20, 21, 23, 26, 700, 701, 1700]);

/** Nothing of the query: the server stops, is full, or was kept from looking at it. */
const SAYS_NOTHING = /^(08|40|53|55|57|58|XX)/;

/** What is asked of a table. */
export interface Asked {
  readonly question: Statement;
  readonly dataset: DatasetName;
}

/**
 * What keeps each from being used, which the database says without running it, on one connection; null where nothing does. Left out are those that
 * it could not be asked about any more.
 */
export async function queryProblems(
  asked: readonly Asked[],
  timeoutMs: number,
  of: Askable,
  signal: AbortSignal,
): Promise<readonly (Wrong | null)[]> {
  const found: (Wrong | null)[] = [];
  const askAll = async (sql: PgConnection) => {
    for (const one of asked) {
      found.push(await problemOf(one, of, sql));
      await sql.script('rollback; begin read only');
    }
  };
  await reading(of, timeoutMs, signal, askAll).catch(() => {}); // Others say that it is away.
  return found;
}

async function problemOf({ question, dataset }: Asked, of: Askable, sql: PgConnection): Promise<Wrong | null> {
  const from = question.kind === 'query' ? within(question.sql, dataset, of) : `(${comparisonSql(question, dataset, of)}) tidegate_query`;
  try {
    const shape = await sql.query(`select * from ${from} limit 0`);
    return question.kind === 'query' ? shapeProblem(question, shape) : null;
  } catch (error) {
    if (!(error instanceof PgError)) throw error;
    return SAYS_NOTHING.test(error.code) ? null : { message: `the ${question.side} refuses the query: ${error.message}`, code: error.code };
  }
}

/** `code`: what the server says, where it does. */
export interface Wrong {
  readonly message: string;
  readonly code: string | null;
}

function shapeProblem({ returns }: Query, { columns }: PgResult): Wrong | null {
  const [first] = columns;
  if (returns === 'rows') return null;
  if (columns.length !== 1 || first === undefined)
    return { message: `the query returns ${columns.length} columns, and one ${returns} is needed`, code: null };
  const fits = returns === 'boolean' ? first.oid === BOOLEAN : NUMBERS.has(first.oid);
  return fits ? null : { message: `the query returns no ${returns}`, code: null };
}

/** What came is nothing that the rule could judge. */
class WrongShape extends Error {
  override readonly name = 'WrongShape';
}

/** Why there is no answer, without a value of any row: some errors quote one. */
export function whyNot(error: unknown, { side, timeoutMs }: Statement): string {
  if (error instanceof WrongShape) return error.message;
  if (error instanceof PgError) {
    if (error.code === '57014') return `the ${side} took longer than ${timeoutMs / 1000} s`;
    return `the ${side} refused the query (${error.code})${error.code.startsWith('42') ? `: ${error.message}` : ''}`;
  }
  return error instanceof PgConnectionError ? `the ${side} could not be asked` : 'it could not be asked';
}

/** For the log, without a value of any row either. */
export function failureFields(error: unknown): LogFields {
  if (error instanceof PgError) return { sqlstate: error.code };
  if (error instanceof PgConnectionError || error instanceof WrongShape) return { error: error.message };
  return errorFields(error);
}
