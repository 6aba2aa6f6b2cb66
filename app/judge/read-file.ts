/** Reads a file of rows once, from its beginning, in bounded memory: whatever its format, a row is the values of the columns asked for. */
import { createReadStream } from 'node:fs';
import { extname } from 'node:path';
import type { Readable } from 'node:stream';
import { UsageError } from '../cli/arguments.ts';
import type { Types } from './cells.ts';
import { type CsvShape, readCsv } from './csv.ts';
import type { FilePart } from './csv-records.ts';
import { readNdjson } from './ndjson.ts';

export interface RowsRead {
  /** In the order in which they first appear. */
  readonly columns: readonly string[];
  readonly rows: number;
  /** Of a part of a file: where the first row lies that it left; null where nobody asks. */
  readonly end: number | null;
}

/**
 * `values` are of the columns asked for, in their order, and the array is used again for the next row. What a row does not have is null or undefined.
 * Where all columns are asked for, they are those met so far, in the order in which they first appear: a later row may bring more.
 */
export type TakeRow = (values: readonly unknown[], index: number) => void;

export interface RowFile {
  readonly path: string;
  /** What `-` reads. */
  readonly stdin: Readable;
  readonly signal: AbortSignal;
  /** What a reading of this CSV file told before: it need not be found out again. */
  readonly csv?: CsvShape | null;
  /** The rows that begin in there alone. A part of a Parquet file is read by the thread that asks, which has to be one with bounds. */
  readonly part?: FilePart;
  /** Told now and then while a part of a Parquet file is read. */
  readonly working?: () => void;
  /** About so many rows are enough. NDJSON alone goes by it. */
  readonly rowsEnough?: number;
}

export async function readRows(file: RowFile, columns: readonly string[] | 'all', take: TakeRow): Promise<RowsRead> {
  switch (extname(file.path).toLowerCase()) {
    case '.csv':
    case '.tsv':
      return readCsv(file, columns, take);
    case '.parquet':
      return file.part?.shares === undefined
        ? (await parquet()).readParquet(file, columns, take)
        : (await import('./parquet-groups.ts')).readShare(file, file.part, columns, take);
    default:
      return readNdjson(file, columns, take);
  }
}

export function isCsv({ path }: RowFile): boolean {
  return /\.[ct]sv$/i.test(path);
}

export function isParquet({ path }: Pick<RowFile, 'path'>): boolean {
  return /\.parquet$/i.test(path);
}

/** What the file itself says of its columns, in its order. Only Parquet does; of others it is empty. */
export async function typesOfFile(file: RowFile): Promise<Types> {
  return isParquet(file) ? (await parquet()).parquetTypes(file) : new Map();
}

/** Loaded where such a file is read alone: its decompressors are no small thing, and every command would wait for them. */
function parquet(): Promise<typeof import('./parquet.ts')> {
  return import('./parquet.ts');
}

/** The bytes of a file; an unreadable one is told with its path. */
export async function* chunksOf({ path, stdin, signal, part }: RowFile): AsyncGenerator<Buffer> {
  const stream = path === '-' ? stdin : createReadStream(path, { highWaterMark: 1 << 20, start: part?.from ?? 0 });
  try {
    for await (const chunk of stream) {
      signal.throwIfAborted();
      yield chunk as Buffer;
    }
  } catch (error) {
    throw unreadable(error, path);
  }
}

/** What the system says of a file becomes a problem of the command; anything else is what it was. */
export function unreadable(error: unknown, path: string): unknown {
  if (!(error instanceof Error && 'code' in error && 'syscall' in error)) return error;
  return new UsageError(`${path} cannot be read: ${String(error.code)}`, 'Give the path of a file that is there, or - for standard input.');
}
