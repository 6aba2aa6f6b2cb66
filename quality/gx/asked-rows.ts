/** The rows that an expectation is about, as its kwargs say it. */
import { type Condition, readCondition } from './condition-syntax.ts';
import { type Kwargs, refuse } from './kwargs.ts';

const PARSERS = ['pandas', 'great_expectations', 'great_expectations__experimental__'];

export interface AskedRows {
  readonly condition: Condition;
  /** Whether a null is unequal to a value: as pandas has it, and SQL has not. */
  readonly nullsDiffer: boolean;
}

/** Null where it is about all of them: an empty text is no condition. */
export function askedRows(kwargs: Kwargs): AskedRows | null {
  const [condition, parser] = [kwargs.get('row_condition'), kwargs.get('condition_parser')];
  if (parser !== null && !PARSERS.some((name) => name === parser))
    return refuse('condition_parser', `is not a valid enumeration member: ${PARSERS.slice(0, 2).join(', ')}`, 'Write pandas.');
  if (condition === null || condition === '') return null;
  if (typeof condition !== 'string') return refuse('row_condition', 'is no text', 'Write a comparison, such as x > 5.');
  if (parser === null) return refuse('condition_parser', 'is missing', 'Write pandas or great_expectations beside row_condition.');
  return { condition: readCondition(condition, kwargs.nowMs), nullsDiffer: parser === 'pandas' };
}
