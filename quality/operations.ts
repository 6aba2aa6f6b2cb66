/** Operations as rule files name them. */
import type { Operation } from '../core/event.ts';

const SHORT_OPERATIONS: ReadonlyMap<string, Operation> = new Map([
  ['c', 'insert'],
  ['u', 'update'],
  ['d', 'delete'],
  ['r', 'read'],
  ['t', 'truncate'],
]);
export const DEFAULT_OPERATIONS: readonly Operation[] = ['insert', 'update', 'read'];

/** Operations by their names, or by the letters that Debezium gives them. */
export function operations(names: readonly string[]): readonly Operation[] {
  return names.map((name) => SHORT_OPERATIONS.get(name) ?? (name as Operation));
}
