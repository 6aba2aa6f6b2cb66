/** Avro schemas of two versions, against avsc: a problem is found exactly where it finds one. */
import avsc from 'avsc';
import { expect, test } from 'vitest';
import { avroProblems } from '../../../quality/compatibility/avro.ts';
import fc from '../../support/fast-check.ts';

fc.configureGlobal({ seed: 20_261_127 });

type Schema = unknown;
const primitive = fc.constantFrom('null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string');

/** Names are given out by place, so that those of two versions meet. */
const { schema } = fc.letrec<{ schema: Schema; union: Schema }>((tie) => ({
  union: fc.uniqueArray(primitive, { minLength: 1, maxLength: 3 }).map((branches) => branches),
  schema: fc.oneof(
    { maxDepth: 3 },
    { arbitrary: primitive, weight: 4 },
    { arbitrary: tie('union'), weight: 2 },
    { arbitrary: fc.record({ type: fc.constant('array'), items: tie('schema') }), weight: 1 },
    { arbitrary: fc.record({ type: fc.constant('map'), values: tie('schema') }), weight: 1 },
    { arbitrary: fc.record({ type: fc.constant('fixed'), size: fc.constantFrom(4, 8) }), weight: 1 },
    { arbitrary: fc.record({ type: fc.constant('enum'), symbols: fc.uniqueArray(fc.constantFrom('A', 'B', 'C'), { minLength: 1 }), default: fc.constant('A') }, { requiredKeys: ['type', 'symbols'] }), weight: 1 }, // prettier-ignore
    { arbitrary: fc.record({ type: fc.constant('record'), fields: fc.uniqueArray(fc.tuple(fc.constantFrom('a', 'b', 'c'), tie('schema'), fc.boolean()), { selector: ([name]) => name, maxLength: 3 }) }), weight: 3 }, // prettier-ignore
  ),
}));

/** With the names that Avro wants, and defaults that fit. */
function named(one: Schema, path: string): Schema {
  if (typeof one === 'string') return one;
  if (Array.isArray(one)) return one;
  const made = one as {
    type: string;
    items?: Schema;
    values?: Schema;
    fields?: [string, Schema, boolean][];
    symbols?: string[];
    default?: string;
  };
  switch (made.type) {
    case 'array':
      return { ...made, items: named(made.items, `${path}i`) };
    case 'map':
      return { ...made, values: named(made.values, `${path}v`) };
    case 'fixed':
      return { ...made, name: `${path}F` };
    case 'enum': {
      const { default: fallback, ...rest } = made;
      return {
        ...rest,
        name: `${path}E`,
        ...(fallback !== undefined && made.symbols?.includes(fallback) === true ? { default: fallback } : {}),
      };
    }
    default:
      return {
        type: 'record',
        name: `${path}R`,
        fields: made.fields?.map(([name, type, hasDefault]) => {
          const nullable = hasDefault
            ? ['null', ...(Array.isArray(type) ? [] : typeof type === 'string' && type !== 'null' ? [type] : [])]
            : null;
          return nullable === null ? { name, type: named(type, `${path}${name}`) } : { name, type: nullable, default: null };
        }),
      };
  }
}

test('a reader has problems with a writer exactly where avsc has', () => {
  const counts = { none: 0, some: 0 };
  fc.assert(
    fc.property(schema, schema, fc.boolean(), (one, other, isSame) => {
      const [reader, writer] = [named(one, 'n'), named(isSame ? one : other, 'n')];
      const [r, w] = [avsc.Type.forSchema(reader as avsc.Schema), avsc.Type.forSchema(writer as avsc.Schema)];
      let resolves = true;
      try {
        r.createResolver(w);
      } catch {
        resolves = false;
      }
      const problems = avroProblems(JSON.stringify(reader), JSON.stringify(writer));
      expect({ reader, writer, problems, isRead: problems.length === 0 }).toMatchObject({ isRead: resolves });
      counts[resolves ? 'none' : 'some']++;
    }),
    { numRuns: 3000 },
  );
  expect(Math.min(counts.none, counts.some)).toBeGreaterThan(500);
});

test('a record that holds itself, an alias, and a namespace that changes', () => {
  const list = (name: string, type: string, extra = {}): string =>
    JSON.stringify({
      type: 'record',
      name,
      ...extra,
      fields: [
        { name: 'value', type },
        { name: 'next', type: ['null', name], default: null },
      ],
    });
  expect(avroProblems(list('node', 'long'), list('node', 'int'))).toEqual([]);
  expect(avroProblems(list('node', 'int'), list('node', 'long'))).toMatchObject([
    { readerAt: '#/fields/0/type', kinds: ['type_mismatch', 'type_mismatch'] },
  ]);
  expect(avroProblems(list('item', 'int', { aliases: ['node'] }), list('node', 'int'))).toEqual([]);
  expect(avroProblems(list('node', 'int', { namespace: 'b' }), list('node', 'int', { namespace: 'a' }))).toEqual([]);
  expect(() => avroProblems('{"type": "record", "name": "a", "fields": [{"name": "b", "type": "c"}]}', '"int"')).toThrow(
    'there is no type c',
  );
});
