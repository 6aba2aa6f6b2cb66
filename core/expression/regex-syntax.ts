/** The patterns that this service reads itself: a part of RE2's syntax, as a tree of sets of characters. Of all others RE2 alone knows the meaning. */

/** Sorted, disjoint ranges of code points. */
export type CharacterSet = readonly (readonly [number, number])[];

export type Node =
  | { readonly kind: 'set'; readonly set: CharacterSet }
  | { readonly kind: 'sequence' | 'either'; readonly parts: readonly Node[] }
  | { readonly kind: 'repeat'; readonly body: Node; readonly min: number; readonly max: number };

export interface Pattern {
  readonly root: Node;
  /** `^` before all of it. */
  readonly fromStart: boolean;
  /** `$` behind all of it. */
  readonly toEnd: boolean;
  /** `(?i)` before all of it: letters of ASCII in either case, and what Unicode folds with them. */
  readonly anyCase: boolean;
}

const LAST_CODE_POINT = 0x10ffff;

/** The tree of a pattern that RE2 takes; null where it has parts this file does not know. */
export function parsePattern(pattern: string): Pattern | null {
  const anyCase = pattern.startsWith('(?i)');
  const text = anyCase ? pattern.slice(4) : pattern;
  const fromStart = text.startsWith('^');
  const toEnd = text.endsWith('$') && !text.endsWith('\\$');
  try {
    const parser = new Parser(text.slice(fromStart ? 1 : 0, toEnd ? -1 : undefined), anyCase);
    const root = parser.parse();
    // ^a|b$ is two patterns, each with an anchor of its own.
    return parser.topLevelChoice && (fromStart || toEnd) ? null : { root, fromStart, toEnd, anyCase };
  } catch (error) {
    if (error instanceof Unknown) return null;
    throw error;
  }
}

/** A part of a pattern that this file does not know. */
class Unknown extends Error {}

class Parser {
  readonly #characters: readonly string[];
  readonly #anyCase: boolean;
  #at = 0;
  topLevelChoice = false;

  constructor(pattern: string, anyCase: boolean) {
    this.#characters = Array.from(pattern);
    this.#anyCase = anyCase;
  }

  parse(): Node {
    const root = this.#choice(0);
    if (this.#at < this.#characters.length) throw new Unknown();
    return root;
  }

  #choice(depth: number): Node {
    if (depth > 20) throw new Unknown();
    const parts = [this.#sequence(depth)];
    while (this.#peek() === '|') {
      this.#at++;
      if (depth === 0) this.topLevelChoice = true;
      parts.push(this.#sequence(depth));
    }
    return parts.length === 1 ? (parts[0] ?? { kind: 'sequence', parts: [] }) : { kind: 'either', parts };
  }

  #sequence(depth: number): Node {
    const parts: Node[] = [];
    for (let next = this.#peek(); next !== undefined && next !== '|' && next !== ')'; next = this.#peek())
      parts.push(this.#repeated(this.#atom(depth)));
    return { kind: 'sequence', parts };
  }

  #atom(depth: number): Node {
    const character = this.#next();
    switch (character) {
      case '(': {
        if (this.#peek() === '?') {
          this.#at++;
          if (this.#next() !== ':') throw new Unknown();
        }
        const body = this.#choice(depth + 1);
        if (this.#next() !== ')') throw new Unknown();
        return body;
      }
      case '[':
        return { kind: 'set', set: this.#class() };
      case '.':
        return { kind: 'set', set: without([[10, 10]]) };
      case '\\':
        return { kind: 'set', set: this.#cased(escaped(this.#next())) };
      case '^':
      case '$':
      case '*':
      case '+':
      case '?':
      case '{':
      case '}':
      case ']':
        throw new Unknown();
      default:
        return { kind: 'set', set: this.#cased(one(character)) };
    }
  }

  #cased(set: CharacterSet): CharacterSet {
    return this.#anyCase ? merge([...set, ...otherCase(set)]) : set;
  }

  #repeated(body: Node): Node {
    const bounds = this.#bounds();
    if (bounds === null) return body;
    if (this.#peek() === '?') this.#at++; // Lazy or not: whether there is a match is the same.
    const next = this.#peek();
    if (next !== undefined && '*+?{'.includes(next)) throw new Unknown();
    return { kind: 'repeat', body, min: bounds[0], max: bounds[1] };
  }

  #bounds(): readonly [number, number] | null {
    switch (this.#peek()) {
      case '*':
        this.#at++;
        return [0, Infinity];
      case '+':
        this.#at++;
        return [1, Infinity];
      case '?':
        this.#at++;
        return [0, 1];
      case '{': {
        const end = this.#characters.indexOf('}', this.#at);
        const match = /^(\d+)(,?)(\d*)$/.exec(this.#characters.slice(this.#at + 1, end).join(''));
        if (end < 0 || match === null) throw new Unknown();
        this.#at = end + 1;
        const min = Number(match[1]);
        return [min, match[2] === '' ? min : match[3] === '' ? Infinity : Number(match[3])];
      }
      case undefined:
      default:
        return null;
    }
  }

  #class(): CharacterSet {
    const negated = this.#peek() === '^';
    if (negated) this.#at++;
    const ranges: (readonly [number, number])[] = [];
    for (let first = true; ; first = false) {
      const character = this.#next();
      if (character === ']') {
        if (first) throw new Unknown();
        break;
      }
      if (character === '[') throw new Unknown();
      const low = character === '\\' ? escaped(this.#next()) : one(character);
      const isRange = this.#peek() === '-' && this.#characters[this.#at + 1] !== ']';
      if (!isRange) {
        ranges.push(...low);
        continue;
      }
      this.#at++;
      const end = this.#next();
      const high = end === '\\' ? escaped(this.#next()) : one(end);
      const [from, to] = [low[0], high[0]];
      if (end === '[' || from === undefined || to === undefined || low.length > 1 || high.length > 1) throw new Unknown();
      if (from[0] !== from[1] || to[0] !== to[1] || from[0] > to[0]) throw new Unknown();
      ranges.push([from[0], to[0]]);
    }
    const set = this.#cased(merge(ranges));
    return negated ? without(set) : set;
  }

  #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #next(): string {
    const character = this.#characters[this.#at++];
    if (character === undefined) throw new Unknown();
    return character;
  }
}

const DIGIT: CharacterSet = [[48, 57]];
const WORD: CharacterSet = merge([
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
]);
/** RE2's \s: ASCII without the vertical tab. JavaScript's has more. */
const SPACE: CharacterSet = merge([
  [9, 10],
  [12, 13],
  [32, 32],
]);
const CONTROL: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, v: 11 };

function escaped(character: string): CharacterSet {
  const known = { d: DIGIT, w: WORD, s: SPACE, D: without(DIGIT), W: without(WORD), S: without(SPACE) }[character];
  if (known !== undefined) return known;
  const control = CONTROL[character];
  if (control !== undefined) return [[control, control]];
  if (/[\p{L}\p{N}]/u.test(character) || character.length !== 1) throw new Unknown();
  return one(character);
}

/** The letters of ASCII in a set, in their other case. */
function otherCase(set: CharacterSet): CharacterSet {
  return set.flatMap(([from, to]) =>
    (
      [
        [65, 90, 32],
        [97, 122, -32],
      ] as const
    ).flatMap(([first, last, by]): CharacterSet => {
      const [low, high] = [Math.max(from, first), Math.min(to, last)];
      return low <= high ? [[low + by, high + by]] : [];
    }),
  );
}

function one(character: string): CharacterSet {
  const code = character.codePointAt(0) ?? 0;
  return [[code, code]];
}

function merge(ranges: readonly (readonly [number, number])[]): CharacterSet {
  const merged: [number, number][] = [];
  for (const [from, to] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last !== undefined && from <= last[1] + 1) last[1] = Math.max(last[1], to);
    else merged.push([from, to]);
  }
  return merged;
}

function without(set: CharacterSet): CharacterSet {
  const left: [number, number][] = [];
  let next = 0;
  for (const [from, to] of set) {
    if (from > next) left.push([next, from - 1]);
    next = to + 1;
  }
  if (next <= LAST_CODE_POINT) left.push([next, LAST_CODE_POINT]);
  return left;
}

export function disjoint(a: CharacterSet, b: CharacterSet): boolean {
  return a.every(([from, to]) => b.every(([low, high]) => to < low || high < from));
}
