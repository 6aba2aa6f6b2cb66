/** Window expectations of one column: all values that are there go into one state, and the verdict is about what that says. */
import { type FileCell, kindOf, type Present, Unusable } from '../states/cell.ts';
import type { Counts, State, StateKind } from '../states/state.ts';
import { type GxExpectation, mustExist, type Word } from '../gx/expectation.ts';
import { BOUNDS, type Kwargs } from '../gx/kwargs.ts';
import { parseDate } from '../gx/dates.ts';
import type { Interval, Sketch, SketchKind } from '../states/sketch.ts';
import { type Bounds, isWithin, liesWithin } from './bounds.ts';
import { between, joined, sketched, type Verdict, type WindowCheck, windowCheck } from './check.ts';

interface Aggregate {
  readonly name: string;
  readonly takes: readonly string[];
  /** The kwarg that names what it judges; null where that is the rows. */
  readonly of?: 'column' | 'columns' | null;
  /** Left out where another expectation's word means it, with parameters of its own. */
  readonly word?: Word;
  readonly window: (kwargs: Kwargs) => WindowCheck;
}

export function defineAggregate({ name, takes, of = 'column', word, window }: Aggregate): GxExpectation {
  return {
    name,
    takes: of === null ? takes : [of, ...takes],
    takesRows: true,
    ...(word === undefined ? {} : { word }),
    window,
    prepare: (kwargs, slots, format) => {
      const columns = of === null ? [] : of === 'column' ? [kwargs.column()] : kwargs.columns(of);
      const check = window(kwargs);
      const cellOf = cellReader(columns.map((column) => slots.slotOf(column)));
      const state = check.kind.create();
      const counts: Counts = { rows: 0, missing: 0 };
      return {
        row: (cells: readonly FileCell[]) => {
          counts.rows++;
          const cell = cellOf(cells);
          if (cell === null) counts.missing++;
          else state.add(cell);
        },
        end: (facts) => {
          mustExist(columns, facts, of ?? 'column');
          if (check.memory !== undefined)
            throw new Unusable('it is held against the windows before, and the rows of a file are one window');
          if (check.reads?.kind === 'score') throw new Unusable('it is about what a model makes of rows, and none scores those of a file');
          const verdict = check.judge(state, counts);
          if (format.name === 'BOOLEAN_ONLY') return { success: verdict.success === true, result: {} };
          return { success: verdict.success === true, result: resultOf(verdict, counts) };
        },
      };
    },
  };
}

function cellReader(places: readonly number[]): (cells: readonly FileCell[]) => FileCell {
  const [place = 0] = places;
  if (places.length === 1) return (cells) => cells[place] ?? null;
  return (cells) => joined(places.map((at) => cells[at] ?? null));
}

function resultOf({ observed, details }: Verdict, { rows, missing }: Counts): Record<string, unknown> {
  return {
    observed_value: observed,
    element_count: rows,
    missing_count: missing,
    missing_percent: rows === 0 ? null : (missing / rows) * 100,
    ...(details === undefined ? {} : { details }),
  };
}

interface Metric<S extends State, K extends Sketch> {
  readonly name: string;
  readonly word: Word;
  readonly kind: StateKind<S>;
  readonly observe: (state: S, counts: Counts) => Present | null;
  readonly sketch?: { readonly kind: SketchKind<K>; readonly observe: (sketch: K, counts: Counts) => Interval | null };
  /** Whether texts have it too: the least and greatest of them. */
  readonly ofTexts?: boolean;
}

/** A number that is computed from the values of a window, for whoever has another use for it. */
export interface Observed {
  readonly kind: StateKind<State>;
  readonly observe: (state: State, counts: Counts) => Present | null;
  readonly sketch: { readonly kind: SketchKind<Sketch>; readonly observe: (sketch: Sketch, counts: Counts) => Interval | null } | null;
}

/** A number that is computed from the values, between bounds. Without one it can never fail; of no values it always does. */
export function defineMetric<S extends State, K extends Sketch>({
  name,
  word,
  kind,
  observe,
  sketch,
  ofTexts = false,
}: Metric<S, K>): GxExpectation & { readonly observed: Observed } {
  // As for `windowCheck`: a state is handed to those alone who made it.
  const observed = { kind, observe, sketch: sketch ?? null } as unknown as Observed;
  const expectation = defineAggregate({
    name,
    takes: BOUNDS,
    word,
    window: (kwargs) => {
      const bounds = kwargs.bounds();
      for (const [kwarg, bound] of [
        ['min_value', bounds.min],
        ['max_value', bounds.max],
      ] as const)
        if (typeof bound === 'string' && !ofTexts) kwargs.date(kwarg, bound);
      const test = withinBounds(bounds, kwargs.nowMs);
      const testSketch = intervalWithin(bounds, kwargs.nowMs);
      return windowCheck(
        kind,
        (state, counts) => test(observe(state, counts)),
        sketch === undefined ? null : sketched(sketch.kind, (state, counts) => testSketch(sketch.observe(state, counts))),
      );
    },
  });
  return { ...expectation, observed };
}

export function intervalWithin(bounds: Bounds, nowMs: number): (interval: Interval | null) => Verdict {
  return (interval) => {
    if (interval === null || Number.isNaN(interval.estimate)) return { success: false, observed: null };
    const success = liesWithin(interval, bounds, (text) => parseDate(text, nowMs));
    return { success, observed: interval.estimate, known: between(interval) };
  };
}

export function withinBounds(bounds: Bounds, nowMs: number): (observed: Present | null) => Verdict {
  return (observed) => {
    if (observed === null || Number.isNaN(observed)) return { success: false, observed: null };
    const success = isWithin(observed, bounds, (text) => parseDate(text, nowMs));
    return { success, observed };
  };
}

/** Refuses texts where numbers are meant: they would have an order, and no mean. */
export function onlyNumbers<S extends State>(kind: StateKind<S>, what: string): StateKind<S> {
  return {
    ...kind,
    create: () => {
      const state = kind.create();
      const add = state.add.bind(state);
      state.add = (cell) => {
        if (typeof cell === 'string' || kindOf(cell) === 'nested')
          throw new Unusable(`column holds a ${kindOf(cell)}, and only numeric values have a ${what}.`);
        add(cell);
      };
      return state;
    },
  };
}
