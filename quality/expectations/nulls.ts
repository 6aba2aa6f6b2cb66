/** not_null and null: judged from the length of an encoded cell, without decoding it. */
import { CELL_NULL, UNCHANGED } from '../../core/event.ts';
import { lengthOf } from '../encoded/cells.ts';
import { columnOf, defineExpectation } from '../expectation.ts';
import { Outcome } from '../outcome.ts';

const flag = { const: true, title: 'No parameters' } as const;

export const notNull = defineExpectation({
  name: 'not_null',
  bare: true,
  judgesNulls: true,
  schema: { ...flag, description: 'The column has a value in every row.' },
  bind: (_, site) => {
    const { index } = columnOf(site);
    const at = 2 * index;
    return {
      reason: 'is null',
      columns: [index],
      test: (row) => (row.value(index) === null ? Outcome.Fail : Outcome.Pass),
      cell: () => true,
      isInterval: true,
      encoded: () => (row) => (lengthOf(row, at) === CELL_NULL ? Outcome.Fail : Outcome.Pass),
    };
  },
});

export const isNullCheck = defineExpectation({
  name: 'null',
  bare: true,
  judgesNulls: true,
  schema: { ...flag, description: 'The column is null in every row (together with `where`: in those rows).' },
  bind: (_, site) => {
    const { index, nullable } = columnOf(site);
    if (!nullable) return site.refuse(`always fails: the column cannot be null`, 'Remove the check, or correct the column.');
    const at = 2 * index;
    return {
      reason: 'is not null',
      columns: [index],
      test: (row) => {
        const value = row.value(index);
        return value === null || value === UNCHANGED ? Outcome.Pass : Outcome.Fail;
      },
      encoded: () => (row) => (lengthOf(row, at) < 0 ? Outcome.Pass : Outcome.Fail),
    };
  },
});
