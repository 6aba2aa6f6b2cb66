/** The rule file of a dataset as one JSON Schema: what ajv validates, what editors complete, and what the types are made from. */
import type { Operation } from '../core/event.ts';
import type { Severity } from '../core/batch.ts';
import { durationSchema as duration } from '../core/duration.ts';
import { CLOCK } from './clock/registry.ts';
import { COMPATIBILITY_LEVELS, COMPATIBILITY_POLICIES } from './compatibility/levels.ts';
import { TIMERS } from './timers/registry.ts';
import { EXPECTATIONS } from './expectations/registry.ts';
import { WORDS } from './gx/registry.ts';
import { missingSchema } from './missing.ts';
import { publishSchema, windowDefaultsSchema, windowModifiers } from './live/schema.ts';
import type { FromSchema, SchemaNode } from './schema-type.ts';
import { sloSchema } from './slo/schema.ts';

export const OPERATIONS = ['insert', 'update', 'delete', 'read', 'truncate'] as const satisfies readonly Operation[];
export const DRIFT_KINDS = [
  'add_optional',
  'add_required',
  'drop',
  'rename',
  'widen',
  'narrow',
  'retype',
  'nullable',
  'key',
  'enum',
] as const;

const onFail = {
  enum: ['tag', 'warn', 'quarantine', 'drop', 'halt'],
  title: 'On fail',
  description:
    'What happens to a row that fails: tag and warn let it pass, quarantine holds it, drop leaves it out, halt stops the lane before it.',
} as const;
const onFailOfAny = {
  enum: [...onFail.enum, 'alert', 'hold'],
  title: 'On fail',
  description: `${onFail.description} Of a window: alert (the default) tells people; halt stops the pipeline as well; hold has later rows of the dataset wait until you let them go on.`,
} as const;
const severity = {
  enum: ['info', 'warning', 'critical'] satisfies readonly Severity[],
  title: 'Severity',
  description: 'How loud to be about it. Never what happens to the row.',
} as const;
const nulls = {
  enum: ['skip', 'fail', 'pass'],
  title: 'Nulls',
  description:
    'What a null does to a check that does not speak of nulls: skip and pass let it pass (a window counts them differently), fail fails it.',
} as const;
const ops = {
  type: 'array',
  title: 'Operations',
  minItems: 1,
  items: { enum: [...OPERATIONS, 'c', 'u', 'd', 'r', 't'] },
  description:
    'The operations that meet the check. Deletes (judged by their old row) and truncates meet only checks that name them. c, u, d, r, t are short for insert, update, delete, read, truncate.',
} as const;

const modifiers = {
  id: {
    type: 'string',
    minLength: 1,
    maxLength: 200,
    title: 'Id',
    description: 'Names the rule in findings and metrics. Default: <column>.<check>.',
  },
  where: { type: 'string', minLength: 1, title: 'Where', description: 'A condition in CEL: only rows for which it is true are judged.' },
  on_fail: onFailOfAny,
  severity,
  nulls,
  ops,
  message: {
    type: 'string',
    minLength: 1,
    maxLength: 500,
    title: 'Message',
    description: 'What findings say instead of the check’s own words.',
  },
  allow_values: {
    type: 'boolean',
    default: false,
    title: 'Allow values',
    description: 'Findings may show the values of the columns that the check reads.',
  },
  no_before: {
    enum: ['skip', 'fail'],
    default: 'skip',
    title: 'No before',
    description:
      'What immutable, transitions and change_between do where the source sends no old row (REPLICA IDENTITY DEFAULT): skip the row, or fail it.',
  },
  mostly: {
    type: 'number',
    exclusiveMinimum: 0,
    maximum: 1,
    title: 'Mostly',
    description:
      'The share of rows that has to pass. Less than 1: rows that fail are tagged (on_fail: tag or warn), and the window, or the file, fails.',
  },
  missing: missingSchema,
  dimension: { type: 'string', title: 'Dimension', description: 'A word for people, such as completeness or consistency.' },
  description: { type: 'string', title: 'Description', description: 'What the check is for.' },
  ...windowModifiers,
} as const;
export const MODIFIERS: readonly string[] = Object.keys(modifiers);

type Modifiers = FromSchema<{ readonly type: 'object'; readonly properties: typeof modifiers }>;
/** A check as an object of the rule file: its modifiers, and one key that names an expectation. */
export type CheckItem = Modifiers & {
  readonly column?: string;
  readonly expect?: string;
  readonly kwargs?: Readonly<Record<string, unknown>>;
} & Readonly<Record<string, unknown>>;

function expectationSchemas(on: 'column' | 'row'): Record<string, SchemaNode> {
  const chosen = [...EXPECTATIONS.values()].filter((expectation) => on === 'row' || expectation.on !== 'row');
  return { ...Object.fromEntries(chosen.map(({ name, schema }) => [name, schema])), ...wordSchemas(on) };
}

/** Checks over a file or a window. Where they cannot be judged yet, the reader says so before this schema is asked. */
function wordSchemas(on: 'column' | 'row'): Record<string, SchemaNode> {
  const chosen = [...WORDS.values()].filter(({ word }) => on === 'row' || word.on === 'column');
  return Object.fromEntries(chosen.map(({ word }) => [word.name, word.schema]));
}

const bareNames = unique([
  ...[...EXPECTATIONS.values()].filter(({ bare }) => bare).map(({ name }) => name),
  ...[...WORDS.values()].filter(({ word }) => word.bare === true).map(({ word }) => word.name),
]);

/** Some are judged row by row on a stream, and all at once over a file. */
function unique(names: readonly string[]): string[] {
  return [...new Set(names)];
}

const columnItem: SchemaNode = {
  title: 'Check of a column',
  anyOf: [
    { enum: bareNames, description: 'A check without parameters.' },
    { type: 'null', description: 'YAML reads a bare null so: the check `null`.' },
    { type: 'object', additionalProperties: false, properties: { ...expectationSchemas('column'), ...modifiers } },
  ],
};

const rowItem: SchemaNode = {
  title: 'Check of a row, or of a column in the long form',
  type: 'object',
  additionalProperties: false,
  properties: {
    column: { type: 'string', minLength: 1, title: 'Column', description: 'The column that a check of a column stands at.' },
    expect: {
      type: 'string',
      pattern: '^(expect_|unexpected_rows_expectation$)',
      title: 'Expectation',
      description: 'A Great Expectations name, with its kwargs.',
    },
    ...Object.fromEntries([...CLOCK.values(), ...TIMERS.values()].map(({ name, schema }) => [name, schema])),
    kwargs: { type: 'object', title: 'Kwargs', description: 'The keyword arguments of expect.' },
    ...expectationSchemas('row'),
    ...modifiers,
  },
};

const policy = {
  enum: ['accept', 'ignore', 'warn', 'quarantine', 'halt', 'hold'],
  description:
    'accept: rows pass, and the target’s table follows. ignore: rows pass, and it stays as it is. warn: accept with a finding. hold: this dataset waits until somebody approves. quarantine: its rows are held. halt: the lane stops.',
} as const;

const parts = {
  apiVersion: { const: 'quality/v1', title: 'Version of this format' },
  kind: { const: 'DatasetRules', title: 'Kind of file' },
  dataset: {
    type: 'string',
    pattern: '^[^.\\s]+\\.[^.\\s]([^.]*[^.\\s])?\\.[^.\\s]([\\s\\S]*[^.\\s])?$',
    title: 'Dataset',
    description: '<source name in the config>.<schema>.<table>. One file per dataset.',
  },
  version: {
    type: 'integer',
    minimum: 1,
    default: 1,
    title: 'Version',
    description: 'The version of the rules, for people; the file’s hash tells texts apart.',
  },
  owner: { type: 'string', minLength: 1, title: 'Owner', description: 'Who answers for the dataset.' },
  description: { type: 'string', title: 'Description', description: 'What the dataset is.' },
  tags: { type: 'array', items: { type: 'string', minLength: 1 }, title: 'Tags' },
  mode: { enum: ['enforce', 'shadow'], default: 'enforce', title: 'Mode', description: 'shadow: judge and count, and never act.' },
  hold: {
    enum: ['event', 'key'],
    title: 'Hold',
    description:
      'What waits when an event is held: the event alone, or all later events of its key too. Default: key where the dataset can send UNCHANGED cells.',
  },
  publish: publishSchema,
  source: {
    type: 'object',
    title: 'Source',
    additionalProperties: false,
    properties: {
      ops: { ...ops, description: 'The operations that checks meet which do not say. Default: insert, update, read.' },
      event_time: {
        type: 'string',
        pattern: '^(commit|source\\.ts_ms|after\\..+)$',
        default: 'commit',
        title: 'Event time',
        description: 'When a row happened, for windows: commit (source.ts_ms is the same), or after.<column> with a timestamp or a date.',
      },
    },
  },
  schema: {
    type: 'object',
    title: 'Schema',
    description: 'What the table is expected to look like, and what happens when it changes.',
    additionalProperties: false,
    properties: {
      columns: {
        type: 'object',
        title: 'Columns',
        description: 'Every expected column with its type: a kind (integer, text, …) or the source’s own name (numeric(12,2)).',
        minProperties: 1,
        additionalProperties: {
          anyOf: [
            { type: 'string', minLength: 1 },
            {
              type: 'object',
              additionalProperties: false,
              required: ['type'],
              properties: {
                type: { type: 'string', minLength: 1, description: 'A kind of type or the source’s own name.' },
                nullable: { type: 'boolean', description: 'Whether the column may be null. Not said: not compared.' },
              },
            },
          ],
        },
      },
      evolution: {
        type: 'object',
        title: 'Evolution',
        description: 'The policy for each kind of change. Without columns, what a table was last is what it is expected to be.',
        additionalProperties: false,
        properties: {
          add: { ...policy, title: 'A new column of either kind' },
          add_optional: { ...policy, title: 'A new column that may be null' },
          add_required: { ...policy, title: 'A new column that may not be null' },
          drop: { ...policy, title: 'A column that is gone' },
          rename: { ...policy, title: 'A column that has another name' },
          widen: { ...policy, title: 'A type that holds more' },
          narrow: { ...policy, title: 'A type that holds less' },
          retype: { ...policy, title: 'Another type' },
          nullable: { ...policy, title: 'A column that may be null now' },
          key: { ...policy, title: 'Another key' },
          enum: { ...policy, title: 'A new value of an enum: accept adds it to the target’s type, all else holds rows that have it' },
        },
      },
      compatibility: {
        enum: [...COMPATIBILITY_LEVELS],
        title: 'Compatibility',
        description:
          'How the newest version of the schema at the registry has to go with those before it: the check schema_compatible, every five minutes.',
      },
      subject: {
        type: 'string',
        minLength: 1,
        title: 'Subject',
        description: 'The subject at the registry. Default: the topic of the dataset, with -value behind it.',
      },
      policy: {
        enum: [...COMPATIBILITY_POLICIES],
        default: 'strict',
        title: 'Policy',
        description: 'Of JSON Schema: whether a property that an open content model did not name may be named (lenient), or not (strict).',
      },
      record_schema: {
        type: ['string', 'object'],
        title: 'Record schema',
        description: 'A JSON Schema that every row as an object has to fit, or the path of a file with it.',
      },
    },
  },
  defaults: {
    type: 'object',
    title: 'Defaults',
    description: 'What checks do that do not say.',
    additionalProperties: false,
    properties: {
      on_fail: { ...onFail, default: 'quarantine' },
      severity: { ...severity, default: 'critical' },
      nulls: { ...nulls, default: 'skip' },
      missing: {
        ...missingSchema,
        description:
          'Values that stand for none in every column of which they are values: checks of cells judge them as if they were null. A check that has missing itself has these alone.',
      },
      window: windowDefaultsSchema,
    },
  },
  columns: {
    type: 'object',
    title: 'Checks of columns',
    description: 'Column by column, the checks in short form.',
    additionalProperties: { type: 'array', minItems: 1 },
  },
  checks: { type: 'array', title: 'Checks', description: 'Checks of whole rows, and the long form.', items: { type: 'object' } },
  imports: {
    type: 'array',
    title: 'Imports',
    description: 'Files with checks that count as if they stood here.',
    items: {
      type: 'object',
      additionalProperties: false,
      required: ['gx_suite'],
      properties: {
        gx_suite: {
          type: 'string',
          minLength: 1,
          title: 'Suite',
          description: 'The path of a suite that Great Expectations wrote, from the folder of the rule file.',
        },
        on_fail: { ...onFail, description: `${onFail.description} For its checks of rows; those with mostly below 1 tag.` },
        severity,
      },
    },
  },
  breaker: {
    type: 'object',
    title: 'Breaker',
    description: 'Stops the lane when too much is quarantined.',
    additionalProperties: false,
    required: ['open_when'],
    properties: {
      open_when: {
        type: 'object',
        title: 'Open when',
        additionalProperties: false,
        required: ['quarantined_ratio'],
        properties: {
          quarantined_ratio: {
            type: 'number',
            exclusiveMinimum: 0,
            maximum: 1,
            description: 'The share of quarantined rows that is too much.',
          },
          over: { ...duration, default: '1m', description: 'The time over which it is measured, such as 1m.' },
          min_rows: { type: 'integer', minimum: 1, default: 200, description: 'The fewest rows in that time that say anything.' },
        },
      },
      while_open: { enum: ['hold'], default: 'hold', description: 'What happens while it is open: the lane stops.' },
    },
  },
} as const;

const outline = { type: 'object', properties: parts, required: ['apiVersion', 'kind', 'dataset'] } as const;
/** The file as it is written, once it fits the schema. The checks are typed as items; their parameters belong to the expectations. */
export type RuleFile = Omit<FromSchema<typeof outline>, 'columns' | 'checks'> & {
  readonly columns?: Readonly<Record<string, readonly (string | null | CheckItem)[]>>;
  readonly checks?: readonly CheckItem[];
};

export const contractSchema: SchemaNode = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  $id: 'https://tidegate.dev/schema/dataset-rules.v1.schema.json',
  title: 'Tidegate dataset rules',
  description: 'What a dataset has to be like, and what happens to rows that are not. docs/rules.md explains every check.',
  type: 'object',
  additionalProperties: false,
  required: outline.required,
  properties: {
    ...parts,
    columns: { ...parts.columns, additionalProperties: { type: 'array', minItems: 1, items: columnItem } },
    checks: { ...parts.checks, items: rowItem },
    slo: sloSchema,
  },
};
