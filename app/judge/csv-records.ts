/**
 * CSV cut into records and fields where its bytes lie, as RFC 4180 has it: a field is a place in a buffer, and a text or a number is made of it only
 * where one is asked for. A field that is empty and not in quotes is null.
 */
import { isUtf8 } from 'node:buffer';
import { decimalOf, decimalText } from '../../core/expression/decimal.ts';
import { wholeNumber } from '../../core/whole-numbers.ts';
import { UsageError } from '../cli/arguments.ts';
import { plainName } from './file-kind.ts';

const [QUOTE, NEWLINE, RETURN, COMMA, TAB] = [34, 10, 13, 44, 9] as const;
/** A quote that is never closed would have the whole file in memory. */
const RECORD_BYTES_MAX = 1 << 24;
const NULL = -1;

/** The fields of one record, until the next is read. */
export class Fields {
  bytes: Buffer = Buffer.alloc(0);
  count = 0;
  /** Offset and length of each, the length of a null is -1. */
  places = new Int32Array(64);
  /** Whether a quote in it is doubled. */
  readonly escaped: boolean[] = [];

  add(start: number, length: number, escaped: boolean): void {
    if (2 * this.count === this.places.length) {
      const grown = new Int32Array(2 * this.places.length);
      grown.set(this.places);
      this.places = grown;
    }
    this.places[2 * this.count] = start;
    this.places[2 * this.count + 1] = length;
    this.escaped[this.count++] = escaped;
  }

  isNull(at: number): boolean {
    return at < 0 || (this.places[2 * at + 1] ?? NULL) === NULL;
  }

  start(at: number): number {
    return this.places[2 * at] ?? 0;
  }

  length(at: number): number {
    return this.places[2 * at + 1] ?? NULL;
  }

  text(at: number): string {
    const start = this.start(at);
    const text = this.bytes.toString('utf8', start, start + this.length(at));
    return this.escaped[at] === true ? text.replaceAll('""', '"') : text;
  }
}

/** Bytes of a file: the records that begin in there, the first of them at its beginning. */
export interface FilePart {
  readonly from: number;
  readonly until: number;
  /** Of Parquet alone: so many shares its row groups are dealt into, of which these are. */
  readonly shares?: number;
}

export const WHOLE_FILE: FilePart = { from: 0, until: Infinity };

export function separatorOf(path: string): number {
  return /\.tsv$/i.test(plainName(path)) ? TAB : COMMA;
}

/** Cuts bytes that come in pieces into records. */
export class Records {
  readonly #path: string;
  readonly #separator: number;
  readonly #take: (fields: Fields) => void;
  readonly #quick: ((bytes: Buffer, from: number) => number) | null;
  readonly #fields = new Fields();
  #rest: Buffer = Buffer.alloc(0);
  /** Where the next record begins, and how many line breaks the one that is being read has within quotes. */
  #line = 1;
  #breaks = 0;
  /** Where in the file the next record begins, and before which place it has to begin. */
  #offset: number;
  readonly #until: number;

  /**
   * `quick` takes records without quotes or line breaks in their fields: it says which place is behind the one that begins there, or -1. There is a line break
   * at that place or behind it.
   */
  constructor(
    path: string,
    take: (fields: Fields) => void,
    { from, until }: FilePart = WHOLE_FILE,
    quick: ((bytes: Buffer, from: number) => number) | null = null,
  ) {
    this.#quick = quick;
    this.#path = path;
    this.#offset = from;
    this.#until = until;
    this.#separator = separatorOf(path);
    this.#take = take;
  }

  push(chunk: Buffer, isEnd = false): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = Buffer.from(bytes.subarray(this.take(bytes, isEnd)));
  }

  /** Takes the records that lie in there whole, and says how many bytes they are: the others have to come again, with more behind them. */
  take(bytes: Buffer, isEnd: boolean): number {
    this.#fields.bytes = bytes;
    const end = Math.min(bytes.length, this.#until - this.#offset);
    // Behind the last line break a character may be cut through, and no record ends.
    const broken = this.#quick === null ? 0 : bytes.lastIndexOf(NEWLINE) + 1;
    const quick = isUtf8(bytes.subarray(0, broken)) ? this.#quick : null;
    let at = 0;
    while (at < end) {
      const behind = quick === null || at >= broken ? NULL : quick(bytes, at);
      if (behind >= 0) {
        this.#line++;
        at = behind;
        continue;
      }
      const next = this.#record(bytes, at, isEnd);
      if (next < 0) break;
      this.#take(this.#fields);
      this.#line += 1 + this.#breaks;
      at = next;
    }
    this.#offset += at;
    if (bytes.length - at > RECORD_BYTES_MAX)
      this.#refuse(this.#line, 'a record that has no end within 16 MB', 'Close its quotes, or write each record on a line.');
    return Math.min(at, bytes.length);
  }

  /** The place of the first record that was not taken. */
  get offset(): number {
    return this.#offset;
  }

  /** All records that begin before the end of the part have been taken. */
  get isDone(): boolean {
    return this.#offset >= this.#until;
  }

  #refuse(line: number, what: string, fix: string): never {
    throw new UsageError(`${this.#path}: on line ${line} begins ${what}`, fix);
  }

  /** The place behind the record that begins there, or -1 where more bytes are needed. */
  #record(bytes: Buffer, from: number, isEnd: boolean): number {
    const end = bytes.length;
    const fields = this.#fields;
    fields.count = 0;
    this.#breaks = 0;
    for (let at = from; ;) {
      at = bytes[at] === QUOTE ? this.#quoted(bytes, at, isEnd) : this.#plain(bytes, at, isEnd);
      if (at < 0) return -1;
      if (at >= end || bytes[at] !== this.#separator) return at + 1;
      at++;
      if (at < end) continue;
      // A separator was the last thing: a field follows, be it empty.
      if (!isEnd) return -1;
      fields.add(at, NULL, false);
      return at;
    }
  }

  /** The place of what ends the field, or -1. */
  #plain(bytes: Buffer, from: number, isEnd: boolean): number {
    const [end, separator] = [bytes.length, this.#separator];
    let at = from;
    for (; at < end; at++) {
      const byte = bytes[at];
      if (byte === separator || byte === NEWLINE) break;
    }
    if (at >= end && !isEnd) return -1;
    const endsRecord = at >= end || bytes[at] === NEWLINE;
    const length = (endsRecord && at > from && bytes[at - 1] === RETURN ? at - 1 : at) - from;
    this.#fields.add(from, length === 0 ? NULL : length, false);
    return at;
  }

  #quoted(bytes: Buffer, from: number, isEnd: boolean): number {
    const end = bytes.length;
    let escaped = false;
    let at = from + 1;
    let breaks = 0;
    for (; at < end; at++) {
      const byte = bytes[at];
      if (byte === NEWLINE) breaks++;
      if (byte !== QUOTE) continue;
      if (bytes[at + 1] !== QUOTE) break;
      escaped = true;
      at++;
    }
    if (at >= end) return isEnd ? this.#refuse(this.#line + this.#breaks, 'a quoted field that does not end', 'Close its quotes.') : -1;
    // A quote at the end of a piece may be the first of two.
    if (at + 2 >= end && !isEnd) return -1;
    const behind = bytes[at + 1] === RETURN ? at + 2 : at + 1;
    if (behind < end && bytes[behind] !== NEWLINE && bytes[behind] !== this.#separator)
      this.#refuse(this.#line + this.#breaks, 'a quoted field that goes on behind its quotes', 'Double the quotes within it.');
    this.#breaks += breaks;
    this.#fields.add(from + 1, at - from - 1, escaped);
    return behind;
  }
}

export type Kind = 'integer' | 'float' | 'boolean' | 'text';

const [ZERO, NINE, MINUS, PLUS, DOT] = [48, 57, 45, 43, 46] as const;

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}

/** What a field is by itself: `-?(0|[1-9]\d*)` is an integer, with a fraction or an exponent a float; 007 is a text. */
export function kindOfField({ bytes }: Fields, start: number, length: number): Kind {
  const end = start + length;
  let at = bytes[start] === MINUS ? start + 1 : start;
  const first = at;
  while (at < end && isDigit(bytes[at])) at++;
  if (at === first) return isBoolean(bytes, start, length) ? 'boolean' : 'text';
  if (bytes[first] === ZERO && at > first + 1) return 'text';
  if (at === end) return 'integer';
  if (bytes[at] === DOT) {
    const fraction = ++at;
    while (at < end && isDigit(bytes[at])) at++;
    if (at === fraction) return 'text';
  }
  if (at < end && ((bytes[at] ?? 0) | 32) === 101) {
    at++;
    if (bytes[at] === MINUS || bytes[at] === PLUS) at++;
    const exponent = at;
    while (at < end && isDigit(bytes[at])) at++;
    if (at === exponent) return 'text';
  }
  return at === end ? 'float' : 'text';
}

function isBoolean(bytes: Buffer, start: number, length: number): boolean {
  const word = length === 4 ? 'true' : length === 5 ? 'false' : '';
  if (word === '') return false;
  for (let i = 0; i < length; i++) if (((bytes[start + i] ?? 0) | 32) !== word.charCodeAt(i)) return false;
  return true;
}

export type ReadField = (fields: Fields, at: number) => unknown;

/** A field is of another kind than the rows had it that were looked at. */
export class OtherKind extends Error {
  override readonly name = 'OtherKind';
}

/**
 * How fields of a column become values: all of them are of the kind, or null where the kind is; the reader throws `OtherKind` for one that is not. `isGuess`: nobody
 * has looked at all of them, so that there may be values where none were seen.
 */
export function fieldReader(kind: Kind | null, isGuess = false, isExact = false): ReadField {
  const expect = (fields: Fields, at: number, ...kinds: readonly Kind[]) => {
    if (!kinds.includes(kindOfField(fields, fields.start(at), fields.length(at)))) throw new OtherKind();
  };
  switch (kind) {
    case 'integer':
      return (fields, at) => {
        const number = numberOf(fields, at, false);
        if (number !== null) return number;
        expect(fields, at, 'integer');
        return wholeNumber(fields.text(at));
      };
    case 'float':
      return (fields, at) => {
        const number = numberOf(fields, at, true);
        if (number !== null) return number;
        expect(fields, at, 'integer', 'float');
        const text = fields.text(at);
        const decimal = isExact ? decimalOf(text) : null;
        return decimal === null ? Number(text) : decimalText(decimal);
      };
    case 'boolean':
      return (fields, at) => {
        expect(fields, at, 'boolean');
        return ((fields.bytes[fields.start(at)] ?? 0) | 32) === 116;
      };
    case 'text':
      return textReader();
    case null:
      if (!isGuess) return textReader();
      return () => {
        throw new OtherKind();
      };
  }
}

/** So many digits are a whole number that a double holds, and a power of ten that it holds: their quotient is rounded once, as it has to be. */
export const DIGITS_MAX = 15;
export const POWERS = Array.from({ length: DIGITS_MAX + 1 }, (_, power) => 10 ** power);

/** Of `-?(0|[1-9]\d*)`, and where it may have one a fraction `(\.\d+)?`. Null for all else, and where the digits are too many. */
function numberOf({ bytes, places }: Fields, at: number, hasFraction: boolean): number | null {
  const start = places[2 * at] ?? 0;
  const end = start + (places[2 * at + 1] ?? 0);
  const isNegative = bytes[start] === MINUS;
  const first = isNegative ? start + 1 : start;
  if (end - first > DIGITS_MAX + 1) return null;
  let point = end;
  let value = 0;
  for (let i = first; i < end; i++) {
    const byte = bytes[i] ?? 0;
    if (byte === DOT && hasFraction && point === end) point = i;
    else if (byte < ZERO || byte > NINE) return null;
    else value = value * 10 + (byte - ZERO);
  }
  const whole = point - first;
  if (whole < 1 || (whole > 1 && bytes[first] === ZERO)) return null;
  const fraction = end - point - 1;
  if (fraction === 0 || whole + Math.max(fraction, 0) > DIGITS_MAX) return null;
  if (fraction > 0) value /= POWERS[fraction] ?? 1;
  return isNegative ? -value : value;
}

const KNOWN_TEXTS = 256;
const KNOWN_LENGTH_MAX = 64;
const TRIED = 2048;

/** Columns of few different texts have each made once: a text that was there before is found by its bytes. */
function textReader(): ReadField {
  const known: (string | undefined)[] = Array.from({ length: KNOWN_TEXTS });
  let [tried, found] = [0, 0];
  return (fields, at) => {
    const length = fields.length(at);
    if (length > KNOWN_LENGTH_MAX || length === 0 || (tried > TRIED && found < tried / 2)) return fields.text(at);
    const { bytes } = fields;
    const start = fields.start(at);
    const place =
      ((bytes[start] ?? 0) + 7 * (bytes[start + (length >> 1)] ?? 0) + 31 * (bytes[start + length - 1] ?? 0) + 13 * length) &
      (KNOWN_TEXTS - 1);
    const text = known[place];
    tried++;
    if (text !== undefined && isText(text, bytes, start, length)) {
      found++;
      return text;
    }
    const made = fields.text(at);
    known[place] = made;
    return made;
  };
}

/** Of ASCII alone: other texts have not as many characters as bytes, or characters that are no bytes. */
function isText(text: string, bytes: Buffer, start: number, length: number): boolean {
  if (text.length !== length) return false;
  for (let i = 0; i < length; i++) {
    const byte = bytes[start + i] ?? 0;
    if (byte > 127 || text.charCodeAt(i) !== byte) return false;
  }
  return true;
}
