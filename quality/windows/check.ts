/** A check over a window of rows: the state that it keeps, and what it says of it. */
import type { Interval, Sketch, SketchKind } from '../states/sketch.ts';
import { type FileCell, keyOfCells, Moment, type Present } from '../states/cell.ts';
import type { Counts, State, StateKind } from '../states/state.ts';
import type { Comparable } from '../reference/form.ts';
import type { Memory } from './memory.ts';

/** null: it cannot be said (the threshold lies within the error of a sketch, or there are too few rows). */
export interface Verdict {
  readonly success: boolean | null;
  readonly observed: unknown;
  readonly details?: Readonly<Record<string, unknown>>;
  /** What a sketch knows of it: "between 9,750 and 10,250". */
  readonly known?: string;
  /** What it was held against; or why nothing can be said of such values, however many are kept. */
  readonly why?: string;
}

/**
 * One per rule, window and group share nothing but this: each window has a state of its own, made by `kind`, and a verdict comes from the
 * state and the window's counts alone. So lanes may keep states apart and merge them before they ask, and ask again when a late row came.
 */
export interface WindowCheck {
  readonly kind: StateKind<State>;
  judge(state: State, counts: Counts): Verdict;
  /** How it is judged once its values are more than there is room for; null: not at all. */
  readonly sketch: SketchJudge | null;
  /** What its cells are made of; left out: the cell of its column. */
  readonly reads?: Reads;
  /** For checks that hold a window against those before it: its verdict is that of `memory`. */
  readonly memory?: Memory;
  /** What its reference is of: columns of other kinds of values have nothing in common with it. */
  readonly comparable?: Comparable;
  /** The dataset of whose rows in the same window `Counts` says how many there are. */
  readonly beside?: string;
  /** What it observes is a value of some row. */
  readonly showsValues?: boolean;
  /** And what it says of that is no value of a row all the same. */
  readonly saysCounts?: boolean;
}

/**
 * `timed`: the value and the time of its row, as `Timed`. `columns`: the cells of these, as `joined` puts them together. `score`: what a model made of the row, or (`features`)
 * whether it could be read for it; rows that the model was not asked for are left out.
 */
export type Reads =
  | { readonly kind: 'timed' }
  | { readonly kind: 'columns'; readonly columns: readonly string[] }
  | { readonly kind: 'score'; readonly model: string; readonly of: 'score' | 'features' };

/** Several cells as one, equal where they all are; null where none has a value. */
export function joined(cells: readonly FileCell[]): string | null {
  return cells.every((cell) => cell === null) ? null : keyOfCells(cells);
}

export interface SketchJudge {
  readonly kind: SketchKind<Sketch>;
  /** Passes where all passes that the sketch does not rule out, fails where nothing does, and else does not know. */
  judge(sketch: Sketch, counts: Counts): Verdict;
}

/** The state's own type is known to `judge` alone; to everybody else it is a state. */
export function windowCheck<S extends State>(
  kind: StateKind<S>,
  judge: (state: S, counts: Counts) => Verdict,
  sketch: SketchJudge | null = null,
): WindowCheck {
  // Sound as long as nobody hands one check the state of another: states are kept under their check's id.
  return { kind: kind as unknown as StateKind<State>, judge: (state, counts) => judge(state as S, counts), sketch };
}

export function sketched<S extends Sketch>(kind: SketchKind<S>, judge: (sketch: S, counts: Counts) => Verdict): SketchJudge {
  // As above.
  return { kind: kind as unknown as SketchKind<Sketch>, judge: (sketch, counts) => judge(sketch as S, counts) };
}

export function between({ low, high }: Interval): string {
  return low === high ? shown(low) : `between ${shown(low)} and ${shown(high)}`;
}

function shown(value: Present): string {
  if (typeof value === 'number') return value.toLocaleString('en-US', { maximumSignificantDigits: 6 });
  return value instanceof Moment ? value.text : JSON.stringify(value);
}

/** For checks that need no more than the counts. */
export const nothing: StateKind<State> = {
  name: 'nothing',
  retracts: true,
  size: 'fixed',
  create: () => ({ add: () => {}, isEmpty: true, encode: () => null }),
  merge: (into) => into,
  retract: () => {},
  decode: () => nothing.create(),
};
