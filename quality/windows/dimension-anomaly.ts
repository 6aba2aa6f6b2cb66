/** dimension_anomaly: how many rows each value of a column has, beside the windows before. */
import type { Present } from '../states/cell.ts';
import type { Encoded } from '../states/state.ts';
import { type ValueCounts, valueCounts } from '../states/value-counts.ts';
import { defineAggregate } from './aggregate.ts';
import type { Verdict } from './check.ts';
import { remembering } from './memory.ts';
import { ANOMALY_KWARGS, type Anomaly, anomalyOf, anomalyProperties, judgeAnomaly, medianOf } from './robust.ts';
import { addTo, byCount, type Counted, encodeCategories, VALUE_SIZE } from './rolling.ts';
import { rowsOf } from './words.ts';

/** Of a window the values that most rows have are remembered; with more of them two weeks of windows of five minutes would have no room. */
const VALUES_MAX = 100;
const SHOWN_MAX = 20;

/** What is known of one value. */
interface Sight {
  readonly cell: Present;
  /** Its rows in the window; null where it is not named there. */
  now: number | null;
  /** Its rows in each of the windows before that name it. */
  readonly before: number[];
  /** So many of those name all of their values. */
  inWhole: number;
  /** Its rows in all windows. */
  count: number;
}

interface Seen {
  readonly sights: ReadonlyMap<unknown, Sight>;
  /** Whether the window names all of its values, and how many of those before do. */
  readonly isWhole: boolean;
  readonly wholes: number;
}

/** In one pass: of a column of many values those of all windows together are some hundred thousand. */
function seenIn(trace: Encoded, past: readonly Encoded[]): Seen {
  const sights = new Map<unknown, Sight>();
  let wholes = 0;
  for (const one of past) {
    const { counted, others } = valuesOf(one);
    if (others === 0) wholes++;
    for (const [key, { cell, count }] of counted) {
      const sight = sightOf(sights, key, cell);
      sight.before.push(count);
      if (others === 0) sight.inWhole++;
      sight.count += count;
    }
  }
  const { counted, others } = valuesOf(trace);
  for (const [key, { cell, count }] of counted) {
    const sight = sightOf(sights, key, cell);
    sight.now = count;
    sight.count += count;
  }
  return { sights, isWhole: others === 0, wholes };
}

function sightOf(sights: Map<unknown, Sight>, key: unknown, cell: Present): Sight {
  const known = sights.get(key);
  if (known !== undefined) return known;
  const sight = { cell, now: null, before: [], inWhole: 0, count: 0 };
  sights.set(key, sight);
  return sight;
}

function valuesOf(trace: Encoded): { readonly counted: ReadonlyMap<unknown, Counted>; readonly others: number } {
  const counted = new Map<unknown, Counted>();
  const others = addTo(counted, trace);
  return { counted, others };
}

interface Off extends Counted {
  readonly distance: number;
  readonly why: string;
}

function judgeAll(anomaly: Anomaly, trace: Encoded, past: readonly Encoded[]): Verdict {
  const seen = seenIn(trace, past);
  const found = [...seen.sights.values()].flatMap((sight) => offOf(anomaly, sight, seen));
  const off = byCount(found).sort((a, b) => b.distance - a.distance);
  const [farthest] = off;
  const values = seen.sights.size;
  return {
    success: farthest === undefined,
    observed: off.slice(0, SHOWN_MAX).map(({ cell }) => cell),
    why:
      farthest === undefined
        ? `its ${values} values have as many rows as expected by ${past.length} windows before it`
        : `${off.length} of its ${values} values have other numbers of rows than expected; the farthest ${farthest.why}`,
  };
}

/** In a window that does not name all of its values, it is not known how many rows those have that are not named. */
function offOf(anomaly: Anomaly, { cell, now, before, inWhole, count }: Sight, { isWhole, wholes }: Seen): readonly Off[] {
  const without = wholes - inWhole;
  if (now === null && !isWhole) return [];
  // Most windows before had none of it either. Of a column of many values these are nearly all, so that no list of their windows is made.
  if (now === null && without > before.length) return [];
  if (before.length + without < anomaly.past.minWindows) return [];
  const rows = now ?? 0;
  const past = [...before, ...Array.from({ length: without }, () => 0)];
  const middle = medianOf(past);
  // By chance alone counts are off by their root (Poisson): one row more of a value that has few is none to tell of.
  const { success, why = '' } = judgeAnomaly(anomaly, rows, past, Math.sqrt(middle + 0.5));
  return success === true
    ? []
    : [{ cell, count, distance: Math.abs(rows - middle), why: `has ${rows.toLocaleString('en-US')}, and ${why}` }];
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
