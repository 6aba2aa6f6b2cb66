/** pair_equal, pair_greater and sum_equals: columns of one row against each other. */
import { COLUMN_TYPES } from '../../core/expression/cells.ts';
import { addDecimals, compareDecimals, decimalOf, parseDecimal, scaleOf, shortUnscaled } from '../../core/expression/decimal.ts';
import { type Compare, comparison } from '../../core/expression/operators.ts';
import { hasTextOrder, isCaseless, isPadded, unpadded } from '../../core/expression/columns.ts';
import { Decimal, type Operand } from '../../core/expression/values.ts';
import { type Column, type Row, UNCHANGED, type Value } from '../../core/event.ts';
import { partsOf } from '../encoded/numeric.ts';
import { pairTest, sumTest } from '../encoded/pairs.ts';
import { type Bound, defineExpectation, type Site, typeOf } from '../expectation.ts';
import { Unreadable } from '../literals.ts';
import { Outcome } from '../outcome.ts';

const column = { type: 'string', minLength: 1 } as const;
export const IGNORE_PAIR = {
  enum: ['both_values_are_missing', 'either_value_is_missing', 'neither'],
  default: 'both_values_are_missing',
  description: 'Rows that are not judged. Where one value is missing and the row is judged, it fails.',
} as const;
export const IGNORE_MANY = {
  enum: ['all_values_are_missing', 'any_value_is_missing', 'never'],
  default: 'all_values_are_missing',
} as const;

export const pairEqual = defineExpectation({
  name: 'pair_equal',
  on: 'row',
  judgesNulls: true,
  schema: {
    type: 'object',
    title: 'Equal columns',
    description: 'Two columns have the same value.',
    additionalProperties: false,
    required: ['column_A', 'column_B'],
    properties: {
      column_A: { ...column, description: 'One column.' },
      column_B: { ...column, description: 'The other.' },
      ignore_row_if: IGNORE_PAIR,
    },
  },
  bind: (parameters, site) => bindPair(parameters, site, 'equal'),
});

export const pairGreater = defineExpectation({
  name: 'pair_greater',
  on: 'row',
  judgesNulls: true,
  schema: {
    type: 'object',
    title: 'Ordered columns',
    description: 'column_A is greater than column_B.',
    additionalProperties: false,
    required: ['column_A', 'column_B'],
    properties: {
      column_A: { ...column, description: 'The greater column.' },
      column_B: { ...column, description: 'The lesser column.' },
      or_equal: { type: 'boolean', default: false, description: 'Equal values pass too.' },
      ignore_row_if: IGNORE_PAIR,
    },
  },
  bind: (parameters, site) => {
    if (parameters.column_A === parameters.column_B) {
      const outcome = parameters.or_equal === true ? 'can never fail' : 'always fails';
      return site.refuse(`compares ${parameters.column_A} with itself, so it ${outcome}`, 'Name two columns.');
    }
    const orEqual = parameters.or_equal === true;
    return bindPair(parameters, site, orEqual ? 'greater or equal' : 'greater');
  },
});

type PairParameters = {
  readonly column_A: string;
  readonly column_B: string;
  readonly ignore_row_if?: 'both_values_are_missing' | 'either_value_is_missing' | 'neither';
};

function bindPair(parameters: PairParameters, site: Site, word: 'equal' | 'greater' | 'greater or equal'): Bound | null {
  if (parameters.column_A === parameters.column_B)
    return site.refuse(`compares ${parameters.column_A} with itself, so it can never fail`, 'Name two columns.');
  const a = site.columnIndex(parameters.column_A, 'column_A');
  const b = site.columnIndex(parameters.column_B, 'column_B');
  const [first, second] = [site.dataset.columns[a ?? -1], site.dataset.columns[b ?? -1]];
  if (a === null || b === null || first === undefined || second === undefined) return null;
  const compare = pairComparison(first, second);
  if (compare === null || (word !== 'equal' && !(hasOrder(first) && hasOrder(second)))) {
    return site.refuse(
      `${first.name} is ${typeOf(first)} and ${second.name} is ${typeOf(second)}: they cannot be compared`,
      'Compare columns of one kind, or use an expr.',
    );
  }
  const policy = parameters.ignore_row_if ?? 'both_values_are_missing';
  const whenOneNull = policy === 'either_value_is_missing' ? Outcome.Pass : Outcome.Fail;
  const whenBothNull = policy === 'neither' && word !== 'equal' ? Outcome.Fail : Outcome.Pass;
  const [equal, greater] = [word !== 'greater', word !== 'equal'];
  const valuesOnly = [first, second].some((side) => isPadded(side) || isCaseless(side));
  return {
    columns: [a, b],
    reason: `${first.name} is not ${word === 'equal' ? 'equal to' : word === 'greater' ? 'greater than' : 'greater than or equal to'} ${second.name}`,
    encoded: (types) => pairTest({ columns: [a, b], equal, greater, whenOneNull, whenBothNull, valuesOnly }, types),
    test: (row) => {
      const x = row.value(a);
      const y = row.value(b);
      if (x === UNCHANGED || y === UNCHANGED) return Outcome.Pass;
      if (x === null || y === null) return x === y ? whenBothNull : whenOneNull;
      const order = compare(x, y);
      if (Number.isNaN(order)) return Outcome.Unreadable;
      return (equal && order === 0) || (greater && order > 0) ? Outcome.Pass : Outcome.Fail;
    },
  };
}

/** Numbers, moments, times of day without a zone, and texts. */
function hasOrder(column: Column): boolean {
  return COLUMN_TYPES[column.type] === 'string' ? hasTextOrder(column) : column.type !== 'boolean' && column.type !== 'bytes';
}

/** How cells of two columns are compared by value; null where no two of them can be equal. */
export function pairComparison(a: Column, b: Column): Compare | null {
  const types = new Set([a.type, b.type]);
  // An exact decimal beside a float: as decimals, since the float's own text is exact enough to be one.
  if (types.has('decimal') && types.has('float')) {
    return (x, y) => {
      const left = decimalOf(x as string | number);
      const right = decimalOf(y as string | number);
      if (left === null || right === null) throw new Unreadable('not a number');
      return compareDecimals(left, right);
    };
  }
  const compare = comparison(COLUMN_TYPES[a.type], COLUMN_TYPES[b.type]);
  if (isCaseless(a) || isCaseless(b)) return compare === null ? null : (x, y) => compare(textOf(x).toLowerCase(), textOf(y).toLowerCase());
  if (isPadded(a) || isPadded(b)) return compare === null ? null : (x, y) => compare(unpadded(textOf(x)), unpadded(textOf(y)));
  return compare;
}

function textOf(value: Operand): string {
  if (typeof value !== 'string') throw new Unreadable('not a text');
  return value;
}

export const sumEquals = defineExpectation({
  name: 'sum_equals',
  on: 'row',
  judgesNulls: true,
  schema: {
    type: 'object',
    title: 'Sum of columns',
    description: 'The columns of column_list add up to sum_total, or to the column sum_column: exactly, or within tolerance.',
    additionalProperties: false,
    required: ['column_list'],
    properties: {
      column_list: { type: 'array', minItems: 1, items: column, description: 'The columns that are added.' },
      sum_total: { type: ['number', 'string'], description: 'The number they add up to.' },
      sum_column: { ...column, description: 'The column they add up to.' },
      tolerance: { type: ['number', 'string'], default: 0, description: 'The greatest difference that passes.' },
      ignore_row_if: {
        ...IGNORE_MANY,
        description: 'Rows that are not judged. Where a value is missing and the row is judged, it fails.',
      },
    },
  },
  bind: (parameters, site) => {
    const { sum_total: total, sum_column: totalColumn } = parameters;
    if ((total === undefined) === (totalColumn === undefined))
      return site.refuse('needs either sum_total or sum_column', 'Give one of them.');
    const wanted = total === undefined ? null : parseDecimal(String(total).trim());
    const tolerance = parseDecimal(String(parameters.tolerance ?? 0).trim());
    if (total !== undefined && wanted === null) return site.refuse(`"${total}" is no number`, 'Write a number.', 'sum_total');
    if (tolerance === null || tolerance.unscaled < 0n)
      return site.refuse('the tolerance is no number, or below zero', 'Write a number such as 0.01.', 'tolerance');
    const names = totalColumn === undefined ? parameters.column_list : [...parameters.column_list, totalColumn];
    const indices = names.map((name, index) =>
      numericColumn(site, name, index < parameters.column_list.length ? ['column_list', index] : ['sum_column']),
    );
    if (totalColumn !== undefined && parameters.column_list.includes(totalColumn))
      site.warn(`${totalColumn} is added to what it has to equal`, 'Leave it out of column_list.', 'sum_column');
    if (!indices.every((index) => index !== null)) return null;
    const policy = parameters.ignore_row_if ?? 'all_values_are_missing';
    const added = parameters.column_list.length;
    const withinTolerance = tolerance.unscaled === 0n ? null : tolerance;
    const canBeShort = withinTolerance === null && wanted === null && indices.length <= 8;
    const whenAllNull = policy === 'never' ? Outcome.Fail : Outcome.Pass;
    const whenSomeNull = policy === 'any_value_is_missing' ? Outcome.Pass : Outcome.Fail;
    const [amount, difference] = [partsOf(String(total ?? 0).trim()), partsOf(String(parameters.tolerance ?? 0).trim())];
    return {
      columns: indices,
      reason: `${parameters.column_list.join(' and ')} do not add up to ${totalColumn ?? total}`,
      encoded: (types) =>
        amount === null || difference === null
          ? null
          : sumTest({ columns: indices, added, total: amount, tolerance: difference, whenSomeNull, whenAllNull }, types),
      test: (row) => {
        if (canBeShort) {
          const outcome = shortSum(row, indices, added);
          if (outcome !== null) return outcome;
        }
        let sum = ZERO;
        let missing = 0;
        let expected = wanted ?? ZERO;
        for (const [place, index] of indices.entries()) {
          const value = row.value(index);
          if (value === UNCHANGED) return Outcome.Pass;
          if (value === null) missing++;
          else if (place < added) sum = addDecimals(sum, decimalOfCell(value));
          else expected = decimalOfCell(value);
        }
        if (missing > 0) return missing === indices.length ? whenAllNull : whenSomeNull;
        if (withinTolerance === null) return compareDecimals(sum, expected) === 0 ? Outcome.Pass : Outcome.Fail;
        const difference = addDecimals(sum, new Decimal(-expected.unscaled, expected.scale));
        const distance = difference.unscaled < 0n ? new Decimal(-difference.unscaled, difference.scale) : difference;
        return compareDecimals(distance, withinTolerance) <= 0 ? Outcome.Pass : Outcome.Fail;
      },
    };
  },
});

const ZERO = new Decimal(0n, 0);

/** Short decimals of one scale, as money mostly is, are added as integers; null where the cells are of another kind, for the long way. */
function shortSum(row: Row, indices: readonly number[], added: number): Outcome | null {
  let scale = -1;
  let sum = 0;
  for (let place = 0; place < indices.length; place++) {
    const value = row.value(indices[place] ?? -1);
    if (typeof value !== 'string') return null;
    const own = scaleOf(value);
    if (scale >= 0 && own !== scale) return null;
    scale = own;
    const unscaled = shortUnscaled(value);
    if (Number.isNaN(unscaled)) return null;
    sum += place < added ? unscaled : -unscaled;
  }
  return sum === 0 ? Outcome.Pass : Outcome.Fail;
}

function decimalOfCell(value: Exclude<Value, null | typeof UNCHANGED>): Decimal {
  const decimal = typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' ? decimalOf(value) : null;
  if (decimal === null) throw new Unreadable('not a number');
  return decimal;
}

function numericColumn(site: Site, name: string, at: readonly (string | number)[]): number | null {
  const index = site.columnIndex(name, ...at);
  const found = site.dataset.columns[index ?? -1];
  if (index === null || found === undefined) return null;
  if (found.type === 'integer' || found.type === 'decimal' || found.type === 'float') return index;
  return site.refuse(
    `${name} is ${typeOf(found)}, and only numbers add up`,
    'Name a column of numbers, or use an expr with decimal(…).',
    ...at,
  );
}
