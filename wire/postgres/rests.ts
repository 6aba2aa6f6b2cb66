/**
 * When the reader of a replication stream rests. A walsender sends message by message: a reader that waits for each is woken for each, and pays more for the
 * read than for the row. What is sent to one that rests is only put behind what lies there already.
 */
import { FLOOD_BYTES, Pace, READ_FULL } from './pace.ts';
import type { Sent } from './send-times.ts';

export { FLOOD_BYTES, READ_FULL };

/** Up to here there is not much to read, and who waits for it gets it at once. */
export const READ_SMALL = 2048;
/** In a millisecond: far less than a read after the longest rest comes to. The flood is over, though its last rows may be old, or their server's clock be late. */
const QUIET_BYTES = FLOOD_BYTES / 32;
const REST_MS = 1;
const FLOOD_REST_MS = 8;
/** Over which it is measured how much comes. */
const RATE_MS = 20;
/** For so long what is read may have waited because nobody wanted to have it. */
const HELD_MS = 500;

export class Rests {
  /** Since `since`: when the last rest began, or the last small read was. */
  #bytes = 0;
  #since: number;
  readonly #rate: Rate;
  #pace: Pace | null = null;
  #heldAt = Number.NEGATIVE_INFINITY;

  /** `now` in milliseconds, here and below. */
  constructor(now: number) {
    this.#since = now;
    this.#rate = new Rate(now);
  }

  /** Whether so many bytes are much: in a moment there will be more. */
  static isMuch(read: number): boolean {
    return read > READ_SMALL;
  }

  /** Until `now` nobody wanted to have more, or from then on. */
  held(now: number): void {
    this.#heldAt = now;
  }

  /**
   * For how many milliseconds to rest after a read of so many bytes; 0: not at all. `isBehind` tells whether what is read was written a while ago: then more
   * of it is there than is read, and all of it is here sooner if some of it comes a little later. `sent`: of what was read.
   */
  after(read: number, now: number, isBehind: () => boolean, sent: Sent): number {
    const rate = this.#rate.after(read, now);
    if (rate !== null) this.#setPace(rate, isBehind());
    return this.#pace?.after(read, now, sent, now - this.#heldAt < HELD_MS) ?? this.#unpaced(read, now);
  }

  #setPace(rate: number, isBehind: boolean): void {
    if (!isBehind || rate < QUIET_BYTES) this.#pace = null;
    else if (rate >= FLOOD_BYTES) this.#pace ??= new Pace(rate);
  }

  #unpaced(read: number, now: number): number {
    this.#bytes += read;
    if (read >= READ_FULL) return 0;
    const isFlood = this.#bytes >= FLOOD_BYTES * (now - this.#since);
    this.#bytes = 0;
    this.#since = now;
    if (!Rests.isMuch(read)) return 0;
    return isFlood ? FLOOD_REST_MS : REST_MS;
  }
}

/** How much is read in a millisecond, from one measure to the next. */
class Rate {
  #bytes = 0;
  #since: number;

  constructor(now: number) {
    this.#since = now;
  }

  /** Null until there is a new measure. */
  after(read: number, now: number): number | null {
    this.#bytes += read;
    const millis = now - this.#since;
    if (millis < RATE_MS) return null;
    const rate = this.#bytes / millis;
    this.#bytes = 0;
    this.#since = now;
    return rate;
  }
}
