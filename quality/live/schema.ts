/** How windows are written in rule files: in `defaults`, and beside a check. */
import { durationSchema as duration } from '../../core/duration.ts';
import { STAGED_ROWS_MAX } from '../../core/lots.ts';
import type { SchemaNode } from '../schema-type.ts';

const perCheck = {
  every: {
    ...duration,
    default: '5m',
    title: 'Every',
    description: 'A window begins so often, such as 5m or 1h, counted from midnight in UTC.',
  },
  size: {
    ...duration,
    title: 'Size',
    description: 'How long a window is. Default: as long as every, so that each row is in one window; longer ones slide and overlap.',
  },
  out_of_order: {
    ...duration,
    default: '30s',
    title: 'Out of order',
    description: 'A window is judged once a row has come that is so much later than its end.',
  },
  lateness: {
    ...duration,
    default: '10m',
    title: 'Lateness',
    description: 'Rows that come so long after that still amend the verdict, as its next revision. Later ones are counted and left out.',
  },
  idle: {
    ...duration,
    default: '1m',
    title: 'Idle',
    description: 'A lane that brings nothing for so long is not waited for; where all of them do, windows close by the clock.',
  },
  of: {
    enum: ['rows', 'changes'],
    default: 'rows',
    title: 'Of',
    description:
      'rows: a row counts once, as it was last in the window, and not at all once it is deleted. changes: every insert and update counts.',
  },
} as const;

/** `window:` of a check. */
export const windowSchema: SchemaNode = {
  type: 'object',
  title: 'Window',
  description: 'The windows that the check is judged over. What it leaves out is as defaults.window says.',
  additionalProperties: false,
  minProperties: 1,
  properties: perCheck,
};

export const groupBySchema: SchemaNode = {
  title: 'Group by',
  description: 'Columns: each of their values is judged by itself.',
  anyOf: [
    { type: 'string', minLength: 1 },
    { type: 'array', minItems: 1, maxItems: 8, uniqueItems: true, items: { type: 'string', minLength: 1 } },
  ],
};

const minRows = {
  type: 'integer',
  minimum: 0,
  default: 1,
  title: 'Min rows',
  description: 'A window of fewer rows is indeterminate: too few say nothing. Row counts are judged all the same.',
} as const;
const onEmpty = {
  enum: ['pass', 'fail', 'skip'],
  default: 'skip',
  title: 'On empty',
  description: 'What a window without rows is. skip: nothing is said of it. Row counts are judged all the same.',
} as const;
const maxGroups = {
  type: 'integer',
  minimum: 1,
  maximum: 10_000,
  default: 100,
  title: 'Max groups',
  description: 'How many groups of a window are kept apart; the rows of all others are judged together, as (other).',
} as const;

/** Beside a check over windows. */
export const windowModifiers = {
  window: windowSchema,
  group_by: groupBySchema,
  max_groups: maxGroups,
  on_empty: onEmpty,
  min_rows: minRows,
} as const;

/** `publish`: when rows of the dataset go on to the target. */
export const publishSchema = {
  title: 'Publish',
  description:
    'after_window: rows wait until their window (of defaults.window) is judged; then they go on to the target all at once, or are held as a lot where it failed.',
  anyOf: [
    { enum: ['after_window'] },
    {
      type: 'object',
      additionalProperties: false,
      required: ['when'],
      properties: {
        when: { enum: ['after_window'], description: 'When rows go on.' },
        on_indeterminate: {
          enum: ['publish', 'divert'],
          default: 'publish',
          title: 'On indeterminate',
          description: 'What becomes of a lot of whose window nothing can be said.',
        },
        max_rows: {
          type: 'integer',
          minimum: 1,
          default: STAGED_ROWS_MAX,
          title: 'Max rows',
          description: 'So many rows of the dataset may wait, on the disk of the target. With more the pipeline halts.',
        },
      },
    },
  ],
} as const;

/** `defaults.window`. */
export const windowDefaultsSchema = {
  type: 'object',
  title: 'Window',
  description: 'The windows of checks that do not say.',
  additionalProperties: false,
  properties: {
    ...perCheck,
    min_rows: minRows,
    on_empty: onEmpty,
    max_state: {
      type: 'string',
      pattern: '^[0-9]+(\\.[0-9]+)?(B|kB|MB|GB|KiB|MiB|GiB)$',
      default: '64MB',
      title: 'Max state',
      description: 'What the open windows of this dataset may keep in memory. A file whose checks could need more is refused.',
    },
  },
} as const;
