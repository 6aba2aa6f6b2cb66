/**
 * Whether a value fits a schema. Of that of rule files, which knows a hundred checks, a file uses a few, and to compile all of it takes longer than most
 * commands run: so what is compiled first is the part of it that the value can meet. Where the value does not fit that, all of it is asked what is wrong.
 */
import { Ajv, type ErrorObject } from 'ajv';
import type { SchemaNode } from './schema-type.ts';

type Validator = ReturnType<Ajv['compile']>;

/** A process that has read so many files reads more of them: it compiles all of the schema, once. */
const PARTS_MAX = 3;

const wholes = new WeakMap<SchemaNode, Validator>();
const partsMade = new WeakMap<SchemaNode, number>();

export function fits(schema: SchemaNode, value: unknown): boolean {
  return wholeOf(schema)(value) === true;
}

/** Everything that does not fit a large schema. */
export function misfits(schema: SchemaNode, value: unknown): readonly ErrorObject[] {
  const made = partsMade.get(schema) ?? 0;
  if (made < PARTS_MAX && !wholes.has(schema)) {
    partsMade.set(schema, made + 1);
    if (compiled(partFor(schema, [value]))(value) === true) return [];
  }
  const validate = wholeOf(schema);
  return validate(value) ? [] : (validate.errors ?? []);
}

function wholeOf(schema: SchemaNode): Validator {
  const known = wholes.get(schema);
  if (known !== undefined) return known;
  const validate = compiled(schema);
  wholes.set(schema, validate);
  return validate;
}

/** That the schemas are schemas is a test's to say: the schema of schemas takes longer to compile than they do. */
function compiled(schema: SchemaNode): Validator {
  return new Ajv({
    allErrors: true,
    verbose: true,
    strict: true,
    allowUnionTypes: true,
    strictRequired: false,
    meta: false,
    validateSchema: false,
  }).compile(schema);
}

/** The schema without the properties that none of the values has. It says of each of them what the whole schema says. */
export function partFor(schema: SchemaNode, values: readonly unknown[]): SchemaNode {
  const part: Record<string, unknown> = { ...schema };
  const { properties, patternProperties, additionalProperties, items, anyOf } = schema;
  const objects = values.filter(isObject);
  if (isObject(properties)) {
    const kept = Object.entries(properties).map(([key, of]) => [key, partOf(of, valuesAt(objects, key))] as const);
    part['properties'] = Object.fromEntries(kept.filter(([, of]) => of !== null));
  }
  if (isObject(additionalProperties) && patternProperties === undefined) {
    const named = isObject(properties) ? properties : {};
    const others = objects.flatMap((object) => Object.keys(object).flatMap((key) => (Object.hasOwn(named, key) ? [] : [object[key]])));
    part['additionalProperties'] = partOf(additionalProperties, others) ?? {};
  }
  if (isObject(items)) part['items'] = partOf(items, values.flatMap(itemsOf)) ?? {};
  if (Array.isArray(anyOf)) part['anyOf'] = anyOf.map((branch: unknown) => (isObject(branch) ? partFor(branch, values) : branch));
  return part;
}

/** null: there is no value that it could say anything of. */
function partOf(schema: unknown, values: readonly unknown[]): unknown {
  if (values.length === 0) return null;
  return isObject(schema) ? partFor(schema, values) : schema;
}

/** What a value is at a key goes by what ajv takes to be there. */
function valuesAt(objects: readonly Readonly<Record<string, unknown>>[], key: string): unknown[] {
  return objects.flatMap((object) => (object[key] === undefined ? [] : [object[key]]));
}

function itemsOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as readonly unknown[]) : [];
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
