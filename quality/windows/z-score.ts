/**
 * z_score over a window: the share of values that lie within so many standard deviations of a mean. Both are of the values of the window itself (`baseline: this`), or of
 * all values of the windows before it.
 */
import { type Kwargs, refuse } from '../gx/kwargs.ts';
import { Moment, type Present, Unusable } from '../states/cell.ts';
import { type Ranks, ranks } from '../states/ranks.ts';
import { spread, type Spread } from '../states/spread.ts';
import { type Encoded, listOf } from '../states/state.ts';
import { doubleOf, Sums } from '../states/sums.ts';
import { onlyNumbers } from './aggregate.ts';
import { baselineOf, remembering } from './memory.ts';
import { between, sketched, type Verdict, type WindowCheck, windowCheck } from './check.ts';

export interface ZScores {
  readonly threshold: number;
  readonly isDoubleSided: boolean;
}

/** As Great Expectations has it: whether values below the mean count has to be said. */
export function ownZScoresOf(kwargs: Kwargs): ZScores {
  if (!kwargs.has('double_sided')) refuse('double_sided', 'is missing', 'Write true, or false where values below the mean always pass.');
  return zScoresOf(kwargs);
}

function zScoresOf(kwargs: Kwargs): ZScores {
  return { threshold: kwargs.number('threshold'), isDoubleSided: kwargs.flag('double_sided', true) };
}

/** Whether a value is near enough. What has no score (of one value, of values that are all the same) is not. */
export function isUnder({ threshold, isDoubleSided }: ZScores, { mean, deviation }: Center): (value: number) => boolean {
  return (value) => {
    const score = (value - mean) / deviation;
    return isDoubleSided ? Math.abs(score) < Math.abs(threshold) : score < threshold;
  };
}

/** What the values lie around. */
export interface Center {
  readonly mean: number;
  readonly deviation: number;
}

export function centerOf({ mean, deviation }: Sums): Center {
  if (mean instanceof Moment) throw new Unusable('column holds dates, and only numbers have z-scores.');
  return { mean: Number(mean), deviation: deviation ?? NaN };
}

export function zScoreWindow(kwargs: Kwargs): WindowCheck {
  const scores = ownZScoresOf(kwargs);
  const mostly = kwargs.share('mostly', 1);
  const judge = (sums: Sums, found: (center: Center) => Found): Verdict =>
    sums.count === 0 ? { success: true, observed: null } : judged(found, centerOf(sums), mostly);
  return windowCheck(
    onlyNumbers(ranks, 'z-score'),
    (state: Ranks) => judge(sumsOf(state), (center) => exactly(state, isUnder(scores, center))),
    sketched(spread, (sketch: Spread) => judge(sketch.sums, (center) => estimated(sketch, scores, center))),
  );
}

/** Windows before it that there have to be, where a rule does not say. */
const MIN_WINDOWS = 3;

export function zScoreBesideOthers(kwargs: Kwargs): WindowCheck {
  const scores = zScoresOf(kwargs);
  const mostly = kwargs.share('mostly', 1);
  return remembering({
    // One value that is far off would widen what is near enough to all after it: such windows are not learnt from.
    asked: { ...baselineOf(kwargs, MIN_WINDOWS), learns: kwargs.oneOf('learn', ['passed', 'all'], 'passed') },
    id: 'spread',
    traceSize: 80,
    kind: onlyNumbers(ranks, 'z-score'),
    trace: (state: Ranks) => traceOf(sumsOf(state)),
    sketch: { kind: spread, trace: ({ sums }: Spread) => traceOf(sums) },
    judge: (_, past, { state, sketch }) => {
      const { center, count } = centerOfTraces(past);
      const found = state === null ? estimated(sketch, scores, center) : exactly(state, isUnder(scores, center));
      const { why = held(count, past.length), known, ...said } = judged(() => found, center, mostly, NO_SCORES_BEFORE);
      return { ...said, why: sketch === null || known === undefined ? why : `${known}, ${why}` };
    },
  });
}

const held = (values: number, windows: number): string =>
  `held against the mean and deviation of ${values.toLocaleString('en-US')} values of ${windows} windows before it`;

/** How many, their mean, and the sum of the squares of their distances from it. */
function traceOf(sums: Sums): Encoded | null {
  const { mean, deviation } = centerOf(sums);
  if (sums.count === 0 || !Number.isFinite(mean)) return null;
  return [sums.count, mean, sums.count < 2 ? 0 : deviation ** 2 * (sums.count - 1)];
}

/** Of all values of several windows, from what is known of each window (Chan, Golub, LeVeque 1979). */
function centerOfTraces(traces: readonly Encoded[]): { readonly center: Center; readonly count: number } {
  const parts = traces.map((trace) => {
    const [count, mean, squares] = listOf(trace).map(Number);
    return { count: count ?? 0, mean: mean ?? 0, squares: squares ?? 0 };
  });
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  // By what they differ from the first: where all are the same, the mean is that one, and nothing is lost in computing it.
  const { mean: first = 0 } = parts[0] ?? {};
  const mean = first + parts.reduce((sum, part) => sum + part.count * (part.mean - first), 0) / count;
  const squares = parts.reduce((sum, part) => sum + part.squares + part.count * (part.mean - mean) ** 2, 0);
  return { center: { mean, deviation: Math.sqrt(squares / (count - 1)) }, count };
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
  /** Of so many. */
  readonly count: number;
}

function exactly(values: Ranks, isIn: (value: number) => boolean): Found {
  let [found, count] = [0, 0];
  values.each((cell: Present, times) => {
    count += times;
    if (isIn(doubleOf(cell))) found += times;
  });
  return { low: found, high: found, estimate: found, count };
}

function estimated({ sums: { count }, cells }: Spread, scores: ZScores, center: Center): Found {
  const { low, high, estimate } = cells.outside(isUnder(scores, center), scores.isDoubleSided ? center.mean : -Infinity);
  return { low: count - high, high: count - low, estimate: count - estimate, count };
}

const NO_SCORES = 'its values have no standard deviation: they are fewer than two, all the same, or not finite';
const NO_SCORES_BEFORE = 'the values of the windows before it have no standard deviation: they are fewer than two, or all the same';

/** Over a file values without scores fail, as Great Expectations has it; of a window that has them nothing can be said. */
function judged(underOf: (center: Center) => Found, center: Center, mostly: number, otherwise = NO_SCORES): Verdict {
  if (!(center.deviation > 0)) return { success: null, observed: null, why: otherwise };
  const { low, high, estimate, count } = underOf(center);
  const shares = { low: low / count, high: high / count, estimate: estimate / count };
  const success = shares.low >= mostly ? true : shares.high < mostly ? false : null;
  return { success, observed: shares.estimate, known: `${between(shares)} of the values are near enough` };
}
