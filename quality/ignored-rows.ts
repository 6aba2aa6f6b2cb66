/** `ignore_row_if`: rows that a check of several columns does not judge. Where a share of rows has to pass, they are none of it. */
import type { Row } from '../core/event.ts';
import type { Check } from './contract.ts';
import type { Bound } from './expectation.ts';
import { isObject } from './rule-text.ts';

const OF_SEVERAL = ['pair_equal', 'pair_greater', 'pair_in_set', 'sum_equals', 'unique_within_record'];

/** Whether a row is ignored; null where none is, and where it makes no difference, since each row has to pass. */
export function ignoredRows({ expectation, parameters, mostly }: Check, { columns, isMissing }: Bound): ((row: Row) => boolean) | null {
  if (mostly === 1 || !OF_SEVERAL.includes(expectation.name)) return null;
  const policy = isObject(parameters) ? parameters['ignore_row_if'] : undefined;
  if (policy === 'neither' || policy === 'never') return null;
  const enough = policy === 'either_value_is_missing' || policy === 'any_value_is_missing' ? 1 : columns.length;
  return (row) => {
    let missing = 0;
    for (const column of columns) if (row.value(column) === null || isMissing?.(row, column) === true) missing++;
    return missing >= enough;
  };
}
