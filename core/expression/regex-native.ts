/**
 * Which patterns V8's backtracking engine matches in linear time, by proof: those whose position automaton is deterministic, so that no
 * character can be read in two ways, and which either begin with `^` or match only texts of bounded length (else every start would be tried
 * in full). For these, V8 is several times faster than a linear-time engine in JavaScript (bench/quality.ts).
 */
import type { Positions } from './regex-positions.ts';
import type { Node, Pattern } from './regex-syntax.ts';

/** The same pattern as source for `new RegExp(source, 'u')`, or null where the proof fails. */
export function nativeSource({ root, fromStart, toEnd, anyCase }: Pattern, positions: Positions): string | null {
  if (!positions.deterministic || anyCase) return null;
  if (!fromStart && !Number.isFinite(longest(root))) return null;
  return `${fromStart ? '^' : ''}${write(root)}${toEnd ? '$' : ''}`;
}

/** Characters of the longest text that matches. */
function longest(node: Node): number {
  switch (node.kind) {
    case 'set':
      return 1;
    case 'sequence':
      return node.parts.reduce((sum, part) => sum + longest(part), 0);
    case 'either':
      return Math.max(0, ...node.parts.map(longest));
    case 'repeat':
      return longest(node.body) * node.max;
  }
}

function write(node: Node): string {
  switch (node.kind) {
    case 'set':
      return `[${node.set.map(([from, to]) => (from === to ? codePoint(from) : `${codePoint(from)}-${codePoint(to)}`)).join('')}]`;
    case 'sequence':
      return node.parts.map(write).join('');
    case 'either':
      return `(?:${node.parts.map(write).join('|')})`;
    case 'repeat':
      return `(?:${write(node.body)}){${node.min},${node.max === Infinity ? '' : node.max}}`;
  }
}

function codePoint(code: number): string {
  return `\\u{${code.toString(16)}}`;
}
