/** The arithmetic of service levels, against one with whole numbers over every row by itself. */
import { expect, test } from 'vitest';
import type { BurnRule, Objective } from '../../core/slo.ts';
import { promiseText, reportOf, spansOf } from '../../ops/slo.ts';
import { Random } from '../support/random.ts';

const SEED = 20_260_801;
const MINUTE = 60_000;

const objective = (percent: number, burns: readonly BurnRule[] = [], minCount = 1): Objective => ({
  id: 'rows',
  percent,
  of: 'rows',
  rules: [],
  counted: 'rows',
  maxAgeMs: null,
  overMs: 28 * 1440 * MINUTE,
  burns,
  minCount,
});

/** Percentages and rates as whole numbers: of hundredths of a percent, and of tenths. */
function oracle(rows: readonly { readonly agoMs: number; readonly isBad: boolean }[], hundredths: number, spanMs: number) {
  const counted = rows.filter(({ agoMs }) => agoMs <= spanMs);
  const total = BigInt(counted.length);
  const bad = BigInt(counted.filter(({ isBad }) => isBad).length);
  const allowed = BigInt(10_000 - hundredths);
  return {
    total: counted.length,
    /** bad / total ≥ tenths / 10 × allowed / 10,000 */
    reaches: (tenths: number) => total > 0n && bad * 10n * 10_000n >= total * BigInt(tenths) * allowed,
    breaks: bad * 10_000n > total * allowed,
    mayHaveBad: total * allowed >= 10_000n,
  };
}

test(`budgets and burn rates are those of whole numbers, to the row (seed ${SEED})`, () => {
  const random = new Random(SEED);
  const seen = { burning: 0, broken: 0, quiet: 0 };
  for (let round = 0; round < 300; round++) {
    const hundredths = [9990, 9900, 9950, 9500, 9999, 5000][random.below(6)] ?? 0;
    const overMs = 28 * 1440 * MINUTE;
    const badShare = random.chance(0.3) ? 0 : random.next() ** 4;
    const burst = random.chance(0.5) ? 0 : random.next();
    const rows = Array.from({ length: random.below(600) }, () => {
      const agoMs = Math.floor(random.next() ** 3 * overMs * 1.2);
      return { agoMs, isBad: random.chance(agoMs < 3_600_000 ? Math.max(badShare, burst) : badShare) };
    });
    const burns = Array.from({ length: 1 + random.below(3) }, () => {
      const longMs = (1 + random.below(4000)) * MINUTE;
      return { longMs, shortMs: Math.ceil(longMs / (1 + random.below(12))), rate: (1 + random.below(150)) / 10, page: random.chance(0.5) };
    });
    const minCount = 1 + random.below(50);
    const promised = objective(hundredths / 100, burns, minCount);
    const counts = spansOf(promised).map((spanMs) => {
      const counted = rows.filter(({ agoMs }) => agoMs <= spanMs);
      const bad = counted.filter(({ isBad }) => isBad).length;
      return { good: counted.length - bad, bad };
    });
    const report = reportOf(promised, counts);
    const all = oracle(rows, hundredths, overMs);
    expect(report.good + report.bad).toBe(all.total);
    for (const [i, { rate, longMs, shortMs }] of burns.entries()) {
      const [long, short] = [oracle(rows, hundredths, longMs), oracle(rows, hundredths, shortMs)];
      const tenths = Math.round(rate * 10);
      expect(report.burns[i]?.isBurning, `round ${round}, rate ${rate}`).toBe(
        long.total >= minCount && long.reaches(tenths) && short.reaches(tenths),
      );
    }
    const broken = all.breaks && all.mayHaveBad && all.total >= minCount;
    const burning = report.burns.some(({ isBurning }) => isBurning);
    expect(report.troubles.map(({ cause }) => cause)).toEqual([...(burning ? ['burn'] : []), ...(broken ? ['budget'] : [])]);
    seen.burning += Number(burning);
    seen.broken += Number(broken);
    seen.quiet += Number(!broken && !burning);
  }
  // Each of them has been tried, and not by chance alone.
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(20);
});

test('a promise that is just kept is kept, and one bad row more breaks it', () => {
  const of = (bad: number) => reportOf(objective(99.9), [{ good: 10_000 - bad, bad }]);
  expect([of(0).budgetLeft, of(5).budgetLeft, of(10).budgetLeft, of(11).budgetLeft]).toEqual([1, 0.5, 0, -0.1]);
  expect(of(10).troubles).toEqual([]);
  expect(of(11).troubles).toMatchObject([
    { cause: 'budget', severity: 'critical', message: '99.9 % of rows over 28d is not kept: more was bad than it allows' },
  ]);
});

test('of few rows nothing is said: not before one of them may be bad, nor below min_count', () => {
  expect(reportOf(objective(99.9), [{ good: 500, bad: 1 }]).troubles).toEqual([]);
  const burns = [{ longMs: 3_600_000, shortMs: 300_000, rate: 14.4, page: true }];
  const of = (good: number) =>
    reportOf(objective(99.9, burns, 100), [
      { good: 0, bad: 0 },
      { good, bad: 5 },
      { good: 0, bad: 1 },
    ]).troubles.map(({ cause }) => cause);
  expect([of(94), of(95)]).toEqual([[], ['burn']]);
  expect(reportOf(objective(99.9, burns), []).burns).toMatchObject([{ long: null, short: null, isBurning: false }]);
});

test('a page wins over a ticket, and the promise is said in words', () => {
  const burns = [
    { longMs: 3 * 1440 * MINUTE, shortMs: 360 * MINUTE, rate: 1, page: false },
    { longMs: 60 * MINUTE, shortMs: 5 * MINUTE, rate: 2, page: true },
  ];
  const bad = { good: 0, bad: 10 };
  expect(reportOf(objective(50, burns), [bad, bad, bad, bad, bad]).troubles[0]).toEqual({
    cause: 'burn',
    severity: 'critical',
    message: 'the budget of 50 % of rows over 28d is used up 2 times too fast or more, over 1h and over 5m',
  });
  expect(promiseText({ percent: 99.5, of: 'minutes', rules: ['fresh'], overMs: 90 * MINUTE })).toBe(
    '99.5 % of minutes fresh (fresh) over 90m',
  );
});
