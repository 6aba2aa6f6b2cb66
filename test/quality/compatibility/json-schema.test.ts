/** JSON Schemas of two versions, against ajv: where no problem is found, no value is valid for the writer and not for the reader. */
import { createRequire } from 'node:module';
import type { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { jsonSchemaProblems } from '../../../quality/compatibility/json-schema.ts';
import fc from '../../support/fast-check.ts';

fc.configureGlobal({ seed: 20_261_127 });

const { Ajv: Engine } = createRequire(import.meta.url)('ajv') as typeof import('ajv');

type Schema = boolean | { readonly [keyword: string]: unknown };

const limit = fc.integer({ min: 0, max: 4 });
const names = fc.constantFrom('a', 'b', 'c');
const type = fc.constantFrom('string', 'integer', 'number', 'boolean', 'null');
const scalar = fc.oneof(
  fc.constantFrom('', 'x', 'xy', 'abc'),
  fc.integer({ min: -1, max: 5 }),
  fc.constantFrom(0.5, 2.5),
  fc.boolean(),
  fc.constant(null),
);

const { schema } = fc.letrec<{ schema: Schema; leaf: Schema; node: Schema }>((tie) => ({
  leaf: fc.oneof(
    fc.record({ type: fc.oneof(type, fc.uniqueArray(type, { minLength: 1, maxLength: 3 })) }),
    fc.record({ type: fc.constant('string'), minLength: limit, maxLength: limit }, { requiredKeys: ['type'] }),
    fc.record({ minLength: limit, maxLength: limit }, { requiredKeys: [] }),
    fc.record(
      { type: fc.constantFrom('integer', 'number'), minimum: limit, exclusiveMaximum: limit, multipleOf: fc.constantFrom(1, 2, 0.5) },
      { requiredKeys: ['type'] },
    ),
    fc.record({ exclusiveMinimum: limit, maximum: limit }, { requiredKeys: [] }),
    fc.record({ enum: fc.uniqueArray(scalar, { minLength: 1, maxLength: 3 }) }),
    fc.record({ const: scalar }),
    fc.boolean(),
  ),
  node: fc.oneof(
    fc.record(
      {
        type: fc.constant('object'),
        properties: fc.dictionary(names, tie('schema'), { maxKeys: 3, noNullPrototype: true }),
        required: fc.uniqueArray(names, { maxLength: 2 }),
        additionalProperties: fc.oneof(fc.boolean(), tie('schema')),
        patternProperties: fc.dictionary(fc.constantFrom('^a', 'b$'), tie('schema'), { maxKeys: 1, noNullPrototype: true }),
        minProperties: limit,
        maxProperties: limit,
        dependencies: fc.dictionary(names, fc.oneof(fc.uniqueArray(names, { maxLength: 2 }), tie('schema')), {
          maxKeys: 1,
          noNullPrototype: true,
        }),
      },
      { requiredKeys: [] },
    ),
    fc.record(
      {
        type: fc.constant('array'),
        items: fc.oneof(tie('schema'), fc.array(tie('schema'), { maxLength: 2 })),
        additionalItems: tie('schema'),
        minItems: limit,
        maxItems: limit,
        uniqueItems: fc.boolean(),
      },
      { requiredKeys: [] },
    ),
    // Beside a tuple ajv takes an empty array for one that contains something.
    fc.record({ type: fc.constant('array'), contains: tie('schema') }, { requiredKeys: ['contains'] }),
    fc.record({ anyOf: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }) }),
    fc.record(
      { oneOf: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }), type: fc.constantFrom('string', 'object', 'number') },
      { requiredKeys: ['oneOf'] },
    ),
    fc.record(
      { allOf: fc.array(tie('schema'), { minLength: 1, maxLength: 2 }), type: fc.constantFrom('string', 'object', 'number') },
      { requiredKeys: ['allOf'] },
    ),
    fc.record({ not: tie('schema') }),
    fc
      .tuple(tie('schema'), tie('schema'), tie('schema'))
      .map((parts) => Object.fromEntries(['if', 'then', 'else'].map((keyword, index) => [keyword, parts[index]]))),
  ),
  schema: fc.oneof(
    { maxDepth: 2, withCrossShrink: true },
    { arbitrary: tie('leaf'), weight: 3 },
    { arbitrary: tie('node'), weight: 2 },
  ) as fc.Arbitrary<Schema>,
}));

const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof({ maxDepth: 2 }, { arbitrary: scalar, weight: 4 }, { arbitrary: fc.dictionary(names, tie('value'), { maxKeys: 3, noNullPrototype: true }), weight: 2 }, { arbitrary: fc.array(tie('value'), { maxLength: 3 }), weight: 2 }), // prettier-ignore
}));

/** One step away from another: such pairs are compatible more often than any two. */
const pair = fc.oneof(
  fc.tuple(schema, schema),
  fc
    .tuple(schema, schema, fc.constantFrom('anyOf', 'allOf', 'oneOf'), fc.boolean())
    .map(([one, other, keyword, isReader]): [Schema, Schema] => {
      const both = { [keyword]: [one, other] };
      return isReader ? [both, one] : [one, both];
    }),
  fc.tuple(schema, fc.nat(), fc.boolean()).map(([one, place, isReader]): [Schema, Schema] => {
    if (typeof one === 'boolean') return [one, one];
    const keys = Object.keys(one);
    const { [keys[place % keys.length] ?? '']: _, ...less } = one;
    return isReader ? [less, one] : [one, less];
  }),
);

const validator = (ajv: Ajv, schema_: Schema): ((value: unknown) => boolean) | null => {
  try {
    return ajv.compile(schema_) as (value: unknown) => boolean;
  } catch {
    return null; // Not a schema for ajv: a limit that is no limit, an empty list.
  }
};

describe('JSON Schema', () => {
  test('where no problem is found, every value of the writer is valid for the reader', () => {
    let compatible = 0;
    let tried = 0;
    fc.assert(
      fc.property(pair, fc.array(value, { minLength: 30, maxLength: 30 }), ([reader, writer], values) => {
        // Under `strict`; a root of `true` is something else there.
        if (reader === true || jsonSchemaProblems(JSON.stringify(reader), JSON.stringify(writer), 'strict').length > 0) return;
        // `if` and others are ignored by some engines in a `false` place; they are compiled anew for each pair.
        const ajv = new Engine({ strict: false, validateSchema: false, logger: false });
        const [reads, writes] = [validator(ajv, reader), validator(ajv, writer)];
        if (reads === null || writes === null) return;
        compatible++;
        for (const one of values) {
          if (!writes(one)) continue;
          tried++;
          expect({ reader, writer, value: one, isRead: reads(one) }).toMatchObject({ isRead: true });
        }
      }),
      { numRuns: 8000 },
    );
    // What is always a problem would never be tried.
    expect(compatible).toBeGreaterThan(1500);
    expect(tried).toBeGreaterThan(8000);
  });

  test('a schema reads what it wrote itself, and the schema {} reads everything', () => {
    fc.assert(
      fc.property(schema, fc.constantFrom('strict', 'lenient'), (one, policy) => {
        const text = JSON.stringify(one);
        expect(jsonSchemaProblems(text, text, policy)).toEqual([]);
        expect(jsonSchemaProblems('{}', text, policy)).toEqual([]);
      }),
    );
  });

  test('references are followed, also those that lead back', () => {
    const tree = (leaf: Schema): string =>
      JSON.stringify({ $ref: '#/$defs/node', $defs: { node: { type: 'object', properties: { leaf, next: { $ref: '#/$defs/node' } } } } });
    expect(jsonSchemaProblems(tree({ type: 'integer' }), tree({ type: 'integer', title: 'A leaf' }), 'strict')).toEqual([]);
    expect(jsonSchemaProblems(tree({ type: 'number' }), tree({ type: 'integer' }), 'strict')).toEqual([]);
    expect(jsonSchemaProblems(tree({ type: 'integer' }), tree({ type: 'number' }), 'strict')).toMatchObject([
      { readerAt: '#/$defs/node/properties/leaf/type', kinds: ['type_narrowed', 'type_widened'] },
    ]);
    expect(() => jsonSchemaProblems('{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}', '{}', 'strict')).toThrow(
      /lead to each other/,
    );
    expect(() => jsonSchemaProblems('{"$ref": "https://example.com/a.json"}', '{"type": "null"}', 'strict')).toThrow(/out of the document/);
  });
});
