/**
 * Row conditions: the comparisons of pandas' query language, and Great Expectations' own `col("x") > 5`. `&`, `|` and `~` are `and`, `or` and
 * `not` with their low precedence, as pandas reads them. A comparison with a null is false, and with `!=` it is as the engine has it that reads
 * the language: true in pandas, and false in SQL, which `col("x")` is for.
 */
import { compareCells, type FileCell, keyOf, kindOf, Moment, Unusable } from '../states/cell.ts';
import type { Slots } from './expectation.ts';
import { parseDate } from './dates.ts';
import { tokensOf } from './tokens.ts';

export type RowCondition = (cells: readonly FileCell[]) => boolean;
type Read = (cells: readonly FileCell[]) => FileCell;

const COMPARISONS = ['==', '!=', '<', '<=', '>', '>='] as const;
type Comparison = (typeof COMPARISONS)[number];

export function compileRowCondition(text: string, slots: Slots, nowMs: number, nullsDiffer: boolean): RowCondition {
  return new ConditionReader(text, slots, nowMs, nullsDiffer).read();
}

class ConditionReader {
  readonly #text: string;
  readonly #slots: Slots;
  readonly #nowMs: number;
  /** Whether a null is unequal to a value. */
  readonly #nullsDiffer: boolean;
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(text: string, slots: Slots, nowMs: number, nullsDiffer: boolean) {
    this.#text = text;
    this.#nullsDiffer = nullsDiffer;
    this.#slots = slots;
    this.#nowMs = nowMs;
    this.#tokens = tokensOf(text) ?? this.#refuse('cannot be read');
  }

  read(): RowCondition {
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

  #either(): RowCondition {
    let left = this.#both();
    while (this.#take('or', '|')) {
      const [a, b] = [left, this.#both()];
      left = (cells) => a(cells) || b(cells);
    }
    return left;
  }

  #both(): RowCondition {
    let left = this.#negated();
    while (this.#take('and', '&')) {
      const [a, b] = [left, this.#negated()];
      left = (cells) => a(cells) && b(cells);
    }
    return left;
  }

  #negated(): RowCondition {
    if (!this.#take('not', '~')) return this.#comparison();
    const inner = this.#negated();
    return (cells) => !inner(cells);
  }

  #comparison(): RowCondition {
    if (this.#next() === '(' && this.#isGroup()) {
      this.#at++;
      const inner = this.#either();
      if (!this.#take(')')) return this.#refuse('lacks a closing bracket');
      return inner;
    }
    let left = this.#operand();
    if (this.#take('.')) return this.#presence(left);
    const membership = this.#membership(left);
    if (membership !== null) return membership;
    const parts: RowCondition[] = [];
    for (let operator = this.#operator(); operator !== null; operator = this.#operator()) {
      const right = this.#operand();
      parts.push(comparing(left, operator, right, this.#nowMs, this.#nullsDiffer));
      left = right;
    }
    const [first] = parts;
    if (first === undefined) return (cells) => left(cells) === true;
    // 1 < x < 5
    return parts.length === 1 ? first : (cells) => parts.every((part) => part(cells));
  }

  /** Brackets hold a condition, or a value. */
  #isGroup(): boolean {
    let depth = 0;
    for (let at = this.#at; at < this.#tokens.length; at++) {
      const token = this.#tokens[at] ?? '';
      if (token === '(') depth++;
      if (token === ')' && --depth === 0) return false;
      if (COMPARISONS.some((comparison) => comparison === token) || ['and', 'or', 'not', 'in', '&', '|', '~', '.'].includes(token))
        return true;
    }
    return this.#refuse('lacks a closing bracket');
  }

  /** `x in [1, 2]`, `x not in (1, 2)`; null where something else follows. A null is among no values, and in SQL not among others either. */
  #membership(value: Read): RowCondition | null {
    const isNegated = this.#next() === 'not' && this.#tokens[this.#at + 1] === 'in';
    if (!isNegated && this.#next() !== 'in') return null;
    this.#at += isNegated ? 2 : 1;
    const members = this.#list();
    const equals = members.map((member) => comparing(value, '==', member, this.#nowMs, this.#nullsDiffer));
    if (!isNegated) return (cells) => equals.some((equal) => equal(cells));
    return (cells) => (value(cells) === null ? this.#nullsDiffer : !equals.some((equal) => equal(cells)));
  }

  #list(): readonly Read[] {
    const end = this.#next() === '[' ? ']' : ')';
    if (!this.#take('[', '(')) return this.#refuse('needs a list behind in');
    const members: Read[] = [];
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

  /** `.notNull()` */
  #presence(value: Read): RowCondition {
    const name = this.#next().toLowerCase();
    this.#at++;
    const isCalled = this.#take('(') && this.#take(')');
    if (isCalled && (name === 'notnull' || name === 'notna')) return (cells) => value(cells) !== null;
    if (isCalled && (name === 'isnull' || name === 'isna' || name === 'null')) return (cells) => value(cells) === null;
    return this.#refuse(`knows no .${name}`);
  }

  #operand(): Read {
    const token = this.#next();
    this.#at++;
    if (token === '(') {
      const inner = this.#operand();
      if (!this.#take(')')) return this.#refuse('lacks a closing bracket');
      return inner;
    }
    if (token === '-' && /^[\d.]/.test(this.#next())) {
      const number = -Number(this.#next());
      this.#at++;
      return () => number;
    }
    if (/^[\d.]/.test(token)) {
      const number = /^\d{16,}$/.test(token) ? BigInt(token) : Number(token);
      return () => number;
    }
    if (/^["']/.test(token)) {
      const text = unquoted(token);
      return () => text;
    }
    if (token.startsWith('`')) return this.#column(token.slice(1, -1));
    if (/^(col|date|datetime)$/.test(token) && this.#take('(')) return this.#call(token);
    if (/^(True|true)$/.test(token)) return () => true;
    if (/^(False|false)$/.test(token)) return () => false;
    if (/^(None|null|NaN|nan)$/.test(token)) return () => null;
    return /^[A-Za-z_]/.test(token) ? this.#column(token) : this.#refuse(`has "${token}" where a value should be`);
  }

  #call(name: string): Read {
    const argument = this.#next();
    this.#at++;
    if (!/^["']/.test(argument) || !this.#take(')')) return this.#refuse(`needs ${name}("…")`);
    if (name === 'col') return this.#column(unquoted(argument));
    const date = parseDate(unquoted(argument), this.#nowMs);
    return date === null ? this.#refuse(`has ${argument}, which is no date`) : () => date;
  }

  #column(name: string): Read {
    const slot = this.#slots.slotOf(name);
    return (cells) => cells[slot] ?? null;
  }
}

function unquoted(token: string): string {
  return token.slice(1, -1).replace(/\\([^])/g, '$1');
}

function comparing(left: Read, operator: Comparison, right: Read, nowMs: number, nullsDiffer: boolean): RowCondition {
  return (cells) => {
    let [a, b] = [left(cells), right(cells)];
    if (a === null || b === null) return nullsDiffer && operator === '!=';
    if (a instanceof Moment && typeof b === 'string') b = parseDate(b, nowMs) ?? b;
    else if (b instanceof Moment && typeof a === 'string') a = parseDate(a, nowMs) ?? a;
    if (operator === '==' || operator === '!=') return (keyOf(a) === keyOf(b)) === (operator === '==');
    if (kindOf(a) !== kindOf(b))
      throw new Unusable(`the row_condition compares a ${kindOf(a)} with a ${kindOf(b)}. Compare values of one kind.`);
    const order = compareCells(a, b);
    switch (operator) {
      case '<':
        return order < 0;
      case '<=':
        return order <= 0;
      case '>':
        return order > 0;
      case '>=':
        return order >= 0;
    }
  };
}
