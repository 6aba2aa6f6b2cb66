/** JSON Schemas of all drafts brought into one form: references followed, both kinds of exclusive bounds as numbers, tuples as 2020-12 writes them. */
import { InvalidSchema, pointer } from './levels.ts';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };
export type JsonSchema = boolean | JsonObject;

/** A schema with its place in its document. */
export interface Place {
  readonly schema: JsonSchema;
  readonly at: string;
  readonly document: SchemaDocument;
}

export interface Bound {
  readonly value: number;
  readonly isExclusive: boolean;
}

export const TYPES = ['null', 'boolean', 'number', 'integer', 'string', 'array', 'object'] as const;
export type JsonType = (typeof TYPES)[number];

/** Names of keywords that say nothing of values. */
const ANNOTATIONS = new Set(
  '$schema $id id $comment $anchor title description default examples readOnly writeOnly deprecated definitions $defs'.split(' '),
);
const REFERENCES_MAX = 64;

export class SchemaDocument {
  readonly root: JsonSchema;
  /** Draft 7 and before: nothing beside a `$ref` counts. */
  readonly #refsStandAlone: boolean;
  readonly #anchors = new Map<string, { schema: JsonSchema; at: string }>();
  readonly #ids = new Set<string>();

  /** Throws InvalidSchema. */
  constructor(text: string) {
    let root: Json;
    try {
      root = JSON.parse(text.replace(/^\uFEFF/, '')) as Json;
    } catch (error) {
      throw new InvalidSchema(`no JSON: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.root = schemaOf(root, '#');
    const draft = isObject(this.root) ? this.root['$schema'] : undefined;
    this.#refsStandAlone = typeof draft !== 'string' || !/2019-09|2020-12|\/next/.test(draft);
    this.#collect(this.root, '#', 0);
  }

  place(): Place {
    return { schema: this.root, at: '#', document: this };
  }

  #collect(schema: Json, at: string, depth: number): void {
    if (depth > 200) throw new InvalidSchema(`${at}: nested too deeply`);
    if (Array.isArray(schema))
      for (const [index, one] of (schema as readonly Json[]).entries()) this.#collect(one, pointer(at, index), depth + 1);
    if (!isObject(schema)) return;
    for (const name of ['$id', 'id', '$anchor']) {
      const id = schema[name];
      if (typeof id !== 'string') continue;
      if (name !== '$anchor') this.#ids.add(id.replace(/#$/, ''));
      const anchor = name === '$anchor' ? `#${id}` : id;
      if (!this.#anchors.has(anchor)) this.#anchors.set(anchor, { schema, at });
    }
    for (const [name, one] of Object.entries(schema))
      if (name !== 'enum' && name !== 'const') this.#collect(one, pointer(at, name), depth + 1);
  }

  /** Follows references until there is none, or until what stands beside one counts too. */
  resolve(place: Place): Place {
    let found = place;
    for (let steps = 0; steps < REFERENCES_MAX; steps++) {
      const ref = isObject(found.schema) ? found.schema['$ref'] : undefined;
      if (typeof ref !== 'string') return found;
      if (!this.#refsStandAlone && Object.keys(found.schema).some((name) => name !== '$ref' && !ANNOTATIONS.has(name))) return found;
      found = this.#find(ref, found.at);
    }
    throw new InvalidSchema(`${place.at}: references that lead to each other`);
  }

  #find(ref: string, from: string): Place {
    const anchored = this.#anchors.get(ref);
    if (anchored !== undefined) return { ...anchored, document: this };
    const [base = '', fragment = ''] = ref.split('#', 2);
    if (base !== '' && !this.#ids.has(base))
      throw new InvalidSchema(`${from}: $ref ${ref} leads out of the document: bring what it means in under "$defs"`);
    let schema: Json | undefined = (base === '' ? undefined : this.#anchors.get(base)?.schema) ?? this.root;
    let at = '#';
    for (const step of decodeURIComponent(fragment).split('/').slice(1)) {
      const name = step.replaceAll('~1', '/').replaceAll('~0', '~');
      schema = Array.isArray(schema) ? (schema as readonly Json[])[Number(name)] : isObject(schema) ? schema[name] : undefined;
      at = pointer(at, name);
    }
    if (schema === undefined || (fragment !== '' && !fragment.startsWith('/')))
      throw new InvalidSchema(`${from}: $ref ${ref} leads nowhere`);
    return { schema: schemaOf(schema, at), at, document: this };
  }
}

/** A schema without references and combinations: what a value of it has to be, all of it at once. */
export class Shape {
  readonly place: Place;
  readonly schema: JsonObject;
  /** The literal `true` and `false`. */
  readonly literal: boolean | null;

  constructor(place: Place) {
    this.place = place;
    this.literal = typeof place.schema === 'boolean' ? place.schema : null;
    this.schema = typeof place.schema === 'boolean' ? {} : place.schema;
  }

  get at(): string {
    return this.place.at;
  }

  keywordAt(name: string): string {
    return pointer(this.at, name);
  }

  /** Null where every type may be. */
  types(): readonly JsonType[] | null {
    const { type, enum: values } = this.schema;
    const values_ = 'const' in this.schema ? [this.schema['const'] as Json] : Array.isArray(values) ? (values as readonly Json[]) : null;
    if (type === undefined) return values_ === null ? null : [...new Set(values_.map(typeOf))];
    const list = (Array.isArray(type) ? type : [type]) as readonly Json[];
    for (const one of list) {
      if (!TYPES.includes(one as JsonType)) throw new InvalidSchema(`${this.at}: there is no type ${JSON.stringify(one)}`);
    }
    return list as readonly JsonType[];
  }

  /** Whether a value of this type may be. */
  mayBe(type: JsonType): boolean {
    const types = this.types();
    const isNumber = (one: JsonType): boolean => one === 'number' || one === 'integer';
    return types === null || types.some((one) => one === type || (isNumber(one) && isNumber(type)));
  }

  /** The only values; null where there are others. */
  values(): readonly Json[] | null {
    if ('const' in this.schema) return [this.schema['const'] as Json];
    const values = this.schema['enum'];
    return Array.isArray(values) ? (values as readonly Json[]) : null;
  }

  number(name: string): number | null {
    const value = this.schema[name];
    return typeof value === 'number' ? value : null;
  }

  /** The lower bound (`-1`) or the upper one (`1`), whichever draft wrote it. */
  bound(side: -1 | 1): Bound | null {
    const [name, exclusive] = side === -1 ? ['minimum', 'exclusiveMinimum'] : ['maximum', 'exclusiveMaximum'];
    const inclusive = this.number(name as string);
    const strict = this.schema[exclusive as string];
    if (strict === true && inclusive !== null) return { value: inclusive, isExclusive: true };
    if (typeof strict !== 'number') return inclusive === null ? null : { value: inclusive, isExclusive: false };
    if (inclusive !== null && side * (inclusive - strict) < 0) return { value: inclusive, isExclusive: false };
    return { value: strict, isExclusive: true };
  }

  /** The schemas under a keyword of names. */
  named(name: string): ReadonlyMap<string, Place> {
    const value = this.schema[name];
    if (!isObject(value)) return new Map();
    return new Map(Object.entries(value).map(([key, one]) => [key, this.#at(one, name, key)]));
  }

  list(name: string): readonly Place[] {
    const value = this.schema[name];
    return Array.isArray(value) ? (value as readonly Json[]).map((one, index) => this.#at(one, name, index)) : [];
  }

  one(name: string): Place | null {
    const value = this.schema[name];
    return value === undefined ? null : this.#at(value, name);
  }

  /** The schemas of the first items, each by its place. */
  prefix(): readonly Place[] {
    return Array.isArray(this.schema['items']) ? this.list('items') : this.list('prefixItems');
  }

  /** That of all further ones; null where they may be anything. */
  rest(): Place | null {
    return Array.isArray(this.schema['items']) ? this.one('additionalItems') : this.one('items');
  }

  texts(name: string): readonly string[] {
    const value = this.schema[name];
    return Array.isArray(value) ? (value as readonly Json[]).filter((one) => typeof one === 'string') : [];
  }

  /** Names that have to be there beside another one. */
  dependentRequired(): ReadonlyMap<string, readonly string[]> {
    const found = new Map<string, readonly string[]>();
    for (const keyword of ['dependencies', 'dependentRequired']) {
      const value = this.schema[keyword];
      if (isObject(value)) for (const [name, names] of Object.entries(value)) if (Array.isArray(names)) found.set(name, names.map(String));
    }
    return found;
  }

  dependentSchemas(): ReadonlyMap<string, Place> {
    const found = new Map(this.named('dependentSchemas'));
    const value = this.schema['dependencies'];
    if (isObject(value))
      for (const [name, one] of Object.entries(value)) if (!Array.isArray(one)) found.set(name, this.#at(one, 'dependencies', name));
    return found;
  }

  #at(value: Json, ...steps: readonly (string | number)[]): Place {
    const at = pointer(this.at, ...steps);
    return { schema: schemaOf(value, at), at, document: this.place.document };
  }
}

/** The schema of what is not named. */
export const anything = (shape: Shape, keyword: string): Place => ({
  schema: true,
  at: pointer(shape.at, keyword),
  document: shape.place.document,
});

/** What both say, as far as one schema can say it without `allOf`; null where it cannot. */
export function merged(one: Place, other: Place): Place | null {
  if (one.schema === true) return other;
  if (other.schema === true) return one;
  if (typeof one.schema === 'boolean' || typeof other.schema === 'boolean') return { ...one, schema: false };
  const result: Record<string, Json> = { ...one.schema };
  for (const [name, value] of Object.entries(other.schema)) {
    const before = result[name];
    if (before === undefined) result[name] = value;
    else if (!isSame(before, value) && !ANNOTATIONS.has(name)) {
      const both = mergedKeyword(name, before, value);
      if (both === undefined) return null;
      result[name] = both;
    }
  }
  // Which properties are further ones is told by the properties beside it.
  const closes = (schema: JsonObject): boolean =>
    'additionalProperties' in schema || 'additionalItems' in schema || 'unevaluatedProperties' in schema;
  const sameNames = isSame(one.schema['properties'] ?? {}, other.schema['properties'] ?? {});
  const namesNothing = (schema: JsonObject): boolean => !('properties' in schema || 'patternProperties' in schema || 'items' in schema);
  if (closes(one.schema) && !sameNames && !namesNothing(other.schema)) return null;
  if (closes(other.schema) && !sameNames && !namesNothing(one.schema)) return null;
  return { ...one, schema: result };
}

function mergedKeyword(name: string, one: Json, other: Json): Json | undefined {
  switch (name) {
    case 'type': {
      const types = (Array.isArray(one) ? one : [one]) as readonly Json[];
      const others = (Array.isArray(other) ? other : [other]) as readonly Json[];
      const takes = (list: readonly Json[], type: Json): boolean => list.includes(type) || (type === 'integer' && list.includes('number'));
      return [...new Set([...types.filter((type) => takes(others, type)), ...others.filter((type) => takes(types, type))])];
    }
    case 'enum':
      return (one as readonly Json[]).filter((value) => (other as readonly Json[]).some((same) => isSame(same, value)));
    case 'minimum':
    case 'exclusiveMinimum':
    case 'minLength':
    case 'minItems':
    case 'minProperties':
      return typeof one === 'number' && typeof other === 'number' ? Math.max(one, other) : undefined;
    case 'maximum':
    case 'exclusiveMaximum':
    case 'maxLength':
    case 'maxItems':
    case 'maxProperties':
      return typeof one === 'number' && typeof other === 'number' ? Math.min(one, other) : undefined;
    case 'uniqueItems':
      return true;
    case 'required':
      return [...new Set([...(one as readonly Json[]), ...(other as readonly Json[])])];
    case 'allOf':
      return [...(one as readonly Json[]), ...(other as readonly Json[])];
    case 'properties':
    case 'patternProperties': {
      const both: Record<string, Json> = { ...(one as JsonObject) };
      for (const [key, value] of Object.entries(other as JsonObject)) {
        const before = both[key];
        both[key] = before === undefined || isSame(before, value) ? value : { allOf: [before, value] };
      }
      return both;
    }
    default:
      return undefined;
  }
}

/** Whether both mean the same, by their texts: annotations do not count, nor does the order of names; references are followed. */
export function areSame(one: Place, other: Place): boolean {
  return new Sameness().places(one, other);
}

class Sameness {
  readonly #underWay = new Map<JsonSchema, Set<JsonSchema>>();

  places(one: Place, other: Place): boolean {
    const a = one.document.resolve(one);
    const b = other.document.resolve(other);
    if (typeof a.schema === 'boolean' || typeof b.schema === 'boolean')
      return meansAll(a.schema) ? meansAll(b.schema) : a.schema === b.schema;
    const met = this.#underWay.get(a.schema) ?? new Set();
    this.#underWay.set(a.schema, met);
    if (met.has(b.schema)) return true;
    met.add(b.schema);
    return this.#keywords(a, b);
  }

  #keywords(a: Place, b: Place): boolean {
    const one = a.schema as JsonObject;
    const other = b.schema as JsonObject;
    const names = Object.keys(one).filter((name) => !ANNOTATIONS.has(name));
    if (names.length !== Object.keys(other).filter((name) => !ANNOTATIONS.has(name)).length) return false;
    return names.every((name) => name in other && this.#values(name, one[name] as Json, other[name] as Json, a, b));
  }

  #values(name: string, one: Json, other: Json, a: Place, b: Place): boolean {
    const at = (value: Json, place: Place): Place => ({ schema: schemaOf(value, place.at), at: place.at, document: place.document });
    switch (name) {
      case 'properties':
      case 'patternProperties':
      case 'dependentSchemas':
        if (!isObject(one) || !isObject(other)) return false;
        if (Object.keys(one).length !== Object.keys(other).length) return false;
        return Object.entries(one).every(([key, value]) => key in other && this.places(at(value, a), at(other[key] as Json, b)));
      case 'allOf':
      case 'anyOf':
      case 'oneOf':
      case 'prefixItems':
      case 'items':
        if (Array.isArray(one) !== Array.isArray(other)) return false;
        if (!Array.isArray(one)) return this.places(at(one, a), at(other, b));
        return (
          one.length === (other as readonly Json[]).length &&
          (one as readonly Json[]).every((value, index) => this.places(at(value, a), at((other as readonly Json[])[index] as Json, b)))
        );
      case 'not':
      case 'if':
      case 'then':
      case 'else':
      case 'contains':
      case 'propertyNames':
      case 'additionalProperties':
      case 'additionalItems':
      case 'unevaluatedProperties':
      case 'unevaluatedItems':
        return this.places(at(one, a), at(other, b));
      case 'required':
      case 'type':
      case 'enum': {
        const [these, those] = [one, other].map((value) => (Array.isArray(value) ? (value as readonly Json[]) : [value])) as [
          Json[],
          Json[],
        ];
        return these.length === those.length && these.every((value) => those.some((same) => isSame(value, same)));
      }
      case '$ref':
        return one === other && isSame(a.document.root as Json, b.document.root as Json);
      default:
        return isSame(one, other);
    }
  }
}

export const meansAll = (schema: JsonSchema): boolean =>
  schema === true || (schema !== false && Object.keys(schema).every((name) => ANNOTATIONS.has(name)));

export function isSame(one: Json, other: Json): boolean {
  if (one === other) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  if (Array.isArray(one) || Array.isArray(other)) {
    if (!Array.isArray(one) || !Array.isArray(other) || one.length !== other.length) return false;
    return (one as readonly Json[]).every((value, index) => isSame(value, (other as readonly Json[])[index] as Json));
  }
  const [a, b] = [one as JsonObject, other as JsonObject];
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => name in b && isSame(a[name] as Json, b[name] as Json));
}

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export function typeOf(value: Json): JsonType {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value as 'boolean' | 'string' | 'object';
}

function schemaOf(value: Json, at: string): JsonSchema {
  if (typeof value === 'boolean' || isObject(value)) return value;
  throw new InvalidSchema(`${at}: a schema is an object, true or false`);
}
