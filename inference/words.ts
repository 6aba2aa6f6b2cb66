/** The words of a vocabulary, found by text or by the UTF-8 bytes of an encoded cell: no string is made of a cell to look it up. */

const encoder = new TextEncoder();

export class Words {
  readonly #places: ReadonlyMap<string, number>;
  /** By place. A word that is no well-formed text has no bytes that a source could send. */
  readonly #bytes: readonly (Uint8Array | null)[];
  readonly #longest: number;
  /** Places, open-addressed by the hash of the bytes; -1 is free. At most half full. */
  readonly #slots: Int32Array;

  constructor(vocab: readonly string[]) {
    this.#places = new Map(vocab.map((word, place) => [word, place]));
    this.#bytes = vocab.map((word) => (word.isWellFormed() ? encoder.encode(word) : null));
    this.#longest = Math.max(0, ...this.#bytes.map((bytes) => bytes?.length ?? 0));
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * vocab.length + 1))).fill(-1);
    for (const [place, bytes] of this.#bytes.entries()) {
      if (bytes === null) continue;
      let slot = this.#slotOf(bytes, 0, bytes.length);
      while (this.#slots[slot] !== -1) slot = (slot + 1) & (this.#slots.length - 1);
      this.#slots[slot] = place;
    }
  }

  /** Its place in the vocabulary, or -1. */
  ofText(text: string): number {
    return this.#places.get(text) ?? -1;
  }

  ofBytes(bytes: Uint8Array, offset: number, length: number): number {
    if (length > this.#longest) return -1;
    for (let slot = this.#slotOf(bytes, offset, length); ; slot = (slot + 1) & (this.#slots.length - 1)) {
      const place = this.#slots[slot] ?? -1;
      if (place === -1) return -1;
      const word = this.#bytes[place] ?? null;
      if (word !== null && word.length === length && isAt(word, bytes, offset)) return place;
    }
  }

  /** FNV-1a of the bytes, without its multiplication's low bits being all there is of them. */
  #slotOf(bytes: Uint8Array, offset: number, length: number): number {
    let hash = 0x811c9dc5;
    for (let at = offset; at < offset + length; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
    return (hash ^ (hash >>> 15)) & (this.#slots.length - 1);
  }
}

function isAt(word: Uint8Array, bytes: Uint8Array, offset: number): boolean {
  for (let at = 0; at < word.length; at++) if (word[at] !== bytes[offset + at]) return false;
  return true;
}
