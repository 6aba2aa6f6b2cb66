/** What is seen of one column while its rows go by: enough to propose rules that all of them keep. Bounded memory, whatever the rows. */
import { codePoints } from '../../core/expression/calls.ts';
import { hasTextOrder, isCaseless, isPadded, unpadded } from '../../core/expression/columns.ts';
import { compareDecimalTexts, isDecimal } from '../../core/expression/decimal.ts';
import { FOREVER, microsOf } from '../../core/expression/timestamp.ts';
import { type Column, type Row, UNCHANGED, type Value } from '../../core/event.ts';
import { type FormatName, FORMATS } from '../formats.ts';
import { KeySight } from './key-sight.ts';
import { Shape } from './shape.ts';
import { type Pace, TimeSight } from './time-sight.ts';

/** Different values that are told apart; with more of them nobody wants a list. */
export const VALUES_MAX = 200;
/** Longer texts are none of a list, and have no form. */
const TEXT_MAX = 200;

/** Texts that a text column's values may all read as, the narrowest first. */
const READINGS = { integer: (text: string) => /^[+-]?\d+$/.test(text), decimal: isDecimal } as const;
type Reading = keyof typeof READINGS;

export interface ColumnFacts {
  readonly name: string;
  readonly type: string;
  readonly nulls: number;
  /** Rows with a value. */
  readonly values: number;
  /** How many different values; null where there are more than 200, or where they are not told apart. */
  readonly distinct: number | null;
  /** Of a number, a date or a timestamp, as text. */
  readonly min: string | null;
  readonly max: string | null;
  /** Of texts in code points, of bytes in bytes. */
  readonly lengths: { readonly min: number; readonly max: number } | null;
  /** The values, most frequent first, of a column that has only some that come again and again. */
  readonly set: readonly { readonly value: string | number | boolean; readonly count: number }[] | null;
  /** What all texts have in common. */
  readonly formats: readonly FormatName[];
  readonly reads: string | null;
  readonly pattern: string | null;
  /** Whether all values are different; null of what is no key, has few values, or too many to tell. */
  readonly unique: boolean | null;
  /** How its times come; null of what is no time, or where they come by no pace. */
  readonly pace: Pace | null;
}

export class ColumnSight {
  readonly column: Column;
  nulls = 0;
  values = 0;
  /** Whether there is a cell that rules could not read, or that has no place in the order of the others. */
  unreadable = false;
  unordered = false;
  #counts: Map<Exclude<Value, typeof UNCHANGED | null | Uint8Array>, number> | null = new Map();
  #min: number | bigint | string | null = null;
  #max: number | bigint | string | null = null;
  #shortest = Infinity;
  #longest = 0;
  #formats: FormatName[] | null = null;
  #reads: readonly Reading[] | null = null;
  readonly #shape = new Shape();
  readonly #keys: KeySight | null;
  readonly #times: TimeSight | null;
  readonly #compare: ((a: number | bigint | string, b: number | bigint | string) => number) | null;
  readonly #isPadded: boolean;

  constructor(column: Column) {
    this.column = column;
    this.#compare = comparisonOf(column);
    this.#isPadded = isPadded(column);
    this.#keys = mayBeKey(column) ? new KeySight() : null;
    this.#times = column.type === 'timestamp' || column.type === 'date' ? new TimeSight() : null;
    if (column.type === 'json' || column.type === 'bytes') this.#counts = null;
  }

  see(row: Row, at: number): void {
    let value: Value;
    try {
      value = row.value(at);
    } catch {
      this.unreadable = true;
      return;
    }
    if (value === null) this.nulls++;
    else if (value !== UNCHANGED) this.#seeValue(this.#isPadded && typeof value === 'string' ? unpadded(value) : value);
  }

  facts(): ColumnFacts {
    const { name, type, native } = this.column;
    const set = this.#set();
    return {
      name,
      type: native === '' ? type : native,
      nulls: this.nulls,
      values: this.values,
      distinct: this.#counts?.size ?? null,
      min: this.#bound(this.#min),
      max: this.#bound(this.#max),
      lengths: this.values === 0 || this.#shortest === Infinity ? null : { min: this.#shortest, max: this.#longest },
      set,
      formats: this.#formats ?? [],
      reads: this.#reads?.[0] ?? null,
      pattern: this.values === 0 ? null : this.#shape.pattern(),
      unique: this.values < LEAST_VALUES || this.unreadable ? null : (this.#keys?.differ ?? null),
      pace: this.nulls > 0 || this.unreadable || this.unordered ? null : (this.#times?.pace() ?? null),
    };
  }

  #seeValue(value: Exclude<Value, null | typeof UNCHANGED>): void {
    this.values++;
    if (value instanceof Uint8Array) {
      this.#seeLength(value.length);
      return;
    }
    if (!isOf(value, this.column)) this.unreadable = true;
    this.#keys?.see(value);
    this.#times?.see(value);
    this.#count(value);
    if (typeof value === 'string') this.#seeText(value);
    if (this.#compare !== null && typeof value !== 'boolean') this.#seeOrdered(value);
  }

  #count(value: Exclude<Value, null | typeof UNCHANGED | Uint8Array>): void {
    if (this.#counts === null) return;
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + 1);
    if (this.#counts.size > VALUES_MAX || (typeof value === 'string' && value.length > TEXT_MAX)) this.#counts = null;
  }

  #seeText(text: string): void {
    if (this.column.type !== 'text') return;
    this.#seeLength(codePoints(text));
    this.#formats = (this.#formats ?? (Object.keys(FORMATS) as FormatName[])).filter((name) => FORMATS[name](text));
    this.#reads = (this.#reads ?? (Object.keys(READINGS) as Reading[])).filter((name) => READINGS[name](text));
    this.#shape.see(text);
  }

  #seeLength(length: number): void {
    if (length < this.#shortest) this.#shortest = length;
    if (length > this.#longest) this.#longest = length;
  }

  #seeOrdered(value: number | bigint | string): void {
    if (!hasOrder(value, this.column)) {
      this.unordered = true;
      return;
    }
    if (this.#min === null || (this.#compare?.(value, this.#min) ?? 0) < 0) this.#min = value;
    if (this.#max === null || (this.#compare?.(value, this.#max) ?? 0) > 0) this.#max = value;
  }

  #bound(value: number | bigint | string | null): string | null {
    return value === null || this.unordered || this.unreadable ? null : String(value);
  }

  /** A list is worth proposing where its values come again and again. */
  #set(): ColumnFacts['set'] {
    const { type, native } = this.column;
    if (this.#counts === null || this.unreadable || this.values < LEAST_VALUES || isCaseless(this.column)) return null;
    // Enums are of types of their own.
    const isListed = (type === 'text' && native !== 'uuid') || type === 'other' ? SET_TEXTS_MAX : type === 'integer' ? SET_NUMBERS_MAX : 0;
    if (this.#counts.size > isListed || this.#counts.size * REPEATED > this.values) return null;
    const set: { value: string | number; count: number }[] = [];
    for (const [value, count] of this.#counts) {
      if (typeof value === 'boolean' || (type === 'other' && !(typeof value === 'string' && LABEL.test(value)))) return null;
      set.push({ value: typeof value === 'bigint' ? String(value) : value, count });
    }
    return set.sort((a, b) => b.count - a.count || (String(a.value) < String(b.value) ? -1 : 1));
  }
}

/** Fewer values say nothing about those to come. */
export const LEAST_VALUES = 20;
const SET_TEXTS_MAX = 20;
const SET_NUMBERS_MAX = 6;
/** The label of an enum, and no text of an array or a row. */
const LABEL = /^[\p{L}\p{N}_ -]+$/u;
/** How often each value of a list was seen at least, on average. */
const REPEATED = 4;

/** Amounts and times that happen to differ are no keys. */
const mayBeKey = (column: Column): boolean =>
  column.type === 'integer' || (column.type === 'text' && !isCaseless(column) && !isPadded(column)) || column.native === 'uuid';

/** Whether a cell is a value of its column's type: one of a file need not be. */
function isOf(value: Exclude<Value, null | typeof UNCHANGED | Uint8Array>, { type }: Column): boolean {
  switch (type) {
    case 'boolean':
      return typeof value === 'boolean';
    case 'integer':
      return typeof value === 'bigint' || Number.isInteger(value);
    case 'float':
      return typeof value === 'number';
    case 'decimal':
    case 'text':
    case 'timestamp':
    case 'date':
    case 'time':
    case 'bytes':
      return typeof value === 'string';
    case 'json':
    case 'other':
      return true;
  }
}

function comparisonOf(column: Column): ((a: number | bigint | string, b: number | bigint | string) => number) | null {
  switch (column.type) {
    case 'integer':
    case 'float':
      return (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    case 'decimal':
      return (a, b) => compareDecimalTexts(String(a), String(b));
    case 'timestamp':
    case 'date':
      return (a, b) => compareMicros(microsOf(String(a)), microsOf(String(b)));
    case 'time':
      return hasTextOrder(column) ? (a, b) => (a < b ? -1 : a > b ? 1 : 0) : null;
    default:
      return null;
  }
}

const compareMicros = (a: bigint | null, b: bigint | null): number => (a === null || b === null || a === b ? 0 : a < b ? -1 : 1);

function hasOrder(value: number | bigint | string, { type }: Column): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value === 'bigint') return true;
  if (type === 'decimal') return isDecimal(value);
  if (type !== 'timestamp' && type !== 'date') return true;
  const micros = microsOf(value);
  return micros !== null && micros !== FOREVER && micros !== -FOREVER;
}
