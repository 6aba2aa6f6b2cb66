/**
 * Which patterns V8's backtracking engine matches in linear time, by proof: those whose position automaton (Glushkov) is deterministic, so
 * that no character can be read in two ways, and which either begin with `^` or match only texts of bounded length (else every start would
 * be tried in full). For these, V8 is several times faster than a linear-time engine in JavaScript (bench/quality.ts).
 */

/** Sorted, disjoint ranges of code points. */
type CharacterSet = readonly (readonly [number, number])[];

type Node =
  | { readonly kind: 'set'; readonly set: CharacterSet }
  | { readonly kind: 'sequence' | 'either'; readonly parts: readonly Node[] }
  | { readonly kind: 'repeat'; readonly body: Node; readonly min: number; readonly max: number };

const POSITIONS_MAX = 250;
const LAST_CODE_POINT = 0x10ffff;

/** The same pattern as source for `new RegExp(source, 'u')`, or null where the proof fails or the pattern has parts this file does not know. */
export function nativeSource(pattern: string): string | null {
  const anchoredStart = pattern.startsWith('^');
  const anchoredEnd = pattern.endsWith('$') && !pattern.endsWith('\\$');
  const body = pattern.slice(anchoredStart ? 1 : 0, anchoredEnd ? -1 : undefined);
  try {
    const parser = new Parser(body);
    const root = parser.parse();
    if (parser.topLevelChoice && (anchoredStart || anchoredEnd)) return null;
    const facts = new Positions().of(root);
    if (!facts.deterministic) return null;
    if (!anchoredStart && !Number.isFinite(longest(root))) return null;
    return `${anchoredStart ? '^' : ''}${write(root)}${anchoredEnd ? '$' : ''}`;
  } catch (error) {
    if (error instanceof Unknown) return null;
    throw error;
  }
}

/** A part of a pattern that this file has no proof for. */
class Unknown extends Error {}

class Parser {
  readonly #characters: readonly string[];
  #at = 0;
  topLevelChoice = false;

  constructor(pattern: string) {
    this.#characters = Array.from(pattern);
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
        return { kind: 'set', set: escaped(this.#next()) };
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
        return { kind: 'set', set: one(character) };
    }
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
    return negated ? without(merge(ranges)) : merge(ranges);
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

function disjoint(a: CharacterSet, b: CharacterSet): boolean {
  return a.every(([from, to]) => b.every(([low, high]) => to < low || high < from));
}

interface Facts {
  readonly nullable: boolean;
  readonly first: readonly number[];
  readonly last: readonly number[];
}

/** The position automaton: which occurrence of a set may follow which. Counted repeats are written out. */
class Positions {
  readonly #sets: CharacterSet[] = [];
  readonly #follow: Set<number>[] = [];

  of(root: Node): { readonly deterministic: boolean } {
    const { first } = this.#facts(root);
    return { deterministic: this.#unambiguous(first) && this.#follow.every((next) => this.#unambiguous([...next])) };
  }

  #facts(node: Node): Facts {
    switch (node.kind) {
      case 'set': {
        if (node.set.length === 0 || this.#sets.length >= POSITIONS_MAX) throw new Unknown();
        const position = this.#sets.push(node.set) - 1;
        this.#follow.push(new Set());
        return { nullable: false, first: [position], last: [position] };
      }
      case 'sequence':
        return node.parts.reduce<Facts>((left, part) => this.#then(left, this.#facts(part)), { nullable: true, first: [], last: [] });
      case 'either': {
        const parts = node.parts.map((part) => this.#facts(part));
        // Two ways to read nothing are two ways to read everything that follows.
        if (parts.filter((part) => part.nullable).length > 1) throw new Unknown();
        return {
          nullable: parts.some((part) => part.nullable),
          first: parts.flatMap((part) => part.first),
          last: parts.flatMap((part) => part.last),
        };
      }
      case 'repeat':
        return this.#repeat(node.body, node.min, node.max);
    }
  }

  #repeat(body: Node, min: number, max: number): Facts {
    if (max < min || max === 0 || (max !== Infinity && max > POSITIONS_MAX) || min > POSITIONS_MAX) throw new Unknown();
    const copies = max === Infinity ? Math.max(1, min) : max;
    let first: readonly number[] = [];
    let previous: readonly number[] = [];
    const last: number[] = [];
    for (let copy = 1; copy <= copies; copy++) {
      const next = this.#facts(body);
      if (next.nullable) throw new Unknown();
      if (copy === 1) first = next.first;
      this.#connect(previous, next.first);
      if (max === Infinity && copy === copies) this.#connect(next.last, next.first);
      if (copy >= min) last.push(...next.last);
      previous = next.last;
    }
    return { nullable: min === 0, first, last };
  }

  #connect(from: readonly number[], to: readonly number[]): void {
    for (const position of from)
      for (const next of to) {
        const follow = this.#follow[position];
        // One step that two loops offer, as in (a+)+, is two ways to read one text: their number doubles with each character.
        if (follow?.has(next) === true) throw new Unknown();
        follow?.add(next);
      }
  }

  #then(left: Facts, right: Facts): Facts {
    this.#connect(left.last, right.first);
    return {
      nullable: left.nullable && right.nullable,
      first: left.nullable ? [...left.first, ...right.first] : left.first,
      last: right.nullable ? [...left.last, ...right.last] : right.last,
    };
  }

  #unambiguous(positions: readonly number[]): boolean {
    return positions.every((a, index) =>
      positions.slice(index + 1).every((b) => a === b || disjoint(this.#sets[a] ?? [], this.#sets[b] ?? [])),
    );
  }
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
