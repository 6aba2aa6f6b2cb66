/** Kinds of options that turn up all over the config's schema. A default of null means that the option may be left out. */
import type { SchemaNode } from '../schema-type.ts';
import { DURATION_PATTERN, SIZE_PATTERN } from '../units.ts';

/** Names of sources, targets, pipelines, models and alerts: they turn up in lanes, metrics and urls. */
export const NAME_PATTERN = '^[a-z][a-z0-9_-]{0,62}$';
/** What stands before and behind the first dot are names as PostgreSQL keeps them, without quotes and with no space at their ends. That of a table may hold dots. */
const SCHEMA_NAME = '[^.\\s]([^.]*[^.\\s])?';
const TABLE_NAME = '[^.\\s]([\\s\\S]*[^.\\s])?';
export const TABLE_PATTERN = `^${SCHEMA_NAME}\\.${TABLE_NAME}$`;
export const DATASET_PATTERN = `^[^.\\s]+\\.${SCHEMA_NAME}\\.${TABLE_NAME}$`;
export const COLUMN_PATTERN = '^[^\\x00]{1,63}$';

export const secret = (title: string, description: string) =>
  ({
    title,
    description,
    'x-kind': 'secret',
    anyOf: [
      { type: 'string', minLength: 1 },
      {
        type: 'object',
        title: 'From a file',
        description: 'The text of a file, without its last line break.',
        properties: {
          file: {
            type: 'string',
            title: 'File',
            description: 'Where you keep the secret; relative to the config file.',
            minLength: 1,
          },
        },
        required: ['file'],
        additionalProperties: false,
      },
    ],
  }) as const satisfies SchemaNode;

export const duration = <D extends string | null>(title: string, description: string, byDefault: D) =>
  ({
    type: 'string',
    'x-kind': 'duration',
    'x-unit': 'ms, s, m, h or d',
    pattern: DURATION_PATTERN,
    title,
    description,
    default: byDefault,
  }) as const;

export const size = <D extends string | null>(title: string, description: string, byDefault: D) =>
  ({
    type: 'string',
    'x-kind': 'size',
    'x-unit': 'B, kB, MB, GB, KiB, MiB or GiB',
    pattern: SIZE_PATTERN,
    title,
    description,
    default: byDefault,
  }) as const;

export const count = <D extends number | null>(title: string, description: string, byDefault: D, unit: string, maximum: number) =>
  ({ type: 'integer', minimum: 1, maximum, 'x-unit': unit, title, description, default: byDefault }) as const;

export const column = (title: string, description: string) =>
  ({ type: 'string', pattern: COLUMN_PATTERN, title, description, default: null }) as const;

/** The same for every kind of target. */
export const holdSchema = {
  enum: ['event', 'key'],
  title: 'Hold',
  description:
    'What you hold when an event is quarantined: the event alone, or the later events of its key as well, in order. Left out, a dataset that can send unchanged (TOAST) cells holds the key and any other the event.',
  default: null,
} as const satisfies SchemaNode;

/** How topics that are missing are made. */
export const MADE_TOPICS = {
  create: {
    type: 'boolean',
    title: 'Create',
    description: 'Whether you let it make topics that are missing. Those that are there are left as they are.',
    default: true,
  },
  partitions: count(
    'Partitions',
    'How many partitions you make a topic with. Records of one row stay in one partition, in order. Left out, the brokers decide.',
    null,
    'partitions',
    10_000,
  ),
  replication: count('Replication', 'On how many brokers you keep each partition. Left out, the brokers decide.', null, 'brokers', 100),
  retention: duration('Retention', 'How long you keep records. Left out, the brokers decide.', null),
} as const;
