/**
 * How often each text was there, by its bytes in UTF-8: a table as that of numbers (number-counts.ts), over texts that lie one behind the other. So a cell
 * that came in bytes is counted without a text being made of it.
 */
import { wordAt } from '../encoded/cells.ts';
import { grown, roomFor } from './number-counts.ts';

const NO_PLACES = new Int32Array(1);
const NO_NUMBERS = new Float64Array(0);
const NO_HASHES = new Int32Array(0);
const NO_BYTES = Buffer.alloc(0);
/** Longer ones, in bytes, are not counted here: a copy would double what they take up. */
export const TEXT_BYTES_MAX = 256;

export class TextCounts {
  /** An entry, and one; 0 where there is none. Twice as many as entries. */
  #places = NO_PLACES;
  #hashes = NO_HASHES;
  /** Where its bytes end; they begin where those of the entry before it end. */
  #ends = NO_NUMBERS;
  #counts = NO_NUMBERS;
  #bytes = NO_BYTES;
  /** Entries, with those that have come to zero. */
  #used = 0;
  #size = 0;

  /** Texts with a count. */
  get size(): number {
    return this.#size;
  }

  get room(): number {
    return this.#counts.length;
  }

  /** False for a text that is too long, or that has no bytes in UTF-8: a half of a surrogate pair. */
  putText(text: string, times: number): boolean {
    const length = written(text);
    return length >= 0 && this.put(scratch, 0, length, times);
  }

  put(bytes: Uint8Array, at: number, length: number, times: number): boolean {
    if (length > TEXT_BYTES_MAX) return false;
    if (this.#used === this.#counts.length) this.#rebuild();
    this.#add(bytes, at, length, hashOf(bytes, at, length), times);
    return true;
  }

  countOf(text: string): number {
    const length = written(text);
    if (length < 0 || this.#used === 0) return 0;
    const place = this.#placeOf(scratch, 0, length, hashOf(scratch, 0, length));
    return this.#counts[(this.#places[place] ?? 0) - 1] ?? 0;
  }

  each(tell: (text: string, count: number) => void): void {
    this.eachBytes((bytes, at, length, count) => tell(bytes.toString('utf8', at, at + length), count));
  }

  eachBytes(tell: (bytes: Buffer, at: number, length: number, count: number) => void): void {
    for (let entry = 0, at = 0; entry < this.#used; entry++) {
      const end = this.#ends[entry] ?? 0;
      const count = this.#counts[entry] ?? 0;
      if (count !== 0) tell(this.#bytes, at, end - at, count);
      at = end;
    }
  }

  merge(from: TextCounts): void {
    for (let entry = 0, at = 0; entry < from.#used; entry++) {
      const end = from.#ends[entry] ?? 0;
      const count = from.#counts[entry] ?? 0;
      if (this.#used === this.#counts.length) this.#rebuild();
      if (count !== 0) this.#add(from.#bytes, at, end - at, from.#hashes[entry] ?? 0, count);
      at = end;
    }
  }

  #add(bytes: Uint8Array, at: number, length: number, hash: number, times: number): void {
    const place = this.#placeOf(bytes, at, length, hash);
    let entry = (this.#places[place] ?? 0) - 1;
    if (entry < 0) entry = this.#take(place, bytes, at, length, hash);
    const before = this.#counts[entry] ?? 0;
    this.#counts[entry] = before + times;
    if (before === 0) this.#size++;
    if (before + times === 0) this.#size--;
  }

  /** The place of a text, or the free one that it would have. */
  #placeOf(bytes: Uint8Array, at: number, length: number, hash: number): number {
    const places = this.#places;
    const mask = places.length - 1;
    for (let place = hash & mask; ; place = (place + 1) & mask) {
      const entry = (places[place] ?? 0) - 1;
      if (entry < 0 || (this.#hashes[entry] === hash && this.#isSame(entry, bytes, at, length))) return place;
    }
  }

  #isSame(entry: number, bytes: Uint8Array, at: number, length: number): boolean {
    const start = entry === 0 ? 0 : (this.#ends[entry - 1] ?? 0);
    if ((this.#ends[entry] ?? 0) - start !== length) return false;
    const own = this.#bytes;
    for (let i = 0; i < length; i++) if (own[start + i] !== bytes[at + i]) return false;
    return true;
  }

  #take(place: number, bytes: Uint8Array, at: number, length: number, hash: number): number {
    const entry = this.#used++;
    const start = entry === 0 ? 0 : (this.#ends[entry - 1] ?? 0);
    if (start + length > this.#bytes.length) this.#reserve(start + length);
    const own = this.#bytes;
    for (let i = 0; i < length; i++) own[start + i] = bytes[at + i] ?? 0;
    this.#places[place] = entry + 1;
    this.#hashes[entry] = hash;
    this.#ends[entry] = start + length;
    return entry;
  }

  #reserve(size: number): void {
    const larger = Buffer.alloc(Math.max(64, size, 2 * this.#bytes.length));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  /** Leaves out what has come to zero, and has room for some times what is left. */
  #rebuild(): void {
    if (this.#size < this.#used) this.#compact();
    const room = roomFor(this.#size);
    this.#places = new Int32Array(2 * room);
    this.#hashes = grown(this.#hashes, new Int32Array(room));
    this.#ends = grown(this.#ends, new Float64Array(room));
    this.#counts = grown(this.#counts, new Float64Array(room));
    const mask = 2 * room - 1;
    for (let entry = 0; entry < this.#used; entry++) {
      let place = (this.#hashes[entry] ?? 0) & mask;
      while (this.#places[place] !== 0) place = (place + 1) & mask;
      this.#places[place] = entry + 1;
    }
  }

  #compact(): void {
    const [bytes, hashes, ends, counts] = [this.#bytes, this.#hashes, this.#ends, this.#counts];
    let left = 0;
    let end = 0;
    for (let entry = 0, at = 0; entry < this.#used; entry++) {
      const from = at;
      at = ends[entry] ?? 0;
      const count = counts[entry] ?? 0;
      if (count === 0) continue;
      bytes.copyWithin(end, from, at);
      end += at - from;
      hashes[left] = hashes[entry] ?? 0;
      ends[left] = end;
      counts[left++] = count;
    }
    counts.fill(0, left);
    this.#used = left;
  }
}

const scratch = Buffer.alloc(TEXT_BYTES_MAX);

/** Its bytes, in `scratch`: how many, or -1 where they are too many or none. */
function written(text: string): number {
  const { length } = text;
  if (length > TEXT_BYTES_MAX) return -1;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 128) return text.isWellFormed() && Buffer.byteLength(text) <= TEXT_BYTES_MAX ? scratch.write(text) : -1;
    scratch[i] = code;
  }
  return length;
}

/** Four bytes at a time. */
function hashOf(bytes: Uint8Array, at: number, length: number): number {
  let hash = length;
  const end = at + length;
  for (; at + 4 <= end; at += 4) hash = mixed(hash, (wordAt(bytes, at) << 16) | wordAt(bytes, at + 2));
  for (; at < end; at++) hash = mixed(hash, bytes[at] ?? 0);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

function mixed(hash: number, word: number): number {
  const next = Math.imul(hash ^ word, 0x9e3779b1);
  return next ^ (next >>> 15);
}
