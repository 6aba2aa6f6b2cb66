/** between: bounds on numbers, decimals, timestamps, dates and texts, each compared exactly. */
import { cellTest, columnOf, defineExpectation } from '../expectation.ts';
import { compareOrdered, ordered } from '../literals.ts';

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
    if (coversType(column.native, parameters.min, parameters.max)) {
      return site.refuse(`covers every ${column.native}, so it can never fail`, 'Narrow the bounds, or remove the check.');
    }
    const [low, high] = [min?.compare, max?.compare];
    const least = strictMin ? 1 : 0;
    const most = strictMax ? -1 : 0;
    const test = cellTest(site, (cell) => (low === undefined || low(cell) >= least) && (high === undefined || high(cell) <= most));
    return { test, columns: [column.index], reason: reason(parameters, strictMin, strictMax) };
  },
});

const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  smallint: [-32_768, 32_767],
  int2: [-32_768, 32_767],
  integer: [-2_147_483_648, 2_147_483_647],
  int4: [-2_147_483_648, 2_147_483_647],
};

function coversType(native: string, min: number | string | undefined, max: number | string | undefined): boolean {
  const range = RANGES[native];
  return range !== undefined && (min === undefined || Number(min) <= range[0]) && (max === undefined || Number(max) >= range[1]);
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
