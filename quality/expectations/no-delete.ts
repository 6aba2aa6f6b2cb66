/** no_delete: a guard of rows that are never deleted, or of some of them by `where`. */
import { defineExpectation } from '../expectation.ts';
import { Outcome } from '../outcome.ts';

export const noDelete = defineExpectation({
  name: 'no_delete',
  on: 'row',
  bare: true,
  judgesNulls: true,
  ops: ['delete', 'truncate'],
  schema: {
    const: true,
    title: 'No deletes',
    description:
      'No row is deleted, and the table is not truncated. With where, rows that meet it (by before) are not deleted; a truncate has no row to ask.',
  },
  // It meets nothing else.
  bind: () => ({ columns: [], reason: 'the row was deleted, and is kept for ever', test: () => Outcome.Fail }),
});
