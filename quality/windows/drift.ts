/** psi, ks and chi_square: how far the values of a window are from a reference, kept as shares of bins or of categories. */
import { keyOf, type Present } from '../states/cell.ts';
import { type Bins, bins } from '../states/bins.ts';
import { members, type Members } from '../states/members.ts';
import { type ValueCounts, valueCounts } from '../states/value-counts.ts';
import { type Kwargs, refuse } from '../gx/kwargs.ts';
import type { GxExpectation, WordExample } from '../gx/expectation.ts';
import { defineAggregate, onlyNumbers } from './aggregate.ts';
import { sketched, type Verdict, type WindowCheck, windowCheck } from './check.ts';
import { rowsOf } from './words.ts';

/** The shares that were expected and those that are there, side by side. Each list adds up to 1. */
type Distance = (expected: readonly number[], found: readonly number[], count: number) => number;

/** A share of nothing makes the index infinite: it stands for so many of a share that nobody could see. */
const SHARE_MIN = 1e-4;

const psiOf: Distance = (expected, found) =>
  expected.reduce((sum, share, at) => {
    const [was, is] = [Math.max(share, SHARE_MIN), Math.max(found[at] ?? 0, SHARE_MIN)];
    return sum + (is - was) * Math.log(is / was);
  }, 0);

/** The greatest distance between the two cumulative shares, at the edges of the bins. */
const ksOf: Distance = (expected, found) => {
  let [was, is, most] = [0, 0, 0];
  for (const [at, share] of expected.entries()) {
    was += share;
    is += found[at] ?? 0;
    most = Math.max(most, Math.abs(is - was));
  }
  return most;
};

/** Pearson's statistic: what was not expected at all makes it infinite. */
const chiSquareOf: Distance = (expected, found, count) =>
  expected.reduce((sum, share, at) => {
    const difference = ((found[at] ?? 0) - share) * count;
    return difference === 0 ? sum : sum + difference ** 2 / (share * count);
  }, 0);

interface Reference {
  readonly bins: readonly number[] | null;
  readonly values: readonly Present[] | null;
  readonly weights: readonly number[];
  /** Below the first and above the last edge, or of values that are not named. */
  readonly tails: readonly [number, number];
}

function defineDrift(
  name: string,
  title: string,
  description: string,
  of: 'bins' | 'either',
  distance: Distance,
  example: WordExample,
): GxExpectation {
  return defineAggregate({
    name,
    takes: ['bins', 'values', 'weights', 'tail_weights', 'max'],
    word: {
      name,
      on: 'column',
      level: 'window',
      schema: {
        title,
        description: `${description} The reference is ${of === 'bins' ? 'bins' : 'bins, or values,'} with weights: shares or counts, which are made shares.`,
        type: 'object',
        additionalProperties: false,
        required: ['weights', 'max', ...(of === 'bins' ? ['bins'] : [])],
        properties: {
          bins: { type: 'array', minItems: 2, items: { type: 'number' }, description: 'The edges of bins, one more than weights.' },
          ...(of === 'either' && {
            values: { type: 'array', minItems: 1, items: { type: ['number', 'string', 'boolean'] }, description: 'The categories.' },
          }),
          weights: { type: 'array', minItems: 1, items: { type: 'number', minimum: 0 }, description: 'Of each bin or category.' },
          tail_weights: {
            type: 'array',
            minItems: 2,
            maxItems: 2,
            items: { type: 'number', minimum: 0 },
            description: 'Below the first and above the last edge. Left out: nothing.',
          },
          max: { type: 'number', minimum: 0, description: 'The greatest distance.' },
        },
      },
      kwargs: (parameters) => parameters as Readonly<Record<string, unknown>>,
      example,
    },
    window: (kwargs) => {
      const reference = referenceOf(kwargs);
      const max = kwargs.number('max');
      const judge = (found: readonly number[], count: number): Verdict => {
        if (count === 0) return { success: false, observed: null };
        const observed = distance(
          shares(reference),
          found.map((one) => one / count),
          count,
        );
        return { success: observed <= max, observed: Number.isFinite(observed) ? observed : null };
      };
      return reference.bins === null ? byValue(reference.values ?? [], judge) : byBin(reference.bins, judge, name);
    },
  });
}

type Judge = (found: readonly number[], count: number) => Verdict;

function byBin(edges: readonly number[], judge: Judge, name: string): WindowCheck {
  return windowCheck(onlyNumbers(bins(edges), name), (state: Bins) => {
    const found = [state.below, ...state.inside, state.above];
    return judge(
      found,
      found.reduce((sum, count) => sum + count, 0),
    );
  });
}

function byValue(values: readonly Present[], judge: Judge): WindowCheck {
  const places = new Map(values.map((value, at) => [keyOf(value), at]));
  // As for bins: what is below, the categories, what is above; others than were named count above.
  const count = (state: ValueCounts, others: number) => {
    const found = Array.from({ length: values.length + 2 }, () => 0);
    found[values.length + 1] = others;
    for (const { value, count } of state.entries()) {
      const at = (places.get(keyOf(value)) ?? values.length) + 1;
      found[at] = (found[at] ?? 0) + count;
    }
    return judge(found, state.total + others);
  };
  return windowCheck(
    valueCounts,
    (state: ValueCounts) => count(state, 0),
    sketched(
      members(values, (cell) => places.has(keyOf(cell))),
      ({ counts, others }: Members) => count(counts, others),
    ),
  );
}

function shares({ weights, tails }: Reference): readonly number[] {
  const all = [tails[0], ...weights, tails[1]];
  const sum = all.reduce((total, weight) => total + weight, 0);
  return all.map((weight) => weight / sum);
}

function referenceOf(kwargs: Kwargs): Reference {
  const weights = numbersOf(kwargs, 'weights') ?? refuse('weights', 'is missing', 'Write the share of each bin or value.');
  const edges = numbersOf(kwargs, 'bins');
  const values = kwargs.get('values') === null ? null : kwargs.valueSet('values');
  const [below = 0, above = 0] = numbersOf(kwargs, 'tail_weights') ?? [];
  if ((edges === null) === (values === null))
    return refuse('bins', 'and values: one of them is needed, and no more', 'Write bins, or values.');
  if (edges !== null && edges.length !== weights.length + 1)
    return refuse('bins', 'is to have one edge more than weights', 'Write the edges of each bin.');
  if (edges?.some((edge, at) => at > 0 && edge <= (edges[at - 1] ?? edge)) === true)
    return refuse('bins', 'does not increase', 'Sort it, each edge once.');
  if (values !== null && values.length !== weights.length)
    return refuse('values', 'is not as long as weights', 'Give each value a weight.');
  if (values !== null && (below > 0 || above > 0)) return refuse('tail_weights', 'goes with bins', 'Remove it.');
  if (weights.reduce((sum, weight) => sum + weight, below + above) <= 0)
    return refuse('weights', 'adds up to nothing', 'Write shares or counts.');
  return { bins: edges, values: values === null ? null : values.filter((value) => value !== null), weights, tails: [below, above] };
}

function numbersOf(kwargs: Kwargs, name: string): readonly number[] | null {
  const value = kwargs.get(name);
  if (value === null) return null;
  return Array.isArray(value) && value.every((item) => typeof item === 'number' && Number.isFinite(item))
    ? (value as number[])
    : refuse(name, 'is no list of numbers', 'Write numbers in a list.');
}

export const psi = defineDrift(
  'psi',
  'Population stability index',
  'How far the shares are from those of a reference: below 0.1 hardly, above 0.25 clearly. Shares below 0.0001 count as that much.',
  'either',
  psiOf,
  {
    rule: 'status: [{ psi: { values: [new, paid], weights: [0.5, 0.5], max: 0.1 } }]',
    passes: rowsOf('status', 'new', 'paid'),
    fails: rowsOf('status', 'new', 'new', 'new', 'paid', 'gone'),
  },
);

export const ks = defineDrift(
  'ks',
  'Kolmogorov-Smirnov distance',
  'The greatest difference between the shares of values up to an edge and those of a reference, from 0 to 1.',
  'bins',
  ksOf,
  {
    rule: 'total: [{ ks: { bins: [0, 10, 20], weights: [0.5, 0.5], max: 0.1 } }]',
    passes: rowsOf('total', 5, 15),
    fails: rowsOf('total', 5, 6, 7, 15),
  },
);

export const chiSquare = defineDrift(
  'chi_square',
  'Chi-square statistic',
  'The sum of (found - expected)^2 / expected over the counts. It grows with the rows: choose max by the quantile of the distribution for your number of categories.',
  'either',
  chiSquareOf,
  {
    rule: 'status: [{ chi_square: { values: [new, paid], weights: [1, 1], max: 3.84 } }]',
    passes: rowsOf('status', 'new', 'paid', 'paid'),
    fails: rowsOf('status', 'new', 'new', 'new', 'new', 'new', 'new'),
  },
);
