/** `{"$PARAMETER": expression}` in kwargs: names given on the command line, numbers, dates, and arithmetic on them. */
import { Moment, momentAt, Unusable } from '../states/cell.ts';
import { tokensOf } from './tokens.ts';

export type Parameters = Readonly<Record<string, unknown>>;

/** The kwargs with every parameter put in. */
export function withParameters(value: unknown, parameters: Parameters, nowMs: number): unknown {
  if (Array.isArray(value)) return value.map((item) => withParameters(item, parameters, nowMs));
  if (typeof value !== 'object' || value === null || value instanceof Moment) return value;
  const entries = Object.entries(value);
  const [only] = entries;
  if (entries.length === 1 && only?.[0] === '$PARAMETER' && typeof only[1] === 'string')
    return new Formula(only[1], parameters, nowMs).value();
  return Object.fromEntries(entries.map(([key, item]) => [key, withParameters(item, parameters, nowMs)]));
}

/** A time span, in microseconds. */
class Span {
  readonly micros: number;
  constructor(micros: number) {
    this.micros = micros;
  }
}

const SPANS: Readonly<Record<string, number>> = {
  weeks: 604_800_000_000,
  days: 86_400_000_000,
  hours: 3_600_000_000,
  minutes: 60_000_000,
  seconds: 1_000_000,
  milliseconds: 1000,
  microseconds: 1,
};

class Formula {
  readonly #text: string;
  readonly #parameters: Parameters;
  readonly #nowMs: number;
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(text: string, parameters: Parameters, nowMs: number) {
    this.#text = text;
    this.#parameters = parameters;
    this.#nowMs = nowMs;
    this.#tokens = tokensOf(text) ?? this.#refuse('cannot be read');
  }

  value(): unknown {
    // A name stands for any value, also one that is no number.
    if (Object.hasOwn(this.#parameters, this.#text)) return this.#parameters[this.#text];
    const value = this.#sum();
    if (this.#at < this.#tokens.length) return this.#refuse(`has "${this.#tokens[this.#at]}" where it should end`);
    return value instanceof Span ? this.#refuse('is a span of time and no moment') : value;
  }

  #refuse(what: string): never {
    throw new Unusable(
      `the parameter "${this.#text}" ${what}. Write a name from --params, numbers with + - * / ( ), now(), datetime(…) or timedelta(…).`,
    );
  }

  #next(): string {
    return this.#tokens[this.#at] ?? '';
  }

  #take(token: string): boolean {
    if (this.#next() !== token) return false;
    this.#at++;
    return true;
  }

  #sum(): unknown {
    let left = this.#product();
    for (let sign = this.#next(); sign === '+' || sign === '-'; sign = this.#next()) {
      this.#at++;
      left = this.#add(left, this.#product(), sign === '+' ? 1 : -1);
    }
    return left;
  }

  #add(left: unknown, right: unknown, sign: 1 | -1): unknown {
    if (typeof left === 'number' && typeof right === 'number') return left + sign * right;
    if (left instanceof Span && right instanceof Span) return new Span(left.micros + sign * right.micros);
    if (left instanceof Moment && right instanceof Span) return momentAt(BigInt(left.micros) + BigInt(Math.round(sign * right.micros)));
    if (left instanceof Span && right instanceof Moment && sign === 1) return this.#add(right, left, 1);
    return this.#refuse('adds what cannot be added');
  }

  #product(): unknown {
    let left = this.#factor();
    for (let sign = this.#next(); sign === '*' || sign === '/'; sign = this.#next()) {
      this.#at++;
      left = this.#multiply(left, this.#factor(), sign);
    }
    return left;
  }

  #multiply(left: unknown, right: unknown, sign: '*' | '/'): unknown {
    if (sign === '/' && right === 0) return this.#refuse('divides by zero');
    if (typeof right === 'number') {
      if (typeof left === 'number') return sign === '*' ? left * right : left / right;
      if (left instanceof Span) return new Span(sign === '*' ? left.micros * right : left.micros / right);
    }
    if (typeof left === 'number' && right instanceof Span && sign === '*') return new Span(left * right.micros);
    return this.#refuse('multiplies what is no number');
  }

  #factor(): unknown {
    if (this.#take('-')) return this.#multiply(this.#factor(), -1, '*');
    if (this.#take('+')) return this.#factor();
    if (this.#take('(')) {
      const inner = this.#sum();
      if (!this.#take(')')) return this.#refuse('lacks a closing bracket');
      return inner;
    }
    const token = this.#next();
    this.#at++;
    if (/^[\d.]/.test(token)) return Number(token);
    if (!/^[A-Za-z_]/.test(token)) return this.#refuse(`has "${token}" where a value should be`);
    if (this.#take('(')) return this.#call(token);
    if (!Object.hasOwn(this.#parameters, token)) return this.#refuse(`names ${token}, which --params does not give`);
    const value = this.#parameters[token];
    return typeof value === 'bigint' ? Number(value) : value;
  }

  #call(name: string): unknown {
    const listed: number[] = [];
    const named: Record<string, number> = {};
    while (!this.#take(')')) {
      const key = this.#tokens[this.#at + 1] === '=' ? this.#next() : null;
      if (key !== null) this.#at += 2;
      const value = this.#sum();
      if (typeof value !== 'number') return this.#refuse(`gives ${name} something that is no number`);
      if (key === null) listed.push(value);
      else named[key] = value;
      if (this.#next() !== ')' && !this.#take(',')) return this.#refuse('lacks a closing bracket');
    }
    if (name === 'now' && listed.length === 0) return momentAt(BigInt(this.#nowMs) * 1000n);
    if (name === 'datetime' && listed.length >= 3 && listed.length <= 7) return this.#datetime(listed);
    if (name === 'timedelta') return this.#span(listed, named);
    return this.#refuse(`calls ${name}, which there is not, or not so`);
  }

  #datetime(numbers: readonly number[]): Moment {
    const [year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0, micros = 0] = numbers;
    const date = new Date(0);
    date.setUTCFullYear(year, month - 1, day);
    date.setUTCHours(hour, minute, second);
    const fits = numbers.every(Number.isInteger) && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
    if (!fits || date.getUTCHours() !== hour || date.getUTCMinutes() !== minute || date.getUTCSeconds() !== second)
      return this.#refuse('is no date that there is');
    return momentAt(BigInt(date.getTime()) * 1000n + BigInt(micros));
  }

  #span(listed: readonly number[], named: Readonly<Record<string, number>>): Span {
    const [days = 0, seconds = 0, micros = 0] = listed;
    let total = days * 86_400_000_000 + seconds * 1_000_000 + micros;
    for (const [unit, count] of Object.entries(named)) {
      const size = SPANS[unit];
      if (size === undefined) return this.#refuse(`knows no ${unit}`);
      total += count * size;
    }
    return new Span(total);
  }
}
