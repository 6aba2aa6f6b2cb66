/** The JSON Schema of a feature mapping: how a row becomes one row of the model's float matrix. Validates uploads and serves editors. */
import type { FromSchema } from './schema-type.ts';

const name = {
  type: 'string',
  minLength: 1,
  maxLength: 128,
  description: 'A name of yours for this feature; unique in the mapping.',
} as const;
const from = {
  type: 'string',
  minLength: 1,
  description: 'The column you read: its name, or `after.<column>` or `before.<column>`.',
} as const;
const nulls = (byDefault: string) =>
  ({
    enum: ['default', 'nan', 'reject', 'indicator'],
    description: `What you do where there is no value: use \`default\`, give the model NaN, reject the row, or use \`default\` and add a column that is 1. ${byDefault}`,
  }) as const;
const zero = { type: 'number', description: 'The value you use where there is none. 0 if you do not say.' } as const;
const vocab = {
  type: 'array',
  items: { type: 'string' },
  minItems: 1,
  maxItems: 10_000,
  uniqueItems: true,
  description: 'The values you trained with, in order, as text.',
} as const;
const rejectByDefault = 'Rejected if you do not say.';
const zerosByDefault = 'All zeros if you do not say.';

const transform = {
  type: 'array',
  description: 'Steps applied to the number, in order.',
  items: {
    anyOf: [
      { enum: ['log1p', 'sqrt', 'abs'] },
      {
        type: 'object',
        properties: { clip: { type: 'array', items: { type: 'number' }, minItems: 2, maxItems: 2 } },
        required: ['clip'],
        additionalProperties: false,
      },
      {
        type: 'object',
        properties: {
          scale: {
            type: 'object',
            properties: { mean: { type: 'number' }, std: { type: 'number', exclusiveMinimum: 0 } },
            required: ['mean', 'std'],
            additionalProperties: false,
          },
        },
        required: ['scale'],
        additionalProperties: false,
      },
    ],
  },
} as const;

const numberFeature = {
  type: 'object',
  properties: { name, type: { const: 'number' }, from, transform, null: nulls(rejectByDefault), default: zero },
  required: ['name', 'type', 'from'],
  additionalProperties: false,
} as const;
const boolFeature = {
  type: 'object',
  properties: { name, type: { const: 'bool' }, from, null: nulls(rejectByDefault), default: zero },
  required: ['name', 'type', 'from'],
  additionalProperties: false,
} as const;
const onehotFeature = {
  type: 'object',
  properties: {
    name,
    type: { const: 'onehot' },
    from,
    vocab,
    unknown: { enum: ['zeros', 'other'], description: 'What an unknown value gives you: all zeros (default), or a 1 in one more column.' },
    null: { enum: ['default', 'reject', 'indicator'], description: nulls(zerosByDefault).description },
  },
  required: ['name', 'type', 'from', 'vocab'],
  additionalProperties: false,
} as const;
const ordinalFeature = {
  type: 'object',
  properties: {
    name,
    type: { const: 'ordinal' },
    from,
    vocab,
    unknown: { type: 'number', description: 'The number you give an unknown value. -1 if you do not say.' },
    null: nulls(rejectByDefault),
    default: zero,
  },
  required: ['name', 'type', 'from', 'vocab'],
  additionalProperties: false,
} as const;
const hashFeature = {
  type: 'object',
  properties: {
    name,
    type: { const: 'hash' },
    from,
    buckets: { type: 'integer', minimum: 1, maximum: 65_536, description: 'How many columns you spread the values over.' },
    signed: {
      type: 'boolean',
      description: 'Whether the hash’s sign decides between 1 and -1, as scikit-learn does. True if you do not say.',
    },
    prefix: {
      type: 'string',
      description: 'Text put before the value: `country=` gives what scikit-learn’s FeatureHasher makes of a dict.',
    },
    pre: {
      type: 'array',
      items: { enum: ['lower', 'trim', 'domain'] },
      description: 'Steps before hashing, in order. `domain` keeps what follows the last @.',
    },
    null: { enum: ['default', 'reject', 'indicator'], description: nulls(zerosByDefault).description },
  },
  required: ['name', 'type', 'from', 'buckets'],
  additionalProperties: false,
} as const;
const timeFeature = {
  type: 'object',
  properties: {
    name,
    type: { const: 'time' },
    from,
    part: {
      enum: ['minute', 'hour', 'dow', 'dom', 'month'],
      description: 'Which part you take, in UTC. `dow` is 0 on Monday, `dom` begins at 1, `month` at 1.',
    },
    encode: {
      enum: ['value', 'sincos'],
      description: 'The number itself (default), or its sine and cosine on the part’s circle: two columns.',
    },
    null: nulls(rejectByDefault),
    default: zero,
  },
  required: ['name', 'type', 'from', 'part'],
  additionalProperties: false,
} as const;
const exprFeature = {
  type: 'object',
  properties: {
    name,
    type: { const: 'expr' },
    expr: {
      type: 'string',
      minLength: 1,
      description: 'An expression over your row that gives a number or a truth: `after.total - after.net`.',
    },
    null: nulls(rejectByDefault),
    default: zero,
  },
  required: ['name', 'type', 'expr'],
  additionalProperties: false,
} as const;
const changedFeature = {
  type: 'object',
  properties: {
    name,
    type: { const: 'changed' },
    from: {
      type: 'string',
      minLength: 1,
      description: 'The column: 1 where this change changed it, 0 where it did not or the row is new.',
    },
    null: nulls(rejectByDefault),
    default: zero,
  },
  required: ['name', 'type', 'from'],
  additionalProperties: false,
} as const;
const constFeature = {
  type: 'object',
  properties: { name, type: { const: 'const' }, value: { type: 'number', description: 'The number you give the model for every row.' } },
  required: ['name', 'type', 'value'],
  additionalProperties: false,
} as const;

/** By `type`: the parser validates each feature against its own schema, so that a problem names what that kind of feature lacks. */
export const featureSchemas = {
  number: numberFeature,
  bool: boolFeature,
  onehot: onehotFeature,
  ordinal: ordinalFeature,
  hash: hashFeature,
  time: timeFeature,
  expr: exprFeature,
  changed: changedFeature,
  const: constFeature,
} as const;
export type FeatureType = keyof typeof featureSchemas;

export const mappingSchema = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  title: 'Feature mapping',
  description: 'How your rows become the input of your model, and which of its outputs is the score.',
  type: 'object',
  properties: {
    apiVersion: { const: 'inference/v1' },
    columns: {
      type: 'object',
      description: 'The columns your features read, with their types. A dataset that you score has to have them.',
      additionalProperties: {
        enum: ['boolean', 'integer', 'float', 'decimal', 'text', 'timestamp', 'date', 'time', 'json', 'bytes', 'other'],
      },
    },
    input: { type: 'string', minLength: 1, description: 'The model’s input tensor [rows, features]. Its only one if you do not say.' },
    output: {
      type: 'object',
      description: 'Where the score is. The model’s only output, last column, if you do not say.',
      properties: {
        tensor: { type: 'string', minLength: 1, description: 'The output tensor you read.' },
        index: { type: 'integer', minimum: 0, description: 'Its column that holds the score.' },
      },
      additionalProperties: false,
    },
    unreadable: {
      type: 'object',
      description: 'What becomes of a row that your features reject, or that the model scores with NaN.',
      properties: {
        do: { enum: ['tag', 'warn', 'quarantine'], description: 'Warn if you do not say: the row goes on unscored.' },
        severity: { enum: ['info', 'warning', 'critical'], description: 'Warning if you do not say.' },
      },
      additionalProperties: false,
    },
    features: {
      type: 'array',
      minItems: 1,
      maxItems: 10_000,
      description: 'The columns of the model’s input, in order.',
      items: {
        anyOf: [
          numberFeature,
          boolFeature,
          onehotFeature,
          ordinalFeature,
          hashFeature,
          timeFeature,
          exprFeature,
          changedFeature,
          constFeature,
        ],
      },
    },
    golden: {
      type: 'array',
      maxItems: 1000,
      description: 'Rows whose scores you know: the model is refused where it gives others.',
      items: {
        type: 'object',
        properties: {
          row: {
            type: 'object',
            description: 'The row’s columns: numbers, truths and texts as they would be read from the source.',
            additionalProperties: { anyOf: [{ type: 'null' }, { type: 'boolean' }, { type: 'number' }, { type: 'string' }] },
          },
          before: {
            type: 'object',
            description: 'The row before the change, if this is an update.',
            additionalProperties: { anyOf: [{ type: 'null' }, { type: 'boolean' }, { type: 'number' }, { type: 'string' }] },
          },
          score: { type: 'number', description: 'What the model has to give.' },
          tolerance: { type: 'number', minimum: 0, description: 'How far off it may be. 1e-5 if you do not say.' },
        },
        required: ['row', 'score'],
        additionalProperties: false,
      },
    },
  },
  required: ['apiVersion', 'columns', 'features'],
  additionalProperties: false,
} as const;

export type Mapping = FromSchema<typeof mappingSchema>;
export type Feature = Mapping['features'][number];
export type GoldenRow = NonNullable<Mapping['golden']>[number];
