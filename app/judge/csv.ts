/**
 * CSV with a header, as RFC 4180 has it (`.tsv`: with tabs). A field that is empty and not in quotes is null. The file is read twice: a column whose
 * fields are all whole numbers is one of integers, and so for numbers and booleans, so that 007 or a lone "12" among words stays a text.
 */
import { StringDecoder } from 'node:string_decoder';
import { wholeNumber } from '../../core/whole-numbers.ts';
import { UsageError } from '../cli/arguments.ts';
import { chunksOf, type RowFile, type RowsRead, type TakeRow } from './read-file.ts';

type Kind = 'integer' | 'float' | 'boolean' | 'text';
type Field = string | null;

export async function readCsv(file: RowFile, columns: readonly string[] | 'all', take: TakeRow): Promise<RowsRead> {
  const kinds = new KindGuess();
  const header = await eachRecord(file, (fields) => kinds.see(fields));
  const readers = header.map((_, at) => READERS[kinds.of(at)]);
  const places = (columns === 'all' ? header : columns).map((column) => header.indexOf(column));
  const values: unknown[] = places.map(() => null);
  let rows = 0;
  await eachRecord(file, (fields) => {
    for (let at = 0; at < places.length; at++) {
      const field = fields[places[at] ?? -1] ?? null;
      values[at] = field === null ? null : readers[places[at] ?? -1]?.(field);
    }
    take(values, rows++);
  });
  return { columns: header, rows };
}

const READERS: Readonly<Record<Kind, (field: string) => unknown>> = {
  integer: wholeNumber,
  float: Number,
  boolean: (field) => field.toLowerCase() === 'true',
  text: (field) => field,
};

const INTEGER = /^-?(0|[1-9]\d*)$/;
const FLOAT = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

class KindGuess {
  readonly #kinds: (Kind | null)[] = [];

  see(fields: readonly Field[]): void {
    for (let at = 0; at < fields.length; at++) {
      const field = fields[at] ?? null;
      if (field !== null && this.#kinds[at] !== 'text') this.#kinds[at] = this.#wider(this.#kinds[at] ?? null, field);
    }
  }

  of(at: number): Kind {
    return this.#kinds[at] ?? 'text';
  }

  #wider(kind: Kind | null, field: string): Kind {
    if ((kind === null || kind === 'boolean') && /^(true|false)$/i.test(field)) return 'boolean';
    if ((kind === null || kind === 'integer') && INTEGER.test(field)) return 'integer';
    return (kind === null || kind === 'integer' || kind === 'float') && FLOAT.test(field) ? 'float' : 'text';
  }
}

/** Calls `take` with every record behind the header, and returns the header. */
async function eachRecord(file: RowFile, take: (fields: readonly Field[]) => void): Promise<readonly string[]> {
  let header: readonly string[] | null = null;
  let line = 0;
  const records = new Records(file.path, (fields) => {
    line++;
    if (header === null) header = fields.map((field) => (field ?? '').replace(/^\uFEFF/, ''));
    else if (fields.length === header.length) take(fields);
    else if (fields.length > 1 || (fields[0] ?? null) !== null)
      throw new UsageError(
        `${file.path}: record ${line} has ${fields.length} fields, the header ${header.length}`,
        'Give every record a field for each column of the header.',
      );
    else if (header.length === 1) take(fields);
  });
  const decoder = new StringDecoder('utf8');
  for await (const chunk of chunksOf(file)) records.push(decoder.write(chunk));
  records.end(decoder.end());
  if (header === null) throw new UsageError(`${file.path} is empty`, 'Begin it with a header: the names of the columns.');
  return header;
}

const FIELD_CHARACTERS_MAX = 1 << 24;

/** Cuts text that comes in pieces into records. */
class Records {
  readonly #path: string;
  readonly #separator: string;
  /** What ends a field without quotes. */
  readonly #ends: RegExp;
  readonly #take: (fields: readonly Field[]) => void;
  #text = '';
  #fields: Field[] = [];
  /** A separator was the last thing: a field follows, be it empty. */
  #isOpen = false;
  /** Where the next field begins. */
  #line = 1;

  constructor(path: string, take: (fields: readonly Field[]) => void) {
    this.#path = path;
    this.#separator = path.toLowerCase().endsWith('.tsv') ? '\t' : ',';
    this.#ends = new RegExp(`[${this.#separator}\\n]`, 'g');
    this.#take = take;
  }

  push(text: string): void {
    this.#text += text;
    this.#read(false);
  }

  end(text: string): void {
    this.#text += text;
    this.#read(true);
    if (this.#isOpen) this.#take([...this.#fields, null]);
  }

  #read(isEnd: boolean): void {
    let at = 0;
    while (at < this.#text.length) {
      const next = this.#text[at] === '"' ? this.#quoted(at, isEnd) : this.#plain(at, isEnd);
      if (next < 0) break;
      at = next;
    }
    this.#text = this.#text.slice(at);
    // A quote that is never closed would have the whole file in memory.
    if (this.#text.length > FIELD_CHARACTERS_MAX) this.#refuse('a field that has no end within 16 million characters', 'Close its quotes.');
  }

  #refuse(what: string, fix: string): never {
    throw new UsageError(`${this.#path}: on line ${this.#line} begins ${what}`, fix);
  }

  /** The place behind the field and what ends it, or -1 where more text is needed. */
  #plain(from: number, isEnd: boolean): number {
    const text = this.#text;
    // Whichever comes first, in one search: a file of one column has no separator, and looking for one would read all of the text for every field.
    this.#ends.lastIndex = from;
    const isEnded = this.#ends.test(text);
    if (!isEnded && !isEnd) return -1;
    const end = isEnded ? this.#ends.lastIndex - 1 : text.length;
    const field = text.slice(from, text[end] !== this.#separator && text[end - 1] === '\r' && end > from ? end - 1 : end);
    return this.#ended(field === '' ? null : field, end);
  }

  #quoted(from: number, isEnd: boolean): number {
    const text = this.#text;
    let end = text.indexOf('"', from + 1);
    while (end >= 0 && text[end + 1] === '"') end = text.indexOf('"', end + 2);
    if (end < 0 && isEnd) this.#refuse('a quoted field that does not end', 'Close its quotes.');
    // A quote at the end of a piece may be the first of two.
    if (end < 0 || (end + 2 >= text.length && !isEnd)) return -1;
    const field = text.slice(from + 1, end).replaceAll('""', '"');
    const behind = text[end + 1] === '\r' ? end + 2 : end + 1;
    const next = text[behind];
    if (next !== undefined && next !== '\n' && next !== this.#separator)
      this.#refuse('a quoted field that goes on behind its quotes', 'Double the quotes within it.');
    for (let at = field.indexOf('\n'); at >= 0; at = field.indexOf('\n', at + 1)) this.#line++;
    return this.#ended(field, behind);
  }

  #ended(field: Field, end: number): number {
    this.#fields.push(field);
    if (this.#text[end] !== this.#separator) {
      this.#line++;
      const fields = this.#fields;
      this.#fields = [];
      this.#take(fields);
    }
    this.#isOpen = this.#text[end] === this.#separator;
    return end + 1;
  }
}
