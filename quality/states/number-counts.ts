/**
 * How often each number was there: a table of places in typed arrays, open to the next free place. A Map of as many numbers takes several times as long, and
 * makes an object of each count.
 *
 * An entry whose count has come to zero stays until the table is built anew, which happens when its arrays are full; so memory is bound to the numbers
 * that are there.
 */
import { Decimal } from '../../core/expression/values.ts';
import { decimalOfShort, type Present, shortOf } from './cell.ts';

const NO_PLACES = new Int32Array(1);
const NO_NUMBERS = new Float64Array(0);
const NO_SCALE = -1;

export class NumberCounts {
  /** An entry, and one, and above these bits those of its key's hash; 0 where there is none. Twice as many as entries. */
  #places = NO_PLACES;
  #keys = NO_NUMBERS;
  #counts = NO_NUMBERS;
  /** Of keys that stand for another value: null while there are none. */
  #values: (Present | undefined)[] | null = null;
  /** Of keys that stand for decimals: how many digits these have behind the point, or -1; null while there are none. */
  #scales: Int16Array | null = null;
  /** Entries, with those that have come to zero. */
  #used = 0;
  #size = 0;

  /** Numbers with a count. */
  get size(): number {
    return this.#size;
  }

  get room(): number {
    return this.#counts.length;
  }

  /** The count of a value that `key` stands for: never NaN. */
  put(key: number, value: Present, times: number): void {
    if (value instanceof Decimal && !Number.isNaN(shortOf(value))) return this.putDecimal(key, value.scale, times);
    const entry = this.#count(key, times);
    if (this.#scales !== null) this.#scales[entry] = NO_SCALE;
    const isKept = typeof value !== 'number' && this.#counts[entry] !== 0;
    if (this.#values !== null || isKept) this.#keep(entry, isKept ? value : undefined);
  }

  /** The same of a decimal of that scale, whose `shortOfDigits` is the key. */
  putDecimal(key: number, scale: number, times: number): void {
    const entry = this.#count(key, times);
    (this.#scales ??= new Int16Array(this.#keys.length).fill(NO_SCALE))[entry] = scale;
    if (this.#values !== null) this.#keep(entry, undefined);
  }

  #count(key: number, times: number): number {
    if (this.#used === this.#keys.length) this.#rebuild();
    const entry = this.#entryOf(key);
    const before = this.#counts[entry] ?? 0;
    const count = before + times;
    this.#counts[entry] = count;
    if (before === 0) this.#size++;
    if (count === 0) this.#size--;
    return entry;
  }

  #valueOf(entry: number): Present {
    const key = this.#keys[entry] ?? 0;
    const scale = this.#scales?.[entry] ?? NO_SCALE;
    return scale === NO_SCALE ? (this.#values?.[entry] ?? key) : decimalOfShort(key, scale);
  }

  countOf(key: number): number {
    const places = this.#places;
    const mask = places.length - 1;
    for (let place = hashOf(key) & mask; ; place = (place + 1) & mask) {
      const entry = ((places[place] ?? 0) & mask) - 1;
      if (entry < 0) return 0;
      if (this.#keys[entry] === key) return this.#counts[entry] ?? 0;
    }
  }

  each(tell: (value: Present, count: number) => void): void {
    for (let entry = 0; entry < this.#used; entry++) {
      const count = this.#counts[entry] ?? 0;
      if (count !== 0) tell(this.#valueOf(entry), count);
    }
  }

  merge(from: NumberCounts): void {
    for (let entry = 0; entry < from.#used; entry++) {
      const [key, count] = [from.#keys[entry] ?? 0, from.#counts[entry] ?? 0];
      const scale = from.#scales?.[entry] ?? NO_SCALE;
      if (count === 0) continue;
      if (scale === NO_SCALE) this.put(key, from.#values?.[entry] ?? key, count);
      else this.putDecimal(key, scale, count);
    }
  }

  #entryOf(key: number): number {
    const places = this.#places;
    const mask = places.length - 1;
    const hash = hashOf(key);
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const found = places[place] ?? 0;
      if (found === 0) {
        places[place] = (hash & ~mask) | ++this.#used;
        this.#keys[this.#used - 1] = key + 0; // Both zeros are one.
        return this.#used - 1;
      }
      // Another key mostly has other bits: its own need not be looked at.
      if (((found ^ hash) & ~mask) !== 0) continue;
      const entry = (found & mask) - 1;
      if (this.#keys[entry] === key) return entry;
    }
  }

  #keep(entry: number, value: Present | undefined): void {
    (this.#values ??= [])[entry] = value;
  }

  /** Leaves out what has come to zero, and has room for some times what is left. */
  #rebuild(): void {
    if (this.#size < this.#used) this.#compact();
    const room = roomFor(this.#size);
    this.#places = new Int32Array(2 * room);
    this.#keys = grown(this.#keys, new Float64Array(room));
    this.#counts = grown(this.#counts, new Float64Array(room));
    if (this.#scales !== null) this.#scales = grown(this.#scales, new Int16Array(room).fill(NO_SCALE));
    const [places, keys] = [this.#places, this.#keys];
    const mask = 2 * room - 1;
    for (let entry = 0; entry < this.#used; entry++) {
      const hash = hashOf(keys[entry] ?? 0);
      let place = hash & mask;
      while (places[place] !== 0) place = (place + 1) & mask;
      places[place] = (hash & ~mask) | (entry + 1);
    }
  }

  #compact(): void {
    const [keys, counts, values, scales] = [this.#keys, this.#counts, this.#values, this.#scales];
    let left = 0;
    for (let entry = 0; entry < this.#used; entry++) {
      const count = counts[entry] ?? 0;
      if (count === 0) continue;
      keys[left] = keys[entry] ?? 0;
      if (values !== null) values[left] = values[entry];
      if (scales !== null) scales[left] = scales[entry] ?? NO_SCALE;
      counts[left++] = count;
    }
    counts.fill(0, left);
    if (values !== null && values.length > left) values.length = left;
    this.#used = left;
  }
}

const FIRST = 8;

/** While a table has no more, it is cheaper to have room than to build it anew. */
const FEW_MAX = 1 << 14;

/** Entries for so many and a half more at least, and for three times as many while they are few; a power of two. */
export function roomFor(size: number): number {
  return size < FIRST ? FIRST : 2 ** Math.ceil(Math.log2((size < FEW_MAX ? 3 : 1.5) * size));
}

export function grown<T extends Int16Array | Int32Array | Float64Array>(from: T, to: T): T {
  to.set(from.length > to.length ? from.subarray(0, to.length) : from);
  return to;
}

const number = new Float64Array(1);
const words = new Int32Array(number.buffer);

function hashOf(key: number): number {
  const whole = key | 0;
  let mixed = Math.imul(whole, 0x9e3779b1);
  if (whole !== key) {
    number[0] = key;
    mixed = Math.imul((words[0] ?? 0) ^ Math.imul(words[1] ?? 0, 0x85ebca6b), 0xc2b2ae35);
  }
  return mixed ^ (mixed >>> 15);
}
