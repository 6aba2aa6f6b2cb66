/** The last minutes second by second, against what was counted, and what they take of memory. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { LATENCY_BUCKETS, latencyQuantile } from '../../ops/histogram.ts';
import { SecondsRing } from '../../ops/series.ts';
import { Random } from '../support/random.ts';

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e6));
const SECONDS = 900;

test(`what was counted is what is told, however it is asked (seed ${SEED})`, () => {
  const random = new Random(SEED);
  const ring = new SecondsRing(SECONDS);
  const counts = new Map<number, number[]>();
  const latency = new Map<number, Uint32Array>();
  let now = 1_700_000_000;
  for (let step = 0; step < 3000; step++) {
    now += random.chance(0.01) ? random.below(400) : random.chance(0.3) ? 1 : 0;
    const added = [random.below(5), random.below(2), random.below(2), random.below(2)] as const;
    ring.add(now, ...added);
    const sums = counts.get(now) ?? [0, 0, 0, 0];
    counts.set(
      now,
      sums.map((sum, i) => sum + (added[i] ?? 0)),
    );
    for (let more = random.below(4); more > 0; more--) {
      const [bucket, events] = [random.below(LATENCY_BUCKETS), 1 + random.below(9)];
      ring.addLatency(now, bucket, events);
      const of = latency.get(now) ?? new Uint32Array(LATENCY_BUCKETS);
      of[bucket] = (of[bucket] ?? 0) + events;
      latency.set(now, of);
    }
    if (step % 100 > 0) continue;
    const from = now - random.below(2000);
    const first = Math.max(from, now + 1 - SECONDS);
    const seconds = Array.from({ length: now + 1 - first }, (_, i) => first + i);
    const quantile = (second: number, q: number): number | null => {
      const of = latency.get(second);
      const ms = of === undefined ? null : latencyQuantile(of, q);
      return ms === null ? null : Math.round(ms * 10) / 10;
    };
    const series = (i: number) => seconds.map((second) => counts.get(second)?.[i] ?? 0);
    expect(ring.frame(from, now + 1)).toEqual({
      fromS: first,
      counts: { pass: series(0), warn: series(1), drop: series(2), quarantine: series(3) },
      p50Ms: seconds.map((second) => quantile(second, 0.5)),
      p99Ms: seconds.map((second) => quantile(second, 0.99)),
    });
    const all = ring.sums(from, now + 1);
    expect(all.counts.pass).toBe(series(0).reduce((a, b) => a + b, 0));
    expect([...all.latency]).toEqual(
      Array.from({ length: LATENCY_BUCKETS }, (_, k) => seconds.reduce((sum, second) => sum + (latency.get(second)?.[k] ?? 0), 0)),
    );
  }
});

test('of a table in which nothing has happened nothing is told, but since when', () => {
  const ring = new SecondsRing(SECONDS);
  const quiet = { counts: { pass: [], warn: [], drop: [], quarantine: [] }, p50Ms: [], p99Ms: [] };
  expect(ring.frame(1000, 2000)).toEqual({ fromS: 1100, ...quiet });
  ring.add(1990, 1, 0, 0, 0);
  expect(ring.frame(1989, 1992).counts.pass).toEqual([0, 1, 0]);
  expect(ring.frame(2100, 2200)).toEqual({ fromS: 2100, ...quiet });
});

test('thousands of tables take memory for what happens in them', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void; // What the flag brings.
  const taken = (): number => {
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return (heapUsed + arrayBuffers) / 1e6;
  };
  const rings = Array.from({ length: 5000 }, () => new SecondsRing(SECONDS));
  const before = taken();
  for (const ring of rings) {
    ring.add(1_700_000_000, 5, 0, 0, 0);
    ring.addLatency(1_700_000_000, 20, 5);
  }
  expect(taken() - before).toBeLessThan(20);
  // All the time in each of them, over hours: no more than the last minutes, and a number for each second.
  for (const ring of rings.slice(0, 500))
    for (let second = 0; second < 5 * SECONDS; second += 1) {
      ring.add(1_700_000_000 + second, 1, 0, 0, 0);
      ring.addLatency(1_700_000_000 + second, 20 + (second % 3), 1);
    }
  expect(taken() - before).toBeLessThan(20 + 0.1 * 500);
  expect(rings.length).toBe(5000);
});
