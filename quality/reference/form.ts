/** A reference in a file: the shares that a column had, of bins or of values, as `tidegate reference` writes them and rules read them. */
import type { ColumnType } from '../../core/event.ts';

export interface StoredReference {
  readonly apiVersion: 'quality/v1';
  readonly kind: 'Reference';
  readonly dataset: string;
  readonly column: string;
  readonly type: ColumnType;
  /** Of all rows that were read, those without a value with them. */
  readonly rows: number;
  readonly missing: number;
  /** Counts: of numbers in bins with the edges that stand there, and below and above them; */
  readonly bins?: readonly number[];
  readonly tail_weights?: readonly [number, number];
  /** or of values, and of all others. */
  readonly values?: readonly (string | number | boolean)[];
  readonly other_weight?: number;
  readonly weights: readonly number[];
}

export const PARTS_MAX = 1000;

/** Kinds of columns whose values are compared with each other. */
export type Comparable = 'numbers' | 'texts' | 'booleans' | 'moments' | 'others';

export function comparableOf(type: ColumnType): Comparable {
  switch (type) {
    case 'integer':
    case 'float':
    case 'decimal':
      return 'numbers';
    case 'text':
    case 'time':
      return 'texts';
    case 'boolean':
      return 'booleans';
    case 'timestamp':
    case 'date':
      return 'moments';
    case 'json':
    case 'bytes':
    case 'other':
      return 'others';
  }
}
