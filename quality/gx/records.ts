/** Expectations of rows that take several columns, or all rows, into account: pairs, sums, duplicates, z-scores. */
import { durationSchema } from '../../core/duration.ts';
import { addDecimals, compareDecimals, decimalOf } from '../../core/expression/decimal.ts';
import { Decimal } from '../../core/expression/values.ts';
import { PAIR_IN_SET } from '../expectations/pair-in-set.ts';
import { UNIQUE_WITHIN_RECORD } from '../expectations/unique-within-record.ts';
import { compareCells, type FileCell, keyOf, keyOfCells, kindOf, type Present, Unusable } from '../states/cell.ts';
import { doubleOf, Sums } from '../states/sums.ts';
import { defineAggregate } from '../windows/aggregate.ts';
import { baselineProperties } from '../windows/memory.ts';
import { centerOf, isUnder, ownZScoresOf, zScoreBesideOthers, zScoreWindow } from '../windows/z-score.ts';
import {
  defineMany,
  definePair,
  type GxExpectation,
  IGNORE_MANY,
  prepareColumn,
  prepareMany,
  type RowTally,
  type Word,
} from './expectation.ts';
import { refuse } from './kwargs.ts';

const columnName = { type: 'string', minLength: 1 } as const;

function columnsWord(name: string, title: string, description: string, example: Word['example']): Word {
  return {
    name,
    on: 'row',
    level: 'row',
    schema: { title, description, type: 'array', minItems: 2, items: columnName },
    kwargs: (parameters) => ({ column_list: parameters }),
    example,
  };
}

export const pairEqual = definePair({
  name: 'expect_column_pair_values_to_be_equal',
  // As in pandas and SQL, a null is equal to nothing.
  bind: () => (a, b) => a !== null && b !== null && keyOf(a) === keyOf(b),
});

export const pairGreater = definePair({
  name: 'expect_column_pair_values_a_to_be_greater_than_b',
  takes: ['or_equal'],
  bind: (kwargs) => {
    const least = kwargs.flagOrNull('or_equal') ? 0 : 1;
    return (a, b) => {
      if (a === null || b === null) return false;
      if (kindOf(a) !== kindOf(b))
        throw new Unusable(`column_A holds a ${kindOf(a)} and column_B a ${kindOf(b)}: they cannot be compared.`);
      return compareCells(a, b) >= least;
    };
  },
});

export const pairInSet = definePair({
  name: 'expect_column_pair_values_to_be_in_set',
  word: {
    name: 'pair_in_set',
    on: 'row',
    level: 'row',
    schema: PAIR_IN_SET,
    kwargs: (parameters) => {
      const { pairs, ...rest } = parameters as Readonly<Record<string, unknown>>;
      return { ...rest, value_pairs_set: pairs };
    },
    example: {
      rule: '- pair_in_set: { column_A: id, column_B: status, pairs: [[1, new], [2, paid]] }',
      passes: [{ id: 1, status: 'new' }],
      fails: [{ id: 1, status: 'paid' }],
    },
  },
  takes: ['value_pairs_set'],
  bind: (kwargs) => {
    const pairs = kwargs.valueSet('value_pairs_set');
    if (pairs === null) return refuse('value_pairs_set', 'is null or missing', 'Write a list of lists of two values.');
    const keys = new Set(
      pairs.map((pair) =>
        Array.isArray(pair) && pair.length === 2
          ? keyOfCells(pair as FileCell[])
          : refuse('value_pairs_set', 'holds something that is no pair', 'Write a list of lists of two values.'),
      ),
    );
    return (a, b) => keys.has(keyOfCells([a, b]));
  },
});

export const sumEquals = defineMany({
  name: 'expect_multicolumn_sum_to_equal',
  takes: ['sum_total'],
  bind: (kwargs) => {
    const value = kwargs.get('sum_total');
    const total = decimalOf(typeof value === 'bigint' ? value : kwargs.number('sum_total'));
    if (total === null) return refuse('sum_total', 'is no finite number', 'Write a number.');
    return (values) => {
      let sum = ZERO;
      for (const cell of values) {
        if (cell === null) return false;
        sum = addDecimals(sum, decimalOfCell(cell));
      }
      return compareDecimals(sum, total) === 0;
    };
  },
});

const ZERO = new Decimal(0n, 0);

/** 0.1 and 0.2 add up to 0.3: the digits that are written are added, not the doubles nearest to them. */
function decimalOfCell(cell: Present): Decimal {
  if (cell instanceof Decimal) return cell;
  const decimal =
    typeof cell === 'number' || typeof cell === 'bigint' ? decimalOf(cell) : typeof cell === 'boolean' ? decimalOf(Number(cell)) : null;
  if (decimal === null) throw new Unusable(`column_list names a column that holds a ${kindOf(cell)}, and only numbers add up.`);
  return decimal;
}

const uniqueWithin = (name: string, word?: Word) =>
  defineMany({
    ...(word === undefined ? {} : { word }),
    name,
    bind: () => (values) => new Set(values.map((value) => keyOfCells([value]))).size === values.length,
  });
export const uniqueWithinRecord = uniqueWithin('expect_select_column_values_to_be_unique_within_record', {
  name: 'unique_within_record',
  on: 'row',
  level: 'row',
  schema: UNIQUE_WITHIN_RECORD,
  kwargs: (parameters) => (Array.isArray(parameters) ? { column_list: parameters } : (parameters as Readonly<Record<string, unknown>>)),
  example: { rule: '- unique_within_record: [id, total]', passes: [{ id: 1, total: 2 }], fails: [{ id: 1, total: 1 }] },
});
export const multicolumnUnique = uniqueWithin('expect_multicolumn_values_to_be_unique');

interface First {
  readonly value: unknown;
  readonly place: unknown;
  readonly index: number;
  isTold: boolean;
}

/** Tells every member of a group of equals, the first as well, once there is a second. */
class Duplicates {
  readonly #seen = new Map<unknown, First>();

  take(key: unknown, value: () => unknown, tally: RowTally, cells: readonly FileCell[], index: number): void {
    const first = this.#seen.get(key);
    if (first === undefined) {
      this.#seen.set(key, { value: value(), place: tally.placeOf(cells, index), index, isTold: false });
      return;
    }
    if (!first.isTold) tally.failLater(first.value, first.place, first.index);
    first.isTold = true;
    tally.failLater(value(), tally.placeOf(cells, index), index);
  }
}

export const unique: GxExpectation = {
  name: 'expect_column_values_to_be_unique',
  word: {
    name: 'unique',
    on: 'column',
    level: 'row',
    bare: true,
    schema: { title: 'Unique values', description: 'No two rows have the same value. Every row of a group of equals fails.', const: true },
    kwargs: () => ({}),
    example: { rule: 'id: [unique]', passes: [{ id: 1 }, { id: 2 }, { id: null }, { id: null }], fails: [{ id: 1 }, { id: 1 }] },
  },
  takes: ['column', 'mostly'],
  takesRows: true,
  prepare: (kwargs, slots, format) =>
    prepareColumn(kwargs, slots, format, (tally) => {
      const duplicates = new Duplicates();
      return { cell: (cell, cells, index) => duplicates.take(keyOf(cell), () => cell, tally, cells, index) };
    }),
};

export const compoundUnique: GxExpectation = {
  name: 'expect_compound_columns_to_be_unique',
  word: columnsWord('compound_unique', 'Unique rows', 'No two rows have the same values in all of these columns.', {
    rule: '- compound_unique: [id, status]',
    passes: [
      { id: 1, status: 'new' },
      { id: 1, status: 'paid' },
    ],
    fails: [
      { id: 1, status: 'new' },
      { id: 1, status: 'new' },
    ],
  }),
  takes: ['column_list', 'ignore_row_if', 'mostly'],
  takesRows: true,
  prepare: (kwargs, slots, format) => {
    kwargs.oneOf('ignore_row_if', IGNORE_MANY, 'all_values_are_missing');
    const duplicates = new Duplicates();
    return prepareMany(kwargs, slots, format, (tally, object, values, cells, index) =>
      duplicates.take(keyOfCells(values), object, tally, cells, index),
    );
  },
};

type Written = Readonly<Record<string, unknown>>;

const ownKwargs = (parameters: unknown): Written => {
  const { baseline, ...own } = parameters as Written;
  return { double_sided: true, ...(baseline === 'this' ? own : (parameters as Written)) };
};

const besideKwargs = (parameters: unknown): Written => {
  const { baseline, ...others } = parameters as Written;
  return baseline === 'previous' ? others : (parameters as Written);
};

/** Beside the windows before: Great Expectations has no such thing, and so no name for it. */
export const zScoresBeside: GxExpectation = defineAggregate({
  name: 'z_score_beside',
  takes: ['threshold', 'double_sided', 'mostly', 'baseline', 'same', 'offset', 'min_windows', 'learn'],
  window: zScoreBesideOthers,
});

/** Against the mean and deviation of the same rows: they are kept until the last is known. */
export const zScores: GxExpectation = {
  name: 'expect_column_value_z_scores_to_be_less_than',
  word: {
    name: 'z_score',
    on: 'column',
    level: 'row',
    schema: {
      title: 'Distance from the mean',
      description: 'Every value is less than so many standard deviations of all values from their mean.',
      type: 'object',
      additionalProperties: false,
      required: ['threshold'],
      properties: {
        threshold: { type: 'number', description: 'So many standard deviations.' },
        double_sided: { type: 'boolean', default: true, description: 'Values below the mean as well as above it.' },
        ...baselineProperties,
        baseline: {
          anyOf: [{ enum: ['this', 'previous'] }, durationSchema],
          default: 'this',
          title: 'Baseline',
          description:
            'Whose mean and deviation: `this`, those of the window itself; or those of all values of the windows of so long before (`7d`; `previous` is 14d), of which there have to be 3, or `min_windows`.',
        },
      },
    },
    kwargs: ownKwargs,
    or: { key: 'baseline', unless: 'this', expectation: zScoresBeside, kwargs: besideKwargs },
    example: {
      rule: 'total: [{ z_score: { threshold: 1.2 } }]',
      passes: [{ total: 1 }, { total: 2 }, { total: 3 }],
      fails: [{ total: 1 }, { total: 1 }, { total: 1 }, { total: 9 }],
    },
  },
  takes: ['column', 'threshold', 'double_sided', 'mostly'],
  takesRows: true,
  window: zScoreWindow,
  prepare: (kwargs, slots, format) =>
    prepareColumn(kwargs, slots, format, (tally) => {
      const scores = ownZScoresOf(kwargs);
      const sums = new Sums();
      const kept: { readonly cell: Present; readonly place: unknown; readonly index: number }[] = [];
      return {
        cell: (cell, cells, index) => {
          if (kindOf(cell) !== 'number') throw new Unusable(`column holds a ${kindOf(cell)}, and only numbers have z-scores.`);
          sums.add(cell);
          kept.push({ cell, place: tally.placeOf(cells, index), index });
        },
        end: () => {
          const passes = isUnder(scores, centerOf(sums));
          for (const { cell, place, index } of kept) if (!passes(doubleOf(cell))) tally.failLater(cell, place, index);
        },
      };
    }),
};
