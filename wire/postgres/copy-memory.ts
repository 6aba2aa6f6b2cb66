/**
 * Memory for rows that are copied out of a table, used again and again: what is taken anew from outside of the heap makes the collector run, however little
 * there is to collect.
 */

/** Of bytes, and of places of cells. */
export const COPY_BLOCK_BYTES = 1 << 18;
const PLACES = 1 << 15;
/** What is free beyond this is left to the collector. */
const FREE_MAX = 128;

export class CopyPool {
  readonly blocks: Buffer[] = [];
  readonly places: Int32Array<ArrayBuffer>[] = [];

  /** Memory that goes back at once. */
  memory(): CopyMemory {
    return new CopyMemory(this);
  }
}

export class CopyMemory {
  readonly #pool: CopyPool;
  readonly #blocks: Buffer[] = [];
  readonly #places: Int32Array<ArrayBuffer>[] = [];

  constructor(pool: CopyPool) {
    this.#pool = pool;
  }

  block(): Buffer {
    const block = this.#pool.blocks.pop() ?? Buffer.allocUnsafeSlow(COPY_BLOCK_BYTES);
    this.#blocks.push(block);
    return block;
  }

  /** For at least so many. */
  places(count: number): Int32Array<ArrayBuffer> {
    if (count > PLACES) return new Int32Array(count);
    const places = this.#pool.places.pop() ?? new Int32Array(PLACES);
    this.#places.push(places);
    return places;
  }

  /** Nobody may read what is in it any more. */
  release(): void {
    for (const block of this.#blocks.splice(0)) if (this.#pool.blocks.length < FREE_MAX) this.#pool.blocks.push(block);
    for (const places of this.#places.splice(0)) if (this.#pool.places.length < FREE_MAX) this.#pool.places.push(places);
  }
}
