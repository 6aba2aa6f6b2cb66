/** What values a column has: how many, which ones, and which most often. */
import { type ValueCounts, valueCounts } from '../states/value-counts.ts';
import { parseDate } from '../gx/dates.ts';
import { refuse } from '../gx/kwargs.ts';
import { membership } from '../gx/values.ts';
import { type FileCell, Moment, type Present } from '../states/cell.ts';
import { defineAggregate, defineMetric } from './aggregate.ts';
import { type Verdict, windowCheck } from './check.ts';
import { metricWord, rowsOf, setKwargs, setSchema } from './words.ts';

export const distinctCount = defineMetric({
  name: 'expect_column_unique_value_count_to_be_between',
  word: metricWord('distinct_count', 'Distinct values', 'The number of different values lies between bounds.', {
    rule: 'status: [{ distinct_count: { max: 2 } }]',
    passes: rowsOf('status', 'new', 'paid', 'new'),
    fails: rowsOf('status', 'new', 'paid', 'gone'),
  }),
  kind: valueCounts,
  observe: (state) => state.distinct,
});

export const uniqueProportion = defineMetric({
  name: 'expect_column_proportion_of_unique_values_to_be_between',
  word: metricWord(
    'unique_proportion',
    'Share of distinct values',
    'Different values for each value that is there: between bounds from 0 to 1.',
    {
      rule: 'id: [{ unique_proportion: { min: 0.9 } }]',
      passes: rowsOf('id', 1, 2, 3),
      fails: rowsOf('id', 1, 1, 2),
    },
  ),
  kind: valueCounts,
  observe: (state) => (state.total === 0 ? 0 : state.distinct / state.total),
});

type Judge = (state: ValueCounts, isMember: (cell: FileCell) => boolean, wanted: readonly FileCell[]) => boolean;

function defineDistinct(
  name: string,
  word: string,
  title: string,
  description: string,
  example: Parameters<typeof metricWord>[3],
  judge: Judge,
  takesNull = false,
) {
  return defineAggregate({
    name,
    takes: ['value_set'],
    word: { name: word, on: 'column', level: 'window', schema: setSchema(title, description), kwargs: setKwargs, example },
    window: (kwargs) => {
      const wanted = kwargs.valueSet();
      const isMember = membership(wanted, kwargs) ?? (() => true);
      if (wanted === null && !takesNull) return refuse('value_set', 'is null or missing', 'Write the values in a list.');
      return windowCheck(valueCounts, (state) => verdictOf(state, wanted === null || judge(state, isMember, wanted)));
    },
  });
}

function verdictOf(state: ValueCounts, success: boolean): Verdict {
  const counted = state.sorted();
  return { success, observed: counted.map(({ value }) => value), details: { value_counts: counted } };
}

export const distinctInSet = defineDistinct(
  'expect_column_distinct_values_to_be_in_set',
  'distinct_in_set',
  'Allowed values of a window',
  'Every value that is there is one of these.',
  { rule: 'status: [{ distinct_in_set: [new, paid] }]', passes: rowsOf('status', 'new', null), fails: rowsOf('status', 'new', 'gone') },
  // An empty set says nothing, as in Great Expectations.
  (state, isMember, wanted) => wanted.length === 0 || state.entries().every(({ value }) => isMember(value)),
  true,
);

export const distinctContain = defineDistinct(
  'expect_column_distinct_values_to_contain_set',
  'distinct_contain',
  'Values that a window has to have',
  'Each of these values is there.',
  {
    rule: 'status: [{ distinct_contain: [new, paid] }]',
    passes: rowsOf('status', 'new', 'paid', 'gone'),
    fails: rowsOf('status', 'new', 'gone'),
  },
  (state, _isMember, wanted) => contains(state, wanted),
);

export const distinctEqual = defineDistinct(
  'expect_column_distinct_values_to_equal_set',
  'distinct_equal',
  'The values of a window',
  'These values are there, each of them and no other.',
  { rule: 'status: [{ distinct_equal: [new, paid] }]', passes: rowsOf('status', 'paid', 'new', 'new'), fails: rowsOf('status', 'new') },
  (state, isMember, wanted) => contains(state, wanted) && state.entries().every(({ value }) => isMember(value)),
);

function contains(state: ValueCounts, wanted: readonly FileCell[]): boolean {
  const hasMoments = state.entries()[0]?.value instanceof Moment;
  return wanted.every((value) => value !== null && state.has(hasMoments ? asMoment(value) : value));
}

function asMoment(value: Present): Present {
  return typeof value === 'string' ? (parseDate(value, 0) ?? value) : value;
}

export const mostCommon = defineAggregate({
  name: 'expect_column_most_common_value_to_be_in_set',
  takes: ['value_set', 'ties_okay'],
  word: {
    name: 'most_common',
    on: 'column',
    level: 'window',
    schema: {
      title: 'Most common value',
      description: 'The value that is there most often is one of these. Where several are, it fails, unless ties_okay and one of them is.',
      anyOf: [
        setSchema('Values', 'The values.'),
        {
          type: 'object',
          additionalProperties: false,
          required: ['values'],
          properties: {
            values: setSchema('Values', 'The values.'),
            ties_okay: { type: 'boolean', default: false, description: 'One of several most common values is enough.' },
          },
        },
      ],
    },
    kwargs: (parameters) => {
      if (Array.isArray(parameters)) return { value_set: parameters as unknown[] };
      const { values, ties_okay: tiesOkay } = parameters as Readonly<Record<string, unknown>>;
      return { value_set: values, ties_okay: tiesOkay };
    },
    example: {
      rule: 'status: [{ most_common: [paid] }]',
      passes: rowsOf('status', 'paid', 'paid', 'new'),
      fails: rowsOf('status', 'paid', 'new'),
    },
  },
  window: (kwargs) => {
    const isMember = membership(kwargs.valueSet(), kwargs);
    const tiesOkay = kwargs.flag('ties_okay');
    return windowCheck(valueCounts, (state) => {
      const modes = state.modes();
      const found = isMember === null ? 0 : modes.filter(isMember).length;
      return { success: found > 0 && (tiesOkay || modes.length === 1), observed: modes };
    });
  },
});
