/** The last hour minute by minute, in memory of a fixed size: in how many rows a rule found something, or how many rows there were. */
import { MINUTE_MS } from '../core/slo.ts';
import type { DatasetSeries } from './metrics.ts';

export const RULE_MINUTES = 60;

/** What a process counted of a pipeline's rules, as the next one goes on from it. */
export interface KeptSeries {
  readonly atMs: number;
  readonly datasets: readonly Pick<DatasetSeries, 'dataset' | 'recent' | 'rules'>[];
}

/** Whether it has that form, down to where a wrong number does no harm. */
export function isKeptSeries(value: unknown): value is KeptSeries {
  if (typeof value !== 'object' || value === null) return false;
  const { atMs, datasets } = value as Partial<KeptSeries>;
  const isOne = (one: Partial<KeptSeries['datasets'][number]> | null): boolean =>
    Array.isArray(one?.recent) && Array.isArray(one.rules) && one.rules.every(hasRecent);
  return typeof atMs === 'number' && Array.isArray(datasets) && datasets.every(isOne);
}

const hasRecent = (rule: Partial<DatasetSeries['rules'][number]> | null): boolean => Array.isArray(rule?.recent);

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

  /** Adds what another ring had at `atMs`, but for what is older than an hour by now. */
  merge(values: readonly number[], atMs: number, nowMs: number): void {
    const oldest = Math.max(Math.floor(nowMs / MINUTE_MS), this.#newest) - RULE_MINUTES + 1;
    for (const [i, count] of values.entries()) {
      const minute = Math.floor(atMs / MINUTE_MS) - values.length + 1 + i;
      if (count > 0 && minute >= oldest) this.add(minute * MINUTE_MS, count);
    }
  }

  /** Takes away what was merged, or what it had itself, at `atMs`. */
  lessen(values: readonly number[], atMs: number): void {
    for (const [i, count] of values.entries()) {
      const minute = Math.floor(atMs / MINUTE_MS) - values.length + 1 + i;
      if (minute < 0 || minute > this.#newest || minute <= this.#newest - RULE_MINUTES) continue;
      const slot = minute % RULE_MINUTES;
      this.#counts[slot] = Math.max(0, (this.#counts[slot] ?? 0) - count);
    }
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
