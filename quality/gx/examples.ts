/** An example of each name of Great Expectations that has no short word with an example of its own: for the reference page, and tried by a test. */

type Row = Readonly<Record<string, unknown>>;

export interface NameExample {
  readonly kwargs: Row;
  /** Rows that pass, and rows that do not, over a file and on a stream. */
  readonly passes: readonly Row[];
  readonly fails: readonly Row[];
}

const status = { column: 'status' } as const;
const net = { column_A: 'net', column_B: 'tax' } as const;

export const NAME_EXAMPLES: Readonly<Record<string, NameExample>> = {
  expect_column_values_to_be_null: { kwargs: status, passes: [{ status: null }], fails: [{ status: 'new' }] },
  expect_column_values_to_not_be_null: { kwargs: status, passes: [{ status: 'new' }], fails: [{ status: null }] },
  expect_column_values_to_be_in_set: {
    kwargs: { ...status, value_set: ['new', 'paid'] },
    passes: [{ status: 'new' }, { status: null }],
    fails: [{ status: 'gone' }],
  },
  expect_column_values_to_not_be_in_set: {
    kwargs: { ...status, value_set: ['gone'] },
    passes: [{ status: 'new' }, { status: null }],
    fails: [{ status: 'gone' }],
  },
  expect_column_values_to_be_between: {
    kwargs: { column: 'items', min_value: 1, max_value: 5, strict_max: true },
    passes: [{ items: 1 }, { items: null }],
    fails: [{ items: 5 }],
  },
  expect_column_value_lengths_to_be_between: {
    kwargs: { ...status, min_value: 2, max_value: 4 },
    passes: [{ status: 'new' }],
    fails: [{ status: 'returned' }],
  },
  expect_column_value_lengths_to_equal: { kwargs: { ...status, value: 3 }, passes: [{ status: 'new' }], fails: [{ status: 'paid' }] },
  expect_column_values_to_be_of_type: { kwargs: { ...status, type_: 'str' }, passes: [{ status: 'new' }], fails: [{ status: 1 }] },
  expect_column_values_to_match_regex: { kwargs: { ...status, regex: '^n' }, passes: [{ status: 'new' }], fails: [{ status: 'paid' }] },
  expect_column_values_to_not_match_regex: { kwargs: { ...status, regex: '^n' }, passes: [{ status: 'paid' }], fails: [{ status: 'new' }] },
  expect_column_values_to_match_regex_list: {
    kwargs: { ...status, regex_list: ['^n', 'w$'], match_on: 'all' },
    passes: [{ status: 'new' }],
    fails: [{ status: 'none' }],
  },
  expect_column_values_to_not_match_regex_list: {
    kwargs: { ...status, regex_list: ['^n', '^p'] },
    passes: [{ status: 'gone' }],
    fails: [{ status: 'paid' }],
  },
  expect_column_values_to_match_like_pattern: {
    kwargs: { ...status, like_pattern: 'n__' },
    passes: [{ status: 'new' }],
    fails: [{ status: 'news' }],
  },
  expect_column_values_to_not_match_like_pattern: {
    kwargs: { ...status, like_pattern: 'n%' },
    passes: [{ status: 'paid' }],
    fails: [{ status: 'new' }],
  },
  expect_column_values_to_match_like_pattern_list: {
    kwargs: { ...status, like_pattern_list: ['n%', 'p%'] },
    passes: [{ status: 'paid' }],
    fails: [{ status: 'gone' }],
  },
  expect_column_values_to_not_match_like_pattern_list: {
    kwargs: { ...status, like_pattern_list: ['n%', 'p%'] },
    passes: [{ status: 'gone' }],
    fails: [{ status: 'paid' }],
  },
  expect_column_values_to_match_strftime_format: {
    kwargs: { ...status, strftime_format: '%d.%m.%Y' },
    passes: [{ status: '24.11.2026' }],
    fails: [{ status: '31.11.2026' }],
  },
  expect_column_values_to_be_dateutil_parseable: {
    kwargs: status,
    passes: [{ status: '24 Nov 2026' }],
    fails: [{ status: 'the day after' }],
  },
  expect_column_values_to_be_json_parseable: { kwargs: status, passes: [{ status: '{"a": 1}' }], fails: [{ status: '{"a": 1' }] },
  expect_column_values_to_match_json_schema: {
    kwargs: { ...status, json_schema: { required: ['a'] } },
    passes: [{ status: '{"a": 1}' }],
    fails: [{ status: '{}' }],
  },
  expect_column_pair_values_to_be_equal: {
    kwargs: { ...net, ignore_row_if: 'either_value_is_missing' },
    passes: [
      { net: 1, tax: 1 },
      { net: 1, tax: null },
    ],
    fails: [{ net: 1, tax: 2 }],
  },
  expect_column_pair_values_a_to_be_greater_than_b: {
    kwargs: { ...net, or_equal: true },
    passes: [
      { net: 2, tax: 1 },
      { net: 1, tax: 1 },
    ],
    fails: [{ net: 1, tax: 2 }],
  },
  expect_multicolumn_sum_to_equal: {
    kwargs: { column_list: ['net', 'tax'], sum_total: 100 },
    passes: [{ net: 81, tax: 19 }],
    fails: [{ net: 100, tax: 19 }],
  },
  expect_multicolumn_values_to_be_unique: {
    kwargs: { column_list: ['net', 'tax'] },
    passes: [{ net: 1, tax: 2 }],
    fails: [{ net: 1, tax: 1 }],
  },
  expect_table_row_count_to_equal: { kwargs: { value: 2 }, passes: [{ net: 1 }, { net: 2 }], fails: [{ net: 1 }] },
  expect_table_column_count_to_equal: { kwargs: { value: 2 }, passes: [{ net: 1, tax: 2 }], fails: [{ net: 1 }] },
};
