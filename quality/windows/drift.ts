/** psi, js, ks and chi_square: how far the values of a window are from a reference, kept as shares of bins or of categories, or made of the windows before. */
import type { ColumnType } from '../../core/event.ts';
import { comparableOf } from '../reference/form.ts';
import { isObject } from '../rule-text.ts';
import { keyOf, type Present } from '../states/cell.ts';
import { type Bins, bins } from '../states/bins.ts';
import { members, type Members } from '../states/members.ts';
import { type ValueCounts, valueCounts } from '../states/value-counts.ts';
import { type Kwargs, refuse } from '../gx/kwargs.ts';
import type { GxExpectation, WordExample } from '../gx/expectation.ts';
import { defineAggregate, onlyNumbers } from './aggregate.ts';
import { sketched, type Verdict, type WindowCheck, windowCheck } from './check.ts';
import { chiSquareOf, type Distance, jsOf, ksOf, psiOf } from './distances.ts';
import { pastProperties, rollingOf } from './memory.ts';
import { rollingNumbers, rollingValues, VALUES_MAX } from './rolling.ts';
import { rowsOf } from './words.ts';

interface Reference {
  readonly bins: readonly number[] | null;
  readonly values: readonly Present[] | null;
  readonly weights: readonly number[];
  /** Below the first and above the last edge, or of values that are not named. */
  readonly tails: readonly [number, number];
}

export const EDGES = {
  type: 'array',
  minItems: 2,
  items: { type: 'number' },
  description: 'The edges of bins, one more than weights.',
} as const;
export const TAIL_WEIGHTS = {
  type: 'array',
  minItems: 2,
  maxItems: 2,
  items: { type: 'number', minimum: 0 },
  description: 'Below the first and above the last edge. Left out: nothing.',
} as const;
export const MAX_DISTANCE = { type: 'number', minimum: 0, description: 'The greatest distance.' } as const;

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
    takes: ['bins', 'values', 'weights', 'tail_weights', 'other_weight', 'reference', 'reference_type', 'max'],
    word: {
      name,
      on: 'column',
      level: 'window',
      schema: {
        title,
        description: `${description} The reference is ${of === 'bins' ? 'bins' : 'bins, or values,'} with weights: shares or counts, which are made shares; or \`reference\`: [a file](windows.md#references), or [the windows before](windows.md#windows-beside-those-before).`,
        type: 'object',
        additionalProperties: false,
        required: ['max'],
        properties: {
          bins: EDGES,
          ...(of === 'either' && {
            values: { type: 'array', minItems: 1, items: { type: ['number', 'string', 'boolean'] }, description: 'The categories.' },
          }),
          weights: { type: 'array', minItems: 1, items: { type: 'number', minimum: 0 }, description: 'Of each bin or category.' },
          tail_weights: TAIL_WEIGHTS,
          ...(of === 'either' && {
            other_weight: { type: 'number', minimum: 0, description: 'Of all values that are not named. Left out: nothing.' },
          }),
          reference: referenceSchema(of),
          max: MAX_DISTANCE,
        },
      },
      kwargs: (parameters) => parameters as Readonly<Record<string, unknown>>,
      example,
    },
    window: (kwargs) => driftWindow(kwargs, { of, distance, name }),
  });
}

export interface Drift {
  /** What the reference is made of. */
  readonly of: 'bins' | 'either';
  readonly distance: Distance;
  readonly name: string;
}

export function driftWindow(kwargs: Kwargs, drift: Drift): WindowCheck {
  const { distance, name } = drift;
  const max = kwargs.number('max');
  const rolling = rollingReference(kwargs, drift, max);
  if (rolling !== null) return rolling;
  const reference = referenceOf(kwargs);
  const judge = (found: readonly number[], count: number): Verdict => {
    if (count === 0) return { success: false, observed: null };
    const observed = distance(
      shares(reference),
      found.map((one) => one / count),
      count,
    );
    return { success: observed <= max, observed: Number.isFinite(observed) ? observed : null };
  };
  const check = reference.bins === null ? byValue(reference.values ?? [], judge) : byBin(reference.bins, judge, name);
  const type = kwargs.get('reference_type');
  return type === null ? check : { ...check, comparable: comparableOf(type as ColumnType) }; // Set beside a reference that was read.
}

export function referenceSchema(of: 'bins' | 'either' | 'numbers') {
  const numbers = {
    bins: {
      type: 'integer',
      minimum: 2,
      maximum: 100,
      default: 10,
      description: 'Of numbers: so many, with about as many values in each.',
    },
  } as const;
  const either = {
    ...numbers,
    values: {
      type: 'integer',
      minimum: 1,
      maximum: VALUES_MAX,
      description: 'Of texts, or other values with names: so many, those that were there most often; all others are counted together.',
    },
  };
  const rolling = {
    type: 'object',
    additionalProperties: false,
    required: ['windows'],
    description: 'The values of the windows before, put together.',
    properties: {
      windows: { type: 'integer', minimum: 1, maximum: 10_000, description: 'The last so many.' },
      ...(of === 'either' ? either : of === 'numbers' ? numbers : {}),
      ...pastProperties,
    },
  };
  const file = { type: 'string', minLength: 1, description: 'A file beside the rule file, made by `tidegate reference`.' };
  return {
    description: 'Another reference than one that stands here: a file, or the windows before.',
    anyOf: [file, { type: 'object', additionalProperties: false, minProperties: 1, maxProperties: 1, properties: { file, rolling } }],
  } as const;
}

/** null: the reference stands in the rule. */
function rollingReference(kwargs: Kwargs, { of, distance, name }: Drift, max: number): WindowCheck | null {
  const written = kwargs.get('reference');
  if (written === null || kwargs.has('reference_type')) return null;
  if (!isObject(written) || written['file'] !== undefined)
    return refuse('reference', 'of a file is read beside a rule file alone', 'Write the bins or values with their weights.');
  for (const word of ['bins', 'values', 'weights', 'tail_weights', 'other_weight'])
    if (kwargs.has(word)) return refuse(word, 'and reference: one of them is needed, and no more', `Remove ${word}.`);
  const rolling = kwargs.inside('reference').inside('rolling');
  const own = of === 'either' ? ['bins', 'values'] : [];
  rolling.refuseUnknown(['windows', 'offset', 'min_windows', 'learn', ...own]);
  const asked = { past: rollingOf(rolling), distance, max };
  const [bins, values] = [rolling.whole('bins'), rolling.whole('values')];
  if (bins !== null && values !== null) return refuse('bins', 'and values: one of them is needed, and no more', 'Write bins, or values.');
  if (values !== null) return rollingValues(asked, values);
  return rollingNumbers(asked, of === 'bins' ? null : (bins ?? 10), name);
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
  const weights = numbersOf(kwargs, 'weights') ?? refuse('weights', 'is missing', 'Write the share of each bin or value, or a reference.');
  const edges = numbersOf(kwargs, 'bins');
  const values = kwargs.get('values') === null ? null : kwargs.valueSet('values');
  const other = kwargs.get('other_weight') === null ? 0 : kwargs.number('other_weight');
  const [below = 0, above = other] = numbersOf(kwargs, 'tail_weights') ?? [];
  if ((edges === null) === (values === null))
    return refuse('bins', 'and values: one of them is needed, and no more', 'Write bins, or values.');
  if (edges !== null && edges.length !== weights.length + 1)
    return refuse('bins', 'is to have one edge more than weights', 'Write the edges of each bin.');
  if (edges?.some((edge, at) => at > 0 && edge <= (edges[at - 1] ?? edge)) === true)
    return refuse('bins', 'does not increase', 'Sort it, each edge once.');
  if (values !== null && values.length !== weights.length)
    return refuse('values', 'is not as long as weights', 'Give each value a weight.');
  if (edges !== null && kwargs.has('other_weight')) return refuse('other_weight', 'goes with values', 'Remove it.');
  if (values !== null && kwargs.has('tail_weights')) return refuse('tail_weights', 'goes with bins', 'Remove it.');
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

export const js = defineDrift(
  'js',
  'Jensen-Shannon divergence',
  'How far the shares are from those of a reference, in bits: 0 where they are the same, 1 where they have nothing in common. A share of nothing makes no trouble here.',
  'either',
  jsOf,
  {
    rule: 'status: [{ js: { values: [new, paid], weights: [0.5, 0.5], max: 0.1 } }]',
    passes: rowsOf('status', 'new', 'paid'),
    fails: rowsOf('status', 'gone', 'gone', 'paid'),
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
