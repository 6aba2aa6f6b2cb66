/**
 * Sketches: what is kept of a window's values once they are more than there is room for. What every sketch promises, and
 * test/quality/sketches.test.ts holds:
 *
 * - `put` takes a cell so many times, or takes it back where `times` is negative. An exact state goes over into a sketch by putting all that it has.
 * - `merge(a, b)` is a sketch of all that either was given, with the same bound on its error. It changes and returns `a` and leaves `b` alone.
 * - What it says is an interval that holds what an exact state would say: always, or as often as the kind says. Whatever is taken back is in the interval.
 * - `bytes` has a bound, whatever the values are.
 * - `decode` throws for what `encode` did not write.
 */
import type { Present } from './cell.ts';
import type { Encoded, TellText } from './state.ts';

export interface Sketch {
  put(cell: Present, times: number): void;
  /** The same for a text, by its bytes in UTF-8; left out where it needs the text. */
  readonly putText?: TellText;
  readonly bytes: number;
  encode(): Encoded;
}

export interface SketchKind<S extends Sketch> {
  /** Checks of one column that name the same share one; it is kept under this name. */
  readonly id: string;
  create(): S;
  merge(into: S, from: S): S;
  decode(encoded: Encoded): S;
}

/** Where a number or a value lies that is not known exactly, both ends included, and the best guess. */
export interface Interval<T = Present> {
  readonly low: T;
  readonly high: T;
  readonly estimate: T;
}
