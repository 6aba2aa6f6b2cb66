/** Values made of others: arrays, ranges, multiranges, composites. Their texts are those of their `…_out` functions, quoting included. */
import type { DecodeText } from './types-text.ts';
import type { PgType } from './types.ts';

/** ndim, flags, element OID, per dimension its length and lower bound, then the elements. */
export function arrayDecoder(element: PgType, delimiter: string): DecodeText {
  return (bytes, start) => {
    const dimensions = bytes.readInt32BE(start);
    if (dimensions === 0) return '{}';
    const lengths: number[] = [];
    const lowers: number[] = [];
    let at = start + 12;
    for (let i = 0; i < dimensions; i++, at += 8) {
      lengths.push(bytes.readInt32BE(at));
      lowers.push(bytes.readInt32BE(at + 4));
    }
    const level = (depth: number): string => {
      const parts: string[] = [];
      for (let i = lengths[depth] ?? 0; i > 0; i--) {
        if (depth + 1 < dimensions) parts.push(level(depth + 1));
        else {
          const length = bytes.readInt32BE(at);
          at += 4;
          if (length < 0) parts.push('NULL');
          else {
            parts.push(quoteElement(element.text(bytes, at, length), delimiter));
            at += length;
          }
        }
      }
      return `{${parts.join(delimiter)}}`;
    };
    const bounds = lowers.every((lower) => lower === 1)
      ? ''
      : `${lowers.map((lower, i) => `[${lower}:${lower + (lengths[i] ?? 0) - 1}]`).join('')}=`;
    return bounds + level(0);
  };
}

/** White space as the server has it: JavaScript's \s knows more. */
export function quoteElement(shown: string, delimiter: string): string {
  const quote = shown === '' || shown.toUpperCase() === 'NULL' || /["\\{} \t\n\r\v\f]/.test(shown) || shown.includes(delimiter);
  return quote ? `"${shown.replaceAll(/["\\]/g, '\\$&')}"` : shown;
}

const quoteBound = (shown: string): string =>
  shown === '' || /["\\()[\], \t\n\r\v\f]/.test(shown) ? `"${shown.replaceAll(/["\\]/g, '$&$&')}"` : shown;

const quoteField = (shown: string): string =>
  shown === '' || /["\\(), \t\n\r\v\f]/.test(shown) ? `"${shown.replaceAll(/["\\]/g, '$&$&')}"` : shown;

/** int2vector and oidvector: an array in binary, and numbers with spaces between as text. */
export function vectorDecoder(width: 2 | 4): DecodeText {
  return (bytes, start) => {
    if (bytes.readInt32BE(start) === 0) return '';
    const count = bytes.readInt32BE(start + 12);
    const number = (at: number): number => (width === 2 ? bytes.readInt16BE(at) : bytes.readUInt32BE(at));
    return Array.from({ length: count }, (_, i) => number(start + 24 + i * (4 + width))).join(' ');
  };
}

/** A flags byte (1 empty, 2 lower inclusive, 4 upper inclusive, 8 lower infinite, 16 upper infinite), then the bounds with their lengths. */
export function rangeDecoder(subtype: PgType): DecodeText {
  return (bytes, start) => {
    const flags = bytes[start] ?? 0;
    if ((flags & 1) !== 0) return 'empty';
    let at = start + 1;
    const bound = (infinite: number): string => {
      if ((flags & infinite) !== 0) return '';
      const length = bytes.readInt32BE(at);
      const shown = subtype.text(bytes, at + 4, length);
      at += 4 + length;
      return quoteBound(shown);
    };
    const lower = bound(8);
    const upper = bound(16);
    return `${(flags & 2) === 0 ? '(' : '['}${lower},${upper}${(flags & 4) === 0 ? ')' : ']'}`;
  };
}

export function multirangeDecoder(range: PgType): DecodeText {
  return (bytes, start) => {
    const parts: string[] = [];
    let at = start + 4;
    for (let i = bytes.readInt32BE(start); i > 0; i--) {
      const length = bytes.readInt32BE(at);
      parts.push(range.text(bytes, at + 4, length));
      at += 4 + length;
    }
    return `{${parts.join(',')}}`;
  };
}

/**
 * Field count, then per field its OID, length and bytes. The fields are those of the cell, by their OIDs: its type may have had others when it was described. `known` are
 * those that it had then; `builtin` finds types that every server has. What is of neither is shown as bytes.
 */
export function compositeDecoder(known: readonly PgType[], builtin: (oid: number) => PgType | undefined): DecodeText {
  const types = new Map(known.map((type) => [type.oid, type]));
  return (bytes, start) => {
    const parts: string[] = [];
    let at = start + 4;
    for (let i = bytes.readInt32BE(start); i > 0; i--) {
      const oid = bytes.readUInt32BE(at);
      const length = bytes.readInt32BE(at + 4);
      at += 8;
      const type = types.get(oid) ?? builtin(oid);
      if (length < 0) parts.push('');
      else if (type === undefined) parts.push(quoteField(`\\x${bytes.toString('hex', at, at + length)}`));
      else parts.push(quoteField(type.text(bytes, at, length)));
      at += Math.max(0, length);
    }
    return `(${parts.join(',')})`;
  };
}
