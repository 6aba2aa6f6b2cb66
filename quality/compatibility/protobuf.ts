/**
 * What a Protobuf reader makes of a writer's messages, by field numbers as the wire has them (https://protobuf.dev/programming-guides/proto3/#updating) and by the rules of
 * Confluent's registry (MessageSchemaDiff, FieldSchemaDiff). Files are read by protobufjs, imports beside them; Google's well-known types are built in.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Enum, Field, Namespace, ReflectionObject, Root, Type } from 'protobufjs';
import { InvalidSchema, type ReadingProblem } from './levels.ts';

/** The messages and enums of a file and of what it imports, by their names without the package. */
export interface ProtobufVersion {
  readonly messages: ReadonlyMap<string, Type>;
}

/** What is written in the same way, so that one may be read as another (some values are cut, as the guide says). */
const KINDS: Readonly<Record<string, string>> = {
  int32: 'varint',
  uint32: 'varint',
  int64: 'varint',
  uint64: 'varint',
  bool: 'varint',
  sint32: 'zigzag',
  sint64: 'zigzag',
  fixed32: 'fixed32',
  sfixed32: 'fixed32',
  fixed64: 'fixed64',
  sfixed64: 'fixed64',
  string: 'bytes',
  bytes: 'bytes',
};

/** Loaded where there is such a file. Throws InvalidSchema. */
export function readProtobuf(path: string): ProtobufVersion {
  const protobuf = createRequire(import.meta.url)('protobufjs') as typeof import('protobufjs');
  const root: Root = new protobuf.Root();
  const folder = dirname(path);
  root.resolvePath = (origin, target) => {
    if (protobuf.common.get(target) !== null) return target;
    const beside = [join(dirname(origin), target), join(folder, target), target].find((candidate) => existsSync(candidate));
    if (beside === undefined) throw new InvalidSchema(`${origin === '' ? target : `${origin}: import ${target}`} is not there`);
    return beside;
  };
  try {
    root.loadSync(path, { keepCase: true }).resolveAll();
  } catch (error) {
    if (error instanceof InvalidSchema) throw error;
    throw new InvalidSchema(error instanceof Error ? error.message : String(error));
  }
  const messages = new Map<string, Type>();
  const isType = (one: ReflectionObject): one is Type => one instanceof protobuf.Type;
  const isNamespace = (one: ReflectionObject): one is Namespace => one instanceof protobuf.Namespace;
  const collect = (namespace: Namespace, prefix: string): void => {
    for (const one of namespace.nestedArray) {
      if (!isNamespace(one) || one.fullName.startsWith('.google.protobuf')) continue;
      // A package may change: it is no part of what is written.
      const name = isType(one) ? `${prefix}${one.name}` : prefix;
      if (isType(one)) messages.set(name, one);
      collect(one, isType(one) ? `${name}.` : prefix);
    }
  };
  collect(root, '');
  if (messages.size === 0) throw new InvalidSchema(`${path}: there is no message in it`);
  return { messages };
}

export function protobufProblems(reader: ProtobufVersion, writer: ProtobufVersion): readonly ReadingProblem[] {
  return [...writer.messages].flatMap(([name, written]) => {
    const known = reader.messages.get(name);
    if (known !== undefined) return messageProblems(name, known, written);
    return [
      {
        readerAt: null,
        writerAt: `#/${name}`,
        kinds: ['message_removed', 'message_added'],
        reason: `the reader has no message ${name}, which the writer may write`,
        fixes: ['Keep the message.', 'Add it once all readers know it.'],
      } as const,
    ];
  });
}

function messageProblems(name: string, reader: Type, writer: Type): readonly ReadingProblem[] {
  const found: ReadingProblem[] = [];
  const add = (tag: number, kinds: readonly [string, string], reason: string, fixes: readonly [string, string]): void => {
    const at = `#/${name}/${tag}`;
    found.push({ readerAt: at, writerAt: at, kinds, reason, fixes });
  };
  for (const field of reader.fieldsArray) {
    const written = writer.fieldsById[field.id];
    if (written !== undefined) compareFields(field, written, add);
    else if (field.required) {
      add(
        field.id,
        ['required_field_added', 'required_field_removed'],
        `the reader requires the field ${field.name}, which the writer does not know`,
        ['Make it optional.', 'Keep the field until no reader requires it.'],
      );
    } else if (isReserved(writer, field.id)) {
      add(
        field.id,
        ['reserved_number_used', 'number_reserved'],
        `the reader has the field ${field.name} under a number that the writer has reserved`,
        ['Use a number that was never used.', 'Nothing has to be done where no field of this number is written any more.'],
      );
    }
  }
  for (const oneof of reader.oneofsArray) {
    // `optional` of proto3 is a oneof of one.
    const moved = oneof.fieldsArray.map(({ id }) => writer.fieldsById[id]).filter((field) => field !== undefined);
    const apart = new Set(moved.map((field) => field.partOf?.name ?? `#${field.id}`));
    if (apart.size > 1) {
      add(
        moved[0]?.id ?? 0,
        ['fields_moved_to_oneof', 'oneof_taken_apart'],
        `the reader keeps one of ${moved.map((field) => field.name).join(', ')} (oneof ${oneof.name}), and the writer may write several of them`,
        ['Move one field only, or add new ones.', 'Keep the oneof.'],
      );
    }
  }
  return found;
}

type AddField = (tag: number, kinds: readonly [string, string], reason: string, fixes: readonly [string, string]) => void;

function compareFields(reader: Field, writer: Field, add: AddField): void {
  const [reads, writes] = [kindOf(reader), kindOf(writer)];
  if (reads !== writes) {
    add(
      reader.id,
      ['field_type_changed', 'field_type_changed'],
      `the reader has ${wordsOf(reader)} where the writer has ${wordsOf(writer)}`,
      ['Keep the type, and add a field under a new number.', 'Keep the type, and add a field under a new number.'],
    );
  } else if (reader.repeated !== writer.repeated && !reader.map && reads !== 'bytes' && !reads.startsWith('message')) {
    add(
      reader.id,
      ['field_label_changed', 'field_label_changed'],
      `the reader has ${wordsOf(reader)} where the writer has ${wordsOf(writer)}, which numbers are packed for`,
      ['Keep the label, and add a field under a new number.', 'Keep the label, and add a field under a new number.'],
    );
  }
  if (reader.required && !writer.required) {
    add(
      reader.id,
      ['required_field_added', 'required_field_removed'],
      `the reader requires the field ${reader.name}, which the writer need not write`,
      ['Keep it optional.', 'Keep it required until no reader requires it.'],
    );
  }
}

/** What has to be the same on the wire: a group of scalars, an enum (a varint), or the name of a message. */
function kindOf(field: Field): string {
  const key = 'keyType' in field ? `map of ${KINDS[String(field.keyType)] ?? String(field.keyType)} to ` : '';
  const type = field.resolvedType;
  if (type === null) return key + (KINDS[field.type] ?? field.type);
  return key + (isEnum(type) ? 'varint' : `message ${type.name}`);
}

/** The end of a range is in it, which the library's own question leaves out. */
const isReserved = (type: Type, id: number): boolean =>
  (type.reserved ?? []).some((range) => Array.isArray(range) && (range[0] ?? 0) <= id && id <= (range[1] ?? 0));

const isEnum = (type: Type | Enum): type is Enum => 'valuesById' in type;

function wordsOf(field: Field): string {
  const label = field.repeated ? 'repeated ' : '';
  const key = 'keyType' in field ? `map<${String(field.keyType)}, ` : '';
  return `${label}${key}${field.type}${key === '' ? '' : '>'} ${field.name}`;
}
