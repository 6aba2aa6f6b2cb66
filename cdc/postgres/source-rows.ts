/**
 * The source's side of a comparison with a target: its tables as checksums, places in its log, and which transactions a look may have missed.
 *
 * A look at rows is only worth something beside a lane's checkpoint if it is known what the look has seen. What it shows had committed before the
 * place that is asked for *after* it. The other way round there is a gap, see settle.ts.
 */
import { type Clock, systemClock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import { type Dataset, keyOf, type Position, ValueRow } from '../../core/event.ts';
import { fromLsn } from '../../core/position.ts';
import type { PgConnection, PgResult } from '../../wire/postgres/connection.ts';
import { arrayLiteral, quoteIdent } from '../../wire/postgres/ident.ts';
import { type Asking, KeptStatements } from '../../wire/postgres/kept-statements.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import type { PgRelation, PgRow } from '../../wire/postgres/row.ts';
import {
  type ComparedTable,
  COMPARING,
  describeColumns,
  describeTables,
  keyRows,
  type KeyTexts,
  literalKeyRows,
  plainTable,
  type RowSight,
  RowSums,
  searchBy,
  type SideColumn,
} from '../../wire/postgres/row-sums.ts';
import { type CatalogTable, Datasets, readTable } from './catalog.ts';
import { closeSoon, connectSource } from './connect.ts';
import { CopyTuples, largeRows } from './copy-until.ts';
import { sourceFailure } from './failures.ts';
import { requestText } from './key-reader.ts';
import { isLeft, parsePlace } from './lane-position.ts';
import { ROW_BYTES } from './large-rows.ts';
import { rowOf } from './row-cells.ts';
import { Settling, snapshotOf } from './settle.ts';
import { readSlot } from './slot.ts';
import type { PostgresSourceOptions } from './source.ts';
import { PLACE_MARK } from './stream.ts';

export interface SourceTable {
  readonly relation: PgRelation;
  /** As `ComparedTable` has them. */
  readonly from: string;
  readonly filter: string | null;
  readonly version: string;
  /** In the order of the dataset's columns. */
  readonly columns: readonly SideColumn[];
  readonly rowsEstimated: number | null;
}

export interface SourceLook {
  readonly sights: readonly RowSight[];
  /** Everything that the look has seen had committed before this place: 16 hex digits. */
  readonly lsn: string;
  /** Whether it has seen all that was committed when the transactions it was told of were under way. */
  readonly settled: boolean;
}

export interface SourceRow {
  /** Null where there is no such row (any more). */
  readonly row: PgRow | null;
  readonly version: string | null;
}

type SourceRowsOptions = Pick<PostgresSourceOptions, 'name' | 'slot' | 'publication' | 'rowBytes'> & {
  /** Who reads the slot: a lane of ours, or a connector, which moves on in the log with the changes that it writes. */
  readonly reader?: 'lane' | 'connector';
};

export class SourceRows implements AsyncDisposable {
  readonly sql: PgConnection;
  /** The same session, for looks into its catalog that are many. */
  readonly catalog: Asking;
  /** Whether the server can say of a text whether a type reads it (PostgreSQL 16). */
  readonly guarded: boolean;
  readonly #options: SourceRowsOptions;
  readonly #datasets: Datasets;
  #marked = '';
  readonly #settling: Settling;

  private constructor(sql: PgConnection, options: SourceRowsOptions, clock: Clock) {
    this.sql = sql;
    this.catalog = new KeptStatements(sql);
    this.guarded = sql.majorVersion >= 16;
    this.#options = options;
    this.#datasets = new Datasets(options.name);
    this.#settling = new Settling(sql, clock);
  }

  static async open(options: SourceRowsOptions & Pick<PostgresSourceOptions, 'url' | 'clock'>, signal: AbortSignal): Promise<SourceRows> {
    // A standby that hangs must not make our marks wait for it.
    const settings = { ...COMPARING, default_transaction_read_only: 'off', synchronous_commit: 'local' };
    const sql = await connectSource(options.name, options.url, false, settings, signal);
    signal.addEventListener('abort', () => sql.destroy(), { once: true });
    return new SourceRows(sql, options, options.clock ?? systemClock);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeSoon(this.sql);
  }

  /** Whether somebody reads the slot: without that no lane moves on. */
  async isRead(): Promise<boolean> {
    return (await this.#asked('reading the slot', () => readSlot(this.sql, this.#options.slot)))?.active === true;
  }

  /** Up to where the slot's reader has said that it needs no log any more: 16 hex digits, null where there is no such slot. */
  async confirmed(): Promise<string | null> {
    return (await this.#asked('reading the slot', () => readSlot(this.sql, this.#options.slot)))?.confirmed ?? null;
  }

  /** Throws SOURCE_TABLE_MISSING and SOURCE_NO_KEY. `table` is `schema.table`. */
  async table(table: string): Promise<SourceTable> {
    return this.#asked(`looking at ${table}`, async () => {
      await this.sql.script('set search_path = pg_catalog');
      const { relation, present } = await this.#relationOf(table);
      const found = tableFrom(relation, present, await describeColumns(this.sql, present.message.oid));
      await searchBy(
        this.sql,
        relation.dataset.key.flatMap((i) => found.columns[i] ?? []),
      );
      return found;
    });
  }

  /**
   * Those of the tables that can be compared and take no more room than this, to be read as wholes: operators of their keys' types are not looked for. They are
   * asked for all at once, and each by itself, so that no two are locked.
   */
  async smallTables(tables: readonly string[], bytesMax: number): Promise<ReadonlyMap<string, SourceTable>> {
    return this.#asked('looking at tables', async () => {
      await this.sql.script('set search_path = pg_catalog');
      const seen = await Promise.all(tables.map((table) => this.#relationOf(table).catch(() => null))); // Why it cannot be had `table` says.
      const related = seen.filter((one) => one !== null).filter(({ present }) => !present.isPartitioned);
      const oids = related.map(({ present }) => present.message.oid);
      const [described, sized] = await Promise.all([
        describeTables(this.sql, oids),
        this.sql.query(SMALL_SQL, [arrayLiteral(oids.map(String)), bytesMax]),
      ]);
      const small = new Set(sized.rows.map(([oid]) => Number(oid)));
      const found = new Map<string, SourceTable>();
      for (const { relation, present } of related) {
        const { table, message } = present;
        const columns = described.get(message.oid);
        // It may have been changed in between.
        const isKnown = columns !== undefined && relation.dataset.columns.every(({ name }) => columns.has(name));
        if (isKnown && small.has(message.oid)) found.set(table, tableFrom(relation, present, columns));
      }
      return found;
    });
  }

  async #relationOf(table: string): Promise<{ readonly relation: PgRelation; readonly present: CatalogTable }> {
    const present = await readTable(this.catalog, table, this.#options.publication);
    if (present === null) throw new PipelineError('SOURCE_TABLE_MISSING', `comparing ${table}: there is no such table`);
    const relation = await this.#datasets.relationOf(this.catalog, table, present.message, present);
    if (relation.dataset.keyless === true) throw new PipelineError('SOURCE_NO_KEY', `comparing ${table}: it has no primary key`);
    return { relation, present };
  }

  /**
   * Writes a mark into the log, behind which a running lane gets a checkpoint. Answers the mark's place: all that was seen before has
   * committed before it, and a lane beyond it has all of that.
   */
  async mark(): Promise<string> {
    this.#marked = this.#options.reader === 'connector' ? await this.#markForConnector() : await this.#emit(PLACE_MARK);
    return this.#marked;
  }

  /**
   * A connector confirms the commit before the record that it wrote last: so another mark comes behind the one whose place it is. That place is in a record of its own,
   * for a slot confirms the end of the log when it is made, and what the connector copies first is in no topic by then.
   */
  async #markForConnector(): Promise<string> {
    const place = await this.#emit(PLACE_MARK);
    await this.#emit(PLACE_MARK);
    return place;
  }

  /** The transactions that are under way. */
  running(): Promise<ReadonlySet<number>> {
    return this.#asked('looking at transactions', () => this.#settling.running());
  }

  /** Reads a table for a comparison. */
  sums(table: ComparedTable): RowSums {
    return new RowSums({ query: (sql, params) => this.#asked('comparing rows', () => this.sql.query(sql, params)) }, table);
  }

  /** Waits until all that was committed before the call is seen by whoever looks next. False where that takes too long: a commit waits for a standby. */
  settle(signal: AbortSignal): Promise<boolean> {
    return this.#asked('looking at transactions', () => this.#settling.settle(signal));
  }

  /**
   * `before`: the transactions that were under way at the moment that is to be settled. `passed`: where the lane is known to be; there is no new mark
   * while the last one is still on its way.
   */
  async look(sums: RowSums, keys: readonly KeyTexts[], before: ReadonlySet<number>, passed: string): Promise<SourceLook> {
    const [, snapshot, sights] = await this.#asked('looking at rows', () =>
      Promise.all([
        this.sql.script('begin isolation level repeatable read read only'),
        snapshotOf(this.sql),
        sums.sights(keys),
        this.sql.script('commit'),
      ]),
    );
    const lsn = this.#marked <= passed ? await this.mark() : await this.#insertLsn();
    const settled = await this.#asked('looking at transactions', () => this.#settling.hasSeen(snapshot, before));
    return { sights, lsn, settled };
  }

  /**
   * Asks a running lane to bring these rows, as they are by then, through all its stages. It may not hear of it: look whether it did. Answers the place
   * of the request: what the lane brings for it has a version beyond.
   */
  request(table: string, keys: readonly KeyTexts[]): Promise<string> {
    return this.#emit(requestText({ table, keys }));
  }

  /** The keys as events and the quarantine write them. */
  async eventKeys({ relation }: SourceTable, keys: readonly KeyTexts[]): Promise<readonly string[]> {
    const { dataset, types } = relation;
    const columns = dataset.key.flatMap((i) => dataset.columns[i] ?? []);
    const keyTypes = dataset.key.map((i) => types[i]);
    const dense: Dataset = { ...dataset, columns, key: columns.map((_, i) => i) };
    const cells = columns.map(({ native }, i) => `k.tidegate_k${i}::${native}${keyTypes[i]?.format === 'text' ? '::text' : ''}`);
    const { from, params } = keyRows(columns.length, keys);
    const found = await this.#asked('reading keys', () =>
      binaryQuery(this.sql, `select ${cells.join(', ')} from ${from} order by k.tidegate_n`, params),
    );
    return found.raw.map((row) =>
      keyOf(dense, new ValueRow(...row.map((cell, i) => (cell === null ? null : (keyTypes[i]?.decode(cell, 0, cell.length) ?? null))))),
    );
  }

  /**
   * What there is of each key, in the order of `keys`, as a lane would bring it: rows that are too large lack their large cells. One row is in memory at once; until
   * all are read, nothing else can be asked.
   */
  async *rows({ relation, from, filter, version }: SourceTable, keys: readonly KeyTexts[]): AsyncGenerator<SourceRow> {
    const { dataset, types } = relation;
    const cells = dataset.columns.map(({ name }, i) => `t.${quoteIdent(name)}${types[i]?.format === 'text' ? '::text' : ''}`);
    const key = dataset.key.flatMap((i) => dataset.columns[i] ?? []);
    const matches = key.map(({ name, native }, i) => `t.${quoteIdent(name)} = k.tidegate_k${i}::${native}`).join(' and ');
    const filtered = filter === null ? '' : `and (${filter})`;
    const found = `${literalKeyRows(key.length, keys)} left join ${from} on ${matches} ${filtered} order by k.tidegate_n`;
    const sql = `copy (select ${version}, ${cells.join(', ')} from ${found}) to stdout (format binary)`;
    const tuples = new CopyTuples();
    try {
      for await (const bytes of this.sql.copyOut(sql, undefined, largeRows(this.#options.rowBytes ?? ROW_BYTES)))
        for (const [versionBytes = null, ...raw] of tuples.push(bytes))
          yield versionBytes === null
            ? { row: null, version: null }
            : { row: rowOf(relation, (column) => raw[column]), version: versionBytes.toString('utf8') };
    } catch (error) {
      throw sourceFailure(error, 'reading a chunk', `reading rows at ${this.#options.name}`);
    }
  }

  async #emit(content: string): Promise<string> {
    const sql = 'select pg_catalog.pg_logical_emit_message(true, $1, $2)';
    const found = await this.#asked('writing a mark', () => this.sql.query(sql, [`tidegate.${this.#options.slot}`, content]));
    return fromLsn(found.rows[0]?.[0] ?? '');
  }

  async #insertLsn(): Promise<string> {
    const sql = 'select pg_catalog.pg_current_wal_insert_lsn()';
    return fromLsn((await this.#asked('asking for the end of the log', () => this.sql.query(sql))).rows[0]?.[0] ?? '');
  }

  async #asked<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw sourceFailure(error, 'reading a chunk', `${doing} at ${this.#options.name}`);
    }
  }
}

const SMALL_SQL = 'select t from pg_catalog.unnest($1::pg_catalog.oid[]) t where pg_catalog.pg_table_size(t) <= $2::pg_catalog.int8';

function tableFrom(relation: PgRelation, present: CatalogTable, described: ReadonlyMap<string, SideColumn>): SourceTable {
  const columns = relation.dataset.columns.map(({ name }) => {
    const column = described.get(name);
    if (column === undefined) throw new PipelineError('BUG', `the column ${name} of ${present.table} is in the catalog and is not`);
    return column;
  });
  return {
    relation,
    columns,
    filter: present.rowFilter,
    rowsEstimated: present.rowsEstimated,
    ...plainTable(present.schema, present.name, present.isPartitioned),
  };
}

/** The tables, of those that the lane has, whose rows are on their way at this position: not copied to their end, or with columns that are being read anew. */
export function tablesBeingCopied(position: Position | null): ReadonlySet<string> {
  const { tables = [], rereads = [] } = (position === null ? null : parsePlace(position).snapshot) ?? {};
  return new Set([...tables.filter(isLeft), ...rereads.filter(({ reread }) => reread.columns !== undefined)].map(({ table }) => table));
}

/** A query whose cells come in binary, in `raw`. */
async function binaryQuery(sql: PgConnection, text: string, params: readonly string[]): Promise<PgResult> {
  const writer = new FrontendWriter(text.length + 1024).parse('', text).bind('', '', params, Format.Text, Format.Binary);
  const [result] = await sql.exchange(writer.describe('P', '').execute().sync().bytes(), 1, true);
  if (result === undefined) throw new PipelineError('BUG', 'a query without a result');
  return result;
}
