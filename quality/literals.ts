/** Values written in rule files, made comparable with the cells of a column: exactly, or refused. */
import { compareDecimalTexts, decimalText, parseDecimal, wholeOf } from '../core/expression/decimal.ts';
import { hasTextOrder, isCaseless } from '../core/expression/columns.ts';
import { compareTimestampTexts, microsOf, timeOfDay, timestampText } from '../core/expression/timestamp.ts';
import type { Column } from '../core/event.ts';
import { type Cell, type Site, typeOf } from './expectation.ts';

/** -1, 0, 1 as the cell is less than, equal to or greater than the value in the rule. Throws for a cell that is no value of its type. */
export type CompareCell = (cell: Cell) => number;

export interface Ordered {
  /** Canonical text of the rule's value, to compare two bounds with each other and to be shown. */
  readonly text: string;
  readonly compare: CompareCell;
}

/** A cell that is not of its column's type, or has no place in its order. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable';
}

/** A value of the rule file as something that cells of this column have an order with; null and a problem where they have none. */
export function ordered(value: number | string, column: Column, site: Site, ...at: readonly (string | number)[]): Ordered | null {
  switch (column.type) {
    case 'integer':
    case 'decimal':
    case 'float': {
      const decimal = parseDecimal(String(value).trim());
      if (decimal === null)
        return site.refuse(`"${value}" is no number, and ${column.name} is ${typeOf(column)}`, 'Write a number.', ...at);
      const text = decimalText(decimal);
      return { text, compare: numberComparison(column.type, text) };
    }
    case 'timestamp':
    case 'date': {
      const micros = typeof value === 'string' ? microsOf(value) : null;
      if (micros === null) {
        return site.refuse(
          `${value} is no ${column.type}, and ${column.name} is ${typeOf(column)}`,
          "Write it as '2026-11-24' or '2026-11-24T13:45:00Z'.",
          ...at,
        );
      }
      const text = timestampText(micros);
      // Written as the column's cells are, so that texts are compared.
      const alike =
        column.type === 'date' ? text.replace(/ 00:00:00\+00$/, '') : /without/.test(column.native) ? text.replace(/\+00$/, '') : text;
      return { text, compare: (cell) => compareTimestampTexts(textOf(cell), alike) };
    }
    case 'time': {
      if (!hasTextOrder(column))
        return site.refuse(
          `${column.name} is ${typeOf(column)}, whose texts are in no order`,
          'Use in_set, or a column without a zone.',
          ...at,
        );
      const text = typeof value === 'string' ? timeOfDay(value) : null;
      if (text === null)
        return site.refuse(
          `${value} is no time of day, and ${column.name} is ${typeOf(column)}`,
          "Write it as '17:00' or '17:00:00.5'.",
          ...at,
        );
      return { text, compare: (cell) => compareText(textOf(cell), text) };
    }
    case 'text': {
      if (typeof value === 'number') {
        return site.refuse(
          `${value} is a number, and ${column.name} is ${typeOf(column)}`,
          `Put it in quotes to compare as text, or use an expr with decimal(after.${column.name}).`,
          ...at,
        );
      }
      if (!isCaseless(column)) return { text: value, compare: (cell) => compareText(textOf(cell), value) };
      const text = value.toLowerCase();
      return { text, compare: (cell) => compareText(textOf(cell).toLowerCase(), text) };
    }
    case 'boolean':
    case 'json':
    case 'bytes':
    case 'other':
      return site.refuse(`${column.name} is ${typeOf(column)}, which has no order`, 'Use in_set, or an expr.', ...at);
  }
}

/** Orders two values of the rule that are meant for one column. */
export function compareOrdered(a: Ordered, b: Ordered, column: Column): number {
  if (column.type === 'timestamp' || column.type === 'date') return compareTimestampTexts(a.text, b.text);
  if (column.type === 'text' || column.type === 'time') return compareText(a.text, b.text);
  return compareDecimalTexts(a.text, b.text);
}

function numberComparison(type: 'integer' | 'decimal' | 'float', text: string): CompareCell {
  return type === 'decimal' ? decimalComparison(text) : type === 'integer' ? wholeComparison(text) : doubleComparison(text);
}

/** Cells of integer columns against a decimal, which may lie between two of them and beyond what a double holds. */
function wholeComparison(text: string): CompareCell {
  const { floor, exact } = wholeOf(text);
  const whenFloor = exact ? 0 : -1;
  const near = Number(floor);
  const isSafe = Number.isSafeInteger(near);
  return (cell) => {
    if (typeof cell === 'number' && isSafe) {
      if (Number.isNaN(cell)) throw new Unreadable('NaN has no order');
      return cell < near ? -1 : cell > near ? 1 : whenFloor;
    }
    if (typeof cell !== 'number' && typeof cell !== 'bigint') throw new Unreadable('not a number');
    if (typeof cell === 'number' && Number.isNaN(cell)) throw new Unreadable('NaN has no order');
    // A number beside a bigint is compared by its exact value.
    return cell < floor ? -1 : cell > floor ? 1 : whenFloor;
  };
}

/** Doubles are compared as doubles: a bound of 0.1 is the double nearest to it, as everywhere else that floats are used. */
function doubleComparison(text: string): CompareCell {
  const near = Number(text);
  return (cell) => {
    if (typeof cell !== 'number') throw new Unreadable('not a number');
    if (Number.isNaN(cell)) throw new Unreadable('NaN has no order');
    return cell < near ? -1 : cell > near ? 1 : 0;
  };
}

/** Up to 15 significant digits a double tells decimals apart and keeps their order, so most cells need no digit by digit comparison. */
const EXACT_LENGTH = 15;

function decimalComparison(text: string): CompareCell {
  const near = text.length <= EXACT_LENGTH ? Number(text) : null;
  return (cell) => {
    if (typeof cell !== 'string') throw new Unreadable('not a decimal');
    if (near !== null && cell.length <= EXACT_LENGTH) {
      const value = Number(cell);
      if (Number.isNaN(value) || cell.length === 0) throw new Unreadable('NaN has no order');
      return value < near ? -1 : value > near ? 1 : 0;
    }
    return compareDecimalTexts(cell, text);
  };
}

function textOf(cell: Cell): string {
  if (typeof cell !== 'string') throw new Unreadable('not a text');
  return cell;
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : a < b ? -1 : 1;
}
