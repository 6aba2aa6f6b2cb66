/** Counts by the minute, against a list of all that was counted. */
import { expect, test } from 'vitest';
import { Verdict } from '../../core/batch.ts';
import { ruleSeries } from '../../app/rule-series.ts';
import { Metrics } from '../../ops/metrics.ts';
import { isKeptSeries, MinuteRing, RULE_MINUTES } from '../../ops/rule-series.ts';
import { contractOf } from '../quality/support.ts';
import { Random } from '../support/random.ts';
import { datasetOf, eventOf, findingOf, reportOf } from './reports.ts';

const SEED = 20_260_801;
const MINUTE = 60_000;

test(`the last hour is that of all counts, through silences and clocks that are set back (seed ${SEED})`, () => {
  const random = new Random(SEED);
  for (let round = 0; round < 50; round++) {
    const ring = new MinuteRing();
    const counts = new Map<number, number>();
    let nowMs = random.below(1000) * MINUTE;
    let newest = -1;
    for (let step = 0; step < 200; step++) {
      nowMs += random.chance(0.02) ? random.below(200) * MINUTE : random.below(MINUTE);
      const atMs = random.chance(0.05) ? Math.max(0, nowMs - random.below(90) * MINUTE) : nowMs;
      const count = random.below(5);
      ring.add(atMs, count);
      newest = Math.max(newest, Math.floor(atMs / MINUTE));
      const minute = Math.max(Math.floor(atMs / MINUTE), newest - RULE_MINUTES + 1);
      counts.set(minute, (counts.get(minute) ?? 0) + count);
      if (!random.chance(0.1)) continue;
      const last = Math.floor(nowMs / MINUTE);
      const expected = Array.from({ length: RULE_MINUTES }, (_, i) => {
        const of = last - RULE_MINUTES + 1 + i;
        return of > newest - RULE_MINUTES ? (counts.get(of) ?? 0) : 0;
      });
      expect(ring.values(nowMs)).toEqual(expected);
    }
  }
});

test('a rule has what it found and what it let pass, by the minute; one of the file that found nothing is there too', () => {
  const clock = { ms: 100 * MINUTE, now: () => clock.ms };
  const metrics = new Metrics(clock);
  const observe = metrics.observer('p');
  const orders = datasetOf('shop.public.orders');
  const events = [1, 2, 3, 4].map((key) => eventOf(orders, key));
  observe(reportOf(events, [findingOf(0, 'total.between', { column: 'total' }), findingOf(2, 'total.between', { column: 'total' })]));
  clock.ms += 3 * MINUTE;
  observe(reportOf(events, [findingOf(1, 'risk.route[0]', { stage: 'inference', verdict: Verdict.Warn })]));
  const contract = contractOf('columns: { total: [{ between: { min: 0 } }], id: [not_null] }');
  const desk = { pipeline: 'p', datasets: [orders.name], contracts: () => new Map([[orders.name, contract]]) };
  const { fromMs, datasets } = ruleSeries(metrics.snapshot(), [desk], () => true);
  const last = (values: readonly number[] | undefined) => values?.slice(-4);
  expect(fromMs).toBe(44 * MINUTE);
  expect(last(datasets[0]?.rows)).toEqual([4, 0, 0, 4]);
  expect(datasets[0]?.rules.map(({ rule, verdict, failed, passed }) => [rule, verdict, last(failed), last(passed), failed.length])).toEqual(
    [
      ['total.between', 'quarantine', [2, 0, 0, 0], [2, 0, 0, 4], 60],
      ['risk.route[0]', 'warn', [0, 0, 0, 1], [4, 0, 0, 3], 60],
      ['id.not_null', null, [0, 0, 0, 0], [4, 0, 0, 4], 60],
    ],
  );
  expect(ruleSeries(metrics.snapshot(), [desk], () => false).datasets).toEqual([]);
});

test(`what is kept of a process goes on in the next as if there were one (seed ${SEED})`, () => {
  const random = new Random(SEED);
  const orders = datasetOf('shop.public.orders');
  for (let round = 0; round < 20; round++) {
    const clock = { ms: 1000 * MINUTE, now: () => clock.ms };
    const whole = new Metrics(clock);
    let one = new Metrics(clock);
    for (let step = 0; step < 60; step++) {
      clock.ms += random.below(3 * MINUTE);
      const findings = [0, 1, 2].filter(() => random.chance(0.4)).map((at) => findingOf(at, `rule${random.below(3)}`));
      for (const metrics of [whole, one])
        metrics.observer('p')(
          reportOf(
            [1, 2, 3].map((key) => eventOf(orders, key)),
            findings,
          ),
        );
      if (!random.chance(0.2)) continue;
      const kept: unknown = JSON.parse(JSON.stringify(one.ruleSeries('p')));
      clock.ms += random.below(MINUTE);
      if (!isKeptSeries(kept)) throw new Error('what was kept is not known again');
      one = new Metrics(clock);
      one.goOn('p', kept);
    }
    const rulesOf = (metrics: Metrics) =>
      metrics.ruleSeries('p').datasets.map(({ recent, rules }) => [recent, rules.toSorted((a, b) => (a.rule < b.rule ? -1 : 1))]);
    expect(rulesOf(one)).toEqual(rulesOf(whole));
  }
  expect([null, {}, { atMs: 0, datasets: [{}] }, { atMs: 0, datasets: [null] }].map(isKeptSeries)).toEqual([false, false, false, false]);
});
