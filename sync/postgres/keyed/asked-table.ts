/** A table of the target as rules ask it: its columns under the target's names and types, and the indices without which every question reads all of it. */
import { type Dataset, UNCHANGED, type Value } from '../../../core/event.ts';
import type { KeyedRule } from '../../../core/keyed.ts';
import type { PgConnection } from '../../../wire/postgres/connection.ts';
import { arrayLiteral, quoteIdent } from '../../../wire/postgres/ident.ts';
import { aliveSql } from '../layout.ts';
import type { Table } from '../tables.ts';

/** What has to be known of a table of the target to ask it. */
export type AskableTable = Pick<Table, 'qualified' | 'layout' | 'columns'>;

export interface AskedColumn {
  /** Quoted. */
  readonly name: string;
  /** What a text is cast to so that it becomes what the column would hold. */
  readonly cast: string;
}

export interface AskedTable {
  readonly qualified: string;
  readonly columns: readonly AskedColumn[];
  /** ` and t."deleted_at" is null`, where deleted rows stay. */
  readonly andAlive: string;
}

/** An assignment rounds a number to its type, and a cast does the same; but of a text a cast would cut off what an assignment refuses. */
function castOf({ type, base }: { readonly type: string; readonly base: string }): string {
  if (base === 'character') return 'bpchar';
  return base === 'character varying' || base.startsWith('bit') ? base : type;
}

/** The columns at these places of a dataset; null where one of them is not written. */
export function askedOf(table: AskableTable, places: readonly number[]): AskedTable | null {
  const columns = places.map((place) => table.columns[place] ?? null);
  if (columns.includes(null)) return null;
  const alive = aliveSql(table.layout, 't');
  return {
    qualified: table.qualified,
    columns: columns.flatMap((column) => (column === null ? [] : [{ name: quoteIdent(column.name), cast: castOf(column) }])),
    andAlive: alive === null ? '' : ` and ${alive}`,
  };
}

/** Whether some index finds rows by these columns: they are its first ones, in whatever order but for the last where that is told. */
export const INDEX_SQL = `
  select 1 from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
   where i.indrelid = to_regclass($1) and i.indisvalid and m.amname in ('btree', 'hash')
     and (select array_agg(a.attname::text order by a.attname) from unnest((i.indkey::int2[])[0:cardinality($2::text[]) - 1]) k
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k) = (select array_agg(n order by n) from unnest($2::text[]) n)
     and ($3::text is null or m.amname = 'btree' and
       (select a.attname from pg_attribute a where a.attrelid = i.indrelid and a.attnum = (i.indkey::int2[])[cardinality($2::text[]) - 1]) = $3)`;

export interface WantedIndex {
  readonly qualified: string;
  /** The target's names. */
  readonly columns: readonly string[];
  /** The one that stands last in it, where it is asked for a range of that. */
  readonly last: string | null;
}

/** What finds the rows that a rule asks for; null where none is needed, or a column is not written. `names`: the target's, by the dataset's columns. */
export function wantedIndex({ question }: KeyedRule, qualified: string, names: readonly (string | null)[]): WantedIndex | null {
  if (question.kind !== 'unique' && question.kind !== 'sequence') return null;
  const places = question.kind === 'unique' ? question.columns : [...question.groupBy, question.column];
  const columns = places.flatMap((place) => names[place] ?? []);
  if (columns.length < places.length) return null;
  return { qualified, columns, last: question.kind === 'sequence' ? (columns.at(-1) ?? null) : null };
}

export async function hasIndex(sql: PgConnection, { qualified, columns, last }: WantedIndex): Promise<boolean> {
  const { rows } = await sql.query(INDEX_SQL, [qualified, arrayLiteral(columns), last]);
  return rows.length > 0;
}

export const indexSql = ({ qualified, columns }: WantedIndex): string =>
  `create index on ${qualified} (${columns.map(quoteIdent).join(', ')})`;

/** A cell as a text that its type reads; undefined where it was not sent, or cannot be read, which is a finding already. */
export function cellText(read: () => Value): string | null | undefined {
  let value: Value;
  try {
    value = read();
  } catch {
    return undefined;
  }
  if (value === UNCHANGED) return undefined;
  if (value === null || typeof value === 'string') return value;
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}`;
  return String(value);
}

/** The parts of a canonical key, as texts that the key's types read. */
export function keyParts(dataset: Dataset, key: string): readonly string[] {
  const parts = dataset.key.length === 1 ? [key] : (JSON.parse(key) as string[]); // As keyOf writes it.
  return parts.map((part, i) => (dataset.columns[dataset.key[i] ?? -1]?.type === 'bytes' ? `\\x${part}` : part));
}
