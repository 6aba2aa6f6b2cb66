/** volume_anomaly: how many rows there are, beside the windows before. */
import type { Counts, State } from '../states/state.ts';
import { nothing } from './check.ts';
import { defineAggregate } from './aggregate.ts';
import { remembering } from './memory.ts';
import { ANOMALY_KWARGS, anomalyOf, anomalyProperties, judgeAnomaly } from './robust.ts';

export const volumeAnomaly = defineAggregate({
  name: 'volume_anomaly',
  takes: ANOMALY_KWARGS,
  of: null,
  word: {
    name: 'volume_anomaly',
    on: 'row',
    level: 'window',
    schema: {
      title: 'Unusual number of rows',
      description:
        'The number of rows is as expected by [the windows before](windows.md#windows-beside-those-before): their median, give or take `sensitivity` deviations. Of groups that had rows, those that have none any more are judged too.',
      anyOf: [{ const: true }, { type: 'object', additionalProperties: false, properties: anomalyProperties }],
    },
    kwargs: (parameters) => (parameters === true ? {} : (parameters as Readonly<Record<string, unknown>>)),
    example: {
      rule: '- volume_anomaly: { baseline: 7d, direction: drop }',
      after: { windows: 10, rows: [{ id: 1 }, { id: 2 }, { id: 3 }] },
      passes: [{ id: 1 }, { id: 2 }, { id: 3 }],
      fails: [{ id: 1 }],
    },
  },
  window: (kwargs) => {
    const anomaly = anomalyOf(kwargs);
    return remembering<State, never>({
      asked: anomaly.past,
      id: 'rows',
      traceSize: 12,
      kind: nothing,
      trace: (_: State, { rows }: Counts) => rows,
      judge: (trace, past) => judgeAnomaly(anomaly, Number(trace), past.map(Number)),
      absent: 0,
    });
  },
});
