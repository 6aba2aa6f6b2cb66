/** Suites that a rule file imports: their expectations are its checks, as if they stood there. */
import { describe, expect, test } from 'vitest';
import { type Contract, parseContract, type Use } from '../../quality/contract.ts';
import { CATALOGUE } from '../../quality/gx/registry.ts';
import { exampleKwargs } from './live/name-examples.ts';
import { FILE, HEAD, lines } from './support.ts';

type Expectations = readonly object[];

const parsedWith = (body: string, suites: Readonly<Record<string, string>>, use: Use = 'stream') =>
  parseContract(HEAD + body, FILE, use, (path) => {
    const text = suites[path];
    if (text === undefined) throw new Error('no such file');
    return text;
  });

function contractWith(body: string, expectations: Expectations, use: Use = 'stream'): Contract {
  const parsed = parsedWith(body, { './suite.json': `\uFEFF${JSON.stringify({ name: 's', expectations })}` }, use);
  if ('problems' in parsed) throw new Error(lines(parsed.problems).join('\n'));
  return parsed.contract;
}

const problemsWith = (body: string, suites: Readonly<Record<string, string>>) => {
  const parsed = parsedWith(body, suites);
  return 'problems' in parsed ? lines(parsed.problems) : [];
};

/** What is judged, without where it stands and what it is called. */
const judged = ({ checks, fileChecks, live }: Contract) => [
  ...checks.map(({ expectation, column, parameters, where, onFail, mostly }) => [
    expectation.name,
    column,
    parameters,
    where,
    onFail,
    mostly,
  ]),
  ...[...fileChecks, ...live.checks].map(({ expectation, column, kwargs, where }) => [expectation, column, kwargs, where]),
];

describe('every name is the check that it would be in the file', () => {
  const expectations = [...CATALOGUE]
    .filter(([name]) => name.startsWith('expect_') && exampleKwargs(name) !== null)
    .map(([type, { takesRows }]) => ({
      type,
      kwargs: {
        ...exampleKwargs(type),
        ...(takesRows && !type.includes('unique') && { row_condition: 'items > 1', condition_parser: 'pandas' }),
      },
    }));
  const items = expectations.map(({ type, kwargs }, at) => ({ id: String(at), expect: type, kwargs }));
  const head = 'source: { event_time: after.created_at }\n';
  test.each<Use>(['stream', 'file'])('of a %s', (use) => {
    const imported = contractWith(`${head}imports: [{ gx_suite: ./suite.json }]`, expectations, use);
    expect(judged(imported)).toEqual(judged(contractWith(`${head}checks: ${JSON.stringify(items)}`, [], use)));
    expect(judged(imported).length).toBe(expectations.length);
  });
});

const notNull = (kwargs: object) => ({ expectation_type: 'expect_column_values_to_not_be_null', kwargs });

test('the names of checks that are alike are told apart, and what rows do that fail is said at the import, or tags where some may fail', () => {
  const suite = [notNull({ column: 'status' }), notNull({ column: 'status', mostly: 0.9 }), notNull({ column: 'email', severity: 'info' })];
  const said = (more: string) =>
    contractWith(`imports: [{ gx_suite: ./suite.json${more} }]`, suite).checks.map(({ id, onFail, severity }) => [id, onFail, severity]);
  const [status, email] = ['status', 'email'].map((column) => `${column}.expect_column_values_to_not_be_null`);
  expect(said('')).toEqual([
    [status, 'quarantine', 'critical'],
    [`${status}-2`, 'tag', 'critical'],
    [email, 'quarantine', 'info'],
  ]);
  expect(said(', on_fail: warn, severity: warning')).toEqual([
    [status, 'warn', 'warning'],
    [`${status}-2`, 'warn', 'warning'],
    [email, 'warn', 'info'],
  ]);
});

test('another suite is another revision', () => {
  const revision = (column: string) => contractWith('imports: [{ gx_suite: ./suite.json }]', [notNull({ column })]).revision;
  expect(revision('status')).toBe(revision('status'));
  expect(revision('status')).not.toBe(revision('email'));
});

test('is refused', () => {
  const suites = {
    './list.json': '[]',
    './text.json': '{',
    './wrong.json': JSON.stringify({ expectations: [notNull({ column: 'status' }), notNull({}), { type: 'expect_nothing', kwargs: {} }] }),
  };
  const body =
    'imports:\n  - gx_suite: ./none.json\n  - gx_suite: ./list.json\n  - gx_suite: ./text.json\n  - gx_suite: ./wrong.json\n  - soda: ./x.yml\n  - suite: a\n';
  expect(problemsWith(body, suites)).toMatchInlineSnapshot(`
    [
      "datasets/orders.yaml:5:5: imports[0].gx_suite: the file ./none.json cannot be read -> Write the path from the folder of the rule file, or the schema itself.",
      "datasets/orders.yaml:6:5: imports[1].gx_suite: the file ./list.json is no suite of Great Expectations -> Give the JSON file that it wrote: {"expectations": […]}.",
      "datasets/orders.yaml:7:5: imports[2].gx_suite: the file ./text.json is no valid JSON -> Correct the file.",
      "datasets/orders.yaml:8:5: imports[3].expectations[1].kwargs: expect_column_values_to_not_be_null needs a column -> Add column: <name> to the kwargs.",
      "datasets/orders.yaml:8:5: imports[3].expectations[2].expect: there is no expectation expect_nothing -> Choose a known expectation, such as expect_column_values_to_be_null, expect_column_values_to_not_be_null, expect_column_values_to_be_in_set, expect_column_values_to_not_be_in_set, expect_column_values_to_be_between, expect_column_value_lengths_to_be_between, expect_column_value_lengths_to_equal, expect_column_values_to_be_increasing, expect_column_values_to_be_decreasing, expect_column_values_to_be_of_type, expect_column_values_to_be_in_type_list, expect_column_values_to_match_regex.",
      "datasets/orders.yaml:9:5: imports[4]: "gx_suite" is missing -> Add gx_suite: ….",
      "datasets/orders.yaml:9:5: imports[4].soda: "soda" is not known here -> Choose one of: gx_suite, on_fail, severity.",
      "datasets/orders.yaml:10:5: imports[5]: "gx_suite" is missing -> Add gx_suite: ….",
      "datasets/orders.yaml:10:5: imports[5].suite: "suite" is not known here -> Choose one of: gx_suite, on_fail, severity.",
    ]
  `);
});
