/** change_between: how far an update may move a number or a date, as a difference or as a share of the old value. Exact: decimals are never rounded. */
import { addDecimals, compareDecimals, decimalOf, multiplyDecimals, negateDecimal, parseDecimal } from '../../core/expression/decimal.ts';
import { microsOf } from '../../core/expression/timestamp.ts';
import { Decimal } from '../../core/expression/values.ts';
import { columnOf, defineExpectation, type Site, typeOf } from '../expectation.ts';
import { Unreadable } from '../literals.ts';
import { changeTest, type Known } from './changes.ts';

const bound = { type: ['number', 'string'] } as const;

export const changeBetween = defineExpectation({
  name: 'change_between',
  judgesNulls: true,
  needsBefore: true,
  schema: {
    type: 'object',
    title: 'Bounds of a change',
    description:
      'An update moves the column by no less than min and no more than max: the new value less the old one, of dates and timestamps in seconds; or, as percent, that for each hundred of the old value’s size.',
    additionalProperties: false,
    minProperties: 1,
    properties: {
      min: { ...bound, description: 'The least change; below zero where the value may fall. Left out: any.' },
      max: { ...bound, description: 'The greatest change. Left out: any.' },
      strict_min: { type: 'boolean', default: false, description: 'The change has to be greater than min.' },
      strict_max: { type: 'boolean', default: false, description: 'The change has to be less than max.' },
      as: { enum: ['difference', 'percent'], default: 'difference', description: 'What the bounds are of.' },
    },
  },
  bind: (parameters, site) => {
    const column = columnOf(site);
    const read = READERS[column.type];
    const isPercent = parameters.as === 'percent';
    if (read === undefined || (isPercent && read === dateOf))
      return site.refuse(
        `${column.name} is ${typeOf(column)}, ${read === undefined ? 'which has no differences' : 'and a date has no percentages'}`,
        read === undefined ? 'Name a column of numbers, dates or timestamps, or use an expr.' : 'Remove as: the bounds are in seconds.',
      );
    const [min, max] = [boundOf(parameters.min, 'min', site), boundOf(parameters.max, 'max', site)];
    if (min === 'refused' || max === 'refused') return null;
    if (min === null && max === null) return site.refuse('change_between has no bound', 'Give min or max.');
    const strict = { min: parameters.strict_min === true, max: parameters.strict_max === true };
    if (min !== null && max !== null && isEmpty(min, max, strict.min || strict.max))
      return site.refuse('no change lies between min and max', 'Exchange them, or remove strict_min and strict_max.', 'min');
    return {
      columns: [column.index],
      reason: 'moved further than it may from its old value',
      // Without a value before there is no change to measure, and without one after not_null judges.
      test: changeTest(site, (before, after) => {
        if (before === null || after === null) return true;
        const [from, to] = [read(before), read(after)];
        const change = addDecimals(to, negateDecimal(from));
        const size = isPercent ? sizeOf(from) : ONE;
        const moved = isPercent ? multiplyDecimals(change, HUNDRED) : change;
        // Bounds grow with the old value, so that nothing has to be divided; of an old 0 any change is beyond every percentage.
        if (compareDecimals(size, ZERO) === 0) return withinOpen(compareDecimals(moved, ZERO), min, max, strict);
        return (
          (min === null || compareDecimals(moved, multiplyDecimals(min, size)) >= (strict.min ? 1 : 0)) &&
          (max === null || compareDecimals(moved, multiplyDecimals(max, size)) <= (strict.max ? -1 : 0))
        );
      }),
    };
  },
});

const [ZERO, ONE, HUNDRED] = [new Decimal(0n, 0), new Decimal(1n, 0), new Decimal(100n, 0)];

type Bounds = { readonly min: boolean; readonly max: boolean };

/** An old value of 0: no change is 0 percent, any other is infinite. */
function withinOpen(direction: number, min: Decimal | null, max: Decimal | null, strict: Bounds): boolean {
  if (direction > 0) return max === null;
  if (direction < 0) return min === null;
  return (
    (min === null || compareDecimals(ZERO, min) >= (strict.min ? 1 : 0)) &&
    (max === null || compareDecimals(ZERO, max) <= (strict.max ? -1 : 0))
  );
}

function isEmpty(min: Decimal, max: Decimal, isStrict: boolean): boolean {
  const order = compareDecimals(min, max);
  return order > 0 || (order === 0 && isStrict);
}

function sizeOf(value: Decimal): Decimal {
  return compareDecimals(value, ZERO) < 0 ? negateDecimal(value) : value;
}

function boundOf(written: number | string | undefined, name: string, site: Site): Decimal | null | 'refused' {
  if (written === undefined) return null;
  const read = typeof written === 'string' ? parseDecimal(written) : decimalOf(written);
  if (read !== null) return read;
  site.refuse(`${name} is no number`, 'Write a number, with many digits in quotes.', name);
  return 'refused';
}

type Read = (value: Exclude<Known, null>) => Decimal;

function numberOf(value: Exclude<Known, null>): Decimal {
  const read =
    typeof value === 'number' || typeof value === 'bigint' ? decimalOf(value) : typeof value === 'string' ? parseDecimal(value) : null;
  if (read === null) throw new Unreadable('not a finite number');
  return read;
}

function dateOf(value: Exclude<Known, null>): Decimal {
  const micros = typeof value === 'string' ? microsOf(value) : null;
  if (micros === null) throw new Unreadable('not a finite date');
  return new Decimal(micros, 6);
}

const READERS: Readonly<Record<string, Read | undefined>> = {
  integer: numberOf,
  decimal: numberOf,
  float: numberOf,
  date: dateOf,
  timestamp: dateOf,
};
