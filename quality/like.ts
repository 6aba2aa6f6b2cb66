/** SQL LIKE in linear time per wildcard: the pattern is cut at its % into pieces that are looked for one after another, leftmost first. */
import { positionsOf } from '../core/expression/regex-positions.ts';
import type { Node } from '../core/expression/regex-syntax.ts';
import { RegexTable } from '../core/expression/regex-table.ts';

interface Like {
  readonly test: (text: string) => boolean;
  /** The same for texts of ASCII; null where the pattern is too long for one. */
  readonly table: RegexTable | null;
}

/** The one-character wildcard in a piece; texts from databases hold no such lone surrogate. */
const ANY = '\ud800';

/** A LIKE pattern as PostgreSQL reads it: `%` any text, `_` one character (code point), `\` makes the next one itself. */
export function compileLike(pattern: string): Like | { readonly refused: string; readonly fix: string } {
  const pieces: string[][] = [[]];
  const characters = Array.from(pattern);
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] ?? '';
    if (character === '\\') {
      const next = characters[++i];
      if (next === undefined) return { refused: 'the pattern ends with its escape character', fix: 'Write \\\\ for a backslash.' };
      pieces.at(-1)?.push(next);
    } else if (character === '%') pieces.push([]);
    else pieces.at(-1)?.push(character === '_' ? ANY : character);
  }
  return { test: testOf(pieces), table: tableOf(pieces) };
}

const CHARACTER: Node = { kind: 'set', set: [[0, 0x10ffff]] };

/** The pattern as a table of states: what stands between two % follows on any text. */
function tableOf(pieces: readonly (readonly string[])[]): RegexTable | null {
  const characters = (piece: readonly string[]) =>
    piece.map((character): Node => {
      const code = character.codePointAt(0) ?? 0;
      return character === ANY ? CHARACTER : { kind: 'set', set: [[code, code]] };
    });
  const parts = pieces.flatMap((piece, index): Node[] =>
    index === 0 ? characters(piece) : [{ kind: 'repeat', body: CHARACTER, min: 0, max: Infinity }, ...characters(piece)],
  );
  const root: Node = { kind: 'sequence', parts };
  const positions = positionsOf(root);
  return positions === null ? null : RegexTable.of({ root, fromStart: true, toEnd: true, anyCase: false }, positions);
}

function testOf(pieces: readonly (readonly string[])[]): Like['test'] {
  const first = pieces[0] ?? [];
  const last = pieces.at(-1) ?? [];
  if (pieces.length === 1) {
    const plain = plainText(first);
    if (plain !== null) return (text) => text === plain;
    return (text) => matchAt(text, 0, first) === text.length;
  }
  const middle = pieces.slice(1, -1).filter((piece) => piece.length > 0);
  const plain = [first, ...middle, last].map(plainText);
  const [head = null] = plain;
  const tail = plain.at(-1) ?? null;
  if (head !== null && tail !== null && middle.length === 0) {
    const least = head.length + tail.length;
    return (text) => text.length >= least && text.startsWith(head) && text.endsWith(tail);
  }
  return (text) => matchPieces(text, first, middle, last);
}

function plainText(piece: readonly string[]): string | null {
  return piece.includes(ANY) ? null : piece.join('');
}

function matchPieces(text: string, first: readonly string[], middle: readonly (readonly string[])[], last: readonly string[]): boolean {
  let at = matchAt(text, 0, first);
  if (at < 0) return false;
  for (const piece of middle) {
    at = findPiece(text, at, piece);
    if (at < 0) return false;
  }
  // The last piece ends where the text ends: it starts so many code points before it.
  let start = text.length;
  for (let i = 0; i < last.length; i++) {
    if (start <= at) return false;
    start -= isLow(text, start - 1) && isHigh(text, start - 2) ? 2 : 1;
  }
  return start >= at && matchAt(text, start, last) === text.length;
}

/** Where the piece ends at its leftmost place from `from` on, or -1. */
function findPiece(text: string, from: number, piece: readonly string[]): number {
  const plain = plainText(piece);
  if (plain !== null) {
    const found = text.indexOf(plain, from);
    return found < 0 ? -1 : found + plain.length;
  }
  for (let start = from; start <= text.length; start++) {
    if (start > from && isLow(text, start) && isHigh(text, start - 1)) continue;
    const end = matchAt(text, start, piece);
    if (end >= 0) return end;
  }
  return -1;
}

/** Where the piece ends if it stands at `at`, or -1. */
function matchAt(text: string, at: number, piece: readonly string[]): number {
  for (const wanted of piece) {
    if (at >= text.length) return -1;
    const size = isHigh(text, at) && isLow(text, at + 1) ? 2 : 1;
    if (
      wanted !== ANY &&
      (wanted.length !== size ||
        text.charCodeAt(at) !== wanted.charCodeAt(0) ||
        (size === 2 && text.charCodeAt(at + 1) !== wanted.charCodeAt(1)))
    )
      return -1;
    at += size;
  }
  return at;
}

function isHigh(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 0xd800 && code <= 0xdbff;
}

function isLow(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code >= 0xdc00 && code <= 0xdfff;
}
