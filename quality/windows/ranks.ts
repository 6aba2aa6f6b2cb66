/** median and quantiles. */
import { compareCells, Moment, momentAt, type Present, Unusable } from '../states/cell.ts';
import { type Kwargs, refuse } from '../gx/kwargs.ts';
import { type QuantileSketch, quantileSketch } from '../states/quantile-sketch.ts';
import { type Ranks, ranks } from '../states/ranks.ts';
import type { Interval } from '../states/sketch.ts';
import { doubleOf } from '../states/sums.ts';
import { defineAggregate, defineMetric, type Observed, onlyNumbers } from './aggregate.ts';
import { between as betweenText, sketched, type Verdict, windowCheck } from './check.ts';
import { metricWord, rowsOf } from './words.ts';

export const median = defineMetric({
  name: 'expect_column_median_to_be_between',
  word: metricWord('median', 'Median', 'The median of the values lies between bounds.', {
    rule: 'total: [{ median: { between: [2, 3] } }]',
    passes: rowsOf('total', 1, 2, 90),
    fails: rowsOf('total', 1, 1, 90),
  }),
  kind: onlyNumbers(ranks, 'median'),
  observe: (state) => medianOf(state.sorted()),
  sketch: { kind: quantileSketch, observe: (sketch) => quantileWithin(sketch, 0.5, 'midpoint') },
});

function medianOf(sorted: ArrayLike<Present>): Present | null {
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  if (low === undefined || high === undefined) return null;
  return between(low, high, 0.5);
}

/** A value so far between two others. */
function between(low: Present, high: Present, share: number): Present {
  if (share === 0 || compareCells(low, high) === 0) return low;
  if (low instanceof Moment && high instanceof Moment)
    return momentAt(BigInt(Math.round(Number(low.micros) + (Number(high.micros) - Number(low.micros)) * share)));
  if (typeof low === 'string' || typeof high === 'string') throw new Unusable('column holds texts, and nothing lies between two of them.');
  const [a, b] = [doubleOf(low), doubleOf(high)];
  return share === 0.5 ? (a + b) / 2 : a + (b - a) * share;
}

/** A quantile as a number of a window. */
export function quantileObserved(level: number): Observed {
  const observed = {
    kind: onlyNumbers(ranks, 'quantile'),
    observe: (state: Ranks) => quantileOf(state.sorted(), level, 'nearest'),
    sketch: { kind: quantileSketch, observe: (sketch: QuantileSketch) => quantileWithin(sketch, level, 'nearest') },
  };
  return observed as unknown as Observed; // As for `defineMetric`.
}

const INTERPOLATIONS = ['linear', 'lower', 'higher', 'midpoint', 'nearest'] as const;
type Interpolation = (typeof INTERPOLATIONS)[number];

export const quantiles = defineAggregate({
  name: 'expect_column_quantile_values_to_be_between',
  takes: ['quantile_ranges', 'allow_relative_error'],
  word: {
    name: 'quantiles',
    on: 'column',
    level: 'window',
    schema: {
      title: 'Quantiles',
      description: 'Each quantile lies between its bounds: `p50: [10, 80]`, where null is open. p50 is the median, p99.9 is written so.',
      type: 'object',
      minProperties: 1,
      additionalProperties: false,
      patternProperties: {
        '^p(100|\\d{1,2}(\\.\\d+)?)$': { type: 'array', minItems: 2, maxItems: 2, items: { type: ['number', 'string', 'null'] } },
      },
    },
    kwargs: (parameters) => {
      const entries = Object.entries(parameters as Readonly<Record<string, unknown>>);
      // 99.9 / 100 is not the double nearest to 0.999.
      return {
        quantile_ranges: {
          quantiles: entries.map(([name]) => Number(`${name.slice(1)}e-2`)),
          value_ranges: entries.map(([, range]) => range),
        },
      };
    },
    example: {
      rule: 'total: [{ quantiles: { p50: [2, 3], p100: [null, 5] } }]',
      passes: rowsOf('total', 1, 2, 5),
      fails: rowsOf('total', 1, 2, 6),
    },
  },
  window: (kwargs) => {
    const { levels, ranges } = rangesOf(kwargs);
    const interpolation = interpolationOf(kwargs);
    const rangeAt = (at: number) => ranges[at] ?? OPEN;
    const sketch = sketched(quantileSketch, (state: QuantileSketch): Verdict => {
      const found = levels.map((level) => quantileWithin(state, level, interpolation));
      const details = found.map((interval, at) => (interval === null ? false : liesIn(interval, rangeAt(at), kwargs)));
      return {
        success: details.includes(false) ? false : details.includes(null) ? null : true,
        observed: { quantiles: levels, values: found.map((interval) => interval?.estimate ?? null) },
        known: found
          .map((interval, at) => `p${Number(`${levels[at] ?? 0}e2`)} ${interval === null ? 'unknown' : betweenText(interval)}`)
          .join(', '),
      };
    });
    return windowCheck(
      onlyNumbers(ranks, 'quantile'),
      (state: Ranks) => {
        const sorted = state.sorted();
        const values = levels.map((level) => quantileOf(sorted, level, interpolation));
        const details = values.map((value, at) => value !== null && isIn(value, rangeAt(at), kwargs));
        return { success: details.every(Boolean), observed: { quantiles: levels, values }, details: { success_details: details } };
      },
      sketch,
    );
  },
});

const OPEN: Range = [null, null];

type Range = readonly [Present | null, Present | null];

function rangesOf(kwargs: Kwargs): { readonly levels: readonly number[]; readonly ranges: readonly Range[] } {
  const written = kwargs.get('quantile_ranges');
  const { quantiles: levels, value_ranges: ranges } = (typeof written === 'object' && written !== null ? written : {}) as Readonly<
    Record<string, unknown>
  >;
  if (!Array.isArray(levels) || !Array.isArray(ranges))
    return refuse('quantile_ranges', 'lacks quantiles or value_ranges', 'Write {"quantiles": […], "value_ranges": [[low, high], …]}.');
  if (levels.length !== ranges.length)
    return refuse('quantile_ranges', 'has not as many value_ranges as quantiles', 'Give each quantile a range.');
  if (!levels.every((level) => typeof level === 'number' && level >= 0 && level <= 1))
    return refuse('quantile_ranges', 'holds a quantile that is not between 0 and 1', 'Write 0.5 for the median.');
  for (const range of ranges as unknown[]) {
    const isPair = Array.isArray(range) && range.length === 2 && range.every((side) => side === null || isBound(side));
    const [low, high] = (isPair ? range : []) as readonly (Present | null | undefined)[];
    if (!isPair || (typeof low === typeof high && low !== null && high !== null && low !== undefined && high !== undefined && low > high))
      return refuse('quantile_ranges', 'must consist of ordered pairs', 'Write each range as [least, greatest], null where it is open.');
    for (const side of [low, high]) if (typeof side === 'string') kwargs.date('quantile_ranges', side);
  }
  return { levels: levels as number[], ranges: ranges as Range[] };
}

function isBound(side: unknown): boolean {
  return typeof side === 'number' || typeof side === 'bigint' || typeof side === 'string' || side instanceof Moment;
}

/** false, the default: the nearest of the values. A number or true allow an error that is not needed here. */
function interpolationOf(kwargs: Kwargs): Interpolation {
  const written = kwargs.get('allow_relative_error');
  if (written === null || typeof written === 'boolean' || (typeof written === 'number' && written >= 0 && written <= 1)) return 'nearest';
  return kwargs.oneOf('allow_relative_error', INTERPOLATIONS, 'nearest');
}

export function quantileOf(sorted: ArrayLike<Present>, level: number, interpolation: Interpolation): Present | null {
  const place = level * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  if (low === undefined || high === undefined) return null;
  switch (interpolation) {
    case 'lower':
      return low;
    case 'higher':
      return high;
    case 'midpoint':
      return between(low, high, 0.5);
    case 'linear':
      return between(low, high, place - Math.floor(place));
    case 'nearest':
      return sorted[roundHalfEven(place)] ?? null;
  }
}

/** The same of values that are known to lie in intervals: what is computed of two of them grows with each. */
function quantileWithin(sketch: QuantileSketch, level: number, interpolation: Interpolation): Interval | null {
  const place = level * (sketch.count - 1);
  const [below = null, above = null, nearest = null] = sketch.at([Math.floor(place), Math.ceil(place), roundHalfEven(place)]);
  if (below === null || above === null) return null;
  const mixed = (share: number): Interval => ({
    low: between(below.low, above.low, share),
    high: between(below.high, above.high, share),
    estimate: between(below.estimate, above.estimate, share),
  });
  switch (interpolation) {
    case 'lower':
      return below;
    case 'higher':
      return above;
    case 'midpoint':
      return mixed(0.5);
    case 'linear':
      return mixed(place - Math.floor(place));
    case 'nearest':
      return nearest;
  }
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** A value at a bound passes even where it was rounded on the way. */
const TOLERANCE = 1e-4;

function isIn(value: Present, [low, high]: Range, kwargs: Kwargs): boolean {
  const sides = [low, high].map((side) => (typeof side === 'string' ? kwargs.date('quantile_ranges', side) : side));
  return sides.every(
    (side, at) => side === null || isClose(value, side) || (at === 0 ? compareCells(value, side) >= 0 : compareCells(value, side) <= 0),
  );
}

function liesIn({ low, high }: Interval, [least, greatest]: Range, kwargs: Kwargs): boolean | null {
  if (!isIn(high, [least, null], kwargs) || !isIn(low, [null, greatest], kwargs)) return false;
  return isIn(low, [least, greatest], kwargs) && isIn(high, [least, greatest], kwargs) ? true : null;
}

function isClose(value: Present, side: Present): boolean {
  if (value instanceof Moment || side instanceof Moment) return false;
  const [a, b] = [doubleOf(value), doubleOf(side)];
  return Math.abs(a - b) <= 1e-8 + TOLERANCE * Math.abs(b);
}
