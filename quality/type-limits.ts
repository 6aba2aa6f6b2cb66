/** What a column's own type rules out already: values that no cell can have, and bounds that none can break. */
import { codePoints } from '../core/expression/calls.ts';
import { compareDecimalTexts, scaleOf } from '../core/expression/decimal.ts';
import type { Column } from '../core/event.ts';
import { nativeType } from './schema/types.ts';

export interface Limits {
  readonly min: string;
  readonly max: string;
  /** The type has values beside its numbers (NaN), so that a check of all numbers can still fail. */
  readonly hasMore: boolean;
}

const INTEGERS: Readonly<Record<string, readonly [string, string]>> = {
  smallint: ['-32768', '32767'],
  integer: ['-2147483648', '2147483647'],
  bigint: ['-9223372036854775808', '9223372036854775807'],
  oid: ['0', '4294967295'],
};

/** The least and the greatest number that the column can hold; null where its type names none. */
export function limitsOf({ type, native }: Column): Limits | null {
  const { base, modifiers, suffix } = nativeType(native);
  if (suffix !== '') return null;
  if (type === 'integer' && Object.hasOwn(INTEGERS, base)) {
    const [min = '', max = ''] = INTEGERS[base] ?? [];
    return { min, max, hasMore: false };
  }
  const [precision, scale = 0] = modifiers;
  if (type !== 'decimal' || base !== 'numeric' || precision === undefined || scale < 0 || scale > precision) return null;
  const digits = '9'.repeat(precision);
  const max = scale === 0 ? digits : `${digits.slice(0, precision - scale) || '0'}.${digits.slice(precision - scale)}`;
  return { min: `-${max}`, max, hasMore: true };
}

/** Whether a number, as a plain decimal text without zeros at its end, is one that the column can hold. */
export function holdsNumber(column: Column, text: string): boolean {
  const limits = limitsOf(column);
  if (limits === null) return true;
  return scaleOf(text) <= scaleOf(limits.max) && compareDecimalTexts(text, limits.min) >= 0 && compareDecimalTexts(text, limits.max) <= 0;
}

/** The most characters that a text of the column can have: varchar(n), char(n). */
export function lengthMax({ type, native }: Column): number {
  const { base, modifiers, suffix } = nativeType(native);
  return type === 'text' && suffix === '' && (base === 'character varying' || base === 'character') ? (modifiers[0] ?? Infinity) : Infinity;
}

export function holdsText(column: Column, text: string): boolean {
  return codePoints(text) <= lengthMax(column);
}
