/** A set of texts as their bytes: whether a cell is one of them is asked without making a text of it. */
import { sameBytes } from './cells.ts';

export class ByteSet {
  readonly #mask: number;
  /** By hash: the members that have it. */
  readonly #buckets: readonly (readonly Uint8Array[])[];
  readonly #shortest: number;
  readonly #longest: number;

  constructor(members: readonly Uint8Array[]) {
    const size = 1 << Math.max(4, Math.ceil(Math.log2(members.length * 4)));
    const buckets: Uint8Array[][] = Array.from({ length: size }, () => []);
    this.#mask = size - 1;
    this.#shortest = Math.min(...members.map(({ length }) => length));
    this.#longest = Math.max(...members.map(({ length }) => length));
    for (const member of members) buckets[this.#hash(member, 0, member.length)]?.push(member);
    this.#buckets = buckets;
  }

  has(bytes: Uint8Array, at: number, length: number): boolean {
    if (length < this.#shortest || length > this.#longest) return false;
    const bucket = this.#buckets[this.#hash(bytes, at, length)];
    if (bucket === undefined) return false;
    for (let i = 0; i < bucket.length; i++) {
      const member = bucket[i];
      if (member !== undefined && member.length === length && sameBytes(member, 0, bytes, at, length)) return true;
    }
    return false;
  }

  /** Small enough to be a number without a place of its own in memory, whatever has been compiled by then. */
  #hash(bytes: Uint8Array, at: number, length: number): number {
    let hash = length;
    for (let i = 0; i < length; i++) hash = (hash * 31 + (bytes[at + i] ?? 0)) & 0xffffff;
    return (hash ^ (hash >> 9)) & this.#mask;
  }
}
