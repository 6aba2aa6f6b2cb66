/** Reads a file of rows once, from its beginning, in bounded memory: whatever its format, a row is the values of the columns asked for. */
import { createReadStream } from 'node:fs';
import { extname } from 'node:path';
import type { Readable } from 'node:stream';
import { UsageError } from '../cli/arguments.ts';
import { readCsv } from './csv.ts';
import { readNdjson } from './ndjson.ts';

export interface RowsRead {
  /** In the order in which they first appear. */
  readonly columns: readonly string[];
  readonly rows: number;
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
}

export async function readRows(file: RowFile, columns: readonly string[] | 'all', take: TakeRow): Promise<RowsRead> {
  switch (extname(file.path).toLowerCase()) {
    case '.csv':
    case '.tsv':
      return readCsv(file, columns, take);
    case '.parquet':
      throw new UsageError(`${file.path} is a Parquet file, and those are not supported yet`, 'Convert it to NDJSON or CSV.');
    default:
      return readNdjson(file, columns, take);
  }
}

/** The bytes of a file; an unreadable one is told with its path. */
export async function* chunksOf({ path, stdin, signal }: RowFile): AsyncGenerator<Buffer> {
  const stream = path === '-' ? stdin : createReadStream(path, { highWaterMark: 1 << 20 });
  try {
    for await (const chunk of stream) {
      signal.throwIfAborted();
      yield chunk as Buffer;
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && 'syscall' in error)
      throw new UsageError(
        `${path} cannot be read: ${String(error.code)}`,
        'Give the path of a file that is there, or - for standard input.',
      );
    throw error;
  }
}
