/** What the source's catalog says of its tables: datasets with types, keys and nullability, and what a snapshot may read. */
import type { Column, Dataset, DatasetName, Declared } from '../../core/event.ts';
import { PipelineError } from '../../core/errors.ts';
import type { Asking } from '../../wire/postgres/kept-statements.ts';
import { arrayLiteral, quoteQualified } from '../../wire/postgres/ident.ts';
import type { PgColumnType, PgRelation } from '../../wire/postgres/row.ts';
import { rawBytes } from '../../wire/postgres/types.ts';
import { ColumnTypes } from './column-types.ts';
import { declarationsOf } from './declarations.ts';
import { arePartly, partitionWithout } from './partition-identity.ts';
import type { RelationMessage } from './pgoutput.ts';

/** Settings of a session at the source, whatever its role's own are: names of types come out qualified, and nothing is given up half way. */
export const SESSION: Readonly<Record<string, string>> = {
  search_path: 'pg_catalog',
  statement_timeout: '0',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  idle_session_timeout: '0',
  default_transaction_read_only: 'off',
  // The log has every row: a snapshot from which a policy hides some fails, and does not leave them out.
  row_security: 'off',
  // What we write into the log are marks: a standby that hangs is no reason to wait.
  synchronous_commit: 'local',
  jit: 'off',
};

/** A table of the catalog, before its types are looked up. */
export interface CatalogTable {
  /** `schema.table` as in the config. */
  readonly table: string;
  readonly schema: string;
  readonly name: string;
  readonly isPartitioned: boolean;
  /** Whether its changes are in the log: those of unlogged and temporary tables are not. */
  readonly isLogged: boolean;
  readonly message: RelationMessage;
  /** Columns of the key in the order of the index behind it: primary key, replica identity index or another unique index; empty without one. */
  readonly keyNames: readonly string[];
  /** The log marks other columns than the key's, for its partitions have other identities than the table: see partition-identity.ts. */
  readonly isKeyOfPartitions: boolean;
  /** Old rows that the log has come whole: with identity `full`, which a partitioned table's partitions have to have as well. */
  readonly sendsOldRows: boolean;
  readonly comment: string | null;
  readonly columnComments: ReadonlyMap<string, string>;
  /** From the planner's statistics; null where there are none yet. */
  readonly rowsEstimated: number | null;
  /** Condition of the publication, as SQL; null: every row, or nobody asked for it. */
  readonly rowFilter: string | null;
  /** Whether there is one. */
  readonly isFiltered: boolean;
  /** Of the table in the publication: another where it has left and come back, with other columns or rows, or as another table of that name. Null where it is in none. */
  readonly entry: string | null;
}

/** What a relation is called now, as `schema.table`; null where it is gone. */
export async function nameOfRelation(connection: Asking, oid: number): Promise<string | null> {
  const { rows } = await connection.query(
    `select n.nspname || '.' || c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = $1::pg_catalog.oid`,
    [String(oid)],
  );
  return rows[0]?.[0] ?? null;
}

/** Splits `schema.table` as the config has it: a table's name may hold dots, its schema's may not. */
export function splitTable(table: string): { readonly schema: string; readonly name: string } {
  const dot = table.indexOf('.');
  return dot < 0 ? { schema: 'public', name: table } : { schema: table.slice(0, dot), name: table.slice(dot + 1) };
}

/** The same with its schema in any case. */
export function qualifiedName(table: string): string {
  const { schema, name } = splitTable(table);
  return `${schema}.${name}`;
}

/** As SQL. */
export function quotedTable(table: string): string {
  const { schema, name } = splitTable(table);
  return quoteQualified(schema, name);
}

/**
 * The table's present shape, or null where there is no such table. With a publication, only the columns that it publishes. `rowFilter` is asked for by who reads rows: newer servers
 * lock the table for it, and a log whose reader waits for whoever changes one table stands still for all.
 */
export async function readTable(
  connection: Asking,
  table: string,
  publication: string | null,
  rowFilter: 'asked' | 'not asked' = 'asked',
): Promise<CatalogTable | null> {
  const { schema, name } = splitTable(table);
  const found = await connection.query(
    `select c.oid, c.relreplident, c.reltuples::bigint, c.relkind, c.relpersistence, pg_catalog.obj_description(c.oid, 'pg_class')
       from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname = $1 and c.relname = $2 and c.relkind in ('r', 'p')`,
    [schema, name],
  );
  const row = found.rows[0];
  if (row === undefined) return null;
  const [oid = '0', identity, tuples, kind, persistence, comment] = row;
  const published = await publishedColumns(connection, oid ?? '0', publication, rowFilter === 'asked');
  const columns = await connection.query(
    `select a.attname, a.atttypid, a.atttypmod, pg_catalog.col_description(a.attrelid, a.attnum), a.attgenerated, a.attnum
       from pg_catalog.pg_attribute a where a.attrelid = $1::pg_catalog.oid and a.attnum > 0 and not a.attisdropped order by a.attnum`,
    [oid],
  );
  const kept = columns.rows.filter(([, , , , generated, number]) =>
    published.columns === null ? generated === '' || (published.generated && generated === 's') : published.columns.has(number ?? ''),
  );
  const isPartitioned = kind === 'p';
  const { keyNames, isKeyOfPartitions } = await readKey(connection, Number(oid), identityOf(identity), isPartitioned);
  return {
    table,
    schema,
    name,
    isPartitioned,
    isLogged: persistence === 'p',
    keyNames,
    isKeyOfPartitions,
    sendsOldRows: identity === 'f' && !(isPartitioned && (await arePartly(connection, Number(oid)))),
    comment: comment ?? null,
    columnComments: new Map(kept.flatMap(([column, , , text]) => (typeof text === 'string' ? [[column ?? '', text]] : []))),
    rowsEstimated: tuples === undefined || tuples === null || Number(tuples) < 0 ? null : Number(tuples),
    rowFilter: published.rowFilter,
    isFiltered: published.isFiltered,
    entry: published.entry,
    message: {
      oid: Number(oid),
      schema,
      table: name,
      identity: identityOf(identity),
      columns: kept.map(([column, type, typmod]) => ({
        name: column ?? '',
        typeOid: Number(type),
        typmod: Number(typmod),
        inKey: keyNames.includes(column ?? ''),
      })),
    },
  };
}

function identityOf(text: string | null | undefined): RelationMessage['identity'] {
  return text === 'n' || text === 'f' || text === 'i' ? text : 'd';
}

/**
 * What of a table a publication has: `columns` are their numbers, or null for all that are not generated (and those too, where they are stored
 * and `generated` says so: PostgreSQL 18). Column lists and row filters exist since PostgreSQL 15; before, a publication has every column and row.
 * Not asked of the view pg_publication_tables, which locks all tables of the publication: beside the lock that a chunk holds, that may be one too
 * many for a transaction at work on two of them.
 */
async function publishedColumns(connection: Asking, oid: string, publication: string | null, asksFilter: boolean): Promise<Published> {
  const version = connection.majorVersion;
  if (publication === null) return EVERYTHING;
  const filter = `${asksFilter ? 'pg_catalog.pg_get_expr(r.prqual, r.prrelid)' : 'null'}, r.prqual is not null`;
  const lists = version < 15 ? 'null, null, false' : `pg_catalog.array_to_json(r.prattrs::int2[]), ${filter}`;
  const found = await connection.query(
    `select ${lists}, ${version < 18 ? 'false' : "p.pubgencols = 's'"}, ${entrySql(version, '$2::pg_catalog.oid')}
       from pg_catalog.pg_publication p left join pg_catalog.pg_publication_rel r on r.prpubid = p.oid and r.prrelid = $2::pg_catalog.oid
      where p.pubname = $1`,
    [publication, oid],
  );
  const [numbers, rowFilter = null, isFiltered, generated, entry = null] = found.rows[0] ?? [];
  const columns = typeof numbers === 'string' ? new Set((JSON.parse(numbers) as number[]).map(String)) : null;
  return { columns, generated: generated === 't', rowFilter, isFiltered: isFiltered === 't', entry };
}

/**
 * What a table has in the publication `p`, another while it is unlogged, for then nothing of it is sent: the number of its own entry, or of that of the table that it is a partition of; of its schema's (which there are since
 * PostgreSQL 15) together with its own and the transaction that put it into that schema, for in another one nothing of it is sent; its own alone where all tables are published. Together with the transaction that last changed what the publication has of
 * all its tables: which operations, and whether partitions come as their table.
 */
const entrySql = (version: number, table: string): string => `(coalesce(
    (select pg_catalog.max(e.oid) from pg_catalog.pg_publication_rel e where e.prpubid = p.oid
        and e.prrelid in (select ${table} union all select a.relid from pg_catalog.pg_partition_ancestors(${table}) a)),
    ${version < 15 ? '' : schemaEntrySql(table)}
    case when p.puballtables then ${table} end)::pg_catalog.int8 operator(pg_catalog.#) p.xmin::text::pg_catalog.int8 operator(pg_catalog.#)
    coalesce((select 2147483648 from pg_catalog.pg_class u where u.oid = ${table} and u.relpersistence = 'u'), 0))::pg_catalog.oid`;

const schemaEntrySql = (table: string): string =>
  `(select (m.oid::pg_catalog.int8 operator(pg_catalog.#) s.oid::pg_catalog.int8 operator(pg_catalog.#) coalesce(
          (select d.xmin::text::pg_catalog.int8 from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
              and d.objid = s.oid and d.objsubid = 0 and d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass), 0))::pg_catalog.oid
      from pg_catalog.pg_publication_namespace m join pg_catalog.pg_class s on s.relnamespace = m.pnnspid
     where m.pnpubid = p.oid and s.oid = ${table}),`;

/** The entries of tables in a publication; those without one are left out. */
export async function entriesOf(connection: Asking, publication: string, tables: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const split = tables.map(splitTable);
  const { rows } = await connection.query(
    `select w.s || '.' || w.t, ${entrySql(connection.majorVersion, 'c.oid')}
       from unnest($2::text[], $3::text[]) w(s, t) join pg_catalog.pg_namespace n on n.nspname = w.s
       join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.t cross join pg_catalog.pg_publication p
      where p.pubname = $1`,
    [publication, arrayLiteral(split.map(({ schema }) => schema)), arrayLiteral(split.map(({ name }) => name))],
  );
  return new Map(rows.flatMap(([table, entry]) => (typeof entry === 'string' ? [[table ?? '', entry]] : [])));
}

interface Published extends Pick<CatalogTable, 'rowFilter' | 'isFiltered' | 'entry'> {
  readonly columns: ReadonlySet<string> | null;
  readonly generated: boolean;
}

const EVERYTHING: Published = { columns: null, generated: false, rowFilter: null, isFiltered: false, entry: null };

/**
 * The columns that tell rows apart, in the order of their index. What the log sends of an old row are the columns of the replica identity, so
 * an identity index comes before the primary key. With identity `full` any unique index will do that can't hold nulls or parts of the table. Of a partitioned table
 * it is one whose columns all of its partitions send.
 */
async function readKey(
  connection: Asking,
  oid: number,
  identity: RelationMessage['identity'],
  isPartitioned: boolean,
): Promise<Pick<CatalogTable, 'keyNames' | 'isKeyOfPartitions'>> {
  if (identity === 'n') return { keyNames: [], isKeyOfPartitions: false };
  const isSent = async (key: readonly string[]): Promise<boolean> =>
    !isPartitioned || (await partitionWithout(connection, oid, key)) === null;
  const fits = identity === 'i' ? 'i.indisreplident' : identity === 'd' ? 'i.indisprimary' : 'true';
  const [marked] = await keysOf(connection, oid, fits);
  if (marked === undefined || (await isSent(marked))) return { keyNames: marked ?? [], isKeyOfPartitions: false };
  for (const key of await keysOf(connection, oid, 'true')) if (await isSent(key)) return { keyNames: key, isKeyOfPartitions: true };
  return { keyNames: [], isKeyOfPartitions: true };
}

/** Columns of the indices that tell rows apart, the primary key first. */
async function keysOf(connection: Asking, oid: number, fits: string): Promise<readonly (readonly string[])[]> {
  const found = await connection.query(
    `select pg_catalog.array_to_json(array(
              select a.attname from pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality k(attnum, n)
                join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
               where k.n <= i.indnkeyatts order by k.n))
       from pg_catalog.pg_index i
      where i.indrelid = $1::pg_catalog.oid and ${TELLS_APART} and ${fits}
      order by i.indisprimary desc, i.indexrelid`,
    [String(oid)],
  );
  return found.rows.flatMap(([names]) => (typeof names === 'string' ? [JSON.parse(names) as string[]] : []));
}

/** Why a table that was found without a key has none, and what else of it would do. */
export async function keylessText(
  connection: Asking,
  { table, isKeyOfPartitions, message: { oid, identity } }: CatalogTable,
): Promise<string> {
  if (identity === 'n') return 'its replica identity is nothing';
  if (isKeyOfPartitions) {
    const [key = []] = await keysOf(connection, oid, 'true');
    const partition = await partitionWithout(connection, oid, key);
    return `its partition ${partition ?? ''} has another replica identity, so the log has old rows without ${key.join(', ')}: give it one that has them`;
  }
  const found = await connection.query(
    `select pg_catalog.quote_ident(c.relname) from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
      where i.indrelid = $1::pg_catalog.oid and ${TELLS_APART} order by i.indexrelid limit 1`,
    [String(oid)],
  );
  const index = found.rows[0]?.[0] ?? null;
  const way = index === null ? '' : `; its unique index would do: alter table ${quotedTable(table)} replica identity using index ${index}`;
  return `it has no primary key${way}`;
}

/** Of pg_index `i`: whether no two rows, and no row without a value, can have the same of its columns. */
const TELLS_APART = `i.indisunique and i.indimmediate and i.indisvalid and i.indpred is null
        and not exists (select from pg_catalog.unnest(i.indkey::pg_catalog.int2[]) with ordinality k(attnum, n)
                          left join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
                         where k.n <= i.indnkeyatts and (k.attnum = 0 or not a.attnotnull))`;

/**
 * Datasets by table. A change of shape makes a new Dataset with the next version; the same shape is the same object, whether the log or a
 * chunk describes it. The log's description is of the past (a column may be gone by now), the catalog's of the present: what both know is
 * taken from the log.
 */
export class Datasets {
  readonly #source: string;
  readonly #types = new ColumnTypes();
  readonly #current = new Map<string, Shaped>();
  readonly #known = new Map<string, PgRelation>();
  readonly #presents = new Map<string, Shaped & { readonly evidence: string; readonly present: CatalogTable }>();

  constructor(source: string) {
    this.#source = source;
  }

  nameOf(table: string): DatasetName {
    return `${this.#source}.${qualifiedName(table)}` as DatasetName;
  }

  /**
   * The table as the catalog has it and the relation of its rows, null where there is no such table. `evidence` is what `evidenceSql` found in this
   * transaction, which holds a lock on the table: where it is as it was the last time, so is the table.
   */
  async presentOf(
    connection: Asking,
    table: string,
    publication: string,
    evidence: string | null,
  ): Promise<{ readonly present: CatalogTable; readonly relation: PgRelation } | null> {
    const last = this.#presents.get(table);
    if (last !== undefined && last.evidence === evidence) {
      this.#current.set(table, last);
      return last;
    }
    const present = await readTable(connection, table, publication);
    if (present === null) return null;
    const shaped = await this.#describe(connection, table, present.message, present, null);
    if (evidence !== null) this.#presents.set(table, { ...shaped, evidence, present });
    return { present, relation: shaped.relation };
  }

  /**
   * The relation that rows described by `message` have. `present` is the table in the catalog, null where it has been dropped since. `xid` is the
   * transaction of the log that describes it, null for a description of the present.
   */
  async relationOf(
    connection: Asking,
    table: string,
    message: RelationMessage,
    present: CatalogTable | null,
    xid: number | null = null,
  ): Promise<PgRelation> {
    return (await this.#describe(connection, table, message, present, xid)).relation;
  }

  async #describe(
    connection: Asking,
    table: string,
    message: RelationMessage,
    present: CatalogTable | null,
    xid: number | null,
  ): Promise<Shaped> {
    const known = await columnFacts(connection, message.oid, xid, present !== null && sameColumns(present.message, message));
    const facts = await this.#types.of(connection, message, present?.message ?? null);
    const declarations = await declarationsOf(connection, message);
    const columns: Column[] = [];
    const columnTypes: PgColumnType[] = [];
    for (const [index, column] of message.columns.entries()) {
      const fact = facts[index];
      if (fact === undefined) throw new PipelineError('BUG', `no facts about the type of ${table}.${column.name}`);
      const { type } = fact;
      if (fact.binary && type?.isSendable === false) {
        throw new PipelineError(
          'CONFIG_INVALID',
          `reading ${table}: the server cannot send ${fact.native} of the column ${column.name} in binary, for what is inside has no such form: leave the column out of the publication, or change its type`,
        );
      }
      const now = known.get(column.name);
      const nullable = now?.notNull !== true;
      const id = now === undefined || now.id === null ? {} : { id: now.id };
      const declared = declaredOf(declarations.get(column.name), now);
      columns.push({ name: column.name, type: type?.columnType ?? 'other', native: fact.native, nullable, ...id, ...declared });
      columnTypes.push({
        oid: column.typeOid,
        typmod: column.typmod,
        format: fact.binary ? 'binary' : 'text',
        decode: fact.binary ? (type?.decode ?? rawBytes) : serverText,
        type,
        ...(now?.id === undefined || now.id === null || now.filled === null ? {} : { filled: now.filled }),
      });
    }
    return this.#keep(table, message.oid, columns, keyColumns(message, present), columnTypes, await storageOf(connection, message.oid));
  }

  /** A table that lost its key goes on with all of its columns for one: its rows are held, and the others of the lane go on. */
  #keep(
    table: string,
    oid: number,
    columns: readonly Column[],
    found: readonly number[],
    types: readonly PgColumnType[],
    storage: string | null,
  ): Shaped {
    const keyless = found.length === 0;
    const key = keyless ? columns.map((_, index) => index) : found;
    const shape = JSON.stringify([oid, columns, key, keyless, types.map((type) => [type.oid, type.typmod, type.format])]);
    const current = this.#current.get(table);
    if (current?.shape === shape) return current;
    // A shape that comes back (a description of the past beside one of the present) is the Dataset it was.
    const known = this.#known.get(table + shape);
    const version = (current?.relation.dataset.version ?? 0) + 1;
    const dataset: Dataset = known?.dataset ?? {
      name: this.nameOf(table),
      version,
      columns,
      key,
      ...(keyless ? { keyless } : {}),
      table: oid,
    };
    const relation: PgRelation = known ?? { dataset, types, ...(storage === null ? {} : { storage }) };
    const shaped: Shaped = { shape, relation };
    this.#current.set(table, shaped);
    this.#known.set(table + shape, relation);
    return shaped;
  }
}

interface Shaped {
  readonly shape: string;
  readonly relation: PgRelation;
}

/** That there is no null is only said where the column was as it is before the transaction that the log describes, which may have had nulls until it forbade them. */
function declaredOf(declaration: Declared | undefined, now: ColumnFacts | undefined): Pick<Column, 'declared'> {
  const declared: Declared = { ...(now?.notNull === true && now.isOlder ? { required: true } : {}), ...declaration };
  return Object.keys(declared).length === 0 ? {} : { declared };
}

const serverText: PgColumnType['decode'] = (bytes, offset, length) => bytes.toString('utf8', offset, offset + length);

/** Indices of the key's columns, in the order of the index behind it where the catalog still knows it. */
function keyColumns(message: RelationMessage, present: CatalogTable | null): readonly number[] {
  const marked = message.columns.flatMap((column, index) => (column.inKey ? [index] : []));
  const ordered = (present?.keyNames ?? []).map((name) => message.columns.findIndex((column) => column.name === name));
  const usable = ordered.length > 0 && !ordered.includes(-1);
  // Of its partitions the catalog alone knows.
  if (present?.isKeyOfPartitions === true) return usable ? ordered : [];
  // Without a key in the log there were inserts alone; a key that the table has been given since tells its rows apart.
  if (message.identity === 'f' || marked.length === 0) return usable ? ordered : [];
  return usable && ordered.length === marked.length && ordered.every((column) => marked.includes(column)) ? ordered : marked;
}

interface ColumnFacts {
  readonly notNull: boolean;
  /** The column's number; null where the catalog may speak of a later column of this name than the log does. */
  readonly id: number | null;
  /** The value that rows older than the column have, as text; null where there is none. */
  readonly filled: string | null;
  /** What the catalog says of the column is older than the transaction that the log describes. */
  readonly isOlder: boolean;
}

/**
 * The catalog is of the present and the log of the past, so the number of a column is only taken for the log's where its row in the catalog is older
 * than the transaction that the log describes: whoever changes a table waits for those who write to it, and they for him. Where it is of that very
 * transaction, the log has to describe the very columns that the catalog has.
 */
async function columnFacts(
  connection: Asking,
  oid: number,
  xid: number | null,
  isPresent: boolean,
): Promise<ReadonlyMap<string, ColumnFacts>> {
  const found = await connection.query(
    `select attname, attnum, attnotnull, xmin, case when atthasmissing then (attmissingval::text::text[])[1] end
       from pg_catalog.pg_attribute where attrelid = $1::pg_catalog.oid and attnum > 0 and not attisdropped`,
    [String(oid)],
  );
  return new Map(
    found.rows.map(([name, number, notNull, xmin, filled]) => {
      const age = xid === null ? -1 : (Number(xmin) - xid) | 0;
      const isSure = age < 0 || (age === 0 && isPresent);
      return [name ?? '', { notNull: notNull === 't', id: isSure ? Number(number) : null, filled: filled ?? null, isOlder: age < 0 }];
    }),
  );
}

function sameColumns(a: RelationMessage, b: RelationMessage): boolean {
  const text = ({ columns }: RelationMessage): string =>
    JSON.stringify(columns.map(({ name, typeOid, typmod }) => [name, typeOid, typmod]));
  return text(a) === text(b);
}

/** Of a partitioned table, or one that is gone, nothing is known. */
async function storageOf(connection: Asking, oid: number): Promise<string | null> {
  const found = await connection.query('select pg_catalog.pg_relation_filenode($1::pg_catalog.oid)', [String(oid)]);
  const file = found.rows[0]?.[0];
  return typeof file === 'string' && file !== '0' ? file : null;
}
