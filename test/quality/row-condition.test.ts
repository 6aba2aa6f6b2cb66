/** Conditions of suites: what pandas 2.1 says of them, and that a live stream says the same as a file. */
import { describe, expect, test } from 'vitest';
import { decimalOf } from '../../core/expression/decimal.ts';
import { UNCHANGED } from '../../core/event.ts';
import { columnsOfCondition, readCondition } from '../../quality/gx/condition-syntax.ts';
import { SuiteRun } from '../../quality/gx/suite.ts';
import type { FileCell } from '../../quality/states/cell.ts';
import fc from '../support/fast-check.ts';
import { type Cells, insert, messages, rule } from './support.ts';

type Rows = readonly Readonly<Record<string, FileCell>>[];

const NULL = 'expect_column_values_to_be_null';

/** The rows that it chooses, by their places; or why it is none. */
function chosen(rows: Rows, condition: string, parser = 'pandas'): readonly number[] | string {
  const kwargs = { column: 'label', row_condition: condition, condition_parser: parser, result_format: 'COMPLETE' };
  const run = new SuiteRun([{ type: NULL, kwargs, meta: {} }], {}, 0);
  for (const [at, row] of rows.entries())
    run.row(
      run.slots.columns.map((name) => row[name] ?? null),
      at,
    );
  const [answer] = run.end({ columns: ['label', ...Object.keys(rows[0] ?? {})], rows: rows.length, rowsOf: () => null });
  return answer?.error ?? (answer?.result['unexpected_index_list'] as number[]);
}

const ABT = [
  { label: 1, a: 1, b: 2, t: 'x' },
  { label: 2, a: 2, b: 2, t: 'y' },
  { label: 3, a: null, b: 3, t: null },
];

test.each([
  ['', [0, 1, 2]],
  ['a == [1,2]', [0, 1]],
  ['a != [1,2]', [2]],
  ['a != [1]', [1, 2]],
  ['[1,2] == a', [0, 1]],
  ['a == (1,2)', [0, 1]],
  ['a == []', []],
  ['a != []', [0, 1, 2]],
  ['-a == -1', [0]],
  ['+a == 1', [0]],
  ['- -a == 1', [0]],
  ['-(a) == -1', [0]],
  ['not -a == -1', [1, 2]],
  ['-a > -b', [0]],
  ['-a in [-1]', [0]],
  ['-1 == -a', [0]],
  ['a.isin([1,2])', [0, 1]],
  ['~a.isin([1])', [1, 2]],
  ['not a.isin([1])', [1, 2]],
  ['a.isin((1,2))', [0, 1]],
  ['a.isin(values=[1])', [0]],
  ['a.isin([])', []],
  ['a.isin([None])', []],
  ['(a == [1]) | (b == [3])', [0, 2]],
  ['a.isin([1,2]) and b.isin([2])', [0, 1]],
  ['t == ["x"]', [0]],
])('pandas chooses by %s', (condition, rows) => {
  expect(chosen(ABT, condition)).toEqual(rows);
});

test.each(['a < [1]', 'a.isin(b)', 'a.isin([1]', 'b == -[1]', '-t == "x"', '[1]', 'a.notin([1])', '"x" == ["x", "y"]'])(
  '%s is no condition',
  (condition) => {
    expect(chosen(ABT, condition)).toContain('the row_condition');
  },
);

test('a condition names its columns, wherever they stand in it', () => {
  const condition = readCondition('-a > b or not (c in [d, 1] and e.notnull()) and flag', 0);
  expect([...columnsOfCondition(condition)].sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'flag']);
});

describe('on a live stream', () => {
  const number = fc.integer({ min: -2, max: 2 });
  const orNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null, freq: 3 });
  const text = fc.constantFrom('a', 'b', "it's", 'say "so"', '\\n');
  const cells = fc.record({
    items: orNull(number),
    small: orNull(number),
    total: orNull(number),
    status: orNull(text),
    paid: orNull(fc.boolean()),
    day: orNull(fc.constantFrom('2026-01-01', '2026-01-02')),
  });
  const quoted = text.map((value) => JSON.stringify(value));
  const literal = number.map(String);
  const numbers = fc.constantFrom('items', 'small', 'total', '-items', '-total', '`small`', 'col("items")');
  const operator = fc.constantFrom('==', '!=', '<', '<=', '>', '>=');
  const list = (member: fc.Arbitrary<string>) =>
    fc.array(fc.oneof({ weight: 5, arbitrary: member }, fc.constant('None')), { maxLength: 3 }).map((of) => `[${of.join(', ')}]`);
  const among = fc.constantFrom(
    (a: string, b: string) => `${a} in ${b}`,
    (a: string, b: string) => `${a} not in ${b}`,
    (a: string, b: string) => `${a} == ${b}`,
    (a: string, b: string) => `${a} != ${b}`,
  );
  const joined = (...parts: fc.Arbitrary<string>[]) => fc.tuple(...parts).map((words) => words.join(' '));
  const simple = fc.oneof(
    joined(numbers, operator, fc.oneof(literal, fc.constantFrom('1.5', 'None'))),
    joined(literal, operator, numbers),
    joined(fc.constantFrom('items', '-small'), operator, fc.constantFrom('total', '-total')),
    joined(fc.constant('status'), operator, quoted),
    joined(fc.constant('day'), operator, fc.constantFrom('date("2026-01-01")', '"2026-01-02"')),
    joined(literal, fc.constant('<'), numbers, fc.constant('<='), literal),
    fc.tuple(numbers, among, list(literal)).map(([a, write, b]) => write(a, b)),
    fc.tuple(fc.constant('status'), among, list(quoted)).map(([a, write, b]) => write(a, b)),
    fc.tuple(fc.constant('items'), among, fc.constantFrom('[small, 1]', '[total]')).map(([a, write, b]) => write(a, b)),
    fc.constantFrom('paid', 'paid == True', 'status.isnull()', 'items.notnull()', 'items.isin([1, 2])', 'paid != False'),
  );
  const condition = fc.letrec<{ any: string }>((tie) => ({
    any: fc.oneof(
      { maxDepth: 3 },
      simple,
      tie('any').map((inner) => `not (${inner})`),
      fc.tuple(tie('any'), fc.constantFrom('and', 'or', '&', '|'), tie('any')).map(([a, word, b]) => `(${a}) ${word} (${b})`),
    ),
  })).any;

  test('every condition chooses the rows that it chooses of a file', () => {
    fc.assert(
      fc.property(
        condition,
        fc.constantFrom('pandas', 'great_expectations'),
        fc.array(cells, { minLength: 1, maxLength: 6 }),
        (written, parser, rows) => {
          const kwargs = { column: 'label', row_condition: written, condition_parser: parser };
          const live = usable(kwargs);
          fc.pre(live !== null);
          const ofFile = rows.map((row) => ({ ...row, label: 'x', total: row.total === null ? null : decimalOf(`${row.total}.00`) }));
          const failed = rows.flatMap((row, at) => (live(liveRow(row)) === false ? [at] : []));
          expect(failed).toEqual(chosen(ofFile, written, parser));
        },
      ),
      { numRuns: 1000 },
    );
  });

  /** Null where it is the same for every row, which is refused. */
  const usable = (kwargs: object) => {
    try {
      return rule(null, { expect: NULL, kwargs });
    } catch (error) {
      if (String(error).includes('the condition is the same for every row')) return null;
      throw error;
    }
  };

  const liveRow = (row: Readonly<Record<string, unknown>>) => {
    const total = row['total'];
    return insert({ ...row, label: 'x', total: typeof total === 'number' ? `${total}.00` : null } as Cells);
  };

  const nullWhere = (row_condition: string, where?: string) =>
    rule(null, {
      expect: NULL,
      kwargs: { column: 'label', row_condition, condition_parser: 'pandas' },
      ...(where !== undefined && { where }),
    });

  test('a where beside it chooses among its rows', () => {
    const both = nullWhere('items > 1', 'after.small > 1 || after.paid');
    const rows: Cells[] = [
      { items: 2, small: 2 },
      { items: 2, small: 1 },
      { items: 1, small: 2, paid: true },
    ];
    expect(rows.map((cells) => both(insert({ label: 'x', ...cells })))).toEqual([false, true, true]);
  });

  test('a cell that was not sent chooses no row', () => {
    expect(
      [nullWhere('items > 1'), nullWhere('not items > 1'), nullWhere('items != [1]')].map((live) =>
        live(insert({ label: 'x', items: UNCHANGED })),
      ),
    ).toEqual([true, true, true]);
  });

  test.each([
    [{ row_condition: 'items >' }, 'expect_column_values_to_be_null: the row_condition items > has "" where a value should be'],
    [{ row_condition: 'items > 1', condition_parser: 'spark' }, 'condition_parser is not a valid enumeration member'],
    [{ row_condition: 'day > date("Dec 5")' }, 'a date that says no year'],
    [{ row_condition: 'itms > 1' }, 'shop.public.orders has no column "itms"'],
    [{ row_condition: 'status > 1' }, 'a text and a whole number have no order'],
  ])('%j is refused', (kwargs, message) => {
    const all = { column: 'label', condition_parser: 'pandas', ...kwargs };
    expect(messages(`checks: ${JSON.stringify([{ expect: NULL, kwargs: all }])}`)).toContainEqual(expect.stringContaining(message));
  });
});
