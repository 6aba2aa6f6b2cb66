/**
 * What a socket reads into: always the same memory, with what was not done with in front. Without it every read takes 64 KiB of its own from outside of the
 * heap, which makes the collector run for nothing else, and every message that a read cuts in two is copied with all that follows it.
 */

/**
 * Takes what has arrived: `bytes[0, fresh)` was there the last time. Answers how much of it is done with; the rest comes again, in front of what arrives
 * next. The bytes are valid during the call only.
 */
export type TakeBytes = (bytes: Buffer, fresh: number) => number;

export const SLAB_BYTES = 1 << 18;
/** As large as this it stays while messages come that need it; larger ones are too rare, and too large to be kept for. */
export const STAYS_BYTES = 1 << 20;
/** It is smaller again once so much was read without need of its size: making it anew for every other message would cost more than reading them. */
export const SETTLED_BYTES = 1 << 24;

export class Slab {
  #bytes = Buffer.allocUnsafeSlow(SLAB_BYTES);
  #kept = 0;
  #take: TakeBytes | null = null;
  /** The largest that was needed, and how much was read, since it was last looked at whether a smaller one would do. */
  #needed = SLAB_BYTES;
  #read = 0;

  /** Bytes that were read elsewhere. */
  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length;) {
      const room = chunk.copy(this.#bytes, this.#kept, at);
      this.#hand(room);
      at += room;
    }
  }

  /** Whoever takes from here on. Nothing may have been left: the socket would go on reading behind it. */
  take(take: TakeBytes): void {
    this.#take = take;
  }

  /** Where the next read goes: as `onread` of a socket asks for it. */
  readonly buffer = (): Buffer => this.#bytes.subarray(this.#kept);

  readonly callback = (read: number): boolean => {
    this.#hand(read);
    return true; // Whoever wants no more pauses the socket.
  };

  #hand(read: number): void {
    const end = this.#kept + read;
    const all = this.#bytes;
    const done = this.#take?.(all.subarray(0, end), this.#kept) ?? 0;
    this.#kept = end - done;
    const size = this.#sizeAfter(read);
    if (size !== all.length) this.#bytes = Buffer.allocUnsafeSlow(size);
    if (this.#kept > 0 && (done > 0 || size !== all.length)) all.copy(this.#bytes, 0, done, end);
  }

  #sizeAfter(read: number): number {
    const { length } = this.#bytes;
    const needs = sizeFor(this.#kept);
    this.#needed = Math.max(this.#needed, needs);
    this.#read += read;
    if (needs > length) return needs;
    if (length > STAYS_BYTES && needs <= STAYS_BYTES) return STAYS_BYTES;
    if (this.#read < SETTLED_BYTES) return length;
    const settled = Math.min(length, this.#needed);
    this.#needed = needs;
    this.#read = 0;
    return settled;
  }
}

/** A message that fills most of it has to fit some day. */
function sizeFor(kept: number): number {
  let size = SLAB_BYTES;
  while (kept > size / 2) size *= 2;
  return size;
}
