/** Texts of a column that were read lately, by their bytes: most columns that are counted by value have few, and a text that is known need not be made again. */

const SLOTS = 256;
const LENGTH_MAX = 32;
/** After so many looks it is seen whether the column is one of few values. */
const TRIAL = 4096;

export class KnownTexts {
  readonly #bytes = Buffer.alloc(SLOTS * LENGTH_MAX);
  readonly #texts: (string | undefined)[] = Array.from({ length: SLOTS });
  #looks = 0;
  #found = 0;
  #isUseful = true;

  /** The text of bytes in UTF-8. */
  read(bytes: Uint8Array, at: number, length: number): string {
    if (!this.#isUseful || length > LENGTH_MAX || length === 0) return textOf(bytes, at, length);
    if (++this.#looks === TRIAL) this.#judge();
    const slot = slotOf(bytes, at, length);
    const known = this.#texts[slot];
    if (known !== undefined && this.#isSame(slot, bytes, at, length)) {
      this.#found++;
      return known;
    }
    const text = textOf(bytes, at, length);
    this.#texts[slot] = text;
    const from = slot * LENGTH_MAX;
    for (let i = 0; i < length; i++) this.#bytes[from + i] = bytes[at + i] ?? 0;
    // Ends a shorter text: no text of UTF-8 has the byte 255.
    if (length < LENGTH_MAX) this.#bytes[from + length] = 255;
    return text;
  }

  #isSame(slot: number, bytes: Uint8Array, at: number, length: number): boolean {
    const from = slot * LENGTH_MAX;
    for (let i = 0; i < length; i++) if (this.#bytes[from + i] !== bytes[at + i]) return false;
    return length === LENGTH_MAX || this.#bytes[from + length] === 255;
  }

  #judge(): void {
    this.#isUseful = this.#found > TRIAL / 2;
    this.#looks = 0;
    this.#found = 0;
  }
}

function slotOf(bytes: Uint8Array, at: number, length: number): number {
  let hash = length;
  for (let i = 0; i < length; i++) hash = (hash * 31 + (bytes[at + i] ?? 0)) & 0xffffff;
  return (hash ^ (hash >> 8) ^ (hash >> 16)) & (SLOTS - 1);
}

function textOf(bytes: Uint8Array, at: number, length: number): string {
  const buffer = bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString('utf8', at, at + length);
}
