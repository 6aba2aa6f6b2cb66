/** Types of expressions as messages name them. */
import type { ExpressionType } from '../expression.ts';

const TYPE_WORDS: Readonly<Record<ExpressionType, string>> = {
  bool: 'a condition',
  int: 'a whole number',
  double: 'a float',
  decimal: 'a decimal',
  string: 'a text',
  timestamp: 'a timestamp',
  duration: 'a duration',
  bytes: 'bytes',
  null: 'null',
  list: 'a list',
};

export function words(type: ExpressionType): string {
  return TYPE_WORDS[type];
}
