/** duplicates and compound_duplicates: the rows of a window whose values another row of it has as well, without the first of each. */
import type { GxExpectation } from '../gx/expectation.ts';
import { BOUNDS, type Kwargs, refuse } from '../gx/kwargs.ts';
import { hyperLogLog } from '../states/hyper-log-log.ts';
import { type ValueCounts, valueCounts } from '../states/value-counts.ts';
import { defineAggregate, intervalWithin, withinBounds } from './aggregate.ts';
import { sketched, type WindowCheck, windowCheck } from './check.ts';
import { boundsKwargs, boundsProperties, boundsSchema, given, rowsOf } from './words.ts';

const as = {
  enum: ['count', 'share'],
  default: 'count',
  description: 'Bounds are of the number of such rows, or of their share of the rows that have a value.',
} as const;

function windowOf(kwargs: Kwargs): WindowCheck {
  const own = kwargs.bounds();
  const isShare = kwargs.oneOf('as', as.enum, as.default) === 'share';
  const [test, testSketch] = [withinBounds(own, kwargs.nowMs), intervalWithin(own, kwargs.nowMs)];
  const shown = (repeated: number, total: number) => (!isShare ? repeated : total <= 0 ? 0 : repeated / total);
  return windowCheck(
    valueCounts,
    ({ total, distinct }: ValueCounts) => test(shown(total - distinct, total)),
    sketched(hyperLogLog, ({ total, distinct: { low, high, estimate } }) =>
      testSketch({ low: shown(total - high, total), high: shown(total - low, total), estimate: shown(total - estimate, total) }),
    ),
  );
}

const ONCE = 'Of the rows of a window that have one value, all but one are duplicates';

export const duplicates: GxExpectation = defineAggregate({
  name: 'duplicates',
  takes: [...BOUNDS, 'as'],
  word: {
    name: 'duplicates',
    on: 'column',
    level: 'window',
    schema: {
      ...boundsSchema('Duplicates', `${ONCE}: so many, or such a share, lies between bounds. Nulls are no values.`),
      properties: { ...boundsProperties, as },
    },
    kwargs: (parameters) => ({ ...boundsKwargs(parameters), ...given({ as: (parameters as Readonly<Record<string, unknown>>)['as'] }) }),
    example: {
      rule: 'email: [{ duplicates: { max: 1 } }]',
      passes: rowsOf('email', 'a', 'b', 'a', null, null),
      fails: rowsOf('email', 'a', 'a', 'a'),
    },
  },
  window: windowOf,
});

export const compoundDuplicates: GxExpectation = defineAggregate({
  name: 'compound_duplicates',
  takes: [...BOUNDS, 'as'],
  of: 'columns',
  word: {
    name: 'compound_duplicates',
    on: 'row',
    level: 'window',
    schema: {
      ...boundsSchema(
        'Duplicate rows',
        `${ONCE}: here by the values of several columns together. A null equals a null, and a row of nulls alone has no value.`,
      ),
      required: ['columns'],
      minProperties: 2,
      properties: {
        columns: { type: 'array', minItems: 2, items: { type: 'string', minLength: 1 }, description: 'The columns.' },
        ...boundsProperties,
        as,
      },
    },
    kwargs: (parameters) => {
      const { columns, as: unit } = parameters as Readonly<Record<string, unknown>>;
      return { ...boundsKwargs(parameters), ...given({ columns, as: unit }) };
    },
    example: {
      rule: '- compound_duplicates: { columns: [id, status], max: 0 }',
      passes: [
        { id: 1, status: 'new' },
        { id: 1, status: 'paid' },
        { id: null, status: null },
        { id: null, status: null },
      ],
      fails: [
        { id: 1, status: null },
        { id: 1, status: null },
      ],
    },
  },
  window: (kwargs) => {
    const columns = kwargs.columns('columns');
    if (columns.length < 2 || new Set(columns).size < columns.length)
      refuse('columns', 'names one column, or one of them twice', 'Name two columns at least, each once.');
    return { ...windowOf(kwargs), reads: { kind: 'columns', columns } };
  },
});
