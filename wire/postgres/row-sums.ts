/**
 * The rows of a table as checksums, by ranges of its key or row by row: computed inside the database, by the same SQL on two servers, so that two
 * tables are compared without moving their rows. A row is a hash of the texts of its cells; a range is the number of its rows and the XOR of
 * their hashes, in which no row can take another's place, for each has its key in it.
 */
import type { PgConnection, PgResult } from './connection.ts';
import { arrayLiteral, quoteIdent, quoteLiteral, quoteQualified } from './ident.ts';

/** A key as texts of its columns, in the order of the key. */
export type KeyTexts = readonly string[];

/** From behind `after` up to and with `to`; null: without a bound. */
export interface KeyRange {
  readonly after: KeyTexts | null;
  readonly to: KeyTexts | null;
}

export interface RangeSum {
  readonly rows: number;
  readonly sum: string;
}

export interface RowHash {
  readonly key: KeyTexts;
  readonly hash: string;
}

/** One row as it stood in one snapshot; all null where there is none. */
export interface RowSight {
  /** The hashes of its cells in order, as the text of an array; equal texts are equal rows. */
  readonly cells: string | null;
  /** Which version of the row it is (table, place and transaction): the same text is the same version, and nothing was written in between. */
  readonly version: string | null;
}

/** A column as one server has it. */
export interface SideColumn {
  readonly name: string;
  readonly oid: number;
  /** The type as SQL, with its modifier. */
  readonly type: string;
  /** The same without. */
  readonly base: string;
  /** How its texts sort: columns where this is the same sort alike, on whatever server. `bytes` as well where the type has no collation; null: nobody knows. */
  readonly order: string | null;
  /** The schema of the type; of a domain, that of its base. */
  readonly schema: string;
  /** Whether the server makes its values itself. */
  readonly generated: boolean;
}

/** A column of the key. `isForeign`: the texts that it is looked for by may be none of the type, for the other server has another; from PostgreSQL 16 on. */
export interface ComparedKey {
  readonly name: string;
  readonly type: string;
  readonly text: string;
  readonly isForeign?: boolean;
}

/** A table as one server has it; `cells` and `key` are in the same order on both. */
export interface ComparedTable {
  /** `"schema"."table" t`, or a query under the same alias. */
  readonly from: string;
  /** Of the rows that count, as SQL; null: every row. */
  readonly filter: string | null;
  readonly key: readonly ComparedKey[];
  /** SQL of the cells' texts. */
  readonly cells: readonly string[];
  /** SQL of what stands for the cells in the text of a row: the bare column where both servers have the same type, which is cheaper, else its text. */
  readonly rowCells: readonly string[];
  readonly version: string;
  readonly hash: HashKind;
}

/** `native`: PostgreSQL's own hash of a text, which depends on the encoding and on the machine's byte order. `portable`: three times as dear. */
export type HashKind = 'native' | 'portable';

/** Settings of a session that compares: texts look the same everywhere, the index of the key is used, and policies never hide rows. */
export const COMPARING: Readonly<Record<string, string>> = {
  search_path: 'pg_catalog',
  lc_monetary: 'C',
  row_security: 'off',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '60s',
  idle_session_timeout: '0',
  jit: 'off',
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
  max_parallel_workers_per_gather: '0',
};

/** The hash that means the same on both servers. */
export async function commonHash(one: PgConnection, other: PgConnection): Promise<HashKind> {
  const probe = `select pg_catalog.hashtextextended('Tidegate' collate "C", 0), pg_catalog.current_setting('server_encoding')`;
  const [first, second] = await Promise.all([one.query(probe), other.query(probe)]);
  return JSON.stringify(first.rows) === JSON.stringify(second.rows) ? 'native' : 'portable';
}

function hashOf(text: string, kind: HashKind): string {
  return kind === 'native'
    ? `pg_catalog.hashtextextended((${text}) collate "C", 0)`
    : `('x' || pg_catalog."left"(pg_catalog.md5(pg_catalog.convert_to(${text}, 'UTF8')), 16))::bit(64)::int8`;
}

const PLAIN_TABLE_VERSION = `t.tableoid::text || ' ' || t.ctid::text || ' ' || t.xmin::text`;

/** A table that is there. What inherits from it is a table of its own; a partitioned table's rows are those of its partitions. */
export const plainTable = (schema: string, name: string, isPartitioned: boolean): Pick<ComparedTable, 'from' | 'version'> => ({
  from: `${isPartitioned ? '' : 'only '}${quoteQualified(schema, name)} t`,
  version: PLAIN_TABLE_VERSION,
});

/** A table that is not there yet, as an empty one. */
export const absentTable = (columns: readonly string[]): Pick<ComparedTable, 'from' | 'version'> => ({
  from: `(select ${columns.map((name) => `null::text as ${quoteIdent(name)}`).join(', ')} where false) t`,
  version: `''`,
});

const describeColumnsSql = (databaseVersion: string): string => `
  select a.attrelid, a.attname, a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.format_type(a.atttypid, -1),
         case when a.attcollation = 0 then 'bytes'
              when not c.collisdeterministic then null
              when l.provider in ('b', 'c') and l.locale in ('C', 'POSIX', 'C.UTF-8', 'C.UTF8', 'C.utf8', 'PG_UNICODE_FAST') then 'bytes'
              -- Of another version than its indices, or of one that nobody knows, it may sort otherwise than another server's.
              when l.known = l.actual then pg_catalog.concat_ws(' ', l.provider, l.locale, l.rules, l.actual) end,
         n.nspname, a.attgenerated <> '' or a.attidentity = 'a'
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid left join pg_catalog.pg_type b on b.oid = t.typbasetype
    join pg_catalog.pg_namespace n on n.oid = coalesce(b.typnamespace, t.typnamespace)
    left join pg_catalog.pg_collation c on c.oid = a.attcollation
    join pg_catalog.pg_database d on d.datname = pg_catalog.current_database()
    -- By JSON, for columns come and go: PostgreSQL 14 knows neither a database's version nor its provider.
    cross join lateral (select pg_catalog.to_jsonb(c) as c, pg_catalog.to_jsonb(d) as d) j
    cross join lateral (select
      case c.collprovider when 'd' then coalesce(j.d ->> 'datlocprovider', 'c') else c.collprovider::text end as provider,
      case c.collprovider when 'd' then coalesce(j.d ->> 'datlocale', j.d ->> 'daticulocale', d.datcollate)
                          else coalesce(j.c ->> 'colllocale', j.c ->> 'colliculocale', c.collcollate) end as locale,
      case c.collprovider when 'd' then j.d ->> 'daticurules' else j.c ->> 'collicurules' end as rules,
      case c.collprovider when 'd' then j.d ->> 'datcollversion' else c.collversion end as known,
      case c.collprovider when 'd' then ${databaseVersion} else pg_catalog.pg_collation_actual_version(c.oid) end as actual) l
   where a.attrelid = any($1::pg_catalog.oid[]) and a.attnum > 0 and not a.attisdropped`;

/** A table's columns by name. To be asked while the search path is that of COMPARING, so that names of types come out qualified. */
export async function describeColumns(sql: PgConnection, table: number): Promise<ReadonlyMap<string, SideColumn>> {
  return (await describeTables(sql, [table])).get(table) ?? new Map<string, SideColumn>();
}

/** The same of several tables; one that is not there is left out. */
export async function describeTables(
  sql: PgConnection,
  tables: readonly number[],
): Promise<ReadonlyMap<number, ReadonlyMap<string, SideColumn>>> {
  const databaseVersion = sql.majorVersion >= 15 ? 'pg_catalog.pg_database_collation_actual_version(d.oid)' : 'null';
  const { rows } = await sql.query(describeColumnsSql(databaseVersion), [arrayLiteral(tables.map(String))]);
  const described = new Map<number, Map<string, SideColumn>>();
  for (const [table, name, oid, type, base, order = null, schema, generated] of rows) {
    let columns = described.get(Number(table));
    if (columns === undefined) described.set(Number(table), (columns = new Map<string, SideColumn>()));
    columns.set(name ?? '', {
      name: name ?? '',
      oid: Number(oid),
      type: type ?? '',
      base: base ?? '',
      order,
      schema: schema ?? '',
      generated: generated === 't',
    });
  }
  return described;
}

/** Where operators of the key's types are found: an extension's type brings its own. */
export async function searchBy(sql: PgConnection, key: readonly SideColumn[]): Promise<void> {
  const schemas = new Set(['pg_catalog', ...key.map(({ schema }) => schema)]);
  await sql.script(`set search_path = ${[...schemas].map(quoteIdent).join(', ')}`);
}

/**
 * Keys as parameters, and the rows of them: `k` with the columns `tidegate_k0`, `tidegate_k1` …, and their number `tidegate_n`, from 1. A publication's
 * filter names columns without their table, so these have names that no column has.
 */
export function keyRows(columns: number, keys: readonly KeyTexts[]): { readonly from: string; readonly params: readonly string[] } {
  const params = keyArrays(columns, keys);
  return { from: rowsFrom(params.map((_, i) => `$${i + 1}`)), params };
}

/** The same for a statement that takes no parameters. */
export const literalKeyRows = (columns: number, keys: readonly KeyTexts[]): string => rowsFrom(keyArrays(columns, keys).map(quoteLiteral));

const keyArrays = (columns: number, keys: readonly KeyTexts[]): string[] =>
  Array.from({ length: columns }, (_, i) => arrayLiteral(keys.map((texts) => texts[i] ?? '')));

function rowsFrom(arrays: readonly string[]): string {
  const unnested = arrays.map((array) => `pg_catalog.unnest(${array}::text[])`).join(', ');
  return `rows from (${unnested}) with ordinality k(${arrays.map((_, i) => `tidegate_k${i}`).join(', ')}, tidegate_n)`;
}

/** Built-in types whose order is the same everywhere, by what compares with what; those with a collation by that. */
const ORDERS: readonly (readonly number[])[] = [
  [20, 21, 23], // integers
  [25, 1043], // text and varchar
  ...[16, 17, 26, 700, 701, 869, 1042, 1082, 1083, 1114, 1184, 1700, 2950].map((oid) => [oid]),
];

/**
 * Whether a range of this key holds the same keys on both servers. Should it not, after all, nothing is missed, for on each every row is in one range: only rows are looked
 * at one by one that are equal.
 */
export function isOrderedAlike(source: SideColumn, target: SideColumn): boolean {
  return (
    source.order !== null && source.order === target.order && ORDERS.some((oids) => oids.includes(source.oid) && oids.includes(target.oid))
  );
}

/** OIDs below are the same on every server. */
const FIRST_USER_OID = 16_384;
const TEXTS: ReadonlySet<number> = new Set([19, 25, 1043]);
/** char(n), bit(n), bit varying(n): a cast to one of a length cuts what an assignment refuses. */
const CUT: ReadonlySet<number> = new Set([1042, 1560, 1562]);

/** One cell as SQL, as `ComparedTable` has it. */
export interface CellSql {
  readonly text: string;
  readonly inRow: string;
}

/**
 * One cell as text on either side: what the target would hold of the source's value. Where its type is another, the source reads its value as that
 * first. `guarded`: the source can say whether it can (PostgreSQL 16); else a value that it cannot read fails the statement.
 */
export function cellSql(source: SideColumn, target: SideColumn, guarded: boolean): { readonly source: CellSql; readonly target: CellSql } {
  const [here, there] = [`t.${quoteIdent(source.name)}`, `t.${quoteIdent(target.name)}`];
  if (source.type === target.type)
    return { source: { text: `${here}::text`, inRow: here }, target: { text: `${there}::text`, inRow: there } };
  const same = (text: string): CellSql => ({ text, inRow: text });
  // What stands in a text, or in a type that only the target may know, is compared as it is.
  const isPlain = target.oid >= FIRST_USER_OID || TEXTS.has(target.oid);
  return { source: same(isPlain ? `${here}::text` : readAs(`${here}::text`, target, guarded)), target: same(`${there}::text`) };
}

function readAs(text: string, { oid, type, base }: SideColumn, guarded: boolean): string {
  const as = CUT.has(oid) ? base : type;
  const read = `${text}::${as}::text`;
  return guarded ? `case when pg_catalog.pg_input_is_valid(${text}, ${quoteLiteral(as)}) then ${read} else ${text} end` : read;
}

/** Reads one table for a comparison. Every method is one statement, with a snapshot of its own. */
export class RowSums {
  readonly #sql: Pick<PgConnection, 'query'>;
  readonly #table: ComparedTable;
  readonly #keyTexts: string;
  readonly #keyNames: string;
  readonly #rowHash: string;

  constructor(sql: Pick<PgConnection, 'query'>, table: ComparedTable) {
    this.#sql = sql;
    this.#table = table;
    this.#keyTexts = table.key.map(({ text }) => text).join(', ');
    this.#keyNames = table.key.map(({ name }) => name).join(', ');
    this.#rowHash = hashOf(`row(${table.rowCells.join(', ')})::text`, table.hash);
  }

  /** The key of the n-th row of a range; null where it has fewer. */
  async boundary(range: KeyRange, rows: number): Promise<KeyTexts | null> {
    const { where, params } = this.#within(range);
    const sql = `select ${this.#keyTexts} from ${this.#table.from} ${where} order by ${this.#keyNames} offset ${rows - 1} limit 1`;
    const row = (await this.#sql.query(sql, params)).rows[0];
    return row === undefined ? null : row.map(textOf);
  }

  async sum(range: KeyRange): Promise<RangeSum> {
    const { where, params } = this.#within(range);
    const sql = `select pg_catalog.count(*), coalesce(pg_catalog.bit_xor(${this.#rowHash}), 0) from ${this.#table.from} ${where}`;
    const [rows, sum] = (await this.#sql.query(sql, params)).rows[0] ?? [];
    return { rows: Number(rows), sum: sum ?? '' };
  }

  /** All rows; null where there are more than `rowsMax`. */
  async whole(rowsMax: number): Promise<RangeSum | null> {
    const { where, params } = this.#within({ after: null, to: null });
    const rows = `select ${this.#rowHash} as tidegate_h from ${this.#table.from} ${where} limit ${rowsMax + 1}`;
    const found = await this.#sql.query(`select pg_catalog.count(*), coalesce(pg_catalog.bit_xor(tidegate_h), 0) from (${rows}) r`, params);
    const [count, sum] = found.rows[0] ?? [];
    return Number(count) > rowsMax ? null : { rows: Number(count), sum: sum ?? '' };
  }

  /** The rows of a range, or the first of them, in order. */
  async list(range: KeyRange, rowsMax: number | null = null): Promise<readonly RowHash[]> {
    const { where, params } = this.#within(range);
    const limit = rowsMax === null ? '' : `limit ${rowsMax}`;
    const sql = `select ${this.#keyTexts}, ${this.#rowHash} from ${this.#table.from} ${where} order by ${this.#keyNames} ${limit}`;
    return rowHashes(await this.#sql.query(sql, params));
  }

  /** The rows that there are of these keys. */
  async listOf(keys: readonly KeyTexts[]): Promise<readonly RowHash[]> {
    if (keys.length === 0) return [];
    const { from, params } = this.#joined(keys);
    return rowHashes(await this.#sql.query(`select ${this.#keyTexts}, ${this.#rowHash} from ${from}`, params));
  }

  /** What there is of each key, in the order of `keys`. */
  async sights(keys: readonly KeyTexts[]): Promise<readonly RowSight[]> {
    if (keys.length === 0) return [];
    const { from, params } = this.#joined(keys);
    const cells = this.#table.cells.map((text) => hashOf(text, this.#table.hash)).join(', ');
    const { rows } = await this.#sql.query(
      `select k.tidegate_n, array[${cells}]::int8[]::text, ${this.#table.version} from ${from}`,
      params,
    );
    const sights: RowSight[] = keys.map(() => ({ cells: null, version: null }));
    for (const [n, hashes = null, version = null] of rows) sights[Number(n) - 1] = { cells: hashes, version };
    return sights;
  }

  #within({ after, to }: KeyRange): { where: string; params: string[] } {
    const { filter, key } = this.#table;
    const params: string[] = [];
    const conditions = filter === null ? [] : [`(${filter})`];
    const bound = (operator: string, texts: KeyTexts | null): void => {
      if (texts === null) return;
      const places = key.map(({ type }, i) => `$${params.push(texts[i] ?? '')}::text::${type}`);
      conditions.push(`(${this.#keyNames}) ${operator} (${places.join(', ')})`);
    };
    bound('>', after);
    bound('<=', to);
    return { where: conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`, params };
  }

  #joined(keys: readonly KeyTexts[]): { from: string; params: readonly string[] } {
    const { key, filter, from } = this.#table;
    const matches = key.map((column, i) => `${column.name} = ${keyValue(column, `k.tidegate_k${i}`)}`).join(' and ');
    const filtered = filter === null ? '' : ` and (${filter})`;
    const given = keyRows(key.length, keys);
    return { from: `${given.from} join ${from} on ${matches}${filtered}`, params: given.params };
  }
}

/** What is none of the type is the key of no row. */
const keyValue = ({ type, isForeign = false }: ComparedKey, text: string): string =>
  isForeign ? `case when pg_catalog.pg_input_is_valid(${text}, ${quoteLiteral(type)}) then ${text}::${type} end` : `${text}::${type}`;

/** The places of the cells in which two sights of a row differ. */
export function differingCells(one: string, other: string): readonly number[] {
  const [first, second] = [one, other].map((text) => text.slice(1, -1).split(','));
  return (first ?? []).flatMap((hash, i) => (hash === second?.[i] ? [] : [i]));
}

const textOf = (text: string | null): string => text ?? '';

const rowHashes = ({ rows }: PgResult): RowHash[] => rows.map((row) => ({ key: row.slice(0, -1).map(textOf), hash: row.at(-1) ?? '' }));
