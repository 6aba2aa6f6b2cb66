/** Types of extensions that are in common use, known by their names: their OIDs differ between servers. */
import type { ColumnType } from '../../core/event.ts';
import { float4Number, floatText } from './types-number.ts';
import { afterVersion, type DecodeText, utf8 } from './types-text.ts';

/** By name, of base types. PostGIS and others have no codec: their bytes are passed on. */
export const EXTENSION_TYPES: Readonly<Record<string, { readonly columnType: ColumnType; readonly decode: DecodeText }>> = {
  citext: { columnType: 'text', decode: utf8 },
  hstore: { columnType: 'other', decode: hstoreText },
  ltree: { columnType: 'text', decode: afterVersion },
  lquery: { columnType: 'text', decode: afterVersion },
  ltxtquery: { columnType: 'text', decode: afterVersion },
  vector: { columnType: 'other', decode: vectorText },
  halfvec: { columnType: 'other', decode: halfvecText },
  sparsevec: { columnType: 'other', decode: sparsevecText },
};

/** A count, then keys and values with their lengths; -1 where a value is null. */
function hstoreText(bytes: Buffer, offset: number): string {
  const pairs: string[] = [];
  let at = offset + 4;
  const next = (): string => {
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < 0) return 'NULL';
    const text = bytes.toString('utf8', at, at + length);
    at += length;
    return `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
  };
  for (let count = bytes.readInt32BE(offset); count > 0; count--) {
    const key = next();
    pairs.push(`${key}=>${next()}`);
  }
  return pairs.join(', ');
}

/** pgvector: dimensions, two bytes unused, a float4 each. */
function vectorText(bytes: Buffer, offset: number): string {
  const parts = Array.from({ length: bytes.readUInt16BE(offset) }, (_, i) => singleText(bytes.readFloatBE(offset + 4 + 4 * i)));
  return `[${parts.join(',')}]`;
}

/** The same with half floats. */
function halfvecText(bytes: Buffer, offset: number): string {
  const parts = Array.from({ length: bytes.readUInt16BE(offset) }, (_, i) => singleText(half(bytes.readUInt16BE(offset + 4 + 2 * i))));
  return `[${parts.join(',')}]`;
}

/** Dimensions, a count, four bytes unused, so many indices from 0, so many float4. The text counts from 1. */
function sparsevecText(bytes: Buffer, offset: number): string {
  const count = bytes.readInt32BE(offset + 4);
  const at = offset + 12;
  const parts = Array.from(
    { length: count },
    (_, i) => `${bytes.readInt32BE(at + 4 * i) + 1}:${singleText(bytes.readFloatBE(at + 4 * (count + i)))}`,
  );
  return `{${parts.join(',')}}/${bytes.readInt32BE(offset)}`;
}

const singleText = (value: number): string => floatText(float4Number(value), true);

function half(bits: number): number {
  const sign = bits >> 15 === 0 ? 1 : -1;
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return exponent === 0 ? sign * fraction * 2 ** -14 : sign * (1 + fraction) * 2 ** (exponent - 15);
}
