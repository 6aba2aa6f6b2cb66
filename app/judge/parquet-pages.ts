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

type ReadPage = Parameters<typeof readPage>;
type DataReader = ReadPage[0];
type PageHeader = ReadPage[1];
export type ColumnDecoder = ReadPage[2];
type DecodedArray = ReturnType<typeof convert>;

export interface FlatColumn {
  readonly decoder: ColumnDecoder;
  /** A value that is not null, as the library gives it. */
  readonly read: (value: unknown) => unknown;
}

/** What a dictionary says, as the library gives it and as it is read. */
interface Dictionary {
  readonly stored: DecodedArray;
  readonly values: readonly unknown[];
}

/** `bytes` are those of the column in a row group. As many values as there are, which may be other than `rows` in a damaged file. */
export function flatValues(bytes: ArrayBuffer, rows: number, column: FlatColumn): readonly unknown[] {
  const reader: DataReader = { view: new DataView(bytes), offset: 0 };
  const values: unknown[] = [];
  let dictionary: Dictionary | null = null;
  while (values.length < rows && reader.offset < bytes.byteLength - 1) {
    const header = parquetHeader(reader);
    if (header.type === 'DICTIONARY_PAGE') dictionary = dictionaryOf(reader, header, column);
    else if (isSimple(header, column)) simplePage(reader, header, column, dictionary, rows - values.length, values);
    else otherPage(reader, header, column, dictionary, values);
  }
  return values;
}

function dictionaryOf(reader: DataReader, header: PageHeader, { decoder, read }: FlatColumn): Dictionary {
  const { data = [] } = readPage(reader, header, decoder, undefined, undefined, 0);
  const stored = convert(data, decoder);
  return { stored, values: Array.from(wholes(stored), (value: unknown) => orNull(value, read)) };
}

function otherPage(
  reader: DataReader,
  header: PageHeader,
  { decoder, read }: FlatColumn,
  dictionary: Dictionary | null,
  values: unknown[],
): void {
  const { data = [] } = readPage(reader, header, decoder, dictionary?.stored, undefined, 0);
  for (let at = 0; at < data.length; at++) values.push(orNull(data[at], read));
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
  values: unknown[],
): void {
  const { num_values: count = 0, encoding = 'PLAIN' } = header.data_page_header ?? {};
  if (count < 0 || count > rowsMax) throw new Error(`parquet page is said to have ${count} values of ${rowsMax}`);
  const { codec, compressors, element } = column.decoder;
  const packed = new Uint8Array(reader.view.buffer, reader.view.byteOffset + reader.offset, header.compressed_page_size);
  reader.offset += header.compressed_page_size;
  const page = decompressPage(packed, header.uncompressed_page_size, codec, compressors);
  const inPage: DataReader = { view: new DataView(page.buffer, page.byteOffset, page.byteLength), offset: 0 };
  const present = element.repetition_type === 'REQUIRED' ? null : new Uint8Array(count);
  if (present !== null) readRleBitPackedHybrid(inPage, 1, present);
  const found = present === null ? count : onesIn(present);
  const put = (into: unknown[]) =>
    encoding === 'PLAIN' ? putPlain(into, inPage, page, found, column) : putOfDictionary(into, inPage, found, dictionary);
  if (present === null || found === count) return put(values);
  const given: unknown[] = [];
  put(given);
  for (let at = 0, next = 0; at < count; at++) values.push(present[at] === 1 ? given[next++] : null);
}

function onesIn(levels: Uint8Array): number {
  let ones = 0;
  for (let at = 0; at < levels.length; at++) ones += levels[at] ?? 0;
  return ones;
}

function putOfDictionary(into: unknown[], reader: DataReader, count: number, dictionary: Dictionary | null): void {
  if (dictionary === null) throw new Error('parquet page refers to a dictionary that is not there');
  const width = reader.view.getUint8(reader.offset++);
  const places = new Int32Array(count);
  if (width > 0) readRleBitPackedHybrid(reader, width, places, reader.view.byteLength - reader.offset);
  const { values } = dictionary;
  for (let at = 0; at < count; at++) into.push(values[places[at] ?? 0] ?? null);
}

function putPlain(into: unknown[], reader: DataReader, page: Uint8Array, count: number, { decoder, read }: FlatColumn): void {
  const { type, element } = decoder;
  if (element.converted_type === 'UTF8' && type === 'BYTE_ARRAY' && isAscii(page.subarray(reader.offset)))
    return putAsciiTexts(into, reader, page, count);
  const stored = wholes(convert(readPlain(reader, type, count, element.type_length), decoder));
  for (let at = 0; at < stored.length; at++) into.push(orNull(stored[at], read));
}

/** Lengths are bytes below 128 as well: texts of less than 128 characters, as most are, keep a page one of ASCII. */
function putAsciiTexts(into: unknown[], { view, offset }: DataReader, page: Uint8Array, count: number): void {
  const text = Buffer.from(page.buffer, page.byteOffset, page.byteLength).toString('latin1');
  for (let at = 0, from = offset; at < count; at++) {
    const length = view.getUint32(from, true);
    from += 4;
    if (length > text.length - from) throw new Error('parquet text goes beyond its page');
    into.push(text.slice(from, from + length));
    from += length;
  }
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

function orNull(value: unknown, read: (value: unknown) => unknown): unknown {
  return value === null || value === undefined ? null : read(value);
}
