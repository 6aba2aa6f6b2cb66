/** What the config says of targets, and of how the tables of single datasets look there. */
import type { SchemaNode } from '../schema-type.ts';
import { kafkaTargetSchema } from './kafka-target.ts';
import { column, COLUMN_PATTERN, DATASET_PATTERN, duration, holdSchema, secret } from './options.ts';

export const layoutSchema = {
  type: 'object',
  title: 'Layout',
  description: 'How the table of one dataset looks at the target, where you want it otherwise than at the source.',
  properties: {
    dataset: {
      type: 'string',
      pattern: DATASET_PATTERN,
      title: 'Dataset',
      description: 'Whose table you describe: source.schema.table.',
      examples: ['shop.public.orders'],
    },
    schema: column('Schema', 'The schema that you want this table in, if not in that of the target.'),
    table: column('Table', 'The name that you want this table to have, if not the source’s.'),
    columns: {
      type: 'array',
      items: { type: 'string', pattern: COLUMN_PATTERN },
      minItems: 1,
      uniqueItems: true,
      title: 'Columns',
      description: 'Those of the source’s columns that you want; the key must be among them. Left out, all, and new ones as they come.',
      default: null,
    },
    rename: {
      type: 'object',
      additionalProperties: { type: 'string', pattern: COLUMN_PATTERN },
      title: 'Rename',
      description: 'Columns that you want under other names: the source’s name, then the target’s.',
      default: {},
      examples: [{ cust_no: 'customer_id' }],
    },
    softDelete: {
      type: 'object',
      title: 'Soft delete',
      description:
        'Columns by which you mark rows as deleted instead of deleting them; with neither, they are deleted. An insert of the same key brings the row back. A row that moves to another key leaves nothing at the old one.',
      default: {},
      properties: {
        at: column('Time column', 'The column that gets the time of the deleting commit (timestamptz), and null while the row is there.'),
        flag: column('Flag column', 'The column that says whether the row is deleted (boolean).'),
      },
      additionalProperties: false,
    },
    history: {
      type: 'object',
      title: 'History',
      description:
        'Columns between which you keep every version of each row, instead of the last one: a change closes the version before it and adds its own. You name both, or neither; not beside softDelete.',
      default: {},
      properties: {
        from: column('From column', 'The column that gets the time of the commit that made the version (timestamptz).'),
        to: column('To column', 'The column that gets the time of the commit that ended it (timestamptz), and null while it holds.'),
      },
      additionalProperties: false,
    },
    write: {
      type: 'object',
      title: 'Write',
      description: 'Columns that you add to tell of the change that each row was last written by; left out, none.',
      default: {},
      properties: {
        position: column('Position column', 'The column that gets the place of the commit in the source’s log (pg_lsn).'),
        committedAt: column('Commit time column', 'The column that gets the time of the commit (timestamptz).'),
        operation: column(
          'Operation column',
          'The column that gets what happened: insert, update, delete, or read for a row of the snapshot.',
        ),
        verdict: column('Verdict column', 'The column that gets the verdict of your rules and models: pass, tag or warn.'),
      },
      additionalProperties: false,
    },
  },
  required: ['dataset'],
  additionalProperties: false,
} as const satisfies SchemaNode;

export const postgresTargetSchema = {
  type: 'object',
  title: 'PostgreSQL target',
  description: 'A database that you keep in step with a source.',
  properties: {
    kind: { const: 'postgres', title: 'Kind', description: 'What kind of target you write: a PostgreSQL server.' },
    url: secret(
      'Url',
      'How you reach it: postgres://user:password@host:port/database. TLS, poolers and more: docs/connections.md. Take it from the environment (${NAME}) or a file; it is never printed.',
    ),
    schema: {
      type: 'string',
      pattern: COLUMN_PATTERN,
      title: 'Schema',
      description: 'The schema that your tables go to. Lanes and quarantine live beside it in the schema `tidegate`.',
    },
    tables: {
      type: 'object',
      title: 'Tables',
      description: 'What you let Tidegate do to the tables of the target.',
      default: {},
      properties: {
        create: { type: 'boolean', title: 'Create', description: 'Whether you let it create a table that is missing.', default: true },
        widen: { type: 'boolean', title: 'Widen', description: 'Whether you let it add columns that the source has got.', default: true },
      },
      additionalProperties: false,
    },
    layouts: {
      type: 'array',
      items: layoutSchema,
      title: 'Layouts',
      description: 'The datasets whose tables you want otherwise than at the source, each with what is different.',
      default: [],
    },
    hold: holdSchema,
    synchronousCommit: {
      enum: ['on', 'off'],
      title: 'Synchronous commit',
      description:
        'PostgreSQL’s synchronous_commit for the sessions that write. Off is faster, and a crash of the target costs you nothing but reading the last batches again. Left out, the server decides.',
      default: null,
    },
    replicationRole: {
      enum: ['origin', 'replica'],
      title: 'Replication role',
      description:
        'As whom you write: as an ordinary client (origin), so that triggers fire and foreign keys are checked, or as PostgreSQL’s own replication does (replica), so that neither happens but for triggers enabled for it. The role needs the right to set session_replication_role.',
      default: 'origin',
    },
    workers: {
      type: 'integer',
      title: 'Workers',
      minimum: 0,
      maximum: 8,
      description:
        'How many sessions beside its own you let a lane open to write batches that have no row in common at the same time. They commit in the lane’s order. 0 for none.',
      default: 2,
    },
    silence: duration(
      'Silence',
      'How long you let a session at the target do nothing about what it was asked before you take its connection to hang and make another. A statement that it works on, or that waits for a lock, may take longer.',
      '30s',
    ),
    rowVersions: {
      type: 'object',
      title: 'Row versions',
      description:
        'Whether you have the newest version of every row kept beside the tables, so that no row goes back to an older state: for tables that two sources bring, topics that may get more partitions, and a connector or a person that sends old records again. What is older than its row is skipped and counted as stale. It costs a second write for each row. Left out, only rows with something in quarantine have versions.',
      default: null,
      properties: {
        keep: duration(
          'Keep',
          'How long after its last change you keep the version of a row, also of one that is gone: longer than your topics keep records, and longer than any lane is behind.',
          '14d',
        ),
        epoch: {
          type: 'integer',
          minimum: 0,
          maximum: 2_147_483_647,
          title: 'Epoch',
          description:
            'Which history of the source you follow. Raise it when its log begins anew (the database was restored, another server without GTIDs took over whose binlog files are numbered lower), or all changes will be taken for old ones.',
          default: 0,
        },
      },
      additionalProperties: false,
    },
    deferConstraints: {
      type: 'boolean',
      title: 'Defer constraints',
      description:
        'Whether you have constraints that are deferrable looked at when a batch commits, and not with every statement: for foreign keys between your tables.',
      default: false,
    },
  },
  required: ['kind', 'url', 'schema'],
  additionalProperties: false,
} as const satisfies SchemaNode;

export const targetSchema = {
  title: 'Target',
  description: 'What you keep in step with a source: the tables of a database, or topics.',
  anyOf: [postgresTargetSchema, kafkaTargetSchema],
} as const satisfies SchemaNode;
