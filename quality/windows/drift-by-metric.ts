/** drift: how far a window is from a reference, by the name of the metric. */
import { refuse } from '../gx/kwargs.ts';
import { defineAggregate } from './aggregate.ts';
import { chiSquareOf, jsOf, klOf, ksOf, psiOf } from './distances.ts';
import { type Drift, driftWindow, MAX_DISTANCE, referenceSchema } from './drift.ts';
import { rowsOf } from './words.ts';

const METRICS: ReadonlyMap<string, Pick<Drift, 'of' | 'distance'>> = new Map([
  ['psi', { of: 'either', distance: psiOf }],
  ['js', { of: 'either', distance: jsOf }],
  ['kl', { of: 'either', distance: klOf }],
  ['ks', { of: 'bins', distance: ksOf }],
  ['chi_square', { of: 'either', distance: chiSquareOf }],
]);

export const drift = defineAggregate({
  name: 'drift',
  takes: ['metric', 'reference', 'reference_type', 'bins', 'values', 'weights', 'tail_weights', 'other_weight', 'max'],
  word: {
    name: 'drift',
    on: 'column',
    level: 'window',
    schema: {
      title: 'Drift',
      description:
        'One of psi, js, kl, ks and chi_square, by name, against a `reference`: [a file](windows.md#references), or [the windows before](windows.md#windows-beside-those-before).',
      type: 'object',
      additionalProperties: false,
      required: ['metric', 'reference', 'max'],
      properties: {
        metric: { enum: [...METRICS.keys()], title: 'Metric', description: 'How far it is.' },
        reference: referenceSchema('either'),
        max: MAX_DISTANCE,
      },
    },
    kwargs: (parameters) => parameters as Readonly<Record<string, unknown>>,
    example: {
      rule: 'status: [{ drift: { metric: js, reference: { rolling: { windows: 5, values: 10 } }, max: 0.1 } }]',
      after: { windows: 10, rows: rowsOf('status', 'new', 'paid') },
      passes: rowsOf('status', 'paid', 'new'),
      fails: rowsOf('status', 'gone', 'gone'),
    },
  },
  window: (kwargs) => {
    const metric = kwargs.text('metric');
    const found = METRICS.get(metric);
    return found === undefined
      ? refuse('metric', `is none of ${[...METRICS.keys()].join(', ')}`, 'Write psi.')
      : driftWindow(kwargs, { ...found, name: metric });
  },
});
