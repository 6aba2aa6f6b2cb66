/** The keys of the rows that a window holds, as numbers of 53 bits: of a million keys, two are taken for one in one window of twenty thousand. */

export class KeySet {
  readonly #keys = new Set<number>();

  get size(): number {
    return this.#keys.size;
  }

  has(key: number): boolean {
    return this.#keys.has(key);
  }

  add(key: number): void {
    this.#keys.add(key);
  }

  delete(key: number): boolean {
    return this.#keys.delete(key);
  }

  *[Symbol.iterator](): Iterator<number> {
    yield* this.#keys;
  }

  encode(): string {
    return Buffer.from(Float64Array.from(this.#keys).buffer).toString('base64');
  }

  static decode(text: string): KeySet {
    const bytes = Buffer.from(text, 'base64');
    const set = new KeySet();
    for (let at = 0; at + 8 <= bytes.length; at += 8) set.add(bytes.readDoubleLE(at));
    return set;
  }
}

/** Two mixing multiplications of 32 bits a character (cyrb53): quick, and spread well enough for keys that nobody chooses in order to collide. */
export function hashKey(text: string): number {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    high = Math.imul(high ^ code, 2_654_435_761);
    low = Math.imul(low ^ code, 1_597_334_677);
  }
  high = Math.imul(high ^ (high >>> 16), 2_246_822_507) ^ Math.imul(low ^ (low >>> 13), 3_266_489_909);
  low = Math.imul(low ^ (low >>> 16), 2_246_822_507) ^ Math.imul(high ^ (high >>> 13), 3_266_489_909);
  return 4_294_967_296 * (2_097_151 & low) + (high >>> 0);
}
