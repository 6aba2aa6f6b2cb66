/** between: bounds on numbers, decimals, timestamps, dates and texts, each compared exactly. */
import type { ColumnType } from '../../core/event.ts';
import { compareDecimalTexts } from '../../core/expression/decimal.ts';
import { microsOf } from '../../core/expression/timestamp.ts';
import type { EncodedCells } from '../encoded/cells.ts';
import { type Bounds, momentsBetween, numbersBetween, timesBetween } from '../encoded/tests.ts';
import { cellTests, columnOf, defineExpectation } from '../expectation.ts';
import { compareOrdered, ordered } from '../literals.ts';
import { limitsOf } from '../type-limits.ts';

const bound = { type: ['number', 'string'] } as const;

export const between = defineExpectation({
  name: 'between',
  schema: {
    type: 'object',
    title: 'Bounds',
    description: 'The value lies between min and max, both included unless strict_min or strict_max. A bound left out is open.',
    additionalProperties: false,
    minProperties: 1,
    properties: {
      min: { ...bound, description: "The least value: a number, or a date or timestamp in quotes ('2026-01-01')." },
      max: { ...bound, description: 'The greatest value.' },
      strict_min: { type: 'boolean', default: false, description: 'The value has to be greater than min.' },
      strict_max: { type: 'boolean', default: false, description: 'The value has to be less than max.' },
    },
  },
  bind: (parameters, site) => {
    const column = columnOf(site);
    if (parameters.min === undefined && parameters.max === undefined) {
      return site.refuse('has neither min nor max, so it can never fail', 'Give it a min, a max, or both.');
    }
    const min = parameters.min === undefined ? undefined : ordered(parameters.min, column, site, 'min');
    const max = parameters.max === undefined ? undefined : ordered(parameters.max, column, site, 'max');
    if (min === null || max === null) return null;
    const [strictMin, strictMax] = [parameters.strict_min === true, parameters.strict_max === true];
    if (min !== undefined && max !== undefined) {
      const order = compareOrdered(min, max, column);
      if (order > 0) return site.refuse('min is greater than max, so it always fails', 'Exchange them.');
      if (order === 0 && (strictMin || strictMax))
        return site.refuse('min equals max and is excluded, so it always fails', 'Remove strict_min and strict_max, or widen the bounds.');
    }
    if (strictMin && min === undefined) site.warn('strict_min has no min to make strict', 'Remove it, or give a min.', 'strict_min');
    if (strictMax && max === undefined) site.warn('strict_max has no max to make strict', 'Remove it, or give a max.', 'strict_max');
    const limits = limitsOf(column);
    if (limits !== null) {
      if (min !== undefined && compareDecimalTexts(min.text, limits.max) > (strictMin ? -1 : 0))
        return site.refuse(`min is greater than every ${column.native}, so it always fails`, 'Lower it.', 'min');
      if (max !== undefined && compareDecimalTexts(max.text, limits.min) < (strictMax ? 1 : 0))
        return site.refuse(`max is less than every ${column.native}, so it always fails`, 'Raise it.', 'max');
      const startsBelow = min === undefined || compareDecimalTexts(min.text, limits.min) < (strictMin ? 0 : 1);
      const endsAbove = max === undefined || compareDecimalTexts(max.text, limits.max) > (strictMax ? 0 : -1);
      if (startsBelow && endsAbove && !limits.hasMore)
        return site.refuse(`covers every ${column.native}, so it can never fail`, 'Narrow the bounds, or remove the check.');
    }
    const [low, high] = [min?.compare, max?.compare];
    const least = strictMin ? 1 : 0;
    const most = strictMax ? -1 : 0;
    const tests = cellTests(
      site,
      (cell) => (low === undefined || low(cell) >= least) && (high === undefined || high(cell) <= most),
      encodedBetween(column.type, { min: min?.text, max: max?.text, strictMin, strictMax }),
    );
    return { ...tests, isInterval: true, columns: [column.index], reason: reason(parameters, strictMin, strictMax) };
  },
});

function encodedBetween(type: ColumnType, bounds: Bounds<string>): EncodedCells | undefined {
  switch (type) {
    case 'integer':
    case 'decimal':
    case 'float':
      return numbersBetween(bounds);
    case 'timestamp':
    case 'date': {
      const micros = (text: string | undefined) => (text === undefined ? undefined : (microsOf(text) ?? undefined));
      return momentsBetween({ ...bounds, min: micros(bounds.min), max: micros(bounds.max) });
    }
    case 'time':
      return timesBetween(bounds);
    default:
      return undefined;
  }
}

function reason(
  parameters: { readonly min?: number | string; readonly max?: number | string },
  strictMin: boolean,
  strictMax: boolean,
): string {
  const { min, max } = parameters;
  if (min === undefined) return strictMax ? `is not less than ${max}` : `is greater than ${max}`;
  if (max === undefined) return strictMin ? `is not greater than ${min}` : `is less than ${min}`;
  const strict = strictMin && strictMax ? ', both excluded' : strictMin ? `, ${min} excluded` : strictMax ? `, ${max} excluded` : '';
  return `is not between ${min} and ${max}${strict}`;
}
