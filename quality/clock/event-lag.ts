/** event_lag: how long after they happened rows come. */
import { durationSchema as duration } from '../../core/duration.ts';
import { millis } from '../live/check.ts';
import { type ClockExpectation, isOver } from './check.ts';
import { minRowsSchema, shareRule } from './counting.ts';

export const eventLag: ClockExpectation = {
  name: 'event_lag',
  schema: {
    type: 'object',
    title: 'Event lag',
    description:
      'Of the rows that came within over, nearly all (mostly) came no later than max after they happened, by source.event_time: 0.99 bounds the 99th percentile of the lag. Every insert and update of the log counts, by the clock of the gate.',
    additionalProperties: false,
    required: ['max'],
    properties: {
      max: { ...duration, description: 'The greatest lag, such as 30s.' },
      mostly: {
        type: 'number',
        exclusiveMinimum: 0,
        maximum: 1,
        default: 0.99,
        description: 'The share of rows that has to come in that time.',
      },
      over: { ...duration, default: '5m', description: 'How far back it looks: 1m to 1d.' },
      min_rows: minRowsSchema(20),
    },
  },
  example: {
    rule: '- event_lag: { max: 30s, mostly: 0.9, min_rows: 4 }',
    passes: { lags: ['1s', '2s', '29s', '30s'] },
    fails: { lags: ['1s', '2s', '31s', '2s', '5s'] },
  },
  bind: ({ max, mostly = 0.99, over = '5m', min_rows: minRows = 20 }, refuse) => {
    const [maxMs, overMs] = [millis(max) ?? 0, millis(over) ?? 0];
    if (!isOver(overMs, refuse)) return null;
    return shareRule(
      { overMs, isBad: ({ lagMs }) => lagMs > maxMs },
      1 - (mostly as number), // These are as the schema has them.
      minRows as number,
      (bad, rows) => `${bad} of ${rows} rows came more than ${maxMs / 1000} s after they happened`,
    );
  },
};
