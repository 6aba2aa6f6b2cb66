/**
 * JSON Schemas of rule files, compiled by ajv behind guards: patterns run in linear time, what would make ajv slow without bound (long
 * oneOf, uniqueItems without maxItems) is refused, and references are followed so often in one value and no further. Compiled once per
 * schema, however many rules and datasets share it.
 */
import { createRequire } from 'node:module';
import type { Ajv, ErrorObject } from 'ajv';
import { compileRegex } from '../core/expression/regex.ts';
import { FORMATS } from './formats.ts';

/** Loaded where there is such a schema: few rule files have one, and to load it takes longer than all expectations together. */
const engines = lazily(() => {
  const load = createRequire(import.meta.url);
  const { Ajv } = load('ajv') as typeof import('ajv');
  const { Ajv2019 } = load('ajv/dist/2019.js') as typeof import('ajv/dist/2019.js');
  const { Ajv2020 } = load('ajv/dist/2020.js') as typeof import('ajv/dist/2020.js');
  const addFormats = load('ajv-formats') as (ajv: Ajv) => Ajv;
  return { Ajv, Ajv2019, Ajv2020, addFormats };
});

export interface CompiledSchema {
  /** Throws where references would be followed too often. */
  validate(value: unknown): boolean;
  /** Names that were missing at the top of the value, where nothing else is wrong; null where something else is. */
  onlyMissing(value: unknown): readonly string[] | null;
}

export interface RefusedSchema {
  readonly refused: string;
  readonly fix: string;
}

const ONE_OF_MAX = 50;
const DEPTH_MAX = 64;
const CACHE_MAX = 200;
const cache = new Map<string, CompiledSchema | RefusedSchema>();

export function compileJsonSchema(schema: unknown): CompiledSchema | RefusedSchema {
  if (typeof schema !== 'boolean' && (typeof schema !== 'object' || schema === null || Array.isArray(schema))) {
    return { refused: 'a JSON Schema is an object', fix: 'Write the schema, or the path of a file that holds it.' };
  }
  const text = canonical(schema);
  const known = cache.get(text);
  if (known !== undefined) return known;
  if (cache.size >= CACHE_MAX) cache.clear();
  const compiled = compile(schema);
  cache.set(text, compiled);
  return compiled;
}

function compile(schema: object | boolean): CompiledSchema | RefusedSchema {
  if (schema === true || (typeof schema === 'object' && Object.keys(schema).every((key) => ANNOTATIONS.has(key)))) {
    return { refused: 'the schema allows everything, so it can never fail', fix: 'Say what the value has to be, or remove the check.' };
  }
  if (schema === false) return { refused: 'the schema allows nothing, so it always fails', fix: 'Say what the value has to be.' };
  const problem = lint(schema, '#', 0);
  if (problem !== null) return problem;
  try {
    const counted = withSteps(schema) as object;
    const steps = new Steps();
    const first = engineOf(schema, false, steps).compile(counted);
    const every = lazily(() => engineOf(schema, true, steps).compile(counted));
    return {
      validate: (value) => {
        steps.begin();
        return first(value);
      },
      onlyMissing: (value) => {
        steps.begin();
        return every()(value) ? [] : missing(every().errors ?? []);
      },
    };
  } catch (error) {
    return {
      refused: `the schema cannot be used: ${firstLine(error)}`,
      fix: 'Correct the schema; references to other files or sites are not followed.',
    };
  }
}

/** Stands beside each reference, and is asked when it is followed. */
const STEP = 'x-tidegate-step';
const STEPS_MAX = 100_000;

/**
 * A schema that refers to itself in two branches looks at each level of a value twice as often as at the one above: 24 brackets are enough
 * to fill the memory of the process.
 */
class Steps {
  #taken = 0;

  begin(): void {
    this.#taken = 0;
  }

  take(): true {
    if (++this.#taken > STEPS_MAX) throw new Error('the schema follows too many references');
    return true;
  }
}

/** The schema with a step beside every reference. */
function withSteps(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withSteps);
  if (typeof schema !== 'object' || schema === null) return schema;
  const entries = Object.entries(schema).map(([key, value]) => [key, isData(key) ? (value as unknown) : withSteps(value)]);
  const refers = ['$ref', '$recursiveRef', '$dynamicRef'].some((key) => typeof (schema as Record<string, unknown>)[key] === 'string');
  return Object.fromEntries(refers ? [...entries, [STEP, true]] : entries);
}

/** What stands under these keys is no schema. */
function isData(key: string): boolean {
  return key === 'enum' || key === 'const' || key === 'default' || key === 'examples';
}

const ANNOTATIONS = new Set(['$schema', '$id', '$comment', 'title', 'description', 'default', 'examples']);

/** A new instance for each schema: what ajv remembers of one goes with it. Errors are looked for twice: the first one fast, all of them for a row that fails. */
function engineOf(schema: object, allErrors: boolean, steps: Steps): Ajv {
  const draft = '$schema' in schema && typeof schema.$schema === 'string' ? schema.$schema : '';
  const regExp = Object.assign((pattern: string) => linearRegex(pattern), { code: 'linear regex' });
  const options = { strict: false, allErrors, multipleOfPrecision: 6, validateFormats: true, logger: false as const, code: { regExp } };
  const { Ajv, Ajv2019, Ajv2020, addFormats } = engines();
  const ajv = draft.includes('2020-12') ? new Ajv2020(options) : draft.includes('2019-09') ? new Ajv2019(options) : new Ajv(options);
  // ajv knows draft-07 by one name only, and draft-06 not at all; both are read as draft-07.
  if (/draft-0[67]\/schema$/.test(draft))
    ajv.addMetaSchema({ ...(ajv.getSchema('http://json-schema.org/draft-07/schema')?.schema as object), $id: draft });
  // Before the reference: what fails there ends the schema that it stands in.
  ajv.addKeyword({ keyword: STEP, schemaType: 'boolean', errors: false, before: '$ref', validate: () => steps.take() });
  addFormats(ajv as Ajv);
  // The package's own expression for it takes seconds for a text of 50,000 colons.
  ajv.addFormat('url', (text: string) => /^(?:https?|ftp):\/\//i.test(text) && FORMATS.uri(text));
  return ajv as Ajv;
}

function linearRegex(pattern: string) {
  const regex = compileRegex(pattern);
  if ('refused' in regex) throw new Error(`${regex.refused} (${pattern})`);
  // ajv keeps one regex per text of it: without this, all patterns would be one.
  return { test: regex.test, toString: () => `linear:${pattern}` };
}

function lint(schema: unknown, at: string, depth: number): RefusedSchema | null {
  if (typeof schema !== 'object' || schema === null) return null;
  if (depth > DEPTH_MAX) return { refused: `the schema is nested deeper than ${DEPTH_MAX} levels at ${at}`, fix: 'Flatten it with $ref.' };
  if (Array.isArray(schema)) {
    for (const [index, item] of schema.entries()) {
      const problem = lint(item, `${at}/${index}`, depth + 1);
      if (problem !== null) return problem;
    }
    return null;
  }
  const node = schema as Readonly<Record<string, unknown>>;
  for (const keyword of ['oneOf', 'anyOf']) {
    const branches = node[keyword];
    if (Array.isArray(branches) && branches.length > ONE_OF_MAX) {
      return {
        refused: `${keyword} at ${at} has ${branches.length} branches, which makes every row slow`,
        fix: `Keep it to ${ONE_OF_MAX}, or use enum or if/then.`,
      };
    }
  }
  if (node['uniqueItems'] === true && typeof node['maxItems'] !== 'number') {
    return { refused: `uniqueItems at ${at} takes time quadratic in the number of items`, fix: 'Give a maxItems beside it.' };
  }
  if (typeof node['pattern'] === 'string') {
    const regex = compileRegex(node['pattern']);
    if ('refused' in regex) return { refused: `pattern at ${at}: ${regex.refused}`, fix: regex.fix };
  }
  for (const [key, value] of Object.entries(node)) {
    if (isData(key)) continue;
    const problem = lint(value, `${at}/${key}`, depth + 1);
    if (problem !== null) return problem;
  }
  return null;
}

function missing(errors: readonly ErrorObject[]): string[] | null {
  const names: string[] = [];
  for (const { instancePath, keyword, params } of errors) {
    if (instancePath !== '' || keyword !== 'required') return null;
    names.push(String((params as Readonly<Record<string, unknown>>)['missingProperty']));
  }
  return names;
}

function lazily<T>(make: () => T): () => T {
  let made: T | null = null;
  return () => (made ??= make());
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
}

/** The same text for equal schemas, whatever the order of their keys. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonical(item)}`).join(',')}}`;
}
