/**
 * Rows that somebody asks the lane for by their keys, because the target lacks them or has them otherwise: chunks like those of the snapshot, read between
 * two marks, in the lane's order, so that none of them replaces anything newer. A key that has no row any more becomes a delete.
 *
 * The request is a message in the log itself, so whoever may write there can ask, and it is read where the lane is. It is not kept: a run that ends
 * before the rows are emitted forgets it, and who asked finds out by looking.
 */
import type { Clock } from '../../core/clock.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { quoteIdent } from '../../wire/postgres/ident.ts';
import type { PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { type KeyTexts, literalKeyRows } from '../../wire/postgres/row-sums.ts';
import { PipelineError } from '../../core/errors.ts';
import type { CatalogTable } from './catalog.ts';
import { betweenMarks, type Chunk, fromTable, type MarkParts, operatorPath, setPath } from './chunk.ts';
import { type Cancelled, copyUntil, CopyTuples, unlessCancelled } from './copy-until.ts';
import { rowOf } from './row-cells.ts';
import { Settling } from './settle.ts';

export interface KeyRequest {
  /** `schema.table` as in the config. */
  readonly table: string;
  readonly keys: readonly KeyTexts[];
}

const REQUEST = 'rows ';

/** The content of the message that asks for rows, transactional and with the slot's own prefix. */
export const requestText = (request: KeyRequest): string => REQUEST + JSON.stringify(request);

/** Null where it is another message, or none that we wrote. */
export function readRequest(content: string): KeyRequest | null {
  if (!content.startsWith(REQUEST)) return null;
  try {
    const { table, keys } = JSON.parse(content.slice(REQUEST.length)) as Partial<KeyRequest>;
    const areKeys = Array.isArray(keys) && keys.every((key) => Array.isArray(key) && key.every((text) => typeof text === 'string'));
    return typeof table === 'string' && areKeys ? { table, keys } : null;
  } catch {
    return null;
  }
}

export interface KeyReaderParts extends MarkParts {
  readonly connect: () => Promise<PgConnection>;
  readonly run: string;
  /** Of one chunk, which is one batch. */
  readonly keysMax: number;
  readonly chunkBytes: number;
  readonly rowBytesMax: number;
  readonly clock: Clock;
}

/** Keys of the first chunk; then as many as fit the bytes. */
const KEYS_FIRST = 16;
/** How often a chunk that cannot be combined with the log is read again, and how long after: a commit that nobody sees yet is the usual reason. */
const ATTEMPTS_MAX = 100;
const AGAIN_MS = 20;

export class KeyReader {
  readonly table: string;
  /** Resolves when all is read, or given up: then `onEnd` was called. */
  readonly done: Promise<void>;
  readonly #parts: KeyReaderParts;
  readonly #stopped = new AbortController();
  #left: readonly KeyTexts[];
  #keysAtOnce = KEYS_FIRST;
  #attempts = 0;
  #number = 0;
  #current: { readonly id: string; readonly chunk: Promise<Chunk> } | null = null;
  #wake: () => void = () => {};

  /** `onEnd` is told when nothing is left to be taken; a request that cannot be met is given up. */
  constructor(parts: KeyReaderParts, { table, keys }: KeyRequest, onEnd: () => void) {
    this.#parts = parts;
    this.table = table;
    this.#left = keys;
    // What fails here is only the request: the lane goes on, and who asked looks whether it was met.
    this.done = this.#run().then(onEnd, onEnd);
  }

  /** Whether `id` names the marks around the present chunk. */
  has(id: string): boolean {
    return this.#current?.id === id;
  }

  /** The chunk whose high mark was met. */
  async take(id: string): Promise<Chunk | null> {
    return this.#current?.id === id ? this.#current.chunk : null;
  }

  /** A chunk of so many keys is emitted. */
  release(keys: number): void {
    this.#left = this.#left.slice(keys);
    this.#attempts = 0;
    this.#current = null;
    this.#wake();
  }

  /** The chunk cannot be combined with what the log brought between its marks, and is read again. */
  again(): void {
    if (++this.#attempts >= ATTEMPTS_MAX) this.#stopped.abort();
    this.#current = null;
    this.#wake();
  }

  stop(): void {
    this.#stopped.abort();
    this.#wake();
  }

  async #run(): Promise<void> {
    await using connection = await this.#parts.connect();
    const { signal } = this.#stopped;
    signal.addEventListener('abort', () => connection.destroy(), { once: true });
    if (signal.aborted) return;
    // Before the first low mark the stream did not remember which transactions it has brought.
    if (!(await new Settling(connection, this.#parts.clock).settle(signal))) return;
    while (!signal.aborted && this.#left.length > 0) {
      if (this.#attempts > 0) await this.#parts.clock.sleep(AGAIN_MS, signal);
      const keys = this.#left.slice(0, Math.min(this.#keysAtOnce, this.#parts.keysMax));
      const id = `${this.#parts.run}.${this.#number++}`;
      const chunk = this.#read(connection, keys, id);
      chunk.catch(() => {}); // Awaited just below, and by whoever meets the high mark.
      this.#current = { id, chunk };
      const { rows, keys: read } = await chunk;
      let bytes = 0;
      for (const row of rows) bytes += row.bytes.length;
      const fitting = Math.floor((this.#parts.chunkBytes * read) / Math.max(1, bytes));
      this.#keysAtOnce = Math.max(1, Math.min(4 * read, fitting));
      while (!signal.aborted && this.#current !== null) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  async #read(connection: PgConnection, keys: readonly KeyTexts[], id: string): Promise<Chunk> {
    const { table } = this;
    return unlessCancelled(connection, (cancelled) =>
      betweenMarks(connection, this.#parts, id, table, `reading rows of ${table}`, async (present, relation, snapshot) => {
        await setPath(connection, operatorPath(relation));
        const found = await readKeyRows(connection, present, relation, keys, this.#parts, cancelled);
        return { table, relation, ...found, complete: false, snapshot };
      }),
    );
  }
}

export type KeyRows = Pick<Chunk, 'absent' | 'keys' | 'cut'> & { readonly rows: readonly PgRow[]; readonly bytes: number };

/**
 * The rows of these keys, and the keys that have none as rows of their own cells alone: those of the first keys, where all are more than the bytes of a chunk. Rows
 * that are too large come without their large cells.
 */
export async function readKeyRows(
  connection: PgConnection,
  table: CatalogTable,
  relation: PgRelation,
  keys: readonly KeyTexts[],
  { chunkBytes, rowBytesMax }: { readonly chunkBytes: number; readonly rowBytesMax: number },
  cancelled: Cancelled,
): Promise<KeyRows> {
  const { key } = relation.dataset;
  const rows: PgRow[] = [];
  const absent: PgRow[] = [];
  let bytes = 0;
  let cut = false;
  const tuples = new CopyTuples();
  const take = (chunk: Buffer): boolean => {
    for (const [isThere, ...cells] of tuples.push(chunk)) {
      if (bytes >= chunkBytes) break;
      const given = cells.splice(0, key.length);
      if (given.includes(undefined))
        throw new PipelineError('SOURCE_ROW_TOO_LARGE', `reading rows of ${table.name}: a row whose key alone is too large`);
      const isRow = isThere?.[0] === 1;
      const row = isRow ? rowOf(relation, (column) => cells[column]) : rowOf(relation, (column) => given[key.indexOf(column)]);
      (isRow ? rows : absent).push(row);
      cut ||= isRow && cells.includes(undefined);
      bytes += row.bytes.length;
    }
    return bytes >= chunkBytes;
  };
  await copyUntil(connection, rowsSql(table, relation, keys), { rowBytesMax, isForeign: false }, cancelled, take);
  return { rows, absent, keys: rows.length + absent.length, cut, bytes };
}

/** Whether there is a row, the key's cells as they were asked for, and the row's. */
function rowsSql(table: CatalogTable, relation: PgRelation, keys: readonly KeyTexts[]): string {
  const { columns, key } = relation.dataset;
  const asText = (column: number): string => (relation.types[column]?.format === 'text' ? '::text' : '');
  const given = key.map((column, i) => `k.tidegate_k${i}::${columns[column]?.native ?? 'text'}`);
  const matches = key.map((column, i) => `t.${quoteIdent(columns[column]?.name ?? '')} = ${given[i]}`);
  const filter = table.rowFilter === null ? [] : [`(${table.rowFilter})`];
  const cells = [
    't.ctid is not null',
    ...key.map((column, i) => `${given[i]}${asText(column)}`),
    ...columns.map(({ name }, column) => `t.${quoteIdent(name)}${asText(column)}`),
  ];
  const on = [...matches, ...filter].join(' and ');
  return `copy (select ${cells.join(', ')} from ${literalKeyRows(key.length, keys)} left join ${fromTable(table)} t on ${on} order by k.tidegate_n) to stdout (format binary)`;
}
