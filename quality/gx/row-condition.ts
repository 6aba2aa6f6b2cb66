/**
 * Row conditions over the cells of a file. A comparison with a null is false, and with `!=` it is as the engine has it that reads the language:
 * true in pandas, and false in SQL, which `col("x")` is for.
 */
import { Decimal } from '../../core/expression/values.ts';
import { negateDecimal } from '../../core/expression/decimal.ts';
import { compareCells, type FileCell, keyOf, kindOf, Moment, Unusable } from '../states/cell.ts';
import { type Comparison, type Condition, type Operand } from './condition-syntax.ts';
import type { Slots } from './expectation.ts';
import { parseDate } from './dates.ts';

export type RowCondition = (cells: readonly FileCell[]) => boolean;
type Read = (cells: readonly FileCell[]) => FileCell;

/** Of one run: where its columns are, when it began, and whether a null is unequal to a value. */
interface Engine {
  readonly slots: Slots;
  readonly nowMs: number;
  readonly nullsDiffer: boolean;
}

export function compileRowCondition(condition: Condition, engine: Engine): RowCondition {
  switch (condition.kind) {
    case 'either':
    case 'both': {
      const [a, b] = [compileRowCondition(condition.left, engine), compileRowCondition(condition.right, engine)];
      return condition.kind === 'either' ? (cells) => a(cells) || b(cells) : (cells) => a(cells) && b(cells);
    }
    case 'not': {
      const inner = compileRowCondition(condition.of, engine);
      return (cells) => !inner(cells);
    }
    case 'compare':
      return comparing(reading(condition.left, engine), condition.operator, reading(condition.right, engine), engine);
    case 'among':
      return among(condition, engine);
    case 'null': {
      const value = reading(condition.value, engine);
      return (cells) => value(cells) === null;
    }
    case 'holds': {
      const value = reading(condition.value, engine);
      return (cells) => value(cells) === true;
    }
  }
}

function reading(operand: Operand, engine: Engine): Read {
  switch (operand.kind) {
    case 'column': {
      const slot = engine.slots.slotOf(operand.name);
      return (cells) => cells[slot] ?? null;
    }
    case 'literal':
    case 'date': {
      const { value } = operand;
      return () => value;
    }
    case 'minus': {
      const inner = reading(operand.of, engine);
      return (cells) => negated(inner(cells));
    }
  }
}

function negated(cell: FileCell): FileCell {
  if (typeof cell === 'number' || typeof cell === 'bigint') return -cell;
  if (cell instanceof Decimal) return negateDecimal(cell);
  if (cell === null) return null;
  throw new Unusable(`the row_condition has a minus before a ${kindOf(cell)}. Write it before a number.`);
}

/** A null is among no values, and in SQL not among others either. */
function among({ value: of, members, isNegated }: Extract<Condition, { kind: 'among' }>, engine: Engine): RowCondition {
  const value = reading(of, engine);
  const equals = members.map((member) => comparing(value, '==', reading(member, engine), engine));
  if (!isNegated) return (cells) => equals.some((equal) => equal(cells));
  return (cells) => (value(cells) === null ? engine.nullsDiffer : !equals.some((equal) => equal(cells)));
}

function comparing(left: Read, operator: Comparison, right: Read, { nowMs, nullsDiffer }: Engine): RowCondition {
  return (cells) => {
    let [a, b] = [left(cells), right(cells)];
    if (a === null || b === null) return nullsDiffer && operator === '!=';
    if (a instanceof Moment && typeof b === 'string') b = parseDate(b, nowMs) ?? b;
    else if (b instanceof Moment && typeof a === 'string') a = parseDate(a, nowMs) ?? a;
    if (operator === '==' || operator === '!=') return (keyOf(a) === keyOf(b)) === (operator === '==');
    if (kindOf(a) !== kindOf(b))
      throw new Unusable(`the row_condition compares a ${kindOf(a)} with a ${kindOf(b)}. Compare values of one kind.`);
    const order = compareCells(a, b);
    switch (operator) {
      case '<':
        return order < 0;
      case '<=':
        return order <= 0;
      case '>':
        return order > 0;
      case '>=':
        return order >= 0;
    }
  };
}
