/** z_score over a window: the share of values that lie within so many standard deviations of the mean of all of them. */
import type { Kwargs } from '../gx/kwargs.ts';
import { Moment, type Present, Unusable } from '../states/cell.ts';
import { type Ranks, ranks } from '../states/ranks.ts';
import { spread, type Spread } from '../states/spread.ts';
import { doubleOf, Sums } from '../states/sums.ts';
import { onlyNumbers } from './aggregate.ts';
import { between, sketched, type Verdict, type WindowCheck, windowCheck } from './check.ts';

export interface ZScores {
  readonly threshold: number;
  readonly isDoubleSided: boolean;
}

export function zScoresOf(kwargs: Kwargs): ZScores {
  return { threshold: kwargs.number('threshold'), isDoubleSided: kwargs.flag('double_sided', true) };
}

/** Whether a value is near enough. What has no score (of one value, of values that are all the same) is not. */
export function isUnder({ threshold, isDoubleSided }: ZScores, { mean, deviation }: Center): (value: number) => boolean {
  return (value) => {
    const score = (value - mean) / deviation;
    return isDoubleSided ? Math.abs(score) < Math.abs(threshold) : score < threshold;
  };
}

export interface Center {
  readonly mean: number;
  readonly deviation: number;
}

export function centerOf({ mean, deviation }: Sums): Center {
  if (mean instanceof Moment) throw new Unusable('column holds dates, and only numbers have z-scores.');
  return { mean: Number(mean), deviation: deviation ?? NaN };
}

export function zScoreWindow(kwargs: Kwargs): WindowCheck {
  const scores = zScoresOf(kwargs);
  const mostly = kwargs.share('mostly', 1);
  return windowCheck(
    onlyNumbers(ranks, 'z-score'),
    (state: Ranks) => judge(sumsOf(state), (center) => exactly(state, isUnder(scores, center)), mostly),
    sketched(spread, ({ sums, cells }: Spread) =>
      judge(
        sums,
        (center) => {
          const { low, high, estimate } = cells.outside(isUnder(scores, center), scores.isDoubleSided ? center.mean : -Infinity);
          return { low: sums.count - high, high: sums.count - low, estimate: sums.count - estimate };
        },
        mostly,
      ),
    ),
  );
}

function sumsOf(values: Ranks): Sums {
  const sums = new Sums();
  values.each((cell, times) => (times > 0 ? sums.add(cell) : sums.retract(cell)));
  return sums;
}

interface Found {
  readonly low: number;
  readonly high: number;
  readonly estimate: number;
}

function exactly(values: Ranks, isIn: (value: number) => boolean): Found {
  let found = 0;
  values.each((cell: Present, times) => (found += isIn(doubleOf(cell)) ? times : 0));
  return { low: found, high: found, estimate: found };
}

const NO_SCORES = 'its values have no standard deviation: they are fewer than two, all the same, or not finite';

/** Over a file values without scores fail, as Great Expectations has it; of a window that has them nothing can be said. */
function judge(sums: Sums, underOf: (center: Center) => Found, mostly: number): Verdict {
  const { count } = sums;
  if (count === 0) return { success: true, observed: null };
  const center = centerOf(sums);
  if (!(center.deviation > 0)) return { success: null, observed: null, why: NO_SCORES };
  const { low, high, estimate } = underOf(center);
  const shares = { low: low / count, high: high / count, estimate: estimate / count };
  const success = shares.low >= mostly ? true : shares.high < mostly ? false : null;
  return { success, observed: shares.estimate, known: `${between(shares)} of the values are near enough` };
}
