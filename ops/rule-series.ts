/** The last hour minute by minute, in memory of a fixed size: in how many rows a rule found something, or how many rows there were. */
import { MINUTE_MS } from '../core/slo.ts';

export const RULE_MINUTES = 60;

export class MinuteRing {
  readonly #counts = new Uint32Array(RULE_MINUTES);
  /** The greatest minute that was counted in; those before it that the ring has no room for are gone. */
  #newest = -1;

  add(atMs: number, count: number): void {
    const minute = Math.floor(atMs / MINUTE_MS);
    this.#reach(minute);
    // A clock that was set back far counts in the oldest minute there is.
    const slot = Math.max(minute, this.#newest - RULE_MINUTES + 1) % RULE_MINUTES;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + count;
  }

  /** Oldest first; the last is the minute under way. */
  values(nowMs: number): number[] {
    const last = Math.floor(nowMs / MINUTE_MS);
    return Array.from({ length: RULE_MINUTES }, (_, i) => {
      const minute = last - RULE_MINUTES + 1 + i;
      const isKept = minute >= 0 && minute <= this.#newest && minute > this.#newest - RULE_MINUTES;
      return isKept ? (this.#counts[minute % RULE_MINUTES] ?? 0) : 0;
    });
  }

  #reach(minute: number): void {
    if (minute <= this.#newest) return;
    if (this.#newest < 0 || minute - this.#newest >= RULE_MINUTES) this.#counts.fill(0);
    else for (let gone = this.#newest + 1; gone <= minute; gone++) this.#counts[gone % RULE_MINUTES] = 0;
    this.#newest = minute;
  }
}
