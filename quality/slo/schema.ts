/** How `slo:` is written in rule files. */
import { durationSchema as duration } from '../../core/duration.ts';
import { SLO_UNITS } from '../../core/slo.ts';
import type { SchemaNode } from '../schema-type.ts';

const burnSchema: SchemaNode = {
  type: 'object',
  title: 'Burn rate',
  description: 'You are told when the budget is used up so many times too fast.',
  additionalProperties: false,
  required: ['window', 'rate'],
  properties: {
    window: { ...duration, title: 'Window', description: 'The span it is measured over, such as 1h.' },
    short: {
      ...duration,
      title: 'Short window',
      description: 'It has to be so over this span as well, so that it ends soon after the trouble does. Default: a twelfth of window.',
    },
    rate: {
      type: 'number',
      exclusiveMinimum: 0,
      title: 'Rate',
      description: 'How many times faster than what would use up the whole budget in just the time of the objective.',
    },
    page: { type: 'boolean', default: false, title: 'Page', description: 'true: it is critical. false: it is a warning.' },
  },
};

const objectiveSchema: SchemaNode = {
  type: 'object',
  title: 'Service level',
  description: 'What share is promised to be good, and over what time.',
  additionalProperties: false,
  required: ['objective'],
  properties: {
    id: {
      type: 'string',
      minLength: 1,
      maxLength: 200,
      title: 'Id',
      description: 'Names it in alerts and metrics. Default: what it is of.',
    },
    objective: { type: 'number', title: 'Objective', description: 'The share in percent that is promised to be good, such as 99.9.' },
    of: {
      enum: [...SLO_UNITS],
      default: 'rows',
      title: 'Of',
      description:
        'rows: changes that are neither held nor dropped. windows: windows that pass. minutes: minutes in which the newest row was not too old.',
    },
    rule: {
      type: 'string',
      minLength: 1,
      title: 'Rule',
      description: 'Of windows, the rule it is about (default: all of them). Of minutes, the freshness check (default: the only one).',
    },
    over: {
      ...duration,
      default: '28d',
      title: 'Over',
      description: 'The time that the promise is about, counted back from now: 1h to 30d.',
    },
    burn: {
      type: 'array',
      minItems: 1,
      maxItems: 8,
      items: burnSchema,
      title: 'Burn rates',
      description: 'When to tell you. Default: 14.4 over 1h and 6 over 6h (page), 1 over 3d.',
    },
    min_count: {
      type: 'integer',
      minimum: 1,
      title: 'Min count',
      description:
        'With fewer rows, windows or minutes than this in its window a burn rate tells nothing. Default: 100 rows, 3 windows, 5 minutes.',
    },
  },
};

export const sloSchema: SchemaNode = {
  title: 'Service levels',
  description: 'What the dataset is promised to be. One, or a list.',
  anyOf: [objectiveSchema, { type: 'array', minItems: 1, maxItems: 16, items: objectiveSchema }],
};
