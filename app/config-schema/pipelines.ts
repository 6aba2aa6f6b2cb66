/** What the config says of pipelines, and of the models that score their changes. */
import type { SchemaNode } from '../schema-type.ts';
import { column, count, DATASET_PATTERN, duration, size } from './options.ts';
import { quarantineTopicsSchema } from './quarantine-topics.ts';

const routeSchema = {
  type: 'object',
  title: 'Route',
  description: 'What you do with a row by its score.',
  properties: {
    when: {
      type: 'string',
      minLength: 1,
      title: 'When',
      description: 'An expression over `score` and, if you like, the row (`after.total > 100`); the first route that is true counts.',
      examples: ['score >= 0.95'],
    },
    do: {
      enum: ['quarantine', 'alert', 'tag'],
      title: 'Do',
      description: 'What happens to the row: quarantine holds it, alert lets it pass and tells you, tag lets it pass and notes it.',
    },
    severity: {
      enum: ['info', 'warning', 'critical'],
      title: 'Severity',
      description: 'How loud to be about it; it never changes what you do with the row.',
      default: 'warning',
    },
  },
  required: ['when', 'do'],
  additionalProperties: false,
} as const satisfies SchemaNode;

export const modelUseSchema = {
  type: 'object',
  title: 'Model in use',
  description: 'A registered model that scores the changes of one of your datasets.',
  properties: {
    model: {
      type: 'string',
      pattern: '^[a-z][a-z0-9_-]{0,62}(@([0-9]+|[a-z][a-z0-9_-]{0,62}))?$',
      title: 'Model',
      description: 'The name you registered it by, with a version or an alias after @; @production if you name none.',
      examples: ['order-risk', 'order-risk@3', 'order-risk@canary'],
    },
    dataset: {
      type: 'string',
      pattern: DATASET_PATTERN,
      title: 'Dataset',
      description: 'Whose changes you score: source.schema.table.',
      examples: ['shop.public.orders'],
    },
    on: {
      type: 'array',
      items: { enum: ['insert', 'update', 'read'] },
      minItems: 1,
      uniqueItems: true,
      title: 'On',
      description: 'Which operations you score; `read` is a row of the snapshot.',
      default: ['insert', 'update', 'read'],
    },
    write: {
      type: 'object',
      title: 'Write',
      description: 'Columns that you add to the target’s table to keep the score; left out, none.',
      default: {},
      properties: {
        score: column('Score column', 'The column that gets the score, if you want one.'),
        model: column('Model column', 'The column that gets the model’s name and version, if you want one.'),
        at: column('Time column', 'The column that gets the time of scoring, if you want one.'),
      },
      additionalProperties: false,
    },
    routes: {
      type: 'array',
      items: routeSchema,
      title: 'Routes',
      description: 'What you do by the score, in order; the first that is true counts.',
      default: [],
    },
    failure: {
      enum: ['fail_open', 'fail_closed', 'hold'],
      title: 'On failure',
      description:
        'What you do while the model does not answer: pass the rows unscored (fail_open), quarantine them (fail_closed), or stop the lane until it works (hold).',
      default: 'fail_open',
    },
    deadline: duration('Deadline', 'How long you wait for the scores of a batch before it counts as a failure.', '200ms'),
  },
  required: ['model', 'dataset'],
  additionalProperties: false,
} as const satisfies SchemaNode;

export const pipelineSchema = {
  type: 'object',
  title: 'Pipeline',
  description: 'A road from one of your sources to one of your targets.',
  properties: {
    source: { type: 'string', title: 'Source', description: 'The source you read, by its name under `sources`.' },
    target: { type: 'string', title: 'Target', description: 'The target you write, by its name under `targets`.' },
    datasets: {
      title: 'Rule files',
      description:
        'Where you keep the rule files, one for each dataset: a path or a pattern, relative to the config file. A table without one passes unjudged.',
      anyOf: [
        { type: 'string', minLength: 1 },
        { type: 'array', items: { type: 'string', minLength: 1 } },
      ],
      default: [],
      examples: ['./datasets/*.yaml'],
    },
    reload: {
      enum: ['ask', 'watch'],
      title: 'Reload',
      description:
        'When you want changed rule files in force without a restart: as soon as you ask for it by `tidegate reload` or SIGHUP (ask), or also by themselves, once they have not changed for a second (watch).',
      default: 'ask',
    },
    batch: {
      type: 'object',
      title: 'Batch',
      description: 'When you close a batch: at the first of these limits. A batch is one transaction of the target.',
      default: {},
      properties: {
        rows: count('Rows', 'How many changes you put into a batch at most.', 5000, 'rows', 1_000_000),
        bytes: size(
          'Bytes',
          'How large you let a batch grow. Where the target is slower than the source, about seven are in memory at once.',
          '4MiB',
        ),
        age: duration(
          'Age',
          'How long you let a batch wait for more changes: 0s sends on whatever has come, for the lowest latency.',
          '0s',
        ),
      },
      additionalProperties: false,
    },
    models: {
      type: 'array',
      items: modelUseSchema,
      title: 'Models',
      description: 'The models by which you score this pipeline’s changes.',
      default: [],
    },
    breaker: {
      type: 'object',
      title: 'Breaker',
      description: 'When so many rows of a dataset are quarantined that you want the lane to stop and someone to look.',
      default: {},
      properties: {
        enabled: { type: 'boolean', title: 'Enabled', description: 'Whether you want the breaker at all.', default: true },
        ratio: {
          type: 'number',
          minimum: 0,
          maximum: 1,
          'x-unit': 'share of the rows',
          title: 'Ratio',
          description: 'The share of quarantined rows at which you stop.',
          default: 0.2,
        },
        over: duration('Over', 'The time over which you count.', '1m'),
        minRows: count('Fewest rows', 'How many rows you want to have seen in that time before it can open.', 200, 'rows', 1_000_000_000),
      },
      additionalProperties: false,
    },
    quarantineTopics: quarantineTopicsSchema,
    verify: {
      type: 'object',
      title: 'Verify',
      description: 'How often you want the target held against the source while the service runs, as `tidegate verify` does it.',
      default: {},
      properties: {
        every: duration(
          'Every',
          'How long you wait between the end of one time and the next. Left out, you verify by `tidegate verify` alone.',
          null,
        ),
        rate: count('Rate', 'How many rows a second you compare at most, to spare the databases.', 20_000, 'rows a second', 1_000_000_000),
        repair: {
          type: 'boolean',
          title: 'Repair',
          description: 'Whether you have the pipeline bring rows again that differ without an explanation.',
          default: false,
        },
      },
      additionalProperties: false,
    },
    takesOver: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      title: 'Takes over',
      description:
        'Pipelines that have ended, and whose tables at the target you have this one write from now on; without it a table that another pipeline has written is refused. A pipeline that only got another name needs it not.',
      default: [],
      examples: [['shop_old']],
    },
    parkedRows: count(
      'Rows parked',
      'How many changes of a table you let wait in the quarantine while a change of its schema waits for you; then the lane stops.',
      100_000,
      'changes',
      1_000_000_000,
    ),
    readyLag: duration(
      'Ready within',
      'How far behind the source you let this pipeline be before /readyz says that it is not ready.',
      '5m',
    ),
  },
  required: ['source', 'target'],
  additionalProperties: false,
} as const satisfies SchemaNode;
