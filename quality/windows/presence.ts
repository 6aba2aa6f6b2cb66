/** null_rate, and the share of values that are there. */
import type { Present } from '../states/cell.ts';
import type { Counts } from '../states/state.ts';
import { defineMetric } from './aggregate.ts';
import { nothing } from './check.ts';
import { metricWord, rowsOf } from './words.ts';

export const nonNullRate = defineMetric({
  name: 'expect_column_proportion_of_non_null_values_to_be_between',
  word: metricWord('non_null_rate', 'Share of values', 'The share of rows that have a value lies between bounds from 0 to 1.', {
    rule: 'email: [{ non_null_rate: { min: 0.5 } }]',
    passes: rowsOf('email', 'a@b.c', null),
    fails: rowsOf('email', null, null),
  }),
  kind: nothing,
  observe: (_, counts) => share(counts.rows - counts.missing, counts),
});

export const nullRate = defineMetric({
  name: 'null_rate',
  word: metricWord('null_rate', 'Share of nulls', 'The share of rows without a value lies between bounds from 0 to 1.', {
    rule: 'email: [{ null_rate: { max: 0.5 } }]',
    passes: rowsOf('email', 'a@b.c', null),
    fails: rowsOf('email', null, null),
  }),
  kind: nothing,
  observe: (_, counts) => share(counts.missing, counts),
});

function share(part: number, { rows }: Counts): Present | null {
  return rows === 0 ? null : part / rows;
}
