/** Counts of durations in logarithmic buckets: a fixed size, one addition an observation, quantiles within 12 %. */

/** Ten buckets a decade from 1 ms to 1,000 s. Bucket k holds durations up to `10^(k/10)` ms; the last one holds everything longer. */
export const LATENCY_BUCKETS = 62;

const PER_DECADE = 10;

/** The bucket of a duration. Negative ones (clocks differ) count as zero. */
export function latencyBucket(ms: number): number {
  if (!(ms > 1)) return 0;
  return Math.min(LATENCY_BUCKETS - 1, Math.ceil(Math.log10(ms) * PER_DECADE));
}

/** The longest duration in ms that bucket `k` holds; Infinity for the last. */
export function latencyLimitMs(bucket: number): number {
  return bucket >= LATENCY_BUCKETS - 1 ? Number.POSITIVE_INFINITY : 10 ** (bucket / PER_DECADE);
}

/**
 * The `q` quantile (0…1) in ms of the buckets at `counts[at]` … `counts[at + LATENCY_BUCKETS - 1]`: the geometric middle of the bucket
 * that holds it. Null where there are no observations.
 */
export function latencyQuantile(counts: Uint32Array, q: number, at = 0): number | null {
  let total = 0;
  for (let k = 0; k < LATENCY_BUCKETS; k++) total += counts[at + k] ?? 0;
  if (total === 0) return null;
  const rank = Math.max(1, Math.ceil(q * total));
  let seen = 0;
  for (let k = 0; k < LATENCY_BUCKETS; k++) {
    seen += counts[at + k] ?? 0;
    if (seen >= rank) return k === 0 ? 1 : 10 ** ((k - 0.5) / PER_DECADE);
  }
  return null;
}

/** Three limits a decade (1, 2.51, 5.01 …) of the ten that are kept, in seconds, cumulative as Prometheus wants them. */
export function cumulativeSeconds(buckets: Uint32Array): [number, number][] {
  const out: [number, number][] = [];
  let seen = 0;
  for (let k = 0; k < LATENCY_BUCKETS; k++) {
    seen += buckets[k] ?? 0;
    const limit = latencyLimitMs(k);
    if (k === LATENCY_BUCKETS - 1) out.push([Number.POSITIVE_INFINITY, seen]);
    else if (k % 10 === 0 || k % 10 === 4 || k % 10 === 7) out.push([Number((limit / 1000).toPrecision(3)), seen]);
  }
  return out;
}
