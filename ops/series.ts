/** The last minutes of one dataset second by second, in memory of a fixed size: what the page draws. */
import { LATENCY_BUCKETS, latencyQuantile } from './histogram.ts';

/** What a second counts, in the order of the numbers kept for it. */
export const SERIES = ['pass', 'warn', 'drop', 'quarantine'] as const;
export type SeriesName = (typeof SERIES)[number];

/** One column a series, one entry a second: `counts.pass[i]` events passed in second `fromS + i`. */
export interface SeriesFrame {
  /** Unix time in seconds of the first entry. */
  readonly fromS: number;
  readonly counts: Readonly<Record<SeriesName, readonly number[]>>;
  /** Milliseconds from the commit at the source to the commit at the target; null in a second without streamed events. */
  readonly p50Ms: readonly (number | null)[];
  readonly p99Ms: readonly (number | null)[];
}

export class SecondsRing {
  readonly #seconds: number;
  /** The second that each slot holds now; a slot of another second is empty. */
  readonly #slotSecond: Float64Array;
  readonly #counts: Uint32Array;
  readonly #latency: Uint32Array;

  constructor(seconds: number) {
    this.#seconds = seconds;
    this.#slotSecond = new Float64Array(seconds).fill(-1);
    this.#counts = new Uint32Array(seconds * SERIES.length);
    this.#latency = new Uint32Array(seconds * LATENCY_BUCKETS);
  }

  /** Adds counts in the order of `SERIES` to the second. */
  add(second: number, pass: number, warn: number, drop: number, quarantine: number): void {
    const at = this.#slot(second) * SERIES.length;
    const counts = this.#counts;
    counts[at] = (counts[at] ?? 0) + pass;
    counts[at + 1] = (counts[at + 1] ?? 0) + warn;
    counts[at + 2] = (counts[at + 2] ?? 0) + drop;
    counts[at + 3] = (counts[at + 3] ?? 0) + quarantine;
  }

  addLatency(second: number, bucket: number, events: number): void {
    const at = this.#slot(second) * LATENCY_BUCKETS + bucket;
    this.#latency[at] = (this.#latency[at] ?? 0) + events;
  }

  /** Seconds `fromS` (inclusive) to `toS` (exclusive), never more than the ring holds. */
  frame(fromS: number, toS: number): SeriesFrame {
    const first = Math.max(fromS, toS - this.#seconds);
    const counts: Record<SeriesName, number[]> = { pass: [], warn: [], drop: [], quarantine: [] };
    const p50Ms: (number | null)[] = [];
    const p99Ms: (number | null)[] = [];
    for (let second = first; second < toS; second++) {
      const slot = this.#find(second);
      for (const [i, name] of SERIES.entries()) counts[name].push(slot === null ? 0 : (this.#counts[slot * SERIES.length + i] ?? 0));
      p50Ms.push(slot === null ? null : rounded(latencyQuantile(this.#latency, 0.5, slot * LATENCY_BUCKETS)));
      p99Ms.push(slot === null ? null : rounded(latencyQuantile(this.#latency, 0.99, slot * LATENCY_BUCKETS)));
    }
    return { fromS: first, counts, p50Ms, p99Ms };
  }

  /** Sums over the seconds `fromS` (inclusive) to `toS` (exclusive). */
  sums(fromS: number, toS: number): { readonly counts: Record<SeriesName, number>; readonly latency: Uint32Array } {
    const counts: Record<SeriesName, number> = { pass: 0, warn: 0, drop: 0, quarantine: 0 };
    const latency = new Uint32Array(LATENCY_BUCKETS);
    for (let second = Math.max(fromS, toS - this.#seconds); second < toS; second++) {
      const slot = this.#find(second);
      if (slot === null) continue;
      for (const [i, name] of SERIES.entries()) counts[name] += this.#counts[slot * SERIES.length + i] ?? 0;
      for (let k = 0; k < LATENCY_BUCKETS; k++) latency[k] = (latency[k] ?? 0) + (this.#latency[slot * LATENCY_BUCKETS + k] ?? 0);
    }
    return { counts, latency };
  }

  #find(second: number): number | null {
    const slot = second % this.#seconds;
    return this.#slotSecond[slot] === second ? slot : null;
  }

  #slot(second: number): number {
    const slot = second % this.#seconds;
    if (this.#slotSecond[slot] !== second) {
      this.#slotSecond[slot] = second;
      this.#counts.fill(0, slot * SERIES.length, (slot + 1) * SERIES.length);
      this.#latency.fill(0, slot * LATENCY_BUCKETS, (slot + 1) * LATENCY_BUCKETS);
    }
    return slot;
  }
}

const rounded = (ms: number | null) => (ms === null ? null : Math.round(ms * 10) / 10);
