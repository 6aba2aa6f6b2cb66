/** A rule file's text: its value, where each part of it stands, and what ajv finds wrong with it in words for people. */
import type { ErrorObject } from 'ajv';
import { isMap, isNode, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from 'yaml';
import { compareDecimalTexts, parseDecimal } from '../core/expression/decimal.ts';
import { suggestion } from '../core/expression/suggest.ts';
import type { Problem } from '../core/problems.ts';
import { EXPECTATIONS } from './expectations/registry.ts';
import { fits, misfits } from './fits.ts';
import type { SchemaNode } from './schema-type.ts';

export type Keys = readonly (string | number)[];

const CHARACTERS_MAX = 1_000_000;

export class RuleText {
  readonly file: string;
  readonly problems: Problem[] = [];
  /** The file as a value; null where it is no YAML. */
  readonly value: unknown;
  readonly #lines = new LineCounter();
  readonly #root: Node | null;

  constructor(text: string, file: string) {
    this.file = file;
    if (text.length > CHARACTERS_MAX) {
      this.#root = null;
      this.value = null;
      this.refuse([], `the file is longer than ${CHARACTERS_MAX} characters`, 'Split it, one file a dataset.');
      return;
    }
    const document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, stringKeys: false });
    this.#root = document.contents;
    nameNullKeys(this.#root);
    for (const { pos, message, code } of document.errors) {
      const { line, col } = this.#lines.linePos(pos[0]);
      const fix = code === 'DUPLICATE_KEY' ? 'Join the two, or rename one.' : 'Correct the indentation, the brackets or the quotes there.';
      this.problems.push({ severity: 'error', path: `${file}:${line}:${col}`, message: `this is no valid YAML: ${message}`, fix });
    }
    this.value = document.errors.length > 0 ? null : this.#read(() => document.toJS({ maxAliasCount: 100 }) as unknown);
    if (document.errors.length === 0) this.#refuseRoundedNumbers();
  }

  #read(read: () => unknown): unknown {
    try {
      return read();
    } catch {
      this.refuse([], 'the file refers to itself too often', 'Write out what its aliases (*name) stand for.');
      return null;
    }
  }

  /** A number with more digits than a double keeps would be judged as another one. */
  #refuseRoundedNumbers(): void {
    visit(this.#root, {
      Scalar: (_, node) => {
        if (typeof node.value !== 'number' || node.source === undefined || node.source.length <= 15) return;
        if (parseDecimal(node.source) === null || compareDecimalTexts(node.source, String(node.value)) === 0) return;
        const { line, col } = this.#lines.linePos(node.range?.[0] ?? 0);
        this.problems.push({
          severity: 'error',
          path: `${this.file}:${line}:${col}`,
          message: `${node.source} has more digits than a number in YAML keeps`,
          fix: `Put it in quotes: '${node.source}'.`,
        });
      },
    });
  }

  /** `datasets/orders.yaml:12:9: columns.total[0].between.min`: where a part stands, or the nearest part around it that exists. */
  place(keys: Keys): string {
    const { line, col } = this.#lines.linePos(this.#offset(keys));
    return keys.length === 0 ? `${this.file}:${line}:${col}` : `${this.file}:${line}:${col}: ${pathText(keys)}`;
  }

  refuse(keys: Keys, message: string, fix: string): null {
    this.problems.push({ severity: 'error', path: this.place(keys), message, fix });
    return null;
  }

  warn(keys: Keys, message: string, fix: string): void {
    this.problems.push({ severity: 'warning', path: this.place(keys), message, fix });
  }

  #offset(keys: Keys): number {
    let node: unknown = this.#root;
    let offset = this.#root?.range?.[0] ?? 0;
    for (const key of keys) {
      if (isMap(node)) {
        const pair = node.items.find((item) => isPair(item) && keyText(item.key) === String(key));
        if (pair === undefined) break;
        if (isNode(pair.key)) offset = pair.key.range?.[0] ?? offset;
        node = pair.value;
      } else if (isSeq(node) && typeof key === 'number') {
        node = node.items[key];
        if (isNode(node)) offset = node.range?.[0] ?? offset;
      } else break;
    }
    return offset;
  }

  /** Whether a value fits, without a word. */
  fits(schema: SchemaNode, value: unknown): boolean {
    return fits(schema, value);
  }

  /** Everything that does not fit the schema. True where all fits. */
  check(schema: SchemaNode, value: unknown): boolean {
    const errors = misfits(schema, value);
    for (const { keys, message, fix } of explain(errors)) this.refuse(keys, message, fix);
    return errors.length === 0;
  }
}

/** YAML reads the key of `null: true` as no name at all; here it is the name of a check. */
function nameNullKeys(root: Node | null): void {
  visit(root, {
    Pair: (_, { key }) => {
      if (isScalar(key) && key.value === null && key.source === 'null') key.value = 'null';
    },
  });
}

function keyText(key: unknown): string {
  return isScalar(key) ? String(key.value as string | number | boolean | null) : '';
}

/** `columns.total[0].between`, with brackets and quotes around keys that are not plain words. */
export function pathText(keys: Keys): string {
  return keys
    .map((key, index) => {
      if (typeof key === 'number') return `[${key}]`;
      if (!/^[\w$-]+$/.test(key)) return `[${JSON.stringify(key)}]`;
      return index === 0 ? key : `.${key}`;
    })
    .join('');
}

interface Explained {
  readonly keys: Keys;
  readonly message: string;
  readonly fix: string;
}

/** One problem for each thing that is wrong, whatever number of errors ajv has for it. */
function explain(errors: readonly ErrorObject[]): Explained[] {
  const choices = new Map(errors.filter(({ keyword }) => keyword === 'anyOf').map((error) => [error.instancePath, error]));
  const explained = new Map<string, Explained>();
  for (const error of errors) {
    const choice = choices.get(error.instancePath);
    if (error.keyword === 'anyOf') {
      if (!takesType(error)) add(error.instancePath, wrongType(error, branchTypes(error)));
      continue;
    }
    // Within a choice, only the branch that the value was meant for speaks; its type tells which.
    if (
      choice !== undefined &&
      (error.keyword === 'type' || !takesType(choice) || (isObject(error.data) && (error.keyword === 'enum' || error.keyword === 'const')))
    )
      continue;
    add(
      error.keyword === 'additionalProperties'
        ? `${error.instancePath}/${escapeKey(String(params(error)['additionalProperty']))}`
        : error.instancePath,
      wording(error),
    );
  }
  return [...explained.values()];

  function add(pointer: string, { message, fix }: Omit<Explained, 'keys'>): void {
    const keys = keysOf(pointer);
    const id = `${pointer} ${message}`;
    if (!explained.has(id)) explained.set(id, { keys, message, fix });
  }
}

function wording(error: ErrorObject): Omit<Explained, 'keys'> {
  const named = params(error);
  switch (error.keyword) {
    case 'additionalProperties': {
      const name = String(named['additionalProperty']);
      const known =
        isObject(error.parentSchema) && isObject(error.parentSchema['properties']) ? Object.keys(error.parentSchema['properties']) : [];
      return { message: `"${name}" is not known here`, fix: suggestion(name, known, 'key') };
    }
    case 'required':
      return { message: `"${String(named['missingProperty'])}" is missing`, fix: `Add ${String(named['missingProperty'])}: ….` };
    case 'enum': {
      const allowed = (named['allowedValues'] as readonly unknown[]).map(String);
      if (typeof error.data === 'string' && EXPECTATIONS.has(error.data)) {
        return { message: `${error.data} needs parameters`, fix: `Write ${error.data}: and what it needs; see docs/rules.md.` };
      }
      return {
        message: `${shown(error.data)} is not one of the choices`,
        fix: suggestion(typeof error.data === 'string' ? error.data : shown(error.data), allowed, 'value'),
      };
    }
    case 'const':
      return { message: `${shown(error.data)} is not what belongs here`, fix: `Write ${JSON.stringify(named['allowedValue'])}.` };
    case 'type':
      return wrongType(error, [named['type']].flat().map(String));
    case 'pattern':
      return { message: `${shown(error.data)} has not the form that is needed`, fix: `Write ${patternFix(error)}` };
    case 'minItems':
    case 'minProperties':
    case 'minLength':
      return { message: 'it is empty', fix: 'Fill it in, or remove it.' };
    default:
      return { message: `it ${error.message ?? 'does not fit'}`, fix: 'Correct the value.' };
  }
}

function patternFix(error: ErrorObject): string {
  const { description } = (error.parentSchema ?? {}) as { readonly description?: string };
  return description ?? `a text that matches ${String(params(error)['pattern'])}.`;
}

const WORDS: Readonly<Record<string, string>> = {
  object: 'keys and values',
  array: 'a list',
  string: 'a text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  null: 'nothing',
};

function wrongType(error: ErrorObject, types: readonly string[]): Omit<Explained, 'keys'> {
  const wanted = types.filter((type) => type !== 'null').map((type) => WORDS[type] ?? type);
  return {
    message: `${WORDS[typeName(error.data)] ?? 'this'} stands where ${wanted.join(' or ')} is needed`,
    fix: `Write ${wanted.join(' or ')}.`,
  };
}

function branchTypes(error: ErrorObject): string[] {
  return (error.schema as readonly SchemaNode[]).flatMap((branch) =>
    branch['type'] !== undefined
      ? [branch['type']].flat().map(String)
      : branch['enum'] !== undefined || branch['const'] !== undefined
        ? ['string']
        : [],
  );
}

function takesType(choice: ErrorObject): boolean {
  const type = typeName(choice.data);
  return branchTypes(choice).some((wanted) => wanted === type || (wanted === 'integer' && type === 'number'));
}

function typeName(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
}

function shown(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? JSON.stringify(value)
    : (WORDS[typeName(value)] ?? 'this');
}

function params(error: ErrorObject): Readonly<Record<string, unknown>> {
  return error.params as Readonly<Record<string, unknown>>;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** As a step of a JSON pointer. */
export function escapeKey(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** A JSON pointer as keys; digits are places in lists, as far as rule files go. */
function keysOf(pointer: string): Keys {
  if (pointer === '') return [];
  return pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

/** By line and column; problems of one place stay in the order in which they were found. */
export function inFileOrder(problems: readonly Problem[]): Problem[] {
  const placeOf = ({ path }: Problem) => {
    const [, line = '0', column = '0'] = /:(\d+):(\d+)(?::|$)/.exec(path) ?? [];
    return Number(line) * 100_000 + Number(column);
  };
  return [...problems].sort((a, b) => placeOf(a) - placeOf(b));
}
