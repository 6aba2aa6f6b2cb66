/** type: a column keeps its type while its table changes; the texts of a text column read as one. */
import { isDecimal } from '../../core/expression/decimal.ts';
import { microsOf } from '../../core/expression/timestamp.ts';
import type { ColumnType } from '../../core/event.ts';
import { anyValue } from '../encoded/tests.ts';
import { cellTests, columnOf, defineExpectation, type Site, textTests, typeOf } from '../expectation.ts';

const names = ['boolean', 'integer', 'float', 'decimal', 'text', 'timestamp', 'date', 'time', 'json', 'bytes'] as const;
type TypeName = (typeof names)[number];

export const type = defineExpectation({
  name: 'type',
  schema: {
    title: 'Type',
    description: 'The column is of this type, or one of these. In a text column: every value reads as one.',
    anyOf: [{ enum: names }, { type: 'array', minItems: 1, items: { enum: names } }],
  },
  bind: (parameters, site) => {
    const wanted: readonly TypeName[] = typeof parameters === 'string' ? [parameters] : parameters;
    const column = columnOf(site);
    const reason = `is no ${wanted.join(' or ')}`;
    const columns = [column.index];
    if (wanted.some((name) => fits(column.type, name))) return { ...cellTests(site, holdsType(column.type), anyValue), reason, columns };
    if (column.type !== 'text' && column.type !== 'json') return alwaysWrong(site, wanted);
    const readers = wanted.map((name) => READS[name]);
    if (readers.every((reader) => reader === null)) return alwaysWrong(site, wanted);
    if (wanted.includes('text') || (column.type === 'json' && wanted.includes('json')))
      return site.refuse(`every value of ${column.name} is that, so it can never fail`, 'Name other types, or remove the check.');
    return { ...textTests(site, (text) => readers.some((reads) => reads?.(text) === true)), reason, columns };
  },
});

function alwaysWrong(site: Site, wanted: readonly TypeName[]): null {
  const column = columnOf(site);
  return site.refuse(
    `${column.name} is ${typeOf(column)}, so it is never ${wanted.join(' or ')}`,
    `Write type: ${column.type}, or remove the check.`,
  );
}

/** Every whole number is a decimal and a float too. */
function fits(actual: ColumnType, wanted: TypeName): boolean {
  return actual === wanted || (actual === 'integer' && (wanted === 'decimal' || wanted === 'float'));
}

/** The values of a typed column are of its type, but for what a source in another encoding may bring. */
export function holdsType(actual: ColumnType): (cell: unknown) => boolean {
  switch (actual) {
    case 'boolean':
      return (cell) => typeof cell === 'boolean';
    case 'integer':
      return (cell) => typeof cell === 'bigint' || Number.isSafeInteger(cell);
    case 'float':
      return (cell) => typeof cell === 'number';
    case 'bytes':
      return (cell) => cell instanceof Uint8Array;
    case 'decimal':
    case 'text':
    case 'timestamp':
    case 'date':
    case 'time':
    case 'json':
    case 'other':
      return (cell) => typeof cell === 'string';
  }
}

const READS: Readonly<Record<TypeName, ((text: string) => boolean) | null>> = {
  boolean: (text) => /^(?:true|false|t|f)$/i.test(text),
  integer: (text) => /^[+-]?\d+$/.test(text),
  decimal: isDecimal,
  float: (text) => isDecimal(text) || /^(?:NaN|[+-]?Infinity)$/.test(text),
  timestamp: (text) => microsOf(text) !== null,
  date: (text) => /^-?\d{4,7}-\d\d-\d\d$/.test(text) && microsOf(text) !== null,
  time: (text) => /^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?$/.test(text),
  json: (text) => {
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  },
  text: () => true,
  bytes: null,
};
