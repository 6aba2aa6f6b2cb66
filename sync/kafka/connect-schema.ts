/** Schemas and values as Kafka Connect's converters are given them. */
import type { UNCHANGED, Value } from '../../core/event.ts';

export interface ConnectSchema {
  readonly type: 'int16' | 'int32' | 'int64' | 'float' | 'double' | 'boolean' | 'string' | 'bytes' | 'struct' | 'array';
  readonly optional: boolean;
  /** The logical type, or the name of a struct. */
  readonly name?: string;
  readonly version?: number;
  readonly parameters?: Readonly<Record<string, string>>;
  readonly doc?: string;
  /** Of the column, as its encoding has it. */
  readonly default?: ConnectValue;
  readonly fields?: readonly (ConnectSchema & { readonly field: string })[];
  /** Of an array. */
  readonly items?: ConnectSchema;
}

/** Whole numbers are numbers or bigints, bytes are Buffers. */
export type ConnectValue =
  null | boolean | number | bigint | string | Buffer | readonly ConnectValue[] | { readonly [field: string]: ConnectValue };

/** What a column's encoding is given: nulls, and what the source did not send, are dealt with before. */
export type Cell = Exclude<Value, null | typeof UNCHANGED>;

/** The message says why, without any value. */
export class Unwritable extends Error {
  override readonly name = 'Unwritable';
}
