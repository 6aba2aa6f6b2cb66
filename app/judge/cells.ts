/** `--types`: what the columns of a file are, by PostgreSQL's names, and how the values of the file become cells. */
import { wholeNumber } from '../../core/whole-numbers.ts';
import { decimalOf } from '../../core/expression/decimal.ts';
import { microsOf } from '../../core/expression/timestamp.ts';
import { nestedText } from '../../quality/file-columns.ts';
import { kindOf } from '../../quality/schema/drift.ts';
import type { MakeCell } from '../../quality/rest-of-row.ts';
import { type FileCell, Moment } from '../../quality/states/cell.ts';
import { UsageError } from '../cli/arguments.ts';

/** Column by column in table order; null: the value in the file says it. */
export type Types = ReadonlyMap<string, string | null>;

export function readTypes(value: unknown, file: string): Types {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`${file} is no object of columns with their types`, 'Write {"created_at": "timestamptz", "total": null}.');
  for (const [column, type] of Object.entries(value)) {
    if (type === null) continue;
    if (typeof type !== 'string' || kindOf(type) === null)
      throw new UsageError(
        `${file}: ${column}: ${String(type)} is no type that is known`,
        'Write a type of PostgreSQL such as timestamptz, or null.',
      );
  }
  return new Map(Object.entries(value as Readonly<Record<string, string | null>>));
}

/** How values of a column become cells. What is no value of its type stays what it is in the file, and expectations say so. */
export function cellMaker(type: string | null): MakeCell {
  switch (type === null ? null : kindOf(type)) {
    case 'timestamp':
    case 'date':
      return (value) => (typeof value === 'string' ? momentOf(value) : asItIs(value));
    case 'decimal':
      return (value) => (typeof value === 'string' ? (decimalOf(value.trim()) ?? value) : asItIs(value));
    case 'integer':
      return (value) => (typeof value === 'string' && /^-?\d+$/.test(value) ? wholeNumber(value) : asItIs(value));
    case 'float':
      return (value) => (typeof value === 'string' && value.trim() !== '' && isNumber(value) ? Number(value) : asItIs(value));
    case 'json':
      return (value) => (typeof value === 'object' && value !== null ? nestedText(value) : asItIs(value));
    case 'text':
    case 'boolean':
    case 'time':
    case 'bytes':
    case 'other':
    case null:
      return asItIs;
  }
}

function asItIs(value: unknown): FileCell {
  return (value ?? null) as FileCell; // JSON holds nothing else.
}

function momentOf(text: string): FileCell {
  const micros = microsOf(text);
  return micros === null ? text : new Moment(micros, text);
}

function isNumber(text: string): boolean {
  return text === 'NaN' || !Number.isNaN(Number(text));
}
