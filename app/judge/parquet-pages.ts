/**
 * The values of a column without lists in it, page by page: what the library makes of pages, put together without its assembly of nested values, which
 * takes longer than all else. Of a dictionary each value is read once; whole numbers are read where they lie, for a bigint each is made to be thrown away;
 * and texts of ASCII are cut from the text of their page.
 */
import { isAscii } from 'node:buffer';
import { parquetHeader, readPage } from 'hyparquet/src/column.js';
import { convert } from 'hyparquet/src/convert.js';
import { decompressPage } from 'hyparquet/src/datapage.js';
import { readRleBitPackedHybrid } from 'hyparquet/src/encoding.js';
import { readPlain } from 'hyparquet/src/plain.js';
import { type ColumnCells, countOf } from '../../quality/column-cells.ts';
import { readPlaces } from './parquet-places.ts';

type ReadPage = Parameters<typeof readPage>;
type DataReader = ReadPage[0];
type PageHeader = ReadPage[1];
export type ColumnDecoder = ReadPage[2];
type DecodedArray = ReturnType<typeof convert>;

export interface FlatColumn {
  readonly decoder: ColumnDecoder;
  /** A value that is not null, as the library gives it. */
  readonly read: (value: unknown) => unknown;
  /** It leaves numbers as they are, those that a double holds. */
  readonly keepsNumbers: boolean;
}

/** What a dictionary says, as the library gives it and as it is read. */
interface Dictionary {
  readonly stored: DecodedArray;
  readonly values: readonly unknown[];
}

/** `bytes` are those of the column in a row group. As many cells as there are, which may be other than `rows` in a damaged file. */
export function flatCells(bytes: ArrayBuffer, rows: number, column: FlatColumn): readonly ColumnCells[] {
  const reader: DataReader = { view: new DataView(bytes), offset: 0 };
  const pages: ColumnCells[] = [];
  let count = 0;
  let dictionary: Dictionary | null = null;
  while (count < rows && reader.offset < bytes.byteLength - 1) {
    const header = parquetHeader(reader);
    if (header.type === 'DICTIONARY_PAGE') {
      dictionary = dictionaryOf(reader, header, column);
      continue;
    }
    const cells = isSimple(header, column)
      ? simplePage(reader, header, column, dictionary, rows - count)
      : otherPage(reader, header, column, dictionary);
    count += countOf(cells);
    pages.push(cells);
  }
  return pages;
}

function dictionaryOf(reader: DataReader, header: PageHeader, { decoder, read }: FlatColumn): Dictionary {
  const { data = [] } = readPage(reader, header, decoder, undefined, undefined, 0);
  const stored = convert(data, decoder);
  return { stored, values: Array.from(wholes(stored), (value: unknown) => orNull(value, read)) };
}

function otherPage(reader: DataReader, header: PageHeader, { decoder, read }: FlatColumn, dictionary: Dictionary | null): ColumnCells {
  const { data = [] } = readPage(reader, header, decoder, dictionary?.stored, undefined, 0);
  return { kind: 'values', values: Array.from(data, (value: unknown) => orNull(value, read)) };
}

function isSimple({ data_page_header: page }: PageHeader, { decoder: { type } }: FlatColumn): boolean {
  return page !== undefined && type !== 'BOOLEAN' && (page.encoding === 'PLAIN' || page.encoding.endsWith('_DICTIONARY'));
}

/** A page of the first version: which values there are, then these, plain or as places in the dictionary. */
function simplePage(
  reader: DataReader,
  header: PageHeader,
  column: FlatColumn,
  dictionary: Dictionary | null,
  rowsMax: number,
): ColumnCells {
  const { num_values: count = 0, encoding = 'PLAIN' } = header.data_page_header ?? {};
  if (count < 0 || count > rowsMax) throw new Error(`parquet page is said to have ${count} values of ${rowsMax}`);
  const { codec, compressors, element } = column.decoder;
  const packed = new Uint8Array(reader.view.buffer, reader.view.byteOffset + reader.offset, header.compressed_page_size);
  reader.offset += header.compressed_page_size;
  const page = decompressPage(packed, header.uncompressed_page_size, codec, compressors);
  const inPage: DataReader = { view: new DataView(page.buffer, page.byteOffset, page.byteLength), offset: 0 };
  const present = element.repetition_type === 'REQUIRED' || areAllPresent(inPage, count) ? null : new Uint8Array(count);
  if (present !== null) readRleBitPackedHybrid(inPage, 1, present);
  const found = present === null ? count : onesIn(present);
  // Where none is missing, places of rows are those of values.
  const absent = found === count ? null : present;
  if (encoding !== 'PLAIN') return ofDictionary(inPage, found, dictionary, absent);
  const { type } = column.decoder;
  if (element.converted_type === 'UTF8' && type === 'BYTE_ARRAY' && isAscii(page.subarray(inPage.offset)))
    return asciiTexts(inPage, page, found, absent);
  const plain = convert(readPlain(inPage, type, found, element.type_length), column.decoder);
  const numbers = absent === null && column.keepsNumbers ? numbersOf(plain) : null;
  if (numbers !== null) return { kind: 'numbers', numbers };
  const stored = wholes(plain);
  const values: unknown[] = [];
  for (let at = 0, next = 0; at < count; at++)
    values.push(absent === null || absent[at] === 1 ? orNull(stored[next++], column.read) : null);
  return { kind: 'values', values };
}

/** Most columns that may have nulls have none: that is said by one run of ones, and is behind the reader then. */
function areAllPresent(reader: DataReader, count: number): boolean {
  const { view, offset } = reader;
  const length = view.getUint32(offset, true);
  let at = offset + 4;
  let header = 0;
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = view.getUint8(at++);
    header |= (byte & 127) << shift;
    if (byte < 128) break;
  }
  if ((header & 1) === 1 || header >>> 1 < count || at - offset - 4 >= length || view.getUint8(at) !== 1) return false;
  reader.offset = offset + 4 + length;
  return true;
}

function onesIn(levels: Uint8Array): number {
  let ones = 0;
  for (let at = 0; at < levels.length; at++) ones += levels[at] ?? 0;
  return ones;
}

/** `present`: which rows have a value; null where all have. */
function ofDictionary(reader: DataReader, count: number, dictionary: Dictionary | null, present: Uint8Array | null): ColumnCells {
  if (dictionary === null) throw new Error('parquet page refers to a dictionary that is not there');
  const width = reader.view.getUint8(reader.offset++);
  const found = new Int32Array(count);
  const { values } = dictionary;
  if (count > 0 && readPlaces(reader, width, found) >= values.length)
    throw new Error('parquet page refers to a value that its dictionary lacks');
  if (present === null) return { kind: 'places', dictionary: values, places: found, hasNulls: false };
  const places = new Int32Array(present.length);
  for (let at = 0, next = 0; at < places.length; at++) places[at] = present[at] === 1 ? (found[next++] ?? -1) : -1;
  return { kind: 'places', dictionary: values, places, hasNulls: true };
}

/** Lengths are bytes below 128 as well: texts of less than 128 characters, as most are, keep a page one of ASCII. */
function asciiTexts({ view, offset }: DataReader, page: Uint8Array, count: number, present: Uint8Array | null): ColumnCells {
  const bytes = Buffer.from(page.buffer, page.byteOffset, page.byteLength);
  const rows = present?.length ?? count;
  const cells = new Int32Array(2 * rows);
  for (let at = 0, from = offset; at < rows; at++) {
    if (present !== null && present[at] !== 1) {
      cells[2 * at + 1] = -1;
      continue;
    }
    const length = view.getUint32(from, true);
    from += 4;
    if (length > bytes.length - from) throw new Error('parquet text goes beyond its page');
    cells[2 * at] = from;
    cells[2 * at + 1] = length;
    from += length;
  }
  return { kind: 'texts', bytes, cells };
}

/** Bounds of what a double holds exactly, as the upper halves of int64s. */
const HIGH_MAX = 1 << 21;

/** int64s that are safe as numbers are numbers. */
function wholes(stored: DecodedArray): ArrayLike<unknown> {
  if (!(stored instanceof BigInt64Array)) return stored;
  const halves = new Int32Array(stored.buffer, stored.byteOffset, 2 * stored.length);
  const given: unknown[] = [];
  for (let at = 0; at < stored.length; at++) {
    const high = halves[2 * at + 1] ?? 0;
    given.push(high < HIGH_MAX && high > -HIGH_MAX ? high * 0x1_0000_0000 + ((halves[2 * at] ?? 0) >>> 0) : stored[at]);
  }
  return given;
}

/** Where all of them are numbers that a double holds; else null. */
function numbersOf(stored: DecodedArray): Float64Array | null {
  if (stored instanceof Float64Array) return stored;
  if (stored instanceof Int32Array) return Float64Array.from(stored);
  if (!(stored instanceof BigInt64Array)) return null;
  const halves = new Int32Array(stored.buffer, stored.byteOffset, 2 * stored.length);
  const numbers = new Float64Array(stored.length);
  for (let at = 0; at < numbers.length; at++) {
    const high = halves[2 * at + 1] ?? 0;
    if (high >= HIGH_MAX || high <= -HIGH_MAX) return null;
    numbers[at] = high * 0x1_0000_0000 + ((halves[2 * at] ?? 0) >>> 0);
  }
  return numbers;
}

function orNull(value: unknown, read: (value: unknown) => unknown): unknown {
  return value === null || value === undefined ? null : read(value);
}
