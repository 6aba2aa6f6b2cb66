/** The whole catalogue: every name of Great Expectations is judged on a live stream and over a file, or refused with a reason; each has an example, and the examples are tried. */
import { describe, expect, test } from 'vitest';
import { compileContract } from '../../../quality/compile.ts';
import { parseContract } from '../../../quality/contract.ts';
import { EXPECTATIONS } from '../../../quality/expectations/registry.ts';
import { GREAT_EXPECTATIONS } from '../../../quality/great-expectations.ts';
import { NAME_EXAMPLES } from '../../../quality/gx/examples.ts';
import { CATALOGUE, LEFT_OUT, WORDS } from '../../../quality/gx/registry.ts';
import { SuiteRun } from '../../../quality/gx/suite.ts';
import { Outcome } from '../../../quality/outcome.ts';
import type { FileCell } from '../../../quality/states/cell.ts';
import { TIMERS_OF_GX } from '../../../quality/timers/registry.ts';
import type { Dataset } from '../../../core/event.ts';
import { type Cells, FILE, HEAD, insert, lines, orders, problemsOf } from '../support.ts';
import { exampleKwargs, type Row as Kwargs } from './name-examples.ts';

const NAMES = [...CATALOGUE.keys()].filter((name) => name.startsWith('expect_'));
const STREAM = `${HEAD}source: { event_time: after.created_at }\n`;

/** The target is asked for these, and no where tells which of its rows count. */
const ABOUT_ALL_ROWS = ['expect_column_values_to_be_unique', 'expect_compound_columns_to_be_unique'];

const ruleOf = (name: string, kwargs: Kwargs) => `${STREAM}checks: ${JSON.stringify([{ expect: name, kwargs }])}`;

test('every name has an example', () => {
  expect(NAMES.filter((name) => exampleKwargs(name) === null)).toEqual([]);
  expect(NAMES.length).toBeGreaterThan(50);
});

describe.each(NAMES)('%s', (name) => {
  test('is one check of a live stream', () => {
    const parsed = parseContract(ruleOf(name, exampleKwargs(name) ?? {}), FILE);
    if ('problems' in parsed) throw new Error(lines(parsed.problems).join('\n'));
    const { checks, live } = parsed.contract;
    expect(checks.length + live.checks.length).toBe(1);
    const compiled = compileContract(parsed.contract, orders);
    expect(Array.isArray(compiled) ? lines(compiled) : []).toEqual([]);
  });
  test('refuses a kwarg that it does not take, by its name', () => {
    const parsed = parseContract(ruleOf(name, { ...exampleKwargs(name), colour: 'red' }), FILE);
    expect('problems' in parsed ? parsed.problems.map(({ message }) => message) : []).toEqual([expect.stringContaining('colour')]);
  });
  test('has row_condition where it is about rows, and refuses it where it is not', () => {
    const rows = { row_condition: 'col("items") > 1', condition_parser: 'great_expectations' };
    const parsed = parseContract(ruleOf(name, { ...exampleKwargs(name), ...rows }), FILE);
    const isRefused = CATALOGUE.get(name)?.takesRows !== true || ABOUT_ALL_ROWS.includes(name);
    expect('problems' in parsed).toBe(isRefused);
    if ('problems' in parsed) return;
    const { checks, live } = parsed.contract;
    expect([...checks, ...live.checks].map(({ where }) => where)).toEqual(['(after.items != null && after.items > 1)']);
  });
});

describe.each(Object.entries(NAME_EXAMPLES))('the example of %s', (name, { kwargs, passes, fails }) => {
  test('over a file', () => {
    const judge = (rows: readonly Kwargs[]) => {
      const run = new SuiteRun([{ type: name, kwargs, meta: {} }], {}, 0);
      for (const [at, row] of rows.entries())
        run.row(
          run.slots.columns.map((column) => (row[column] ?? null) as FileCell),
          at,
        );
      return run.end({ columns: Object.keys(rows[0] ?? {}), rows: rows.length, rowsOf: () => null })[0]?.success;
    };
    expect([judge(passes), judge(fails)]).toEqual([true, false]);
  });
  test.runIf(GREAT_EXPECTATIONS.includes(name))('on a live stream', () => {
    const outcomes = (rows: readonly Kwargs[]) => {
      const parsed = parseContract(ruleOf(name, kwargs), FILE);
      if ('problems' in parsed) throw new Error(lines(parsed.problems).join('\n'));
      const isOfTable = parsed.contract.checks[0]?.expectation.judgesTable === true;
      const columns = orders.columns.filter((column) => !isOfTable || column.name in (rows[0] ?? {}));
      const compiled = compileContract(parsed.contract, { ...orders, columns });
      if (Array.isArray(compiled)) throw new Error(lines(compiled).join('\n'));
      return rows.map((row) => {
        const { net, tax, ...others } = row;
        const decimals = { ...(net !== undefined && { net: textOf(net) }), ...(tax !== undefined && { tax: textOf(tax) }) };
        return compiled.rules[0]?.test(insert({ ...others, ...decimals } as Cells)) === Outcome.Pass;
      });
    };
    expect([new Set(outcomes(passes)), new Set(outcomes(fails))]).toEqual([new Set([true]), new Set([false])]);
  });
});

/** Cells of a numeric column are texts. */
const textOf = (value: unknown) => (typeof value === 'number' ? String(value) : null);

test('what is not judged is refused with a reason, and with what to do instead', () => {
  for (const [name, { reason, fix }] of LEFT_OUT) {
    const parsed = parseContract(ruleOf(name, {}), FILE);
    const problems = 'problems' in parsed ? parsed.problems : [];
    if (TIMERS_OF_GX.has(name)) continue;
    expect(problems).toMatchObject([{ severity: 'error', message: `${name} is not judged: ${reason}`, fix }]);
    expect(fix.length).toBeGreaterThan(10);
  }
});

test('a name that is misspelt is told with the one that was meant', () => {
  const said = problemsOf('checks: [{ expect: expect_column_median_to_be_betwen, kwargs: {} }]').map(
    ({ message, fix }) => `${message}: ${fix}`,
  );
  expect(said).toEqual([
    expect.stringMatching(/^there is no expectation expect_column_median_to_be_betwen: .*expect_column_median_to_be_between/),
  ]);
});

test('every short word that judges rows of a file does so on a stream', () => {
  expect([...WORDS.values()].filter(({ window, word }) => window === undefined && !EXPECTATIONS.has(word.name))).toEqual([]);
});

describe('the columns of a table', () => {
  const table = (...names: string[]): Dataset => ({ ...orders, columns: orders.columns.filter(({ name }) => names.includes(name)) });
  const judge = (check: object, dataset: Dataset) => {
    const parsed = parseContract(`${HEAD}checks: ${JSON.stringify([check])}`, FILE);
    if ('problems' in parsed) throw new Error(lines(parsed.problems).join('\n'));
    const compiled = compileContract(parsed.contract, dataset);
    if (Array.isArray(compiled)) throw new Error(lines(compiled).join('\n'));
    const event = insert({});
    const [rule] = compiled.rules;
    const outcome = rule?.test(event) ?? Outcome.Pass;
    // Of rows that came encoded the same is said.
    expect(rule?.encoded?.([])?.({} as never, event)).toBe(outcome);
    return outcome === Outcome.Pass ? null : [rule?.describe(event, outcome), compiled.warnings.length];
  };
  test('are as they should be, or every row fails, which is told when the rules are loaded', () => {
    const two = table('id', 'total');
    expect(judge({ column_count: 2 }, two)).toBe(null);
    expect(judge({ column_count: { min: 2, strict_min: true } }, two)).toEqual(['the table has 2 columns, and not 3 or more', 1]);
    expect(judge({ column_count: { between: [null, 1] } }, two)).toEqual(['the table has 2 columns, and not 1 or fewer', 1]);
    expect(judge({ column_exists: 'total' }, two)).toBe(null);
    expect(judge({ column_exists: { column: 'total', index: 0 } }, two)).toEqual(['total is column 1 of the table, and not 0', 1]);
    expect(judge({ column_exists: 'tax' }, two)).toEqual(['the table has no column tax', 1]);
    expect(judge({ columns_match: ['total', 'id'] }, two)).toBe(null);
    expect(judge({ columns_match: ['tax', 'id'] }, two)).toEqual(['the table lacks tax, and has total as well', 1]);
    expect(judge({ columns_match: { columns: ['id'], exact_match: false } }, two)).toBe(null);
    expect(judge({ columns_in_order: ['id', 'total'] }, two)).toBe(null);
    expect(judge({ columns_in_order: ['total', 'id'] }, two)).toEqual(['column 0 of the table is id, and not total', 1]);
    expect(judge({ columns_in_order: ['id'] }, two)).toEqual(['column 1 of the table is total, and not nothing', 1]);
    expect(judge({ expect: 'expect_table_columns_to_match_set', kwargs: { column_set: ['id'] } }, two)).toBe(null);
  });
  test('no rows are chosen for them', () => {
    const said = (check: object) =>
      problemsOf(`checks: ${JSON.stringify([check])}`).map(({ path, message }) => [path.split(': ')[1], message]);
    expect(said({ column_exists: 'id', where: 'after.id > 1', nulls: 'fail' })).toEqual([
      ['checks[0].where', 'column_exists is about the columns of the table, and says the same of every row'],
      ['checks[0].nulls', 'column_exists is about the columns of the table, and says the same of every row'],
    ]);
    expect(said({ column_count: { min: 3, max: 2 } })).toEqual([
      ['checks[0].column_count', 'no number is within these bounds, so it always fails'],
    ]);
  });
});

describe('of_type', () => {
  const said = (column: string, of: unknown) =>
    problemsOf(`columns: { ${column}: [{ of_type: ${JSON.stringify(of)} }] }`).map(({ message }) => message);
  test.each([
    ['id', 'int', 'float'],
    ['id', 'BIGINT', 'str'],
    ['total', 'numeric', 'numeric(12,3)'],
    ['total', 'numeric(12,2)', 'int'],
    ['status', 'VARCHAR', 'int'],
    ['label', 'varchar(8)', 'varchar(9)'],
    ['created_at', 'datetime64[ns]', 'bool'],
    ['created_at', 'timestamptz', 'time'],
    ['day', 'date', 'bytea'],
    ['risk', 'float64', 'int64'],
    ['paid', 'bool', 'str'],
    ['body', 'dict', 'str'],
    ['hash', 'bytea', 'str'],
    ['place', 'point', 'polygon'],
  ])('%s is %s, and not %s', (column, good, bad) => {
    expect([said(column, good), said(column, [bad, good])]).toEqual([[], []]);
    expect(said(column, bad)).toEqual([expect.stringMatching(new RegExp(`^${column} is .*, so it is never `))]);
  });
});
