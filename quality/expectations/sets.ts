/** in_set and not_in_set: typed equality with the column, so that 1 and 1.0 are one decimal, and '1' is no number. */
import { hasTextOrder, isCaseless, isPadded, unpadded } from '../../core/expression/columns.ts';
import { decimalText, isDecimal, parseDecimal } from '../../core/expression/decimal.ts';
import { FOREVER, microsOf, timeOfDay } from '../../core/expression/timestamp.ts';
import type { Column } from '../../core/event.ts';
import type { EncodedCells } from '../encoded/cells.ts';
import { booleanIs, momentsIn, numbersIn, textIn, timesIn, uuidIn } from '../encoded/tests.ts';
import { type Bound, type Cell, cellTests, columnOf, defineExpectation, type Site, typeOf } from '../expectation.ts';
import { FORMATS } from '../formats.ts';
import { Unreadable } from '../literals.ts';
import { holdsNumber, holdsText, lengthMax, limitsOf } from '../type-limits.ts';

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
  const set = new Set<Member>();
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
  return {
    ...cellTests(site, (cell) => set.has(of(cell)) === inside, encodedIn(column, [...set], inside)),
    columns: [column.index],
    reason: inside ? `is not in the set of ${set.size} allowed values` : `is in the set of ${set.size} forbidden values`,
  };
}

function encodedIn(column: Column, members: readonly Member[], inside: boolean): EncodedCells | undefined {
  const texts = members.filter((member) => typeof member === 'string');
  switch (column.type) {
    case 'boolean':
      return booleanIs(members.includes(true) === inside);
    case 'integer':
    case 'decimal':
      return members.some((member) => !isDecimal(String(member))) ? undefined : numbersIn(members.map(String), inside);
    case 'timestamp':
    case 'date':
      return momentsIn(
        members.filter((member) => typeof member === 'bigint'),
        inside,
      );
    case 'time':
      return hasTextOrder(column) ? timesIn(texts, inside) : undefined;
    case 'text':
      if (isCaseless(column)) return undefined;
      return column.native === 'uuid' ? uuidIn(texts, inside) : textIn(texts, inside);
    default:
      return undefined;
  }
}

/** Equal values of a column are the same JavaScript value. */
export type Member = string | number | bigint | boolean;

export interface Canonical {
  /** A value of the rule file, or null where the column has no such value. */
  readonly member: (value: string | number | boolean) => Member | null;
  readonly cell: (cell: Cell) => Member;
  readonly fix: string;
}

/** Values of a column so that equal ones are the same JavaScript value. */
export function canonicalizer(column: Column): Canonical | null {
  switch (column.type) {
    case 'boolean':
      return { member: (value) => (typeof value === 'boolean' ? value : null), cell: booleanOf, fix: 'Write true or false.' };
    case 'integer':
      return { member: (value) => within(column, wholeNumber(value)), cell: numberOf, fix: `Write a whole number${rangeOf(column)}.` };
    case 'float':
      return { member: (value) => (typeof value === 'number' ? value : null), cell: numberOf, fix: 'Write a number.' };
    case 'decimal':
      return {
        member: (value) => (typeof value === 'boolean' ? null : within(column, normalDecimal(String(value).trim()))),
        cell: decimalOf,
        fix: `Write a number${rangeOf(column)}.`,
      };
    case 'timestamp':
      return {
        member: (value) => (typeof value === 'string' ? microsOf(value) : null),
        cell: microsOfCell,
        fix: "Write it as '2026-11-24' or '2026-11-24T13:45:00Z'.",
      };
    case 'date': {
      // A moment within a day is no date.
      const isDay = (micros: bigint) => micros % 86_400_000_000n === 0n || micros === FOREVER || micros === -FOREVER;
      const member = (value: string | number | boolean) => {
        const micros = typeof value === 'string' ? microsOf(value) : null;
        return micros !== null && isDay(micros) ? micros : null;
      };
      return { member, cell: microsOfCell, fix: "Write it as '2026-11-24'." };
    }
    case 'time':
      if (!hasTextOrder(column)) return { member: textMember, cell: textOf, fix: 'Put it in quotes.' };
      return {
        member: (value) => (typeof value === 'string' ? timeOfDay(value) : null),
        cell: textOf,
        fix: "Write it as '17:00' or '17:00:00.5'.",
      };
    case 'text':
      return ofTexts(column);
    case 'other':
      return { member: textMember, cell: textOf, fix: 'Put it in quotes.' };
    case 'json':
    case 'bytes':
      return null;
  }
}

function ofTexts(column: Column): Canonical {
  if (column.native === 'uuid') {
    const member = (value: unknown) => (typeof value === 'string' && FORMATS.uuid(value) ? value.toLowerCase() : null);
    return { member, cell: textOf, fix: 'Write it as a uuid, in quotes.' };
  }
  const longest = lengthMax(column);
  const fix = longest === Infinity ? 'Put it in quotes.' : `Put it in quotes, in at most ${longest} characters.`;
  const padded = isPadded(column);
  const member = (value: string | number | boolean) => {
    const text = typeof value !== 'string' ? null : padded ? unpadded(value) : value;
    return text !== null && holdsText(column, text) ? text : null;
  };
  if (!isCaseless(column)) return { member, cell: textOf, fix };
  return { member: (value) => member(value)?.toLowerCase() ?? null, cell: (cell) => textOf(cell).toLowerCase(), fix };
}

function textMember(value: string | number | boolean): string | null {
  return typeof value === 'string' ? value : null;
}

/** Null for a number that no cell of the column can be. */
function within<T extends string | number | bigint>(column: Column, value: T | null): T | null {
  return value !== null && holdsNumber(column, String(value)) ? value : null;
}

function rangeOf(column: Column): string {
  const limits = limitsOf(column);
  return limits === null ? '' : ` that ${column.native} holds`;
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
