/** Expectations of a table as a whole: its rows and its columns. */
import { compareAny } from '../states/cell.ts';
import type { Counts } from '../states/state.ts';
import { nothing, type Verdict, type WindowCheck, windowCheck } from '../windows/check.ts';
import { COLUMN_COUNT, COLUMN_EXISTS, COLUMNS_IN_ORDER, COLUMNS_MATCH } from '../expectations/table-columns.ts';
import type { SchemaNode } from '../schema-type.ts';
import { volumeAnomaly } from '../windows/volume-anomaly.ts';
import { boundsKwargs, boundsSchema, given, rowsOf } from '../windows/words.ts';
import type { FileFacts, GxExpectation, Word } from './expectation.ts';
import { type Kwargs, refuse } from './kwargs.ts';

const COUNTS = ['min_value', 'max_value'];

const wholeBounds = (kwargs: Kwargs) => within(kwargs.whole('min_value'), kwargs.whole('max_value'));
const numberBounds = (kwargs: Kwargs) => within(kwargs.numberOrNull('min_value'), kwargs.numberOrNull('max_value'));

function within(min: number | null, max: number | null): (count: number) => boolean {
  return (count) => count >= (min ?? -Infinity) && count <= (max ?? Infinity);
}

/** Great Expectations has no strict bounds for counts: the next whole number is the bound. */
function countKwargs(parameters: unknown): Readonly<Record<string, unknown>> {
  const { min_value: min, max_value: max, strict_min: above, strict_max: below } = boundsKwargs(parameters);
  const moved = (bound: unknown, by: number) => (typeof bound === 'number' ? bound + by : bound);
  return given({ min_value: above === true ? moved(min, 1) : min, max_value: below === true ? moved(max, -1) : max });
}

function equalTo(kwargs: Kwargs): (count: number) => boolean {
  const value = kwargs.whole('value');
  return value === null ? refuse('value', 'is missing', 'Write a whole number.') : (count) => count === value;
}

type Test = (kwargs: Kwargs) => (count: number) => boolean;

function defineRowCount(name: string, takes: readonly string[], test: Test, word?: Word): GxExpectation {
  const window = (kwargs: Kwargs): WindowCheck => {
    const passes = test(kwargs);
    return windowCheck(nothing, (_, { rows }) => ({ success: passes(rows), observed: rows }));
  };
  return {
    name,
    takes,
    takesRows: true,
    ...(word === undefined ? {} : { word }),
    window,
    prepare: (kwargs, _slots, format) => {
      const check = window(kwargs);
      const counts: Counts = { rows: 0, missing: 0 };
      return {
        row: () => void counts.rows++,
        end: () => outcome(check.judge(nothing.create(), counts), format.name === 'BOOLEAN_ONLY'),
      };
    },
  };
}

export function outcome({ success, observed, details }: Verdict, isBoolean: boolean) {
  return {
    success: success === true,
    result: isBoolean ? {} : { observed_value: observed, ...(details === undefined ? {} : { details }) },
  };
}

const bounds = boundsSchema('Number of rows', 'The window has so many rows; or, with `anomaly`, as many as the windows before it had.');
const rowCountSchema = {
  ...bounds,
  properties: {
    ...(bounds['properties'] as SchemaNode),
    anomaly: {
      ...volumeAnomaly.word?.schema,
      title: 'Anomaly',
      description: 'Instead of bounds: what volume_anomaly takes, or true. The number of rows is held against the windows before.',
    },
  },
};

const anomalyKwargs: Word['kwargs'] = (parameters) => volumeAnomaly.word?.kwargs((parameters as SchemaNode)['anomaly']) ?? {};

export const rowCountBetween = defineRowCount('expect_table_row_count_to_be_between', COUNTS, wholeBounds, {
  name: 'row_count',
  on: 'row',
  level: 'window',
  schema: rowCountSchema,
  kwargs: countKwargs,
  or: { key: 'anomaly', alone: true, expectation: volumeAnomaly, kwargs: anomalyKwargs },
  example: { rule: '- row_count: { between: [1, 2] }', passes: rowsOf('id', 1), fails: rowsOf('id', 1, 2, 3) },
});

export const rowCountEquals = defineRowCount('expect_table_row_count_to_equal', ['value'], equalTo);

type JudgeColumns = (columns: readonly string[]) => Verdict;

/** An expectation of the columns alone: rows do not matter. */
function defineColumns(name: string, takes: readonly string[], bind: (kwargs: Kwargs) => JudgeColumns, word?: Word): GxExpectation {
  return {
    name,
    takes,
    takesRows: false,
    ...(word === undefined ? {} : { word }),
    prepare: (kwargs, _slots, format) => {
      const judge = bind(kwargs);
      return { row: () => {}, end: ({ columns }: FileFacts) => outcome(judge(columns), format.name === 'BOOLEAN_ONLY') };
    },
  };
}

const countOfColumns =
  (test: Test) =>
  (kwargs: Kwargs): JudgeColumns => {
    const passes = test(kwargs);
    return ({ length }) => ({ success: passes(length), observed: length });
  };

export const columnCountEquals = defineColumns('expect_table_column_count_to_equal', ['value'], countOfColumns(equalTo));

export const columnCountBetween = defineColumns('expect_table_column_count_to_be_between', COUNTS, countOfColumns(numberBounds), {
  name: 'column_count',
  on: 'row',
  level: 'schema',
  schema: COLUMN_COUNT,
  kwargs: countKwargs,
  orNumber: { expectation: columnCountEquals, kwargs: (parameters) => ({ value: parameters }) },
  example: { rule: '- column_count: { max: 1 }', passes: [{ id: 1 }], fails: [{ id: 1, total: 2 }] },
});

export const columnExists = defineColumns(
  'expect_column_to_exist',
  ['column', 'column_index'],
  (kwargs) => {
    const column = kwargs.column();
    const index = kwargs.whole('column_index');
    return (columns) => {
      const isThere = index === null ? columns.includes(column) : columns.at(index) === column; // As in Python, -1 is the last.
      return { success: isThere, observed: null };
    };
  },
  {
    name: 'column_exists',
    on: 'row',
    level: 'schema',
    schema: COLUMN_EXISTS,
    kwargs: (parameters) => {
      if (typeof parameters === 'string') return { column: parameters };
      const { column, index } = parameters as Readonly<Record<string, unknown>>;
      return given({ column, column_index: index });
    },
    example: { rule: '- column_exists: total', passes: [{ total: 1 }], fails: [{ id: 1 }] },
  },
);

export const columnsInOrder = defineColumns(
  'expect_table_columns_to_match_ordered_list',
  ['column_list'],
  (kwargs) => {
    const wanted = kwargs.get('column_list') === null ? null : namesOf(kwargs, 'column_list');
    return (columns) => {
      if (wanted === null) return { success: true, observed: columns };
      const mismatched = Array.from({ length: Math.max(wanted.length, columns.length) }, (_, at) => ({
        'Expected Column Position': at,
        Expected: wanted[at] ?? null,
        Found: columns[at] ?? null,
      })).filter(({ Expected, Found }) => Expected !== Found);
      return { success: mismatched.length === 0, observed: columns, ...(mismatched.length > 0 && { details: { mismatched } }) };
    };
  },
  {
    name: 'columns_in_order',
    on: 'row',
    level: 'schema',
    schema: COLUMNS_IN_ORDER,
    kwargs: (parameters) => ({ column_list: parameters }),
    example: { rule: '- columns_in_order: [id, total]', passes: [{ id: 2, total: 1 }], fails: [{ total: 1, id: 2 }] },
  },
);

export const columnsMatch = defineColumns(
  'expect_table_columns_to_match_set',
  ['column_set', 'exact_match'],
  (kwargs) => {
    const wanted = kwargs.get('column_set') === null ? [] : [...new Set(namesOf(kwargs, 'column_set'))];
    // Since 1.0 a set that says nothing of it allows more columns.
    const exact = kwargs.flagOrNull('exact_match');
    return (columns) => {
      const unexpected = columns.filter((column) => !wanted.includes(column)).sort(compareAny);
      const missing = wanted.filter((column) => !columns.includes(column)).sort(compareAny);
      const success = missing.length === 0 && (!exact || unexpected.length === 0);
      const mismatched = { ...(unexpected.length > 0 && { unexpected }), ...(missing.length > 0 && { missing }) };
      return { success, observed: [...columns].sort(compareAny), details: { mismatched } };
    };
  },
  {
    name: 'columns_match',
    on: 'row',
    level: 'schema',
    schema: COLUMNS_MATCH,
    kwargs: (parameters) => {
      if (Array.isArray(parameters)) return { column_set: parameters as unknown[], exact_match: true };
      const { columns, exact_match: exact = true } = parameters as Readonly<Record<string, unknown>>;
      return { column_set: columns, exact_match: exact };
    },
    example: { rule: '- columns_match: [id, total]', passes: [{ total: 1, id: 2 }], fails: [{ id: 1 }] },
  },
);

/** An empty list is one too. */
function namesOf(kwargs: Kwargs, name: string): readonly string[] {
  const value = kwargs.get(name);
  return Array.isArray(value) && value.length === 0 ? [] : kwargs.columns(name);
}
