/**
 * Whether a text is a value of a type of the target, by the target's own word: one that is none names no row by a column of that type, and a cast of it would
 * end the transaction.
 */
import type { ColumnType, Dataset } from '../../../core/event.ts';
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import { textArrayParameter } from '../arrays.ts';
import type { AskedTable } from './asked-table.ts';
import type { Tuple } from './occupancy.ts';

/** Servers before this one have no function for it, and get one of the session's own. */
const SINCE = 16;

const OWN_SQL = `
  create function pg_temp.tidegate_is_castable(value text, type text) returns boolean language plpgsql as $$
  begin
    execute format('select $1::%s', type) using value;
    return true;
  exception when data_exception or integrity_constraint_violation then
    return false;
  end $$`;

/** Batch after batch asks for it: made anew each time it would leave as many dead rows in the catalog. */
export async function prepareCastable(sql: PgConnection): Promise<void> {
  if (sql.majorVersion >= SINCE) return;
  const { rows } = await sql.query("select to_regprocedure('pg_temp.tidegate_is_castable(text, text)')");
  if ((rows[0]?.[0] ?? null) === null) await sql.query(OWN_SQL);
}

/** Both are expressions of SQL; a null is a value of every type. */
export function castableSql({ majorVersion }: Pick<PgConnection, 'majorVersion'>, text: string, type: string): string {
  const name = majorVersion < SINCE ? 'pg_temp.tidegate_is_castable' : 'pg_input_is_valid';
  return `coalesce(${name}(${text}, ${type}), true)`;
}

/** Those of the tuples that are values of the columns. Only asked where the dataset's own columns do not promise it. */
export async function castableOf(
  sql: PgConnection,
  { columns }: AskedTable,
  dataset: Dataset,
  places: readonly number[],
  tuples: readonly Tuple[],
): Promise<readonly Tuple[]> {
  const doubtful = columns.flatMap(({ cast }, i) => (isPromised(dataset, places[i] ?? -1, cast) ? [] : [{ cast, i }]));
  if (doubtful.length === 0 || tuples.length === 0) return tuples;
  await prepareCastable(sql);
  const names = doubtful.map((_, at) => `c${at}`);
  const given = doubtful.map((_, at) => `$${at + 1}::text[]`);
  const tests = doubtful.map((_, at) => castableSql(sql, `c${at}`, `$${doubtful.length + at + 1}::text`));
  const { rows } = await sql.query(
    `select u.at from unnest(${given.join(', ')}) with ordinality u(${names.join(', ')}, at) where ${tests.join(' and ')}`,
    [...doubtful.map(({ i }) => textArrayParameter(tuples.map((tuple) => tuple[i] ?? null))), ...doubtful.map(({ cast }) => cast)],
  );
  const castable = new Set(rows.map(([at]) => Number(at) - 1));
  return tuples.filter((_, at) => castable.has(at));
}

const OF_TEXTS: ReadonlySet<string> = new Set(['text', 'character varying', 'bpchar']);
const PROMISED: Readonly<Partial<Record<ColumnType, ReadonlySet<string>>>> = {
  integer: new Set(['bigint', 'numeric']),
  decimal: new Set(['numeric']),
  boolean: new Set(['boolean']),
};

function isPromised({ columns }: Dataset, place: number, cast: string): boolean {
  const column = columns[place];
  return OF_TEXTS.has(cast) || (column !== undefined && (column.native === cast || PROMISED[column.type]?.has(cast) === true));
}
