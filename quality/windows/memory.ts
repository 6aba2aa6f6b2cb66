/** Checks that hold a window against those before it: what they remember of one, how many of which they ask for, and how that is written. */
import { durationSchema } from '../../core/duration.ts';
import { durationMicros } from '../../core/expression/timestamp.ts';
import { type Kwargs, refuse } from '../gx/kwargs.ts';
import type { Sketch, SketchKind } from '../states/sketch.ts';
import type { Counts, Encoded, State, StateKind } from '../states/state.ts';
import { type Verdict, type WindowCheck } from './check.ts';

export type Season = 'hour_of_day' | 'day_of_week' | 'hour_of_week';

/** Which windows a window is held against, as a rule asks for them. */
export interface PastAsked {
  /** The last so many, or those of so long a time. */
  readonly of: { readonly windows: number } | { readonly ms: number };
  /** How many are left out between them and the window; null: as many as may still change. */
  readonly offset: number | null;
  readonly minWindows: number;
  /** passed: a window that failed is none of those that later ones are held against. */
  readonly learns: 'passed' | 'all';
  /** Windows of the same time of the day or the week alone. */
  readonly same: Season | null;
}

/**
 * What is remembered of a window is its trace: all that a later window's verdict takes from it. It is made of the window's state, so it is the same however many lanes
 * and batches that state was put together from.
 */
export interface Memory {
  readonly asked: PastAsked;
  /** Names the form of its traces: those of another are forgotten. */
  readonly id: string;
  /** A trace takes up no more, in characters. */
  readonly traceSize: number;
  /** null: there is nothing to remember of such a window. */
  trace(state: State, counts: Counts): Encoded | null;
  readonly traceOfSketch: ((sketch: Sketch, counts: Counts) => Encoded | null) | null;
  judge(trace: Encoded, past: readonly Encoded[], kept: Kept<State, Sketch>): Verdict;
  /** The trace of a group without rows, where that says something. */
  readonly absent?: Encoded;
}

/** What the window keeps of its values, for verdicts that are about each of them. */
export type Kept<S extends State, K extends Sketch> =
  { readonly state: S; readonly sketch: null } | { readonly state: null; readonly sketch: K };

export const NO_PAST = 'there are no windows before it';

interface Parts<S extends State, K extends Sketch> extends Pick<Memory, 'asked' | 'id' | 'traceSize' | 'absent'> {
  readonly judge: (trace: Encoded, past: readonly Encoded[], kept: Kept<S, K>) => Verdict;
  readonly kind: StateKind<S>;
  readonly trace: (state: S, counts: Counts) => Encoded | null;
  readonly sketch?: { readonly kind: SketchKind<K>; readonly trace: (sketch: K, counts: Counts) => Encoded | null };
}

/** As for `windowCheck`: states and traces are known to their own check alone. */
export function remembering<S extends State, K extends Sketch>({ kind, trace, sketch, judge, ...parts }: Parts<S, K>): WindowCheck {
  const alone = (): Verdict => ({ success: null, observed: null, why: NO_PAST });
  return {
    kind: kind as unknown as StateKind<State>,
    judge: (state, counts) => {
      trace(state as S, counts); // So that values it cannot be made of are told before there is a past.
      return alone();
    },
    sketch: sketch === undefined ? null : { kind: sketch.kind as unknown as SketchKind<Sketch>, judge: alone },
    memory: {
      ...parts,
      judge: (own, past, kept) => judge(own, past, kept as Kept<S, K>),
      trace: (state, counts) => trace(state as S, counts),
      traceOfSketch: sketch === undefined ? null : (own, counts) => sketch.trace(own as K, counts),
    },
  };
}

/** Properties of a rule that asks for windows before. */
export const pastProperties = {
  offset: {
    type: 'integer',
    minimum: 0,
    maximum: 10_000,
    title: 'Offset',
    description: 'So many windows are left out in between. Default: as many as late rows may still change, or as share rows with it.',
  },
  min_windows: { type: 'integer', minimum: 1, title: 'Min windows', description: 'With fewer the window is indeterminate.' },
  learn: {
    enum: ['passed', 'all'],
    title: 'Learn',
    description: 'passed: a window that failed is none of those that later ones are held against. all: it is.',
  },
} as const;

export const baselineProperties = {
  baseline: { ...durationSchema, default: '14d', title: 'Baseline', description: 'It is held against the windows of so long before.' },
  same: {
    enum: ['hour_of_day', 'day_of_week', 'hour_of_week'],
    title: 'Same',
    description: 'Of those, only the ones that began at the same time, in UTC.',
  },
  ...pastProperties,
} as const;

const WINDOWS_MAX = 10_000;

/** `rolling: { windows: 12, … }`. */
export function rollingOf(kwargs: Kwargs): PastAsked {
  const windows = atLeastOne(kwargs, 'windows') ?? refuse('windows', 'is missing', 'Write how many windows before it.');
  if (windows > WINDOWS_MAX) return refuse('windows', `is more than ${WINDOWS_MAX}`, 'Make the windows longer.');
  const minWindows = atLeastOne(kwargs, 'min_windows') ?? windows;
  if (minWindows > windows) return refuse('min_windows', 'is more than windows', `Write ${windows} or less.`);
  return {
    of: { windows },
    offset: offsetOf(kwargs),
    minWindows,
    learns: kwargs.oneOf('learn', ['passed', 'all'], 'passed'),
    same: null,
  };
}

/** `{ baseline: 14d, same: hour_of_week, … }`. */
export function baselineOf(kwargs: Kwargs, minWindows: number): PastAsked {
  const written = kwargs.get('baseline') ?? '14d';
  const micros = typeof written === 'string' ? durationMicros(written) : null;
  if (micros === null || micros <= 0n) return refuse('baseline', 'is no duration', 'Write 14d, or 12h.');
  return {
    of: { ms: Number(micros / 1000n) },
    offset: offsetOf(kwargs),
    minWindows: atLeastOne(kwargs, 'min_windows') ?? minWindows,
    learns: kwargs.oneOf('learn', ['passed', 'all'], 'all'),
    same: kwargs.get('same') === null ? null : kwargs.oneOf('same', ['hour_of_day', 'day_of_week', 'hour_of_week'], 'hour_of_week'),
  };
}

function offsetOf(kwargs: Kwargs): number | null {
  const offset = kwargs.whole('offset');
  return offset === null || offset >= 0 ? offset : refuse('offset', 'is below zero', 'Write 0 or more.');
}

function atLeastOne(kwargs: Kwargs, name: string): number | null {
  const value = kwargs.whole(name);
  return value === null || value >= 1 ? value : refuse(name, 'is less than one', 'Write 1 or more.');
}
