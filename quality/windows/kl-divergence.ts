/** kl: how far the values are from an expected distribution (Kullback-Leibler, natural logarithm). */
import { keyOf, type Present } from '../states/cell.ts';
import { bins, type Bins } from '../states/bins.ts';
import type { Counts, StateKind } from '../states/state.ts';
import { doubleOf } from '../states/sums.ts';
import { members, type Members } from '../states/members.ts';
import { type Ranks, ranks } from '../states/ranks.ts';
import { type ValueCounts, valueCounts } from '../states/value-counts.ts';
import { type Kwargs, refuse } from '../gx/kwargs.ts';
import { defineAggregate, onlyNumbers } from './aggregate.ts';
import { quantileOf } from './ranks.ts';
import { sketched, type Verdict, type WindowCheck, windowCheck } from './check.ts';
import { rowsOf } from './words.ts';

interface Categories {
  readonly values: readonly Present[];
  readonly weights: readonly number[];
}

interface Partition {
  readonly bins: readonly number[];
  readonly weights: readonly number[];
  readonly tails: readonly [number, number] | null;
}

interface Holdouts {
  readonly tail: number;
  readonly internal: number;
}

const numbers = { type: 'array', minItems: 1, items: { type: 'number' } } as const;

export const klDivergence = defineAggregate({
  name: 'expect_column_kl_divergence_to_be_less_than',
  takes: ['partition_object', 'threshold', 'tail_weight_holdout', 'internal_weight_holdout', 'bucketize_data', 'min_value', 'max_value'],
  word: {
    name: 'kl',
    on: 'column',
    level: 'window',
    schema: {
      title: 'Divergence from an expected distribution',
      description:
        'The Kullback-Leibler divergence of the values from values with weights, or from bins with weights, is at most max. Weights add up to 1.',
      type: 'object',
      additionalProperties: false,
      required: ['weights', 'max'],
      properties: {
        values: { type: 'array', minItems: 1, items: { type: ['number', 'string', 'boolean'] }, description: 'The categories.' },
        bins: { ...numbers, minItems: 2, description: 'The edges of bins, one more than weights.' },
        weights: { ...numbers, description: 'The expected share of each category or bin.' },
        tail_weights: { ...numbers, minItems: 2, maxItems: 2, description: 'The expected shares below the first and above the last edge.' },
        max: { type: 'number', minimum: 0, description: 'The greatest divergence.' },
        tail_weight_holdout: { type: 'number', minimum: 0, maximum: 1, description: 'A share kept for what was not expected.' },
        internal_weight_holdout: { type: 'number', minimum: 0, maximum: 1, description: 'A share kept for bins of weight 0.' },
      },
    },
    kwargs: (parameters) => {
      const {
        max,
        tail_weight_holdout: tail,
        internal_weight_holdout: internal,
        ...partition
      } = parameters as Readonly<Record<string, unknown>>;
      return { partition_object: partition, threshold: max, tail_weight_holdout: tail, internal_weight_holdout: internal };
    },
    example: {
      rule: 'status: [{ kl: { values: [new, paid], weights: [0.5, 0.5], max: 0.1 } }]',
      passes: rowsOf('status', 'new', 'paid'),
      fails: rowsOf('status', 'new', 'new', 'new', 'new'),
    },
  },
  window: (kwargs) => {
    const threshold = thresholdOf(kwargs);
    const holdouts = { tail: holdout(kwargs, 'tail_weight_holdout'), internal: holdout(kwargs, 'internal_weight_holdout') };
    const bucketize = kwargs.flag('bucketize_data', true);
    const partition = kwargs.get('partition_object');
    if (partition === null && !bucketize) return againstOwnValues(threshold, holdouts);
    const expected = partition === null ? null : readPartition(partition);
    // Bins of the data themselves have tails too.
    if (holdouts.tail !== 0 && (expected === null || ('tails' in expected && expected.tails !== null)))
      return refuse('tail_weight_holdout', 'must be 0 where the partition has tail_weights', 'ValueError: use one of the two.');
    if (expected === null) return againstOwnBins(threshold, holdouts);
    if ('values' in expected) return againstCategories(expected, threshold, holdouts);
    if (!bucketize) return refuse('bucketize_data', 'is false, and the partition has bins', 'Remove it.');
    checkEnds(expected, holdouts);
    return againstBins(expected, threshold, holdouts);
  },
});

function holdout(kwargs: Kwargs, name: string): number {
  return kwargs.share(name, 0);
}

function thresholdOf(kwargs: Kwargs): number | null {
  const threshold = kwargs.numberOrNull('threshold');
  if (threshold === null) return null;
  return threshold >= 0 ? threshold : refuse('threshold', 'is below zero', 'Write a number greater than or equal to zero.');
}

function readPartition(written: unknown): Categories | Partition {
  const {
    values,
    bins: edges,
    weights,
    tail_weights: tails,
  } = (typeof written === 'object' && written !== null ? written : {}) as Record<string, unknown>;
  const invalid = (what: string): never =>
    refuse('partition_object', `is no valid partition (ValueError): ${what}`, 'Write bins or values, and weights that add up to 1.');
  if (!isNumbers(weights)) return invalid('weights are missing');
  if (isNumbers(edges) && (tails === undefined || tails === null || (isNumbers(tails) && tails.length === 2))) {
    const ends = isNumbers(tails) ? ([tails[0] ?? 0, tails[1] ?? 0] as const) : null;
    if (edges.length !== weights.length + 1) return invalid('it needs one bin edge more than weights');
    if (edges.some((edge, at) => at > 0 && edge <= (edges[at - 1] ?? edge))) return invalid('its bins do not increase');
    if (!addUpToOne([...weights, ...(ends ?? [])])) return invalid('its weights do not add up to 1');
    return { bins: edges, weights, tails: ends };
  }
  if (!Array.isArray(values)) return invalid('it has neither bins nor values');
  if (values.length !== weights.length) return invalid('it has not as many weights as values');
  return addUpToOne(weights) ? { values: values as Present[], weights } : invalid('its weights do not add up to 1');
}

function isNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'number');
}

function addUpToOne(weights: readonly number[]): boolean {
  return Math.abs(total(weights) - 1) <= 1e-8 + 1e-5;
}

function total(weights: readonly number[]): number {
  return weights.reduce((sum, weight) => sum + weight, 0);
}

/** Relative entropy of two vectors that are first made to add up to 1. */
function divergence(observed: readonly number[], expected: readonly number[]): number {
  const [all, allExpected] = [total(observed), total(expected)];
  return observed.reduce((sum, weight, at) => {
    const [p, q] = [weight / all, (expected[at] ?? 0) / allExpected];
    return sum + (p === 0 ? 0 : q === 0 ? Infinity : p * Math.log(p / q));
  }, 0);
}

function verdict(value: number, threshold: number | null, details: Verdict['details']): Verdict {
  return {
    success: threshold === null || value <= threshold,
    observed: Number.isFinite(value) ? value : null,
    ...(details && { details }),
  };
}

function againstCategories(expected: Categories, threshold: number | null, { tail, internal }: Holdouts): WindowCheck {
  if (internal > 0) return refuse('internal_weight_holdout', 'cannot be used for discrete data', 'Remove it.');
  const wanted = new Map(expected.values.map((value, at) => [keyOf(value), { value, weight: expected.weights[at] ?? 0 }]));
  const judge = (state: ValueCounts): Verdict => {
    const present = state.sorted();
    const unseen = present.filter(({ value }) => !wanted.has(keyOf(value)));
    const values = [...expected.values, ...unseen.map(({ value }) => value)];
    const observed = values.map((value) => (state.total === 0 ? 0 : state.countOf(value) / state.total));
    // What was not expected shares the holdout, and what was gives it up.
    const scale = unseen.length > 0 ? 1 - tail : 1;
    const weights = values.map((value) => {
      const known = wanted.get(keyOf(value));
      return known === undefined ? tail / unseen.length : known.weight * scale;
    });
    return verdict(divergence(observed, weights), threshold, {
      observed_partition: { values, weights: observed },
      expected_partition: { values, weights },
    });
  };
  return windowCheck(
    valueCounts,
    judge,
    // How the holdout is shared by values that were not expected depends on each of them; without one, any of them is infinitely far.
    sketched(
      members(expected.values, (cell) => wanted.has(keyOf(cell))),
      ({ counts, others }: Members) =>
        others === 0
          ? judge(counts)
          : { success: threshold === null ? true : tail > 0 ? null : false, observed: null, known: `${others} rows have other values` },
    ),
  );
}

/** Without a partition, the data are what is expected: nothing differs. */
function againstOwnValues(threshold: number | null, holdouts: Holdouts): WindowCheck {
  return windowCheck(valueCounts, (state, counts) => {
    const counted = state.sorted();
    const own = { values: counted.map(({ value }) => value), weights: counted.map(({ count }) => count / state.total) };
    return againstCategories(own, threshold, holdouts).judge(state, counts);
  });
}

function againstOwnBins(threshold: number | null, holdouts: Holdouts): WindowCheck {
  return windowCheck(onlyNumbers(ranks, 'histogram'), (state: Ranks, counts: Counts) => {
    const sorted = Float64Array.from(state.sorted() as ArrayLike<number>, doubleOf);
    if (sorted.length === 0) return { success: threshold === null, observed: null };
    const edges = automaticEdges(sorted);
    const own = new Map<number, number>();
    const kind = bins(edges);
    const filled = kind.create();
    for (const value of sorted) filled.add(value);
    for (const [at, count] of filled.inside.entries()) own.set(at, count / sorted.length);
    const weights = [...own.values()];
    const rest = (1 - total(weights)) / 2;
    return againstBins({ bins: edges, weights, tails: [rest, rest] }, threshold, holdouts).judge(filled, counts);
  });
}

/** As many as Sturges or as Freedman and Diaconis say, whoever says more. */
function automaticEdges(sorted: Float64Array): readonly number[] {
  const [least, greatest] = [sorted[0] ?? 0, sorted.at(-1) ?? 0];
  if (least === greatest) refuse('partition_object', 'is missing, and one value alone makes no bins', 'Write bins and weights.');
  const sturges = Math.ceil(Math.log2(sorted.length + 1));
  const between = (quantileOf(sorted, 0.75, 'nearest') as number) - (quantileOf(sorted, 0.25, 'nearest') as number);
  const freedman = between < 1e-10 ? 0 : Math.ceil((greatest - least) / ((2 * between) / Math.cbrt(sorted.length)));
  const count = Math.max(sturges, freedman);
  return Array.from({ length: count + 1 }, (_, at) => (at === count ? greatest : least + ((greatest - least) * at) / count));
}

function checkEnds({ bins: edges, tails }: Partition, { tail }: Holdouts): void {
  const [open, openEnd] = [edges[0] === -Infinity, edges.at(-1) === Infinity];
  if ((open || openEnd) && tails !== null)
    refuse('partition_object', 'has tail_weights and an infinite end (ValueError)', 'Write one of the two.');
  if (open && openEnd && tail > 0)
    refuse('tail_weight_holdout', 'cannot be used for a partition with infinite ends (ValueError)', 'Remove it.');
}

function againstBins(expected: Partition, threshold: number | null, holdouts: Holdouts): WindowCheck {
  return windowCheck(binsOfNumbers(expected.bins), (state, { rows, missing }) => {
    const present = Math.max(rows - missing, 1);
    const observed = sides(
      expected.bins,
      state.inside.map((count) => count / present),
      [state.below / present, state.above / present],
    );
    const tails = expected.tails ?? openTails(expected.bins, holdouts.tail);
    const wanted = sides(expected.bins, inner(expected.weights, holdouts), tails);
    return verdict(divergence(observed.combined, wanted.combined), threshold, {
      observed_partition: observed.partition,
      expected_partition: wanted.partition,
    });
  });
}

function binsOfNumbers(edges: readonly number[]): StateKind<Bins> {
  return onlyNumbers(bins(edges), 'histogram');
}

/** The share that is kept for tails: on both sides, or on the one that is not infinite. */
function openTails(edges: readonly number[], tail: number): readonly [number, number] {
  const [open, openEnd] = [edges[0] === -Infinity, edges.at(-1) === Infinity];
  return open || openEnd ? [open ? 0 : tail, openEnd ? 0 : tail] : [tail / 2, tail / 2];
}

function inner(weights: readonly number[], { tail, internal }: Holdouts): readonly number[] {
  const scaled = weights.map((weight) => weight * (1 - tail - internal));
  const zeros = scaled.filter((weight) => weight === 0).length;
  return internal > 0 && zeros > 0 ? scaled.map((weight) => (weight === 0 ? internal / zeros : weight)) : scaled;
}

/** An infinite bin at an end is the tail there. */
function sides(edges: readonly number[], weights: readonly number[], tails: readonly [number, number]) {
  const [open, openEnd] = [edges[0] === -Infinity, edges.at(-1) === Infinity];
  const [low, high] = [open ? (weights[0] ?? 0) : tails[0], openEnd ? (weights.at(-1) ?? 0) : tails[1]];
  const between = weights.slice(open ? 1 : 0, openEnd ? -1 : undefined);
  return {
    combined: [low, ...between, high],
    partition: { bins: edges.slice(open ? 1 : 0, openEnd ? -1 : undefined), weights: between, tail_weights: [low, high] },
  };
}
