/** The keyword arguments of one expectation: read by name and kind, refused with the name and the fix. */
import { wholeNumber } from '../../core/whole-numbers.ts';
import { suggestion } from '../../core/expression/suggest.ts';
import { compareCells, type FileCell, kindOf, Moment, type Present, Unusable } from '../states/cell.ts';
import type { Bounds } from '../windows/bounds.ts';
import { parseDate } from './dates.ts';

/** Kwargs that every expectation takes. */
export const EVERYWHERE = ['result_format', 'catch_exceptions', 'include_config', 'meta', 'notes', 'batch_id', 'severity'];
export const ROWS = ['row_condition', 'condition_parser'];
/** Those of expectations with bounds. */
export const BOUNDS = ['min_value', 'max_value', 'strict_min', 'strict_max'];

/** Numbers as Python reads them from texts. */
const WHOLE = /^\s*-?\d+\s*$/;
const NUMBER = /^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$/;

const YES = ['1', 'on', 't', 'true', 'y', 'yes'];
const NO = ['0', 'off', 'f', 'false', 'n', 'no'];

/** What pydantic, by which Great Expectations reads kwargs, takes for a text, a number and a boolean; null where it refuses. */
function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return typeof value === 'number' || typeof value === 'bigint' ? String(value) : null;
}

export function numberOf(value: unknown): number | null {
  if (typeof value === 'number') return value;
  return typeof value === 'bigint' || typeof value === 'boolean' || (typeof value === 'string' && NUMBER.test(value))
    ? Number(value)
    : null;
}

function booleanOf(value: unknown): boolean | null {
  const word = (textOf(value) ?? '').toLowerCase();
  return YES.includes(word) ? true : NO.includes(word) ? false : null;
}

export class Kwargs {
  readonly #values: Readonly<Record<string, unknown>>;
  /** When the judging began: what now() is. */
  readonly nowMs: number;

  constructor(values: Readonly<Record<string, unknown>>, nowMs: number) {
    this.#values = values;
    this.nowMs = nowMs;
  }

  /** The value, null where it is not there. */
  get(name: string): unknown {
    return this.#values[name] ?? null;
  }

  has(name: string): boolean {
    return this.#values[name] !== undefined;
  }

  refuseUnknown(known: readonly string[]): void {
    for (const name of Object.keys(this.#values))
      if (!known.includes(name)) refuse(name, 'is not among its kwargs', suggestion(name, known, 'kwarg'));
  }

  text(name: string): string {
    return textOf(this.get(name)) ?? refuse(name, this.has(name) ? 'is no text' : 'is missing', 'Write a text.');
  }

  column(name = 'column'): string {
    const value = this.get(name);
    return typeof value === 'string' && value !== '' ? value : refuse(name, 'names no column', 'Write the name of a column.');
  }

  columns(name = 'column_list'): readonly string[] {
    const value = this.get(name);
    if (!Array.isArray(value) || value.length === 0 || !value.every((item) => typeof item === 'string'))
      return refuse(name, 'is no list of columns', 'Write the names of the columns in a list.');
    return value;
  }

  texts(name: string): readonly string[] {
    const value = this.get(name);
    const texts = Array.isArray(value) ? value.map(textOf) : [];
    if (texts.length === 0 || !texts.every((text) => text !== null))
      return refuse(name, 'is no list of texts, or an empty one', 'Give it one text at least.');
    return texts;
  }

  /** Those of an object, read as these are. */
  inside(name: string): Kwargs {
    const value = this.get(name);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse(name, 'is missing', 'Write it.');
    return new Kwargs(value as Readonly<Record<string, unknown>>, this.nowMs);
  }

  /** Left out is the default; null is none, and is refused as Great Expectations does. */
  flag(name: string, byDefault = false): boolean {
    if (!this.has(name)) return byDefault;
    return booleanOf(this.get(name)) ?? refuse(name, 'is neither true nor false', 'Write true or false.');
  }

  /** One that may be null, which is false. */
  flagOrNull(name: string): boolean {
    return this.get(name) !== null && this.flag(name);
  }

  oneOf<const T extends string>(name: string, choices: readonly T[], byDefault: T): T {
    const value = this.has(name) ? this.get(name) : byDefault;
    const found = choices.find((choice) => choice === value);
    return found ?? refuse(name, `is not one of ${choices.join(', ')}`, `Write ${byDefault}.`);
  }

  number(name: string): number {
    return numberOf(this.get(name)) ?? refuse(name, this.has(name) ? 'is no number' : 'is missing', 'Write a number.');
  }

  numberOrNull(name: string): number | null {
    return this.get(name) === null ? null : this.number(name);
  }

  /** From 0 to 1. Left out is the default; null is none, and is refused as Great Expectations does. */
  share(name: string, byDefault: number): number {
    if (!this.has(name)) return byDefault;
    const value = typeof this.get(name) === 'string' ? NaN : this.number(name);
    return value >= 0 && value <= 1
      ? value
      : refuse(name, 'is not between 0 and 1', 'Write a number greater than or equal to 0 and less than or equal to 1.');
  }

  /** A whole number, without the fraction that is written; null where it is left out. */
  whole(name: string): number | null {
    const value = this.get(name);
    if (value === null) return null;
    const number = typeof value === 'string' && !WHOLE.test(value) ? null : numberOf(value);
    return number !== null && Number.isFinite(number)
      ? Math.trunc(number)
      : refuse(name, 'is no whole number', 'Bounds of counts and lengths must be integers.');
  }

  /** A list of values; null where it is null or left out. Dates beside moments are read when they meet them. */
  valueSet(name = 'value_set'): readonly FileCell[] | null {
    const value = this.get(name);
    if (value === null) return null;
    return Array.isArray(value) ? (value as FileCell[]) : refuse(name, 'is no list', 'Write the values in a list.');
  }

  /** Of what is observed once: as in Great Expectations, bounds in the wrong order are bounds that nothing lies between. */
  bounds(): Bounds {
    const [min, max] = [this.#bound('min_value'), this.#bound('max_value')];
    return { min, max, strictMin: this.flag('strict_min'), strictMax: this.flag('strict_max') };
  }

  /** The same, refused where nothing can lie between them. */
  orderedBounds(): Bounds {
    const bounds = this.bounds();
    const { min, max } = bounds;
    if (min !== null && max !== null && this.#isAbove(min, max))
      return refuse('min_value', 'cannot be greater than max_value', 'Exchange them.');
    return bounds;
  }

  /** Texts are dates, however each is written. */
  #isAbove(min: Present, max: Present): boolean {
    const [low, high] = [this.#dated('min_value', min), this.#dated('max_value', max)];
    return kindOf(low) === kindOf(high) && compareCells(low, high) > 0;
  }

  #dated(name: string, bound: Present): Present {
    return typeof bound === 'string' ? this.date(name, bound) : bound;
  }

  #bound(name: string): Present | null {
    const value = this.get(name);
    if (value === null) return null;
    if (typeof value === 'boolean') return Number(value);
    if (typeof value === 'number' || typeof value === 'bigint' || value instanceof Moment) return value;
    if (typeof value !== 'string') return refuse(name, 'is neither a number nor a date', 'Write a number, or a date in quotes.');
    if (WHOLE.test(value)) return wholeNumber(value.trim());
    if (NUMBER.test(value)) return Number(value);
    this.date(name, value);
    return value;
  }

  /** A text as a date. */
  date(name: string, text: string): Moment {
    return parseDate(text, this.nowMs) ?? refuse(name, 'is in an invalid datetime format', 'Write a number, or a date such as 2026-11-24.');
  }
}

export function refuse(name: string, what: string, fix: string): never {
  throw new Unusable(`${name} ${what}. ${fix}`);
}
