import fc from '../support/fast-check.ts';
import { RE2JS } from 're2js';
import { expect, test } from 'vitest';
import { compileRegex } from '../../core/expression/regex.ts';
import { Found } from '../../core/expression/regex-table.ts';
import { nearest } from '../../core/expression/suggest.ts';

function compiled(pattern: string) {
  const regex = compileRegex(pattern);
  return 'refused' in regex ? expect.fail(regex.refused) : regex;
}

const character = fc.constantFrom('a', 'b', '1', '-', '.', '@', ' ', '\n', 'é', '😀', '\u2028', '_', 'Z');
const subject = fc.string({ unit: character, maxLength: 12 });

const atom = fc.constantFrom(
  'a',
  'b',
  '.',
  '\\d',
  '\\w',
  '\\s',
  '\\S',
  '\\W',
  '[a-z]',
  '[^@\\s]',
  '[-.]',
  '\\.',
  '@',
  '(?:ab|1)',
  '(a|b)',
  '(?:[ab]1)',
  'é',
  '😀',
  '[^a]',
);
const quantifier = fc.constantFrom('', '', '?', '*', '+', '{2}', '{1,3}', '{2,}', '{0,2}', '+?');
const simple = fc.array(fc.tuple(atom, quantifier), { minLength: 1, maxLength: 5 }).map((parts) => parts.map(([a, q]) => a + q).join(''));
/** What repeats and chooses among patterns, empty ones too: many ways to read one text. */
const nested = fc.tuple(simple, simple, quantifier, simple).map(([a, b, q, c]) => `(?:${a}|${b}|)${q}${c}`);
const pattern = fc
  .tuple(fc.constantFrom('', '', '(?i)'), fc.constantFrom('', '^', '^'), fc.oneof(simple, simple, nested), fc.constantFrom('', '$', '$'))
  .map((parts) => parts.join(''));

test('a pattern that V8 or a table of states runs says the same as the linear-time engine', () => {
  const counts = { native: 0, table: 0, re2: 0, ascii: 0 };
  fc.assert(
    fc.property(pattern, fc.array(subject, { minLength: 1, maxLength: 8 }), (text, subjects) => {
      const regex = compiled(text);
      const linear = RE2JS.compile(text);
      counts[regex.engine]++;
      for (const one of subjects) {
        const found = linear.matcher(one).find();
        expect(`${one} ${regex.test(one)}`).toBe(`${one} ${found}`);
        const bytes = Buffer.from(`b${one}b`);
        const byTable = [regex.table?.inText(one), regex.table?.inBytes(bytes, 1, bytes.length - 1)];
        // A match may end before the first character beyond ASCII.
        if (byTable[0] === undefined || byTable[0] === Found.NotAscii) continue;
        counts.ascii++;
        expect([one, ...byTable]).toEqual([one, ...byTable.map(() => (found ? Found.Yes : Found.No))]);
      }
    }),
    { numRuns: 4000 },
  );
  expect(Math.min(counts.native, counts.table, counts.ascii)).toBeGreaterThan(500);
});

test.each([
  ['^[A-Z]{3}$', 'native'],
  ['^[^@\\s]+@[^@\\s]+$', 'native'],
  ['^\\d{4}-\\d{2}$', 'native'],
  ['^(?:[a-z]+\\.)+[a-z]+$', 'table'], // after a dot, letters may be of the loop or of the end
  ['^(?:[a-z]+-)*\\d+$', 'native'],
  ['[0-9]{3}', 'native'],
  ['(a|b)c?', 'native'],
  ['a+b', 'table'], // unanchored and unbounded: every start would be tried
  ['^(a+)+$', 'table'],
  ['^(a|a)*b', 'table'],
  ['^a*a*b', 'table'],
  ['(?i)abc', 'table'],
  ['(a|b)*a(a|b){12}$', 're2'], // 2^12 states
  ['\\bword\\b', 're2'],
  ['^a|b$', 're2'],
  ['^[[:alpha:]]+$', 're2'],
])('%s runs on %s', (pattern, engine) => {
  expect(compiled(pattern).engine).toBe(engine);
});

test.each(['(?=a)b', '(?!a)b', '(?<=a)b', '(?<!a)b', '(a)\\1', '(a', 'a**', '[b-a]', '\\'])('%s is refused with a fix', (pattern) => {
  expect(compileRegex(pattern)).toMatchObject({ refused: expect.any(String) as string, fix: expect.any(String) as string });
});

test('no pattern takes longer than the length of the text allows', () => {
  const text = `${'a'.repeat(20_000)}!`;
  for (const pattern of ['^(a+)+$', '^(a|aa)+$', '(a*)*b', '^(?:[a-z]+)*$', '^(.*a){10}$', 'a*a*a*b', '^[a-z]+[a-z]*!?x']) {
    const started = performance.now();
    compiled(pattern).test(text);
    expect(performance.now() - started).toBeLessThan(3000);
  }
});

test('a text of megabytes is matched as a short one is', () => {
  const long = 'abc-'.repeat(1_000_000);
  for (const [pattern, text, found] of [
    ['^(?:[a-z]+-)*\\d+$', long, false],
    ['^(?:[a-z]+-)*\\d+$', `${long}7`, true],
    ['^[^@\\s]+@[^@\\s]+$', `${long}@x`, true],
  ] as const) {
    expect(compiled(pattern)).toMatchObject({ engine: 'native' });
    expect(compiled(pattern).test(text)).toBe(found);
  }
});

test('the nearest name is the one a typo away', () => {
  expect(nearest('totl', ['total', 'net', 'tax'])).toBe('total');
  expect(nearest('Status', ['status'])).toBe('status');
  expect(nearest('nto_null', ['not_null', 'null'])).toBe('not_null');
  expect(nearest('zzz', ['total', 'net'])).toBe(null);
});
