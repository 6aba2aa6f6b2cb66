/** Rule files are held against a part of their schema first: it has to say of each file what all of the schema says. */
import { Ajv } from 'ajv';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { contractSchema } from '../../quality/contract-schema.ts';
import { fits, misfits, partFor } from '../../quality/fits.ts';
import type { SchemaNode } from '../../quality/schema-type.ts';
import fc from '../support/fast-check.ts';

const ajv = new Ajv({ strict: true, allowUnionTypes: true, strictRequired: false });

test('the schema of rule files is one', () => {
  expect(ajv.validateSchema(contractSchema)).toBe(true);
});

const SCHEMA: SchemaNode = {
  type: 'object',
  required: ['a'],
  additionalProperties: {
    anyOf: [
      { type: 'integer', minimum: 3 },
      { type: 'object', properties: { a: { type: 'boolean' } } },
    ],
  },
  properties: {
    a: { type: 'array', minItems: 1, items: { anyOf: [{ enum: ['x', 'y'] }, objectOf('b'), { type: 'null' }] } },
    b: { ...objectOf('a'), minProperties: 2 },
    c: { type: 'object', patternProperties: { '^a': { type: 'string' } }, additionalProperties: { type: 'number' } },
  },
};

function objectOf(key: string): SchemaNode {
  return {
    type: 'object',
    additionalProperties: false,
    properties: { [key]: { type: 'number' }, c: { type: 'array', items: { type: 'object', properties: { d: { const: 1 } } } }, d: {} },
  };
}

describe('a part of a schema', () => {
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.constantFrom(null, true, 'x', 'z', 1, 3.5, 7),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), tie('value'), { maxKeys: 4 }),
    ),
  }));
  const item = fc.record({ b: fc.integer(), c: fc.array(fc.constantFrom({ d: 1 }, { e: 2 }, {})), d: value }, { requiredKeys: [] });
  const a = fc.array(fc.oneof(fc.constantFrom('x', null), item), { minLength: 1, maxLength: 3 });
  const fitting = fc.record(
    { a, b: fc.constant({ a: 1, c: [] }), c: fc.constantFrom({ a: 'x', b: 3 }, {}), d: fc.constantFrom(3, { a: true }) },
    { requiredKeys: ['a'] },
  );
  const given = fc.oneof(
    value,
    fitting,
    fc.tuple(fitting, fc.constantFrom('a', 'b', 'c', 'd'), value).map(([row, key, other]) => ({ ...row, [key]: other })),
  );

  test('says of the values that it was made for what the schema says', () => {
    const whole = ajv.compile(SCHEMA);
    let fit = 0;
    fc.assert(
      fc.property(given, (given) => {
        const expected = whole(given);
        if (expected) fit++;
        expect(new Ajv({ strict: true, strictRequired: false }).compile(partFor(SCHEMA, [given]))(given)).toBe(expected);
      }),
      { numRuns: 200 },
    );
    expect(fit).toBeGreaterThan(20);
  });

  test('has nothing that the values do not meet', () => {
    const file: unknown = parse(
      '{ dataset: a.b.c, columns: { id: [not_null, { between: { min: 1 }, on_fail: tag }] }, checks: [{ expr: x }] }',
    );
    const part = JSON.parse(JSON.stringify(partFor(contractSchema, [file]))) as {
      readonly properties: {
        readonly columns: { readonly additionalProperties: { readonly items: { readonly anyOf: readonly SchemaNode[] } } };
      };
    };
    expect(Object.keys(part.properties)).toEqual(['dataset', 'columns', 'checks']);
    const [, , item] = part.properties.columns.additionalProperties.items.anyOf;
    expect(Object.keys(item?.['properties'] ?? {})).toEqual(['between', 'on_fail']);
  });
});

test('what does not fit is told from all of the schema, however many files were read before', () => {
  const wrong = { apiVersion: 'quality/v1', kind: 'DatasetRules', dataset: 'a.b.c', columns: { id: [{ betwen: { min: 1 } }] } };
  const schema = { ...contractSchema };
  const told = Array.from({ length: 5 }, () => misfits(schema, wrong).map(({ instancePath, keyword }) => `${instancePath} ${keyword}`));
  expect(new Set(told.map(String)).size).toBe(1);
  expect(told[0]).toContain('/columns/id/0 additionalProperties');
  expect(fits(schema, wrong)).toBe(false);
});

test.each(['constructor', 'toString', '__proto__'])('a column may be called %s, as something is in every object', (name) => {
  const file = (check: string): unknown =>
    parse(`{ apiVersion: quality/v1, kind: DatasetRules, dataset: a.b.c, columns: { ${name}: [{ ${check}: { min: 1 } }] } }`);
  expect(misfits({ ...contractSchema }, file('between'))).toEqual([]);
  expect(misfits({ ...contractSchema }, file('betwen'))).not.toEqual([]);
});
