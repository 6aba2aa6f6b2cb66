/**
 * How fast to read what comes faster than it is read. While the sockets on both sides are full, a send only adds to what lies there, for a third of what one
 * costs that goes the whole way. A reader that has drained them has every send go the whole way, and the sender is slower for it; where they are as full as they can be,
 * it waits. Between the two messages lie on the way for a while, which their times tell: this while is held, and sought such that the sender hardly waits.
 */
import type { Sent } from './send-times.ts';

/** From here on there is more to read already. */
export const READ_FULL = 65_536;
/** In a millisecond. Who is sent as much, some 25,000 rows a second, has more use for a cheap row than for an early one. */
export const FLOOD_BYTES = 8192;
/** For how long messages are to lie on the way: at first, … */
export const WAY_MS = 60;
/** … at least, and at most. */
const WAY_MIN_MS = 4;
export const WAY_MAX_MS = 400;
/**
 * While nobody wants to have more the sender waits whatever lies there, so that tells nothing, and no more is needed than keeps it fast. In between less is taken than could be,
 * for how old that is does not tell how much it is: who took all that is old would take all there is, and each send would go the whole way again.
 */
const WAY_HELD_MS = 150;
/** Of the sender's time over which it is measured how much it sends, and for how long it waits. */
const MEASURE_MS = 50;
/** Of that, what it waits where too much lies on the way, and where there is room for more; and what the way is to be times then. */
const WAITS_LONG = 0.08;
const WAITS_LITTLE = 0.03;
const SHORTER = 0.85;
const LONGER = { first: 0.01, more: 0.01, most: 0.15 };
/** One of the clocks was set. */
const CLOCK_SET_MS = 5000;
/** Times the sender's speed: where next to nothing lies on the way, and where too much does. */
const SLOWEST = 0.5;
const FASTEST = 2;
/** What may be read at once when the reader was kept from reading: far less than lies in two full sockets. */
const BURST_BYTES = 4 * READ_FULL;

export class Pace {
  /** What the sender sends in a millisecond in which it does not wait. */
  #rate: number;
  #wayMs = WAY_MS;
  #longer = LONGER.first;
  /** What a message takes that nothing lies before, and how much one clock is ahead of the other; null until there was nothing. */
  #base: number | null = null;
  /** What may be read by `at`; less than nothing where too much was. */
  #may = 0;
  #at = 0;
  #isShort = true;
  /** Since the last measure. */
  #bytes = 0;
  #measured: Sent | null = null;

  /** `rate` is what was read in a millisecond until now. */
  constructor(rate: number) {
    this.#rate = rate;
  }

  /**
   * For how many milliseconds to rest after a read of so many bytes at `now`; 0: not at all. `sent`: of what was read. `isHeld`: whether whoever takes it did not want
   * more lately, for which its sender may have waited too.
   */
  after(read: number, now: number, { lastMs, waitedMs }: Sent, isHeld: boolean): number {
    const took = now - lastMs;
    this.#measure(read, took, { lastMs, waitedMs }, isHeld);
    const wasShort = this.#isShort;
    this.#isShort = read < READ_FULL;
    if (this.#isShort) return wasShort ? this.#fill(now, took) : 1; // One short read may be between two deliveries.
    if (this.#base === null) return 0;
    this.#base = Math.min(this.#base, took);
    const rate = this.#rate * Math.min(FASTEST, Math.max(isHeld ? 1 : SLOWEST, (took - this.#base) / this.#wayMs));
    this.#may = Math.min(BURST_BYTES, this.#may + (now - this.#at) * rate) - read;
    this.#at = now;
    return this.#may >= 0 ? 0 : Math.max(1, Math.round(-this.#may / rate));
  }

  /** Nothing lies on the way. */
  #fill(now: number, took: number): number {
    this.#base = took;
    this.#may = 0;
    this.#at = now + this.#wayMs;
    return Math.ceil(this.#wayMs);
  }

  #measure(read: number, took: number, sent: Sent, isHeld: boolean): void {
    this.#bytes += read;
    this.#measured ??= sent;
    const millis = sent.lastMs - this.#measured.lastMs;
    if (millis >= 0 && millis < MEASURE_MS) return;
    const waited = sent.waitedMs - this.#measured.waitedMs;
    if (millis > 0 && millis < CLOCK_SET_MS) {
      this.#rate = Math.max(FLOOD_BYTES, (this.#rate + this.#bytes / Math.max(1, millis - waited)) / 2);
      this.#adapt(waited / millis, took, isHeld);
    }
    this.#measured = sent;
    this.#bytes = 0;
  }

  #adapt(waits: number, took: number, isHeld: boolean): void {
    if (isHeld || waits < WAITS_LITTLE) {
      const most = isHeld ? Math.max(WAY_HELD_MS, this.#wayMs) : WAY_MAX_MS;
      this.#wayMs = Math.min(most, (1 + this.#longer) * this.#wayMs);
      this.#longer = Math.min(LONGER.most, this.#longer + LONGER.more);
    } else if (waits > WAITS_LONG) {
      // It waits for room, so no less lies on the way than there is room for.
      if (this.#base !== null) this.#base = Math.min(this.#base, took - this.#wayMs / 2);
      this.#wayMs = Math.max(WAY_MIN_MS, SHORTER * this.#wayMs);
      this.#longer = LONGER.first;
    }
  }
}
