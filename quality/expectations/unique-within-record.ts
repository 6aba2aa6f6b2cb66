/** unique_within_record: no two of the columns have the same value in one row. */
import type { Compare } from '../../core/expression/operators.ts';
import { type Row, UNCHANGED } from '../../core/event.ts';
import { defineExpectation, type Site } from '../expectation.ts';
import { Outcome } from '../outcome.ts';
import type { FromSchema } from '../schema-type.ts';
import { IGNORE_MANY, pairComparison } from './pairs.ts';

const columns = { type: 'array', minItems: 2, items: { type: 'string', minLength: 1 } } as const;

export const UNIQUE_WITHIN_RECORD = {
  title: 'Different values in a row',
  description: 'No two of these columns have the same value in a row. Two that are missing are the same.',
  anyOf: [
    { ...columns, description: 'The columns.' },
    {
      type: 'object',
      additionalProperties: false,
      required: ['column_list'],
      properties: {
        column_list: { ...columns, description: 'The columns.' },
        ignore_row_if: { ...IGNORE_MANY, description: 'Rows that are not judged.' },
      },
    },
  ],
} as const;

type Parameters = FromSchema<typeof UNIQUE_WITHIN_RECORD>;

export const uniqueWithinRecord = defineExpectation({
  name: 'unique_within_record',
  on: 'row',
  judgesNulls: true,
  schema: UNIQUE_WITHIN_RECORD,
  bind: (parameters, site) => {
    const names = 'column_list' in parameters ? parameters.column_list : parameters;
    const at = 'column_list' in parameters ? ['column_list'] : [];
    const twice = names.findIndex((name, index) => names.indexOf(name) < index);
    if (twice >= 0) return site.refuse(`names ${names[twice]} twice, so it always fails`, 'Name it once.', ...at, twice);
    const indices = names.map((name, index) => site.columnIndex(name, ...at, index));
    if (!indices.every((index) => index !== null)) return null;
    const pairs = comparablePairs(site, indices);
    if (pairs.every(({ compare }) => compare === null))
      return site.refuse(`no two of ${names.join(', ')} are of one kind, so they are never the same`, 'Compare columns of one kind.');
    const ignoredNulls = ignoredFrom(parameters, indices.length);
    return {
      columns: indices,
      reason: `two of ${names.join(', ')} have the same value`,
      test: (row) => {
        if (nullsIn(row, indices) >= ignoredNulls) return Outcome.Pass;
        for (const { a, b, compare } of pairs) {
          const x = row.value(a);
          const y = row.value(b);
          if (x === UNCHANGED || y === UNCHANGED) continue;
          if (x === null || y === null) {
            if (x === y) return Outcome.Fail;
            continue;
          }
          const order = compare === null ? 1 : compare(x, y);
          if (Number.isNaN(order)) return Outcome.Unreadable;
          if (order === 0) return Outcome.Fail;
        }
        return Outcome.Pass;
      },
    };
  },
});

interface Pair {
  readonly a: number;
  readonly b: number;
  /** Null where values of the two are never the same. */
  readonly compare: Compare | null;
}

function comparablePairs({ dataset }: Site, indices: readonly number[]): readonly Pair[] {
  return indices.flatMap((a, at) =>
    indices.slice(at + 1).map((b) => {
      const [first, second] = [dataset.columns[a], dataset.columns[b]];
      return { a, b, compare: first === undefined || second === undefined ? null : pairComparison(first, second) };
    }),
  );
}

/** How many missing values keep a row from being judged; Infinity: none do. */
function ignoredFrom(parameters: Parameters, columnCount: number): number {
  switch ('column_list' in parameters ? parameters.ignore_row_if : undefined) {
    case 'never':
      return Infinity;
    case 'any_value_is_missing':
      return 1;
    case 'all_values_are_missing':
    case undefined:
      return columnCount;
  }
}

function nullsIn(row: Row, indices: readonly number[]): number {
  let nulls = 0;
  for (const index of indices) if (row.value(index) === null) nulls++;
  return nulls;
}
