/** The keys of the rows that a window holds, as numbers of 53 bits: of a million keys, two are taken for one in one window of twenty thousand. */

/** No key is below zero. */
const [EMPTY, REMOVED] = [-1, -2] as const;
const NOTHING = Float64Array.of(EMPTY);
const SLOTS_MIN = 16;

/**
 * In one array, at most half full, where a key stands at the place that its lower half says or behind it: a set of JavaScript takes three times the memory and the
 * time. The lower halves of keys are spread well.
 */
export class KeySet {
  #slots: Float64Array<ArrayBuffer> = NOTHING;
  #size = 0;
  /** Places that were ever taken. */
  #taken = 0;

  get size(): number {
    return this.#size;
  }

  has(key: number): boolean {
    return this.#placeOf(key) >= 0;
  }

  add(key: number): void {
    if (this.#placeOf(key) >= 0) return;
    if (2 * (this.#taken + 1) > this.#slots.length) this.#makeRoom();
    this.#put(key);
  }

  delete(key: number): boolean {
    const place = this.#placeOf(key);
    if (place < 0) return false;
    this.#slots[place] = REMOVED;
    this.#size--;
    return true;
  }

  /** Those that are there now. */
  [Symbol.iterator](): Iterator<number> {
    return this.#all().values();
  }

  encode(): string {
    return Buffer.from(this.#all().buffer).toString('base64');
  }

  static decode(text: string): KeySet {
    const bytes = Buffer.from(text, 'base64');
    const set = new KeySet();
    for (let at = 0; at + 8 <= bytes.length; at += 8) set.add(bytes.readDoubleLE(at));
    return set;
  }

  #all(): Float64Array<ArrayBuffer> {
    const all = new Float64Array(this.#size);
    const slots = this.#slots;
    for (let place = 0, at = 0; place < slots.length; place++) {
      const key = slots[place] ?? EMPTY;
      if (key >= 0) all[at++] = key;
    }
    return all;
  }

  /** Less than 0 where it is not there. */
  #placeOf(key: number): number {
    const slots = this.#slots;
    const last = slots.length - 1;
    for (let place = (key >>> 0) & last; ; place = (place + 1) & last) {
      const found = slots[place];
      if (found === key) return place;
      if (found === EMPTY) return -1;
    }
  }

  /** Of a key that is not there, where there is room. */
  #put(key: number): void {
    const slots = this.#slots;
    const last = slots.length - 1;
    let place = (key >>> 0) & last;
    while (slots[place] !== EMPTY) place = (place + 1) & last;
    slots[place] = key;
    this.#size++;
    this.#taken++;
  }

  #makeRoom(): void {
    const before = this.#slots;
    let length = SLOTS_MIN;
    while (length < 4 * this.#size) length *= 2;
    this.#slots = new Float64Array(length).fill(EMPTY);
    this.#size = 0;
    this.#taken = 0;
    for (const key of before) if (key >= 0) this.#put(key);
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
