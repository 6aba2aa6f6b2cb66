/** Types that no server of the tests has: bytes as the extension's own `…_send` functions made them (pgvector 0.8.7), and its texts. */
import { expect, test } from 'vitest';
import { treeOf, typeOf } from '../../wire/postgres/types.ts';

const of = (name: string) =>
  typeOf({ oid: 50_000, schema: 'extensions', name, kind: 'b', isArray: false, delimiter: ',', inner: null, fields: [] });

test.each([
  ['vector', '000300003f80000040200000c0400000', '[1,2.5,-3]'],
  ['vector', '000500003dcccccd3727c5ac497424004b80000080000000', '[0.1,1e-05,1e+06,1.6777216e+07,-0]'],
  ['vector', '000100007f7fffff', '[3.4028235e+38]'],
  ['halfvec', '000300003c004100c200', '[1,2.5,-3]'],
  ['halfvec', '000400002e667bff03ef8000', '[0.099975586,65504,6.0021877e-05,-0]'],
  ['sparsevec', '00000005000000020000000000000000000000023fc00000c0000000', '{1:1.5,3:-2}/5'],
  ['sparsevec', '000000030000000000000000', '{}/3'],
  ['sparsevec', '000f42400000000100000000000000013dcccccd', '{2:0.1}/1000000'],
])('%s %s is %s', (name, hex, text) => {
  const bytes = Buffer.from(`ff${hex}ff`, 'hex'); // Between other bytes, as in a row.
  const type = of(name);
  expect(type.decode(bytes, 1, bytes.length - 2)).toBe(text);
  expect(type.columnType).toBe('other');
});

test('an array of them is read as well, and both survive the quarantine', () => {
  const array = typeOf({
    oid: 50_001,
    schema: 'extensions',
    name: '_vector',
    kind: 'b',
    isArray: true,
    delimiter: ',',
    inner: treeOf(of('vector')),
    fields: [],
  });
  const element = Buffer.from('000300003f80000040200000c0400000', 'hex');
  const bytes = Buffer.alloc(20 + 4 + element.length);
  for (const [place, word] of [1, 0, 50_000, 1, 1, element.length].entries()) bytes.writeInt32BE(word, 4 * place);
  element.copy(bytes, 24);
  const again = typeOf(JSON.parse(JSON.stringify(treeOf(array))) as ReturnType<typeof treeOf>);
  expect(again.decode(bytes, 0, bytes.length)).toBe('{"[1,2.5,-3]"}');
});

test.each([
  [0, 1250n, '1250'],
  [3, 1250n, '1.250'],
  [2, -5n, '-0.05'],
] as const)('money with %i digits of a fraction survives the quarantine: %s is %s', (scale, units, text) => {
  const money = typeOf({
    oid: 790,
    schema: 'pg_catalog',
    name: 'money',
    kind: 'b',
    isArray: false,
    delimiter: ',',
    inner: null,
    fields: [],
    scale,
  });
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(units);
  expect(typeOf(treeOf(money)).decode(bytes, 0, 8)).toBe(text);
});
