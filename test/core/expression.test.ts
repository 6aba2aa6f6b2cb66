import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import {
  type Column,
  type ColumnType,
  type Dataset,
  type DatasetName,
  UNCHANGED,
  type Value,
  ValueRow,
  type Version,
} from '../../core/event.ts';
import { compileExpression, type CompileExpressionOptions, ExpressionError } from '../../core/expression.ts';
import type { ChangeEvent } from '../../core/event.ts';

const columns = Object.entries({
  id: 'integer',
  total: 'decimal',
  net: 'decimal',
  tax: 'decimal',
  status: 'text',
  created_at: 'timestamp',
  day: 'date',
  risk: 'float',
  paid: 'boolean',
  hash: 'bytes',
} satisfies Record<string, ColumnType>).map(([name, type]): Column => ({ name, type, native: '', nullable: true }));
const dataset: Dataset = { name: 'shop.public.orders' as DatasetName, version: 1, columns, key: [0] };

type Cells = Partial<Record<string, Value>>;
const row = (cells: Cells) => new ValueRow(...columns.map(({ name }) => cells[name] ?? null));
const base = { dataset, key: '1', movedFrom: null, version: '1' as Version, ordinal: 0, committedAtMs: 0 };
const insert = (cells: Cells): ChangeEvent => ({ op: 'insert', before: null, after: row(cells), ...base });
const update = (before: Cells | null, after: Cells): ChangeEvent => ({
  op: 'update',
  before: before === null ? null : row(before),
  after: row(after),
  ...base,
});
const removed = (before: Cells | null): ChangeEvent => ({
  op: 'delete',
  before: before === null ? null : row(before),
  after: null,
  ...base,
});

function compile(text: string, options: Partial<CompileExpressionOptions> = {}) {
  const compiled = compileExpression(text, { dataset, path: 'rule', ...options });
  if (compiled.kind === 'refused')
    throw new Error(`${text}: ${compiled.problems.map(({ message, fix }) => `${message} ${fix}`).join('; ')}`);
  return compiled;
}
const evaluate = (text: string, event: ChangeEvent = insert({})) => compile(text).evaluate(event);
function problems(text: string, options: Partial<CompileExpressionOptions> = {}) {
  const compiled = compileExpression(text, { dataset, path: 'rule', ...options });
  return compiled.kind === 'refused' ? compiled.problems.map(({ message, fix }) => `${message} -> ${fix}`) : [];
}

const order = {
  id: 7,
  total: '119.00',
  net: '100',
  tax: '19.0',
  status: 'new',
  created_at: '2026-11-24 13:45:00.123456+00',
  day: '2026-11-24',
  risk: 0.5,
  paid: true,
};

test.each<[string, unknown]>([
  ['after.total == after.net + after.tax', true],
  ['after.total > 118.99 && after.total <= 119', true],
  ['after.status in ["new", "paid"]', true],
  ['after.id in [1, 2, 3]', false],
  ['after.total in [119, 120.5]', true],
  ['!after.paid || after.id > 6', true],
  ['after.paid ? "yes" : "no"', 'yes'],
  ['size(after.status) * 2 - 1', 5],
  ['after.status.size() == 3', true],
  ['after.status.startsWith("n") && after.status.endsWith("w") && after.status.contains("e")', true],
  ['after.status.upperAscii() + "!"', 'NEW!'],
  ['" x ".trim()', 'x'],
  ['after.status.matches("^[a-z]+$")', true],
  ["after.status.matches(r'\\d')", false],
  ['after.created_at > "2026-01-01"', true],
  ['after.created_at >= timestamp("2026-11-24T14:45:00.123456+01:00")', true],
  ['after.day == "2026-11-24"', true],
  ['after.created_at - after.day == duration("13h45m0.123456s")', true],
  ['after.created_at + duration("1d") > after.created_at', true],
  ['after.created_at.getHours()', 13],
  ['after.day.getDayOfWeek()', 2],
  ['string(after.created_at + duration("1h"))', '2026-11-24 14:45:00.123456+00'],
  ['-after.total', '-119.00'],
  ['abs(-after.total) == after.total', true],
  ['after.total * 2', '238.00'],
  ['after.net / 8', 12.5],
  ['after.id / 2', 3],
  ['-after.id / 2', -3],
  ['after.id % 4', 3],
  ['9007199254740991 + 2', 9007199254740993n],
  ['after.risk >= 0.5', true],
  ['int("42") + int(2.9)', 44],
  ['double(after.total) / 2.0', 59.5],
  ['decimal("0.1") + decimal("0.2") == 0.3', true],
  ['coalesce(null, after.id)', 7],
  ['has(after.hash)', false],
  ['op == "insert"', true],
  ['before.id == null', true],
  ['after["status"] == "new"', true],
  ["'it''s' != after.status", undefined],
])('%s', (text, expected) => {
  if (expected === undefined) return expect(problems(text)).toHaveLength(1);
  expect(evaluate(text, insert(order))).toEqual(expected);
});

describe('null and unknown', () => {
  test('null equals null alone, and what is computed from it is unknown', () => {
    expect(evaluate('after.status == null', insert({}))).toBe(true);
    expect(evaluate('after.status != "store"', insert({}))).toBe(true);
    expect(evaluate('after.total > 0', insert({}))).toBe(undefined);
    expect(evaluate('after.total == after.net + after.tax', insert({ total: '1', net: '1' }))).toBe(undefined);
    expect(evaluate('size(after.status) > 0', insert({}))).toBe(undefined);
  });

  test('logic is three-valued, as in SQL', () => {
    const unknown = 'after.total > 0';
    expect(evaluate(`${unknown} && false`)).toBe(false);
    expect(evaluate(`${unknown} || true`)).toBe(true);
    expect(evaluate(`${unknown} || false`)).toBe(undefined);
    expect(evaluate(`!(${unknown})`)).toBe(undefined);
    expect(evaluate(`${unknown} ? 1 : 2`)).toBe(undefined);
  });

  test('a cell that was not sent is unknown, in equality too', () => {
    const event = update({}, { status: UNCHANGED, total: '1' });
    expect(evaluate('after.status == "new"', event)).toBe(undefined);
    expect(evaluate('after.status == null', event)).toBe(undefined);
    expect(evaluate('has(after.status)', event)).toBe(undefined);
    expect(evaluate('after.status in ["new"]', event)).toBe(undefined);
    expect(evaluate('coalesce(after.status, "none")', event)).toBe('none');
  });

  test('the old row of an update that did not come is unknown; of an insert there is none', () => {
    expect(evaluate('before.status == null', update(null, {}))).toBe(undefined);
    expect(evaluate('before.status == null', insert({}))).toBe(true);
    expect(evaluate('before.status == "new"', removed({ status: 'new' }))).toBe(true);
    expect(evaluate('after.status == null', removed({ status: 'new' }))).toBe(true);
  });

  test('changed says what an update changed, and nothing of the other operations', () => {
    expect(evaluate('changed(status)', update({ status: 'new' }, { status: 'paid' }))).toBe(true);
    expect(evaluate('changed(status)', update({ status: 'new' }, { status: 'new' }))).toBe(false);
    expect(evaluate('changed(after.status)', update({ status: 'new' }, { status: UNCHANGED }))).toBe(false);
    expect(evaluate('changed("status")', update(null, { status: 'new' }))).toBe(undefined);
    expect(evaluate('changed(status)', update({ status: UNCHANGED }, { status: 'new' }))).toBe(undefined);
    expect(evaluate('changed(status)', insert({ status: 'new' }))).toBe(false);
    expect(evaluate('changed(hash)', update({ hash: Uint8Array.of(1) }, { hash: Uint8Array.of(1) }))).toBe(false);
  });
});

describe('what cannot be computed is an error of the row', () => {
  test.each([
    ['after.id / 0 > 1', { id: 1 }],
    ['after.id % (after.id - after.id) > 1', { id: 1 }],
    ['after.total > 0', { total: 'NaN' }],
    ['after.total + 1 > 0', { total: 'NaN' }],
    ['int(after.status) > 0', { status: 'x' }],
    ['timestamp(after.status) > after.created_at', { status: 'x', created_at: '2026-01-01' }],
    ['after.id > 1', { id: 'seven' }],
    ['after.total / after.net > 1', { total: '1', net: '0.00' }],
  ])('%s', (text, cells) => {
    expect(() => evaluate(text, insert(cells))).toThrow(ExpressionError);
    try {
      evaluate(text, insert(cells));
    } catch (error) {
      expect((error as Error).message).not.toMatch(/seven|\bx\b/);
    }
  });

  test('decimal infinities have their place in the order', () => {
    expect(evaluate('after.total > 1000000', insert({ total: 'Infinity' }))).toBe(true);
    expect(evaluate('after.total < after.net', insert({ total: '-Infinity', net: '-1e400' }))).toBe(true);
  });
});

describe('problems', () => {
  test('each names what is wrong, where, and the fix', () => {
    const texts = [
      'after.totl > 3 && after.stats == "new"',
      'total > 3',
      'amount > 3',
      'after.total > after.risk',
      'after.total = 3',
      'after.status == 3',
      'after.id == "3"',
      'after.status and after.paid',
      'after.paid && after.id',
      'op == "create"',
      'after.status.matches("(a+)+\\\\1")',
      'after.status.matches(after.status)',
      'after.status.startWith("x")',
      'startsWith(after.status, "x")',
      'size(after.id)',
      'after.created_at > "yesterday"',
      'after.status + 1',
      'after.total %',
      '1 < after.id < 3',
      '1 / 0 == 1',
      'has(1)',
      'after',
      'after.status ? 1 : 2',
      'after.paid ? 1 : "x"',
      '"open',
      '',
      'after.id in after.status',
      'null > 1',
    ];
    expect(texts.map((text) => `${text} ## ${problems(text).join(' ## ')}`)).toMatchInlineSnapshot(`
      [
        "after.totl > 3 && after.stats == "new" ## shop.public.orders has no column "totl" (character 1 of the expression) -> Did you mean "total"? ## shop.public.orders has no column "stats" (character 19 of the expression) -> Did you mean "status"?",
        "total > 3 ## "total" stands alone (character 1 of the expression) -> Write after.total for its new value or before.total for the old one.",
        "amount > 3 ## "amount" is not known (character 1 of the expression) -> Choose one of: after, before, op.",
        "after.total > after.risk ## a decimal and a float have no order (character 13 of the expression) -> A decimal is exact and a float is not: write double(…) around the decimal.",
        "after.total = 3 ## "=" is not part of the language (character 13 of the expression) -> Write == to compare.",
        "after.status == 3 ## a text and a whole number are never equal (character 14 of the expression) -> Put quotes around the number.",
        "after.id == "3" ## a whole number and a text are never equal (character 10 of the expression) -> Remove the quotes.",
        "after.status and after.paid ## "and" is not expected here (character 14 of the expression) -> Write && for and.",
        "after.paid && after.id ## "&&" joins conditions, and this is a whole number (character 15 of the expression) -> Compare it with something, such as … != null.",
        "op == "create" ## op is never "create" (character 7 of the expression) -> Choose one of: insert, update, delete, read, truncate.",
        "after.status.matches("(a+)+\\\\1") ## the regex uses a back-reference, which can take time exponential in the length of a value (character 22 of the expression) -> Rewrite it without \\1 and the like, as an expr for instance.",
        "after.status.matches(after.status) ## the regex has to be written out (character 22 of the expression) -> Put the regex in quotes: it is compiled once.",
        "after.status.startWith("x") ## there is no function "startWith" (character 14 of the expression) -> Did you mean "startsWith"?",
        "startsWith(after.status, "x") ## there is no function "startsWith" (character 1 of the expression) -> Write text.startsWith(…).",
        "size(after.id) ## size takes a text or bytes or a list, and this is a whole number (character 6 of the expression) -> Give it a value of another kind.",
        "after.created_at > "yesterday" ## the text beside a timestamp is no date or timestamp (character 20 of the expression) -> Write it as "2026-11-24" or "2026-11-24T13:45:00Z".",
        "after.status + 1 ## "+" cannot take a text and a whole number (character 14 of the expression) -> Turn the text into a number with int(…), decimal(…) or double(…), or the number into a text with string(…).",
        "after.total % ## the expression ends too early (character 14 of the expression) -> A value belongs here: a column, a number, a text.",
        "1 < after.id < 3 ## comparisons cannot be chained (character 14 of the expression) -> Write a < b && b < c.",
        "1 / 0 == 1 ## this cannot be computed: division by zero (character 3 of the expression) -> Correct the constants.",
        "has(1) ## has takes a column (character 1 of the expression) -> Write has(after.<column>) or has(before.<column>).",
        "after ## "after" is a row, not a value (character 1 of the expression) -> Name a column of it, such as after.id.",
        "after.status ? 1 : 2 ## "?" asks a condition, and this is a text (character 1 of the expression) -> Compare it with something.",
        "after.paid ? 1 : "x" ## the alternatives are a whole number and a text (character 1 of the expression) -> Make them of one type, for instance with double(…) or string(…).",
        ""open ## the text is not closed (character 1 of the expression) -> Close it with ".",
        " ## the expression is empty (character 1 of the expression) -> Write a condition, such as after.total >= 0.",
        "after.id in after.status ## "in" looks in a list (character 13 of the expression) -> To look in a text, write text.contains(part).",
        "null > 1 ## nothing is less or greater than null (character 6 of the expression) -> Write == null or != null.",
      ]
    `);
  });

  test('a condition or a number may be wanted', () => {
    expect(problems('after.id', { want: 'bool' })).toEqual([
      'a condition is wanted, and this gives a whole number (character 1 of the expression) -> Compare it with something, such as … > 0.',
    ]);
    expect(problems('after.status', { want: 'number' })).toHaveLength(1);
    expect(problems('before.id > 1', { wantBefore: false })).toHaveLength(1);
    expect(compile('after.total', { want: 'number' }).evaluate(insert(order))).toBe(119);
    expect(compile('after.paid', { want: 'number' }).evaluate(insert(order))).toBe(1);
    expect(compile('after.id', { want: 'number' }).evaluate(insert({ id: 2n ** 60n }))).toBe(2 ** 60);
  });

  test('an expression names the columns it reads, and may use further variables', () => {
    expect(compile('after.total > 0 && before.status == after.status')).toMatchObject({
      columns: [1, 4],
      beforeColumns: [4],
      constant: false,
      type: 'bool',
    });
    const route = compile('score >= 0.95 && model == "risk"', { variables: { score: 'double', model: 'string' } });
    expect(route.evaluate(insert({}), Math.fround(0.95), 'risk')).toBe(false); // 0.95 as a float lies below 0.95.
    expect(route.evaluate(insert({}), 0.97, 'risk')).toBe(true);
  });

  test('no text makes it throw anything else, or run anything', () => {
    const words = fc.constantFrom(
      'after',
      '.',
      'total',
      '(',
      ')',
      '[',
      ']',
      '"',
      "'",
      '==',
      '&&',
      '||',
      '!',
      '-',
      '+',
      '/',
      '?',
      ':',
      ',',
      'in',
      '1',
      '0.5',
      'null',
      'true',
      'size',
      'has',
      'before',
      'op',
      'constructor',
      '__proto__',
      ' ',
      '\\',
      '`',
      '${x}',
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 14 }), (parts) => {
        const compiled = compileExpression(parts.join(''), { dataset, path: 'rule' });
        if (compiled.kind === 'refused') {
          expect(compiled.problems[0].path).toMatch(/^rule/);
          return;
        }
        try {
          compiled.evaluate(insert(order));
        } catch (error) {
          expect(error).toBeInstanceOf(ExpressionError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('nesting and length are bounded', () => {
    expect(problems(`${'('.repeat(5000)}1${')'.repeat(5000)}`)).toHaveLength(1);
    expect(problems(`${'!'.repeat(3000)}true`)).toHaveLength(1);
    expect(problems(`1${' + 1'.repeat(5000)}`)).toHaveLength(1);
    expect(problems(`1${' + 1'.repeat(301)}`)).toHaveLength(1);
    expect(evaluate(`1${' + 1'.repeat(299)}`)).toBe(300);
  });
});

test('whole numbers and decimals are exact: the same as bigint arithmetic', () => {
  const integer = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  const normal = (value: bigint) => (value >= -(2n ** 53n) + 1n && value <= 2n ** 53n - 1n ? Number(value) : value);
  fc.assert(
    fc.property(integer, integer, (a, b) => {
      const event = update({ id: normal(a) }, { id: normal(b) });
      expect(evaluate('before.id + after.id', event)).toBe(normal(a + b));
      expect(evaluate('before.id - after.id', event)).toBe(normal(a - b));
      expect(evaluate('before.id * after.id', event)).toBe(normal(a * b));
      expect(evaluate('before.id < after.id', event)).toBe(a < b);
      expect(evaluate('before.id == after.id', event)).toBe(a === b);
      if (b !== 0n) expect(evaluate('before.id / after.id', event)).toBe(normal(a / b));
      if (b !== 0n) expect(evaluate('before.id % after.id', event)).toBe(normal(a % b));
    }),
  );
});

describe('conditions that say the same of every row', () => {
  test.each([
    ['after.total > 0 || true', true],
    ['false && after.total / 0 > 1', true],
    ['after.total > 0 && true', false],
    ['(after.paid || true) && after.id > 1', false],
  ])('%s is constant: %s', (text, constant) => {
    expect(compile(text).constant).toBe(constant);
  });
  test.each(['after.total == after.total', 'after.status != after["status"]', 'size(after.status) <= size(after.status)'])(
    '%s compares something with itself',
    (text) => {
      expect(problems(text)).toEqual([expect.stringContaining('compares something with itself')]);
    },
  );
  test('but a float may be asked whether it is NaN', () => {
    expect([Number.NaN, 1].map((risk) => evaluate('after.risk == after.risk', insert({ risk })))).toEqual([false, true]);
  });
});

test('NaN has no order: what compares it cannot be read, whatever is made of the answer', () => {
  for (const text of ['after.risk > 0.5', '!(after.risk > 0.5)', 'after.risk <= after.id'])
    expect(() => evaluate(text, insert({ risk: Number.NaN, id: 1 }))).toThrow('NaN has no order');
});

test('names that every JavaScript object has are no functions', () => {
  for (const text of ['after.status.constructor()', 'toString(after.status)', 'after.status.valueOf()', 'constructor(1)'])
    expect(problems(text)).toEqual([expect.stringContaining('there is no function')]);
});

describe('columns whose texts are not what they seem', () => {
  const more = [
    ...columns,
    { name: 'code', type: 'text', native: 'character(5)', nullable: true },
    { name: 'opens', type: 'time', native: 'time without time zone', nullable: true },
    { name: 'zoned', type: 'time', native: 'time with time zone', nullable: true },
    { name: 'age', type: 'other', native: 'interval', nullable: true },
    { name: 'body', type: 'json', native: 'jsonb', nullable: true },
  ] as const satisfies readonly Column[];
  const table: Dataset = { ...dataset, columns: more };
  const event = (cells: Cells): ChangeEvent =>
    ({ ...insert({}), after: new ValueRow(...more.map(({ name }) => cells[name] ?? null)) }) as ChangeEvent;
  const said = (text: string, cells: Cells) => compile(text, { dataset: table }).evaluate(event(cells));

  test('the spaces that fill up a char(n) mean nothing', () => {
    for (const text of [
      'after.code == "ab"',
      'after.code in ["ab"]',
      'size(after.code) == 2',
      'after.code.matches("^..$")',
      'after.code.endsWith("b")',
    ])
      expect([text, said(text, { code: 'ab   ' })]).toEqual([text, true]);
    expect(said('after.code == " ab"', { code: 'ab   ' })).toBe(false);
  });
  test('a time of day is compared as one, however it is written', () => {
    expect(['16:59:59.9', '17:00:00', '17:00:00.5'].map((opens) => said('after.opens <= "17:00"', { opens }))).toEqual([true, true, false]);
    expect(said('after.opens in ["17:00:00.50"]', { opens: '17:00:00.5' })).toBe(true);
    expect(problems('after.opens > "5 pm"', { dataset: table })).toEqual([
      expect.stringContaining('the text beside a time of day is none'),
    ]);
  });
  test('texts of an interval, a zoned time or a document have no order, and can be equal', () => {
    for (const name of ['age', 'zoned', 'body']) {
      expect(problems(`after.${name} > "1 day"`, { dataset: table })).toEqual([expect.stringContaining('not in the order of its values')]);
      expect(said(`after.${name} == "1 day"`, { [name]: '1 day' })).toBe(true);
    }
  });
});
