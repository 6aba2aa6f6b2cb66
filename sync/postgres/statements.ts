/**
 * What is written to one table in one form, as SQL prepared once per session: rows by COPY into a staging table and one statement, or row by
 * row with parameters. A form is what the rows have in common: which cells they bring, how these are encoded, which scores they carry.
 */
import type { ScoreColumns } from '../../core/batch.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteIdent } from '../../wire/postgres/ident.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import type { PgColumnType } from '../../wire/postgres/row.ts';
import { historyStatements } from './history-sql.ts';
import { isSameKeySql, keyInPlaceSql, type KeyMatch, keptKeySql } from './key-match.ts';
import { aliveSql, type Stamp, STAMP_TYPES } from './layout.ts';
import { andAlive, SCORE_TYPES, scoreColumns, type Table, type Tables } from './tables.ts';
import type { TranslateCell } from './target-types.ts';

/**
 * `append`: rows that the source made anew, so that the target has none of their keys. In bulk they are copied straight into the table. `bury`: a
 * delete whose row stays, perhaps with the last of its cells.
 */
export type WriteKind = 'upsert' | 'append' | 'partial' | 'delete' | 'bury' | 'move';

export interface Form {
  readonly kind: WriteKind;
  readonly table: Table;
  /** Of the cells, where they are encoded; null where they are plain values, sent as text. */
  readonly types: readonly PgColumnType[] | null;
  /** Which of the dataset's columns a row brings. */
  readonly columns: readonly number[];
  /** Some of those that are written are not among them. */
  readonly partial: boolean;
  /** Which scores are written. */
  readonly scores: readonly ScoreColumns[];
}

/** One cell of a staged row. */
export type StagedCell =
  | { readonly from: 'after' | 'key'; readonly column: number; readonly translate: TranslateCell | null }
  | { readonly from: 'score'; readonly score: number; readonly part: 'score' | 'model' | 'at' }
  | { readonly from: 'stamp'; readonly stamp: Stamp };

/** A form as the session knows it. */
export interface Prepared {
  readonly form: Form;
  readonly number: number;
  readonly columns: readonly StagedColumn[];
  /** In the order of the staging table's columns and of the parameters. */
  readonly cells: readonly StagedCell[];
  /** Its first cells, where those are columns of the row that nobody has to translate, and only what stands beside the row follows; else null. */
  readonly plain: Int32Array | null;
  /** Rows go by COPY into the table itself, with nothing to do behind it. */
  readonly isDirect: boolean;
  /** For the n-th use of the form in one transaction. */
  readonly bulk: Staging[];
  /** Names of prepared statements. */
  readonly row: readonly string[];
}

/** Rows in bulk: the name of the prepared COPY, and what is done with them behind it. */
export interface Staging {
  readonly copy: string;
  /** Empties it of what was staged before in the same transaction; null where nothing is staged. */
  readonly clear: string | null;
  readonly writes: readonly StagedWrite[];
  /** In their place for many rows; null where there is no other way. */
  readonly merge: StagedWrite | null;
}

/**
 * By the name of a prepared statement, or as SQL that is planned each time: what joins staged rows with those of the table. A plan from when the table was small (and somebody
 * had counted its rows) would read all of it for each staged row, however large it is by now.
 */
type StagedWrite = { readonly name: string } | { readonly sql: string };

export interface StagedColumn {
  readonly cell: StagedCell;
  readonly name: string;
  readonly staged: string;
  readonly oid: number;
  /** The target's column. */
  readonly target: string;
  /** The target's type, where the staged one has to be read from its text. */
  readonly cast: string | null;
  /** Of a column of the key that the target compares in another way than the source. */
  readonly keyMatch: KeyMatch | null;
}

/** From so many on it is worth while to plan a MERGE, which takes no lock of each row before it writes it. */
const MERGE_ROWS_MIN = 200;
/** SMALLINT, INTEGER, BIGINT, DATE, TIMESTAMP, TIMESTAMPTZ, UUID: rows are sorted by them in less time than it takes to look for them out of order. */
const SORTED_KEYS: ReadonlySet<number> = new Set([20, 21, 23, 1082, 1114, 1184, 2950]);
/** PostgreSQL's own since. */
const MERGE_SINCE = 15;

/** How often one transaction stages one form in bulk; beyond it goes row by row. */
const STAGES_MAX = 3;

export class Statements {
  readonly #sql: PgConnection;
  readonly #tables: Tables;
  readonly #prepared = new Map<Table, Map<string, Prepared>>();
  #count = 0;

  constructor(sql: PgConnection, tables: Tables) {
    this.#sql = sql;
    this.#tables = tables;
  }

  /** Forgets everything: the tables changed. What the session still has of it is in nobody's way. */
  forget(): void {
    this.#prepared.clear();
  }

  known(table: Table, key: string): Prepared | undefined {
    return this.#prepared.get(table)?.get(key);
  }

  /** Prepares a form, to be sent row by row, under a key of the caller's. */
  async prepare(key: string, form: Form): Promise<Prepared> {
    const columns = this.#stagedColumns(form);
    const number = ++this.#count;
    const row = rowStatements(form, columns);
    const prepared: Prepared = {
      form,
      number,
      columns,
      cells: columns.map(({ cell }) => cell),
      plain: plainColumns(columns),
      isDirect: isDirect(form, columns),
      bulk: [],
      row: row.map((_, i) => `tg${number}_r${i}`),
    };
    const writer = new FrontendWriter();
    const oids = columns.map(({ oid }) => oid);
    for (const [i, sql] of row.entries()) writer.parse(prepared.row[i] ?? '', sql, oids);
    await this.#sql.exchange(writer.sync().bytes());
    let known = this.#prepared.get(form.table);
    if (known === undefined) this.#prepared.set(form.table, (known = new Map<string, Prepared>()));
    known.set(key, prepared);
    return prepared;
  }

  isStaged({ bulk, isDirect }: Prepared, uses: number): boolean {
    return bulk.length >= Math.min(uses, isDirect ? 1 : STAGES_MAX);
  }

  /** Makes it possible to send a form in bulk, `uses` times in one transaction. Not inside a transaction: the staging tables would go with it. */
  async stage(prepared: Prepared, uses: number): Promise<void> {
    const { form, bulk, columns, number } = prepared;
    if (prepared.isDirect) {
      if (bulk.length > 0) return;
      const list = columns.map(({ target }) => target).join(', ');
      const copy = `tg${number}_c`;
      await this.#sql.exchange(
        new FrontendWriter().parse(copy, `copy ${form.table.qualified} (${list}) from stdin (format binary)`).sync().bytes(),
      );
      bulk.push({ copy, clear: null, writes: [], merge: null });
      return;
    }
    for (let use = bulk.length; use < Math.min(uses, STAGES_MAX); use++) {
      const stage = `tidegate_${number}_${use}`;
      const list = columns.map(({ name, staged }) => `${name} ${staged}`).join(', ');
      await this.#sql.script(`create temp table ${stage} (${list}) on commit delete rows`);
      const copy = `tg${number}_c${use}`;
      const writer = new FrontendWriter();
      writer.parse(copy, `copy pg_temp.${stage} from stdin (format ${form.types === null ? 'text' : 'binary'})`);
      const writes = bulkStatements(form, columns, `pg_temp.${stage}`).map(({ sql, joins }, i): StagedWrite => {
        if (joins) return { sql };
        const name = `tg${number}_w${use}_${i}`;
        writer.parse(name, sql);
        return { name };
      });
      await this.#sql.exchange(writer.sync().bytes());
      const merge = this.#sql.majorVersion < MERGE_SINCE ? null : mergeStatement(form, columns, `pg_temp.${stage}`);
      bulk.push({ copy, clear: `delete from pg_temp.${stage}`, writes, merge: merge === null ? null : { sql: merge } });
    }
  }

  #stagedColumns({ kind, table, types, columns, scores }: Form): StagedColumn[] {
    const staged: StagedColumn[] = [];
    const add = (from: 'after' | 'key', column: number): void => {
      const target = table.columns[column];
      if (target === null || target === undefined) return; // Generated at the target.
      const type = types?.[column];
      const passage = type === undefined ? null : this.#tables.passage(type);
      staged.push({
        cell: { from, column, translate: passage?.translate ?? null },
        name: `${from === 'key' ? 'k' : 'c'}${column}`,
        staged: passage?.staged ?? target.type,
        oid: passage?.oid ?? target.oid,
        target: quoteIdent(target.name),
        cast: passage === null || passage.oid === target.oid ? null : target.base,
        keyMatch: table.dataset.key.includes(column) ? target.keyMatch : null,
      });
    };
    if (kind !== 'delete') for (const column of columns) add('after', column);
    if (kind !== 'upsert' && kind !== 'append') for (const column of table.dataset.key) add('key', column);
    for (const [score, write] of scores.entries()) {
      for (const part of ['score', 'model', 'at'] as const) {
        const name = write[part];
        if (name === null) continue;
        const { type, oid } = SCORE_TYPES[part];
        staged.push({
          cell: { from: 'score', score, part },
          name: `s${score}_${part}`,
          staged: type,
          oid,
          target: quoteIdent(name),
          cast: null,
          keyMatch: null,
        });
      }
    }
    if (kind === 'delete') return staged;
    const { stamps, isHistory } = table.layout;
    for (const [i, { stamp, name }] of stamps.entries()) {
      if (isHistory && kind === 'bury' && stamp !== 'validFrom') continue; // A version is closed, and stays as it was.
      const { type, oid } = STAMP_TYPES[stamp];
      staged.push({
        cell: { from: 'stamp', stamp },
        name: `x${i}`,
        staged: type,
        oid,
        target: quoteIdent(name),
        cast: null,
        keyMatch: null,
      });
    }
    return staged;
  }
}

function plainColumns(columns: readonly StagedColumn[]): Int32Array | null {
  const plain = columns.flatMap(({ cell }) => (cell.from === 'after' && cell.translate === null ? [cell.column] : []));
  const isFirst = columns.every(({ cell }, i) =>
    i < plain.length ? cell.from === 'after' && cell.column === plain[i] : cell.from === 'score' || cell.from === 'stamp',
  );
  return isFirst ? Int32Array.from(plain) : null;
}

/** COPY converts nothing: its cells must be of the very types that the table has. */
function isDirect({ kind, table, types }: Form, columns: readonly StagedColumn[]): boolean {
  if (kind !== 'append' || types === null || !table.takesCopy) return false;
  return columns.every(({ cell, oid, target, cast: castTo, keyMatch }) => {
    if (castTo !== null || keyMatch !== null) return false;
    if (cell.from === 'score' || cell.from === 'stamp') return table.besideOids.get(target) === oid;
    return table.columns[cell.column]?.oid === oid;
  });
}

/** The value as the target reads it. */
export const cast = (expression: string, { cast: type }: StagedColumn): string =>
  type === null ? expression : `${expression}::text::${type}`;

/** The same as it is written: a key that the target would not keep as it is fails. */
export function written(expression: string, column: StagedColumn): string {
  const { cell, keyMatch } = column;
  const value = cast(expression, column);
  return keyMatch === null || cell.from !== 'after' ? value : keptKeySql(keyMatch, expression, value);
}

/** That the target's cell is this value, and not only equal to it by the target's reckoning. `alive`: or only that, in the remains of a deleted row. */
export function isSame(alias: string, column: StagedColumn, expression: string, alive: string | null = null): string {
  const { keyMatch, target } = column;
  const equal = `${alias}.${target} = ${cast(expression, column)}`;
  return keyMatch === null ? equal : isSameKeySql(keyMatch, `${alias}.${target}`, expression, equal, alive);
}

const isKeyCell = ({ cell }: StagedColumn): boolean => cell.from === 'key';

function upsert(form: Form, columns: readonly StagedColumn[], values: string): string {
  const { table } = form;
  const alive = aliveSql(table.layout, 't');
  const set = columns.flatMap(({ cell, target, keyMatch }) => {
    if (cell.from !== 'after' || !table.dataset.key.includes(cell.column)) return [`${target} = excluded.${target}`];
    return keyMatch === null ? [] : [`${target} = ${keyInPlaceSql(keyMatch, `t.${target}`, `excluded.${target}`, alive)}`];
  });
  set.push(...scoresOfTheLiving(form, columns));
  return `insert into ${table.qualified} as t (${columns.map(({ target }) => target).join(', ')}) ${values}
    on conflict (${table.key.join(', ')}) do ${set.length === 0 ? 'nothing' : `update set ${set.join(', ')}`}`;
}

/** Scores that a row keeps are those of the row itself: of one that was deleted and comes back there are none yet. */
function scoresOfTheLiving({ table }: Form, columns: readonly StagedColumn[]): string[] {
  const alive = aliveSql(table.layout, 't');
  if (alive === null) return [];
  const kept = table.scores.flatMap(scoreColumns).map(({ name }) => quoteIdent(name));
  return kept
    .filter((name) => !columns.some(({ target }) => target === name))
    .map((name) => `${name} = case when ${alive} then t.${name} end`);
}

/** The staged value or the parameter of a column, as it came. */
export type GivenSql = (column: StagedColumn, index: number) => string;

const assignments = (columns: readonly StagedColumn[], given: GivenSql): string[] =>
  columns.flatMap((column, index) => (isKeyCell(column) ? [] : [`${column.target} = ${written(given(column, index), column)}`]));

const matches = (columns: readonly StagedColumn[], given: GivenSql, alias = 't'): string =>
  columns.flatMap((column, index) => (isKeyCell(column) ? [isSame(alias, column, given(column, index))] : [])).join(' and ');

const staged: GivenSql = ({ name }) => `s.${name}`;
const stagedValue = (column: StagedColumn): string => cast(`s.${column.name}`, column);

/** `joins`: it finds rows of the table by the staged ones. */
function bulkStatements(form: Form, columns: readonly StagedColumn[], stage: string): { readonly sql: string; readonly joins: boolean }[] {
  if (form.table.layout.isHistory) return historyStatements(form, columns, staged, ` from ${stage} s`).map((sql) => ({ sql, joins: true }));
  return [{ sql: bulkStatement(form, columns, stage), joins: form.kind !== 'upsert' && form.kind !== 'append' }];
}

/**
 * Whole rows in the order of their keys, which is that of the index. Null where they have to be written in the order of their events, for something else than the key ties them to each
 * other. Where somebody else adds a row of one of the keys meanwhile it fails, and they are written row by row.
 */
function mergeStatement(form: Form, columns: readonly StagedColumn[], stage: string): string | null {
  const { kind, table } = form;
  if (kind !== 'upsert' || !table.standsAlone || table.layout.isHistory) return null;
  const key = columns.filter(({ cell }) => cell.from === 'after' && table.dataset.key.includes(cell.column));
  if (key.length !== table.dataset.key.length || !key.every(({ oid, cast: castTo }) => castTo === null && SORTED_KEYS.has(oid)))
    return null;
  const set = columns.filter((column) => !key.includes(column)).map((column) => `${column.target} = ${stagedValue(column)}`);
  set.push(...scoresOfTheLiving(form, columns));
  return `merge into ${table.qualified} t using (select * from ${stage} order by ${key.map(({ name }) => name).join(', ')}) s
    on ${key.map((column) => `t.${column.target} = ${stagedValue(column)}`).join(' and ')}
    when matched then ${set.length === 0 ? 'do nothing' : `update set ${set.join(', ')}`}
    when not matched then insert (${columns.map(({ target }) => target).join(', ')}) values (${columns.map(stagedValue).join(', ')})`;
}

/** Sends what is done with so many staged rows; answers how many results there are of it. */
export function writeStaged(writer: FrontendWriter, { writes, merge }: Staging, rows: number): number {
  const statements = merge !== null && rows >= MERGE_ROWS_MIN ? [merge] : writes;
  for (const statement of statements) {
    if ('sql' in statement) writer.parse('', statement.sql);
    writer.bind('', 'name' in statement ? statement.name : '', [], Format.Text).execute();
  }
  return statements.length;
}

function bulkStatement(form: Form, columns: readonly StagedColumn[], stage: string): string {
  const { qualified } = form.table;
  if (form.kind === 'upsert' || form.kind === 'append')
    return upsert(form, columns, `select ${columns.map((column, i) => written(staged(column, i), column)).join(', ')} from ${stage} s`);
  if (form.kind === 'delete') return `delete from ${qualified} t using ${stage} s where ${matches(columns, staged)}`;
  const which = `${matches(columns, staged)}${andAlive(form.table, 't')}`;
  return `update ${qualified} t set ${assignments(columns, staged).join(', ')} from ${stage} s where ${which}`;
}

/** Parameters are the columns in order. Of a move: what makes room at the new key, the update, and, of a whole row, the insert where there was none. */
function rowStatements(form: Form, columns: readonly StagedColumn[]): string[] {
  const given: GivenSql = (_, index) => `$${index + 1}`;
  if (form.table.layout.isHistory) return historyStatements(form, columns, given, '');
  const { qualified } = form.table;
  const value = (column: StagedColumn, index: number): string => written(given(column, index), column);
  if (form.kind === 'upsert' || form.kind === 'append') return [upsert(form, columns, `values (${columns.map(value).join(', ')})`)];
  if (form.kind === 'delete') return [`delete from ${qualified} t where ${matches(columns, given)}`];
  const which = `${matches(columns, given)}${andAlive(form.table, 't')}`;
  const update = `update ${qualified} t set ${assignments(columns, given).join(', ')} where ${which}`;
  if (form.kind === 'partial' || form.kind === 'bury') return [update];
  const after = columns.filter((column) => !isKeyCell(column));
  const atNewKey = (alive: string | null): string =>
    form.table.dataset.key
      .map((key) => columns.findIndex(({ cell }) => cell.from === 'after' && cell.column === key))
      .map((index) => {
        const column = columns[index];
        return column === undefined ? 'false' : isSame('t', column, given(column, index), alive);
      })
      .join(' and ');
  const isThere = `select 1 from ${qualified} o where ${matches(columns, given, 'o')}${andAlive(form.table, 'o')}`;
  // Not the row itself: two keys may differ in their spelling and be one all the same (citext, numeric).
  const room = `delete from ${qualified} t where ${atNewKey(aliveSql(form.table.layout, 't'))} and not (${matches(columns, given)}) and exists (${isThere})`;
  if (form.partial) return [room, update];
  const values = columns.flatMap((column, index) => (isKeyCell(column) ? [] : [value(column, index)])).join(', ');
  const where = `where not exists (select 1 from ${qualified} t where ${atNewKey(null)}${andAlive(form.table, 't')})`;
  // Over the remains of a deleted row.
  if (form.table.layout.isSoft) return [room, update, upsert(form, after, `select ${values} ${where}`)];
  return [room, update, `insert into ${qualified} (${after.map(({ target }) => target).join(', ')}) select ${values} ${where}`];
}
