/**
 * Holds a YAML document against the config's schema and makes the loaded value of it in the same walk: every problem with its line, its
 * path and a fix; defaults filled in; variables, secrets, durations, sizes and paths resolved.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Problem } from '../core/problems.ts';
import type { SchemaNode } from './schema-type.ts';
import { Secret } from './secret.ts';
import { parseDuration, parseSize } from './units.ts';

export interface ReadContext {
  /** The folder of the config file. */
  readonly folder: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly problems: Problem[];
  /** `tidegate.yaml:12: sources.shop` for a path in the document. */
  place(path: readonly (string | number)[]): string;
}

type Path = readonly (string | number)[];

/** The loaded value, or undefined where a problem was noted. */
export function readNode(value: unknown, schema: SchemaNode, path: Path, context: ReadContext): unknown {
  if (value === undefined) return undefined;
  switch (schema['x-kind']) {
    case 'secret':
      return readSecret(value, path, context);
    case 'duration':
    case 'size':
      return readUnit(value, schema, path, context);
    case 'path': {
      const text = readText(value, schema, path, context);
      return text === undefined ? undefined : resolve(context.folder, text);
    }
    case 'place':
      return readPlace(value, schema, path, context);
    case undefined:
      break;
  }
  if (schema.anyOf !== undefined) return readAnyOf(value, schema.anyOf, path, context);
  if (schema.const !== undefined) {
    if (value === schema.const) return value;
    return wrong(context, path, `must be ${show(schema.const)}, and is ${show(value)}`, `Write ${String(schema.const)}.`);
  }
  if (schema.enum !== undefined) return readChoice(value, schema.enum, path, context);
  switch (schema.type) {
    case 'object':
      return readObject(value, schema, path, context);
    case 'array':
      return readArray(value, schema, path, context);
    case 'string':
      return readText(value, schema, path, context);
    case 'number':
    case 'integer':
      return readNumber(value, schema, path, context);
    case 'boolean':
      if (typeof value === 'boolean') return value;
      return wrong(context, path, `must be true or false, and is ${show(value)}`, 'Write true or false, without quotes.');
    default:
      return value;
  }
}

function readObject(value: unknown, schema: SchemaNode, path: Path, context: ReadContext): unknown {
  if (!isObject(value)) {
    return wrong(context, path, `must be a block of options, and is ${show(value)}`, 'Write its options below it, indented.');
  }
  const before = context.problems.length;
  const properties = schema.properties ?? {};
  const loaded: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    const at = [...path, key];
    const known = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (known !== undefined) loaded[key] = readNode(item === null ? undefined : item, known, at, context);
    else if (schema.additionalProperties !== undefined && schema.additionalProperties !== false) {
      const pattern = schema.propertyNames?.pattern;
      if (pattern !== undefined && !new RegExp(pattern).test(key)) {
        wrong(
          context,
          at,
          `the name ${show(key)} is not allowed`,
          'Use lower-case letters, digits, - and _, beginning with a letter; at most 63 characters.',
        );
      } else loaded[key] = readNode(item ?? {}, schema.additionalProperties, at, context);
    } else wrong(context, at, 'there is no such option', unknownFix(key, Object.keys(properties)));
  }
  for (const [key, property] of Object.entries(properties)) {
    if (Object.hasOwn(value, key) && value[key] !== null) continue;
    if (schema.required?.includes(key) === true) {
      wrong(context, [...path, key], 'is missing', `Add it: ${lowerFirst(property.description ?? property.title ?? key)}`, path);
    } else loaded[key] = property.default === null ? null : readNode(property.default, property, [...path, key], context);
  }
  if (schema.minProperties !== undefined && Object.keys(value).length < schema.minProperties) {
    wrong(context, path, 'is empty', `Name at least ${schema.minProperties}.`);
  }
  return context.problems.length > before ? undefined : loaded;
}

function readArray(value: unknown, schema: SchemaNode, path: Path, context: ReadContext): unknown {
  if (!Array.isArray(value))
    return wrong(context, path, `must be a list, and is ${show(value)}`, 'Write it as [a, b], or as lines that begin with a dash.');
  const before = context.problems.length;
  const loaded = value.map((item: unknown, index) => readNode(item ?? '', schema.items ?? {}, [...path, index], context));
  if (schema.minItems !== undefined && value.length < schema.minItems)
    wrong(context, path, 'is an empty list', `Name at least ${schema.minItems}.`);
  if (schema.uniqueItems === true) {
    for (const [index, item] of value.entries()) {
      if (value.indexOf(item) < index) wrong(context, [...path, index], `${show(item)} is named twice`, 'Remove one of the two.');
    }
  }
  return context.problems.length > before ? undefined : loaded;
}

function readText(value: unknown, schema: SchemaNode, path: Path, context: ReadContext): string | undefined {
  if (typeof value !== 'string') return wrong(context, path, `must be a text, and is ${show(value)}`, 'Put it in quotes.');
  const text = expand(value, path, context);
  if (text === undefined) return undefined;
  if (text.length < (schema.minLength ?? 0)) return wrong(context, path, 'is empty', `Fill it in: ${lowerFirst(schema.description ?? '')}`);
  if (schema.pattern !== undefined && !new RegExp(schema.pattern, 'u').test(text)) {
    const example = schema.examples?.[0];
    const fix =
      example === undefined ? `Write it so: ${lowerFirst(schema.description ?? schema.pattern)}` : `Write it like ${show(example)}.`;
    // As it is written: what a variable stands for may be secret.
    return wrong(context, path, `${show(value)} is not what is expected here`, fix);
  }
  return text;
}

function readNumber(value: unknown, schema: SchemaNode, path: Path, context: ReadContext): number | undefined {
  const number = typeof value === 'string' && value.startsWith('${') ? Number(expand(value, path, context) ?? 'NaN') : value;
  if (typeof number !== 'number' || !Number.isFinite(number)) {
    return wrong(context, path, `must be a number, and is ${show(value)}`, 'Write a number without quotes.');
  }
  if (schema.type === 'integer' && !Number.isInteger(number))
    return wrong(context, path, `must be a whole number, and is ${show(value)}`, 'Leave out the fraction.');
  if (number < (schema.minimum ?? -Infinity) || number > (schema.maximum ?? Infinity)) {
    return wrong(
      context,
      path,
      `must lie between ${schema.minimum} and ${schema.maximum}, and is ${show(value)}`,
      'Choose a number within these limits.',
    );
  }
  return number;
}

function readChoice(value: unknown, choices: readonly string[], path: Path, context: ReadContext): string | undefined {
  const text = typeof value === 'string' ? expand(value, path, context) : value;
  if (typeof text === 'string' && choices.includes(text)) return text;
  // YAML 1.1 habits: `on` and `off` without quotes are texts here, but `true` is not.
  const near = typeof text === 'string' ? nearest(text, choices) : null;
  return wrong(
    context,
    path,
    `must be one of ${choices.join(', ')}, and is ${show(value)}`,
    near === null ? 'Choose one of these.' : `Did you mean ${near}?`,
  );
}

function readAnyOf(value: unknown, choices: readonly SchemaNode[], path: Path, context: ReadContext): unknown {
  const named = choices.flatMap((choice) => choice.properties?.['kind']?.const ?? []);
  if (isObject(value) && named.length > 1) return readKind(value, named.map(String), choices, path, context);
  // Where only blocks fit, any of them says so.
  const fits = choices.find((choice) => choice.type === kindOf(value)) ?? (named.length > 1 ? choices[0] : undefined);
  if (fits !== undefined) return readNode(value, fits, path, context);
  const kinds = choices.map((choice) => choice.type).join(' or ');
  return wrong(context, path, `must be a ${kinds}, and is ${show(value)}`, 'See docs/config.md for its form.');
}

/** Blocks of several kinds, each with options of its own, that say themselves which they are. */
function readKind(
  value: Record<string, unknown>,
  kinds: readonly string[],
  choices: readonly SchemaNode[],
  path: Path,
  context: ReadContext,
): unknown {
  const { kind } = value;
  if (kind === undefined || kind === null)
    return wrong(context, [...path, 'kind'], 'is missing', `Add it: one of ${kinds.join(', ')}.`, path);
  const known = readChoice(kind, kinds, [...path, 'kind'], context);
  // The rest is told beside it, by the kind that was probably meant.
  const meant = known ?? (typeof kind === 'string' ? nearest(kind, kinds) : null);
  const fits = choices.find((choice) => choice.properties?.['kind']?.const === meant);
  return fits === undefined ? undefined : readNode({ ...value, kind: meant }, fits, path, context);
}

function readUnit(value: unknown, schema: SchemaNode, path: Path, context: ReadContext): number | undefined {
  const text = typeof value === 'string' ? expand(value, path, context) : undefined;
  const parsed = text === undefined ? null : schema['x-kind'] === 'duration' ? parseDuration(text) : parseSize(text);
  if (parsed !== null) return parsed;
  if (typeof value === 'string' && text === undefined) return undefined; // The variable's own problem is noted.
  const noun = schema['x-kind'] === 'duration' ? 'a duration' : 'a size';
  return wrong(
    context,
    path,
    `must be ${noun}, and is ${show(value)}`,
    `Write a number and its unit (${schema['x-unit']}), for example ${show(schema.default ?? '1s')}.`,
  );
}

/** Never says anything of the value. */
function readSecret(value: unknown, path: Path, context: ReadContext): Secret | undefined {
  if (typeof value === 'string') {
    const text = expand(value, path, context);
    if (text === '') return wrong(context, path, 'is empty', 'Set the variable, or give {file: …}.');
    return text === undefined ? undefined : new Secret(text);
  }
  if (isObject(value) && typeof value['file'] === 'string' && Object.keys(value).length === 1) {
    const file = resolve(context.folder, expand(value['file'], path, context) ?? '');
    try {
      const text = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
      if (text === '') return wrong(context, path, `the file ${file} is empty`, 'Write the secret into it.');
      return new Secret(text);
    } catch (error) {
      return wrong(
        context,
        path,
        `the file ${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
        'Check its path and its permissions.',
      );
    }
  }
  return wrong(context, path, 'must be a text or {file: …}', 'Write ${NAME} for an environment variable, or {file: /run/secrets/name}.');
}

/** A file's path, or the url of a database, which may hold a password. */
function readPlace(value: unknown, schema: SchemaNode, path: Path, context: ReadContext): string | Secret | undefined {
  const secret = typeof value === 'string' ? undefined : readSecret(value, path, context);
  const text = typeof value === 'string' ? readText(value, schema, path, context) : secret?.reveal();
  if (text === undefined) return undefined;
  if (/^postgres(ql)?:\/\//.test(text)) return secret ?? new Secret(text);
  if (secret === undefined && !text.includes('://')) return resolve(context.folder, text);
  return wrong(
    context,
    path,
    'is neither a file nor a PostgreSQL database',
    'Write a path such as ./tidegate.db, or postgres://user:password@host:5432/database.',
  );
}

/** Replaces ${NAME} and ${NAME:-default}; `$${` stands for `${` itself. */
function expand(text: string, path: Path, context: ReadContext): string | undefined {
  let missing = false;
  const expanded = text.replace(
    /\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g,
    (_, escaped: string | undefined, name: string, fallback: string | undefined) => {
      if (escaped !== undefined) return escaped;
      const found = context.env[name];
      if (found !== undefined && found !== '') return found;
      if (fallback !== undefined) return fallback;
      missing = true;
      wrong(context, path, `the environment variable ${name} is not set`, `Set ${name} before you start Tidegate.`);
      return '';
    },
  );
  return missing ? undefined : expanded;
}

function wrong(context: ReadContext, path: Path, message: string, fix: string, at: Path = path): undefined {
  const place = context.place(at);
  const rest = path.length > at.length ? `${at.length > 0 ? '.' : ' '}${path.slice(at.length).join('.')}` : '';
  context.problems.push({ severity: 'error', path: `${place}${rest}`, message, fix });
  return undefined;
}

function unknownFix(key: string, known: readonly string[]): string {
  const near = nearest(key, known);
  return near === null ? `Remove it; known here: ${known.join(', ')}.` : `Did you mean ${near}?`;
}

/** The known word that `word` was probably meant to be, or null. */
export function nearest(word: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let least = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const steps = distance(word.toLowerCase(), candidate.toLowerCase());
    if (steps < least) {
      least = steps;
      best = candidate;
    }
  }
  return best;
}

/** Damerau's distance with adjacent transpositions: `tabels` is one step from `tables`. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, index) => index)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const above = rows[i - 1] ?? [];
      let least = Math.min((above[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (above[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, (rows[i - 2]?.[j - 2] ?? 0) + 1);
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]?.[b.length] ?? 0;
}

function kindOf(value: unknown): SchemaNode['type'] {
  if (Array.isArray(value)) return 'array';
  if (isObject(value)) return 'object';
  return typeof value === 'string' ? 'string' : typeof value === 'number' ? 'number' : typeof value === 'boolean' ? 'boolean' : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value for people. A url is not shown: it may hold a password, and stands here only where someone put it into the wrong place. */
export function show(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'a block'; // Which may hold itself, by an alias.
  const text = JSON.stringify(value) ?? 'nothing';
  if (text.includes('://')) return 'a url';
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
