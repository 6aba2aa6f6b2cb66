/** sum, mean and stdev: exact, whatever the order of the rows. */
import { Moment, Unusable } from '../states/cell.ts';
import { type Sums, sums } from '../states/sums.ts';
import { defineMetric, onlyNumbers } from './aggregate.ts';
import { metricWord, rowsOf } from './words.ts';

export const sum = defineMetric({
  name: 'expect_column_sum_to_be_between',
  word: metricWord('sum', 'Sum', 'The values of the window add up to something between bounds.', {
    rule: 'total: [{ sum: { min: 10 } }]',
    passes: rowsOf('total', 4, 6),
    fails: rowsOf('total', 4, 5),
  }),
  kind: onlyNumbers(sums, 'sum'),
  observe: (state) => noMoments(state).sum,
});

export const mean = defineMetric({
  name: 'expect_column_mean_to_be_between',
  word: metricWord('mean', 'Mean', 'The mean of the values lies between bounds.', {
    rule: 'total: [{ mean: { between: [20, 200] } }]',
    passes: rowsOf('total', 10, 50),
    fails: rowsOf('total', 10, 20),
  }),
  kind: onlyNumbers(sums, 'mean'),
  observe: (state) => state.mean,
});

export const stdev = defineMetric({
  name: 'expect_column_stdev_to_be_between',
  word: metricWord('stdev', 'Standard deviation', 'The standard deviation of the values (of a sample: n - 1) lies between bounds.', {
    rule: 'total: [{ stdev: { max: 2 } }]',
    passes: rowsOf('total', 1, 2, 3),
    fails: rowsOf('total', 0, 10),
  }),
  kind: onlyNumbers(sums, 'standard deviation'),
  observe: (state) => noMoments(state).deviation,
});

function noMoments(state: Sums): Sums {
  if (state.mean instanceof Moment) throw new Unusable('column holds dates, which have no sum. Use min, max or mean.');
  return state;
}
