/** ValueCounts: how often each value was there, exactly. Gives distinct values, the most common ones, and duplicates. */
import { Decimal } from '../../core/expression/values.ts';
import { compareAny, keyOf, Moment, type Present, shortOf, shortOfDigits } from './cell.ts';
import { NumberCounts } from './number-counts.ts';
import {
  decodeCell,
  type Encoded,
  encodeCell,
  listOf,
  type State,
  type StateKind,
  type TellCell,
  type TellText,
  textBytesOf,
  wholeOf,
} from './state.ts';
import { TextCounts } from './text-counts.ts';

export interface Counted {
  readonly value: Present;
  readonly count: number;
}

export class ValueCounts implements State {
  readonly #numbers = new NumberCounts();
  /** By microseconds. */
  readonly #moments = new NumberCounts();
  readonly #texts = new TextCounts();
  /** What is none of these, or too large: texts and booleans are their own keys, what is not stands beside its count. */
  readonly #counts = new Map<unknown, number>();
  readonly #values = new Map<unknown, Present>();
  #total = 0;
  /** Of the texts among `#counts`. */
  #longBytes = 0;

  add(cell: Present): void {
    this.put(cell, 1);
  }

  retract(cell: Present): void {
    this.put(cell, -1);
  }

  /** Counts a text by its bytes in UTF-8. False where only the text itself will do. */
  putText(bytes: Uint8Array, at: number, length: number, times: number): boolean {
    if (!this.#texts.put(bytes, at, length, times)) return false;
    this.#total += times;
    return true;
  }

  /** Counts a decimal. False where only the value itself will do. */
  putDigits(digits: number, scale: number, times: number): boolean {
    const short = shortOfDigits(digits, scale);
    if (Number.isNaN(short)) return false;
    this.#numbers.putDecimal(short, scale, times);
    this.#total += times;
    return true;
  }

  get isEmpty(): boolean {
    return this.distinct === 0;
  }

  get distinct(): number {
    return this.#numbers.size + this.#moments.size + this.#texts.size + this.#counts.size;
  }

  get held(): number {
    return this.distinct;
  }

  get textBytes(): number {
    return this.#texts.bytes + this.#longBytes;
  }

  /** Entries that there is room for, with those of values that have gone. */
  get room(): number {
    return this.#numbers.room + this.#moments.room + this.#texts.room;
  }

  each(tell: TellCell, tellText?: TellText): void {
    this.#numbers.each(tell);
    this.#moments.each(tell);
    if (tellText === undefined) this.#texts.each(tell);
    else this.#texts.eachBytes(tellText);
    for (const [key, count] of this.#counts) tell(this.#values.get(key) ?? (key as Present), count);
  }

  get total(): number {
    return this.#total;
  }

  has(cell: Present): boolean {
    return this.countOf(cell) !== 0;
  }

  countOf(cell: Present): number {
    const number = numberOf(cell);
    if (!Number.isNaN(number)) return (cell instanceof Moment ? this.#moments : this.#numbers).countOf(number);
    return (typeof cell === 'string' ? this.#texts.countOf(cell) : 0) || (this.#counts.get(keyOf(cell)) ?? 0);
  }

  /** In the order of the values. */
  sorted(): Counted[] {
    return this.entries().sort((a, b) => compareAny(a.value, b.value));
  }

  entries(): Counted[] {
    const all: Counted[] = [];
    this.each((value, count) => all.push({ value, count }));
    return all;
  }

  /** The values that are there most often: all of them where several are. */
  modes(): Present[] {
    const all = this.sorted();
    const most = all.reduce((highest, { count }) => Math.max(highest, count), 0);
    return all.filter(({ count }) => count === most).map(({ value }) => value);
  }

  merge(from: ValueCounts): this {
    this.#numbers.merge(from.#numbers);
    this.#moments.merge(from.#moments);
    this.#texts.merge(from.#texts);
    for (const [key, count] of from.#counts) this.#putOther(from.#values.get(key) ?? (key as Present), count);
    this.#total += from.#total;
    return this;
  }

  encode(): Encoded {
    return this.sorted().map(({ value, count }) => [encodeCell(value), count]);
  }

  static decode(encoded: Encoded): ValueCounts {
    const state = new ValueCounts();
    for (const entry of listOf(encoded)) {
      const [value, count] = listOf(entry);
      state.put(decodeCell(value), wholeOf(count));
    }
    return state;
  }

  put(cell: Present, times: number): void {
    this.#total += times;
    if (typeof cell === 'string') {
      if (!this.#texts.putText(cell, times)) this.#putOther(cell, times);
      return;
    }
    const number = numberOf(cell);
    if (Number.isNaN(number)) this.#putOther(cell, times);
    else if (cell instanceof Moment) this.#moments.put(number, cell, times);
    else this.#numbers.put(number, cell, times);
  }

  #putOther(cell: Present, times: number): void {
    const key = keyOf(cell);
    const before = this.#counts.get(key);
    const count = (before ?? 0) + times;
    if (before === undefined && count !== 0) this.#longBytes += textBytesOf(key);
    if (before !== undefined && count === 0) this.#longBytes -= textBytesOf(key);
    if (count !== 0) {
      this.#counts.set(key, count);
      if (key !== cell) this.#values.set(key, cell);
      return;
    }
    this.#counts.delete(key);
    this.#values.delete(key);
  }
}

/** The number that tells a number or a moment from the others, as `keyOf` would; NaN where none does. */
function numberOf(cell: Present): number {
  switch (typeof cell) {
    case 'number':
      return Number.isInteger(cell) && !Number.isSafeInteger(cell) ? NaN : cell;
    case 'bigint': {
      const near = Number(cell);
      return Number.isSafeInteger(near) ? near : NaN;
    }
    case 'object':
      return cell instanceof Decimal
        ? numberOfDecimal(cell)
        : cell instanceof Moment && typeof cell.micros === 'number'
          ? cell.micros
          : NaN;
    case 'string':
    case 'boolean':
    case 'symbol':
    case 'undefined':
    case 'function':
      return NaN;
  }
}

/** One of many digits may be equal to a double all the same. */
function numberOfDecimal(cell: Decimal): number {
  const short = shortOf(cell);
  if (!Number.isNaN(short)) return short;
  const key = keyOf(cell);
  return typeof key === 'number' ? key : NaN;
}

export const valueCounts: StateKind<ValueCounts> = {
  name: 'value counts',
  retracts: true,
  size: 'distinct values',
  create: () => new ValueCounts(),
  merge: (into, from) => into.merge(from),
  retract: (state, cell) => state.retract(cell),
  decode: (encoded) => ValueCounts.decode(encoded),
};
