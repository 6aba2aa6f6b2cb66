/**
 * How fast to read what comes faster than it is read. While the sockets on both sides are full, a send only adds to what lies there, for a third of what one
 * costs that goes the whole way. A reader that has drained them has every send go the whole way, the sender is slower for it, and they stay empty. So they
 * are let fill once, and from then on no more is taken than comes.
 */

/** From here on there is more to read already. */
export const READ_FULL = 65_536;
/** In a millisecond. Who is sent as much, some 25,000 rows a second, has more use for a cheap row than for an early one. */
export const FLOOD_BYTES = 8192;
/** It takes a sender about as long to fill both sockets, … */
export const FILL_MS = 60;
/** … and where it took longer, because they have grown meanwhile, at most as long as this. */
const FILL_MAX_MS = 4 * FILL_MS;
/** Drained sooner, the sockets were not full. */
const KEPT_MS = 1000;
/** What may be read at once when the reader was kept from reading: far less than lies in two full sockets. */
const BURST_BYTES = 4 * READ_FULL;
const GROWS_MS = 50;
/** Nobody knows how fast the sender is: in such steps it is found out, … */
const GROWS_FIRST = 0.1;
/** … and from then on in steps that begin as small as this, and are larger the longer all goes well: the machine may have more time for both by now. */
const GROWS_NEXT = 0.003;
/** Of what has come. */
const KEEPS = 0.96;
/** A pace is never faster than so many times what has come: whoever reads may be the slower one, until it is not. */
const AHEAD = 2;

export class Pace {
  /** In bytes a millisecond. */
  #rate: number;
  /** Whether it has filled the sockets before, and whether it was found out since how much comes. */
  #filled = false;
  #isKnown = false;
  #fillMs = FILL_MS / 2;
  /** Since when, and how much was read since then. */
  #began: number;
  #read = 0;
  /** What may be read by `at`; less than nothing where too much was. */
  #may = 0;
  #at = 0;
  #grownAt = 0;
  #isShort = true;

  /** It begins with a rest, as soon as there is no more to read. `rate` is what was read in a millisecond before `now`. */
  constructor(rate: number, now: number) {
    this.#rate = AHEAD * rate;
    this.#began = now;
  }

  /** For how many milliseconds to rest after a read of so many bytes at `now`; 0: not at all. */
  after(read: number, now: number): number {
    this.#read += read;
    this.#may = Math.min(BURST_BYTES, this.#may + (now - this.#at) * this.#rate) - read;
    this.#at = now;
    const wasShort = this.#isShort;
    this.#isShort = read < READ_FULL;
    if (this.#isShort) return wasShort ? this.#fill(now) : 1; // One short read may be between two deliveries.
    this.#grow(now);
    return this.#may >= 0 ? 0 : Math.max(1, Math.round(-this.#may / this.#rate));
  }

  #grow(now: number): void {
    if (now - this.#grownAt < GROWS_MS) return;
    this.#grownAt = now;
    const millis = now - this.#began;
    const grows = this.#isKnown ? Math.min(GROWS_FIRST, GROWS_NEXT * (1 + millis / 1000) ** 2) : GROWS_FIRST;
    this.#rate = Math.max(this.#rate, Math.min((1 + grows) * this.#rate, (AHEAD * this.#read) / millis));
  }

  /** All was read, so what came since the last rest is what comes at most. */
  #fill(now: number): number {
    const millis = now - this.#began;
    // Drained at once, it was little that had come, for all of the time.
    const isLittle = millis < 2 * this.#fillMs;
    const came = (KEEPS * this.#read) / Math.max(1, isLittle ? millis : millis - this.#fillMs);
    // How little comes tells nothing of the next flood, nor does what came while the reader was kept from reading.
    if (this.#filled) this.#rate = Math.max(FLOOD_BYTES, came);
    this.#isKnown = this.#filled && !isLittle && came >= FLOOD_BYTES;
    this.#filled = true;
    this.#fillMs = millis < KEPT_MS ? Math.min(FILL_MAX_MS, 2 * this.#fillMs) : FILL_MS;
    this.#began = now;
    this.#read = 0;
    this.#may = 0;
    this.#at = now + this.#fillMs;
    this.#grownAt = this.#at;
    return this.#fillMs;
  }
}
