/** When messages of a replication stream were sent, as they say themselves: how old what is read is, and how long their sender had to wait. */

/**
 * A sender of a flood that sends nothing for so long waits for room: a socket lets it go on once a third of what it holds has gone. In less time it decodes what it
 * sends next, or the machine has other work.
 */
const WAITS_US = 1000;

export interface Sent {
  /** When the last one was sent, in milliseconds by the sender's clock. */
  readonly lastMs: number;
  /** For how long nothing was sent between two of them. */
  readonly waitedMs: number;
}

export class SendTimes implements Sent {
  /** Microseconds since 2000 by the sender's clock, in two halves. */
  #high = 0;
  #low = 0;
  #waitedUs = 0;
  #isFirst = true;

  /** A message whose time is at `at`. */
  take(bytes: Buffer, at: number): void {
    const low = bytes.readInt32BE(at + 4);
    const passed = (low - this.#low) | 0;
    if (passed > WAITS_US && !this.#isFirst) this.#waitedUs += passed;
    this.#isFirst = false;
    this.#low = low;
    this.#high = bytes.readInt32BE(at);
  }

  get lastMs(): number {
    return (this.#high * 2 ** 32 + (this.#low >>> 0)) / 1000;
  }

  get waitedMs(): number {
    return this.#waitedUs / 1000;
  }
}
