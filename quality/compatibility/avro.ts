/**
 * What an Avro reader makes of a writer's schema, by the rules of schema resolution (https://avro.apache.org/docs/1.12.0/specification/#schema-resolution), with every
 * problem rather than the first. As Avro's own checker has it, full names are compared by their last part, and aliases of the reader count.
 */
import { InvalidSchema, pointer, type ReadingProblem } from './levels.ts';

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
type JsonObject = { readonly [name: string]: Json };

interface Field {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly hasDefault: boolean;
  readonly type: AvroType;
}

interface Named {
  readonly name: string;
  readonly fullName: string;
  readonly aliases: readonly string[];
}

type AvroType = { readonly at: string } & (
  | { readonly kind: 'primitive'; readonly name: string; readonly logical: string | null }
  | { readonly kind: 'union'; readonly branches: readonly AvroType[] }
  | { readonly kind: 'array' | 'map'; readonly items: AvroType }
  | ({ readonly kind: 'fixed'; readonly size: number; readonly logical: string | null } & Named)
  | ({ readonly kind: 'enum'; readonly symbols: readonly string[]; readonly fallback: string | null } & Named)
  | ({ readonly kind: 'record'; readonly fields: Field[] } & Named)
);

const PRIMITIVES = new Set(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string']);
/** What each is read as besides itself. */
const PROMOTIONS: Readonly<Record<string, readonly string[]>> = {
  int: ['long', 'float', 'double'],
  long: ['float', 'double'],
  float: ['double'],
  string: ['bytes'],
  bytes: ['string'],
};
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** `references`: the schemas that each refers to, the ones that these refer to first. Throws InvalidSchema. */
export function avroProblems(
  reader: string,
  writer: string,
  [read, written]: readonly [reader: readonly string[], writer: readonly string[]] = [[], []],
): readonly ReadingProblem[] {
  return new Resolution().compare(new Parser(reader, read).root, new Parser(writer, written).root);
}

class Parser {
  readonly root: AvroType;
  readonly #named = new Map<string, AvroType>();

  constructor(text: string, references: readonly string[]) {
    for (const one of references) this.#type(parseText(one), '#', '');
    this.root = this.#type(parseText(text), '#', '');
  }

  #type(schema: Json | undefined, at: string, namespace: string): AvroType {
    if (typeof schema === 'string') return this.#byName(schema, at, namespace);
    if (Array.isArray(schema)) return this.#union(schema as readonly Json[], at, namespace);
    if (typeof schema !== 'object' || schema === null) throw new InvalidSchema(`${at}: a type is a name, an object or a list`);
    const made = schema as JsonObject;
    const { type } = made;
    if (typeof type === 'object') return this.#type(type, pointer(at, 'type'), namespace);
    switch (type) {
      case 'array':
        return { at, kind: 'array', items: this.#type(made['items'], pointer(at, 'items'), namespace) };
      case 'map':
        return { at, kind: 'map', items: this.#type(made['values'], pointer(at, 'values'), namespace) };
      case 'fixed':
      case 'enum':
      case 'record':
      case 'error':
        return this.#declared(made, type === 'error' ? 'record' : type, at, namespace);
      default:
        if (typeof type !== 'string') throw new InvalidSchema(`${at}: "type" is missing`);
        if (PRIMITIVES.has(type)) return { at, kind: 'primitive', name: type, logical: textOf(made['logicalType']) };
        return this.#byName(type, at, namespace);
    }
  }

  #byName(name: string, at: string, namespace: string): AvroType {
    if (PRIMITIVES.has(name)) return { at, kind: 'primitive', name, logical: null };
    const found = this.#named.get(fullNameOf(name, namespace)) ?? this.#named.get(name);
    if (found === undefined) throw new InvalidSchema(`${at}: there is no type ${name}`);
    return found;
  }

  #union(branches: readonly Json[], at: string, namespace: string): AvroType {
    return { at, kind: 'union', branches: branches.map((branch, index) => this.#type(branch, pointer(at, index), namespace)) };
  }

  #declared(made: JsonObject, kind: 'fixed' | 'enum' | 'record', at: string, outer: string): AvroType {
    const name = textOf(made['name']);
    if (name === null || !name.split('.').every((part) => NAME.test(part)))
      throw new InvalidSchema(`${at}: "name" is missing, or is no name`);
    const fullName = fullNameOf(name, textOf(made['namespace']) ?? outer);
    const namespace = fullName.includes('.') ? fullName.slice(0, fullName.lastIndexOf('.')) : '';
    const aliases = textsOf(made['aliases']).map((alias) => fullNameOf(alias, namespace));
    const named = { at, name: lastPart(fullName), fullName, aliases };
    if (this.#named.has(fullName)) throw new InvalidSchema(`${at}: the type ${fullName} is declared twice`);
    if (kind === 'fixed') {
      const { size } = made;
      if (typeof size !== 'number') throw new InvalidSchema(`${at}: "size" is missing`);
      return this.#keep({ ...named, kind, size, logical: textOf(made['logicalType']) });
    }
    if (kind === 'enum') {
      const symbols = textsOf(made['symbols']);
      if (!Array.isArray(made['symbols'])) throw new InvalidSchema(`${at}: "symbols" is missing`);
      return this.#keep({ ...named, kind, symbols, fallback: textOf(made['default']) });
    }
    if (!Array.isArray(made['fields'])) throw new InvalidSchema(`${at}: "fields" is missing`);
    const fields: Field[] = [];
    // Known before its fields are read: they may be of it.
    const record = this.#keep({ ...named, kind, fields });
    for (const [index, field] of listOf(made['fields']).entries()) fields.push(this.#field(field, pointer(at, 'fields', index), namespace));
    return record;
  }

  #field(field: Json, at: string, namespace: string): Field {
    if (typeof field !== 'object' || field === null || Array.isArray(field)) throw new InvalidSchema(`${at}: a field is an object`);
    const made = field as JsonObject;
    const name = textOf(made['name']);
    if (name === null || !NAME.test(name)) throw new InvalidSchema(`${at}: "name" is missing, or is no name`);
    const aliases = textsOf(made['aliases']);
    return { name, aliases, hasDefault: 'default' in made, type: this.#type(made['type'], pointer(at, 'type'), namespace) };
  }

  #keep<T extends AvroType & Named>(type: T): T {
    this.#named.set(type.fullName, type);
    return type;
  }
}

class Resolution {
  /** Pairs of records; null while one is under way: where it meets itself, it is as it turns out to be. */
  readonly #known = new Map<AvroType, Map<AvroType, readonly ReadingProblem[] | null>>();

  compare(reader: AvroType, writer: AvroType): readonly ReadingProblem[] {
    if (writer.kind === 'union') {
      // Each branch is written at some time.
      return writer.branches.flatMap((branch) => this.compare(reader, branch));
    }
    if (reader.kind === 'union') return this.#inUnion(reader, writer);
    if (reader.kind === 'primitive' || writer.kind === 'primitive') return primitives(reader, writer);
    if (reader.kind === 'array' || reader.kind === 'map') {
      return writer.kind === reader.kind ? this.compare(reader.items, writer.items) : [typeMismatch(reader, writer)];
    }
    if (writer.kind === 'array' || writer.kind === 'map' || reader.kind !== writer.kind) return [typeMismatch(reader, writer)];
    return this.#named(reader, writer);
  }

  #inUnion(reader: AvroType & { kind: 'union' }, writer: AvroType): readonly ReadingProblem[] {
    if (reader.branches.some((branch) => this.compare(branch, writer).length === 0)) return [];
    const [only] = reader.branches;
    // Of the same name and otherwise different: what is different says more than that it is not there.
    const same = reader.branches.find((branch) => branch.kind === 'record' && writer.kind === 'record' && isSameName(branch, writer));
    if (same !== undefined) return this.compare(same, writer);
    return [
      {
        readerAt: reader.at,
        writerAt: writer.at,
        kinds: ['missing_union_branch', 'union_branch_added'],
        reason: `the reader has no branch for ${wordsOf(writer)}, which the writer writes${only === undefined ? ': its union is empty' : ''}`,
        fixes: [`Add ${wordsOf(writer)} to the union.`, `Leave ${wordsOf(writer)} out of the union until all readers know it.`],
      },
    ];
  }

  #named(reader: AvroType & Named, writer: AvroType & Named): readonly ReadingProblem[] {
    const problems: ReadingProblem[] = [];
    if (!isSameName(reader, writer)) {
      problems.push({
        readerAt: pointer(reader.at, 'name'),
        writerAt: pointer(writer.at, 'name'),
        kinds: ['name_mismatch', 'name_mismatch'],
        reason: `the reader has ${reader.fullName} where the writer has ${writer.fullName}`,
        fixes: [
          `Keep the name, or add "aliases": ["${writer.fullName}"].`,
          `Keep the name ${reader.fullName}: readers of it know no other one.`,
        ],
      });
    }
    if (reader.kind === 'fixed' && writer.kind === 'fixed' && reader.size !== writer.size) {
      problems.push({
        readerAt: pointer(reader.at, 'size'),
        writerAt: pointer(writer.at, 'size'),
        kinds: ['fixed_size_mismatch', 'fixed_size_mismatch'],
        reason: `the reader takes ${reader.size} bytes where the writer writes ${writer.size}`,
        fixes: ['Keep the size, or add a field of another type.', 'Keep the size, or add a field of another type.'],
      });
    }
    if (reader.kind === 'enum' && writer.kind === 'enum' && reader.fallback === null) {
      const known = new Set(reader.symbols);
      const missing = writer.symbols.filter((symbol) => !known.has(symbol));
      if (missing.length > 0) {
        problems.push({
          readerAt: pointer(reader.at, 'symbols'),
          writerAt: pointer(writer.at, 'symbols'),
          kinds: ['missing_enum_symbols', 'enum_symbols_added'],
          reason: `the reader does not know the symbols ${missing.join(', ')} of ${writer.fullName}, and has no default for them`,
          fixes: ['Keep the symbols, or give the enum a "default".', 'Give the enum a "default" in a version before, or add no symbols.'],
        });
      }
    }
    if (reader.kind === 'record' && writer.kind === 'record') problems.push(...this.#fields(reader, writer));
    return problems;
  }

  #fields(reader: AvroType & { kind: 'record' }, writer: AvroType & { kind: 'record' }): readonly ReadingProblem[] {
    const known = this.#known.get(reader) ?? new Map<AvroType, readonly ReadingProblem[] | null>();
    this.#known.set(reader, known);
    const before = known.get(writer);
    if (before !== undefined) return before ?? [];
    known.set(writer, null);
    const problems: ReadingProblem[] = [];
    for (const [index, field] of reader.fields.entries()) {
      const names = [field.name, ...field.aliases];
      const written = writer.fields.find(({ name }) => name === field.name) ?? writer.fields.find(({ name }) => names.includes(name));
      if (written !== undefined) problems.push(...this.compare(field.type, written.type));
      else if (!field.hasDefault) {
        problems.push({
          readerAt: pointer(reader.at, 'fields', index),
          writerAt: null,
          kinds: ['reader_field_missing_default_value', 'field_without_default_removed'],
          reason: `the reader has the field ${field.name} without a default, and the writer does not write it`,
          fixes: [
            `Give ${field.name} a "default".`,
            `Keep ${field.name} until no reader needs it: a version in which it has a "default" comes first.`,
          ],
        });
      }
    }
    known.set(writer, problems);
    return problems;
  }
}

function primitives(reader: AvroType, writer: AvroType): readonly ReadingProblem[] {
  if (reader.kind !== 'primitive' || writer.kind !== 'primitive') return [typeMismatch(reader, writer)];
  if (reader.name === writer.name) return [];
  return PROMOTIONS[writer.name]?.includes(reader.name) === true ? [] : [typeMismatch(reader, writer)];
}

const typeMismatch = (reader: AvroType, writer: AvroType): ReadingProblem => ({
  readerAt: reader.at,
  writerAt: writer.at,
  kinds: ['type_mismatch', 'type_mismatch'],
  reason: `the reader has ${wordsOf(reader)} where the writer writes ${wordsOf(writer)}`,
  fixes: [
    `Keep ${wordsOf(writer)}, or read both: a union of them.`,
    `Keep ${wordsOf(reader)}, or add a field of another name with the new type.`,
  ],
});

function wordsOf(type: AvroType): string {
  switch (type.kind) {
    case 'primitive':
      return type.name;
    case 'union':
      return `a union of ${type.branches.map(wordsOf).join(', ') || 'nothing'}`;
    case 'array':
    case 'map':
      return `${type.kind === 'array' ? 'an array' : 'a map'} of ${type.items.kind === 'record' ? type.items.fullName : type.items.kind === 'primitive' ? type.items.name : type.items.kind}`;
    default:
      return `the ${type.kind} ${type.fullName}`;
  }
}

const lastPart = (name: string): string => name.slice(name.lastIndexOf('.') + 1);

const fullNameOf = (name: string, namespace: string): string => (name.includes('.') || namespace === '' ? name : `${namespace}.${name}`);

/** By the last part: a namespace may change. Anonymous branches of a union are compared like all others. */
const isSameName = (reader: Named, writer: Named): boolean =>
  reader.name === writer.name || reader.aliases.some((alias) => alias === writer.fullName || lastPart(alias) === writer.name);

const textOf = (value: Json | undefined): string | null => (typeof value === 'string' ? value : null);
const textsOf = (value: Json | undefined): readonly string[] => listOf(value).filter((one) => typeof one === 'string');
const listOf = (value: Json | undefined): readonly Json[] => (Array.isArray(value) ? (value as readonly Json[]) : []);

function parseText(text: string): Json {
  const bare = text.trim();
  if (PRIMITIVES.has(bare)) return bare; // As registries take it.
  try {
    return JSON.parse(text.replace(/^\uFEFF/, '')) as Json;
  } catch (error) {
    throw new InvalidSchema(`no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}
