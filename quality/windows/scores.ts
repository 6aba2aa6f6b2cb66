/** What a model made of the rows of a window: how its scores are spread, how many rows got none, and of how many a feature was missing. */
import { isObject } from '../rule-text.ts';
import { type Kwargs, refuse } from '../gx/kwargs.ts';
import type { GxExpectation, WordExample } from '../gx/expectation.ts';
import { defineAggregate } from './aggregate.ts';
import { nothing, type Reads, type WindowCheck, windowCheck } from './check.ts';
import { chiSquareOf, jsOf, ksOf, psiOf } from './distances.ts';
import { type Drift, driftWindow, EDGES, MAX_DISTANCE, referenceSchema, TAIL_WEIGHTS } from './drift.ts';

type OfScores = Extract<Reads, { readonly kind: 'score' }>['of'];

const model = {
  type: 'string',
  minLength: 1,
  pattern: '^[^@]+$',
  title: 'Model',
  description: 'The model, by its name alone: whichever version scored a row.',
} as const;

const METRICS: ReadonlyMap<string, Pick<Drift, 'of' | 'distance'>> = new Map([
  ['psi', { of: 'either', distance: psiOf }],
  ['js', { of: 'either', distance: jsOf }],
  ['ks', { of: 'bins', distance: ksOf }],
  ['chi_square', { of: 'either', distance: chiSquareOf }],
]);

export const scoreDrift = defineAggregate({
  name: 'score_drift',
  takes: ['model', 'metric', 'reference', 'reference_type', 'bins', 'weights', 'tail_weights', 'max'],
  of: null,
  word: {
    name: 'score_drift',
    on: 'row',
    level: 'window',
    schema: {
      title: 'Drift of scores',
      description:
        'How far the [scores of a model](windows.md#what-models-make-of-rows) are from those of a reference: psi unless `metric` says js, ks or chi_square. The reference is bins with weights: shares or counts, which are made shares; or `reference`: [a file](windows.md#references), or [the windows before](windows.md#windows-beside-those-before).',
      type: 'object',
      additionalProperties: false,
      required: ['model', 'max'],
      properties: {
        model,
        metric: { enum: [...METRICS.keys()], default: 'psi', title: 'Metric', description: 'How far it is.' },
        bins: EDGES,
        weights: { type: 'array', minItems: 1, items: { type: 'number', minimum: 0 }, description: 'Of each bin.' },
        tail_weights: TAIL_WEIGHTS,
        reference: referenceSchema('numbers'),
        max: MAX_DISTANCE,
      },
    },
    kwargs: (parameters) => parameters as Readonly<Record<string, unknown>>,
    example: {
      rule: '- score_drift: { model: order-risk, bins: [0, 0.5, 1], weights: [0.8, 0.2], max: 0.25 }',
      scoredBy: 'order-risk',
      passes: scored(0.1, 0.2, 0.3, 0.4, 0.9),
      fails: scored(0.1, 0.7, 0.8, 0.9, 0.9),
    },
  },
  window: (kwargs) => {
    const name = kwargs.has('metric') ? kwargs.text('metric') : 'psi';
    const metric = METRICS.get(name) ?? refuse('metric', `is none of ${[...METRICS.keys()].join(', ')}`, 'Write psi.');
    refuseValues(kwargs);
    return { ...driftWindow(kwargs, { ...metric, name }), reads: reads(kwargs, 'score') };
  },
});

/** Scores are numbers, however few different ones there are. */
function refuseValues(kwargs: Kwargs): void {
  const reference = kwargs.get('reference');
  const rolling = isObject(reference) ? reference['rolling'] : null;
  if (kwargs.has('values') || (isObject(rolling) && rolling['values'] !== undefined))
    refuse('reference', 'is of values, and scores are numbers', 'Make it of bins.');
}

export const abstainRate = shareOfRows(
  'abstain_rate',
  'score',
  'Rows without a score',
  'Of the rows that a model [was asked for](windows.md#what-models-make-of-rows), no more than this share got no score, for whatever reason: a feature was missing, the model gave no number, or did not answer.',
  {
    rule: '- abstain_rate: { model: order-risk, max: 0.25 }',
    scoredBy: 'order-risk',
    passes: scored(0.1, 0.2, 0.3, 'unavailable'),
    fails: scored(0.1, 'feature missing', 'unavailable'),
  },
);

export const featureMissing = shareOfRows(
  'feature_missing',
  'features',
  'Rows with a feature missing',
  'Of the rows that a model [scored or could not read](windows.md#what-models-make-of-rows), no more than this share had a feature that its mapping rejects: a null where it says `null: reject`, or what is no number.',
  {
    rule: '- feature_missing: { model: order-risk, max: 0.25 }',
    scoredBy: 'order-risk',
    passes: scored(0.1, 0.2, 0.3, 'feature missing'),
    fails: scored(0.1, 'feature missing', 'unavailable'),
  },
);

function shareOfRows(name: string, of: OfScores, title: string, description: string, example: WordExample): GxExpectation {
  return defineAggregate({
    name,
    takes: ['model', 'max'],
    of: null,
    word: {
      name,
      on: 'row',
      level: 'window',
      schema: {
        title,
        description,
        type: 'object',
        additionalProperties: false,
        required: ['model', 'max'],
        properties: { model, max: { type: 'number', minimum: 0, maximum: 1, description: 'The greatest share.' } },
      },
      kwargs: (parameters) => parameters as Readonly<Record<string, unknown>>,
      example,
    },
    window: (kwargs): WindowCheck => {
      const max = kwargs.number('max');
      const check = windowCheck(nothing, (_, { rows, missing }) => {
        const observed = rows === 0 ? null : missing / rows;
        return { success: observed !== null && observed <= max, observed };
      });
      return { ...check, reads: reads(kwargs, of) };
    },
  });
}

const reads = (kwargs: Kwargs, of: OfScores): Reads => ({ kind: 'score', model: kwargs.text('model'), of });

/** Rows by their scores, or why they have none, for examples. */
function scored(...scores: readonly (number | string)[]): Readonly<Record<string, unknown>>[] {
  return scores.map((score) => ({ score }));
}
