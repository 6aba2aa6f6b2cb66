/** The worker that reads a Parquet file for `parquet.ts`: it tells the columns, then the rows of those asked for, a few chunks ahead of who takes them. */
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { UsageError } from '../cli/arguments.ts';
import { openParquet, type ParquetFile } from './parquet-file.ts';
import { groupsOf } from './parquet-groups.ts';

/** What the worker is asked: `null` columns are the types alone, `'all'` every column. */
export interface ParquetRequest {
  readonly path: string;
  readonly columns: readonly string[] | 'all' | null;
}

export type ParquetMessage =
  | { readonly kind: 'columns'; readonly columns: readonly { readonly name: string; readonly type: string | null }[] }
  | { readonly kind: 'working' }
  /** Column by column. Each is answered, so that no more than a few are on their way. */
  | { readonly kind: 'rows'; readonly rows: number; readonly values: readonly (readonly unknown[])[] }
  | { readonly kind: 'end' }
  | { readonly kind: 'unusable'; readonly message: string; readonly fix: string };

const CHUNK_ROWS = 4096;
const AHEAD_MAX = 4;

async function main(port: NonNullable<typeof parentPort>, request: ParquetRequest): Promise<void> {
  const tell = (message: ParquetMessage) => port.postMessage(message);
  try {
    await using file = await openParquet(request.path);
    tell({ kind: 'columns', columns: file.columns.map(({ name, type }) => ({ name, type })) });
    if (request.columns !== null) await readGroups(file, request.columns, new Outbox(port));
    tell({ kind: 'end' });
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    tell({ kind: 'unusable', message: error.message, fix: error.fix });
  }
  port.unref();
}

/** Sends chunks, and waits where too many were not taken yet. */
class Outbox {
  readonly #port: NonNullable<typeof parentPort>;
  #onTheirWay = 0;

  constructor(port: NonNullable<typeof parentPort>) {
    this.#port = port;
    port.on('message', () => this.#onTheirWay--);
  }

  tell(message: ParquetMessage): void {
    this.#port.postMessage(message);
  }

  async send(rows: number, values: readonly (readonly unknown[])[]): Promise<void> {
    while (this.#onTheirWay >= AHEAD_MAX) await once(this.#port, 'message');
    this.#onTheirWay++;
    this.tell({ kind: 'rows', rows, values });
  }
}

async function readGroups(file: ParquetFile, asked: readonly string[] | 'all', outbox: Outbox): Promise<void> {
  for await (const { rows, values } of groupsOf(file, asked, () => outbox.tell({ kind: 'working' })))
    for (let from = 0; from < rows; from += CHUNK_ROWS) {
      const to = Math.min(from + CHUNK_ROWS, rows);
      await outbox.send(
        to - from,
        values.map((column) => column?.slice(from, to) ?? []),
      );
    }
}

if (parentPort !== null) await main(parentPort, workerData as ParquetRequest); // parquet.ts alone starts this.
