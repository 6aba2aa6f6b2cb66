/** Reads a file of rows once, from its beginning, in bounded memory: whatever its format, a row is the values of the columns asked for. */
import { closeSync, createReadStream, openSync, readSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { PassingColumns } from '../../quality/passing-columns.ts';
import type { PlacedRow } from '../../quality/placed-row.ts';
import { UsageError } from '../cli/arguments.ts';
import type { Types } from './cells.ts';
import { type CsvShape, readCsv } from './csv.ts';
import type { FilePart } from './csv-records.ts';
import { isCsv, isParquet } from './file-kind.ts';
import { readNdjson } from './ndjson.ts';
import { packingOf, unpacked, unpackProblem } from './packing.ts';

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

/**
 * Where rows are put for whom their places are enough: of CSV and NDJSON, rows without escapes. Where `take` says so that is all, and the row is not
 * among those whose values are given.
 */
export interface PlacedRows {
  readonly row: PlacedRow;
  /** The columns of which it wants to know, by their places among those asked for. Of the others nothing has to be true. */
  readonly columns: readonly number[];
  take(index: number): boolean;
}

export interface RowFile {
  readonly path: string;
  /** What `-` reads. */
  readonly stdin?: Readable;
  readonly signal: AbortSignal;
  /** What a reading of this CSV file told before: it need not be found out again. */
  readonly csv?: CsvShape | null;
  readonly placed?: PlacedRows | null;
  /** The same of a part of a Parquet file, column by column: only the values of rows that it marks are given, and of the columns that are read alone. */
  readonly passing?: PassingColumns | null;
  /** The rows that begin in there alone. A part of a Parquet file is read by the thread that asks, which has to be one with bounds. */
  readonly part?: FilePart;
  /** Told now and then while a part of a Parquet file is read. */
  readonly working?: () => void;
  /** Columns whose numbers keep all their digits: those of CSV and NDJSON that are more than a double holds are texts. */
  readonly exact?: ReadonlySet<string>;
  /** About so many rows are enough. NDJSON alone goes by it. */
  readonly rowsEnough?: number;
}

export async function readRows(file: RowFile, columns: readonly string[] | 'all', take: TakeRow): Promise<RowsRead> {
  if (isCsv(file)) return readCsv(file, columns, take);
  if (!isParquet(file)) return readNdjson(file, columns, take);
  return file.part?.shares === undefined
    ? (await parquet()).readParquet(file, columns, take)
    : (await import('./parquet-groups.ts')).readShare(file, file.part, columns, take);
}

/** What the file itself says of its columns, in its order. Only Parquet does; of others it is empty. */
export async function typesOfFile(file: RowFile): Promise<Types> {
  return isParquet(file) ? (await parquet()).parquetTypes(file) : new Map();
}

/** Loaded where such a file is read alone: its decompressors are no small thing, and every command would wait for them. */
function parquet(): Promise<typeof import('./parquet.ts')> {
  return import('./parquet.ts');
}

/** What lies in the processor's own memory while it is looked at. */
const PIECE_BYTES = 1 << 18;
/** A record that does not end is looked at from its beginning with each piece: the longer it is, the larger they are. */
const PIECE_BYTES_MAX = 1 << 24;
/** Signals and what workers say are heard after so many. */
const PIECES_AT_ONCE = 16;

/**
 * The bytes of a file in pieces, all in one buffer that is used again: `take` says how many of them it has used, and the others begin the next piece; null
 * where it needs no more. The last piece, be it empty, is told to be that. An unreadable file is told with its path.
 */
export async function eachPiece(file: RowFile, take: (bytes: Buffer, isEnd: boolean) => number | null): Promise<void> {
  const pieces = new Pieces(take);
  try {
    const packing = packingOf(file.path);
    if (packing === null && file.path !== '-' && statSync(file.path).isFile()) await readPieces(file, pieces);
    else await streamPieces(file, pieces, packing === null ? plainStream(file) : unpacked(file.path, packing, PIECE_BYTES));
  } catch (error) {
    throw unpackProblem(error, file.path) ?? unreadable(error, file.path);
  }
}

/** A file on a disk is read faster by the thread that waits for it than by one that has to be told and to tell. */
async function readPieces({ path, part, signal }: RowFile, pieces: Pieces): Promise<void> {
  const file = openSync(path, 'r');
  try {
    let place = part?.from ?? 0;
    for (let count = 1; !pieces.isDone; count++) {
      signal.throwIfAborted();
      const bytes = pieces.wanted;
      const read = readSync(file, pieces.room(bytes), 0, bytes, place);
      place += read;
      pieces.add(read, read === 0);
      if (count % PIECES_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    closeSync(file);
  }
}

function plainStream({ path, stdin, part }: RowFile): Readable {
  return path === '-' && stdin !== undefined ? stdin : createReadStream(path, { highWaterMark: PIECE_BYTES, start: part?.from ?? 0 });
}

async function streamPieces({ signal }: RowFile, pieces: Pieces, stream: AsyncIterable<unknown>): Promise<void> {
  let gathered = 0;
  for await (const chunk of stream) {
    signal.throwIfAborted();
    const { length } = chunk as Buffer;
    pieces.room(gathered + length).set(chunk as Buffer, gathered);
    gathered += length;
    if (gathered < pieces.wanted) continue;
    pieces.add(gathered, false);
    if (pieces.isDone) return;
    gathered = 0;
  }
  pieces.add(gathered, true);
}

class Pieces {
  readonly #take: (bytes: Buffer, isEnd: boolean) => number | null;
  #buffer = Buffer.allocUnsafeSlow(2 * PIECE_BYTES);
  /** So many bytes begin the next piece. */
  held = 0;
  isDone = false;

  constructor(take: (bytes: Buffer, isEnd: boolean) => number | null) {
    this.#take = take;
  }

  /** How many bytes the next piece is to bring. */
  get wanted(): number {
    return Math.min(PIECE_BYTES_MAX, Math.max(PIECE_BYTES, this.held));
  }

  /** Where so many bytes are put; those that lie there already stay. */
  room(bytes: number): Buffer {
    if (this.#buffer.length - this.held < bytes) {
      const larger = Buffer.allocUnsafeSlow(2 * this.#buffer.length + bytes);
      this.#buffer.copy(larger);
      this.#buffer = larger;
    }
    return this.#buffer.subarray(this.held, this.held + bytes);
  }

  /** So many have been put there. */
  add(bytes: number, isEnd: boolean): void {
    const end = this.held + bytes;
    const used = this.#take(this.#buffer.subarray(0, end), isEnd);
    this.isDone = isEnd || used === null;
    this.#buffer.copyWithin(0, used ?? 0, end);
    this.held = end - (used ?? 0);
  }
}

/** What the system says of a file becomes a problem of the command; anything else is what it was. */
export function unreadable(error: unknown, path: string): unknown {
  if (!(error instanceof Error && 'code' in error && 'syscall' in error)) return error;
  return new UsageError(`${path} cannot be read: ${String(error.code)}`, 'Give the path of a file that is there, or - for standard input.');
}
