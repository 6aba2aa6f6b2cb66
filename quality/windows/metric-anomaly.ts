/** metric_anomaly: a number that is computed from the values of a window, beside the windows before. */
import { Decimal } from '../../core/expression/values.ts';
import { refuse } from '../gx/kwargs.ts';
import { Moment, type Present, Unusable } from '../states/cell.ts';
import type { Interval } from '../states/sketch.ts';
import { type Counts, type Encoded, listOf } from '../states/state.ts';
import { doubleOf } from '../states/sums.ts';
import { defineAggregate, type Observed } from './aggregate.ts';
import * as distinct from './distinct.ts';
import * as extremes from './extremes.ts';
import { remembering } from './memory.ts';
import * as presence from './presence.ts';
import * as ranks from './ranks.ts';
import { ANOMALY_KWARGS, anomalyOf, anomalyProperties, judgeAnomaly, medianOf } from './robust.ts';
import * as sums from './sums.ts';
import { rowsOf } from './words.ts';

const METRICS = {
  mean: sums.mean.observed,
  sum: sums.sum.observed,
  stdev: sums.stdev.observed,
  median: ranks.median.observed,
  min: extremes.min.observed,
  max: extremes.max.observed,
  null_rate: presence.nullRate.observed,
  distinct_count: distinct.distinctCount.observed,
  unique_proportion: distinct.uniqueProportion.observed,
} as const satisfies Readonly<Record<string, Observed>>;

const NAMES = Object.keys(METRICS);
/** p99 and p99.9, as `quantiles` has them. */
const QUANTILE = '^p(100|\\d{1,2}(\\.\\d+)?)$';
/** What these are is a value of some row, or lies between two; as quantiles are. */
const OF_VALUES: ReadonlySet<string> = new Set(['median', 'min', 'max']);

function isMetric(name: string): name is keyof typeof METRICS {
  return Object.hasOwn(METRICS, name);
}

function observedOf(metric: string): Observed {
  if (isMetric(metric)) return METRICS[metric];
  if (!new RegExp(QUANTILE).test(metric)) return refuse('metric', `is none of ${NAMES.join(', ')}, and no quantile`, 'Write mean, or p95.');
  return ranks.quantileObserved(Number(`${metric.slice(1)}e-2`));
}

export const metricAnomaly = defineAggregate({
  name: 'metric_anomaly',
  takes: ['metric', ...ANOMALY_KWARGS],
  word: {
    name: 'metric_anomaly',
    on: 'column',
    level: 'window',
    schema: {
      title: 'Unusual number',
      description: `A metric of the column (${NAMES.join(', ')}, or a quantile such as p95) is as expected by [the windows before](windows.md#windows-beside-those-before): their median, give or take \`sensitivity\` deviations.`,
      type: 'object',
      additionalProperties: false,
      required: ['metric'],
      properties: {
        metric: {
          title: 'Metric',
          description: 'What is computed from the values; a quantile as p95 or p99.9.',
          anyOf: [{ enum: NAMES }, { type: 'string', pattern: QUANTILE }],
        },
        ...anomalyProperties,
      },
    },
    kwargs: (parameters) => parameters as Readonly<Record<string, unknown>>,
    example: {
      rule: 'total: [{ metric_anomaly: { metric: mean, sensitivity: 4 } }]',
      after: { windows: 10, rows: rowsOf('total', 10, 12) },
      passes: rowsOf('total', 10, 12),
      fails: rowsOf('total', 100, 120),
    },
  },
  window: (kwargs) => {
    const metric = kwargs.text('metric');
    const anomaly = anomalyOf(kwargs);
    const { kind, observe, sketch } = observedOf(metric);
    const check = remembering({
      asked: anomaly.past,
      id: metric,
      traceSize: 40,
      kind,
      trace: (state, counts) => traceOf(observe(state, counts), counts),
      ...(sketch !== null && {
        sketch: {
          kind: sketch.kind,
          trace: (own: Parameters<typeof sketch.observe>[0], counts: Counts) => traceOf(estimate(sketch.observe(own, counts)), counts),
        },
      }),
      judge: (trace, past) => {
        const [value, rows] = numbersOf(trace);
        const before = past.map((one) => numbersOf(one)[0]);
        return judgeAnomaly(anomaly, value, before, metric === 'null_rate' ? chanceOf(medianOf(before), rows) : 0);
      },
    });
    return { ...check, showsValues: OF_VALUES.has(metric) || !isMetric(metric) };
  },
});

const estimate = (interval: Interval | null): Present | null => interval?.estimate ?? null;

/** The number, and the rows that it is of. */
function traceOf(observed: Present | null, { rows }: Counts): Encoded | null {
  if (observed === null) return null;
  if (observed instanceof Moment || typeof observed === 'string' || (typeof observed === 'object' && !(observed instanceof Decimal)))
    throw new Unusable('column holds no numbers, and this metric of it is none.');
  const value = doubleOf(observed);
  return Number.isFinite(value) ? [value, rows] : null;
}

function numbersOf(trace: Encoded): readonly [number, number] {
  const [value, rows] = listOf(trace);
  return [Number(value), Number(rows)];
}

/** How far a share is off by chance in so many rows: one null among three is none to tell of. A share that never was stands for half a row in all. */
function chanceOf(share: number, rows: number): number {
  const likely = (share * rows + 0.5) / (rows + 1);
  return Math.sqrt((likely * (1 - likely)) / rows);
}
