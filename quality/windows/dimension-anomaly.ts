/** dimension_anomaly: how many rows each value of a column has, beside the windows before. */
import { keyOf, type Present } from '../states/cell.ts';
import type { Encoded } from '../states/state.ts';
import { type ValueCounts, valueCounts } from '../states/value-counts.ts';
import { defineAggregate } from './aggregate.ts';
import type { Verdict } from './check.ts';
import { remembering } from './memory.ts';
import { ANOMALY_KWARGS, type Anomaly, anomalyOf, anomalyProperties, judgeAnomaly, medianOf } from './robust.ts';
import { countsOfTraces, encodeCategories, VALUE_SIZE } from './rolling.ts';
import { rowsOf } from './words.ts';

/** Of a window the values that most rows have are remembered; with more of them two weeks of windows of five minutes would have no room. */
const VALUES_MAX = 100;
const SHOWN_MAX = 20;

/** The rows of a value in one window; null where that is not known, among those that were not remembered. */
type CountOf = (cell: Present) => number | null;

function countOf(trace: Encoded): CountOf {
  const { named, others } = countsOfTraces([trace]);
  const counts = new Map(named.map(({ cell, count }) => [keyOf(cell), count]));
  return (cell) => counts.get(keyOf(cell)) ?? (others > 0 ? null : 0);
}

interface Off {
  readonly cell: Present;
  readonly distance: number;
  readonly why: string;
}

function judgeAll(anomaly: Anomaly, trace: Encoded, past: readonly Encoded[]): Verdict {
  const [now, before] = [countOf(trace), past.map(countOf)];
  const values = countsOfTraces([...past, trace]).named.map(({ cell }) => cell);
  const off = values.flatMap((cell) => offOf(anomaly, cell, now, before)).sort((a, b) => b.distance - a.distance);
  const [farthest] = off;
  return {
    success: farthest === undefined,
    observed: off.slice(0, SHOWN_MAX).map(({ cell }) => cell),
    why:
      farthest === undefined
        ? `its ${values.length} values have as many rows as expected by ${past.length} windows before it`
        : `${off.length} of its ${values.length} values have other numbers of rows than expected; the farthest ${farthest.why}`,
  };
}

function offOf(anomaly: Anomaly, cell: Present, now: CountOf, before: readonly CountOf[]): readonly Off[] {
  const count = now(cell);
  const past = before.map((of) => of(cell)).filter((known) => known !== null);
  if (count === null || past.length < anomaly.past.minWindows) return [];
  const middle = medianOf(past);
  // By chance alone counts are off by their root (Poisson): one row more of a value that has few is none to tell of.
  const { success, why = '' } = judgeAnomaly(anomaly, count, past, Math.sqrt(middle + 0.5));
  return success === true ? [] : [{ cell, distance: Math.abs(count - middle), why: `has ${count.toLocaleString('en-US')}, and ${why}` }];
}

export const dimensionAnomaly = defineAggregate({
  name: 'dimension_anomaly',
  takes: ANOMALY_KWARGS,
  word: {
    name: 'dimension_anomaly',
    on: 'column',
    level: 'window',
    schema: {
      title: 'Unusual rows of a value',
      description: `Each value of the column has as many rows as expected by [the windows before](windows.md#windows-beside-those-before): their median, give or take \`sensitivity\` deviations. Values that are new or gone are judged too. Of each window the ${VALUES_MAX} values that most rows have are known.`,
      anyOf: [{ const: true }, { type: 'object', additionalProperties: false, properties: anomalyProperties }],
    },
    kwargs: (parameters) => (parameters === true ? {} : (parameters as Readonly<Record<string, unknown>>)),
    example: {
      rule: 'status: [{ dimension_anomaly: { baseline: 7d } }]',
      after: { windows: 10, rows: rowsOf('status', 'new', 'new', 'new', 'new', 'paid', 'paid') },
      passes: rowsOf('status', 'new', 'new', 'new', 'paid', 'paid', 'paid'),
      fails: rowsOf('status', 'gone', 'gone', 'gone', 'gone', 'paid', 'paid'),
    },
  },
  window: (kwargs) => {
    const anomaly = anomalyOf(kwargs);
    const check = remembering({
      asked: anomaly.past,
      id: 'values',
      traceSize: VALUES_MAX * VALUE_SIZE,
      kind: valueCounts,
      trace: (state: ValueCounts) => (state.total === 0 ? null : encodeCategories(state, VALUES_MAX)),
      judge: (trace, past) => judgeAll(anomaly, trace, past),
    });
    return { ...check, showsValues: true, saysCounts: true };
  },
});
