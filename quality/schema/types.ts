/** Names of types, as sources and rule files write them, and which type holds more than which. */
import type { ColumnType } from '../../core/event.ts';

export const COLUMN_TYPES = [
  'boolean',
  'integer',
  'float',
  'decimal',
  'text',
  'timestamp',
  'date',
  'time',
  'json',
  'bytes',
  'other',
] as const satisfies readonly ColumnType[];
const KINDS: ReadonlySet<string> = new Set(COLUMN_TYPES);

const ALIASES: Readonly<Record<string, string>> = {
  int2: 'smallint',
  smallserial: 'smallint',
  int: 'integer',
  int4: 'integer',
  serial: 'integer',
  int8: 'bigint',
  bigserial: 'bigint',
  float4: 'real',
  float8: 'double precision',
  double: 'double precision',
  decimal: 'numeric',
  bool: 'boolean',
  varchar: 'character varying',
  char: 'character',
  bpchar: 'character',
  timestamptz: 'timestamp with time zone',
  timestamp: 'timestamp without time zone',
  timetz: 'time with time zone',
  time: 'time without time zone',
  varbit: 'bit varying',
};

interface NativeType {
  readonly base: string;
  readonly modifiers: readonly number[];
  readonly suffix: string;
}

/** `varchar(20)[]` as base "character varying", modifiers [20], suffix "[]": synonyms of PostgreSQL become one. */
export function nativeType(name: string): NativeType {
  const text = name.trim().toLowerCase().replaceAll(/\s+/g, ' ');
  const match = /^([^([]*?) ?(?:\(([\d, -]*)\))?( with(?:out)? time zone)?((?:\[\d*\])*)$/.exec(text);
  if (match === null) return { base: text, modifiers: [], suffix: '' };
  const [, word = '', numbers = '', zone = '', suffix = ''] = match;
  const base = zone !== '' ? word + zone : Object.hasOwn(ALIASES, word) ? (ALIASES[word] ?? word) : word;
  const modifiers = numbers === '' ? [] : numbers.split(',').map(Number);
  return { base, modifiers, suffix };
}

/** Whether a rule file names a kind of type ("integer") rather than a source's own type ("int8"). */
export function isKind(name: string): name is ColumnType {
  return KINDS.has(name);
}

export type Relation = 'same' | 'widen' | 'narrow' | 'retype';

/** What has become of a type that was expected to be `from` and is `to`. */
export function compareNative(from: string, to: string): Relation {
  const a = nativeType(from);
  const b = nativeType(to);
  if (a.base === b.base && a.suffix === b.suffix && a.modifiers.join() === b.modifiers.join()) return 'same';
  if (a.suffix !== b.suffix) return 'retype';
  if (holds(b, a)) return 'widen';
  return holds(a, b) ? 'narrow' : 'retype';
}

/** The same for kinds of types. */
export function compareKinds(from: ColumnType, to: ColumnType): Relation {
  if (from === to) return 'same';
  const wider: Readonly<Partial<Record<ColumnType, readonly ColumnType[]>>> = {
    integer: ['decimal', 'float'],
    float: ['decimal'],
    date: ['timestamp'],
  };
  if (wider[from]?.includes(to) === true) return 'widen';
  return wider[to]?.includes(from) === true ? 'narrow' : 'retype';
}

const INTEGERS = ['smallint', 'integer', 'bigint'];
const DIGITS: Readonly<Record<string, number>> = { smallint: 5, integer: 10, bigint: 19 };
const TEXTS = ['character', 'character varying', 'text'];

/** Whether every value of `small` is one of `large`. */
function holds(large: NativeType, small: NativeType): boolean {
  const [n = Infinity] = large.modifiers;
  const [m = Infinity] = small.modifiers;
  if (INTEGERS.includes(small.base)) {
    if (INTEGERS.includes(large.base)) return INTEGERS.indexOf(large.base) > INTEGERS.indexOf(small.base);
    if (large.base === 'numeric') return n - (large.modifiers[1] ?? 0) >= (DIGITS[small.base] ?? 0);
    return large.base === 'double precision' ? small.base !== 'bigint' : large.base === 'real' && small.base === 'smallint';
  }
  if (small.base === 'real') return large.base === 'double precision';
  if (small.base === 'numeric' && large.base === 'numeric') {
    if (large.modifiers.length === 0) return true;
    const [p, s] = [n, large.modifiers[1] ?? 0];
    const [q, r] = [m, small.modifiers[1] ?? 0];
    return small.modifiers.length > 0 && s >= r && p - s >= q - r;
  }
  if (TEXTS.includes(small.base) && TEXTS.includes(large.base)) {
    const limit = (type: NativeType, length: number) =>
      type.base === 'text' ? Infinity : type.base === 'character' && length === Infinity ? 1 : length;
    return TEXTS.indexOf(large.base) >= TEXTS.indexOf(small.base) && limit(large, n) >= limit(small, m);
  }
  if (small.base === 'date') return large.base === 'timestamp without time zone';
  // The number of digits of a second.
  if (small.base === large.base && small.base.startsWith('time')) return (large.modifiers[0] ?? 6) >= (small.modifiers[0] ?? 6);
  return false;
}
