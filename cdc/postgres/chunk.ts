/** Rows of a table as a chunk reads them: its transaction between two marks in the log, the SQL, and the rows in what the server sends. */
import { PipelineError } from '../../core/errors.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { quoteIdent, quoteLiteral, quoteQualified } from '../../wire/postgres/ident.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import type { CopiedRows } from '../../wire/postgres/copied-rows.ts';
import type { CopyMemory } from '../../wire/postgres/copy-memory.ts';
import type { PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { type CatalogTable, type Datasets, quotedTable, readTable } from './catalog.ts';
import type { ColumnSight } from './column-rows.ts';
import { cellOf, isMissing, rowOf } from './row-cells.ts';
import { evidenceSql } from './evidence.ts';
import { SNAPSHOT_SQL } from './settle.ts';

export interface Chunk {
  readonly table: string;
  readonly relation: PgRelation;
  /** In the order of the key; rows that were named by their keys in the order of these. `keyTexts` tells their keys. */
  readonly rows: CopiedRows | readonly PgRow[];
  /** What copied rows are in; left out where it is theirs alone. */
  readonly memory?: CopyMemory;
  /** Keys that were asked for and have no row, as rows of their cells alone. */
  readonly absent: readonly PgRow[];
  /** How many keys were asked for; 0 where a range was read. */
  readonly keys: number;
  /** Whether nothing is left to be read behind it. */
  readonly complete: boolean;
  /** Whether cells were left out of some rows, which are too large. */
  readonly cut: boolean;
  /** Left out where whole rows were read. */
  readonly sight?: ColumnSight | null;
  /** What the chunk's transaction could see: `pg_current_snapshot()`. */
  readonly snapshot: string;
}

export interface MarkParts {
  readonly datasets: Datasets;
  readonly publication: string;
  /** Prefix of the marks: the slot's own, so that two pipelines on one database leave each other's alone. */
  readonly prefix: string;
}

/** The transaction of a chunk, with its marks `id`: see snapshot.ts. `doing` is what fails where the table is gone. */
export async function betweenMarks<T>(
  connection: PgConnection,
  { datasets, publication, prefix }: MarkParts,
  id: string,
  table: string,
  doing: string,
  read: (present: CatalogTable, relation: PgRelation, snapshot: string) => Promise<T>,
): Promise<T> {
  const mark = (which: string) =>
    `select pg_catalog.pg_logical_emit_message(true, ${quoteLiteral(prefix)}, ${quoteLiteral(`${which} ${id}`)})`;
  const asking = await evidenceSql(connection, table, publication);
  await connection.script(mark('low'));
  const answers = await connection.script(`${beginLocked(table)}; ${SNAPSHOT_SQL}; ${asking}`);
  const [snapshot = null, evidence = null] = answers.slice(-2).map(({ rows }) => rows[0]?.[0]);
  const found = await datasets.presentOf(connection, table, publication, evidence);
  if (found === null) throw new PipelineError('SOURCE_TABLE_MISSING', `${doing}: the table is gone`);
  const chunk = await read(found.present, found.relation, snapshot ?? '');
  await connection.script(`${mark('high')}; commit`);
  return chunk;
}

/** Every look of the transaction is the same, and nobody changes the table's shape. */
const beginLocked = (table: string): string =>
  `begin isolation level repeatable read; lock table ${quotedTable(table)} in access share mode`;

/** For the rest of the transaction; null leaves it as it is. */
export async function setPath(connection: PgConnection, path: string | null): Promise<void> {
  if (path !== null) await connection.script(`set local search_path = ${path}`);
}

/**
 * The schemas where the operators of the key's types are, as a search path; null where pg_catalog has them all. Without them citext, say, is
 * ordered by its own operators and compared as text, which leaves rows out.
 */
export function operatorPath(relation: PgRelation): string | null {
  const schemas = schemasOf(relation, relation.dataset.key);
  return schemas.size === 0 ? null : ['pg_catalog', ...schemas].join(', ');
}

/** The same for all of its columns: where a condition may be about each of them. */
export function typePath(relation: PgRelation): string {
  return ['pg_catalog', ...schemasOf(relation, relation.types.keys())].join(', ');
}

function schemasOf(relation: PgRelation, columns: Iterable<number>): ReadonlySet<string> {
  const schemas = new Set<string>();
  for (const column of columns) {
    let type = relation.types[column]?.type;
    while (type?.kind === 'd' && type.inner !== null) type = type.inner;
    if (type !== undefined && type.schema !== 'pg_catalog') schemas.add(quoteIdent(type.schema));
  }
  return schemas;
}

/** Keyset pagination by row comparison: the index of the key serves it, wherever the chunk begins. Behind each row's cells, where they are needed, the texts of its key. */
export function chunkSql(
  table: CatalogTable,
  relation: PgRelation,
  last: readonly string[] | null,
  limit: number,
  where: string | null,
): string {
  const { names, cells } = sqlParts(relation);
  const conditions: string[] = [];
  if (table.rowFilter !== null) conditions.push(`(${table.rowFilter})`);
  if (last !== null) {
    const { columns, key } = relation.dataset;
    const literals = key.map((index, i) => `${quoteLiteral(last[i] ?? '')}::${columns[index]?.native ?? 'text'}`);
    conditions.push(`(${names.join(', ')}) > (${literals.join(', ')})`);
  }
  if (where !== null) conditions.push(inParentheses(where));
  const texts = hasKeyTexts(relation) ? names.map((name) => `${name}::text`) : [];
  return `copy (select ${[...cells, ...texts].join(', ')} from ${fromTable(table)} t ${conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`}
    order by ${names.join(', ')} limit ${limit}) to stdout (format binary)`;
}

/** What ends in a comment ends there. */
const inParentheses = (where: string): string => `(${where}\n)`;

/**
 * What a planner expects of a condition that somebody wrote: how many rows there are. Fails with the server's own words where it is none. As it stands it may
 * only be balanced, and in parentheses only one expression: so it is one wherever it is put in parentheses.
 */
export async function checkCondition(connection: PgConnection, table: CatalogTable, relation: PgRelation, where: string): Promise<number> {
  let rows = 0;
  await connection.script(`begin read only; set local search_path = ${typePath(relation)}`);
  try {
    for (const condition of [inParentheses(where), `${where}\n`]) {
      // With its own protocol message, there is one statement or none.
      const { rows: found } = await connection.query(`explain (format json) select 1 from ${fromTable(table)} t where ${condition}`);
      const [plan] = JSON.parse(found[0]?.[0] ?? '[]') as { readonly Plan?: { readonly 'Plan Rows'?: number } }[];
      rows = plan?.Plan?.['Plan Rows'] ?? 0;
    }
  } finally {
    await connection.script('rollback');
  }
  return rows;
}

/**
 * The cells that `row` lacks, of the row that has its key now: null where there is none any more, `reshaped` where the table does not have such
 * columns any more. Cells that `row` has are null.
 */
export async function readRow(
  connection: PgConnection,
  publication: string,
  table: string,
  row: PgRow,
): Promise<PgRow | null | 'reshaped'> {
  const { relation } = row;
  const { columns, key } = relation.dataset;
  try {
    await connection.script(beginLocked(table));
    const present = await readTable(connection, table, publication);
    if (present === null) return null;
    const lacks = (column: number): boolean => isMissing(row, column);
    const isThere = (column: number): boolean =>
      present.message.columns.some((one) => one.name === columns[column]?.name && one.typeOid === relation.types[column]?.oid);
    if (!columns.every((_, column) => isThere(column) || !(lacks(column) || key.includes(column)))) return 'reshaped';
    await setPath(connection, operatorPath(relation));
    const { names, cells } = sqlParts(relation);
    const types = key.map((column) => relation.types[column]);
    const wanted = cells.map((cell, column) => (lacks(column) ? cell : 'null'));
    const sql = `select ${wanted.join(', ')} from ${fromTable(present)} t where ${names.map((one, i) => `${one} = $${i + 1}`).join(' and ')}`;
    const writer = new FrontendWriter(sql.length + 1024).parse(
      '',
      sql,
      types.map((type) => type?.oid ?? 0),
    );
    writer.bind(
      '',
      '',
      key.map((column) => cellOf(row, column) ?? null),
      types.map((type) => (type?.format === 'text' ? Format.Text : Format.Binary)),
      Format.Binary,
    );
    const [found] = await connection.exchange(writer.execute().sync().bytes(), 1, true);
    const raw = found?.raw[0];
    return raw === undefined ? null : rowOf(relation, (column) => raw[column]);
  } catch (error) {
    if (error instanceof PgError && (error.code === '42P01' || error.code === '3F000')) return null; // Dropped, and its rows with it.
    throw error;
  } finally {
    await connection.script('rollback');
  }
}

/** A partitioned table's rows are those of its partitions; what inherits from another table is a table of its own, as it is in the log. */
export function fromTable(table: CatalogTable): string {
  return `${table.isPartitioned ? '' : 'only '}${quoteQualified(table.schema, table.name)}`;
}

/** Names of the key's columns, and all cells. */
function sqlParts(relation: PgRelation): { names: string[]; cells: string[] } {
  const { columns, key } = relation.dataset;
  // A type without a binary form would fail the whole COPY: its text, as pgoutput sends it too.
  const cells = columns.map((column, i) =>
    relation.types[i]?.format === 'text' ? `t.${quoteIdent(column.name)}::text` : `t.${quoteIdent(column.name)}`,
  );
  // With the table's alias, or ORDER BY would mean the text beside it, which has the same name.
  const names = key.flatMap((index) => columns[index] ?? []).map((column) => `t.${quoteIdent(column.name)}`);
  return { names, cells };
}

/** The text of a chunk row's key columns, from which the next chunk goes on. */
export function keyTexts(row: PgRow): readonly string[] {
  const { types, dataset } = row.relation;
  if (!hasKeyTexts(row.relation)) return dataset.key.map((column) => String(row.value(column)));
  return dataset.key.map((_, i) => {
    const cell = row.at + 2 * (types.length + i);
    const at = row.cells[cell] ?? 0;
    return row.bytes.toString('utf8', at, at + (row.cells[cell + 1] ?? 0));
  });
}

/** Whether a chunk brings the texts of its keys behind each row: of some types the value says the same, and the rows go to another COPY as they are. */
export const hasKeyTexts = ({ types, dataset }: PgRelation): boolean =>
  dataset.key.some((column) => {
    const form = types[column]?.type?.form;
    return form !== 'int2' && form !== 'int4' && form !== 'int8' && form !== 'uuid' && dataset.columns[column]?.native !== 'text';
  });
