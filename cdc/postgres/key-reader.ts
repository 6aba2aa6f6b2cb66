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
import { Format, FrontendWriter } from '../../wire/postgres/messages.ts';
import type { PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { keyRows, type KeyTexts } from '../../wire/postgres/row-sums.ts';
import type { CatalogTable } from './catalog.ts';
import { betweenMarks, type Chunk, fromTable, type MarkParts, operatorPath, setPath } from './chunk.ts';
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
  #current: { readonly id: string; readonly keys: readonly KeyTexts[]; readonly chunk: Promise<Chunk> } | null = null;
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

  /** The chunk is emitted. */
  release(): void {
    this.#left = this.#left.slice(this.#current?.keys.length ?? 0);
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
      this.#current = { id, keys, chunk };
      const { rows } = await chunk;
      const bytes = rows.reduce((sum, row) => sum + row.bytes.length, 0);
      const fitting = Math.floor((this.#parts.chunkBytes * keys.length) / Math.max(1, bytes));
      this.#keysAtOnce = Math.max(1, Math.min(4 * keys.length, fitting));
      while (!signal.aborted && this.#current !== null) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  async #read(connection: PgConnection, keys: readonly KeyTexts[], id: string): Promise<Chunk> {
    const { table } = this;
    return betweenMarks(connection, this.#parts, id, table, `reading rows of ${table}`, async (present, relation, snapshot) => {
      await setPath(connection, operatorPath(relation));
      const { rows, absent } = await readKeyRows(connection, present, relation, keys);
      return { table, relation, rows, absent, keys: keys.length, complete: false, cut: false, snapshot };
    });
  }
}

/** The rows of these keys, and the keys that have none as rows of their own cells alone. */
export async function readKeyRows(
  connection: PgConnection,
  table: CatalogTable,
  relation: PgRelation,
  keys: readonly KeyTexts[],
): Promise<{ readonly rows: PgRow[]; readonly absent: PgRow[] }> {
  const { sql, params } = rowsSql(table, relation, keys);
  const writer = new FrontendWriter(sql.length + 1024).parse('', sql).bind('', '', params, Format.Text, Format.Binary);
  const [found] = await connection.exchange(writer.execute().sync().bytes(), 1, true);
  const rows: PgRow[] = [];
  const absent: PgRow[] = [];
  for (const [isThere, ...cells] of found?.raw ?? []) {
    const key = cells.splice(0, relation.dataset.key.length);
    if (isThere?.[0] === 1) rows.push(rowOf(relation, (column) => cells[column] ?? null));
    else absent.push(rowOf(relation, (column) => key[relation.dataset.key.indexOf(column)]));
  }
  return { rows, absent };
}

/** Whether there is a row, the key's cells as they were asked for, and the row's. */
function rowsSql(table: CatalogTable, relation: PgRelation, keys: readonly KeyTexts[]): { sql: string; params: readonly string[] } {
  const { columns, key } = relation.dataset;
  const { from, params } = keyRows(key.length, keys);
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
  return { sql: `select ${cells.join(', ')} from ${from} left join ${fromTable(table)} t on ${on} order by k.tidegate_n`, params };
}
