/** A table of which no row was read yet, as the target follows it: so that a delete that brings its key alone is no change of the table's columns. */
import type { Column } from '../../core/event.ts';
import type { Shape } from '../../core/shape.ts';
import type { ConnectSchema } from './connect-schema.ts';
import { type ConnectColumn, columnOf } from './connect-types.ts';
import { declaredColumn } from './declared.ts';

/** Whoever has the record has to ask for the table first. */
export class NeedsShape extends Error {
  override readonly name = 'NeedsShape';
}

export interface FollowedColumns {
  readonly columns: readonly Column[];
  readonly key: readonly number[];
  readonly decode: readonly ConnectColumn['decode'][];
}

/** Null where the key's fields are not those that the target knows the table's rows by. */
export function followedColumns(followed: Shape, fields: readonly ConnectSchema[]): FollowedColumns | null {
  const names = fields.map(({ field = '' }) => field);
  if (names.length === 0 || names.toSorted().join('\0') !== followed.key.toSorted().join('\0')) return null;
  const keys = new Map(fields.map((field) => [field.field ?? '', columnOf(field, '')]));
  return {
    columns: followed.columns.map(({ name, native }) => ({
      name,
      native,
      type: keys.get(name)?.type ?? typeOf(native),
      nullable: !keys.has(name),
    })),
    key: names.map((one) => followed.columns.findIndex(({ name }) => name === one)),
    decode: followed.columns.map(({ name }) => keys.get(name)?.decode ?? none),
  };
}

/** A delete has no other cells. */
const none = (): null => null;

function typeOf(native: string): Column['type'] {
  const declared = declaredColumn(native);
  return declared === null ? 'text' : columnOf(declared, '').type;
}
