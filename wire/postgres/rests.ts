/**
 * When the reader of a replication stream rests. A walsender sends row by row: a reader that waits for each is woken for each, and pays more for the read than
 * for the row. What is sent to one that rests is only put behind what lies there already.
 */

/** Up to here there is not much to read, and who waits for it gets it at once. */
export const READ_SMALL = 2048;
/** From here on there is more to read already. */
export const READ_FULL = 65_536;
/** In a millisecond. Who is sent as much, some 25,000 rows a second, has more use for a cheap row than for an early one. */
export const FLOOD_BYTES = 8192;
const REST_MS = 1;
/** Longer, and the sockets on both sides are full before it ends. */
const FLOOD_REST_MS = 8;

export class Rests {
  /** Since `since`: when the last rest began, or the last small read was. */
  #bytes = 0;
  #since: number;

  /** `now` in milliseconds, here and below. */
  constructor(now: number) {
    this.#since = now;
  }

  /** Whether so many bytes are much: in a moment there will be more. */
  static isMuch(read: number): boolean {
    return read > READ_SMALL;
  }

  /** For how many milliseconds to rest after a read of so many bytes; 0: not at all. */
  after(read: number, now: number): number {
    this.#bytes += read;
    if (read >= READ_FULL) return 0;
    const isFlood = this.#bytes >= FLOOD_BYTES * (now - this.#since);
    this.#bytes = 0;
    this.#since = now;
    if (!Rests.isMuch(read)) return 0;
    return isFlood ? FLOOD_REST_MS : REST_MS;
  }
}
