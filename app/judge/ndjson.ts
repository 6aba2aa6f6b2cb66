/** NDJSON: one JSON object a line. Whole numbers keep all their digits. */
import { isUtf8 } from 'node:buffer';
import { exactNumber } from '../../core/whole-numbers.ts';
import { UsageError } from '../cli/arguments.ts';
import { decimalOf, decimalText } from '../../core/expression/decimal.ts';
import { DIGITS_MAX, type FilePart, WHOLE_FILE } from './csv-records.ts';
import { JsonCells } from './json-cells.ts';
import { eachPiece, type RowFile, type RowsRead, type TakeRow } from './read-file.ts';

const NEWLINE = 10;
const NONE = -1;
const LINE_BYTES_MAX = 256 * 1024 * 1024;

export async function readNdjson(file: RowFile, columns: readonly string[] | 'all', take: TakeRow): Promise<RowsRead> {
  const known = new ColumnsSeen();
  const wanted = columns === 'all' ? known.names : columns;
  const values: unknown[] = [];
  let rows = 0;
  let lines = 0;
  const { from } = file.part ?? WHOLE_FILE;
  const { placed = null, exact = NO_NAMES } = file;
  const cells = placed === null ? null : new JsonCells(placed, wanted);
  const takeLine = (line: string) => {
    lines++;
    if (line.trim() === '') return;
    const row = parseLine(from === 0 && lines === 1 ? line.replace(/^\uFEFF/, '') : line, file.path, lines, exact);
    known.see(row);
    cells?.learn(Object.keys(row));
    for (let at = 0; at < wanted.length; at++) values[at] = row[wanted[at] ?? ''];
    take(values, rows++);
  };
  const quick = (bytes: Buffer, from: number): number => {
    const next = cells?.take(bytes, from, rows) ?? NONE;
    if (next >= 0) {
      lines++;
      rows++;
    }
    return next;
  };
  const cutter = new Lines(file.path, file.part ?? WHOLE_FILE, takeLine, cells === null ? null : quick);
  await eachPiece(file, (bytes, isEnd) => {
    const used = cutter.take(bytes, isEnd);
    return cutter.isDone || (file.rowsEnough !== undefined && rows >= file.rowsEnough) ? null : used;
  });
  return { columns: known.names, rows, end: cutter.offset };
}

/** Cuts bytes that come in pieces into lines: those that begin within a part of the file. */
class Lines {
  readonly #path: string;
  readonly #until: number;
  readonly #take: (line: string) => void;
  readonly #quick: ((bytes: Buffer, from: number) => number) | null;
  /** Where in the file the next line begins. */
  offset: number;

  /** `quick` takes lines as bytes: it says which place is behind the one that begins there, or -1. There is a line break behind it. */
  constructor(
    path: string,
    { from, until }: FilePart,
    take: (line: string) => void,
    quick: ((bytes: Buffer, from: number) => number) | null,
  ) {
    this.#path = path;
    this.#until = until;
    this.#take = take;
    this.#quick = quick;
    this.offset = from;
  }

  get isDone(): boolean {
    return this.offset >= this.#until;
  }

  /** Takes the lines that lie in there whole, and says how many bytes they are: the others have to come again, with more behind them. */
  take(bytes: Buffer, isEnd: boolean): number {
    const last = this.#until - this.offset;
    // Behind the last line break a character may be cut through, and no line ends.
    const broken = this.#quick === null ? 0 : bytes.lastIndexOf(NEWLINE) + 1;
    const quick = isUtf8(bytes.subarray(0, broken)) ? this.#quick : null;
    let start = 0;
    while (start < bytes.length && start < last) {
      const behind = quick === null || start >= broken ? NONE : quick(bytes, start);
      if (behind >= 0) {
        start = behind;
        continue;
      }
      const end = bytes.indexOf(NEWLINE, start);
      // What is left at the end of the file is a line without an end.
      if (end < 0 && !isEnd) break;
      this.#take(bytes.toString('utf8', start, end < 0 ? bytes.length : end));
      start = end < 0 ? bytes.length : end + 1;
    }
    this.offset += start;
    if (bytes.length - start > LINE_BYTES_MAX && !this.isDone)
      throw new UsageError(`${this.#path} has a line of more than 256 MB`, 'Write one JSON object a line.');
    return start;
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

const NO_NAMES: ReadonlySet<string> = new Set();
/** Of one number or of two beside each other: to look closer takes longer. */
const MANY_DIGITS = /[\d.]{17}/;

/** The row whose numbers of those columns are texts where a double does not hold all their digits. */
function exactFields(json: string, exact: ReadonlySet<string>): unknown {
  const found: { readonly holder: unknown; readonly key: string; readonly text: string }[] = [];
  const row: unknown = JSON.parse(json, function (this: unknown, key, value: unknown, context?: { readonly source?: string }) {
    const text = typeof value === 'number' && exact.has(key) ? (context?.source ?? '') : '';
    const decimal = text.replaceAll(/[^\d]/g, '').length > DIGITS_MAX && !/^-?\d+$/.test(text) ? decimalOf(text) : null;
    if (decimal !== null) found.push({ holder: this, key, text: decimalText(decimal) });
    return exactNumber(key, value, context);
  });
  // Within nested values such a name is none of a column.
  const own = found.filter(({ holder }) => holder === row).map(({ key, text }) => [key, text]);
  return isFields(row) ? Object.assign(row, Object.fromEntries(own)) : row;
}

function parseLine(json: string, path: string, number: number, exact: ReadonlySet<string>): Fields {
  let value: unknown;
  try {
    if (exact.size > 0 && MANY_DIGITS.test(json)) value = exactFields(json, exact);
    else {
      value = JSON.parse(json);
      if (isFields(value) && isRounded(value, json)) value = JSON.parse(json, exactNumber);
    }
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
