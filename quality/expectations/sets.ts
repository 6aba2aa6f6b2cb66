/** in_set and not_in_set: typed equality with the column, so that 1 and 1.0 are one decimal, and '1' is no number. */
import { decimalText, parseDecimal } from '../../core/expression/decimal.ts';
import { microsOf } from '../../core/expression/timestamp.ts';
import type { Column } from '../../core/event.ts';
import { type Bound, type Cell, cellTest, columnOf, defineExpectation, type Site, typeOf } from '../expectation.ts';
import { Unreadable } from '../literals.ts';

const values = { type: 'array', title: 'Values', items: { type: ['string', 'number', 'boolean'] } } as const;

export const inSet = defineExpectation({
  name: 'in_set',
  schema: { ...values, description: 'The value is one of these.' },
  bind: (parameters, site) => bindSet(parameters, site, true),
});

export const notInSet = defineExpectation({
  name: 'not_in_set',
  schema: { ...values, description: 'The value is none of these.' },
  bind: (parameters, site) => bindSet(parameters, site, false),
});

function bindSet(members: readonly (string | number | boolean)[], site: Site, inside: boolean): Bound | null {
  const column = columnOf(site);
  if (members.length === 0) {
    return inside
      ? site.refuse('the set is empty, so it always fails', 'List the values, or use null: true.')
      : site.refuse('the set is empty, so it can never fail', 'List the values, or remove the check.');
  }
  const canonical = canonicalizer(column);
  if (canonical === null)
    return site.refuse(`${column.name} is ${typeOf(column)}, whose values cannot be listed`, 'Use json_schema, or an expr.');
  const set = new Set<string | number | bigint | boolean>();
  let valid = true;
  for (const [index, member] of members.entries()) {
    const value = canonical.member(member);
    if (value === null) {
      site.refuse(`${JSON.stringify(member)} is no value of ${column.name}, which is ${typeOf(column)}`, canonical.fix, index);
      valid = false;
    } else if (set.has(value)) site.warn(`${JSON.stringify(member)} is listed twice`, 'Remove one.', index);
    else set.add(value);
  }
  if (!valid) return null;
  if (column.type === 'boolean' && set.size === 2) {
    return site.refuse(
      `lists both booleans, so it ${inside ? 'can never fail' : 'always fails'}`,
      'Keep one of them, or remove the check.',
    );
  }
  const { cell: of } = canonical;
  const test = cellTest(site, (cell) => set.has(of(cell)) === inside);
  return {
    test,
    columns: [column.index],
    reason: inside ? `is not in the set of ${set.size} allowed values` : `is in the set of ${set.size} forbidden values`,
  };
}

interface Canonical {
  /** A value of the rule file, or null where the column has no such value. */
  readonly member: (value: string | number | boolean) => string | number | bigint | boolean | null;
  readonly cell: (cell: Cell) => string | number | bigint | boolean;
  readonly fix: string;
}

/** Values of a column so that equal ones are the same JavaScript value. */
function canonicalizer(column: Column): Canonical | null {
  switch (column.type) {
    case 'boolean':
      return { member: (value) => (typeof value === 'boolean' ? value : null), cell: booleanOf, fix: 'Write true or false.' };
    case 'integer':
      return { member: wholeNumber, cell: numberOf, fix: 'Write a whole number.' };
    case 'float':
      return { member: (value) => (typeof value === 'number' ? value : null), cell: numberOf, fix: 'Write a number.' };
    case 'decimal':
      return {
        member: (value) => (typeof value === 'boolean' ? null : normalDecimal(String(value).trim())),
        cell: decimalOf,
        fix: 'Write a number.',
      };
    case 'timestamp':
    case 'date':
      return {
        member: (value) => (typeof value === 'string' ? microsOf(value) : null),
        cell: microsOfCell,
        fix: "Write it as '2026-11-24' or '2026-11-24T13:45:00Z'.",
      };
    case 'text':
    case 'time':
    case 'other':
      return { member: (value) => (typeof value === 'string' ? value : null), cell: textOf, fix: 'Put it in quotes.' };
    case 'json':
    case 'bytes':
      return null;
  }
}

function wholeNumber(value: string | number | boolean): number | bigint | null {
  if (typeof value === 'boolean') return null;
  const text = String(value).trim();
  if (!/^[+-]?\d{1,40}$/.test(text)) return null;
  const big = BigInt(text.replace(/^\+/, ''));
  return Number.isSafeInteger(Number(big)) ? Number(big) : big;
}

function booleanOf(cell: Cell): boolean {
  if (typeof cell !== 'boolean') throw new Unreadable('not a boolean');
  return cell;
}

function numberOf(cell: Cell): number | bigint {
  if ((typeof cell !== 'number' && typeof cell !== 'bigint') || Number.isNaN(cell)) throw new Unreadable('not a number');
  return cell;
}

/** The shortest text of a decimal: 12.50 is 12.5, and -0.0 is 0. */
function normalDecimal(text: string): string | null {
  if (/^(?:0|-?[1-9]\d*)(?:\.\d*[1-9])?$/.test(text)) return text;
  const decimal = parseDecimal(text);
  if (decimal === null) return /^[+-]?Infinity$/.test(text) ? text.replace('+', '') : null;
  const plain = decimalText(decimal);
  const short = decimal.scale === 0 ? plain : plain.replace(/\.?0+$/, '');
  return short === '-0' ? '0' : short;
}

function decimalOf(cell: Cell): string {
  const normal = typeof cell === 'string' ? normalDecimal(cell) : null;
  if (normal === null) throw new Unreadable('not a number');
  return normal;
}

function microsOfCell(cell: Cell): bigint {
  const micros = typeof cell === 'string' ? microsOf(cell) : null;
  if (micros === null) throw new Unreadable('not a timestamp');
  return micros;
}

function textOf(cell: Cell): string {
  if (typeof cell !== 'string') throw new Unreadable('not a text');
  return cell;
}
