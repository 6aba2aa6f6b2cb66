/**
 * The syntax of row conditions: the comparisons of pandas' query language, and Great Expectations' own `col("x") > 5`. `&`, `|` and `~` are
 * `and`, `or` and `not` with their low precedence, as pandas reads them; a list beside `==` is `in`, and beside `!=` it is `not in`.
 */
import { type FileCell, type Moment, Unusable } from '../states/cell.ts';
import { parseDate } from './dates.ts';
import { tokensOf } from './tokens.ts';

const COMPARISONS = ['==', '!=', '<', '<=', '>', '>='] as const;
export type Comparison = (typeof COMPARISONS)[number];

export type Operand =
  | { readonly kind: 'column'; readonly name: string }
  | { readonly kind: 'literal'; readonly value: FileCell }
  | { readonly kind: 'date'; readonly value: Moment }
  | { readonly kind: 'minus'; readonly of: Operand };

export type Condition =
  | { readonly kind: 'either' | 'both'; readonly left: Condition; readonly right: Condition }
  | { readonly kind: 'not'; readonly of: Condition }
  | { readonly kind: 'compare'; readonly left: Operand; readonly operator: Comparison; readonly right: Operand }
  | { readonly kind: 'among'; readonly value: Operand; readonly members: readonly Operand[]; readonly isNegated: boolean }
  | { readonly kind: 'null'; readonly value: Operand }
  /** A column of booleans, or one written out. */
  | { readonly kind: 'holds'; readonly value: Operand };

/** Throws `Unusable` where the text is no condition. `nowMs`: when the judging began, which dates may be relative to. */
export function readCondition(text: string, nowMs: number): Condition {
  return new ConditionReader(text, nowMs).read();
}

class ConditionReader {
  readonly #text: string;
  readonly #nowMs: number;
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(text: string, nowMs: number) {
    this.#text = text;
    this.#nowMs = nowMs;
    this.#tokens = tokensOf(text) ?? this.#refuse('cannot be read');
  }

  read(): Condition {
    const condition = this.#either();
    if (this.#at < this.#tokens.length) return this.#refuse(`has "${this.#next()}" where it should end`);
    return condition;
  }

  #refuse(what: string): never {
    throw new Unusable(`the row_condition ${this.#text} ${what}. Write comparisons (==, !=, <, <=, >, >=, in) joined by and, or, not.`);
  }

  #next(): string {
    return this.#tokens[this.#at] ?? '';
  }

  #take(...tokens: readonly string[]): boolean {
    if (!tokens.includes(this.#next())) return false;
    this.#at++;
    return true;
  }

  #either(): Condition {
    let left = this.#both();
    while (this.#take('or', '|')) left = { kind: 'either', left, right: this.#both() };
    return left;
  }

  #both(): Condition {
    let left = this.#negated();
    while (this.#take('and', '&')) left = { kind: 'both', left, right: this.#negated() };
    return left;
  }

  #negated(): Condition {
    return this.#take('not', '~') ? { kind: 'not', of: this.#negated() } : this.#comparison();
  }

  #comparison(): Condition {
    if (this.#next() === '(' && this.#holds('condition')) {
      this.#at++;
      const inner = this.#either();
      if (!this.#take(')')) return this.#refuse('lacks a closing bracket');
      return inner;
    }
    if (this.#isList()) return this.#besideList(this.#list());
    let left = this.#operand();
    if (this.#take('.')) return this.#method(left);
    if (this.#next() === 'in' || (this.#next() === 'not' && this.#tokens[this.#at + 1] === 'in')) return this.#membership(left);
    let condition: Condition | null = null;
    for (let operator = this.#operator(); operator !== null; operator = this.#operator()) {
      const isList = this.#isList();
      const part: Condition = isList
        ? this.#amongThese(left, operator, this.#list())
        : { kind: 'compare', left, operator, right: this.#operand() };
      // 1 < x < 5
      condition = condition === null ? part : { kind: 'both', left: condition, right: part };
      if (part.kind !== 'compare') break;
      left = part.right;
    }
    return condition ?? { kind: 'holds', value: left };
  }

  /** Brackets hold a condition, a value, or the members of a list. */
  #holds(what: 'condition' | 'list'): boolean {
    let depth = 0;
    for (let at = this.#at; at < this.#tokens.length; at++) {
      const token = this.#tokens[at] ?? '';
      if (token === '(') depth++;
      if (token === ')' && --depth === 0) return false;
      const isComparison = COMPARISONS.some((comparison) => comparison === token);
      if (isComparison || ['and', 'or', 'not', 'in', '&', '|', '~', '.'].includes(token)) return what === 'condition';
      if (token === ',' && depth === 1) return what === 'list';
    }
    return this.#refuse('lacks a closing bracket');
  }

  #isList(): boolean {
    return this.#next() === '[' || (this.#next() === '(' && this.#holds('list'));
  }

  /** `[1, 2] == x` */
  #besideList(members: readonly Operand[]): Condition {
    const operator = this.#operator() ?? this.#refuse('has a list that nothing is compared with');
    return this.#amongThese(this.#operand(), operator, members);
  }

  #amongThese(value: Operand, operator: Comparison, members: readonly Operand[]): Condition {
    if (operator !== '==' && operator !== '!=') return this.#refuse(`has a list beside ${operator}, and lists have no order`);
    if (value.kind === 'literal') return this.#refuse('compares a list with what is no column');
    return { kind: 'among', value, members, isNegated: operator === '!=' };
  }

  /** `x in [1, 2]`, `x not in (1, 2)` */
  #membership(value: Operand): Condition {
    const isNegated = this.#take('not');
    this.#at++;
    return { kind: 'among', value, members: this.#list(), isNegated };
  }

  #list(): readonly Operand[] {
    const end = this.#next() === '[' ? ']' : ')';
    if (!this.#take('[', '(')) return this.#refuse('needs a list behind in');
    const members: Operand[] = [];
    while (!this.#take(end)) {
      members.push(this.#operand());
      if (this.#next() !== end && !this.#take(',')) return this.#refuse('lacks the end of a list');
    }
    return members;
  }

  #operator(): Comparison | null {
    const found = COMPARISONS.find((comparison) => comparison === this.#next());
    if (found === undefined) return null;
    this.#at++;
    return found;
  }

  /** `.notNull()`, `.isin([1, 2])` */
  #method(value: Operand): Condition {
    const name = this.#next().toLowerCase();
    this.#at++;
    if (!this.#take('(')) return this.#refuse(`knows no .${name}`);
    if (name === 'isin') {
      if (this.#take('values')) this.#at += Number(this.#next() === '=');
      if (!this.#isList() && this.#next() !== '(') return this.#refuse('needs a list in the brackets of isin');
      const members = this.#list();
      return this.#take(')') ? { kind: 'among', value, members, isNegated: false } : this.#refuse('lacks a closing bracket');
    }
    const isCalled = this.#take(')');
    if (isCalled && (name === 'notnull' || name === 'notna')) return { kind: 'not', of: { kind: 'null', value } };
    if (isCalled && (name === 'isnull' || name === 'isna' || name === 'null')) return { kind: 'null', value };
    return this.#refuse(`knows no .${name}`);
  }

  #operand(): Operand {
    const token = this.#next();
    this.#at++;
    if (token === '(') {
      const inner = this.#operand();
      if (!this.#take(')')) return this.#refuse('lacks a closing bracket');
      return inner;
    }
    if (token === '-') return this.#negative(this.#operand());
    if (token === '+') return this.#operand();
    if (/^[\d.]/.test(token)) return literal(/^\d{16,}$/.test(token) ? BigInt(token) : Number(token));
    if (/^["']/.test(token)) return literal(unquoted(token));
    if (token.startsWith('`')) return { kind: 'column', name: token.slice(1, -1) };
    if (/^(col|date|datetime)$/.test(token) && this.#take('(')) return this.#call(token);
    if (/^(True|true)$/.test(token)) return literal(true);
    if (/^(False|false)$/.test(token)) return literal(false);
    if (/^(None|null|NaN|nan)$/.test(token)) return literal(null);
    return /^[A-Za-z_]/.test(token) ? { kind: 'column', name: token } : this.#refuse(`has "${token}" where a value should be`);
  }

  #negative(of: Operand): Operand {
    if (of.kind === 'column' || of.kind === 'minus') return { kind: 'minus', of };
    if (of.kind === 'literal' && (typeof of.value === 'number' || typeof of.value === 'bigint')) return literal(-of.value);
    return this.#refuse('has a minus before what is no number');
  }

  #call(name: string): Operand {
    const argument = this.#next();
    this.#at++;
    if (!/^["']/.test(argument) || !this.#take(')')) return this.#refuse(`needs ${name}("…")`);
    const text = unquoted(argument);
    if (name === 'col') return { kind: 'column', name: text };
    const value = parseDate(text, this.#nowMs);
    return value === null ? this.#refuse(`has ${argument}, which is no date`) : { kind: 'date', value };
  }
}

const literal = (value: FileCell): Operand => ({ kind: 'literal', value });

function unquoted(token: string): string {
  return token.slice(1, -1).replace(/\\([^])/g, '$1');
}

/** The columns that it names. */
export function columnsOfCondition(condition: Condition): ReadonlySet<string> {
  switch (condition.kind) {
    case 'either':
    case 'both':
      return new Set([...columnsOfCondition(condition.left), ...columnsOfCondition(condition.right)]);
    case 'not':
      return columnsOfCondition(condition.of);
    case 'compare':
      return namesIn([condition.left, condition.right]);
    case 'among':
      return namesIn([condition.value, ...condition.members]);
    case 'null':
    case 'holds':
      return namesIn([condition.value]);
  }
}

export function namesIn(operands: readonly Operand[]): ReadonlySet<string> {
  return new Set(
    operands.flatMap((operand) =>
      operand.kind === 'column' ? [operand.name] : operand.kind === 'minus' ? [...namesIn([operand.of])] : [],
    ),
  );
}
