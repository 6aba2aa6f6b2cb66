/** Each check of one column against a naive reading of what it promises. */
import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { UNCHANGED, type Value } from '../../core/event.ts';
import { type Cells, insert, removed, rule, truncated, update } from './support.ts';

const RUNS = { numRuns: 150 };
const cell = (column: keyof Cells, value: Value) => insert({ [column]: value });

/** Every check of a single column that does not speak of nulls itself, with a cell that passes and one that fails. */
const CELL_CHECKS: readonly [keyof Cells, Record<string, unknown>, Value, Value][] = [
  ['status', { in_set: ['new', 'paid'] }, 'new', 'gone'],
  ['status', { not_in_set: ['gone'] }, 'new', 'gone'],
  ['total', { between: { min: 1, max: 5 } }, '5.00', '5.01'],
  ['status', { length: { max: 3 } }, 'new', 'paid'],
  ['status', { match_regex: '^n' }, 'new', 'old'],
  ['status', { not_match_regex: '^o' }, 'new', 'old'],
  ['status', { match_regex_list: ['^n', '^p'] }, 'paid', 'old'],
  ['status', { not_match_regex_list: ['^o', '^x'] }, 'paid', 'old'],
  ['status', { match_like: 'n%' }, 'new', 'old'],
  ['status', { not_match_like: 'o%' }, 'new', 'old'],
  ['status', { match_like_list: ['n%', 'p%'] }, 'new', 'old'],
  ['status', { not_match_like_list: ['o%', 'x%'] }, 'new', 'old'],
  ['email', { format: 'email' }, 'a@example.org', 'a@'],
  ['status', { type: 'integer' }, '12', '1.5'],
  ['status', { json_parseable: true }, '[NaN]', '[1'],
  ['body', { json_schema: { type: 'object', required: ['a'] } }, '{"a":1}', '{}'],
];

describe.each(CELL_CHECKS)('%s %j', (column, check, good, bad) => {
  test('passes what fits and fails what does not', () => {
    expect([rule(column, check)(cell(column, good)), rule(column, check)(cell(column, bad))]).toEqual([true, false]);
  });

  test('a null goes by the policy, and a cell that was not sent is never judged', () => {
    expect(rule(column, check)(cell(column, null))).toBe(true);
    expect(rule(column, { ...check, nulls: 'pass' })(cell(column, null))).toBe(true);
    expect(rule(column, { ...check, nulls: 'fail' })(cell(column, null))).toBe(false);
    expect(rule(column, { ...check, nulls: 'fail' })(update(null, { [column]: UNCHANGED }))).toBe(true);
  });

  test('a cell of another kind than its column cannot be read', () => {
    expect(rule(column, check)(cell(column, true))).toBe('unreadable');
  });

  test('where limits it to the rows for which the condition is true', () => {
    const limited = rule(column, { ...check, where: 'after.items > 3' });
    expect(limited(insert({ [column]: bad, items: 4 }))).toBe(false);
    expect(limited(insert({ [column]: bad, items: 3 }))).toBe(true);
    expect(limited(insert({ [column]: bad, items: null }))).toBe(true);
    expect(limited(update(null, { [column]: bad, items: UNCHANGED }))).toBe(true);
  });

  test('deletes meet it where they are named, by their old row', () => {
    expect(rule(column, check)(removed({ [column]: bad }))).toBe(true);
    expect(rule(column, { ...check, ops: ['d'] })(removed({ [column]: bad }))).toBe(false);
    expect(rule(column, { ...check, ops: ['delete'] })(removed(null))).toBe(true);
    expect(rule(column, { ...check, ops: ['delete'] })(cell(column, bad))).toBe(true);
    expect(rule(column, check)(truncated())).toBe(true);
  });
});

describe('not_null and null', () => {
  const cells = fc.constantFrom<Value>(null, UNCHANGED, 'x', '');
  test('judge presence alone', () => {
    fc.assert(
      fc.property(cells, (value) => {
        expect(rule('status', 'not_null')(cell('status', value))).toBe(value !== null);
        expect(rule('status', null)(cell('status', value))).toBe(value === null || value === UNCHANGED);
      }),
    );
  });
  test('null with a condition says what may not be there', () => {
    const unpaid = rule('shipped_at', { null: true, where: 'after.status == "new"' });
    expect(unpaid(insert({ status: 'new', shipped_at: '2026-01-01 00:00:00+00' }))).toBe(false);
    expect(unpaid(insert({ status: 'paid', shipped_at: '2026-01-01 00:00:00+00' }))).toBe(true);
  });
});

describe('in_set and not_in_set compare by type, not by text', () => {
  test('numbers of any writing', () => {
    const unscaled = fc.integer({ min: -500, max: 500 });
    fc.assert(
      fc.property(fc.uniqueArray(unscaled, { minLength: 1, maxLength: 6 }), unscaled, fc.nat(3), (members, value, zeros) => {
        const text = `${(value / 100).toFixed(2)}${'0'.repeat(zeros)}`;
        const listed = members.map((member) => member / 100);
        expect(rule('total', { in_set: listed })(cell('total', text))).toBe(members.includes(value));
        expect(rule('total', { not_in_set: listed })(cell('total', text))).toBe(!members.includes(value));
      }),
      RUNS,
    );
  });
  test('integers beyond 2^53, booleans and timestamps', () => {
    const big = '9007199254740993';
    expect(rule('id', { in_set: [big] })(cell('id', 9007199254740993n))).toBe(true);
    expect(rule('id', { in_set: [big] })(cell('id', 9007199254740992n))).toBe(false);
    expect(rule('id', { in_set: [7] })(cell('id', 7))).toBe(true);
    expect(rule('paid', { in_set: [true] })(cell('paid', false))).toBe(false);
    const noon = rule('created_at', { in_set: ['2026-11-24T13:00:00+01:00'] });
    expect(noon(cell('created_at', '2026-11-24 12:00:00+00'))).toBe(true);
    expect(noon(cell('created_at', '2026-11-24 12:00:00.000001+00'))).toBe(false);
    expect(rule('total', { in_set: [1] })(cell('total', 'NaN'))).toBe('unreadable');
  });
});

describe('between', () => {
  const strict = fc.record({ strict_min: fc.boolean(), strict_max: fc.boolean() });
  const holds = (value: bigint, min: bigint, max: bigint, strictMin: boolean, strictMax: boolean) =>
    (strictMin ? value > min : value >= min) && (strictMax ? value < max : value <= max);

  test('decimals of any length, as exact as their digits', () => {
    const unscaled = fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n });
    const near = fc.oneof(unscaled, fc.bigInt({ min: -300n, max: 300n }));
    const text = (value: bigint) =>
      `${value < 0n ? '-' : ''}${String(value < 0n ? -value : value)
        .padStart(3, '0')
        .replace(/(..)$/, '.$1')}`;
    fc.assert(
      fc.property(near, near, near, strict, (a, b, value, { strict_min, strict_max }) => {
        fc.pre(a !== b);
        const [min, max] = a < b ? [a, b] : [b, a];
        const check = rule('amount', { between: { min: text(min), max: text(max), strict_min, strict_max } });
        for (const at of [value, min, max, min + 1n, max - 1n])
          expect(check(cell('amount', text(at)))).toBe(holds(at, min, max, strict_min, strict_max));
      }),
      RUNS,
    );
  });

  test('integers and bigints', () => {
    const any = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: 2n ** 53n - 3n, max: 2n ** 53n + 3n }));
    const number = (value: bigint): Value => (Number.isSafeInteger(Number(value)) ? Number(value) : value);
    fc.assert(
      fc.property(any, any, any, strict, (a, b, value, { strict_min, strict_max }) => {
        fc.pre(a !== b);
        const [min, max] = a < b ? [a, b] : [b, a];
        const check = rule('id', { between: { min: String(min), max: String(max), strict_min, strict_max } });
        for (const at of [value, min, max, min - 1n, max + 1n])
          expect(check(cell('id', number(at)))).toBe(holds(at, min, max, strict_min, strict_max));
      }),
      RUNS,
    );
  });

  test('whole numbers against bounds with a fraction', () => {
    const beyond = rule('id', { between: { max: '9007199254740990.5', strict_max: true } });
    expect([9007199254740990, 9007199254740991, 9007199254740992n].map((id) => beyond(cell('id', id)))).toEqual([true, false, false]);
    expect(rule('id', { between: { min: '-1e18', max: '1.5e18' } })(cell('id', 7))).toBe(true);
    const check = rule('id', { between: { min: 0.5, max: '9007199254740993.5' } });
    expect([0, 1, 9007199254740993n, 9007199254740994n].map((id) => check(cell('id', id)))).toEqual([false, true, true, false]);
  });

  test('doubles, with NaN out of order', () => {
    fc.assert(
      fc.property(fc.double(), (value) => {
        const expected = Number.isNaN(value) ? 'unreadable' : value >= 0.1 && value < 2.5;
        expect(rule('risk', { between: { min: 0.1, max: 2.5, strict_max: true } })(cell('risk', value))).toBe(expected);
      }),
      RUNS,
    );
  });

  test('timestamps and dates as moments, whatever zone the rule writes', () => {
    const at = fc.date({ min: new Date('1990-01-01'), max: new Date('2060-01-01'), noInvalidDate: true });
    const postgres = (time: Date) =>
      time
        .toISOString()
        .replace('T', ' ')
        .replace(/\.?0*Z$/, '+00');
    fc.assert(
      fc.property(at, at, at, (a, b, value) => {
        fc.pre(a.getTime() !== b.getTime());
        const [min, max] = a < b ? [a, b] : [b, a];
        const check = rule('created_at', { between: { min: min.toISOString(), max: max.toISOString() } });
        expect(check(cell('created_at', postgres(value)))).toBe(value >= min && value <= max);
      }),
      RUNS,
    );
    const since = rule('created_at', { between: { min: '2026-01-01T01:00:00+01:00' } });
    expect(since(cell('created_at', '2026-01-01 00:00:00+00'))).toBe(true);
    expect(since(cell('created_at', '2025-12-31 23:59:59.999999+00'))).toBe(false);
    expect(since(cell('created_at', 'infinity'))).toBe(true);
    expect(since(cell('created_at', '0044-03-15 00:00:00+00 BC'))).toBe(false);
    expect(rule('day', { between: { min: '2026-01-01' } })(cell('day', '2025-12-31'))).toBe(false);
  });

  test('what has no place in the order cannot be read, and infinities have one', () => {
    const check = rule('total', { between: { min: 0 } });
    expect(['NaN', 'x', '', 7, 'Infinity', '-Infinity'].map((value) => check(cell('total', value)))).toEqual([
      'unreadable',
      'unreadable',
      'unreadable',
      'unreadable',
      true,
      false,
    ]);
  });
});

test('length counts code points of texts and bytes of bytes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 8 }), fc.nat(6), fc.nat(6), fc.boolean(), (text, a, b, strict) => {
      const [min, max] = [Math.min(a, b), Math.max(a, b) + 2];
      const points = Array.from(text).length;
      const check = rule('status', { length: { min, max, strict_min: strict } });
      expect(check(cell('status', text))).toBe((strict ? points > min : points >= min) && points <= max);
      expect(rule('status', { length: a })(cell('status', text))).toBe(points === a);
      const bytes = Buffer.from(text);
      expect(rule('hash', { length: { max } })(cell('hash', bytes))).toBe(bytes.length <= max);
    }),
    { numRuns: 80 },
  );
});

describe('times of day', () => {
  const clock = fc.integer({ min: 0, max: 86_399 });
  const text = (seconds: number, cut = false) => {
    const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60].map((part) => String(part).padStart(2, '0'));
    return (cut && seconds % 60 === 0 ? parts.slice(0, 2) : parts).join(':');
  };
  test('are compared as times, however the rule writes them', () => {
    fc.assert(
      fc.property(clock, clock, clock, (a, b, value) => {
        fc.pre(a !== b);
        const [min, max] = a < b ? [a, b] : [b, a];
        const check = rule('opens', { between: { min: text(min, true), max: text(max, true) } });
        for (const at of [value, min, max]) expect(check(cell('opens', text(at)))).toBe(at >= min && at <= max);
        expect(check(cell('opens', `${text(max)}.000001`))).toBe(false);
        expect(rule('opens', { in_set: [text(min, true)] })(cell('opens', text(value)))).toBe(value === min);
      }),
      RUNS,
    );
    const office = rule('opens', { between: { min: '09:00', max: '17:00' } });
    expect(['08:59:59.999999', '09:00:00', '17:00:00', '17:00:00.5', '24:00:00'].map((at) => office(cell('opens', at)))).toEqual([
      false,
      true,
      true,
      false,
      false,
    ]);
  });
  test('with a zone they can be listed, as the column writes them', () => {
    expect(rule('zoned', { in_set: ['09:00:00+02'] })(cell('zoned', '09:00:00+02'))).toBe(true);
  });
});

describe('texts whose type compares in its own way', () => {
  test('the spaces that fill up a char(n) are none of its text', () => {
    const padded = fc.string({ unit: fc.constantFrom('a', 'b', ' '), maxLength: 6 });
    fc.assert(
      fc.property(padded, padded, (text, member) => {
        const plain = text.replace(/ +$/, '');
        const event = cell('code', text.padEnd(6));
        expect(rule('code', { in_set: [member] })(event)).toBe(plain === member.replace(/ +$/, ''));
        expect(rule('code', { match_regex: '^[ab ]{2}$' })(event)).toBe(/^[ab ]{2}$/.test(plain));
        expect(rule('code', { match_like: '%b' })(event)).toBe(plain.endsWith('b'));
        expect(rule('code', { length: 2 })(event)).toBe(plain.length === 2);
        const row = insert({ code: text.padEnd(6), status: member });
        expect(rule(null, { pair_equal: { column_A: 'code', column_B: 'status' } })(row)).toBe(plain === member.replace(/ +$/, ''));
        expect(rule(null, { json_schema: { properties: { code: { const: 'a' } } } })(row)).toBe(plain === 'a');
      }),
      { numRuns: 40 },
    );
    expect(rule('code', { format: 'currency' })(cell('code', 'EUR   '))).toBe(true);
    const steps = rule('code', { transitions: { new: ['paid'], paid: [] } });
    expect([steps(update({ code: 'new   ' }, { code: 'paid  ' })), steps(update({ code: 'paid  ' }, { code: 'new   ' }))]).toEqual([
      true,
      false,
    ]);
  });
  test('citext is equal in any case; patterns are matched as they are written', () => {
    const same = (check: unknown) => ['NEW', 'new', 'nEw', 'other'].map((nick) => rule('nick', check)(cell('nick', nick)));
    expect(same({ in_set: ['New'] })).toEqual([true, true, true, false]);
    expect(same({ not_in_set: ['neW'] })).toEqual([false, false, false, true]);
    expect(same({ between: { min: 'NEV', max: 'new' } })).toEqual([true, true, true, false]);
    expect(same({ match_regex: '^new$' })).toEqual([false, true, false, false]);
    expect(rule('nick', 'immutable')(update({ nick: 'a' }, { nick: 'A' }))).toBe(true);
    expect(rule('nick', { transitions: { a: ['b'], b: [] } })(update({ nick: 'A' }, { nick: 'B' }))).toBe(true);
    expect(rule(null, { pair_equal: { column_A: 'nick', column_B: 'status' } })(insert({ nick: 'A', status: 'a' }))).toBe(true);
    expect(rule(null, { expr: 'after.nick == "A" && after.nick in ["a", "b"]' })(insert({ nick: 'a' }))).toBe(true);
  });
  test('a uuid is listed in any case', () => {
    const check = rule('ref', { in_set: ['6F9619FF-8B86-D011-B42D-00C04FC964FF'] });
    expect(check(cell('ref', '6f9619ff-8b86-d011-b42d-00c04fc964ff'))).toBe(true);
  });
});

describe('patterns', () => {
  test('a regex is searched, in either engine', () => {
    const check = rule('status', { match_regex: 'b+c' });
    expect(['abbcd', 'ac', 'bc'].map((text) => check(cell('status', text)))).toEqual([true, false, true]);
    const slow = rule('status', { match_regex: '^(a+)+$' });
    expect(slow(cell('status', `${'a'.repeat(50_000)}!`))).toBe(false);
    expect(rule('status', { match_regex: '(?i)^NEW$' })(cell('status', 'new'))).toBe(true);
  });

  test('LIKE is what a translation to a regex says', () => {
    const part = fc.constantFrom('%', '_', '\\%', '\\_', '\\\\', 'a', 'b', 'ab', '💧', '.', '*');
    const text = fc.array(fc.constantFrom('a', 'b', '%', '_', '\\', '💧', '.', '*', '\n'), { maxLength: 8 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 7 }), text, (parts, value) => {
        const pattern = parts.join('');
        fc.pre(!/^%+$/.test(pattern));
        const source = parts
          .map((p) => (p === '%' ? '[^]*' : p === '_' ? '[^]' : p.replace(/^\\(?=.)/, '').replaceAll(/[.*\\]/g, '\\$&')))
          .join('');
        expect(rule('status', { match_like: pattern })(cell('status', value))).toBe(new RegExp(`^${source}$`, 'u').test(value));
        expect(rule('status', { not_match_like: pattern })(cell('status', value))).toBe(!new RegExp(`^${source}$`, 'u').test(value));
      }),
      { numRuns: 200 },
    );
  });

  test('of a list one pattern is enough, or all of them with match_on: all', () => {
    const both = rule('status', { match_regex_list: { patterns: ['a', 'b'], match_on: 'all' } });
    expect(['ab', 'a', 'c'].map((text) => both(cell('status', text)))).toEqual([true, false, false]);
    expect(rule('status', { match_like_list: { patterns: ['a%', '%b'], match_on: 'all' } })(cell('status', 'axb'))).toBe(true);
  });
});

describe('type', () => {
  test.each([
    ['integer', ['1', '-7', '9007199254740993'], ['1.0', 'x', '']],
    ['decimal', ['1', '1.50', '-.5', '1e3'], ['NaN', 'x', '']],
    ['float', ['1.5', 'NaN', '-Infinity'], ['x']],
    ['boolean', ['true', 'F'], ['yes', '']],
    ['timestamp', ['2026-11-24T13:45:00Z', '2026-11-24'], ['x', '2026-02-30']],
    ['date', ['2026-11-24'], ['2026-11-24T13:45:00Z', '2026-02-30']],
    ['time', ['13:45', '23:59:59.5+01'], ['24:00', '1:00']],
    ['json', ['{}', '1', 'null'], ['{', '']],
  ])('texts that read as %s', (type, good, bad) => {
    const check = rule('status', { type });
    expect([...good, ...bad].map((text) => check(cell('status', text)))).toEqual([...good.map(() => true), ...bad.map(() => false)]);
  });
  test('one of several types is enough, and a typed column holds its own', () => {
    const check = rule('status', { type: ['integer', 'date'] });
    expect(['7', '2026-11-24', 'x'].map((text) => check(cell('status', text)))).toEqual([true, true, false]);
    expect([1, 1n << 60n, 1.5, 'x'].map((value) => rule('id', { type: 'integer' })(cell('id', value)))).toEqual([true, true, false, false]);
  });
});

describe('json_schema', () => {
  const schema = {
    type: 'object',
    required: ['sku'],
    properties: { sku: { type: 'string', pattern: '^[A-Z]+$' }, n: { type: 'integer', minimum: 1 } },
  };
  test('of a cell: its JSON, and text that is none cannot be read', () => {
    const check = rule('body', { json_schema: schema });
    const texts = ['{"sku":"A"}', '{"sku":"a"}', '{"sku":"A","n":0}', '[]', '{'];
    expect(texts.map((text) => check(cell('body', text)))).toEqual([true, false, false, false, 'unreadable']);
  });
  test('of the row: numbers as numbers, json columns as JSON, nulls as null, what was not sent as nothing', () => {
    const check = rule(null, {
      json_schema: {
        type: 'object',
        required: ['id', 'status'],
        properties: {
          id: { type: 'integer' },
          total: { type: ['number', 'null'], maximum: 100 },
          body: { type: ['object', 'null'], required: ['a'] },
          created_at: { type: ['string', 'null'], format: 'date-time' },
          status: { enum: ['new', 'paid'] },
        },
      },
    });
    const good = { id: 1, total: '99.50', body: '{"a":1}', created_at: '2026-11-24 13:45:00+00', status: 'new' };
    expect(check(insert(good))).toBe(true);
    expect(check(insert({ ...good, total: '100.01' }))).toBe(false);
    expect(check(insert({ ...good, body: '{}' }))).toBe(false);
    expect(check(insert({ ...good, status: null }))).toBe(false);
    expect(check(update(null, { ...good, status: UNCHANGED }))).toBe(true);
    expect(check(update(null, { ...good, status: UNCHANGED, total: '101' }))).toBe(false);
  });

  test('a schema that refers to itself in two branches is given up on before it fills the memory', () => {
    const nested = {
      anyOf: [{ type: 'array', minItems: 1, items: { $ref: '#' } }, { type: 'array', items: { $ref: '#' } }, { type: 'number' }],
    };
    const check = rule('body', { json_schema: nested });
    const value = (depth: number, inner: string) => cell('body', `${'['.repeat(depth)}${inner}${']'.repeat(depth)}`);
    expect([check(value(6, '1')), check(value(6, '"x"')), check(value(60, '1'))]).toEqual([true, false, true]);
    const started = performance.now();
    expect(check(value(60, '"x"'))).toBe('unreadable');
    expect(performance.now() - started).toBeLessThan(5000);
    // Given up on, it judges the next one as before. Many items are no reason to.
    const items = cell('body', JSON.stringify(Array.from({ length: 20_000 }, (_, i) => [i])));
    expect([check(value(6, '"x"')), check(items)]).toEqual([false, true]);
    const row = rule(null, {
      json_schema: {
        properties: { body: { $ref: '#/definitions/tree' } },
        definitions: {
          tree: {
            anyOf: [
              { type: 'array', items: { $ref: '#/definitions/tree' } },
              { type: 'array', minItems: 1, items: { $ref: '#/definitions/tree' } },
              { type: 'number' },
            ],
          },
        },
      },
    });
    expect([row(value(6, '"x"')), row(value(60, '"x"'))]).toEqual([false, 'unreadable']);
  });
  test('a format takes no longer than the length of the text allows', () => {
    const check = rule('body', { json_schema: { type: 'string', format: 'url' } });
    const started = performance.now();
    expect(check(cell('body', JSON.stringify(`http://${':'.repeat(200_000)}`)))).toBe(false);
    expect(performance.now() - started).toBeLessThan(2000);
    const texts = ['https://example.org/a?b#c', 'ftp://[::1]/x', 'mailto:a@b.org', 'https://', 'https://a b'];
    expect(texts.map((text) => check(cell('body', JSON.stringify(text))))).toEqual([true, true, false, false, false]);
  });
});
