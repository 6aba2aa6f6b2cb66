/** What values a column has: how many, which ones, and which most often. */
import { type FrequentValues, frequentValues } from '../states/frequent-values.ts';
import { hyperLogLog } from '../states/hyper-log-log.ts';
import { members, type Members } from '../states/members.ts';
import { type ValueCounts, valueCounts } from '../states/value-counts.ts';
import { parseDate } from '../gx/dates.ts';
import { refuse } from '../gx/kwargs.ts';
import { membership } from '../gx/values.ts';
import { type FileCell, Moment, type Present } from '../states/cell.ts';
import { defineAggregate, defineMetric } from './aggregate.ts';
import { sketched, type Verdict, windowCheck } from './check.ts';
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
  sketch: { kind: hyperLogLog, observe: ({ distinct }) => distinct },
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
  sketch: {
    kind: hyperLogLog,
    observe: ({ distinct: { low, high, estimate }, total }) =>
      total <= 0 ? { low: 0, high: 0, estimate: 0 } : { low: low / total, high: high / total, estimate: estimate / total },
  },
});

/** `others`: whether there are values that are none of the wanted ones. */
type Judge = (state: ValueCounts, others: boolean, wanted: readonly FileCell[]) => boolean;

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
      const hasOthers = (state: ValueCounts) => state.entries().some(({ value }) => !isMember(value));
      return windowCheck(
        valueCounts,
        (state) => verdictOf(state, wanted === null || judge(state, hasOthers(state), wanted)),
        sketched(members(wanted ?? [], isMember), (sketch: Members) => membersVerdict(sketch, judge, wanted)),
      );
    },
  });
}

/** Exact as well: of the other values it only matters that there are some. */
function membersVerdict({ counts, others }: Members, judge: Judge, wanted: readonly FileCell[] | null): Verdict {
  const observed = counts.sorted().map(({ value }) => value);
  return {
    success: wanted === null || judge(counts, others > 0, wanted),
    observed,
    known: others > 0 ? `${others} rows have other values` : 'no row has another value',
  };
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
  (_state, others, wanted) => wanted.length === 0 || !others,
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
  (state, _others, wanted) => contains(state, wanted),
);

export const distinctEqual = defineDistinct(
  'expect_column_distinct_values_to_equal_set',
  'distinct_equal',
  'The values of a window',
  'These values are there, each of them and no other.',
  { rule: 'status: [{ distinct_equal: [new, paid] }]', passes: rowsOf('status', 'paid', 'new', 'new'), fails: rowsOf('status', 'new') },
  (state, others, wanted) => !others && contains(state, wanted),
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
    const tiesOkay = kwargs.flagOrNull('ties_okay');
    return windowCheck(
      valueCounts,
      (state) => {
        const modes = state.modes();
        const found = isMember === null ? 0 : modes.filter(isMember).length;
        return { success: found > 0 && (tiesOkay || modes.length === 1), observed: modes };
      },
      sketched(frequentValues, (sketch: FrequentValues) => modeVerdict(sketch, isMember ?? (() => false), tiesOkay)),
    );
  },
});

/** By the bounds on how often each value is there; values that are not counted may be any, those of the set too. */
function modeVerdict(sketch: FrequentValues, isMember: (cell: FileCell) => boolean, tiesOkay: boolean): Verdict {
  const { counted, uncounted } = sketch;
  const most = counted[0]?.low ?? 0;
  const possible = counted.filter(({ high, low }) => high >= most && (high > 0 || low > 0));
  const known = `the most common values are there ${most.toLocaleString('en-US')} times at least, others up to ${uncounted.toLocaleString('en-US')} times`;
  const said = (success: boolean | null): Verdict => ({
    success,
    observed: possible.slice(0, MODES_SHOWN).map(({ value }) => value),
    known,
  });
  // A value that nobody counts may be the mode.
  if (uncounted >= most && !(most === 0 && uncounted === 0)) return said(null);
  if (possible.length === 0) return said(false);
  const ins = possible.filter(({ value }) => isMember(value)).length;
  if (ins === 0) return said(false);
  const isTie = possible.length > 1 && possible.every(({ low, high }) => low === high);
  if (tiesOkay) return said(ins === possible.length || isTie ? true : null);
  return said(possible.length === 1 ? true : isTie ? false : null);
}

const MODES_SHOWN = 20;
