/** NDJSON: one JSON object a line. Whole numbers keep all their digits. */
import { exactNumber } from '../../core/whole-numbers.ts';
import { UsageError } from '../cli/arguments.ts';
import { type FilePart, WHOLE_FILE } from './csv-records.ts';
import { chunksOf, type RowFile, type RowsRead, type TakeRow } from './read-file.ts';

const NEWLINE = 10;
const LINE_BYTES_MAX = 256 * 1024 * 1024;

export async function readNdjson(file: RowFile, columns: readonly string[] | 'all', take: TakeRow): Promise<RowsRead> {
  const known = new ColumnsSeen();
  const wanted = columns === 'all' ? known.names : columns;
  const values: unknown[] = [];
  let rows = 0;
  let lines = 0;
  const { from } = file.part ?? WHOLE_FILE;
  const takeLine = (line: string) => {
    lines++;
    if (line.trim() === '') return;
    const row = parseLine(from === 0 && lines === 1 ? line.replace(/^\uFEFF/, '') : line, file.path, lines);
    known.see(row);
    for (let at = 0; at < wanted.length; at++) values[at] = row[wanted[at] ?? ''];
    take(values, rows++);
  };
  const cutter = new Lines(file.path, file.part ?? WHOLE_FILE, takeLine);
  for await (const chunk of chunksOf(file)) {
    cutter.push(chunk);
    if (cutter.isDone || (file.rowsEnough !== undefined && rows >= file.rowsEnough))
      return { columns: known.names, rows, end: cutter.offset };
  }
  cutter.end();
  return { columns: known.names, rows, end: cutter.offset };
}

/** Cuts bytes that come in pieces into lines: those that begin within a part of the file. */
class Lines {
  readonly #path: string;
  readonly #until: number;
  readonly #take: (line: string) => void;
  /** Where in the file the next line begins. */
  offset: number;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string, { from, until }: FilePart, take: (line: string) => void) {
    this.#path = path;
    this.#until = until;
    this.#take = take;
    this.offset = from;
  }

  get isDone(): boolean {
    return this.offset >= this.#until;
  }

  push(chunk: Buffer): void {
    const before = this.#rest.length;
    const buffer = before === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const last = this.#until - this.offset;
    let start = 0;
    for (let end = buffer.indexOf(NEWLINE, before); end >= 0 && start < last; end = buffer.indexOf(NEWLINE, start)) {
      this.#take(buffer.toString('utf8', start, end));
      start = end + 1;
    }
    this.offset += start;
    if (buffer.length - start > LINE_BYTES_MAX && !this.isDone)
      throw new UsageError(`${this.#path} has a line of more than 256 MB`, 'Write one JSON object a line.');
    this.#rest = start === 0 ? buffer : Buffer.from(buffer.subarray(start));
  }

  /** What is left is a line without an end. */
  end(): void {
    if (this.#rest.length === 0) return;
    this.#take(this.#rest.toString('utf8'));
    this.offset += this.#rest.length;
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** Sixteen digits may be more than a double holds. */
const LONG = /\d{16}/;

/** Whether the row may hold a whole number that was rounded. A search for many digits in every line takes as long as to parse it. */
function isRounded(row: Fields, json: string): boolean {
  for (const key in row) {
    const value = row[key];
    if (
      typeof value === 'number'
        ? value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER
        : typeof value === 'object' && value !== null
    )
      return LONG.test(json);
  }
  return false;
}

function parseLine(json: string, path: string, number: number): Fields {
  let value: unknown;
  try {
    value = JSON.parse(json);
    if (isFields(value) && isRounded(value, json)) value = JSON.parse(json, exactNumber);
  } catch {
    throw new UsageError(`${path}: line ${number} is no JSON`, 'Write one JSON object a line.');
  }
  if (!isFields(value)) throw new UsageError(`${path}: line ${number} is no JSON object`, 'Write one JSON object a line.');
  return value;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The columns in the order in which rows bring them. Rows mostly have the keys of the row before, in the same order. */
class ColumnsSeen {
  readonly names: string[] = [];
  readonly #known = new Set<string>();
  #last: string[] = [];

  see(row: Fields): void {
    let at = 0;
    for (const key in row) {
      if (this.#last[at] !== key) return this.#learn(Object.keys(row));
      at++;
    }
  }

  #learn(keys: string[]): void {
    this.#last = keys;
    for (const key of keys) {
      if (this.#known.has(key)) continue;
      this.#known.add(key);
      this.names.push(key);
    }
  }
}
