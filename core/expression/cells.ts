/** How an expression reads the cells of columns. */
import { type ColumnType, UNCHANGED, type Value } from '../event.ts';
import type { ExpressionType } from '../expression.ts';
import { unpadded } from './columns.ts';
import type { Evaluate } from './compile.ts';
import { ExpressionError, type Operand } from './values.ts';

/** What a column's cells are in an expression. */
export const COLUMN_TYPES: Readonly<Record<ColumnType, ExpressionType>> = {
  boolean: 'bool',
  integer: 'int',
  float: 'double',
  decimal: 'decimal',
  text: 'string',
  json: 'string',
  time: 'string',
  timestamp: 'timestamp',
  date: 'timestamp',
  bytes: 'bytes',
  other: 'string',
};

/** Nulls are values; what the source did not send is unknown. A cell of another kind than its column's type cannot be read. */
export function cellReader(type: ExpressionType, padded: boolean, column: number, image: 'after' | 'before'): Evaluate {
  const read = guard(type, padded);
  if (image === 'after') return (event) => (event.after === null ? null : read(event.after.value(column)));
  return (event) => {
    if (event.before !== null) return read(event.before.value(column));
    // An update or delete whose source sends no old row (REPLICA IDENTITY DEFAULT): not null, but unknown.
    return event.op === 'update' || event.op === 'delete' ? undefined : null;
  };
}

function guard(type: ExpressionType, padded: boolean): (value: Value) => Operand {
  if (padded) return (value) => (typeof value === 'string' ? unpadded(value) : absent(value));
  switch (type) {
    case 'int':
      return (value) => (typeof value === 'number' || typeof value === 'bigint' ? value : absent(value));
    case 'double':
      return (value) => (typeof value === 'number' ? value : absent(value));
    case 'bool':
      return (value) => (typeof value === 'boolean' ? value : absent(value));
    case 'bytes':
      return (value) => (value instanceof Uint8Array ? value : absent(value));
    default:
      return (value) => (typeof value === 'string' ? value : absent(value));
  }
}

function absent(value: Value): null | undefined {
  if (value === null) return null;
  if (value === UNCHANGED) return undefined;
  throw new ExpressionError('a cell is not of its column’s type');
}
