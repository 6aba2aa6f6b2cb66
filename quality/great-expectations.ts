/** Great Expectations' names and kwargs for the checks of single rows, and of the columns of a table, as the checks of this service. */

export interface Translated {
  readonly name: string;
  readonly column: string | null;
  readonly parameters: unknown;
  readonly mostly: unknown;
}

type Kwargs = Readonly<Record<string, unknown>>;

interface Translation {
  readonly name: string;
  /** The kwargs that it takes beside column, mostly and those without meaning for a stream. */
  readonly takes: readonly string[];
  readonly parameters: (kwargs: Kwargs) => unknown;
  /** It is about the table: `column` and `mostly` are none of its kwargs, unless it takes them. */
  readonly isOfTable?: boolean;
}

const yes = () => true;
const bounds = ({ min_value: min, max_value: max, strict_min: strictMin, strict_max: strictMax }: Kwargs) =>
  given({ min: min ?? undefined, max: max ?? undefined, strict_min: strictMin, strict_max: strictMax });
const BOUNDS = ['min_value', 'max_value', 'strict_min', 'strict_max'];
const list = (key: string) => (kwargs: Kwargs) => given({ patterns: kwargs[key], match_on: kwargs['match_on'] });

/** One expectation under two names: the older one is still in suites. */
const withinRecord: Translation = {
  name: 'unique_within_record',
  takes: ['column_list', 'ignore_row_if'],
  parameters: (kwargs) => given({ column_list: kwargs['column_list'], ignore_row_if: kwargs['ignore_row_if'] }),
};

const TRANSLATIONS: Readonly<Record<string, Translation>> = {
  expect_column_values_to_not_be_null: { name: 'not_null', takes: [], parameters: yes },
  expect_column_values_to_be_null: { name: 'null', takes: [], parameters: yes },
  expect_column_values_to_be_in_set: { name: 'in_set', takes: ['value_set'], parameters: (kwargs) => kwargs['value_set'] },
  expect_column_values_to_not_be_in_set: { name: 'not_in_set', takes: ['value_set'], parameters: (kwargs) => kwargs['value_set'] },
  expect_column_values_to_be_between: { name: 'between', takes: BOUNDS, parameters: bounds },
  expect_column_value_lengths_to_be_between: { name: 'length', takes: BOUNDS, parameters: bounds },
  expect_column_value_lengths_to_equal: { name: 'length', takes: ['value'], parameters: (kwargs) => kwargs['value'] },
  expect_column_values_to_match_regex: { name: 'match_regex', takes: ['regex'], parameters: (kwargs) => kwargs['regex'] },
  expect_column_values_to_not_match_regex: { name: 'not_match_regex', takes: ['regex'], parameters: (kwargs) => kwargs['regex'] },
  expect_column_values_to_match_regex_list: { name: 'match_regex_list', takes: ['regex_list', 'match_on'], parameters: list('regex_list') },
  expect_column_values_to_not_match_regex_list: { name: 'not_match_regex_list', takes: ['regex_list'], parameters: list('regex_list') },
  expect_column_values_to_match_like_pattern: {
    name: 'match_like',
    takes: ['like_pattern'],
    parameters: (kwargs) => kwargs['like_pattern'],
  },
  expect_column_values_to_not_match_like_pattern: {
    name: 'not_match_like',
    takes: ['like_pattern'],
    parameters: (kwargs) => kwargs['like_pattern'],
  },
  expect_column_values_to_match_like_pattern_list: {
    name: 'match_like_list',
    takes: ['like_pattern_list', 'match_on'],
    parameters: list('like_pattern_list'),
  },
  expect_column_values_to_not_match_like_pattern_list: {
    name: 'not_match_like_list',
    takes: ['like_pattern_list'],
    parameters: list('like_pattern_list'),
  },
  expect_column_values_to_match_json_schema: { name: 'json_schema', takes: ['json_schema'], parameters: (kwargs) => kwargs['json_schema'] },
  expect_column_values_to_be_json_parseable: { name: 'json_parseable', takes: [], parameters: yes },
  expect_column_values_to_match_strftime_format: {
    name: 'match_strftime',
    takes: ['strftime_format'],
    parameters: (kwargs) => kwargs['strftime_format'],
  },
  expect_column_values_to_be_dateutil_parseable: { name: 'dateutil_parseable', takes: [], parameters: yes },
  expect_column_pair_values_to_be_equal: {
    name: 'pair_equal',
    takes: ['column_A', 'column_B', 'ignore_row_if'],
    parameters: (kwargs) => given({ column_A: kwargs['column_A'], column_B: kwargs['column_B'], ignore_row_if: kwargs['ignore_row_if'] }),
  },
  expect_column_pair_values_a_to_be_greater_than_b: {
    name: 'pair_greater',
    takes: ['column_A', 'column_B', 'or_equal', 'ignore_row_if'],
    parameters: (kwargs) =>
      given({
        column_A: kwargs['column_A'],
        column_B: kwargs['column_B'],
        or_equal: kwargs['or_equal'] ?? undefined,
        ignore_row_if: kwargs['ignore_row_if'],
      }),
  },
  expect_column_pair_values_to_be_in_set: {
    name: 'pair_in_set',
    takes: ['column_A', 'column_B', 'value_pairs_set', 'ignore_row_if'],
    parameters: (kwargs) =>
      given({
        column_A: kwargs['column_A'],
        column_B: kwargs['column_B'],
        pairs: kwargs['value_pairs_set'],
        ignore_row_if: kwargs['ignore_row_if'],
      }),
  },
  expect_column_values_to_be_unique: { name: 'unique', takes: [], parameters: yes },
  expect_compound_columns_to_be_unique: { name: 'compound_unique', takes: ['column_list'], parameters: (kwargs) => kwargs['column_list'] },
  expect_multicolumn_sum_to_equal: {
    name: 'sum_equals',
    takes: ['column_list', 'sum_total', 'ignore_row_if'],
    parameters: (kwargs) =>
      given({ column_list: kwargs['column_list'], sum_total: kwargs['sum_total'], ignore_row_if: kwargs['ignore_row_if'] }),
  },
  expect_column_values_to_be_of_type: { name: 'of_type', takes: ['type_'], parameters: (kwargs) => kwargs['type_'] },
  expect_column_values_to_be_in_type_list: { name: 'of_type', takes: ['type_list'], parameters: (kwargs) => kwargs['type_list'] },
  expect_table_column_count_to_be_between: { name: 'column_count', takes: ['min_value', 'max_value'], parameters: bounds, isOfTable: true },
  expect_table_column_count_to_equal: {
    name: 'column_count',
    takes: ['value'],
    parameters: (kwargs) => kwargs['value'],
    isOfTable: true,
  },
  expect_column_to_exist: {
    name: 'column_exists',
    takes: ['column', 'column_index'],
    parameters: (kwargs) => given({ column: kwargs['column'], index: kwargs['column_index'] ?? undefined }),
    isOfTable: true,
  },
  expect_table_columns_to_match_set: {
    name: 'columns_match',
    takes: ['column_set', 'exact_match'],
    // A set that says nothing of it allows more columns there.
    parameters: (kwargs) => ({ columns: kwargs['column_set'], exact_match: kwargs['exact_match'] ?? false }),
    isOfTable: true,
  },
  expect_table_columns_to_match_ordered_list: {
    name: 'columns_in_order',
    takes: ['column_list'],
    parameters: (kwargs) => kwargs['column_list'],
    isOfTable: true,
  },
  expect_select_column_values_to_be_unique_within_record: withinRecord,
  expect_multicolumn_values_to_be_unique: withinRecord,
};

export const GREAT_EXPECTATIONS: readonly string[] = Object.keys(TRANSLATIONS);

/** The check that goes by that name here; undefined where it is none of single rows or of the table. */
export const checkOf = (name: string): string | undefined => (Object.hasOwn(TRANSLATIONS, name) ? TRANSLATIONS[name]?.name : undefined);

/** Kwargs that Great Expectations takes everywhere and that say nothing about rows. */
const EVERYWHERE = ['result_format', 'catch_exceptions', 'include_config', 'meta', 'notes', 'batch_id'];

/** Kwargs that may be left out, for which there is a default. */
const OPTIONAL = [...BOUNDS, 'match_on', 'or_equal', 'ignore_row_if', 'column_index', 'exact_match'];

/** Kwargs that are not understood, or that are needed and not there. */
export interface WrongKwargs {
  readonly unknown: readonly string[];
  readonly missing: readonly string[];
  readonly takes: readonly string[];
}

/** The check that an expectation is here; null where it is not one of single rows. */
export function translateExpectation(name: string, kwargs: Kwargs): Translated | WrongKwargs | null {
  const translation = Object.hasOwn(TRANSLATIONS, name) ? TRANSLATIONS[name] : undefined;
  if (translation === undefined) return null;
  const { takes, isOfTable = false } = translation;
  const hasColumn = !isOfTable && !takes.includes('column_A') && !takes.includes('column_list');
  const known = [...takes, ...(hasColumn ? ['column'] : []), ...(isOfTable ? [] : ['mostly']), ...EVERYWHERE];
  const unknown = Object.keys(kwargs).filter((key) => !known.includes(key));
  const missing = takes.filter((key) => !OPTIONAL.includes(key) && (kwargs[key] ?? null) === null);
  if (unknown.length > 0 || missing.length > 0) return { unknown, missing, takes: known };
  const column = kwargs['column'];
  return {
    name: translation.name,
    column: hasColumn && typeof column === 'string' ? column : null,
    parameters: translation.parameters(kwargs),
    mostly: kwargs['mostly'],
  };
}

function given(parameters: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== undefined));
}
