/**
 * Parquet files, read in a worker with bounds: whatever a damaged file makes the reader do, it ends. A worker that runs out of its memory or that says
 * nothing for too long is ended, and the file is told to be damaged.
 */
import { UsageError } from '../cli/arguments.ts';
import type { Types } from './cells.ts';
import type { ParquetMessage, ParquetRequest } from './parquet-worker.ts';
import type { RowFile, RowsRead, TakeRow } from './read-file.ts';
import { endWorker, startWorker } from './worker-end.ts';

/** A row group is in memory at once: its values of the columns that are asked for. */
const MEMORY_MB_MAX = 4096;
/** A column of a row group takes no longer on a machine that does other work too. */
export const SILENCE_MS_MAX = 30_000;

/** What a worker says while it reads Parquet, so that one that comes to no end is told from one that has much to do. */
export const WORKING = 'working';

export const REPAIR = 'Give a whole, unencrypted Parquet file, or write it anew.';

export async function readParquet(
  file: RowFile,
  columns: readonly string[] | 'all',
  take: TakeRow,
  silenceMs = SILENCE_MS_MAX,
): Promise<RowsRead> {
  let names: readonly string[] = [];
  const values: unknown[] = [];
  let rows = 0;
  await messagesOf(file, { path: file.path, columns }, silenceMs, (message) => {
    if (message.kind === 'columns') names = message.columns.map(({ name }) => name);
    if (message.kind !== 'rows') return;
    for (let row = 0; row < message.rows; row++) {
      for (let place = 0; place < message.values.length; place++) values[place] = message.values[place]?.[row] ?? null;
      take(values, rows++);
    }
  });
  return { columns: names, rows, end: null };
}

/** The columns in the file's order with the types that it declares. No row is read. */
export async function parquetTypes(file: RowFile, silenceMs = SILENCE_MS_MAX): Promise<Types> {
  let types: Types = new Map();
  await messagesOf(file, { path: file.path, columns: null }, silenceMs, (message) => {
    if (message.kind === 'columns') types = new Map(message.columns.map(({ name, type }) => [name, type]));
  });
  return types;
}

/** What is said of a reader that says nothing. */
export function endless(path: string, silenceMs = SILENCE_MS_MAX): UsageError {
  return unread(path, `came to no end within ${silenceMs / 1000} seconds`);
}

function unread(path: string, how: string): UsageError {
  return new UsageError(`${path} cannot be read as Parquet: its reader ${how}`, REPAIR);
}

async function messagesOf({ path, signal }: RowFile, request: ParquetRequest, silenceMs: number, take: (message: ParquetMessage) => void) {
  signal.throwIfAborted();
  const self = import.meta.url;
  const worker = startWorker(new URL(self.endsWith('.ts') ? 'parquet-worker.ts' : 'parquet-worker.js', self), request, {
    resourceLimits: { maxOldGenerationSizeMb: MEMORY_MB_MAX },
    stdout: true,
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const damaged = (how: string) => reject(unread(path, how));
  const silence = setTimeout(() => reject(endless(path, silenceMs)), silenceMs);
  const abort = () => reject(signal.reason instanceof Error ? signal.reason : new Error('stopped'));
  signal.addEventListener('abort', abort, { once: true });
  worker.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') damaged(`needed more than ${MEMORY_MB_MAX} MB`);
    else reject(error);
  });
  worker.on('exit', (code) => damaged(`ended with ${code}`));
  worker.on('message', (message: ParquetMessage) => {
    try {
      if (message.kind === 'end') resolve();
      else if (message.kind === 'unusable') reject(new UsageError(message.message, message.fix));
      else take(message);
      if (message.kind === 'rows') worker.postMessage(null);
      silence.refresh();
    } catch (error) {
      reject(error as Error); // What `take` throws is its caller's.
    }
  });
  try {
    await promise;
  } finally {
    clearTimeout(silence);
    signal.removeEventListener('abort', abort);
    await endWorker(worker);
  }
}
