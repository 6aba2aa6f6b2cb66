/** The syntax of expressions: a subset of CEL's grammar, with the place of every part kept for the problems. */
import type { Problem } from '../problems.ts';

export type UnaryOperator = '!' | '-';
export type BinaryOperator = '&&' | '||' | '==' | '!=' | '<' | '<=' | '>' | '>=' | 'in' | '+' | '-' | '*' | '/' | '%';

/** `at` is the offset in the text. */
export type Node = { readonly at: number } & (
  | { readonly kind: 'literal'; readonly type: 'null' | 'bool' | 'string'; readonly value: null | boolean | string }
  /** An integer, or a decimal with a fraction or an exponent: kept as text, exact. */
  | { readonly kind: 'number'; readonly text: string; readonly integer: boolean }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'member'; readonly target: Node; readonly name: string }
  | { readonly kind: 'list'; readonly items: readonly Node[] }
  | { readonly kind: 'call'; readonly target: Node | null; readonly name: string; readonly args: readonly Node[] }
  | { readonly kind: 'unary'; readonly operator: UnaryOperator; readonly operand: Node }
  | { readonly kind: 'binary'; readonly operator: BinaryOperator; readonly left: Node; readonly right: Node }
  | { readonly kind: 'choice'; readonly condition: Node; readonly yes: Node; readonly no: Node }
);

export type Parsed =
  { readonly kind: 'parsed'; readonly root: Node } | { readonly kind: 'refused'; readonly problems: readonly [Problem, ...Problem[]] };

/** Parses without looking at any dataset: what a rule file can be refused for before a source is asked. */
export function parseExpression(text: string, path: string): Parsed {
  try {
    return { kind: 'parsed', root: new Parser(text).parse() };
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    return {
      kind: 'refused',
      problems: [{ severity: 'error', path, message: `${error.message} ${place(text, error.at)}`, fix: error.fix }],
    };
  }
}

/** "at character 12" or, in an expression of several lines, "at line 2, character 3". */
export function place(text: string, at: number): string {
  const before = text.slice(0, at);
  const line = before.split('\n').length;
  const character = at - before.lastIndexOf('\n');
  return text.includes('\n') ? `(line ${line}, character ${character} of the expression)` : `(character ${character} of the expression)`;
}

class SyntaxProblem extends Error {
  readonly at: number;
  readonly fix: string;
  constructor(at: number, message: string, fix: string) {
    super(message);
    this.at = at;
    this.fix = fix;
  }
}

interface Token {
  readonly kind: 'number' | 'string' | 'name' | 'operator' | 'end';
  readonly text: string;
  readonly at: number;
}

const TOKEN =
  /(?<space>[ \t\r\n]+|\/\/[^\n]*)|(?<number>(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d{1,4})?)|(?<name>[A-Za-z_][A-Za-z0-9_]*)|(?<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?<operator>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:()[\],.])/y;

/** What people write who know SQL or JavaScript. */
const NEAR_MISSES: Readonly<Record<string, string>> = {
  '=': 'Write == to compare.',
  '&': 'Write && for and.',
  '|': 'Write || for or.',
  ';': 'An expression is a single condition: join several with &&.',
};

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < text.length;) {
    // Raw strings begin like a name: they are looked at first.
    const raw = /^[rR](["'])[^\n]*?\1/.exec(text.slice(at));
    if (raw !== null && !/[A-Za-z0-9_]/.test(text[at - 1] ?? ' ')) {
      tokens.push({ kind: 'string', text: raw[0].slice(2, -1), at });
      at += raw[0].length;
      continue;
    }
    TOKEN.lastIndex = at;
    const groups = TOKEN.exec(text)?.groups;
    if (groups === undefined) {
      const character = text[at] ?? '';
      if (character === '"' || character === "'") throw new SyntaxProblem(at, 'the text is not closed', `Close it with ${character}.`);
      throw new SyntaxProblem(
        at,
        `"${character}" is not part of the language`,
        NEAR_MISSES[character] ?? 'See docs/rules.md for what an expression may hold.',
      );
    }
    if (groups['number'] !== undefined) tokens.push({ kind: 'number', text: groups['number'], at });
    else if (groups['name'] !== undefined) tokens.push({ kind: 'name', text: groups['name'], at });
    else if (groups['string'] !== undefined) tokens.push({ kind: 'string', text: unescape(groups['string'].slice(1, -1), at), at });
    else if (groups['operator'] !== undefined) tokens.push({ kind: 'operator', text: groups['operator'], at });
    at = TOKEN.lastIndex;
  }
  tokens.push({ kind: 'end', text: '', at: text.length });
  return tokens;
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  '\\': '\\',
  "'": "'",
  '"': '"',
  '`': '`',
  '?': '?',
  a: '\x07',
  b: '\b',
  f: '\f',
  v: '\v',
};

function unescape(body: string, at: number): string {
  return body.replace(
    /\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))/gs,
    (_, four: string | undefined, two: string | undefined, single: string | undefined) => {
      if (four !== undefined || two !== undefined) return String.fromCharCode(Number.parseInt(four ?? two ?? '0', 16));
      const meant = ESCAPES[single ?? ''];
      if (meant === undefined)
        throw new SyntaxProblem(
          at,
          `"\\${single}" is no escape`,
          `Write \\\\${single}, or a raw text: r'…' takes every character as it is.`,
        );
      return meant;
    },
  );
}

/** Keeps the tree small enough to be walked by recursion. */
const LENGTH_MAX = 8192;

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>=', 'in']);
const DEPTH_MAX = 100;
/** Each operator of a chain is one level of the tree that is compiled. */
const CHAIN_MAX = 300;

class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;

  constructor(text: string) {
    if (text.length > LENGTH_MAX)
      throw new SyntaxProblem(LENGTH_MAX, `the expression is longer than ${LENGTH_MAX} characters`, 'Split it into several rules.');
    this.#tokens = tokenize(text);
  }

  parse(): Node {
    if (this.#peek().kind === 'end') throw new SyntaxProblem(0, 'the expression is empty', 'Write a condition, such as after.total >= 0.');
    const root = this.#expression();
    const left = this.#peek();
    if (left.kind === 'end') return root;
    const word = left.text.toLowerCase();
    const fix =
      word === 'and'
        ? 'Write && for and.'
        : word === 'or'
          ? 'Write || for or.'
          : word === 'is'
            ? 'Write == null or != null.'
            : 'Join conditions with && or ||, or remove it.';
    throw new SyntaxProblem(left.at, `"${left.text}" is not expected here`, fix);
  }

  #expression(): Node {
    if (++this.#depth > DEPTH_MAX)
      throw new SyntaxProblem(
        this.#peek().at,
        'the expression is nested too deeply',
        `Keep it under ${DEPTH_MAX} levels, or split it into several rules.`,
      );
    const condition = this.#either();
    this.#depth--;
    if (!this.#take('?')) return condition;
    const yes = this.#expression();
    this.#expect(':');
    return { kind: 'choice', at: condition.at, condition, yes, no: this.#expression() };
  }

  #either(): Node {
    return this.#leftToRight(['||'], () => this.#leftToRight(['&&'], () => this.#comparison()));
  }

  #comparison(): Node {
    const left = this.#sum();
    const token = this.#peek();
    if (token.kind === 'end' || token.kind === 'string' || !COMPARISONS.has(token.text)) return left;
    this.#next++;
    const right = this.#sum();
    const again = this.#peek();
    if (again.kind !== 'string' && COMPARISONS.has(again.text)) {
      throw new SyntaxProblem(again.at, 'comparisons cannot be chained', 'Write a < b && b < c.');
    }
    return { kind: 'binary', at: token.at, operator: token.text as BinaryOperator, left, right };
  }

  #sum(): Node {
    return this.#leftToRight(['+', '-'], () => this.#leftToRight(['*', '/', '%'], () => this.#unary()));
  }

  #leftToRight(operators: readonly BinaryOperator[], operand: () => Node): Node {
    let left = operand();
    for (let length = 0; ; length++) {
      const token = this.#peek();
      if (length === CHAIN_MAX)
        throw new SyntaxProblem(
          token.at,
          'the expression is too long',
          `Keep it under ${CHAIN_MAX} operators in a row, or split it into several rules.`,
        );
      const operator = operators.find((candidate) => token.kind === 'operator' && token.text === candidate);
      if (operator === undefined) return left;
      this.#next++;
      left = { kind: 'binary', at: token.at, operator, left, right: operand() };
    }
  }

  #unary(): Node {
    const token = this.#peek();
    if (token.kind !== 'operator' || (token.text !== '!' && token.text !== '-')) return this.#member();
    this.#next++;
    if (++this.#depth > DEPTH_MAX)
      throw new SyntaxProblem(token.at, 'the expression is nested too deeply', `Keep it under ${DEPTH_MAX} levels.`);
    const operand = this.#unary();
    this.#depth--;
    return { kind: 'unary', at: token.at, operator: token.text, operand };
  }

  #member(): Node {
    let node = this.#primary();
    for (;;) {
      const token = this.#peek();
      if (this.#take('.')) {
        const name = this.#name();
        node = this.#take('(')
          ? { kind: 'call', at: token.at + 1, target: node, name, args: this.#items(')') }
          : { kind: 'member', at: node.at, target: node, name };
      } else if (this.#take('[')) {
        const key = this.#peek();
        if (key.kind !== 'string') throw new SyntaxProblem(key.at, 'only a column is looked up by [ ]', 'Write after["column name"].');
        this.#next++;
        this.#expect(']');
        node = { kind: 'member', at: node.at, target: node, name: key.text };
      } else return node;
    }
  }

  #primary(): Node {
    const token = this.#peek();
    this.#next++;
    switch (token.kind) {
      case 'number':
        return { kind: 'number', at: token.at, text: token.text, integer: /^\d+$/.test(token.text) };
      case 'string':
        return { kind: 'literal', at: token.at, type: 'string', value: token.text };
      case 'name':
        if (token.text === 'true' || token.text === 'false')
          return { kind: 'literal', at: token.at, type: 'bool', value: token.text === 'true' };
        if (token.text === 'null') return { kind: 'literal', at: token.at, type: 'null', value: null };
        return this.#take('(')
          ? { kind: 'call', at: token.at, target: null, name: token.text, args: this.#items(')') }
          : { kind: 'name', at: token.at, name: token.text };
      case 'operator':
        if (token.text === '(') {
          const inner = this.#expression();
          this.#expect(')');
          return inner;
        }
        if (token.text === '[') return { kind: 'list', at: token.at, items: this.#items(']') };
        throw new SyntaxProblem(token.at, `"${token.text}" is not expected here`, 'A value belongs here: a column, a number, a text.');
      case 'end':
        throw new SyntaxProblem(token.at, 'the expression ends too early', 'A value belongs here: a column, a number, a text.');
    }
  }

  #items(close: ')' | ']'): Node[] {
    const items: Node[] = [];
    if (this.#take(close)) return items;
    do {
      items.push(this.#expression());
    } while (this.#take(','));
    this.#expect(close);
    return items;
  }

  #name(): string {
    const token = this.#peek();
    if (token.kind !== 'name')
      throw new SyntaxProblem(token.at, 'a name is expected after the dot', 'Write after.<column>, or after["column name"].');
    this.#next++;
    return token.text;
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? { kind: 'end', text: '', at: 0 };
  }

  #take(operator: string): boolean {
    const token = this.#peek();
    if (token.kind !== 'operator' || token.text !== operator) return false;
    this.#next++;
    return true;
  }

  #expect(operator: string): void {
    const token = this.#peek();
    if (this.#take(operator)) return;
    throw new SyntaxProblem(
      token.at,
      token.kind === 'end' ? `a "${operator}" is missing at the end` : `"${operator}" is expected before "${token.text}"`,
      `Put "${operator}" there.`,
    );
  }
}
