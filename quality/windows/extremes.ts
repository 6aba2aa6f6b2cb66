/** min and max: the least and the greatest value of a window. */
import { extremes } from '../states/extremes.ts';
import { defineMetric } from './aggregate.ts';
import { metricWord, rowsOf } from './words.ts';

export const min = defineMetric({
  name: 'expect_column_min_to_be_between',
  word: metricWord('min', 'Minimum', 'The least value of the window lies between bounds.', {
    rule: 'total: [{ min: { between: [0, 10] } }]',
    passes: rowsOf('total', 5, 20),
    fails: rowsOf('total', -1, 20),
  }),
  kind: extremes,
  observe: ({ least }) => least,
  ofTexts: true,
});

export const max = defineMetric({
  name: 'expect_column_max_to_be_between',
  word: metricWord('max', 'Maximum', 'The greatest value of the window lies between bounds.', {
    rule: 'total: [{ max: { max: 100 } }]',
    passes: rowsOf('total', 5, 100),
    fails: rowsOf('total', 5, 101),
  }),
  kind: extremes,
  observe: ({ greatest }) => greatest,
  ofTexts: true,
});
