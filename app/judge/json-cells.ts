/**
 * The cells of most rows of NDJSON, put in their places with one look at each byte: rows that have the keys of a row before in its order, be it with some left
 * out, and no escapes, lists, objects or numbers of many digits. All else is for JSON.parse, and what is said here is what that would say.
 */
import { SeenKind } from '../../quality/file-columns.ts';
import { DIGITS_MAX, POWERS } from './csv-records.ts';
import type { PlacedRows } from './read-file.ts';

const [QUOTE, BACKSLASH, SPACE, NEWLINE, RETURN, COLON, COMMA, ZERO, MINUS, DOT] = [34, 92, 32, 10, 13, 58, 44, 48, 45, 46] as const;
const [OPEN, CLOSE, SMALL_F, SMALL_N, SMALL_T] = [123, 125, 102, 110, 116] as const;
const NONE = -1;
/** Rows that bring other keys each time are not learned from for ever. */
const LESSONS_MAX = 32;

export class JsonCells {
  readonly #rows: PlacedRows;
  readonly #names: readonly string[];
  #lessons = 0;
  #known: ReadonlySet<string> = new Set();
  /** Of the columns asked for, 1 where a cell is judged as a text by its bytes. */
  readonly #areTexts: Uint8Array;
  /** The keys as they are written, one behind the other, where each begins, and the column that it is. */
  #keys: Uint8Array = new Uint8Array(0);
  #starts: Int32Array = new Int32Array(1);
  #columns: Int32Array = new Int32Array(0);

  /** `names`: of the columns asked for. */
  constructor(rows: PlacedRows, names: readonly string[]) {
    this.#rows = rows;
    this.#names = names;
    this.#areTexts = Uint8Array.from(names, (_, at) => (rows.row.isText(at) ? 1 : 0));
  }

  /** A row that had to be parsed: those that come are likely to have its keys, if these are more than are known. */
  learn(keys: readonly string[]): void {
    if (this.#lessons >= LESSONS_MAX || keys.length <= this.#known.size) return;
    const own = new Set(keys);
    if (!this.#known.isSubsetOf(own)) return;
    this.#lessons++;
    this.#known = own;
    const written = keys.map((key) => Buffer.from(JSON.stringify(key)));
    this.#keys = Buffer.concat(written);
    this.#columns = Int32Array.from(keys, (key) => this.#names.indexOf(key));
    this.#starts = new Int32Array(keys.length + 1);
    for (const [at, { length }] of written.entries()) this.#starts[at + 1] = (this.#starts[at] ?? 0) + length;
    for (const at of this.#names.keys()) this.#rows.row.setNull(at);
  }

  /** A line break has to be behind that place: no look goes further. The place behind the line that begins there, if it is a usual one, and passes; else -1. */
  take(bytes: Buffer, from: number, index: number): number {
    const end = this.#read(bytes, from);
    return end >= 0 && this.#rows.take(index) ? end : NONE;
  }

  #read(bytes: Buffer, from: number): number {
    const { row } = this.#rows;
    const { cells, kinds, numbers } = row;
    const columns = this.#columns;
    const count = columns.length;
    row.bytes = bytes;
    let at = from;
    if (bytes[at++] !== OPEN) return NONE;
    for (let key = 0; ; key++) {
      while (bytes[at] === SPACE) at++;
      for (; ; key++) {
        if (key >= count) return NONE;
        const behind = this.#key(key, bytes, at);
        if (behind >= 0) {
          at = behind;
          break;
        }
        const left = columns[key] ?? NONE;
        if (left >= 0) row.setNull(left);
      }
      while (bytes[at] === SPACE) at++;
      if (bytes[at++] !== COLON) return NONE;
      while (bytes[at] === SPACE) at++;
      const start = at;
      const first = bytes[at] ?? 0;
      let kind = 0;
      let value = 0;
      if (first === QUOTE) {
        for (at++; ; at++) {
          const byte = bytes[at] ?? 0;
          if (byte === QUOTE) break;
          if (byte < SPACE || byte === BACKSLASH) return NONE;
        }
        at++;
        kind = SeenKind.Text;
      } else if (first === MINUS || (first >= ZERO && first <= ZERO + 9)) {
        if (first === MINUS) at++;
        const digits = at;
        let point = NONE;
        for (; ; at++) {
          const digit = (bytes[at] ?? 0) - ZERO;
          if (digit >= 0 && digit <= 9) value = value * 10 + digit;
          else if (bytes[at] === DOT && point < 0) point = at;
          else break;
        }
        const whole = (point < 0 ? at : point) - digits;
        const fraction = point < 0 ? 0 : at - point - 1;
        if (whole < 1 || whole + fraction > DIGITS_MAX || (whole > 1 && bytes[digits] === ZERO) || point === at - 1) return NONE;
        if (fraction > 0) value /= POWERS[fraction] ?? 1;
        if (first === MINUS) value = -value;
        kind = fraction > 0 && !Number.isInteger(value) ? SeenKind.Float : SeenKind.Whole;
      } else {
        at = wordEnd(bytes, at);
        if (at < 0) return NONE;
        kind = first === SMALL_N ? 0 : SeenKind.Boolean;
      }
      const column = columns[key] ?? NONE;
      if (column >= 0) {
        kinds[column] = kind;
        numbers[column] = value;
        const isText = kind === SeenKind.Text;
        if (!isText && kind !== 0 && this.#areTexts[column] === 1) return NONE;
        cells[2 * column] = isText ? start + 1 : start;
        cells[2 * column + 1] = kind === 0 ? NONE : isText ? at - start - 2 : at - start;
      }
      while (bytes[at] === SPACE) at++;
      const next = bytes[at++];
      if (next === COMMA) continue;
      if (next !== CLOSE) return NONE;
      for (key++; key < count; key++) {
        const left = columns[key] ?? NONE;
        if (left >= 0) row.setNull(left);
      }
      if (bytes[at] === RETURN) at++;
      return bytes[at] === NEWLINE ? at + 1 : NONE;
    }
  }

  /** The place behind the key if it is the one that stands there, else -1. */
  #key(key: number, bytes: Buffer, from: number): number {
    const keys = this.#keys;
    const end = this.#starts[key + 1] ?? 0;
    let at = from;
    for (let i = this.#starts[key] ?? 0; i < end; i++) if (keys[i] !== bytes[at++]) return NONE;
    return at;
  }
}

/** Of `true`, `false` and `null`. */
function wordEnd(bytes: Buffer, at: number): number {
  const first = bytes[at];
  const word = first === SMALL_T ? 'true' : first === SMALL_F ? 'false' : first === SMALL_N ? 'null' : '';
  if (word === '') return NONE;
  for (let i = 1; i < word.length; i++) if (bytes[at + i] !== word.charCodeAt(i)) return NONE;
  return at + word.length;
}
