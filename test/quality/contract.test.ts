/** Rule files: what is refused at load, how it is said, and that all of it is said at once. */
import { readFileSync } from 'node:fs';
import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { compileContract } from '../../quality/compile.ts';
import { parseContract } from '../../quality/contract.ts';
import { GREAT_EXPECTATIONS } from '../../quality/great-expectations.ts';
import { LATER_MODIFIERS, LATER_PATHS } from '../../quality/later.ts';
import { SCHEMA_FILE, schemaText } from '../../quality/write-schema.ts';
import { contractOf, FILE, HEAD, insert, judged, lines, messages, orders, problemsOf, update } from './support.ts';

const fileProblems = (text: string) => {
  const parsed = parseContract(text, FILE);
  return lines('problems' in parsed ? parsed.problems : parsed.contract.warnings);
};

test('the published JSON Schema is the one that validates', () => {
  expect(readFileSync(new URL(`../../${SCHEMA_FILE}`, import.meta.url), 'utf8')).toBe(schemaText());
});

test('a badly broken file: every problem at once, each with its place and a fix', () => {
  const text = `apiVersion: quality/v2
kind: DatasetRule
dataset: orders
verion: 3
owner: ''
mode: off
hold: row
schema:
  columns: { id: 7, total: { nullable: true } }
  evolution: { drop: explode, shrink: halt }
defaults: { on_fail: ignore, nulls: maybe }
columns:
  id: [not_nul, { unique: { within: 24h } }]
  status:
    - in_set: []
    - match_regex: '(a)\\1'
    - match_regex: '(?=a)b'
    - match_like: '%'
    - between: { min: 5, max: 1 }
  total:
    - between: {}
    - betwen: { min: 0 }
    - { length: { min: 3, max: 1 }, in_set: [1] }
    - { not_null: true, where: 'after.total >' }
    - { not_null: true, on_fail: explode }
    - { mean: { between: [20, 200] } }
    - { between: { min: 123456789012345678901 } }
  email: not_null
checks:
  - id: lines
    sum_equals: { column_list: [net, tax] }
  - id: lines
    pair_greater: { column_A: a, column_B: a }
  - expr: 'after.total >= '
  - { id: nothing }
  - expect: expect_column_values_to_be_beautiful
  - expect: expect_column_values_to_be_between
    kwargs: { column: total, minimum: 3 }
  - not_null: true
  - json_schema: ./no-such-file.json
  - json_schema: { type: strange }
breaker: { open_when: { quarantined_ratio: 2 }, while_open: divert }
imports: [{ soda: ./x.yml }]
slo: { objective: 99.5 }
`;
  expect(fileProblems(text).join('\n')).toMatchSnapshot();
});

describe('text that is no rule file', () => {
  test.each([
    ['', 'the file is empty or no set of keys'],
    ['- a\n- b\n', 'the file is empty or no set of keys'],
    ['columns: {a: [', 'this is no valid YAML'],
    [`${HEAD}owner: a\nowner: b\n`, 'this is no valid YAML'],
    [`${HEAD}columns: &a { x: *a }\n`, ''],
    [`${HEAD}owner: ${'x'.repeat(1_000_001)}\n`, 'longer than 1000000 characters'],
    [
      'a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n',
      'refers to itself too often',
    ],
  ])('%.40j', (text, message) => {
    const problems = fileProblems(text);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.join('\n')).toContain(message);
  });
});

test('no rule file makes the reader throw, and each of its errors has a place and a fix', () => {
  const names = [
    'columns',
    'checks',
    'id',
    'status',
    'total',
    'between',
    'in_set',
    'min',
    'where',
    'on_fail',
    'expect',
    'kwargs',
    'column',
    'constructor',
    '__proto__',
    'toString',
  ];
  const sections = [
    'schema',
    'source',
    'defaults',
    'breaker',
    'quarantine',
    'evolution',
    'transitions',
    'sum_equals',
    'json_schema',
    'expr',
    'match_regex',
    'null',
    'ops',
  ];
  const word = fc.constantFrom(
    ...names,
    ...sections,
    'expect_column_values_to_be_between',
    'value_set',
    'open_when',
    'record_schema',
    'mean',
    'unique',
  );
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.oneof(word, fc.constantFrom<unknown>(null, true, 0, -1, 1.5, '', 'after.total > 0', '^a', '17:00', 'halt', '2026-01-01')),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(word, tie('tree'), { maxKeys: 4 }),
    ),
  }));
  const file = fc.record({
    columns: fc.dictionary(word, fc.array(tree, { maxLength: 3 }), { maxKeys: 3 }),
    checks: fc.array(tree, { maxLength: 4 }),
    more: fc.dictionary(word, tree, { maxKeys: 3 }),
  });
  let refused = 0;
  fc.assert(
    fc.property(file, ({ more, ...parts }) => {
      const head = { apiVersion: 'quality/v1', kind: 'DatasetRules', dataset: 'shop.public.orders' };
      const parsed = parseContract(JSON.stringify({ ...head, ...parts, ...more }, null, 1), FILE);
      const problems = 'problems' in parsed ? parsed.problems : parsed.contract.warnings;
      if ('problems' in parsed) refused++;
      for (const { path, message, fix } of problems) {
        expect(path).toMatch(/^datasets\/orders\.yaml:\d+:\d+/);
        expect([message.length > 0, fix.length > 0, `${message}${fix}`.includes('undefined')]).toEqual([true, true, false]);
      }
      if ('contract' in parsed) compileContract(parsed.contract, orders);
    }),
    { numRuns: 400, seed: 7, examples: [[{ columns: {}, checks: [{ expect: { toString: null } }], more: {} }]] },
  );
  expect(refused).toBeGreaterThan(200);
});

describe('rules that can never fail, or always do, are refused', () => {
  test.each([
    ['columns: { total: [{ between: {} }] }', 'it is empty'],
    ['columns: { total: [{ between: { strict_min: true } }] }', 'never fail'],
    ['columns: { items: [{ between: { min: -2147483648, max: 2147483647 } }] }', 'never fail'],
    ['columns: { items: [{ between: { min: -3000000000 } }] }', 'never fail'],
    ['columns: { items: [{ between: { min: 2147483648 } }] }', 'always fails'],
    ["columns: { id: [{ between: { min: '1e400' } }] }", 'always fails'],
    ['columns: { small: [{ between: { max: -32769 } }] }', 'always fails'],
    ["columns: { id: [{ between: { max: '9223372036854775807' } }] }", 'never fail'],
    ["columns: { id: [{ between: { min: '9223372036854775807', strict_min: true } }] }", 'always fails'],
    ['columns: { total: [{ between: { min: 10000000000 } }] }', 'always fails'],
    ["columns: { opens: [{ between: { min: '17:00', max: '09:00' } }] }", 'always fails'],
    ['columns: { label: [{ length: { max: 8 } }] }', 'never fail'],
    ['columns: { label: [{ length: { min: 9 } }] }', 'always fails'],
    ['columns: { body: [{ type: text }] }', 'never fail'],
    ['columns: { body: [{ type: [integer, text] }] }', 'never fail'],
    ['columns: { total: [{ between: { min: 5, max: 1 } }] }', 'always fails'],
    ['columns: { total: [{ between: { min: 1, max: 1, strict_min: true } }] }', 'always fails'],
    ['columns: { status: [{ length: { min: 0 } }] }', 'never fail'],
    ['columns: { status: [{ length: { min: 2, max: 1 } }] }', 'always fails'],
    ['columns: { status: [{ in_set: [] }] }', 'always fails'],
    ['columns: { status: [{ not_in_set: [] }] }', 'never fail'],
    ['columns: { paid: [{ in_set: [true, false] }] }', 'never fail'],
    ["columns: { status: [{ match_regex: '.*' }] }", 'matches every text'],
    ["columns: { status: [{ match_regex: '' }] }", 'matches every text'],
    ["columns: { status: [{ not_match_like: '%%' }] }", 'matches every text'],
    ['columns: { body: [{ json_schema: {} }] }', 'never fail'],
    ['columns: { body: [{ json_schema: true }] }', 'never fail'],
    ['columns: { body: [{ json_schema: false }] }', 'always fails'],
    ['columns: { id: [null] }', 'always fails'],
    ['checks: [{ pair_equal: { column_A: net, column_B: net } }]', 'never fail'],
    ['checks: [{ pair_greater: { column_A: net, column_B: net } }]', 'always fails'],
    ["checks: [{ expr: '1 < 2' }]", 'the same of every row'],
    ["checks: [{ expr: 'after.total > 0 || true' }]", 'the same of every row'],
    ["checks: [{ expr: 'after.total > 0 && 1 > 2' }]", 'the same of every row'],
    ["checks: [{ expr: 'after.total == after.total' }]", 'with itself'],
    ["columns: { id: [{ not_null: true, where: 'after.total > 0 || 1 < 2' }] }", 'the same for every row'],
    ["columns: { id: [{ not_null: true, where: 'true' }] }", 'the same for every row'],
    ["columns: { total: [{ expr: 'after.total = 3' }] }", '"=" is not part of the language'],
  ])('%s', (body, message) => {
    expect(problemsOf(body).filter(({ severity }) => severity === 'error')).toEqual([
      expect.objectContaining({ message: expect.stringContaining(message) as string, fix: expect.stringMatching(/\.$|…/) as string }),
    ]);
  });
});

describe('names', () => {
  test('an unknown column is refused wherever it is named, with the nearest one', () => {
    const problems = problemsOf(`
columns: { totl: [not_null] }
checks:
  - { column: emial, format: email }
  - { pair_equal: { column_A: nett, column_B: tax } }
  - { sum_equals: { column_list: [net, taxx], sum_column: totall } }
  - { expr: 'after.stats == "a"' }
  - { not_null: true, column: id, where: 'after.itms > 3' }`);
    expect(lines(problems)).toMatchInlineSnapshot(`
      [
        "datasets/orders.yaml:5:12: columns.totl: shop.public.orders has no column "totl" -> Did you mean "total"?",
        "datasets/orders.yaml:7:7: checks[0].column: shop.public.orders has no column "emial" -> Did you mean "email"?",
        "datasets/orders.yaml:8:21: checks[1].pair_equal.column_A: shop.public.orders has no column "nett" -> Did you mean "net"?",
        "datasets/orders.yaml:9:40: checks[2].sum_equals.column_list[1]: shop.public.orders has no column "taxx" -> Did you mean "tax"?",
        "datasets/orders.yaml:9:47: checks[2].sum_equals.sum_column: shop.public.orders has no column "totall" -> Did you mean "total"?",
        "datasets/orders.yaml:10:7: checks[3].expr: shop.public.orders has no column "stats" (character 1 of the expression) -> Did you mean "status"?",
        "datasets/orders.yaml:11:35: checks[4].where: shop.public.orders has no column "itms" (character 1 of the expression) -> Did you mean "items"?",
      ]
    `);
  });

  test('two rules of one id are refused, given or made', () => {
    expect(messages('columns: { total: [{ between: { min: 0 } }, { between: { max: 9 } }] }')).toEqual([
      expect.stringContaining('the id "total.between" is taken by another rule (line 4)'),
    ]);
    expect(messages('columns: { id: [{ id: a, not_null: true }], total: [{ id: a, not_null: true }] }')).toHaveLength(1);
  });

  test('two checks in one item, and a check without one, are told', () => {
    expect(messages('columns: { id: [{ not_null: true, between: { min: 1 } }] }')).toEqual(['not_null and between stand in one check']);
    expect(messages('columns: { id: [{ severity: info }] }')).toEqual(['no check stands here']);
  });
});

describe('unsafe patterns', () => {
  test.each(['(a)\\1', '(?=a)b', '(?<!a)b', '(a', 'a**', '[z-a]'])(
    '%s is refused, in a check, an expression and a JSON Schema',
    (pattern) => {
      const quoted = JSON.stringify(pattern);
      for (const body of [
        `columns: { status: [{ match_regex: ${quoted} }] }`,
        `columns: { status: [{ match_regex_list: [a, ${quoted}] }] }`,
        `checks: [{ json_schema: { properties: { status: { pattern: ${quoted} } } } }]`,
        `checks: [{ expr: ${JSON.stringify(`after.status.matches(r"${pattern}")`)} }]`,
      ])
        expect(messages(body)).toEqual([expect.stringMatching(/regex|pattern/)]);
    },
  );
  test('a slow JSON Schema is refused', () => {
    expect(messages('columns: { body: [{ json_schema: { uniqueItems: true } }] }')).toEqual([expect.stringContaining('quadratic')]);
    expect(
      messages(`columns: { body: [{ json_schema: { oneOf: ${JSON.stringify(Array.from({ length: 60 }, (_, i) => ({ const: i })))} } }] }`),
    ).toEqual([expect.stringContaining('60 branches')]);
    expect(messages('columns: { body: [{ json_schema: { $ref: "https://example.org/x.json" } }] }')).toEqual([
      expect.stringContaining('cannot be used'),
    ]);
  });
});

describe('types', () => {
  test.each([
    ['columns: { total: [{ match_regex: a }] }', 'patterns are for texts'],
    ['columns: { total: [{ between: { min: abc } }] }', 'is no number'],
    ['columns: { status: [{ between: { min: 3 } }] }', 'is a number'],
    ['columns: { created_at: [{ between: { min: 2026 } }] }', 'is no timestamp'],
    ['columns: { paid: [{ between: { min: 0 } }] }', 'no order'],
    ['columns: { total: [{ length: 3 }] }', 'no length'],
    ['columns: { total: [{ in_set: [abc] }] }', 'is no value of total'],
    ['columns: { id: [{ in_set: [1.5] }] }', 'is no value of id'],
    ['columns: { items: [{ not_in_set: [2147483648] }] }', 'is no value of items'],
    ['columns: { total: [{ in_set: [1.234] }] }', 'is no value of total'],
    ['columns: { total: [{ in_set: [10000000000] }] }', 'is no value of total'],
    ['columns: { label: [{ in_set: [far too long] }] }', 'is no value of label'],
    ['columns: { ref: [{ in_set: [abc] }] }', 'is no value of ref'],
    ["columns: { opens: [{ in_set: ['9 am'] }] }", 'is no value of opens'],
    ["columns: { created_at: [{ in_set: ['2026-02-30'] }] }", 'is no value of created_at'],
    ["columns: { day: [{ in_set: ['2026-02-03 10:00'] }] }", 'is no value of day'],
    ["columns: { opens: [{ between: { min: 'early' } }] }", 'no time of day'],
    ["columns: { zoned: [{ between: { min: '09:00' } }] }", 'in no order'],
    ['columns: { place: [{ between: { min: a } }] }', 'no order'],
    ['checks: [{ pair_greater: { column_A: place, column_B: status } }]', 'cannot be compared'],
    ['checks: [{ pair_greater: { column_A: status, column_B: body } }]', 'cannot be compared'],
    ['checks: [{ pair_greater: { column_A: zoned, column_B: opens } }]', 'cannot be compared'],
    ['checks: [{ expr: \'after.place > "(1,2)"\' }]', 'not in the order of its values'],
    ['columns: { items: [{ transitions: { 1: [], two: [] } }] }', 'is no value of items'],
    ['columns: { total: [{ format: email }] }', 'formats are for texts'],
    ['columns: { total: [{ type: text }] }', 'never text'],
    ['columns: { risk: [{ json_schema: { type: object } }] }', 'holds no JSON'],
    ['columns: { risk: [{ transitions: { a: [] } }] }', 'transitions are for'],
    ['columns: { status: [{ transitions: { a: [b] } }] }', 'is no state'],
    ['columns: { status: [{ change_between: { min: 1 } }] }', 'has no differences'],
    ['columns: { created_at: [{ change_between: { min: 1, as: percent } }] }', 'has no percentages'],
    ['columns: { total: [{ change_between: { min: 2, max: 1 } }] }', 'no change lies between'],
    ['columns: { total: [{ change_between: { strict_min: true } }] }', 'has no bound'],
    ['checks: [{ no_delete: true, ops: [insert] }]', 'is about delete and truncate alone'],
    ['checks: [{ pair_equal: { column_A: status, column_B: total } }]', 'cannot be compared'],
    ['checks: [{ sum_equals: { column_list: [net, status], sum_column: total } }]', 'only numbers add up'],
    ['checks: [{ sum_equals: { column_list: [net] } }]', 'either sum_total or sum_column'],
    ['columns: { status: [{ match_strftime: "%Y-%Q" }] }', 'strptime does not read'],
    ['columns: { status: [{ match_strftime: "%Y-%Y" }] }', 'strptime does not read'],
    ['columns: { status: [{ match_strftime: "100%%" }] }', 'has no directive'],
    ['columns: { day: [{ match_strftime: "%Y-%m-%d" }] }', 'time formats are for texts'],
    ['columns: { items: [dateutil_parseable] }', 'dates to be read are for texts'],
    ['columns: { items: [json_parseable] }', 'holds no JSON'],
    ['checks: [{ pair_in_set: { column_A: items, column_B: paid, pairs: [[1, true], [two, false]] } }]', 'is no value of'],
    [
      'checks: [{ pair_in_set: { column_A: items, column_B: paid, pairs: [[1, true], [2147483648, false]] } }]',
      '2147483648 is no value of items',
    ],
    ['checks: [{ pair_in_set: { column_A: items, column_B: items, pairs: [[1, 1]] } }]', 'pairs items with itself'],
    ['checks: [{ pair_in_set: { column_A: items, column_B: body, pairs: [[1, a]] } }]', 'cannot be listed'],
    ['checks: [{ unique_within_record: [net, tax, net] }]', 'names net twice'],
    ['checks: [{ unique_within_record: [net, status, created_at] }]', 'never the same'],
    ["checks: [{ expr: 'after.total' }]", 'a condition'],
  ])('%s', (body, message) => {
    expect(
      problemsOf(body)
        .filter(({ severity }) => severity === 'error')
        .map((problem) => problem.message),
    ).toEqual([expect.stringContaining(message)]);
  });

  test('numbers with more digits than YAML keeps are refused, and written as texts are exact', () => {
    expect(messages('columns: { id: [{ in_set: [9007199254740993] }] }')).toEqual([expect.stringContaining('more digits')]);
    expect(messages("columns: { id: [{ in_set: ['9007199254740993'] }] }")).toEqual([]);
  });
});

test('a check that compares with old rows is warned about where the source sends none', () => {
  const compiled = compileContract(contractOf('columns: { id: [immutable], status: [immutable] }'), orders, { oldRows: 'key' });
  if (Array.isArray(compiled)) throw new Error('refused');
  expect(lines(compiled.warnings)).toEqual([
    expect.stringMatching(/^\(warning\).*status\.immutable compares with old values.*replica identity full/),
  ]);
});

describe('parts that other versions read', () => {
  const severities = (body: string) => {
    const parsed = parseContract(`${HEAD}${body}`, FILE);
    return ('problems' in parsed ? parsed.problems : parsed.contract.warnings).map(({ severity, path, message }) => [
      severity,
      path,
      message,
    ]);
  };
  test.each(Object.entries(LATER_PATHS))('%s is told, and not ignored', (path, { severity, message }) => {
    const [section = '', key] = path.split('.');
    const needed = section === 'breaker' ? 'open_when: { quarantined_ratio: 0.5 }, ' : '';
    const body = key === undefined ? `${section}: {}` : `${section}: { ${needed}${key}: x }`;
    expect(severities(body)).toEqual([[severity, expect.stringMatching(/^datasets\/orders\.yaml:4:\d+: /), message]]);
  });
  test.each([...LATER_MODIFIERS])('%s beside a check of rows', (name, { message }) => {
    expect(severities(`columns: { id: [{ not_null: true, ${name}: 1h }] }`)).toEqual([
      ['error', `datasets/orders.yaml:4:35: columns.id[0].${name}`, message],
    ]);
  });
  test.each([
    ['columns: { a: [{ unique: { within: 24h } }] }', 'columns.a[0].unique.within', 'unique within a time is not supported yet'],
    [
      'columns: { a: [{ quantiles: { p50: [1, 2], error: 0.1 } }] }',
      'columns.a[0].quantiles.error',
      'an error of your own is not supported yet',
    ],
    [
      'columns: { a: [{ drift: { metric: psi, reference: { rolling: { windows: 3 } }, max: 1, every: 1h } }] }',
      'columns.a[0].drift.every',
      'every, within drift, is not supported yet',
    ],
    ['checks: [{ reconcile: { with: source, every: 1h, by: hash } }]', 'checks[0].reconcile.by', 'by is not supported yet'],
  ])('%s is refused in one line', (body, place, message) => {
    expect(severities(body)).toEqual([['error', expect.stringMatching(new RegExp(`: ${place.replace(/[[\]]/g, '\\$&')}$`)), message]]);
  });
  test('mostly below 1 is refused where rows that fail would be held', () => {
    expect(severities('columns: { id: [{ not_null: true, mostly: 0.9 }] }')).toMatchObject([
      ['error', expect.anything(), expect.stringContaining('windows')],
    ]);
    expect(severities('columns: { id: [{ not_null: true, mostly: 0.9, on_fail: tag }] }')).toEqual([]);
    expect(severities('columns: { id: [{ not_null: true, mostly: 1 }] }')).toEqual([]);
  });
});

describe('Great Expectations', () => {
  const columnKwargs: Record<string, unknown> = {
    value_set: ['a'],
    min_value: 1,
    max_value: 3,
    value: 3,
    regex: 'a',
    regex_list: ['a'],
    like_pattern: 'a%',
    like_pattern_list: ['a%'],
    json_schema: { type: 'object' },
    column_A: 'net',
    column_B: 'tax',
    column_list: ['net', 'tax'],
    sum_total: 3,
    strftime_format: '%Y-%m-%d',
    value_pairs_set: [
      [1, 2],
      [3, null],
    ],
    type_: 'str',
    type_list: ['str'],
    column_set: ['net', 'tax'],
  };
  test('every name that is known makes a rule', () => {
    for (const name of GREAT_EXPECTATIONS) {
      const column = /_pair_|multicolumn|compound|within_record|_table_/.test(name)
        ? {}
        : { column: name.endsWith('be_between') && !name.includes('lengths') ? 'total' : 'status' };
      const takes = Object.entries(columnKwargs).filter(([key]) => {
        const parsed = parseContract(
          `${HEAD}checks: ${JSON.stringify([{ expect: name, kwargs: { ...column, [key]: columnKwargs[key] } }])}`,
          FILE,
        );
        return !('problems' in parsed) || parsed.problems.every(({ message }) => !message.includes(`takes no "${key}"`));
      });
      const body = `checks: ${JSON.stringify([{ expect: name, kwargs: { ...column, ...Object.fromEntries(takes) } }])}`;
      expect([name, ...problemsOf(body).filter(({ severity }) => severity === 'error')]).toEqual([name]);
    }
  });
  test('kwargs that are missing, or null, are told by their names', () => {
    const known = new Set(GREAT_EXPECTATIONS);
    const without = (name: string, kwargs: object) => messages(`checks: ${JSON.stringify([{ expect: name, kwargs }])}`);
    for (const name of known) {
      const column = /_pair_|multicolumn|_table_/.test(name) ? {} : { column: 'status' };
      for (const kwargs of [column, { ...column, ...Object.fromEntries(Object.keys(columnKwargs).map((key) => [key, null])) }]) {
        // Bounds may all be left out as far as their names go: then the check says that it has none.
        expect([name, without(name, kwargs).every((message) => message.length > 10)]).toEqual([name, true]);
      }
    }
    expect(without('expect_column_values_to_be_in_set', { column: 'status' })).toEqual([
      'expect_column_values_to_be_in_set needs "value_set"',
    ]);
    expect(without('expect_column_values_to_be_in_set', { column: 'status', value_set: null })).toEqual([
      'expect_column_values_to_be_in_set needs "value_set"',
    ]);
    expect(without('expect_column_pair_values_to_be_equal', {})).toEqual([
      'expect_column_pair_values_to_be_equal needs "column_A"',
      'expect_column_pair_values_to_be_equal needs "column_B"',
    ]);
    expect(without('expect_constructor', {})).toEqual(['there is no expectation expect_constructor']);
    expect(without('constructor', {})).toContain('there is no expectation constructor');
  });
  test('an expectation does what its check does', async () => {
    const contract = contractOf(
      'checks: [{ id: later, expect: expect_column_pair_values_a_to_be_greater_than_b, kwargs: { column_A: shipped_at, column_B: created_at, or_equal: true, ignore_row_if: either_value_is_missing } }]',
    );
    const at = (day: number) => `2026-01-0${day} 00:00:00+00`;
    const events = [
      insert({ shipped_at: at(2), created_at: at(1) }),
      insert({ shipped_at: at(1), created_at: at(2) }),
      update(null, { created_at: at(1) }),
    ];
    expect([...(await judged(contract, events)).verdicts]).toEqual([0, 4, 0]);
  });
});

test('a contract says everything that its file left to defaults', () => {
  const contract = contractOf(`version: 7
owner: team-orders
hold: key
source: { ops: [c, u] }
columns: { id: [not_null], status: [{ transitions: { a: [] }, no_before: fail }] }
breaker: { open_when: { quarantined_ratio: 0.2, over: 2m30s } }`);
  expect(contract).toMatchObject({
    version: 7,
    owner: 'team-orders',
    hold: 'key',
    mode: 'enforce',
    schema: null,
    breaker: { quarantinedRatio: 0.2, overMs: 150_000, minRows: 200 },
    warnings: [],
  });
  expect(contract.digest).toMatch(/^[0-9a-f]{64}$/);
  expect(contract.checks.map(({ id, onFail, severity, nulls, ops, noBefore }) => ({ id, onFail, severity, nulls, ops, noBefore }))).toEqual(
    [
      { id: 'id.not_null', onFail: 'quarantine', severity: 'critical', nulls: 'skip', ops: ['insert', 'update'], noBefore: 'skip' },
      { id: 'status.transitions', onFail: 'quarantine', severity: 'critical', nulls: 'skip', ops: ['update'], noBefore: 'fail' },
    ],
  );
});
