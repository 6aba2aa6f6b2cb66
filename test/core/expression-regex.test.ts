import fc from 'fast-check';
import { RE2JS } from 're2js';
import { expect, test } from 'vitest';
import { compileRegex } from '../../core/expression/regex.ts';
import { nativeSource } from '../../core/expression/regex-native.ts';
import { nearest } from '../../core/expression/suggest.ts';

function compiled(pattern: string) {
  const regex = compileRegex(pattern);
  return 'refused' in regex ? expect.fail(regex.refused) : regex;
}

const character = fc.constantFrom('a', 'b', '1', '-', '.', '@', ' ', '\n', 'é', '😀', '\u2028', '_', 'Z');
const subject = fc.string({ unit: character, maxLength: 12 });

test('a pattern that V8 runs says the same as the linear-time engine', () => {
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
  const quantifier = fc.constantFrom('', '', '?', '*', '+', '{2}', '{1,3}', '{2,}', '+?');
  const pattern = fc
    .tuple(
      fc.constantFrom('', '^', '^'),
      fc.array(fc.tuple(atom, quantifier), { minLength: 1, maxLength: 5 }),
      fc.constantFrom('', '$', '$'),
    )
    .map(([start, parts, end]) => start + parts.map(([a, q]) => a + q).join('') + end);
  let native = 0;
  fc.assert(
    fc.property(pattern, fc.array(subject, { minLength: 1, maxLength: 8 }), (text, subjects) => {
      const source = nativeSource(text);
      if (source === null) return;
      native++;
      const regex = new RegExp(source, 'u');
      const linear = RE2JS.compile(text);
      for (const one of subjects) expect(`${one} ${regex.test(one)}`).toBe(`${one} ${linear.matcher(one).find()}`);
    }),
    { numRuns: 4000 },
  );
  expect(native).toBeGreaterThan(500);
});

test.each([
  ['^[A-Z]{3}$', 'native'],
  ['^[^@\\s]+@[^@\\s]+$', 'native'],
  ['^\\d{4}-\\d{2}$', 'native'],
  ['^(?:[a-z]+\\.)+[a-z]+$', 're2'], // after a dot, letters may be of the loop or of the end
  ['^(?:[a-z]+-)*\\d+$', 'native'],
  ['[0-9]{3}', 'native'],
  ['(a|b)c?', 'native'],
  ['a+b', 're2'], // unanchored and unbounded: every start would be tried
  ['^(a+)+$', 're2'],
  ['^(a|a)*b', 're2'],
  ['^a*a*b', 're2'],
  ['(?i)abc', 're2'],
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

test('the nearest name is the one a typo away', () => {
  expect(nearest('totl', ['total', 'net', 'tax'])).toBe('total');
  expect(nearest('Status', ['status'])).toBe('status');
  expect(nearest('nto_null', ['not_null', 'null'])).toBe('not_null');
  expect(nearest('zzz', ['total', 'net'])).toBe(null);
});
