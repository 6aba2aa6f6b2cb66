/** What is read of the rows for a change of their table: columns alone only where these tell no rows apart, and are known by number. */
import { expect, test } from 'vitest';
import { neededColumns, type PlacedShape } from '../../sync/postgres/schema-plan.ts';

const column = (name: string, id: number | null) => ({ name, native: 'integer', id, place: `its_${name}` });
const SHAPE: PlacedShape = { columns: [column('id', 1), column('n', 2), column('old', null)], dropped: [], key: ['id'], storage: null };

test.each([
  [['its_n'], [{ id: 2, name: 'n' }]],
  [['its_n', 'its_id'], null],
  [['its_n', 'its_old'], null],
  [['its_gone'], null],
  ['rows' as const, null],
])('%j needs %j', (needs, columns) => {
  expect(neededColumns(needs, SHAPE)).toEqual(columns);
});
