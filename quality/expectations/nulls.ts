/** not_null and null: judged from the length of an encoded cell, without decoding it. */
import { CELL_NULL, CELL_UNCHANGED, type Row, UNCHANGED } from '../../core/event.ts';
import { columnOf, defineExpectation, Outcome } from '../expectation.ts';

const flag = { const: true, title: 'No parameters' } as const;

export const notNull = defineExpectation({
  name: 'not_null',
  bare: true,
  judgesNulls: true,
  schema: { ...flag, description: 'The column has a value in every row.' },
  bind: (_, site) => {
    const { index } = columnOf(site);
    return { reason: 'is null', columns: [index], test: (row) => (isNull(row, index) ? Outcome.Fail : Outcome.Pass) };
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
    return {
      reason: 'is not null',
      columns: [index],
      test: (row) => (isNull(row, index) || isUnchanged(row, index) ? Outcome.Pass : Outcome.Fail),
    };
  },
});

function isNull(row: Row, index: number): boolean {
  const { encoded } = row;
  return encoded === null ? row.value(index) === null : encoded.cells[encoded.at + 2 * index + 1] === CELL_NULL;
}

function isUnchanged(row: Row, index: number): boolean {
  const { encoded } = row;
  return encoded === null ? row.value(index) === UNCHANGED : encoded.cells[encoded.at + 2 * index + 1] === CELL_UNCHANGED;
}
