/**
 * What is to be expected of a number by the numbers before it: their median, give or take so many deviations. Median and median absolute deviation take no notice of less
 * than half of the numbers, however far off they are (Iglewicz, Hoaglin: How to Detect and Handle Outliers, 1993: the modified z-score); so windows that failed are
 * learnt from, and a level that lasts is the new one once half of the windows have it.
 */
import { type Kwargs, refuse } from '../gx/kwargs.ts';
import type { Verdict } from './check.ts';
import { baselineOf, baselineProperties, type PastAsked } from './memory.ts';

export const ANOMALY_KWARGS = ['sensitivity', 'direction', 'margin', 'baseline', 'same', 'offset', 'min_windows', 'learn'];
const MIN_WINDOWS = 7;

export const anomalyProperties = {
  sensitivity: {
    type: 'number',
    exclusiveMinimum: 0,
    default: 3,
    title: 'Sensitivity',
    description: 'So many deviations from the median are expected: less finds more.',
  },
  direction: {
    enum: ['both', 'drop', 'spike'],
    default: 'both',
    title: 'Direction',
    description: 'What fails: too little, too much, or both.',
  },
  margin: {
    type: 'number',
    minimum: 0,
    default: 0.05,
    title: 'Margin',
    description: 'A difference of less than this share of the median is expected, however even the windows were.',
  },
  ...baselineProperties,
} as const;

export interface Anomaly {
  readonly past: PastAsked;
  readonly sensitivity: number;
  readonly direction: 'both' | 'drop' | 'spike';
  readonly margin: number;
}

export function anomalyOf(kwargs: Kwargs): Anomaly {
  const sensitivity = kwargs.has('sensitivity') ? kwargs.number('sensitivity') : 3;
  const margin = kwargs.has('margin') ? kwargs.number('margin') : 0.05;
  if (!(sensitivity > 0)) return refuse('sensitivity', 'is not above zero', 'Write 3, or another number of deviations.');
  if (!(margin >= 0)) return refuse('margin', 'is below zero', 'Write a share, such as 0.05.');
  return {
    past: baselineOf(kwargs, MIN_WINDOWS),
    sensitivity,
    direction: kwargs.oneOf('direction', ['both', 'drop', 'spike'], 'both'),
    margin,
  };
}

/** `noise`: a deviation that there is by chance alone, whatever the windows before had. */
export function judgeAnomaly({ sensitivity, direction, margin }: Anomaly, value: number, past: readonly number[], noise = 0): Verdict {
  const middle = medianOf(past);
  const half = Math.max(sensitivity * Math.max(deviationOf(past, middle), noise), margin * Math.abs(middle));
  const [low, high] = [middle - half, middle + half];
  const isLow = direction !== 'spike' && value < low;
  const isHigh = direction !== 'drop' && value > high;
  const bounds =
    direction === 'drop' ? `${shown(low)} or more` : direction === 'spike' ? `${shown(high)} or less` : `${shown(low)} to ${shown(high)}`;
  return {
    success: !isLow && !isHigh,
    observed: value,
    why: `expected is ${bounds}, by ${past.length} windows before it whose median is ${shown(middle)}`,
  };
}

/** As a standard deviation is for values that are spread normally. Where more than half of them are the same, by the mean of all distances. */
export function deviationOf(values: readonly number[], middle: number): number {
  const distances = values.map((value) => Math.abs(value - middle));
  const median = 1.4826 * medianOf(distances);
  return median > 0 ? median : 1.2533 * (distances.reduce((sum, distance) => sum + distance, 0) / distances.length);
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] ?? NaN) + (sorted[sorted.length >> 1] ?? NaN)) / 2;
}

const shown = (value: number): string => value.toLocaleString('en-US', { maximumSignificantDigits: 6 });
