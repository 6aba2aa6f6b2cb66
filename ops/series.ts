/** The last minutes of one dataset second by second, in bounded memory: what the page draws. */
import { LATENCY_BUCKETS, latencyQuantile } from './histogram.ts';

/** What a second counts, in the order of the numbers kept for it. */
export const SERIES = ['pass', 'warn', 'drop', 'quarantine'] as const;
export type SeriesName = (typeof SERIES)[number];

/** One column a series, one entry a second: `counts.pass[i]` events passed in second `fromS + i`. No entries: nothing has happened. */
export interface SeriesFrame {
  /** Unix time in seconds of the first entry. */
  readonly fromS: number;
  readonly counts: Readonly<Record<SeriesName, readonly number[]>>;
  /** Milliseconds from the commit at the source to the commit at the target; null in a second without streamed events. */
  readonly p50Ms: readonly (number | null)[];
  readonly p99Ms: readonly (number | null)[];
}

/** Seconds that are kept together. */
const BLOCK_SECONDS = 30;
/** From so many numbers on a block keeps one for every bucket of every second, which takes less memory then. */
const SPARSE_MAX = 150;

/** What was counted in some seconds in a row. There may be thousands of datasets, and in most seconds nothing happens in most of them: so there is none where nothing was counted. */
class Block {
  readonly counts = new Uint32Array(BLOCK_SECONDS * SERIES.length);
  #latency: Map<number, number> | Uint32Array = new Map();

  addLatency(at: number, events: number): void {
    if (this.#latency instanceof Map && this.#latency.size > SPARSE_MAX) this.#latency = this.latency(new Uint32Array(BLOCK_LATENCIES));
    const known = this.#latency;
    if (known instanceof Map) known.set(at, (known.get(at) ?? 0) + events);
    else known[at] = (known[at] ?? 0) + events;
  }

  /** All buckets of all its seconds; in `scratch` where they are not kept so. */
  latency(scratch: Uint32Array): Uint32Array {
    if (!(this.#latency instanceof Map)) return this.#latency;
    scratch.fill(0);
    for (const [at, events] of this.#latency) scratch[at] = events;
    return scratch;
  }
}

const BLOCK_LATENCIES = BLOCK_SECONDS * LATENCY_BUCKETS;
const scratch = new Uint32Array(BLOCK_LATENCIES);

export class SecondsRing {
  readonly #seconds: number;
  /** By their first second, divided by how many they have. */
  readonly #blocks = new Map<number, Block>();

  constructor(seconds: number) {
    this.#seconds = seconds;
  }

  /** Adds counts in the order of `SERIES` to the second. */
  add(second: number, pass: number, warn: number, drop: number, quarantine: number): void {
    const at = (second % BLOCK_SECONDS) * SERIES.length;
    const { counts } = this.#block(second);
    counts[at] = (counts[at] ?? 0) + pass;
    counts[at + 1] = (counts[at + 1] ?? 0) + warn;
    counts[at + 2] = (counts[at + 2] ?? 0) + drop;
    counts[at + 3] = (counts[at + 3] ?? 0) + quarantine;
  }

  addLatency(second: number, bucket: number, events: number): void {
    this.#block(second).addLatency((second % BLOCK_SECONDS) * LATENCY_BUCKETS + bucket, events);
  }

  /** Seconds `fromS` (inclusive) to `toS` (exclusive), never more than the ring holds; without any entry where nothing was counted in all that time. */
  frame(fromS: number, toS: number): SeriesFrame {
    const first = Math.max(fromS, toS - this.#seconds);
    const counts: Record<SeriesName, number[]> = { pass: [], warn: [], drop: [], quarantine: [] };
    const p50Ms: (number | null)[] = [];
    const p99Ms: (number | null)[] = [];
    if (!this.#hasAny(first, toS)) return { fromS: first, counts, p50Ms, p99Ms };
    this.#forEach(first, toS, (block, at, latency) => {
      for (const [i, name] of SERIES.entries()) counts[name].push(block?.counts[at * SERIES.length + i] ?? 0);
      p50Ms.push(latency === null ? null : rounded(latencyQuantile(latency, 0.5, at * LATENCY_BUCKETS)));
      p99Ms.push(latency === null ? null : rounded(latencyQuantile(latency, 0.99, at * LATENCY_BUCKETS)));
    });
    return { fromS: first, counts, p50Ms, p99Ms };
  }

  /** Sums over the seconds `fromS` (inclusive) to `toS` (exclusive). */
  sums(fromS: number, toS: number): { readonly counts: Record<SeriesName, number>; readonly latency: Uint32Array } {
    const counts: Record<SeriesName, number> = { pass: 0, warn: 0, drop: 0, quarantine: 0 };
    const sum = new Uint32Array(LATENCY_BUCKETS);
    this.#forEach(Math.max(fromS, toS - this.#seconds), toS, (block, at, latency) => {
      if (block === null || latency === null) return;
      for (const [i, name] of SERIES.entries()) counts[name] += block.counts[at * SERIES.length + i] ?? 0;
      for (let k = 0; k < LATENCY_BUCKETS; k++) sum[k] = (sum[k] ?? 0) + (latency[at * LATENCY_BUCKETS + k] ?? 0);
    });
    return { counts, latency: sum };
  }

  #hasAny(fromS: number, toS: number): boolean {
    const [first, last] = [Math.floor(fromS / BLOCK_SECONDS), Math.floor((toS - 1) / BLOCK_SECONDS)];
    return [...this.#blocks.keys()].some((number) => number >= first && number <= last);
  }

  /** Each second with its block, its place there and the block's latencies; null where nothing was counted. */
  #forEach(fromS: number, toS: number, take: (block: Block | null, at: number, latency: Uint32Array | null) => void): void {
    let block: Block | null = null;
    let latency: Uint32Array | null = null;
    for (let second = fromS; second < toS; second++) {
      if (second === fromS || second % BLOCK_SECONDS === 0) {
        block = this.#blocks.get(Math.floor(second / BLOCK_SECONDS)) ?? null;
        latency = block?.latency(scratch) ?? null;
      }
      take(block, second % BLOCK_SECONDS, latency);
    }
  }

  /** With a new one those go that are too old by then, or too new: clocks are set back. */
  #block(second: number): Block {
    const number = Math.floor(second / BLOCK_SECONDS);
    const known = this.#blocks.get(number);
    if (known !== undefined) return known;
    const kept = Math.ceil(this.#seconds / BLOCK_SECONDS);
    for (const other of this.#blocks.keys()) if (Math.abs(other - number) > kept) this.#blocks.delete(other);
    const block = new Block();
    this.#blocks.set(number, block);
    return block;
  }
}

const rounded = (ms: number | null) => (ms === null ? null : Math.round(ms * 10) / 10);
