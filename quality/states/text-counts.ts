/**
 * How often each text was there, by its bytes in UTF-8: a table as that of numbers (number-counts.ts), over texts that lie one behind the other. So a cell
 * that came in bytes is counted without a text being made of it.
 */
import { grown, roomFor } from './number-counts.ts';

const NO_PLACES = new Int32Array(1);
const NO_NUMBERS = new Float64Array(0);
const NO_HASHES = new Int32Array(0);
const NO_BYTES = Buffer.alloc(0);
const NO_VIEW = new DataView(new ArrayBuffer(0));
/** Longer ones, in bytes, are not counted here: a copy would double what they take up. */
export const TEXT_BYTES_MAX = 256;

export class TextCounts {
  /** An entry, and one, and above these bits those of its hash; 0 where there is none. Twice as many as entries. */
  #places = NO_PLACES;
  #hashes = NO_HASHES;
  /** Where its bytes end; they begin where those of the entry before it end. */
  #ends = NO_NUMBERS;
  #counts = NO_NUMBERS;
  #bytes = NO_BYTES;
  #view: DataView = NO_VIEW;
  /** Entries, with those that have come to zero. */
  #used = 0;
  #size = 0;

  /** Texts with a count. */
  get size(): number {
    return this.#size;
  }

  /** Of all texts, with those that have come to zero. */
  get bytes(): number {
    return this.#end;
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
    const start = this.#end;
    if (start + length > this.#bytes.length) this.#reserve(start + length);
    // What is looked at is put behind the others meanwhile: where there are many texts, most are new.
    this.#count(bytes, at, length, copiedHash(viewOf(bytes), at, length, this.#view, start), times);
    return true;
  }

  countOf(text: string): number {
    const length = written(text);
    if (length < 0 || this.#used === 0) return 0;
    const place = this.#placeOf(scratch, 0, length, hashOf(scratch, 0, length));
    return this.#counts[this.#entryAt(place)] ?? 0;
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
      if (count !== 0) this.#merge(from.#bytes, at, end - at, from.#hashes[entry] ?? 0, count);
      at = end;
    }
  }

  #merge(bytes: Buffer, at: number, length: number, hash: number, times: number): void {
    if (this.#used === this.#counts.length) this.#rebuild();
    const start = this.#end;
    if (start + length > this.#bytes.length) this.#reserve(start + length);
    bytes.copy(this.#bytes, start, at, at + length);
    this.#count(bytes, at, length, hash, times);
  }

  /** Where the bytes of the next entry begin. */
  get #end(): number {
    return this.#used === 0 ? 0 : (this.#ends[this.#used - 1] ?? 0);
  }

  /** -1 where there is none. */
  #entryAt(place: number): number {
    return ((this.#places[place] ?? 0) & (this.#places.length - 1)) - 1;
  }

  /** Its bytes lie behind those of the last entry. */
  #count(bytes: Uint8Array, at: number, length: number, hash: number, times: number): void {
    const place = this.#placeOf(bytes, at, length, hash);
    let entry = this.#entryAt(place);
    if (entry < 0) entry = this.#take(place, length, hash);
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
      const found = places[place] ?? 0;
      if (found === 0) return place;
      // Another text mostly has other bits: its entry need not be looked at.
      if (((found ^ hash) & ~mask) !== 0) continue;
      const entry = (found & mask) - 1;
      if (this.#hashes[entry] === hash && this.#isSame(entry, bytes, at, length)) return place;
    }
  }

  #isSame(entry: number, bytes: Uint8Array, at: number, length: number): boolean {
    const start = entry === 0 ? 0 : (this.#ends[entry - 1] ?? 0);
    if ((this.#ends[entry] ?? 0) - start !== length) return false;
    const own = this.#bytes;
    for (let i = 0; i < length; i++) if (own[start + i] !== bytes[at + i]) return false;
    return true;
  }

  #take(place: number, length: number, hash: number): number {
    const start = this.#end;
    const entry = this.#used++;
    this.#places[place] = (hash & ~(this.#places.length - 1)) | (entry + 1);
    this.#hashes[entry] = hash;
    this.#ends[entry] = start + length;
    return entry;
  }

  #reserve(size: number): void {
    const larger = Buffer.alloc(Math.max(64, size, 2 * this.#bytes.length));
    larger.set(this.#bytes);
    this.#bytes = larger;
    this.#view = makeView(larger);
  }

  /** Leaves out what has come to zero, and has room for some times what is left. */
  #rebuild(): void {
    if (this.#size < this.#used) this.#compact();
    const room = roomFor(this.#size);
    this.#places = new Int32Array(2 * room);
    this.#hashes = grown(this.#hashes, new Int32Array(room));
    this.#ends = grown(this.#ends, new Float64Array(room));
    this.#counts = grown(this.#counts, new Float64Array(room));
    const [places, hashes] = [this.#places, this.#hashes];
    const mask = 2 * room - 1;
    for (let entry = 0; entry < this.#used; entry++) {
      const hash = hashes[entry] ?? 0;
      let place = hash & mask;
      while (places[place] !== 0) place = (place + 1) & mask;
      places[place] = (hash & ~mask) | (entry + 1);
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
/** Where a copy goes that nobody needs. */
const scrap = new DataView(new ArrayBuffer(TEXT_BYTES_MAX));

/** Cells lie beside each other in what was read at once: the view of the one before mostly is that of this one. */
let viewed: Uint8Array = scratch;
let view = makeView(scratch);

function viewOf(bytes: Uint8Array): DataView {
  if (bytes !== viewed) [viewed, view] = [bytes, makeView(bytes)];
  return view;
}

function makeView({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

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

function hashOf(bytes: Uint8Array, at: number, length: number): number {
  return copiedHash(viewOf(bytes), at, length, scrap, 0);
}

/** Four bytes at a time, which are copied on the way. */
function copiedHash(bytes: DataView, at: number, length: number, to: DataView, place: number): number {
  let hash = length;
  const end = at + length;
  for (; at + 4 <= end; at += 4, place += 4) {
    const word = bytes.getInt32(at);
    to.setInt32(place, word);
    hash = mixed(hash, word);
  }
  for (; at < end; at++, place++) {
    const byte = bytes.getUint8(at);
    to.setUint8(place, byte);
    hash = mixed(hash, byte);
  }
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

function mixed(hash: number, word: number): number {
  const next = Math.imul(hash ^ word, 0x9e3779b1);
  return next ^ (next >>> 15);
}
