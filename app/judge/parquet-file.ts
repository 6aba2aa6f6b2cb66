/**
 * A Parquet file, row group by row group, and of each only the columns asked for. A value is what NDJSON would have: integers with every digit,
 * decimals, dates and times as texts, nested values as objects and lists. What the file says of its columns are their types.
 *
 * A damaged file may say anything. What it says of itself is held against its size and against its other statements before anything is read by it;
 * what can still go wrong below (no end, no memory) is why this runs in a worker of its own (parquet.ts).
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import {
  type AsyncBuffer,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetScan,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from 'hyparquet';
import { DEFAULT_PARSERS } from 'hyparquet/src/convert.js';
import { cellAt, type ColumnCells, countOf } from '../../quality/column-cells.ts';
import { UsageError } from '../cli/arguments.ts';
import { REPAIR } from './parquet.ts';
import { type ColumnDecoder, flatCells } from './parquet-pages.ts';
import { parquetColumn, type ParquetColumn, plainElement, plainParsers } from './parquet-values.ts';
import { unreadable } from './read-file.ts';
import { uninterrupted } from './worker-end.ts';

/** Writers make pages of about 1 MB. */
const PAGE_BYTES_MAX = 1 << 29;

export class ParquetFile implements AsyncDisposable {
  readonly columns: readonly ParquetColumn[];
  readonly groups: readonly RowGroup[];
  readonly #metadata: FileMetaData;
  readonly #tree: SchemaTree;
  readonly #path: string;
  readonly #bytes: AsyncBuffer & AsyncDisposable;

  constructor(path: string, bytes: AsyncBuffer & AsyncDisposable, metadata: FileMetaData) {
    this.#path = path;
    this.#bytes = bytes;
    this.columns = parquetSchema(metadata).children.map(parquetColumn);
    this.groups = metadata.row_groups;
    this.#metadata = { ...metadata, schema: metadata.schema.map(plainElement) };
    this.#tree = parquetSchema(this.#metadata);
    this.#check();
  }

  /** The values of one column in one row group. */
  async read(column: ParquetColumn, group: RowGroup, at: number): Promise<readonly unknown[]> {
    const values: unknown[] = [];
    for (const cells of await this.cells(column, group, at)) {
      if (cells.kind === 'values') for (const value of cells.values) values.push(value);
      else for (let row = 0, rows = countOf(cells); row < rows; row++) values.push(cellAt(cells, row));
    }
    return values;
  }

  /** The same in the forms in which its pages have them. */
  async cells(column: ParquetColumn, group: RowGroup, at: number): Promise<readonly ColumnCells[]> {
    const rows = Number(group.num_rows);
    const place = `${this.#path}: column ${column.name} of row group ${at + 1}`;
    const pages = await readable(place, () => this.#flat(column, group, rows) ?? this.#nested(column, group, rows));
    const found = pages.reduce((sum, cells) => sum + countOf(cells), 0);
    if (found !== rows) throw broken(`${place} has ${found} values for ${rows} rows`);
    return pages;
  }

  /** Null where the column is of another kind. */
  #flat(column: ParquetColumn, group: RowGroup, rows: number): Promise<readonly ColumnCells[]> | null {
    const [tree, chunk] = [
      this.#tree.children.find(({ element }) => element.name === column.name),
      group.columns.find(({ meta_data: own }) => own?.path_in_schema[0] === column.name),
    ];
    const own = chunk?.meta_data;
    if (column.isNested || tree === undefined || own === undefined || chunk?.file_path !== undefined) return null;
    const decoder: ColumnDecoder = {
      pathInSchema: own.path_in_schema,
      type: own.type,
      codec: own.codec,
      element: tree.element,
      schemaPath: [this.#tree, tree],
      parsers: { ...DEFAULT_PARSERS, ...plainParsers },
      compressors,
      utf8: false,
    };
    const start = Number(own.dictionary_page_offset || own.data_page_offset); // Zero is no place of a page.
    return this.#bytesOf(start, start + Number(own.total_compressed_size)).then((bytes) =>
      flatCells(bytes, rows, { decoder, read: column.read, keepsNumbers: column.keepsNumbers }),
    );
  }

  async #bytesOf(start: number, end: number): Promise<ArrayBuffer> {
    return this.#bytes.slice(start, end);
  }

  async #nested({ name, read }: ParquetColumn, group: RowGroup, rowEnd: number): Promise<readonly ColumnCells[]> {
    const metadata = { ...this.#metadata, row_groups: [group], num_rows: group.num_rows };
    const scan = await parquetScan({ file: this.#bytes, metadata, columns: [name], compressors, parsers: plainParsers, utf8: false });
    const cells = await scan.readColumn({ column: name, rowStart: 0, rowEnd });
    return [{ kind: 'values', values: Array.from(cells, (cell: unknown) => (cell === null || cell === undefined ? null : read(cell))) }];
  }

  /** Its statements about rows and places agree with each other and with its size. */
  #check(): void {
    const { num_rows: rows } = this.#metadata;
    const sum = this.groups.reduce((total, group) => total + group.num_rows, 0n);
    if (sum !== rows) throw broken(`${this.#path} says that it has ${rows} rows, its row groups have ${sum}`);
    const flat = new Set(this.columns.filter(({ isNested }) => !isNested).map(({ name }) => name));
    for (const [at, { columns, num_rows: groupRows }] of this.groups.entries())
      for (const { meta_data: chunk } of columns) {
        const [name = ''] = chunk?.path_in_schema ?? [];
        if (chunk === undefined) throw broken(`${this.#path}: row group ${at + 1} has a column without a place`);
        if (flat.has(name) && chunk.num_values !== groupRows)
          throw broken(`${this.#path}: column ${name} of row group ${at + 1} has ${chunk.num_values} values for ${groupRows} rows`);
        const start = chunk.dictionary_page_offset ?? chunk.data_page_offset;
        if (
          groupRows < 0n ||
          start < 0n ||
          chunk.total_compressed_size < 0n ||
          start + chunk.total_compressed_size > BigInt(this.#bytes.byteLength)
        )
          throw broken(`${this.#path}: column ${name} of row group ${at + 1} is said to lie outside the file`);
      }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#bytes[Symbol.asyncDispose]();
  }
}

export async function openParquet(path: string): Promise<ParquetFile> {
  await using unfinished = new AsyncDisposableStack();
  const bytes = unfinished.use(openBytes(path));
  const file = await readable(path, async () => new ParquetFile(path, bytes, await parquetMetadataAsync(bytes, { geoparquet: false })));
  unfinished.move();
  return file;
}

/** Only workers read such files, and they have nothing else to do while they wait: Node's promises of files take a while to load, and more to read. */
function openBytes(path: string): AsyncBuffer & AsyncDisposable {
  const file = openForReading(path);
  const { size } = fstatSync(file);
  const slice = (start: number, end = size): ArrayBuffer => {
    // What a broken file says of its places must not become an allocation.
    if (start < 0 || end > size || start > end) throw new Error('parquet refers to bytes outside the file');
    const bytes = new Uint8Array(end - start);
    for (let read = 0; read < bytes.length;) {
      const bytesRead = readSync(file, bytes, read, bytes.length - read, start + read);
      if (bytesRead === 0) throw new Error('parquet file became shorter');
      read += bytesRead;
    }
    return bytes.buffer;
  };
  return { byteLength: size, slice, [Symbol.asyncDispose]: () => Promise.resolve(closeSync(file)) };
}

function openForReading(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw unreadable(error, path);
  }
}

type Decompress = (input: Uint8Array, outputLength: number) => Uint8Array;

/** What a page says of its size bounds what is made of it. Node's own codecs are several times faster than those in JavaScript. */
function bounded(decompress: Decompress): Decompress {
  return (input, outputLength) => {
    if (!(outputLength >= 0 && outputLength <= PAGE_BYTES_MAX)) throw new Error(`parquet page is said to have ${outputLength} bytes`);
    if (outputLength === 0) return new Uint8Array(0);
    const output = decompress(input, outputLength);
    if (output.length !== outputLength) throw new Error(`parquet page has ${output.length} bytes, ${outputLength} were said`);
    return output;
  };
}

type Codec = (input: Uint8Array, options: { readonly maxOutputLength: number; readonly chunkSize: number }) => Uint8Array;

/** Into one piece of memory, with room to see that nothing comes behind it. */
const native = (codec: Codec): Decompress =>
  bounded((input, outputLength) => uninterrupted(() => codec(input, { maxOutputLength: outputLength, chunkSize: outputLength + 64 })));

/** Those in JavaScript are loaded where a file asks for one. */
function late(codec: 'SNAPPY' | 'LZ4' | 'LZ4_RAW'): Decompress {
  return bounded((input, outputLength) => {
    const decompress = load('hyparquet-compressors').compressors[codec];
    if (decompress === undefined) throw new Error(`parquet codec ${codec} is not known`);
    return decompress(input, outputLength);
  });
}

const load = createRequire(import.meta.url) as (name: 'hyparquet-compressors') => typeof import('hyparquet-compressors');

const compressors: Compressors = {
  SNAPPY: late('SNAPPY'),
  LZ4: late('LZ4'),
  LZ4_RAW: late('LZ4_RAW'),
  GZIP: native(gunzipSync),
  BROTLI: native(brotliDecompressSync),
  ZSTD: native(zstdDecompressSync),
};

/** Everything that a broken file makes the reader throw becomes one problem; only the reader's own messages are shown, for they hold no values. */
async function readable<T>(what: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (error instanceof Error && 'syscall' in error) throw unreadable(error, what);
    const said = error instanceof Error && error.message.startsWith('parquet ') ? `: ${error.message.slice('parquet '.length)}` : '';
    throw broken(`${what} cannot be read as Parquet${said}`);
  }
}

function broken(message: string): UsageError {
  return new UsageError(message, REPAIR);
}
