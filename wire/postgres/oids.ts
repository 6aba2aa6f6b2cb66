/**
 * Binary cells name types by OID: arrays their element, composites their fields. OIDs of user and extension types differ between two
 * servers, so such cells are rewritten, in a copy, before they go to another one.
 */
import type { PgType } from './types.ts';

/** Below it, types have one OID on every server and in every version (FirstGenbkiObjectId in PostgreSQL's transam.h). */
const FIRST_OWN_OID = 10_000;

/** Whether every server has the type under its OID. */
export const isFixed = (type: PgType): boolean => type.oid < FIRST_OWN_OID;

/** What a type inside a cell is at the target: its OID there, undefined where it has no such type. */
export type OidAtTarget = (type: PgType) => number | undefined;

/** Rewrites a cell in place: its bytes must be the caller's own. */
export type RewriteOids = (bytes: Buffer, offset: number) => void;

export type Portability =
  /** The bytes mean the same on both servers. */
  | { readonly kind: 'same' }
  | { readonly kind: 'rewrite'; readonly rewrite: RewriteOids }
  /** A type inside is missing at the target: its qualified name. */
  | { readonly kind: 'missing'; readonly type: string };

const SAME: Portability = { kind: 'same' };

/** Whether cells of `source` can go to the server that `oidAt` tells of. */
export function portability(source: PgType, oidAt: OidAtTarget): Portability {
  const { inner } = source;
  if (source.kind === 'd' && inner !== null) return portability(inner, oidAt); // Sent as its base type.
  if (source.isArray && inner !== null) return arrays(inner, oidAt);
  if (source.kind === 'c') return composites(source, oidAt);
  if (source.kind === 'r' && inner !== null) return ranges(inner, oidAt);
  if (source.kind === 'm' && inner !== null) return multiranges(inner, oidAt);
  return SAME;
}

function arrays(element: PgType, oidAt: OidAtTarget): Portability {
  const oid = oidAt(element);
  if (oid === undefined) return missing(element);
  const inner = portability(element, oidAt);
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

function composites(composite: PgType, oidAt: OidAtTarget): Portability {
  const oids: number[] = [];
  const inners: (RewriteOids | null)[] = [];
  let changes = false;
  for (const { type } of composite.fields) {
    const oid = oidAt(type);
    if (oid === undefined) return missing(type);
    const inner = portability(type, oidAt);
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

function ranges(subtype: PgType, oidAt: OidAtTarget): Portability {
  const inner = portability(subtype, oidAt);
  if (inner.kind !== 'rewrite') return inner;
  return { kind: 'rewrite', rewrite: (bytes, offset) => rewriteRange(bytes, offset, inner.rewrite) };
}

function multiranges(range: PgType, oidAt: OidAtTarget): Portability {
  const inner = portability(range, oidAt);
  if (inner.kind !== 'rewrite') return inner;
  return {
    kind: 'rewrite',
    rewrite: (bytes, offset) => {
      let at = offset + 4;
      for (let count = bytes.readInt32BE(offset); count > 0; count--) at = rewriteSized(bytes, at, inner.rewrite);
    },
  };
}

const missing = ({ schema, name }: PgType): Portability => ({ kind: 'missing', type: `${schema}.${name}` });

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
