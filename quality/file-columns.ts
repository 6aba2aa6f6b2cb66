/** What the columns of a file are: as declared, else as their values show; and how those values become the cells that rules judge. */
import type { Column, ColumnType, Row, Value } from '../core/event.ts';
import { wholeNumber } from '../core/whole-numbers.ts';
import { decimalOf, decimalText } from '../core/expression/decimal.ts';
import { microsOf, timestampText } from '../core/expression/timestamp.ts';
import { kindOf } from './schema/drift.ts';

/** The kinds of a column's values are put together bit by bit. */
export const SeenKind = { Whole: 1, Float: 2, Text: 4, Boolean: 8, Nested: 16, Other: 32 } as const;
export type SeenKind = (typeof SeenKind)[keyof typeof SeenKind];

/** What was seen of a column: the kinds of its values. */
export class ColumnSeen {
  #kinds: number;

  /** `kinds`: what another one saw. */
  constructor(kinds = 0) {
    this.#kinds = kinds;
  }

  get kinds(): number {
    return this.#kinds;
  }

  see(value: unknown): void {
    if (value === null || value === undefined) return;
    this.#kinds |=
      typeof value === 'number' ? (Number.isInteger(value) ? SeenKind.Whole : SeenKind.Float) : (KINDS[typeof value] ?? SeenKind.Other);
  }

  /** Kinds that somebody else has seen. */
  add(kinds: number): void {
    this.#kinds |= kinds;
  }

  /** Null where no row has a value; `other` where values are of several kinds. */
  get type(): ColumnType | null {
    return this.#kinds === 0 ? null : (TYPES.get(this.#kinds) ?? 'other');
  }
}

const KINDS: Readonly<Record<string, number>> = {
  bigint: SeenKind.Whole,
  string: SeenKind.Text,
  boolean: SeenKind.Boolean,
  object: SeenKind.Nested,
};
const TYPES: ReadonlyMap<number, ColumnType> = new Map([
  [SeenKind.Whole, 'integer'],
  [SeenKind.Float, 'float'],
  [SeenKind.Whole | SeenKind.Float, 'float'],
  [SeenKind.Text, 'text'],
  [SeenKind.Boolean, 'boolean'],
  [SeenKind.Nested, 'json'],
]);
const NATIVE: Readonly<Partial<Record<ColumnType, string>>> = {
  integer: 'bigint',
  float: 'double precision',
  decimal: 'numeric',
  text: 'text',
  boolean: 'boolean',
  json: 'jsonb',
  timestamp: 'timestamp with time zone',
  date: 'date',
};

/** Spellings that say nothing about zones mean PostgreSQL's: `timestamp` has none. */
const SHORT: Readonly<Record<string, string>> = { timestamp: 'timestamp without time zone', timestamptz: 'timestamp with time zone' };

export function fileColumn(name: string, declared: string | null, seen: ColumnType | null): Column {
  const type = declared === null ? (seen ?? 'text') : (kindOf(declared) ?? 'other');
  const native = declared === null ? (NATIVE[type] ?? '') : (SHORT[declared] ?? declared);
  return { name, type, native, nullable: true };
}

/** A value of JSON as a cell of the column. What is no value of its type stays as it is: rules then cannot read it. */
export function cellOf(value: unknown, { type, native }: Column): Value {
  if (value === null || value === undefined) return null;
  switch (type) {
    case 'integer':
      return typeof value === 'string' && /^-?\d+$/.test(value) ? wholeNumber(value) : (value as Value);
    case 'float':
      return typeof value === 'bigint' || (typeof value === 'string' && value.trim() !== '') ? Number(value) : (value as Value);
    case 'decimal': {
      const decimal = typeof value === 'number' || typeof value === 'bigint' ? decimalOf(value) : null;
      return decimal === null ? (value as Value) : decimalText(decimal);
    }
    case 'timestamp':
    case 'date':
      return typeof value === 'string' ? timeText(value, type, native) : (value as Value);
    case 'json':
      return typeof value === 'string' && native === '' ? value : nestedText(value);
    case 'text':
    case 'boolean':
    case 'time':
      return value as Value;
    case 'bytes':
      return typeof value === 'string' && /^\\x(?:[\da-f]{2})*$/i.test(value) ? Buffer.from(value.slice(2), 'hex') : (value as Value);
    case 'other':
      return typeof value === 'object' ? nestedText(value) : (value as Value);
  }
}

/** The row that rules look at: the values of the file's row in turn. */
export class FileRow implements Row {
  readonly encoded = null;
  readonly #columns: readonly Column[];
  values: readonly unknown[] = [];

  constructor(columns: readonly Column[]) {
    this.#columns = columns;
  }

  value(at: number): Value {
    const column = this.#columns[at];
    return column === undefined ? null : cellOf(this.values[at], column);
  }
}

/** Node has it; the library that types it comes later. */
const { rawJSON } = JSON as unknown as { rawJSON: (this: void, text: string) => unknown };

/** Lists and objects as JSON, in which integers keep every digit. */
export function nestedText(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? rawJSON(String(item)) : item));
}

function timeText(text: string, type: ColumnType, native: string): string {
  const micros = microsOf(text);
  if (micros === null) return text;
  const shown = timestampText(micros);
  if (type === 'date') return shown.replace(/ \d\d:\S+/, '');
  return native.includes('without') ? shown.replace('+00', '') : shown;
}
