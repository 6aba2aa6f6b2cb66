/**
 * Debezium's envelope in JSON with a schema, read where it lies: as JsonConverter writes it, every field in the schema's order and no white space between. No text
 * and no object is made of a record. What is written in any other way is left to JSON.parse.
 */
import type { PgRelation } from '../../wire/postgres/row.ts';
import type { CellForm } from './cell-forms.ts';
import type { CellWriter } from './cell-writer.ts';
import type { ConnectSchema } from './connect-schema.ts';
import { emptyEnvelope, type Envelope, isPlace, KeptText, type ReadEnvelope } from './envelope.ts';

/** A reader of payloads whose rows have these forms. */
export function jsonEnvelope(schema: ConnectSchema, relation: PgRelation, forms: readonly CellForm[], writer: CellWriter): Envelope | null {
  const envelope = emptyEnvelope();
  const fields = schema.fields ?? [];
  if (!['after', 'source', 'op'].every((name) => fields.some(({ field }) => field === name))) return null;
  const steps = fields.map((field) => stepOf(field, relation, forms, writer, envelope));
  const read = objectOf(fields, steps);
  const cursor = new Cursor();
  return {
    read(bytes, from, to) {
      cursor.begin(bytes, from, to);
      return read(cursor) && cursor.at === to ? envelope : null;
    },
  };
}

/** A reader that only tells whether a value is as JsonConverter writes them. */
export function jsonValue(): (bytes: Buffer, from: number, to: number) => boolean {
  const cursor = new Cursor();
  return (bytes, from, to) => {
    cursor.begin(bytes, from, to);
    return skip(cursor) && cursor.at === to;
  };
}

/** Reads one value. False where it is written in another way. */
type Step = (cursor: Cursor) => boolean;

const [QUOTE, BACKSLASH, COMMA, COLON, MINUS, DOT, ZERO, NINE] = [0x22, 0x5c, 0x2c, 0x3a, 0x2d, 0x2e, 0x30, 0x39];
const [OPEN, CLOSE, OPEN_LIST, CLOSE_LIST] = [0x7b, 0x7d, 0x5b, 0x5d];
const [NULL, TRUE, FALSE] = ['null', 'true', 'false'].map((word) => Buffer.from(word)) as [Buffer, Buffer, Buffer];
/** A whole number of more digits is none that is safe. */
const SAFE_DIGITS = 16;

/** Behind the end stands nothing of the record's: a byte there is never taken for one. */
class Cursor {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  end = 0;
  /** Of the last text. */
  textFrom = 0;
  textLength = 0;
  isEscaped = false;
  /** The last number; NaN for a whole one beyond the safe ones. */
  number = 0;

  begin(bytes: Buffer, from: number, to: number): void {
    this.bytes = bytes;
    this.at = from;
    this.end = to;
  }

  /** What stands here; -1 at the end. */
  get next(): number {
    return this.at < this.end ? (this.bytes[this.at] as number) : -1;
  }

  takes(byte: number): boolean {
    if (this.next !== byte) return false;
    this.at++;
    return true;
  }

  takesAll(word: Buffer): boolean {
    const { bytes, at } = this;
    if (at + word.length > this.end) return false;
    for (let i = 0; i < word.length; i++) if (bytes[at + i] !== word[i]) return false;
    this.at = at + word.length;
    return true;
  }

  text(): boolean {
    if (!this.takes(QUOTE)) return false;
    const { bytes, end } = this;
    const from = this.at;
    let at = from;
    this.isEscaped = false;
    while (at < end) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) break;
      if (byte < 0x20) return false;
      if (byte === BACKSLASH) {
        const length = escapeLength(bytes, at);
        if (length === 0) return false;
        this.isEscaped = true;
        at += length;
      } else at++;
    }
    if (at >= end) return false;
    this.textFrom = from;
    this.textLength = at - from;
    this.at = at + 1;
    return true;
  }

  /** The last text, as JSON.parse has it. */
  parsed(): string {
    return JSON.parse(this.bytes.toString('utf8', this.textFrom - 1, this.textFrom + this.textLength + 1)) as string; // It is one.
  }

  /** As JSON writes numbers. */
  numeral(): boolean {
    const from = this.at;
    const isMinus = this.takes(MINUS);
    const first = this.at;
    let value = 0;
    for (let digit = this.next; digit >= ZERO && digit <= NINE; digit = this.next) {
      value = value * 10 + (digit - ZERO);
      this.at++;
    }
    const digits = this.at - first;
    if (digits === 0 || (digits > 1 && this.bytes[first] === ZERO)) return false;
    const behind = this.next;
    if (behind === DOT || behind === 0x65 || behind === 0x45) return this.#fraction(from);
    const isSafe = digits <= SAFE_DIGITS && value <= Number.MAX_SAFE_INTEGER;
    this.number = isSafe ? (isMinus ? -value : value) : Number.NaN;
    return true;
  }

  #fraction(from: number): boolean {
    let { at } = this;
    while (at < this.end && IN_NUMBER[this.bytes[at] as number] === 1) at++;
    const text = this.bytes.toString('latin1', from, at);
    if (!NUMBER.test(text)) return false;
    this.number = Number(text);
    this.at = at;
    return true;
  }
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const IN_NUMBER = new Uint8Array(256);
for (const one of Buffer.from('0123456789+-.eE')) IN_NUMBER[one] = 1;

const ESCAPED = new Set(Buffer.from('"\\\\/bfnrt'));
const HEX = /^[\da-fA-F]{4}$/;

/** 0 where it is none. */
function escapeLength(bytes: Buffer, at: number): number {
  const next = bytes[at + 1] ?? 0;
  if (ESCAPED.has(next)) return 2;
  return next === 0x75 && HEX.test(bytes.toString('latin1', at + 2, at + 6)) ? 6 : 0;
}

/** Lists and objects in one another: what is deeper is left to JSON.parse, which has no stack to run out of. */
const DEPTH_MAX = 64;

/** Steps over a value of any kind. */
const skip: Step = (cursor) => skipAt(cursor, 0);

function skipAt(cursor: Cursor, depth: number): boolean {
  switch (cursor.next) {
    case QUOTE:
      return cursor.text();
    case OPEN:
      return skipList(cursor, CLOSE, true, depth);
    case OPEN_LIST:
      return skipList(cursor, CLOSE_LIST, false, depth);
    case 0x6e:
      return cursor.takesAll(NULL);
    case 0x74:
      return cursor.takesAll(TRUE);
    case 0x66:
      return cursor.takesAll(FALSE);
    default:
      return cursor.numeral();
  }
}

function skipList(cursor: Cursor, close: number, hasNames: boolean, depth: number): boolean {
  if (depth === DEPTH_MAX) return false;
  cursor.at++;
  if (cursor.takes(close)) return true;
  do {
    if (hasNames && !(cursor.text() && cursor.takes(COLON))) return false;
    if (!skipAt(cursor, depth + 1)) return false;
  } while (cursor.takes(COMMA));
  return cursor.takes(close);
}

/** An object of just these fields, in this order. */
function objectOf(fields: readonly ConnectSchema[], steps: readonly Step[]): Step {
  const heads = fields.map(({ field = '' }, i) => Buffer.from(`${i === 0 ? '{' : ','}${JSON.stringify(field)}:`));
  return (cursor) => {
    for (let i = 0; i < steps.length; i++) if (!cursor.takesAll(heads[i] as Buffer) || !(steps[i] as Step)(cursor)) return false;
    return cursor.takes(CLOSE);
  };
}

function stepOf(field: ConnectSchema, relation: PgRelation, forms: readonly CellForm[], writer: CellWriter, envelope: ReadEnvelope): Step {
  const { field: name = '', fields = [] } = field;
  if (name === 'before' || name === 'after') return rowStep(fields, relation, forms, writer, envelope, name);
  if (name === 'source')
    return objectOf(
      fields,
      fields.map((one) => placeStep(one, envelope)),
    );
  if (name !== 'op') return skip;
  const kept = new KeptText();
  return (cursor) => {
    if (!cursor.text()) return false;
    envelope.op = keptText(cursor, kept);
    return true;
  };
}

function rowStep(
  fields: readonly ConnectSchema[],
  relation: PgRelation,
  forms: readonly CellForm[],
  writer: CellWriter,
  envelope: ReadEnvelope,
  name: 'before' | 'after',
): Step {
  const cells = objectOf(
    fields,
    fields.map((field, i) => cellStep(field, forms[i], writer)),
  );
  return (cursor) => {
    if (cursor.next === 0x6e) {
      envelope[name] = null;
      return cursor.takesAll(NULL);
    }
    writer.begin(fields.length);
    if (!cells(cursor)) {
      writer.giveUp();
      return false;
    }
    envelope[name] = writer.end(relation);
    return true;
  };
}

function cellStep(schema: ConnectSchema, form: CellForm | undefined, writer: CellWriter): Step {
  if (form === undefined) return () => false;
  const { number, slice, value } = form;
  const text = textCell(schema, form, writer);
  return (cursor) => {
    const { next, at, bytes } = cursor;
    if (next === QUOTE) {
      if (!cursor.text()) return false;
      return cursor.isEscaped ? value(cursor.parsed(), writer) : text(bytes, cursor.textFrom, cursor.textLength);
    }
    if (next === MINUS || (next >= ZERO && next <= NINE)) {
      if (!cursor.numeral() || Number.isNaN(cursor.number)) return false;
      return number === null ? value(cursor.number, writer) : number(cursor.number, writer);
    }
    if (next === 0x6e) {
      writer.null();
      return cursor.takesAll(NULL);
    }
    // A boolean, a list or an object.
    return slice === null && skip(cursor) && value(JSON.parse(bytes.toString('utf8', at, cursor.at)), writer);
  };
}

/** Bytes are written in base64. */
function textCell(
  { type }: ConnectSchema,
  { slice, value }: CellForm,
  writer: CellWriter,
): (bytes: Buffer, from: number, length: number) => boolean {
  if (slice === null) return (bytes, from, length) => value(bytes.toString('utf8', from, from + length), writer);
  if (type !== 'bytes') return (bytes, from, length) => slice(bytes, from, length, writer);
  return (bytes, from, length) => {
    const decoded = length <= BASE64_MAX ? fromBase64(bytes, from, length) : -1;
    return decoded < 0 ? value(bytes.toString('latin1', from, from + length), writer) : slice(DECODED, 0, decoded, writer);
  };
}

const BASE64_MAX = 160;
const DECODED = Buffer.alloc(BASE64_MAX);
const SIX_BITS = new Int8Array(256).fill(-1);
for (const [i, one] of Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/').entries()) SIX_BITS[one] = i;

/** Into `DECODED`; answers how many bytes there are, -1 for what is not written in full. */
function fromBase64(bytes: Buffer, from: number, length: number): number {
  if (length % 4 !== 0) return -1;
  const end = from + length;
  const padding = length > 0 && bytes[end - 1] === 0x3d ? (bytes[end - 2] === 0x3d ? 2 : 1) : 0;
  let to = 0;
  let bits = 0;
  for (let at = from, count = 0; at < end - padding; at++) {
    const six = SIX_BITS[bytes[at] as number] as number;
    if (six < 0) return -1;
    bits = (bits << 6) | six;
    if (++count % 4 !== 0) continue;
    DECODED[to++] = bits >> 16;
    DECODED[to++] = bits >> 8;
    DECODED[to++] = bits;
    bits = 0;
  }
  if (padding === 1) {
    DECODED[to++] = bits >> 10;
    DECODED[to++] = bits >> 2;
  } else if (padding === 2) DECODED[to++] = bits >> 4;
  return to;
}

const keptText = (cursor: Cursor, kept: KeptText): string =>
  kept.read(cursor.bytes, cursor.textFrom, cursor.textLength, cursor.isEscaped ? () => cursor.parsed() : null);

function placeStep({ field: name = '' }: ConnectSchema, { source }: ReadEnvelope): Step {
  if (!isPlace(name)) return skip;
  const kept = new KeptText();
  return (cursor) => {
    if (cursor.next === QUOTE) {
      if (!cursor.text()) return false;
      source[name] = keptText(cursor, kept);
      return true;
    }
    if (cursor.next === 0x6e) {
      source[name] = null;
      return cursor.takesAll(NULL);
    }
    if (!cursor.numeral() || Number.isNaN(cursor.number)) return false;
    source[name] = cursor.number;
    return true;
  };
}
