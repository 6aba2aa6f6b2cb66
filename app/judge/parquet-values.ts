/** What the columns of a Parquet file are, by PostgreSQL's names, and how the stored values become those that NDJSON would have. */
import type { ParquetParsers, SchemaElement, SchemaTree } from 'hyparquet';
import { decimalText } from '../../core/expression/decimal.ts';
import { timestampText } from '../../core/expression/timestamp.ts';
import { Decimal } from '../../core/expression/values.ts';
import { exactNumber } from '../../core/whole-numbers.ts';

type Read = (value: unknown) => unknown;

export interface ParquetColumn {
  readonly name: string;
  /** null: the file does not say. */
  readonly type: string | null;
  readonly isNested: boolean;
  /** `read` gives numbers that doubles hold as they are. */
  readonly keepsNumbers: boolean;
  /** A value that is not null. */
  readonly read: Read;
}

export function parquetColumn(tree: SchemaTree): ParquetColumn {
  const { name } = tree.element;
  const leaf = leafOf(tree.element);
  return isNested(tree)
    ? { name, isNested: true, keepsNumbers: false, type: 'jsonb', read: nestedRead(tree) }
    : { name, isNested: false, ...leaf, keepsNumbers: leaf.read === asItIs || leaf.read === wholeRead };
}

/**
 * The element without what makes the library round: decimals to doubles, times to milliseconds. What it stores is read as it is, and `leafOf` knows
 * the meaning. Annotations of the new kind alone become those of the old kind, which the library goes by.
 */
export function plainElement(element: SchemaElement): SchemaElement {
  const { converted_type: _converted, logical_type: _logical, ...rest } = element;
  switch (meaningOf(element)) {
    case 'STRING':
    case 'ENUM':
      return { ...rest, converted_type: 'UTF8' };
    case 'JSON':
      return { ...rest, converted_type: 'JSON' };
    case 'LIST':
      return { ...rest, converted_type: 'LIST' };
    case 'MAP':
      return { ...rest, converted_type: 'MAP' };
    case 'UUID':
    case 'FLOAT16':
    case 'VARIANT':
    case 'UNSIGNED':
      return element;
    default:
      return rest;
  }
}

/** Nanoseconds of the old INT96 stay what they are, and JSON keeps every digit. */
export const plainParsers: Partial<ParquetParsers> = {
  timestampFromNanoseconds: (nanos) => nanos,
  jsonFromBytes: (bytes) => jsonOf(UTF8.decode(bytes)),
};

const UTF8 = new TextDecoder();

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text, exactNumber);
  } catch {
    return text;
  }
}

function meaningOf({ type, converted_type: converted, logical_type: logical }: SchemaElement): string | null {
  if (logical?.type === 'INTEGER') return logical.isSigned ? 'SIGNED' : 'UNSIGNED';
  if (logical !== undefined) return logical.type;
  if (type === 'INT96') return 'INT96';
  if (converted === undefined) return null;
  return OLD[converted] ?? (converted.startsWith('UINT') ? 'UNSIGNED' : converted);
}

const OLD: Readonly<Record<string, string>> = {
  UTF8: 'STRING',
  TIME_MILLIS: 'TIME',
  TIME_MICROS: 'TIME',
  TIMESTAMP_MILLIS: 'TIMESTAMP',
  TIMESTAMP_MICROS: 'TIMESTAMP',
  MAP_KEY_VALUE: 'MAP',
};

function leafOf(element: SchemaElement): Pick<ParquetColumn, 'type' | 'read'> {
  switch (meaningOf(element)) {
    case 'DECIMAL':
      return { type: 'numeric', read: decimalRead(scaleOf(element)) };
    case 'DATE':
      return { type: 'date', read: (days) => dateText(Number(days)) };
    case 'TIME':
      return { type: 'time without time zone', read: timeRead(unitOf(element)) };
    case 'TIMESTAMP':
      return timestampLeaf(element);
    case 'INT96':
      return { type: 'timestamp without time zone', read: (nanos) => withoutZone(microsFrom(nanos, 'NANOS')) };
    case 'STRING':
    case 'ENUM':
    case 'UUID':
      return { type: 'text', read: asItIs };
    case 'JSON':
      return { type: 'jsonb', read: asItIs };
    case 'FLOAT16':
      return { type: 'double precision', read: asItIs };
    case 'UNSIGNED':
      return element.type === 'INT64' ? { type: 'numeric', read: wholeRead } : { type: 'bigint', read: wholeRead };
    case 'NULL':
      return { type: null, read: asItIs };
    default:
      return storedLeaf(element);
  }
}

function storedLeaf({ type }: SchemaElement): Pick<ParquetColumn, 'type' | 'read'> {
  switch (type) {
    case 'BOOLEAN':
      return { type: 'boolean', read: asItIs };
    case 'INT32':
    case 'INT64':
      return { type: 'bigint', read: wholeRead };
    case 'FLOAT':
      return { type: 'double precision', read: shortestReal };
    case 'DOUBLE':
      return { type: 'double precision', read: asItIs };
    case 'BYTE_ARRAY':
    case 'FIXED_LEN_BYTE_ARRAY':
      return { type: 'bytea', read: hexText };
    default:
      return { type: null, read: asItIs };
  }
}

function asItIs(value: unknown): unknown {
  return value;
}

function wholeRead(value: unknown): unknown {
  const near = Number(value);
  return Number.isSafeInteger(near) ? near : value;
}

/** 0.1 stored in four bytes is 0.1, as PostgreSQL shows a real, and not 0.10000000149. */
function shortestReal(value: unknown): unknown {
  const real = Number(value);
  for (let digits = 6; digits < 9; digits++) {
    const near = Number(real.toPrecision(digits));
    if (Math.fround(near) === real) return near;
  }
  return real;
}

function hexText(value: unknown): unknown {
  return value instanceof Uint8Array ? `\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}` : value;
}

function scaleOf({ logical_type: logical, scale }: SchemaElement): number {
  return logical?.type === 'DECIMAL' ? logical.scale : (scale ?? 0);
}

function decimalRead(scale: number): Read {
  return (value) => {
    const unscaled = value instanceof Uint8Array ? signedOf(value) : BigInt(value as number | bigint); // Nothing else stores decimals.
    return decimalText(new Decimal(unscaled, scale));
  };
}

/** Big-endian, in two's complement. */
function signedOf(bytes: Uint8Array): bigint {
  const { buffer, byteOffset, byteLength } = bytes;
  if (byteLength === 0) return 0n;
  return BigInt.asIntN(byteLength * 8, BigInt(`0x${Buffer.from(buffer, byteOffset, byteLength).toString('hex')}`));
}

type Unit = 'MILLIS' | 'MICROS' | 'NANOS';

function unitOf({ logical_type: logical, converted_type: converted }: SchemaElement): Unit {
  if (logical?.type === 'TIME' || logical?.type === 'TIMESTAMP') return logical.unit;
  return converted?.endsWith('MILLIS') === true ? 'MILLIS' : 'MICROS';
}

/** Digits below a microsecond are cut, before 1970 too. */
function microsFrom(value: unknown, unit: Unit): bigint {
  const stored = BigInt(value as number | bigint); // Times are stored as nothing else.
  if (unit === 'MILLIS') return stored * 1000n;
  if (unit === 'MICROS') return stored;
  return (stored - (((stored % 1000n) + 1000n) % 1000n)) / 1000n;
}

/** The old annotations mean UTC. */
function timestampLeaf(element: SchemaElement): Pick<ParquetColumn, 'type' | 'read'> {
  const { logical_type: logical } = element;
  const unit = unitOf(element);
  if (logical?.type === 'TIMESTAMP' && !logical.isAdjustedToUTC)
    return { type: 'timestamp without time zone', read: (value) => withoutZone(microsFrom(value, unit)) };
  return { type: 'timestamp with time zone', read: (value) => timestampText(microsFrom(value, unit)) };
}

function withoutZone(micros: bigint): string {
  return timestampText(micros).replace('+00', '');
}

const DAY_US = 86_400_000_000n;

function dateText(days: number): string {
  return withoutZone(BigInt(days) * DAY_US).replace(' 00:00:00', '');
}

function timeRead(unit: Unit): Read {
  return (value) => withoutZone(microsFrom(value, unit)).slice('1970-01-01 '.length);
}

function isNested({ element, children }: SchemaTree): boolean {
  return children.length > 0 || element.repetition_type === 'REPEATED';
}

/** Lists, maps and structs, as the library has put them together, with their innermost values read as those of columns are. */
function nestedRead(tree: SchemaTree): Read {
  const { element, children } = tree;
  const [first] = children;
  if (element.repetition_type === 'REPEATED') return listRead(nestedRead(once(tree)));
  if (first === undefined) return leafOf(element).read;
  const meaning = meaningOf(element);
  if (meaning === 'VARIANT') return variantRead;
  if (meaning === 'LIST' && isWrapper(tree, 1)) return listRead(nestedRead(first.children[0] ?? once(first)));
  if (meaning === 'MAP' && isWrapper(tree, 2)) return mapRead(first);
  const reads = new Map(children.map((child) => [child.element.name, nestedRead(child)]));
  return fieldsRead((field) => reads.get(field) ?? asItIs);
}

/** A list or map is a group of one repeated group: that one is no level of its own. */
function isWrapper({ children: [inner, ...others] }: SchemaTree, childrenMax: number): boolean {
  return inner?.element.repetition_type === 'REPEATED' && others.length === 0 && inner.children.length <= childrenMax;
}

function once(tree: SchemaTree): SchemaTree {
  return { ...tree, element: { ...tree.element, repetition_type: 'REQUIRED' } };
}

function listRead(read: Read): Read {
  return (value) => (Array.isArray(value) ? value.map((item: unknown) => orNull(item, read)) : null);
}

function mapRead({ children }: SchemaTree): Read {
  const value = children.find(({ element }) => element.name === 'value');
  const read = value === undefined ? asItIs : nestedRead(value);
  return fieldsRead(() => read);
}

function fieldsRead(readOf: (field: string) => Read): Read {
  return (value) =>
    typeof value === 'object' && value !== null
      ? Object.fromEntries(Object.entries(value).map(([field, item]: [string, unknown]) => [field, orNull(item, readOf(field))]))
      : null;
}

function orNull(value: unknown, read: Read): unknown {
  return value === null || value === undefined ? null : read(value);
}

/** A value that brings its type along. */
function variantRead(value: unknown): unknown {
  if (typeof value === 'bigint') return wholeRead(value);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return hexText(value);
  if (Array.isArray(value)) return listRead(variantRead)(value);
  return typeof value === 'object' && value !== null ? fieldsRead(() => variantRead)(value) : value;
}
