/**
 * Keys of a batch, by which it is held against other batches: as hashes, for nobody has to be told which keys two of them have in common. Where two keys have
 * one hash, batches without a row in common are taken for some that have one, and are written one after the other.
 */
import type { PgRow } from '../../wire/postgres/row.ts';

export class KeyHashes {
  /** Open addressing; 0 where there is none. */
  readonly #slots: Int32Array;
  /** A power of two less one. */
  readonly #mask: number;

  constructor(capacity: number) {
    this.#mask = slotsFor(capacity) - 1;
    this.#slots = new Int32Array(this.#mask + 1);
  }

  /** At most as many as there is room for. */
  add(hash: number): void {
    let slot = hash & this.#mask;
    while (this.#slots[slot] !== 0 && this.#slots[slot] !== hash) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = hash;
  }

  has(hash: number): boolean {
    let slot = hash & this.#mask;
    while (this.#slots[slot] !== 0 && this.#slots[slot] !== hash) slot = (slot + 1) & this.#mask;
    return this.#slots[slot] === hash;
  }

  /** Whether no key is in both, for sure. */
  isDisjoint(other: KeyHashes): boolean {
    const [fewer, more] = this.#mask < other.#mask ? [this, other] : [other, this];
    for (const hash of fewer.#slots) if (hash !== 0 && more.has(hash)) return false;
    return true;
  }
}

/** So that half of the slots stay free at least. */
export const slotsFor = (capacity: number): number => 2 ** Math.ceil(Math.log2(2 * Math.max(8, capacity)));

/** Keys of different tables have different hashes. */
export const seedOf = ({ qualified }: { readonly qualified: string }): number => hashOfText(qualified, 0x811c9dc5);

/** FNV-1a over UTF-16 units, and the end of MurmurHash3 so that every bit counts. Never 0. */
export function hashOfText(text: string, seed: number): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return finished(hash);
}

/** The same over the bytes of the key's cells; 0 where one is not there. */
export function hashOfKey({ bytes, cells, at }: PgRow, key: readonly number[], seed: number): number {
  let hash = seed;
  for (let i = 0; i < key.length; i++) {
    const cell = at + 2 * (key[i] as number);
    const from = cells[cell] as number;
    const length = cells[cell + 1] as number;
    if (length < 0) return 0;
    for (let k = from; k < from + length; k++) hash = Math.imul(hash ^ (bytes[k] as number), 0x01000193);
    hash = Math.imul(hash ^ length, 0x01000193);
  }
  return finished(hash);
}

export function haveSameKey(one: PgRow, other: PgRow, key: readonly number[]): boolean {
  return key.every((column) => {
    const a = one.at + 2 * column;
    const b = other.at + 2 * column;
    const length = one.cells[a + 1] as number;
    if (length !== other.cells[b + 1]) return false;
    const from = one.cells[a] as number;
    const otherFrom = other.cells[b] as number;
    return one.bytes.compare(other.bytes, otherFrom, otherFrom + length, from, from + length) === 0;
  });
}

function finished(mixed: number): number {
  let hash = mixed;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16) || 1;
}
