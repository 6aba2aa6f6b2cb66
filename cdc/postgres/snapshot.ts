/**
 * The rows a table already has, in chunks that take their place in the log (Netflix's DBLog, arXiv:2010.12597, with PostgreSQL's means).
 *
 * A chunk is read between two messages in the log, its low and its high mark: a row of the chunk is as good as the log at the high mark
 * unless its key changed between them, and such keys the log itself has. On this connection, for each chunk:
 *
 * 1. the low mark, in a transaction of its own;
 * 2. one REPEATABLE READ transaction that locks the table against DDL (ACCESS SHARE), notes its snapshot, reads the chunk and emits the high mark:
 *    so no DDL or TRUNCATE commits between the rows and the mark.
 *
 * The marks are *transactional* messages: they have a commit in the log, whose end is a place where the lane can stand, and which is flushed at
 * once (a walsender reads only what is flushed). A transaction that is in the log before the low mark may not be visible yet when the chunk's
 * snapshot is taken (PostgreSQL logs a commit before it lets others see it); the reader of the log knows such transactions and compares them with the
 * snapshot (`isVisible`), and such a chunk is read again.
 */
import type { Clock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { quoteIdent, quoteLiteral, quoteQualified } from '../../wire/postgres/ident.ts';
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import { type PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { CELL_NULL, CELL_UNCHANGED } from '../../core/event.ts';
import { type CatalogTable, type Datasets, readTable, splitTable } from './catalog.ts';
import type { TableProgress } from './lane-position.ts';
import { cutCopyRow } from './large-rows.ts';
import { Settling } from './settle.ts';

export interface Chunk {
  readonly table: string;
  readonly relation: PgRelation;
  /** In the order of the key. Behind each row's cells stand those of its key as text (`keyTexts`). */
  readonly rows: readonly PgRow[];
  /** Whether the table ends with it. */
  readonly complete: boolean;
  /** Whether cells were left out of some rows, which are too large. */
  readonly cut: boolean;
  /** What the chunk's transaction could see: `pg_current_snapshot()`. */
  readonly snapshot: string;
}

export interface SnapshotParts {
  readonly connect: () => Promise<PgConnection>;
  readonly datasets: Datasets;
  readonly publication: string;
  /** Prefix of the marks: the slot's own, so that two pipelines on one database leave each other's alone. */
  readonly prefix: string;
  /** Tells the marks of this run from those of an earlier one that are still in the log. */
  readonly run: string;
  readonly chunkRows: number;
  /** A chunk ends early when it has this many bytes. */
  readonly chunkBytes: number;
  readonly rowBytesMax: number;
  /** Whether the slot was made after all tables were published, and so after the transactions before that had ended. */
  readonly isNewSlot: boolean;
  /** Chunks that may be in memory: 1, or 2 where the next is read while one is on its way. */
  readonly depth: number;
  /** No more than so many; null: as many as there is room for. */
  readonly rowsPerSecond: number | null;
  readonly clock: Clock;
  readonly failed: (error: unknown) => void;
  /** Told of a table that was dropped: there is nothing to be copied of it any more. */
  readonly gone: (table: string) => void;
}

/** Reads chunk after chunk; the reader of the log takes each when it meets its high mark. */
export class SnapshotReader {
  readonly #parts: SnapshotParts;
  readonly #chunks = new Map<string, { readonly table: string; readonly chunk: Promise<Chunk> }>();
  #todo: readonly TableProgress[];
  #generation = 0;
  #number = 0;
  readonly #stopping = new AbortController();
  /** Whether the server was ever asked to stop a statement. */
  #cancelled = false;
  #wake: () => void = () => {};
  /** Rows of the next chunk: few at first, then as many as fit the bytes. */
  #rows = 500;
  readonly done: Promise<void>;

  constructor(parts: SnapshotParts, todo: readonly TableProgress[]) {
    this.#parts = parts;
    this.#todo = todo;
    this.done = this.#run().catch((error: unknown) => {
      if (!this.#stopped) parts.failed(error);
    });
  }

  /** The table that the marks `id` stand around, or null for marks that are not (or no longer) of interest. */
  tableOf(id: string): string | null {
    return this.#chunks.get(id)?.table ?? null;
  }

  /** The chunk whose high mark was met. The next may then take its place. */
  async take(id: string): Promise<Chunk | null> {
    return (await this.#chunks.get(id)?.chunk) ?? null;
  }

  /** The chunk is emitted; another may be read. */
  release(id: string): void {
    this.#chunks.delete(id);
    this.#wake();
  }

  /** Forgets all that was read and not emitted, and goes on from here. */
  restart(todo: readonly TableProgress[]): void {
    this.#generation++;
    this.#chunks.clear();
    this.#todo = todo;
    this.#wake();
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  stop(): void {
    this.#stopping.abort();
    this.#wake();
  }

  async #run(): Promise<void> {
    await using connection = await this.#parts.connect();
    await this.#settle(connection);
    while (!this.#stopped) {
      const next = this.#todo.find((table) => !table.done);
      if (next === undefined || this.#chunks.size >= this.#parts.depth) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      const generation = this.#generation;
      const id = `${this.#parts.run}.${this.#number++}`;
      let chunk: Chunk;
      try {
        if (next.last === null && !this.#parts.isNewSlot) await this.#untilWritersEnd(connection, next.table);
        if (generation !== this.#generation || this.#stopped) continue;
        const reading = this.#read(connection, next, id);
        reading.catch(() => {}); // Awaited just below, and by whoever meets the high mark.
        this.#chunks.set(id, { table: next.table, chunk: reading });
        chunk = await reading;
      } catch (error) {
        if (!isTableGone(error)) throw error;
        await connection.script('rollback');
        this.#chunks.delete(id);
        this.#todo = this.#todo.map((table) => (table.table === next.table ? { ...table, done: true } : table));
        this.#parts.gone(next.table);
        continue;
      }
      if (generation === this.#generation) await this.#pace(chunk.rows.length);
      if (generation !== this.#generation) {
        await this.#parts.clock.sleep(20, this.#stopping.signal); // What made the chunk worthless may still be under way.
        continue;
      }
      const lastRow = chunk.rows.at(-1);
      const last = lastRow === undefined ? next.last : keyTexts(lastRow);
      this.#todo = this.#todo.map((table) => (table === next ? { ...table, last, done: chunk.complete } : table));
    }
  }

  async #pace(rows: number): Promise<void> {
    const { rowsPerSecond, clock } = this.#parts;
    if (rowsPerSecond !== null && rows > 0) await clock.sleep((rows / rowsPerSecond) * 1000, this.#stopping.signal);
  }

  /** Before the first chunk: a commit that an earlier run has read from the log, and that others still can't see, is not known to this run. */
  async #settle(connection: PgConnection): Promise<void> {
    const settling = new Settling(connection, this.#parts.clock);
    while (!this.#stopped && !(await settling.settle(this.#stopping.signal)));
  }

  /**
   * Before the first chunk of a table that was published while the slot was in use: transactions that had changed it before that are sent without
   * those changes. Once they have ended, the chunks have what they did.
   */
  async #untilWritersEnd(connection: PgConnection, table: string): Promise<void> {
    const { schema, name } = splitTable(table);
    const writers = async (): Promise<(string | null | undefined)[]> => {
      const found = await connection.query(
        `select distinct l.virtualtransaction from pg_catalog.pg_locks l
          where l.locktype = 'relation' and l.granted
            and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
            and l.mode in ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
            and l.relation in (select $1::pg_catalog.regclass union all select p.relid from pg_catalog.pg_partition_tree($1::pg_catalog.regclass) p)`,
        [quoteQualified(schema, name)],
      );
      return found.rows.map(([transaction]) => transaction);
    };
    for (let left = await writers(); left.length > 0 && !this.#stopped;) {
      await this.#parts.clock.sleep(50);
      const now = await writers();
      left = left.filter((transaction) => now.includes(transaction));
    }
  }

  async #read(connection: PgConnection, progress: TableProgress, id: string): Promise<Chunk> {
    for (;;) {
      try {
        return await this.#readOnce(connection, progress, id);
      } catch (error) {
        // Behind a proxy, what was to stop the COPY may come when another statement runs. Then the chunk is read again, by now with as many rows as fit.
        if (!this.#cancelled || !isCancelled(error)) throw error;
        await connection.script('rollback');
      }
    }
  }

  async #readOnce(connection: PgConnection, progress: TableProgress, id: string): Promise<Chunk> {
    const { prefix, datasets, publication, chunkBytes } = this.#parts;
    const mark = (which: string) =>
      `select pg_catalog.pg_logical_emit_message(true, ${quoteLiteral(prefix)}, ${quoteLiteral(`${which} ${id}`)})`;
    await connection.script(mark('low'));
    const { schema, name } = splitTable(progress.table);
    await connection.script(`begin isolation level repeatable read; lock table ${quoteQualified(schema, name)} in access share mode`);
    const snapshot = (await connection.query('select pg_catalog.pg_current_snapshot()::text')).rows[0]?.[0] ?? '';
    const present = await readTable(connection, progress.table, publication);
    if (present === null) throw new PipelineError('SOURCE_TABLE_MISSING', `the snapshot of ${progress.table}: the table is gone`);
    const relation = await datasets.relationOf(connection, progress.table, present.message, present);
    if (relation.dataset.keyless === true)
      throw new PipelineError('SOURCE_NO_KEY', `the snapshot of ${progress.table}: it has no primary key`);
    const path = operatorPath(relation);
    if (path !== null) await connection.script(`set local search_path = ${path}`);
    const limit = Math.min(this.#parts.chunkRows, this.#rows);
    const reader = new CopyReader(relation, chunkBytes);
    await this.#copy(connection, chunkSql(present, relation, progress.last, limit), reader);
    const { rows, bytes, cut } = reader;
    this.#rows = nextRows(limit, rows.length, bytes, chunkBytes);
    await connection.script(`${mark('high')}; commit`);
    return { table: progress.table, relation, rows, complete: !cut && rows.length < limit, cut: reader.isRowCut, snapshot };
  }

  /**
   * Reads a COPY until there are enough bytes. Then the server is asked to stop: the rows that the limit still allows may be large ones. The
   * transaction goes on, with its snapshot and its lock.
   */
  async #copy(connection: PgConnection, sql: string, reader: CopyReader): Promise<void> {
    await connection.script('savepoint chunk');
    let cancelling: Promise<void> | null = null;
    try {
      const { rowBytesMax: bytesMax } = this.#parts;
      const large = { bytesMax, begin: (_: number, put: (payload: Buffer) => void) => cutCopyRow(bytesMax, put) };
      for await (const bytes of connection.copyOut(sql, undefined, large)) {
        reader.push(bytes);
        if (!reader.cut || cancelling !== null) continue;
        this.#cancelled = true;
        cancelling = connection.cancel().catch(() => {}); // Should this fail, the rest of the rows comes, and is left.
      }
    } catch (error) {
      if (!reader.cut || !isCancelled(error)) throw error;
    }
    if (cancelling === null) return;
    await cancelling;
    await connection.script('rollback to savepoint chunk');
  }
}

/** Undefined table, or schema. */
const isTableGone = (error: unknown): boolean =>
  error instanceof PgError
    ? error.code === '42P01' || error.code === '3F000'
    : error instanceof PipelineError && error.code === 'SOURCE_TABLE_MISSING';

const isCancelled = (error: unknown): boolean => error instanceof PgError && error.code === '57014';

/** Grows fast while rows prove small, shrinks at once when they don't: so a chunk cut for its bytes is an exception. */
function nextRows(limit: number, rows: number, bytes: number, chunkBytes: number): number {
  if (rows === 0) return limit;
  return Math.max(1, Math.min(limit * 8, Math.floor((0.8 * chunkBytes * rows) / bytes)));
}

/**
 * The schemas where the operators of the key's types are, as a search path; null where pg_catalog has them all. Without them citext, say, is
 * ordered by its own operators and compared as text, which leaves rows out.
 */
export function operatorPath(relation: PgRelation): string | null {
  const schemas = new Set<string>();
  for (const column of relation.dataset.key) {
    let type = relation.types[column]?.type;
    while (type?.kind === 'd' && type.inner !== null) type = type.inner;
    if (type !== undefined && type.schema !== 'pg_catalog') schemas.add(quoteIdent(type.schema));
  }
  return schemas.size === 0 ? null : ['pg_catalog', ...schemas].join(', ');
}

/** Keyset pagination by row comparison: the index of the key serves it, wherever the chunk begins. Behind each row's cells, the texts of its key. */
function chunkSql(table: CatalogTable, relation: PgRelation, last: readonly string[] | null, limit: number): string {
  const { names, cells } = sqlParts(relation);
  const conditions: string[] = [];
  if (table.rowFilter !== null) conditions.push(`(${table.rowFilter})`);
  if (last !== null) {
    const { columns, key } = relation.dataset;
    const literals = key.map((index, i) => `${quoteLiteral(last[i] ?? '')}::${columns[index]?.native ?? 'text'}`);
    conditions.push(`(${names.join(', ')}) > (${literals.join(', ')})`);
  }
  const where = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`;
  return `copy (select ${[...cells, ...names.map((name) => `${name}::text`)].join(', ')} from ${fromTable(table)} t ${where}
    order by ${names.join(', ')} limit ${limit}) to stdout (format binary)`;
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
  const { schema, name } = splitTable(table);
  const { relation } = row;
  const { columns, key } = relation.dataset;
  try {
    await connection.script(`begin isolation level repeatable read; lock table ${quoteQualified(schema, name)} in access share mode`);
    const present = await readTable(connection, table, publication);
    if (present === null) return null;
    const lacks = (column: number): boolean => row.cells[row.at + 2 * column + 1] === CELL_UNCHANGED;
    const isThere = (column: number): boolean =>
      present.message.columns.some((one) => one.name === columns[column]?.name && one.typeOid === relation.types[column]?.oid);
    if (!columns.every((_, column) => isThere(column) || !(lacks(column) || key.includes(column)))) return 'reshaped';
    const path = operatorPath(relation);
    if (path !== null) await connection.script(`set local search_path = ${path}`);
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
      key.map((column) => cellBytes(row, column)),
      types.map((type) => (type?.format === 'text' ? Format.Text : Format.Binary)),
      Format.Binary,
    );
    const [found] = await connection.exchange(writer.execute().sync().bytes(), 1, true);
    const raw = found?.raw[0];
    return raw === undefined ? null : rowOfCells(relation, raw);
  } catch (error) {
    if (error instanceof PgError && (error.code === '42P01' || error.code === '3F000')) return null; // Dropped, and its rows with it.
    throw error;
  } finally {
    await connection.script('rollback');
  }
}

function cellBytes(row: PgRow, column: number): Buffer | null {
  const from = row.cells[row.at + 2 * column] ?? 0;
  const length = row.cells[row.at + 2 * column + 1] ?? CELL_NULL;
  return length < 0 ? null : row.bytes.subarray(from, from + length);
}

function rowOfCells(relation: PgRelation, raw: readonly (Buffer | null)[]): PgRow {
  const cells = new Int32Array(2 * relation.types.length);
  let at = 0;
  for (let column = 0; column < relation.types.length; column++) {
    const bytes = raw[column] ?? null;
    cells[2 * column] = at;
    cells[2 * column + 1] = bytes === null ? CELL_NULL : bytes.length;
    at += bytes?.length ?? 0;
  }
  return new PgRow(relation, Buffer.concat(raw.filter((bytes) => bytes !== null)), cells, 0);
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

/** The text of a chunk row's key columns, which stand behind its own cells. */
export function keyTexts(row: PgRow): readonly string[] {
  const { types, dataset } = row.relation;
  return dataset.key.map((_, i) => {
    const cell = row.at + 2 * (types.length + i);
    const at = row.cells[cell] ?? 0;
    return row.bytes.toString('utf8', at, at + (row.cells[cell + 1] ?? 0));
  });
}

const COPY_HEADER_BYTES = 19;

/** Reads COPY BINARY: a header, then tuples of a cell count and cells with their lengths, then -1. Rows refer to the bytes pushed. */
class CopyReader {
  readonly rows: PgRow[] = [];
  /** Of the rows kept. */
  bytes = 0;
  /** Whether rows were left out, because there were enough bytes. */
  cut = false;
  /** Whether cells were left out of rows. */
  isRowCut = false;
  readonly #relation: PgRelation;
  readonly #bytesMax: number;
  readonly #width: number;
  #rest: Buffer = Buffer.alloc(0);
  #headed = false;
  #cells = new Int32Array(0);
  #used = 0;

  constructor(relation: PgRelation, bytesMax: number) {
    this.#relation = relation;
    this.#bytesMax = bytesMax;
    this.#width = relation.types.length + relation.dataset.key.length;
  }

  push(chunk: Buffer): void {
    if (this.cut) return;
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    if (!this.#headed) {
      if (bytes.length < COPY_HEADER_BYTES) {
        this.#rest = bytes;
        return;
      }
      at = COPY_HEADER_BYTES + bytes.readInt32BE(15);
      this.#headed = true;
    }
    for (;;) {
      const end = this.#tuple(bytes, at);
      if (end < 0) break;
      this.bytes += end - at;
      at = end;
      if (this.bytes >= this.#bytesMax) {
        this.cut = true;
        break;
      }
    }
    this.#rest = bytes.subarray(at);
  }

  #leftOut(cell: number): void {
    this.isRowCut = true;
    const { types, dataset } = this.#relation;
    // Behind the row's own cells stand those by which the next chunk begins.
    if (cell >= types.length)
      throw new PipelineError('SOURCE_ROW_TOO_LARGE', `the snapshot of ${dataset.name}: a row whose key alone is too large`);
  }

  /** Reads the tuple at `start`; -1 where it is not all there yet (or was the end). */
  #tuple(bytes: Buffer, start: number): number {
    if (bytes.length - start < 2 || bytes.readInt16BE(start) < 0) return -1;
    const width = this.#width;
    if (this.#used + 2 * width > this.#cells.length) {
      this.#cells = new Int32Array(Math.max(1 << 15, 2 * width));
      this.#used = 0;
    }
    const cells = this.#cells;
    const own = this.#relation.types.length;
    const size = bytes.length;
    let at = start + 2;
    let end = at;
    let cell = this.#used;
    for (let i = 0; i < width; i++) {
      if (size - at < 4) return -1;
      // Read by hand: a third of the time of readInt32BE.
      const length =
        ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
      at += 4;
      cells[cell] = length < 0 ? 0 : at;
      cells[cell + 1] = length < CELL_UNCHANGED ? CELL_UNCHANGED : length;
      if (length > 0) at += length;
      else if (length === CELL_UNCHANGED) this.#leftOut(i);
      cell += 2;
      if (i === own - 1) end = at;
    }
    if (at > size) return -1;
    const isWhole = !this.isRowCut; // Where cells are left out of some row, none is taken for whole.
    this.rows.push(new PgRow(this.#relation, bytes, cells, this.#used, isWhole ? start + 2 : 0, isWhole ? end : 0));
    this.#used = cell;
    return at;
  }
}
