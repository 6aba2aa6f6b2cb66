import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { ScoreStatus, Verdict } from '../../core/batch.ts';
import type { DatasetName } from '../../core/event.ts';
import { LATENCY_BUCKETS, latencyBucket, latencyLimitMs, latencyQuantile } from '../../ops/histogram.ts';
import { Metrics } from '../../ops/metrics.ts';
import { Exposition } from '../../ops/prometheus.ts';
import { datasetOf, eventOf, findingOf, lane, reportOf } from './reports.ts';

const orders = datasetOf('shop.public.orders');
const payments = datasetOf('shop.public.payments');

function clockAt(ms: number) {
  return { ms, now: () => 0 };
}
function metricsAt(ms: number) {
  const clock = clockAt(ms);
  clock.now = () => clock.ms;
  return { clock, metrics: new Metrics(clock) };
}

describe('counters', () => {
  test('events are counted by dataset and verdict, findings by rule', () => {
    const { metrics } = metricsAt(1_000_000);
    const events = [eventOf(orders, 1), eventOf(orders, 2), eventOf(payments, 3), eventOf(orders, 4), eventOf(orders, 5)];
    const findings = [
      findingOf(1, 'total-positive', { column: 'total' }),
      findingOf(1, 'email', { verdict: Verdict.Tag }),
      findingOf(2, 'late', { verdict: Verdict.Warn }),
      findingOf(4, 'test-rows', { verdict: Verdict.Drop }),
    ];
    metrics.observer('p')(reportOf(events, findings));
    const [pipeline] = metrics.snapshot().pipelines;
    expect(pipeline?.datasets.map(({ dataset, totals }) => ({ dataset, totals }))).toEqual([
      { dataset: 'shop.public.orders', totals: { in: 4, passed: 2, tagged: 0, warned: 0, dropped: 1, held: 1 } },
      { dataset: 'shop.public.payments', totals: { in: 1, passed: 0, tagged: 0, warned: 1, dropped: 0, held: 0 } },
    ]);
    expect(pipeline?.datasets[0]?.rules.map(({ rule, column, verdict, count }) => [rule, column, verdict, count])).toEqual([
      ['total-positive', 'total', 'quarantine', 1],
      ['email', null, 'tag', 1],
      ['test-rows', null, 'drop', 1],
    ]);
  });

  test('every event of any batch is counted once, whatever datasets and verdicts are mixed', () => {
    const event = fc.record({ other: fc.boolean(), at: fc.integer({ min: 0, max: 3 }), verdict: fc.constantFrom(0, 1, 2, 3, 4) });
    fc.assert(
      fc.property(fc.array(fc.array(event, { maxLength: 30 }), { maxLength: 5 }), (batches) => {
        const { metrics } = metricsAt(10_000);
        const observe = metrics.observer('p');
        for (const batch of batches) {
          const events = batch.map(({ other, at }, i) => eventOf(other ? payments : orders, i, at * 1000));
          const findings = batch.flatMap(({ verdict }, i) =>
            verdict === Verdict.Pass ? [] : [findingOf(i, 'r', { verdict: verdict as 1 | 2 | 3 | 4 })],
          );
          observe(reportOf(events, findings));
        }
        const all = batches.flat();
        const [pipeline] = metrics.snapshot().pipelines;
        for (const [dataset, isOther] of [
          [orders, false],
          [payments, true],
        ] as const) {
          const mine = all.filter(({ other }) => other === isOther);
          const totals = pipeline?.datasets.find((one) => one.dataset === dataset.name)?.totals;
          const of = (verdict: number) => mine.filter((one) => one.verdict === verdict).length;
          const expected = { in: mine.length, passed: of(0), tagged: of(1), warned: of(2), dropped: of(3), held: of(4) };
          expect(totals).toEqual(mine.length === 0 ? undefined : expected);
        }
        const { events, difference } = pipeline?.lanes[0]?.ledger ?? { events: 0, difference: 0 };
        expect([events, difference]).toEqual([all.length, 0]);
      }),
    );
  });

  test('a row that waits for its lot is counted once, when that is published', () => {
    const { metrics } = metricsAt(120_000);
    const observe = metrics.observer('p');
    const tagged = () => reportOf([eventOf(orders, 1), eventOf(orders, 2)], [findingOf(0, 'r', { verdict: Verdict.Tag })]);
    const waits = tagged();
    waits.batch.stage(0, { startMs: 0, endMs: 60_000 });
    observe(waits);
    const counted = () => {
      const of = metrics.snapshot().pipelines[0]?.datasets[0];
      return [of?.totals.in, of?.recent.at(-1), of?.rules.map(({ count, recent }) => [count, recent.at(-1)])];
    };
    expect(counted()).toEqual([1, 1, []]);
    observe(tagged());
    expect(counted()).toEqual([3, 3, [[1, 1]]]);
  });

  test('a ledger that does not close shows as a difference', () => {
    const { metrics } = metricsAt(0);
    metrics.observer('p')(reportOf([eventOf(orders, 1), eventOf(orders, 2)], [], { applied: { upserts: 1 } }));
    expect(metrics.snapshot().pipelines[0]?.lanes[0]?.ledger.difference).toBe(1);
    expect(metrics.prometheus()).toContain('tidegate_ledger_difference{pipeline="p",lane="shop/slot"} 1\n');
  });

  test('scores fill a histogram a model version, and unavailable ones are told apart', () => {
    const { metrics } = metricsAt(0);
    const report = reportOf([1, 2, 3, 4, 5].map((key) => eventOf(orders, key)));
    const { Scored, Unavailable, FeatureMissing } = ScoreStatus;
    report.batch.scores.push({
      dataset: orders.name,
      model: 'order-risk',
      version: '3',
      values: Float32Array.of(0, 0.97, 1, Number.NaN, Number.NaN),
      status: Uint8Array.of(Scored, Scored, Scored, Unavailable, FeatureMissing),
      atMs: 5,
      write: { score: null, model: null, at: null },
    });
    metrics.observer('p')(report);
    const score = metrics.snapshot().pipelines[0]?.datasets[0]?.scores[0];
    expect(score).toMatchObject({ model: 'order-risk', version: '3', scored: 3, unavailable: 2, lastAtMs: 5 });
    expect(score?.histogram).toEqual([1, ...Array.from({ length: 18 }, () => 0), 2]);
  });

  test('the lag is the age of the newest streamed change, and nothing once the lane has caught up', () => {
    const { metrics, clock } = metricsAt(10_000);
    const observe = metrics.observer('p');
    const lag = () => metrics.snapshot().pipelines[0]?.lanes[0]?.lagMs;
    observe(reportOf([eventOf(orders, 1, 2_000)], [], { origin: 'snapshot' }));
    expect(lag()).toBeNull();
    observe(reportOf([eventOf(orders, 1, 9_000), eventOf(orders, 2, 9_400)]));
    expect(lag()).toBe(600);
    clock.ms = 12_000;
    observe(reportOf([]));
    expect(lag()).toBe(0);
    observe(reportOf([eventOf(orders, 3, 11_000)]));
    metrics.setLaneLag('p', lane, { bytes: 0, records: null });
    expect(lag()).toBe(0);
  });

  test('a late change is news for two seconds, if nothing comes behind it, and for as long as something does', () => {
    const { metrics, clock } = metricsAt(7_200_000);
    const lag = () => metrics.snapshot().pipelines[0]?.lanes[0]?.lagMs;
    metrics.observer('p')(reportOf([eventOf(orders, 1, 0)]));
    metrics.setLaneLag('p', lane, { bytes: 60_000, records: null }, true);
    expect(lag()).toBe(7_200_000);
    clock.ms += 2_001;
    metrics.setLaneLag('p', lane, { bytes: 60_000, records: null }, false);
    expect(lag()).toBe(7_200_000);
    metrics.setLaneLag('p', lane, { bytes: 60_000, records: null }, true);
    expect(lag()).toBe(0);
    expect(metrics.prometheus()).toMatch(/^tidegate_lane_lag_seconds\{.*\} 0$/m);
  });

  test('while nobody reads the lane it falls behind, from when it last had everything', () => {
    const { metrics, clock } = metricsAt(1_000_000);
    const lag = () => metrics.snapshot().pipelines[0]?.lanes[0]?.lagMs;
    metrics.observer('p')(reportOf([eventOf(orders, 1, 1_000_000)]));
    clock.ms += 5_000;
    metrics.setLaneLag('p', lane, { bytes: 56, records: null }, true);
    clock.ms += 600_000;
    metrics.standLane('p', lane);
    expect(lag()).toBe(600_000);
    expect(metrics.prometheus()).toMatch(/^tidegate_lane_lag_seconds\{.*\} 600$/m);
    // It reads again, and what the log has beyond what was read may be ours.
    metrics.setLaneLag('p', lane, { bytes: 14_000_000, records: null }, true);
    expect(lag()).toBe(600_000);
    metrics.setLaneLag('p', lane, { bytes: 0, records: null }, true);
    expect(lag()).toBe(0);
    metrics.leaveLane('p', lane);
    expect(lag()).toBeNull();
  });
});

describe('the last minutes', () => {
  test('a frame has an entry a second, whole seconds only, and goes on where the last one ended', () => {
    const { metrics, clock } = metricsAt(100_000);
    const observe = metrics.observer('p');
    observe(reportOf([eventOf(orders, 1, 99_900), eventOf(orders, 2, 99_900)], [findingOf(1, 'r')]));
    expect(metrics.series(0).frames[0]?.counts.pass).toEqual([]);
    clock.ms = 102_500;
    observe(reportOf([eventOf(orders, 3, 102_490)]));
    const first = metrics.series(0);
    expect(first).toMatchObject({
      toS: 102,
      frames: [{ dataset: 'shop.public.orders', fromS: 100, counts: { pass: [1, 0], quarantine: [1, 0] } }],
    });
    expect(first.frames[0]?.p50Ms[0]).toBeCloseTo(89, 0); // The middle of the bucket that holds 100 ms.
    expect(first.frames[0]?.p50Ms[1]).toBeNull();
    clock.ms = 103_000;
    expect(metrics.series(first.toS)).toMatchObject({ toS: 103, frames: [{ fromS: 102, counts: { pass: [1] } }] });
  });

  test('nothing older than fifteen minutes is kept, and slots are used again clean', () => {
    const { metrics, clock } = metricsAt(0);
    const observe = metrics.observer('p');
    observe(reportOf([eventOf(orders, 1, 0)]));
    clock.ms = 900_000;
    observe(reportOf([eventOf(orders, 2, 900_000), eventOf(orders, 3, 900_000)]));
    clock.ms = 901_000;
    const [frame] = metrics.series(0).frames;
    expect(frame?.counts.pass).toHaveLength(900);
    expect(frame?.counts.pass.reduce((a, b) => a + b, 0)).toBe(2);
  });

  test('rates are those of the last ten whole seconds', () => {
    const { metrics, clock } = metricsAt(50_000);
    const observe = metrics.observer('p');
    for (let second = 0; second < 20; second++) {
      clock.ms = 50_000 + second * 1000;
      observe(
        reportOf(
          Array.from({ length: 30 }, (_, i) => eventOf(orders, i, clock.ms)),
          [findingOf(0, 'r')],
        ),
      );
    }
    clock.ms = 70_000;
    expect(metrics.snapshot().pipelines[0]?.datasets[0]?.rates).toEqual({ pass: 29, warn: 0, drop: 0, quarantine: 1 });
  });
});

describe('latency buckets', () => {
  test('a duration lies within its bucket', () => {
    fc.assert(
      fc.property(fc.double({ min: -10, max: 1e7, noNaN: true }), (ms) => {
        const bucket = latencyBucket(ms);
        expect(ms).toBeLessThanOrEqual(latencyLimitMs(bucket) * (1 + 1e-12));
        expect(ms).toBeGreaterThan(bucket > 0 ? latencyLimitMs(bucket - 1) * (1 - 1e-12) : -11);
      }),
    );
  });

  test('a quantile is within 13 % of the exact one', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 1, max: 900_000, noNaN: true }), { minLength: 1 }),
        fc.constantFrom(0.5, 0.9, 0.99),
        (values, q) => {
          const counts = new Uint32Array(LATENCY_BUCKETS);
          for (const value of values) counts[latencyBucket(value)] = (counts[latencyBucket(value)] ?? 0) + 1;
          const exact = values.sort((a, b) => a - b)[Math.max(1, Math.ceil(q * values.length)) - 1] ?? 0;
          expect((latencyQuantile(counts, q) ?? 0) / exact).toBeGreaterThan(0.87);
          expect((latencyQuantile(counts, q) ?? 0) / exact).toBeLessThan(1.13);
        },
      ),
    );
  });

  test('no observations have no quantile', () => {
    expect(latencyQuantile(new Uint32Array(LATENCY_BUCKETS), 0.5)).toBeNull();
  });
});

describe('the Prometheus text', () => {
  test('labels and help are escaped, a family comes in one piece, infinities are written as Prometheus writes them', () => {
    const out = new Exposition();
    out.counter('a_total', 'with \\ and\nline', { rule: 'say "hi"\\\n' }, 1);
    out.gauge('b', 'b', {}, Number.NEGATIVE_INFINITY);
    out.counter('a_total', 'again', { rule: 'x' }, 2);
    expect(out.toString()).toBe(
      '# HELP a_total with \\\\ and\\nline\n# TYPE a_total counter\n' +
        'a_total{rule="say \\"hi\\"\\\\\\n"} 1\na_total{rule="x"} 2\n# HELP b b\n# TYPE b gauge\nb -Inf\n',
    );
  });

  test('the whole exposition parses: one TYPE a family, samples of it only, histograms cumulative and complete', () => {
    const { metrics, clock } = metricsAt(1_000_000);
    const observe = metrics.observer('p "x"');
    const events = Array.from({ length: 50 }, (_, i) => eventOf(i % 2 === 0 ? orders : payments, i, clock.ms - i * 100));
    observe(reportOf(events, [findingOf(3, 'r"1'), findingOf(4, 'r', { verdict: Verdict.Tag })]));
    metrics.setPipelineState('p "x"', 'running');
    metrics.collect((out) =>
      out.gauge('tidegate_quarantine_items', 'Items in quarantine.', { dataset: orders.name as DatasetName, status: 'held' }, 4),
    );
    const types = new Map<string, string>();
    const families: string[] = [];
    const wrong: string[] = [];
    const histograms = new Map<string, number[]>();
    for (const line of metrics.prometheus().trimEnd().split('\n')) {
      if (line.startsWith('# HELP ')) continue;
      const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
      if (type !== null) {
        families.push(type[1] ?? '');
        types.set(type[1] ?? '', type[2] ?? '');
        continue;
      }
      const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\]|\\.)*",?)*\})? (\S+)$/.exec(line);
      const [, name = '', labels = '', value = ''] = sample ?? [];
      const family = families.at(-1) ?? '';
      const fits = [family, `${family}_bucket`, `${family}_sum`, `${family}_count`].includes(name);
      if (sample === null || !fits || !Number.isFinite(Number(value))) wrong.push(line);
      const series = `${name}${labels.replace(/,?le="[^"]*"/, '')}`;
      if (name.endsWith('_bucket')) histograms.set(series, [...(histograms.get(series) ?? []), Number(value)]);
    }
    expect(wrong).toEqual([]);
    expect(families).toEqual([...new Set(families)]);
    expect(types.get('tidegate_events_total')).toBe('counter');
    expect(types.get('tidegate_latency_seconds')).toBe('histogram');
    expect(types.get('tidegate_quarantine_items')).toBe('gauge');
    expect(histograms.size).toBeGreaterThan(2);
    for (const counts of histograms.values()) expect(counts).toEqual(counts.toSorted((a, b) => a - b));
  });
});

test('a batch of 5,000 passing events is observed in well under a millisecond', () => {
  const { metrics, clock } = metricsAt(1_000_000);
  const observe = metrics.observer('p');
  const events = Array.from({ length: 5_000 }, (_, i) => eventOf(orders, i, clock.ms - Math.floor(i / 10)));
  const report = reportOf(events);
  for (let i = 0; i < 200; i++) observe(report);
  const startedMs = performance.now();
  for (let i = 0; i < 200; i++) observe(report);
  // About 0.1 ms on a laptop; the limit only catches work that grew by an order of magnitude.
  expect((performance.now() - startedMs) / 200).toBeLessThan(2);
});
