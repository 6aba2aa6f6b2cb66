/** late_ratio: what share of the rows comes out of order by more than is allowed. */
import { durationSchema as duration } from '../../core/duration.ts';
import { millis } from '../live/check.ts';
import { type ClockExpectation, isOver } from './check.ts';
import { minRowsSchema, shareRule } from './counting.ts';

export const lateRatio: ClockExpectation = {
  name: 'late_ratio',
  schema: {
    type: 'object',
    title: 'Late rows',
    description:
      'Of the rows that came within over, no greater share than max was late: more than by older than the newest row that had come in its lane, by source.event_time (a column: by commit, no row of a lane is). Every insert and update of the log counts.',
    additionalProperties: false,
    required: ['max'],
    properties: {
      max: { type: 'number', minimum: 0, exclusiveMaximum: 1, description: 'The greatest share of late rows, such as 0.01.' },
      by: { ...duration, default: '30s', description: 'How much older than the newest row a late one is, such as 30s.' },
      over: { ...duration, default: '1h', description: 'How far back it looks: 1m to 1d.' },
      min_rows: minRowsSchema(100),
    },
  },
  example: {
    rule: '- late_ratio: { max: 0.25, by: 1m, min_rows: 4 }',
    passes: { lags: ['0s', '10s', '2m', '1m'] },
    fails: { lags: ['0s', '61s', '2m', '1m'] },
  },
  bind: ({ max, by = '30s', over = '1h', min_rows: minRows = 100 }, refuse) => {
    const [byMs, overMs] = [millis(by) ?? 0, millis(over) ?? 0];
    if (!isOver(overMs, refuse)) return null;
    return shareRule(
      { overMs, isBad: ({ behindMs }) => behindMs > byMs },
      max as number, // These are as the schema has them.
      minRows as number,
      (bad, rows) => `${bad} of ${rows} rows came more than ${byMs / 1000} s after a newer one`,
    );
  },
};
