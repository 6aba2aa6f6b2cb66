/**
 * Debezium's envelope in Avro, read where it lies: cells of rows go straight into the target's form, of the source block only what tells a change's place is
 * read, and the rest is stepped over. What a record would be as an object is never made. Only sure things are read: a schema or a record that has anything else
 * in it is left to the library's reader.
 */
import type { PgRelation } from '../../wire/postgres/row.ts';
import type { CellForm } from './cell-forms.ts';
import type { CellWriter } from './cell-writer.ts';
import { emptyEnvelope, type Envelope, isPlace, KeptText, type ReadEnvelope, type SourcePlace } from './envelope.ts';

/** A schema as it was written, and those that it refers to. */
export interface WrittenAvro {
  readonly root: unknown;
  readonly referenced: readonly unknown[];
}

/** A reader of envelopes whose rows have these forms; null for a schema that it does not read all of. */
export function avroEnvelope(written: WrittenAvro, relation: PgRelation, forms: readonly CellForm[], writer: CellWriter): Envelope | null {
  const types = typesIn(written);
  const { fields } = types.resolve(written.root);
  if (fields === undefined) return null;
  const envelope = emptyEnvelope();
  const steps: Step[] = [];
  for (const { name, type } of fields) {
    const step =
      name === 'before' || name === 'after'
        ? rowStep(types, type, relation, forms, writer, envelope, name)
        : stepOf(types, name, type, envelope);
    if (step === null) return null;
    steps.push(step);
  }
  if (!['after', 'source', 'op'].every((name) => fields.some((field) => field.name === name))) return null;
  const cursor = new Cursor();
  return {
    read(bytes, from, to) {
      cursor.begin(bytes, from, to);
      for (const step of steps) if (!step(cursor)) return null;
      return cursor.at === to ? envelope : null;
    },
  };
}

/** A reader that only tells whether a key is one of its schema. */
export function avroKey(written: WrittenAvro): (bytes: Buffer, from: number, to: number) => boolean {
  const types = typesIn(written);
  const skip = skipOf(types, written.root);
  const cursor = new Cursor();
  return (bytes, from, to) => {
    cursor.begin(bytes, from, to);
    return skip(cursor) && cursor.at === to;
  };
}

/** Reads one thing. False where it is nothing that is read here. */
type Step = (cursor: Cursor) => boolean;

/** Where it reads; whoever overruns the end is found out by it, for nobody goes back. */
class Cursor {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  end = 0;

  begin(bytes: Buffer, from: number, to: number): void {
    this.bytes = bytes;
    this.at = from;
    this.end = to;
  }

  /** A whole number in zigzag; NaN beyond the safe ones. */
  long(): number {
    const { bytes } = this;
    let byte = bytes[this.at++] ?? 0;
    let value = byte & 0x7f;
    for (let shift = 7; byte >= 0x80 && shift < 28; shift += 7) {
      byte = bytes[this.at++] ?? 0;
      value |= (byte & 0x7f) << shift;
    }
    if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    for (let scale = 2 ** 28; byte >= 0x80; scale *= 0x80) {
      if (this.at >= this.end) return Number.NaN;
      byte = bytes[this.at++] ?? 0;
      value += (byte & 0x7f) * scale;
    }
    if (value > Number.MAX_SAFE_INTEGER) return Number.NaN;
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** The length of what follows; -1 where it does not fit. */
  length(): number {
    const length = this.long();
    return length >= 0 && this.at + length <= this.end ? length : -1;
  }
}

interface AvroType {
  /** A type's own word, or `record` and the like. */
  readonly kind: string;
  readonly fields?: readonly { readonly name: string; readonly type: unknown }[];
  readonly branches?: readonly unknown[];
  readonly size?: number;
  /** One for each named type. */
  readonly node: object | null;
}

interface Types {
  resolve(node: unknown): AvroType;
}

const PRIMITIVES: ReadonlySet<string> = new Set(['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string']);

/** Names are looked up with and without their namespaces, as `fromAvro` does. */
function typesIn({ root, referenced }: WrittenAvro): Types {
  const named = new Map<string, unknown>();
  const collect = (node: unknown, space: string): void => {
    if (Array.isArray(node)) for (const one of node) collect(one, space);
    if (!isNode(node)) return;
    const own = typeof node['namespace'] === 'string' ? node['namespace'] : space;
    if (typeof node['name'] === 'string' && typeof node['type'] === 'string') {
      named.set(`${own}.${node['name']}`, node);
      named.set(node['name'], node);
    }
    if (Array.isArray(node['fields'])) for (const field of node['fields']) collect(isNode(field) ? field['type'] : field, own);
    for (const inner of [node['type'], node['items'], node['values']]) if (typeof inner === 'object') collect(inner, own);
  };
  for (const one of [...referenced, root]) collect(one, '');
  const resolve = (node: unknown): AvroType => {
    if (Array.isArray(node)) return { kind: 'union', branches: node, node: null };
    if (typeof node === 'string') {
      const known = PRIMITIVES.has(node) ? undefined : named.get(node);
      return known === undefined ? { kind: node, node: null } : resolve(known);
    }
    if (!isNode(node)) return { kind: 'unknown', node: null };
    const { type } = node;
    if (typeof type !== 'string') return resolve(type);
    if (type === 'record') return { kind: type, fields: node['fields'] as NonNullable<AvroType['fields']>, node }; // As the registry took it.
    if (type === 'fixed') return { kind: type, size: Number(node['size']), node };
    return type === 'array' || type === 'map' || type === 'enum' || PRIMITIVES.has(type) ? { kind: type, node } : resolve(type);
  };
  return { resolve };
}

const isNode = (node: unknown): node is Readonly<Record<string, unknown>> =>
  typeof node === 'object' && node !== null && !Array.isArray(node);

/** Steps over a value. Of a type that refers to itself each part is made once. */
function skipOf(types: Types, node: unknown, made = new Map<object, { skip: Step }>()): Step {
  const type = types.resolve(node);
  const known = type.node === null ? undefined : made.get(type.node);
  if (known !== undefined) return (cursor) => known.skip(cursor);
  const own = { skip: never };
  if (type.node !== null) made.set(type.node, own);
  own.skip = skipKind(types, type, made);
  return own.skip;
}

const never: Step = () => false;

function skipKind(types: Types, { kind, fields, branches, size = 0 }: AvroType, made: Map<object, { skip: Step }>): Step {
  switch (kind) {
    case 'null':
      return () => true;
    case 'boolean':
      return (cursor) => skipped(cursor, 1);
    case 'int':
    case 'long':
    case 'enum':
      return skipVarint;
    case 'float':
      return (cursor) => skipped(cursor, 4);
    case 'double':
      return (cursor) => skipped(cursor, 8);
    case 'fixed':
      return (cursor) => skipped(cursor, size);
    case 'bytes':
    case 'string':
      return (cursor) => skipped(cursor, cursor.length());
    case 'record': {
      const steps = (fields ?? []).map(({ type }) => skipOf(types, type, made));
      return (cursor) => steps.every((step) => step(cursor));
    }
    case 'union': {
      const steps = (branches ?? []).map((branch) => skipOf(types, branch, made));
      return (cursor) => steps[cursor.long()]?.(cursor) ?? false;
    }
    default:
      return never; // Arrays and maps: none of Debezium's envelopes has one beside its rows.
  }
}

function skipped(cursor: Cursor, length: number): boolean {
  cursor.at += length;
  return length >= 0 && cursor.at <= cursor.end;
}

function skipVarint(cursor: Cursor): boolean {
  while ((cursor.bytes[cursor.at++] ?? 0) >= 0x80) if (cursor.at > cursor.end) return false;
  return true;
}

function rowStep(
  types: Types,
  node: unknown,
  relation: PgRelation,
  forms: readonly CellForm[],
  writer: CellWriter,
  envelope: ReadEnvelope,
  name: 'before' | 'after',
): Step | null {
  const optional = optionalOf(types, node);
  const { fields } = types.resolve(optional?.node ?? node);
  if (fields?.length !== forms.length) return null;
  const cells: Step[] = [];
  for (const [i, { type }] of fields.entries()) {
    const form = forms[i];
    const step = form === undefined ? null : cellStep(types, type, form, writer);
    if (step === null) return null;
    cells.push(step);
  }
  const row: Step = (cursor) => {
    writer.begin(cells.length);
    for (const cell of cells) {
      if (cell(cursor)) continue;
      writer.giveUp();
      return false;
    }
    envelope[name] = writer.end(relation);
    return true;
  };
  if (optional === null) return row;
  return (cursor) => {
    const branch = cursor.long();
    if (branch === optional.branch) return row(cursor);
    envelope[name] = null;
    return branch === 1 - optional.branch;
  };
}

/** Of a union of null and one type: where the type stands, and what it is. */
function optionalOf(types: Types, node: unknown): { readonly branch: number; readonly node: unknown } | null {
  const { branches } = types.resolve(node);
  if (branches?.length !== 2) return null;
  const branch = types.resolve(branches[0]).kind === 'null' ? 1 : 0;
  return types.resolve(branches[1 - branch]).kind === 'null' ? { branch, node: branches[branch] } : null;
}

function cellStep(types: Types, node: unknown, form: CellForm, writer: CellWriter): Step | null {
  const optional = optionalOf(types, node);
  if (optional === null) return plainCell(types.resolve(node).kind, form, writer);
  const cell = plainCell(types.resolve(optional.node).kind, form, writer);
  if (cell === null) return null;
  const { branch } = optional;
  return (cursor) => {
    const found = cursor.long();
    if (found === branch) return cell(cursor);
    writer.null();
    return found === 1 - branch;
  };
}

function plainCell(kind: string, { slice, number, value }: CellForm, writer: CellWriter): Step | null {
  const whole = number ?? value;
  switch (kind) {
    case 'string':
    case 'bytes': {
      const isText = kind === 'string';
      const read =
        slice ??
        ((bytes, from, length, to) =>
          value(isText ? bytes.toString('utf8', from, from + length) : bytes.subarray(from, from + length), to));
      return (cursor) => {
        const length = cursor.length();
        if (length < 0) return false;
        const from = cursor.at;
        cursor.at += length;
        return read(cursor.bytes, from, length, writer);
      };
    }
    case 'int':
    case 'long':
      return (cursor) => {
        const read = cursor.long();
        return !Number.isNaN(read) && whole(read, writer);
      };
    case 'float':
      return (cursor) => skipped(cursor, 4) && whole(cursor.bytes.readFloatLE(cursor.at - 4), writer);
    case 'double':
      return (cursor) => skipped(cursor, 8) && whole(cursor.bytes.readDoubleLE(cursor.at - 8), writer);
    case 'boolean':
      return (cursor) => skipped(cursor, 1) && (cursor.bytes[cursor.at - 1] ?? 2) <= 1 && value(cursor.bytes[cursor.at - 1] === 1, writer);
    default:
      return null;
  }
}

function stepOf(types: Types, name: string, node: unknown, envelope: ReadEnvelope): Step | null {
  if (name === 'op') {
    const step = textStep();
    return types.resolve(node).kind === 'string' ? (cursor) => step(cursor, (op) => (envelope.op = op)) : null;
  }
  return name === 'source' ? sourceStep(types, node, envelope.source) : skipOf(types, node);
}

function sourceStep(types: Types, node: unknown, source: SourcePlace): Step | null {
  const { fields } = types.resolve(node);
  if (fields === undefined) return null;
  const steps: Step[] = [];
  for (const { name, type } of fields) {
    const step = isPlace(name) ? placeStep(types, type, (value) => (source[name] = value)) : skipOf(types, type);
    if (step === null) return null;
    steps.push(step);
  }
  return (cursor) => {
    for (const step of steps) if (!step(cursor)) return false;
    return true;
  };
}

function placeStep(types: Types, node: unknown, put: (value: string | number | null) => void): Step | null {
  const optional = optionalOf(types, node);
  const plain = plainPlace(types.resolve(optional?.node ?? node).kind, put);
  if (plain === null || optional === null) return plain;
  const { branch } = optional;
  return (cursor) => {
    const found = cursor.long();
    if (found === branch) return plain(cursor);
    put(null);
    return found === 1 - branch;
  };
}

function plainPlace(kind: string, put: (value: string | number | null) => void): Step | null {
  if (kind === 'string') {
    const step = textStep();
    return (cursor) => step(cursor, put);
  }
  if (kind !== 'int' && kind !== 'long') return null;
  return (cursor) => {
    const value = cursor.long();
    put(value);
    return !Number.isNaN(value);
  };
}

function textStep(): (cursor: Cursor, put: (text: string) => void) => boolean {
  const kept = new KeptText();
  return (cursor, put) => {
    const length = cursor.length();
    if (length < 0) return false;
    put(kept.read(cursor.bytes, cursor.at, length));
    cursor.at += length;
    return true;
  };
}
