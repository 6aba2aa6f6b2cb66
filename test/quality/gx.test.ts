/** Details of expectations in which Great Expectations 1.2 differs from what one would think: each answer is that tool's own, on pandas. */
import { describe, expect, test } from 'vitest';
import { parseDate } from '../../quality/gx/dates.ts';
import { readSuite, SuiteRun } from '../../quality/gx/suite.ts';
import type { FileCell } from '../../quality/states/cell.ts';

type Rows = Readonly<Record<string, readonly FileCell[]>>;

const NULLS: Rows = { a: [1, null, 3], t: ['x', 'x', null], d: [parseDate('2020-03-01 12:00', 0), parseDate('2020-02-01', 0), null] };

function judge(rows: Rows, type: string, kwargs: object) {
  const run = new SuiteRun([{ type: `expect_${type}`, kwargs: { result_format: 'COMPLETE', ...kwargs }, meta: {} }], {}, 0);
  const columns = Object.keys(rows);
  const count = rows[columns[0] ?? '']?.length ?? 0;
  for (let row = 0; row < count; row++)
    run.row(
      run.slots.columns.map((column) => rows[column]?.[row] ?? null),
      row,
    );
  const [answer] = run.end({ columns, rows: count, rowsOf: () => null });
  if (answer === undefined) throw new Error('no answer');
  return answer;
}

const REFUSED: readonly (readonly [string, object])[] = [
  ['column_values_to_not_be_null', { column: 'a', mostly: null }],
  ['column_mean_to_be_between', { column: 'a', min_value: 0, mostly: 0.5 }],
  ['table_row_count_to_be_between', { min_value: 1, strict_min: true }],
  ['column_to_exist', { column: 'a', row_condition: 'a > 1', condition_parser: 'pandas' }],
  ['column_max_to_be_between', { column: 't', min_value: 'a' }],
  ['column_values_to_be_between', { column: 't', min_value: 'a' }],
  // As dates, whatever the order of their letters.
  ['column_values_to_be_between', { column: 'd', min_value: 'Dec 31 2020', max_value: 'Jan 1 2020' }],
  ['column_values_to_be_between', { column: 'a', min_value: 1, strict_min: null }],
  ['column_values_to_be_between', { column: 'a', min_value: 1, mostly: '0.5' }],
  ['column_value_lengths_to_be_between', { column: 't', min_value: '1.5' }],
  ['column_value_lengths_to_equal', { column: 't' }],
  ['column_value_z_scores_to_be_less_than', { column: 'a', threshold: 3 }],
  ['column_value_z_scores_to_be_less_than', { column: 'a', threshold: 3, double_sided: null }],
  ['column_values_to_match_regex_list', { column: 't', regex_list: ['x', null] }],
  ['column_values_to_match_regex_list', { column: 't', regex_list: ['x'], match_on: null }],
  ['column_values_to_match_json_schema', { column: 't', json_schema: true }],
  ['column_kl_divergence_to_be_less_than', { column: 'a', threshold: 1, tail_weight_holdout: null, bucketize_data: false }],
  ['column_kl_divergence_to_be_less_than', { column: 'a', threshold: 1, tail_weight_holdout: 0.1 }],
  // Of one value there are no bins.
  ['column_kl_divergence_to_be_less_than', { column: 'a', threshold: 1, row_condition: 'a == 1', condition_parser: 'pandas' }],
  ['multicolumn_sum_to_equal', { column_list: ['a', 'a'], sum_total: null }],
  ['compound_columns_to_be_unique', { column_list: ['a', 't'], ignore_row_if: null }],
  ['table_row_count_to_equal', { value: 'two' }],
  ['column_quantile_values_to_be_between', { column: 'a', quantile_ranges: { quantiles: [0.5], value_ranges: [['low', null]] } }],
  ['column_distinct_values_to_equal_set', { column: 'a', value_set: null }],
  ['column_distinct_values_to_contain_set', { column: 'a' }],
  ['column_pair_values_to_be_in_set', { column_A: 'a', column_B: 't', value_pairs_set: null }],
];

const JUDGED: readonly (readonly [string, object, boolean])[] = [
  // Nothing lies between bounds in the wrong order; of single rows alone they are refused.
  ['column_max_to_be_between', { column: 'a', min_value: 5, max_value: 1 }, false],
  ['column_max_to_be_between', { column: 'd', min_value: '2020-03-02T13:00:00', max_value: '2020-03-01 12:00' }, false],
  ['column_mean_to_be_between', { column: 'a', min_value: 5, max_value: 1 }, false],
  ['column_value_lengths_to_be_between', { column: 't', min_value: 5, max_value: 1 }, false],
  ['table_row_count_to_be_between', { min_value: 5, max_value: 1 }, false],
  ['table_column_count_to_be_between', { min_value: 5, max_value: 1 }, false],
  // What pydantic makes of other types.
  ['column_values_to_be_between', { column: 'a', min_value: 1, strict_min: 'no', strict_max: 0, mostly: true }, true],
  ['column_values_to_be_increasing', { column: 'a', strictly: null }, true],
  ['column_pair_values_a_to_be_greater_than_b', { column_A: 'a', column_B: 'a', or_equal: 1 }, true],
  ['column_value_lengths_to_be_between', { column: 't', min_value: '1', max_value: 1.9 }, true],
  ['column_value_lengths_to_be_between', { column: 't', max_value: 0.9 }, false],
  ['column_value_lengths_to_equal', { column: 't', value: '1' }, true],
  ['column_value_lengths_to_equal', { column: 't', value: 1.5 }, false],
  ['column_values_to_match_regex', { column: 'a', regex: 1, mostly: 0.5 }, true],
  ['column_values_to_match_regex_list', { column: 'a', regex_list: [1, '3'] }, true],
  ['multicolumn_sum_to_equal', { column_list: ['a', 'a'], sum_total: '2', mostly: 0.5 }, true],
  ['table_row_count_to_equal', { value: 3.9 }, true],
  ['table_row_count_to_equal', { value: '3' }, true],
  ['table_column_count_to_be_between', { min_value: 2.5, max_value: '3.5' }, true],
  ['table_column_count_to_be_between', { min_value: 3.5 }, false],
  ['column_to_exist', { column: 'd', column_index: -1 }, true],
  ['column_to_exist', { column: 't', column_index: -1 }, false],
  ['column_most_common_value_to_be_in_set', { column: 't', value_set: ['x'], ties_okay: null }, true],
  ['column_kl_divergence_to_be_less_than', { column: 't', partition_object: { values: ['y'], weights: [1] } }, true],
  ['column_values_to_be_between', { column: 'a', min_value: '1', max_value: ' 3.0 ' }, true],
  ['column_values_to_be_between', { column: 'a', min_value: true }, true],
  ['column_values_to_be_between', { column: 'd', min_value: 'Jan 1 2020', max_value: 'Dec 31 2020' }, true],
  ['column_max_to_be_between', { column: 'd', min_value: '2020-03-01T12:00:00', max_value: '2020-03-01 12:00' }, true],
  ['column_values_to_not_be_in_set', { column: 'a', value_set: null }, true],
  ['column_values_to_match_regex', { column: 't' }, true],
  ['table_columns_to_match_set', { column_set: ['a'] }, true],
  ['table_columns_to_match_set', { column_set: ['a'], exact_match: true }, false],
  ['table_columns_to_match_set', { column_set: null }, true],
  ['table_columns_to_match_set', { column_set: null, exact_match: true }, false],
  ['table_columns_to_match_ordered_list', { column_list: [] }, false],
];

describe('kwargs', () => {
  test.each(REFUSED)('%s refuses %j', (type, kwargs) => expect(judge(NULLS, type, kwargs).error).not.toBe(null));
  test.each(JUDGED)('%s judges %j', (type, kwargs, success) => expect(judge(NULLS, type, kwargs)).toMatchObject({ error: null, success }));
});

describe('results', () => {
  const unexpected = (format: object) =>
    judge({ a: [2, 1, 1, 3, 2] }, 'column_values_to_be_null', { column: 'a', result_format: { result_format: 'COMPLETE', ...format } })
      .result;

  test('values that are equally common stand in their order', () =>
    expect(unexpected({})['partial_unexpected_counts']).toEqual([
      { value: 1, count: 2 },
      { value: 2, count: 2 },
      { value: 3, count: 1 },
    ]));

  test('no partial lists where none are asked for', () =>
    expect(Object.keys(unexpected({ partial_unexpected_count: 0 })).filter((key) => key.startsWith('partial'))).toEqual([
      'partial_unexpected_list',
    ]));

  test('values can be left out of the answer', () => {
    const result = unexpected({ exclude_unexpected_values: true });
    expect(Object.keys(result).filter((key) => key.includes('unexpected_list') || key.includes('counts'))).toEqual([]);
    expect(result['unexpected_index_list']).toEqual([0, 1, 2, 3, 4]);
  });

  test('the counts of rows are those of their values in a list', () => {
    const { result } = judge({ a: [1, 1], b: [2, 2] }, 'compound_columns_to_be_unique', { column_list: ['a', 'b'] });
    expect(result['partial_unexpected_counts']).toEqual([{ value: [1, 2], count: 2 }]);
  });

  test('bins of the data are as many as Sturges or Freedman and Diaconis say', () => {
    const bins = (values: readonly number[]) => {
      const { result } = judge({ a: values }, 'column_kl_divergence_to_be_less_than', { column: 'a', threshold: 1 });
      return (result['details'] as { readonly observed_partition: { readonly bins: readonly number[] } }).observed_partition.bins;
    };
    expect(bins([-0.5, 0.5, 1.5, 2.5, 3.5])).toEqual([-0.5, 0.8333333333333333, 2.1666666666666665, 3.5]);
    expect(bins([1, 1, 1, 2])).toEqual([1, 1.3333333333333333, 1.6666666666666665, 2]);
    expect(bins([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100])).toHaveLength(20);
  });

  test('an empty column has weights of 0 in a distribution', () => {
    const partition = { values: ['x', 'y'], weights: [0.5, 0.5] };
    const { result, success } = judge({ t: [] }, 'column_kl_divergence_to_be_less_than', {
      column: 't',
      threshold: 1,
      partition_object: partition,
    });
    expect([success, result['details']]).toMatchObject([false, { observed_partition: { weights: [0, 0] } }]);
  });
});

test('a byte order mark before a suite says nothing', () => {
  expect(readSuite('\uFEFF{"name": "s", "expectations": []}')).toEqual({ name: 's', items: [] });
});

test('a null is unequal to a value in the language of pandas, and in that of SQL it is neither', () => {
  const rowsWith = (condition: string, parser: string) =>
    judge(NULLS, 'table_row_count_to_be_between', { row_condition: condition, condition_parser: parser }).result['observed_value'];
  expect([rowsWith('a != 1', 'pandas'), rowsWith('col("a") != 1', 'great_expectations')]).toEqual([2, 1]);
  expect([rowsWith('a not in [1]', 'pandas'), rowsWith('col("a") not in [1]', 'great_expectations')]).toEqual([2, 1]);
});

test.each([
  ['a in [1, 2]', 1],
  ['a in (3, 1) and t == "x"', 1],
  ["t in ['x',]", 2],
  ['a in []', 0],
  ['not (a in [1])', 2],
  ['(a not in [1]) and a > 0', 1],
  ['1 in [1]', 3],
])('rows where %s', (condition, rows) => {
  const kwargs = { row_condition: condition, condition_parser: 'pandas' };
  expect(judge(NULLS, 'table_row_count_to_be_between', kwargs)).toMatchObject({ error: null, result: { observed_value: rows } });
});

test.each(['a in', 'a in 1', 'a in [1', 'a in [1 2]', 'a not [1]'])('%s is no condition', (condition) => {
  const { error } = judge(NULLS, 'table_row_count_to_be_between', { row_condition: condition, condition_parser: 'pandas' });
  expect(error).toContain('the row_condition');
});

describe('texts that dateutil reads, and what it takes them for', () => {
  test.each([
    ['07-18-1941 0850', '1941-07-18T08:50:00Z'],
    ['Dec 5 2019 21:04', '2019-12-05T21:04:00Z'],
    ['2090/04/14, 0327', '2090-04-14T03:27:00Z'],
    ['2024 Jan 055055', '2024-01-24T05:50:55Z'],
    ['20280506 04am+5', '2028-05-05T23:00:00Z'],
    ['Sep 2026 20 am', '2026-09-24T20:00:00Z'],
    ['250828', '2028-08-25T00:00:00Z'],
    ['690725', '2069-07-25T00:00:00Z'],
    ['2005 Jan 06T11:54:14.5GMT+3', '2005-01-06T14:54:14.5Z'],
    ['5857-10-29-08', '5857-10-29T08:00:00Z'],
  ])('%s', (text, moment) => {
    const read = parseDate(text, Date.UTC(2026, 10, 24));
    expect(read === null ? null : Number(read.micros) / 1000).toBe(Date.parse(moment));
  });

  test.each(['19-01', 'Sep 01, 1995-0000', '044429', 'Sep 1, 2019 22am', '13:05 25:00', '2020-02-30'])('%s is none', (text) =>
    expect(parseDate(text, 0)).toBe(null),
  );
});

test.each([
  ['^\\w+$', 'né', true],
  ['^\\d$', '٣', true],
  ['^[\\w-]+$', 'né-1', true],
  ['^\\W$', 'é', false],
  ['(?a)^\\w$', 'é', false],
  ['^a{,2}\\Z', 'aaa', false],
  ['^\\u00e9$', 'é', true],
  ['^[]a]+$', 'a]', true],
  ['^[[a]+$', '[a', true],
  ['^\\[\\w\\]$', '[é]', true],
])('the regex %s is read as Python reads it', (regex, text, matches) => {
  const { success, error } = judge({ t: [text] }, 'column_values_to_match_regex', { column: 't', regex });
  expect([error, success]).toEqual([null, matches]);
});
