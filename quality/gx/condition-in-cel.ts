/**
 * Row conditions as expressions over a change, for a live stream. Conditions of suites are true or false of every row: what CEL would leave
 * unknown beside a null is said here. A cell that was not sent stays unknown.
 */
import { timestampText } from '../../core/expression/timestamp.ts';
import { Unusable } from '../states/cell.ts';
import { type Condition, namesIn, type Operand } from './condition-syntax.ts';

/** The text of an expression that is true of the same rows. `nullsDiffer`: whether a null is unequal to a value. */
export function conditionInCel(condition: Condition, nullsDiffer: boolean): string {
  switch (condition.kind) {
    case 'either':
      return `(${conditionInCel(condition.left, nullsDiffer)} || ${conditionInCel(condition.right, nullsDiffer)})`;
    case 'both':
      return `(${conditionInCel(condition.left, nullsDiffer)} && ${conditionInCel(condition.right, nullsDiffer)})`;
    case 'not':
      return `!${bracketed(conditionInCel(condition.of, nullsDiffer))}`;
    case 'compare':
      return compared(condition, nullsDiffer);
    case 'among':
      return among(condition, nullsDiffer);
    case 'null': {
      const [...names] = namesIn([condition.value]);
      return names.length === 0 ? String(isNull(condition.value)) : `(${names.map((name) => `${column(name)} == null`).join(' || ')})`;
    }
    case 'holds':
      return `(${known([condition.value])}${operandInCel(condition.value)} == true)`;
  }
}

function compared({ left, operator, right }: Extract<Condition, { kind: 'compare' }>, nullsDiffer: boolean): string {
  const differs = operator === '!=';
  if (isNull(left) || isNull(right)) return String(differs && nullsDiffer);
  const [a, b] = [operandInCel(left), operandInCel(right)];
  if (!differs) return `(${known([left, right])}${a} ${operator} ${b})`;
  return nullsDiffer ? `!(${known([left, right])}${a} == ${b})` : `(${known([left, right])}${a} != ${b})`;
}

/** A null is among no values. */
function among({ value, members, isNegated }: Extract<Condition, { kind: 'among' }>, nullsDiffer: boolean): string {
  const written = members.filter((member) => !isNull(member));
  const list = `[${written.map(operandInCel).join(', ')}]`;
  // Members that are columns may have no value themselves.
  const found = written.every(({ kind }) => kind === 'literal' || kind === 'date')
    ? `(${known([value])}${operandInCel(value)} in ${list})`
    : `(${written.map((right) => compared({ kind: 'compare', left: value, operator: '==', right }, nullsDiffer)).join(' || ')})`;
  if (!isNegated) return found;
  return nullsDiffer ? `!${found}` : `(${known([value])}!${found})`;
}

/** Whatever is beside a null is not so. */
function known(operands: readonly Operand[]): string {
  return [...namesIn(operands)].map((name) => `${column(name)} != null && `).join('');
}

const isNull = (operand: Operand): boolean => operand.kind === 'literal' && operand.value === null;

function operandInCel(operand: Operand): string {
  switch (operand.kind) {
    case 'column':
      return column(operand.name);
    case 'date':
      return `timestamp(${quoted(timestampText(BigInt(operand.value.micros)))})`;
    case 'minus':
      return `-${operandInCel(operand.of)}`;
    case 'literal':
      return literalInCel(operand.value);
  }
}

function literalInCel(value: unknown): string {
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'boolean' || typeof value === 'bigint' || Number.isFinite(value)) return String(value);
  throw new Unusable('the row_condition has a value that no column of a table has. Write a number, a text, true or false.');
}

const WORD = /^[A-Za-z_]\w*$/;

const column = (name: string): string => (WORD.test(name) ? `after.${name}` : `after[${quoted(name)}]`);

const quoted = (text: string): string => JSON.stringify(text);

const bracketed = (text: string): string => (text.startsWith('(') ? text : `(${text})`);
