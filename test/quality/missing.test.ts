/** `missing`: values that stand for none are nulls to the check that names them, on a stream, where rows come encoded, over windows and over files; and to no other. */
import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import type { Value } from '../../core/event.ts';
import { compileContract } from '../../quality/compile.ts';
import { Outcome } from '../../quality/outcome.ts';
import { type Cells, contractOf, insert, lines, orders, problemsOf, rule } from './support.ts';

const SEED = 20261127;

/** Checks of each kind, with values that pass and fail. */
const CHECKS: readonly [keyof Cells, object, readonly Value[]][] = [
  ['status', { not_null: true }, ['new', '']],
  ['status', { null: true }, ['new', '']],
  ['status', { in_set: ['new'] }, ['new', 'gone']],
  ['status', { not_in_set: ['gone'] }, ['new', 'gone']],
  ['status', { length: { max: 3 } }, ['new', 'gone']],
  ['status', { match_regex: '^n' }, ['new', 'gone']],
  ['status', { match_like_list: ['n%', '%w'] }, ['new', 'gone']],
  ['email', { format: 'email' }, ['a@b.org', 'a']],
  ['status', { type: 'integer' }, ['12', 'gone']],
  ['status', { json_parseable: true }, ['[]', '[']],
];

test('a value that stands for none is judged as a null is, whatever the check says of nulls', () => {
  const cases = fc.record({
    check: fc.constantFrom(...CHECKS),
    nulls: fc.constantFrom<object>({}, { nulls: 'fail' }, { nulls: 'pass' }),
    at: fc.nat(1),
  });
  fc.assert(
    fc.property(cases, ({ check: [column, check, values], nulls, at }) => {
      const speaks = 'not_null' in check || 'null' in check ? {} : nulls;
      const plain = rule(column, { ...check, ...speaks });
      const masked = rule(column, { ...check, ...speaks, missing: ['N/A', '-'] });
      for (const token of ['N/A', '-']) expect(masked(insert({ [column]: token }))).toBe(plain(insert({ [column]: null })));
      const value = values[at] ?? null;
      for (const one of [value, null, 'n/a']) expect(masked(insert({ [column]: one }))).toBe(plain(insert({ [column]: one })));
    }),
    { seed: SEED, numRuns: 200 },
  );
});

test('numbers and times are compared by their values', () => {
  const total = rule('total', { between: { min: 0, max: 10 }, missing: [9999] });
  expect(['9999.00', '9999', '9998.99', '5'].map((value) => total(insert({ total: value })))).toEqual([true, true, false, true]);
  const day = rule('created_at', { not_null: true, missing: ['1900-01-01'] });
  expect(day(insert({ created_at: '1900-01-01 01:00:00+01' }))).toBe(false);
  expect(rule('total', { between: { min: 0 }, missing: [9999] })(insert({ total: 'NaN' }))).toBe('unreadable');
});

test('of several columns each counts by itself', () => {
  const pair = (check: object) => rule(null, check);
  const greater = pair({ pair_greater: { column_A: 'total', column_B: 'net', ignore_row_if: 'either_value_is_missing' }, missing: [-1] });
  expect([greater(insert({ total: '1', net: '2' })), greater(insert({ total: '-1.0', net: '2' }))]).toEqual([false, true]);
  const listed = pair({ pair_in_set: { column_A: 'items', column_B: 'status', pairs: [[1, null]] }, missing: ['', 0] });
  expect([
    listed(insert({ items: 1, status: '' })),
    listed(insert({ items: 0, status: '' })),
    listed(insert({ items: 2, status: '' })),
  ]).toEqual([true, true, false]);
});

test('of the whole file: in the columns of which it is a value, for checks that say nothing of it themselves', () => {
  const found = compileContract(
    contractOf(`defaults: { missing: ['', n/a, 9999, '1900-01-01'] }
columns:
  status: [not_null, { id: own, not_null: true, missing: [none] }, unique]
  total: [not_null, { between: { max: 10 } }]
  created_at: [not_null]
checks: [{ pair_equal: { column_A: total, column_B: net } }, { expr: 'after.status != ""' }]`),
    orders,
  );
  if (Array.isArray(found)) throw new Error(lines(found).join('\n'));
  const failing = (cells: Cells) => found.rules.filter(({ test }) => test(insert(cells)) !== Outcome.Pass).map(({ id }) => id);
  const good = { status: 'new', total: '1', net: '1', created_at: '2026-01-01 00:00:00+00' };
  expect(failing(good)).toEqual([]);
  expect(failing({ ...good, status: 'n/a' })).toEqual(['status.not_null']);
  expect(failing({ ...good, status: '' })).toEqual(['status.not_null', 'expr']);
  expect(failing({ ...good, status: 'none' })).toEqual(['own']);
  expect(failing({ ...good, status: '9999' })).toEqual([]);
  expect(failing({ ...good, total: '9999.00', net: '9999' })).toEqual(['total.not_null']);
  expect(failing({ ...good, created_at: '1900-01-01 01:00:00+01' })).toEqual(['created_at.not_null']);
});

describe('is refused', () => {
  const said = (body: string) => problemsOf(body).map(({ path, message }) => [path.split(': ')[1], message]);
  test.each([
    [
      'columns: { total: [{ not_null: true, missing: [N/A] }] }',
      'columns.total[0].missing',
      '"N/A" is no value of total, which is numeric(12,2)',
    ],
    [
      'columns: { total: [{ mean: { max: 3 }, missing: [N/A] }] }',
      'columns.total[0].missing',
      'total.mean: "N/A" is no value of total, which is numeric(12,2)',
    ],
    [
      'columns: { email: [{ unique: true, missing: [N/A] }] }',
      'columns.email[0].missing',
      'unique does not judge the values of a row by themselves',
    ],
    [
      'columns: { email: [{ immutable: true, missing: [N/A] }] }',
      'columns.email[0].missing',
      'immutable does not judge the values of a row by themselves',
    ],
    ['checks: [{ expr: "after.total > 0", missing: [N/A] }]', 'checks[0].missing', 'expr does not judge the values of a row by themselves'],
    [
      'checks: [{ column_exists: id, missing: [N/A] }]',
      'checks[0].missing',
      'column_exists does not judge the values of a row by themselves',
    ],
    ['checks: [{ row_count: { min: 1 }, missing: [N/A] }]', 'checks[0].missing', 'row_count judges no values of rows'],
  ])('%s', (body, path, message) => expect(said(body)).toEqual([[path, message]]));
  test('an empty list', () =>
    expect(said('columns: { email: [{ not_null: true, missing: [] }] }')).toEqual([['columns.email[0].missing', 'it is empty']]));
});
