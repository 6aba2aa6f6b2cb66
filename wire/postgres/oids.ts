/**
 * Binary cells name types by OID: arrays their element, composites their fields. OIDs of user and extension types differ between two
 * servers, so such cells are rewritten, in a copy, before they go to another one.
 */
import type { PgType } from './types.ts';

/** Types that every server has under the same OID (FirstNormalObjectId in PostgreSQL's transam.h). */
const FIRST_USER_OID = 16_384;

/** Rewrites a cell in place: `bytes[offset, offset + length)` must be the caller's own. */
export type RewriteOids = (bytes: Buffer, offset: number) => void;

export type Portability =
  /** The bytes mean the same on both servers. */
  | { readonly kind: 'same' }
  | { readonly kind: 'rewrite'; readonly rewrite: RewriteOids }
  /** A type inside is missing at the target: its qualified name. */
  | { readonly kind: 'missing'; readonly type: string };

const SAME: Portability = { kind: 'same' };

/** Whether cells of `source` can go to a server whose types are told by `targetOid` (qualified name to OID, undefined where it has none). */
export function portability(source: PgType, targetOid: (schema: string, name: string) => number | undefined): Portability {
  if (source.kind === 'd' && source.inner !== null) return portability(source.inner, targetOid); // Sent as its base type.
  if (source.isArray && source.inner !== null) return arrays(source.inner, targetOid);
  if (source.kind === 'c') return composites(source, targetOid);
  if (source.kind === 'r' && source.inner !== null) return ranges(source.inner, targetOid);
  if (source.kind === 'm' && source.inner?.inner !== null && source.inner !== null) return multiranges(source.inner, targetOid);
  return SAME;
}

function target(type: PgType, targetOid: (schema: string, name: string) => number | undefined): number | undefined {
  return type.oid < FIRST_USER_OID ? type.oid : targetOid(type.schema, type.name);
}

function arrays(element: PgType, targetOid: (schema: string, name: string) => number | undefined): Portability {
  const oid = target(element, targetOid);
  if (oid === undefined) return { kind: 'missing', type: `${element.schema}.${element.name}` };
  const inner = portability(element, targetOid);
  if (inner.kind === 'missing' || (inner.kind === 'same' && oid === element.oid)) return inner;
  return {
    kind: 'rewrite',
    rewrite: (bytes, offset) => {
      bytes.writeUInt32BE(oid, offset + 8);
      if (inner.kind === 'same') return;
      const dimensions = bytes.readInt32BE(offset);
      let count = dimensions === 0 ? 0 : 1;
      for (let i = 0; i < dimensions; i++) count *= bytes.readInt32BE(offset + 12 + 8 * i);
      let at = offset + 12 + 8 * dimensions;
      for (; count > 0; count--) at = rewriteSized(bytes, at, inner.rewrite);
    },
  };
}

function composites(composite: PgType, targetOid: (schema: string, name: string) => number | undefined): Portability {
  const oids: number[] = [];
  const inners: (RewriteOids | null)[] = [];
  let changes = false;
  for (const { type } of composite.fields) {
    const oid = target(type, targetOid);
    if (oid === undefined) return { kind: 'missing', type: `${type.schema}.${type.name}` };
    const inner = portability(type, targetOid);
    if (inner.kind === 'missing') return inner;
    oids.push(oid);
    inners.push(inner.kind === 'rewrite' ? inner.rewrite : null);
    changes ||= oid !== type.oid || inner.kind === 'rewrite';
  }
  if (!changes) return SAME;
  return {
    kind: 'rewrite',
    rewrite: (bytes, offset) => {
      let at = offset + 4;
      for (let field = 0; field < oids.length; field++) {
        bytes.writeUInt32BE(oids[field] ?? 0, at);
        at = rewriteSized(bytes, at + 4, inners[field] ?? null);
      }
    },
  };
}

function ranges(subtype: PgType, targetOid: (schema: string, name: string) => number | undefined): Portability {
  const inner = portability(subtype, targetOid);
  if (inner.kind !== 'rewrite') return inner;
  return { kind: 'rewrite', rewrite: (bytes, offset) => rewriteRange(bytes, offset, inner.rewrite) };
}

function multiranges(range: PgType, targetOid: (schema: string, name: string) => number | undefined): Portability {
  const inner = portability(range, targetOid);
  if (inner.kind !== 'rewrite') return inner;
  return {
    kind: 'rewrite',
    rewrite: (bytes, offset) => {
      let at = offset + 4;
      for (let count = bytes.readInt32BE(offset); count > 0; count--) at = rewriteSized(bytes, at, inner.rewrite);
    },
  };
}

function rewriteRange(bytes: Buffer, offset: number, rewrite: RewriteOids): void {
  const flags = bytes[offset] ?? 1;
  let at = offset + 1;
  const bounds = (flags & 1) !== 0 ? 0 : 2 - ((flags >> 3) & 1) - ((flags >> 4) & 1);
  for (let i = 0; i < bounds; i++) at = rewriteSized(bytes, at, rewrite);
}

/** A length of four bytes, then so many bytes (none for -1). Answers where the next begins. */
function rewriteSized(bytes: Buffer, at: number, rewrite: RewriteOids | null): number {
  const length = bytes.readInt32BE(at);
  if (length >= 0 && rewrite !== null) rewrite(bytes, at + 4);
  return at + 4 + Math.max(0, length);
}
