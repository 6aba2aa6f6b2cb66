/**
 * The whole configuration as one JSON Schema value: what `tidegate check` judges by, what editors complete from
 * (schema/tidegate.v1.schema.json), what docs/config.md is made of, and what the type `Config` is inferred from.
 */
import type { FromSchema, SchemaNode } from './schema-type.ts';
import { DURATION_PATTERN, SIZE_PATTERN } from './units.ts';

export const CONFIG_SCHEMA_ID = 'https://tidegate.dev/schema/tidegate.v1.schema.json';

/** Names of sources, targets, pipelines, models and alerts: they turn up in lanes, metrics and urls. */
const NAME_PATTERN = '^[a-z][a-z0-9_-]{0,62}$';
/** A name may hold anything but a dot, and no space at its ends: what stands between the dots is the name as PostgreSQL keeps it, without quotes. */
const TABLE_NAME = '[^.\\s]([^.]*[^.\\s])?';
const TABLE_PATTERN = `^${TABLE_NAME}\\.${TABLE_NAME}$`;
const DATASET_PATTERN = `^[^.\\s]+\\.${TABLE_NAME}\\.${TABLE_NAME}$`;
/** What PostgreSQL takes for a slot's name; we hold publications to the same. */
const SLOT_PATTERN = '^[a-z0-9_]{1,63}$';
const COLUMN_PATTERN = '^[^\\x00]{1,63}$';

const secret = (title: string, description: string) =>
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

const duration = <D extends string>(title: string, description: string, byDefault: D) =>
  ({
    type: 'string',
    'x-kind': 'duration',
    'x-unit': 'ms, s, m, h or d',
    pattern: DURATION_PATTERN,
    title,
    description,
    default: byDefault,
  }) as const;

const size = <D extends string>(title: string, description: string, byDefault: D) =>
  ({
    type: 'string',
    'x-kind': 'size',
    'x-unit': 'B, kB, MB, GB, KiB, MiB or GiB',
    pattern: SIZE_PATTERN,
    title,
    description,
    default: byDefault,
  }) as const;

const count = <D extends number>(title: string, description: string, byDefault: D, unit: string, maximum: number) =>
  ({ type: 'integer', minimum: 1, maximum, 'x-unit': unit, title, description, default: byDefault }) as const;

const column = (title: string, description: string) =>
  ({ type: 'string', pattern: COLUMN_PATTERN, title, description, default: null }) as const;

const postgresSourceSchema = {
  type: 'object',
  title: 'PostgreSQL source',
  description: 'A PostgreSQL database whose changes you want to move, read by a replication slot.',
  properties: {
    kind: { const: 'postgres', title: 'Kind', description: 'What kind of source you read: a PostgreSQL server with wal_level = logical.' },
    url: secret(
      'Url',
      'How you reach it: postgres://user:password@host:port/database. Of several hosts (host1:port,host2:port) you get the first that is no standby. Take it from the environment (${NAME}) or a file; it is never printed.',
    ),
    slot: {
      type: 'string',
      pattern: SLOT_PATTERN,
      title: 'Replication slot',
      examples: ['tidegate_shop'],
      description:
        'The slot you read by. It is made when it does not exist, and keeps the log on the source until you read it or run `tidegate teardown`.',
    },
    publication: {
      type: 'string',
      pattern: SLOT_PATTERN,
      title: 'Publication',
      examples: ['tidegate_shop'],
      description: 'The publication that says which tables you get. It is made when it does not exist.',
    },
    silence: duration(
      'Silence',
      'How long you let the source say nothing, though it was asked, before you take its connection to hang and make another. A statement that it works on may take longer.',
      '60s',
    ),
    tables: {
      type: 'array',
      items: { type: 'string', pattern: TABLE_PATTERN, examples: ['public.orders'] },
      minItems: 1,
      uniqueItems: true,
      title: 'Tables',
      description: 'The tables you read, each as schema.table.',
    },
    rowBytes: size(
      'Row size',
      'How large a row you read whole, from 1MiB to 256MiB; while such rows come, the service takes up to fifteen times this memory. A larger one is held in quarantine without its large cells.',
      '16MiB',
    ),
    changes: {
      enum: ['all', 'own'],
      title: 'Changes',
      description:
        'Which changes you read: all, or only those that were made in this database itself (own), and not what a replication wrote there. You want own where two databases follow each other.',
      default: 'all',
    },
    snapshot: {
      type: 'object',
      title: 'Snapshot',
      description: 'How you get the rows that are there before the first change.',
      default: {},
      properties: {
        mode: {
          enum: ['initial', 'never'],
          title: 'Mode',
          description: 'Whether you copy the rows of each table first (initial) or only follow changes from now on (never).',
          default: 'initial',
        },
        chunkRows: count(
          'Rows a chunk',
          'How many rows you read at once: more is faster and takes more memory.',
          20_000,
          'rows',
          1_000_000,
        ),
        parallel: count(
          'Tables at once',
          'How many tables you read at the same time. So many chunks are in memory: with 1, none is read while the one before is on its way.',
          2,
          'tables',
          16,
        ),
        rate: {
          type: 'integer',
          minimum: 1,
          maximum: 1_000_000_000,
          'x-unit': 'rows a second',
          title: 'Rate',
          description: 'How many rows a second you read at most, over all tables, to spare the source. Left out, as many as go through.',
          default: null,
        },
        busySessions: {
          type: 'integer',
          minimum: 1,
          maximum: 1_000_000,
          'x-unit': 'sessions',
          title: 'Busy sessions',
          description:
            'With so many sessions of others at work at the source (active ones of clients, in all of its databases), you read no chunk until there are fewer. Your role needs pg_read_all_stats for it. Left out, however many there are.',
          default: null,
        },
        rereadRows: count(
          'Rows read again',
          'How many rows a second you read at most where rows are read again: by `tidegate resnapshot`, or since a table changed in a way that the log does not tell.',
          20_000,
          'rows a second',
          1_000_000_000,
        ),
      },
      additionalProperties: false,
    },
    failover: {
      type: 'boolean',
      title: 'Failover',
      description:
        'Whether you let standbys of the source keep a copy of the slot, so that a pipeline goes on when one of them takes over: PostgreSQL 17 and newer, with sync_replication_slots on the standby. Nothing changes where there is none.',
      default: true,
    },
    wal: {
      type: 'object',
      title: 'Log kept',
      description: 'How much of its log you let the source keep for the slot before you hear of it.',
      default: {},
      properties: {
        disk: {
          type: 'string',
          'x-kind': 'size',
          'x-unit': 'B, kB, MB, GB, KiB, MiB or GiB',
          pattern: SIZE_PATTERN,
          title: 'Disk',
          description:
            'How large the disk is that the source’s log is on, so that you are told when it would be full: SQL does not show that. Left out, only max_slot_wal_keep_size of the server counts.',
          default: null,
          examples: ['100GB'],
        },
        warnBytes: size('Warn at', 'You are warned once the slot keeps this much, whatever is left.', '10GiB'),
        warnBefore: duration('Warn before', 'You are warned when nothing would be left so soon, at the pace of the last minutes.', '6h'),
        criticalBefore: duration(
          'Critical before',
          'It counts as critical, and the pipeline as not ready, when nothing would be left so soon.',
          '1h',
        ),
      },
      additionalProperties: false,
    },
  },
  required: ['kind', 'url', 'slot', 'publication', 'tables'],
  additionalProperties: false,
} as const satisfies SchemaNode;

const kafkaSourceSchema = {
  type: 'object',
  title: 'Kafka source',
  description: 'Topics that Debezium writes, one for each table.',
  properties: {
    kind: { const: 'kafka', title: 'Kind', description: 'What kind of source you read: topics that Debezium writes.' },
    brokers: {
      type: 'array',
      items: { type: 'string', pattern: '^[^\\s:/]+:\\d{1,5}$', examples: ['kafka-1:9092'] },
      minItems: 1,
      uniqueItems: true,
      title: 'Brokers',
      description: 'Where you reach the brokers, each as host:port; a few of them are enough.',
    },
    group: {
      type: 'string',
      pattern: '^[A-Za-z0-9._-]{1,200}$',
      title: 'Group',
      examples: ['tidegate_shop'],
      description:
        'The consumer group you read as: processes with the same group share the partitions. Where each partition goes on is kept at the target under this name, so another group begins anew.',
    },
    prefix: {
      type: 'string',
      pattern: '^[A-Za-z0-9._-]{1,200}$',
      title: 'Topic prefix',
      examples: ['shop'],
      description: 'The connector’s topic.prefix: you read the topic prefix.schema.table for each table.',
    },
    tables: {
      type: 'array',
      items: { type: 'string', pattern: TABLE_PATTERN, examples: ['public.orders'] },
      minItems: 1,
      uniqueItems: true,
      title: 'Tables',
      description: 'The tables you read, each as schema.table.',
    },
    topics: {
      type: 'object',
      additionalProperties: { type: 'string', pattern: '^[A-Za-z0-9._-]{1,249}$' },
      title: 'Topics',
      description: 'Tables whose topics you have under other names (by a RegexRouter, say): the table as schema.table, then the topic.',
      default: {},
      examples: [{ 'public.orders': 'orders-cdc' }],
    },
    columns: {
      type: 'object',
      additionalProperties: {
        type: 'object',
        title: 'Columns',
        description: 'The columns of one table, with the type that each has at the source.',
        additionalProperties: { type: 'string', minLength: 1, examples: ['numeric(10,2)'] },
      },
      title: 'Columns',
      description:
        'For topics whose records bring no schema (JSON with schemas.enable=false): the columns that you want of each table, with the types that PostgreSQL has them by. Other records say it themselves.',
      default: {},
      examples: [{ 'public.orders': { id: 'bigint', total: 'numeric(10,2)' } }],
    },
    envelope: {
      enum: ['debezium', 'unwrapped'],
      title: 'Envelope',
      description:
        'Whether you get Debezium’s envelope with what was before and after, or rows alone (by ExtractNewRecordState), where a tombstone is the delete.',
      default: 'debezium',
    },
    unavailable: {
      type: 'string',
      minLength: 1,
      title: 'Unavailable value',
      description: 'What your connector writes for a large value that did not change (its unavailable.value.placeholder).',
      default: '__debezium_unavailable_value',
    },
    registry: {
      type: 'object',
      title: 'Schema registry',
      description: 'Where you get the schemas of Avro records, from a registry with a Confluent-compatible API.',
      default: null,
      properties: {
        url: secret('Url', 'The root of the API, as https://registry:8081 (for Apicurio, with /apis/ccompat/v7).'),
        username: { type: 'string', minLength: 1, title: 'User', description: 'The user you ask as; left out, none.', default: null },
        password: { ...secret('Password', 'The user’s password.'), default: null },
      },
      required: ['url'],
      additionalProperties: false,
    },
    sasl: {
      type: 'object',
      title: 'SASL',
      description: 'How you show the brokers who you are; left out, not at all.',
      default: null,
      properties: {
        mechanism: {
          enum: ['plain', 'scram-sha-256', 'scram-sha-512'],
          title: 'Mechanism',
          description: 'The mechanism that your brokers want. Use plain over TLS only.',
        },
        username: { type: 'string', minLength: 1, title: 'User', description: 'The user you are to the brokers.' },
        password: secret('Password', 'The user’s password.'),
      },
      required: ['mechanism', 'username', 'password'],
      additionalProperties: false,
    },
    tls: {
      type: 'object',
      title: 'TLS',
      description: 'That you reach the brokers over TLS; left out, in the clear.',
      default: null,
      properties: {
        ca: {
          ...secret('Authority', 'The certificate of the authority that signed theirs (PEM); left out, the ones that Node knows.'),
          default: null,
        },
        cert: { ...secret('Certificate', 'Your own certificate (PEM), where the brokers ask for one.'), default: null },
        key: { ...secret('Key', 'The key of your certificate (PEM).'), default: null },
      },
      additionalProperties: false,
    },
    start: {
      enum: ['earliest', 'latest'],
      title: 'Start',
      description:
        'Where you begin a partition that the target knows nothing of: at the oldest record that is kept, or at the next that comes.',
      default: 'earliest',
    },
    buffer: size(
      'Buffer',
      'How many bytes of records may wait to be judged, over all partitions; beyond that you read no more until there is room.',
      '64MiB',
    ),
  },
  required: ['kind', 'brokers', 'group', 'prefix', 'tables'],
  additionalProperties: false,
} as const satisfies SchemaNode;

const sourceSchema = {
  title: 'Source',
  description: 'A database whose changes you want to move, read directly or by what Debezium writes of it.',
  anyOf: [postgresSourceSchema, kafkaSourceSchema],
} as const satisfies SchemaNode;

const layoutSchema = {
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

const targetSchema = {
  type: 'object',
  title: 'Target',
  description: 'A database that you keep in step with a source.',
  properties: {
    kind: { const: 'postgres', title: 'Kind', description: 'What kind of target you write: a PostgreSQL server.' },
    url: secret(
      'Url',
      'How you reach it: postgres://user:password@host:port/database. Take it from the environment (${NAME}) or a file; it is never printed.',
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
    hold: {
      enum: ['event', 'key'],
      title: 'Hold',
      description:
        'What you hold when an event is quarantined: the event alone, or the later events of its key as well, in order. Left out, a dataset that can send unchanged (TOAST) cells holds the key and any other the event.',
      default: null,
    },
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
    silence: duration(
      'Silence',
      'How long you let a session at the target do nothing about what it was asked before you take its connection to hang and make another. A statement that it works on, or that waits for a lock, may take longer.',
      '30s',
    ),
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

const modelUseSchema = {
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

const pipelineSchema = {
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
    batch: {
      type: 'object',
      title: 'Batch',
      description: 'When you close a batch: at the first of these limits. A batch is one transaction of the target.',
      default: {},
      properties: {
        rows: count('Rows', 'How many changes you put into a batch at most.', 5000, 'rows', 1_000_000),
        bytes: size('Bytes', 'How large you let a batch grow.', '16MiB'),
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
    verify: {
      type: 'object',
      title: 'Verify',
      description: 'How often you want the target held against the source while the service runs, as `tidegate verify` does it.',
      default: {},
      properties: {
        every: {
          type: 'string',
          'x-kind': 'duration',
          'x-unit': 'ms, s, m, h or d',
          pattern: DURATION_PATTERN,
          title: 'Every',
          description: 'How long you wait between the end of one time and the next. Left out, you verify by `tidegate verify` alone.',
          default: null,
        },
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

const httpSchema = {
  type: 'object',
  title: 'HTTP',
  description: 'Where you reach the page, the API, the metrics and the health checks.',
  default: {},
  properties: {
    enabled: { type: 'boolean', title: 'Enabled', description: 'Whether you want the HTTP server at all.', default: true },
    host: {
      type: 'string',
      minLength: 1,
      title: 'Host',
      description: 'The address you listen on. Beyond loopback you must set tokens as well.',
      default: '127.0.0.1',
    },
    port: {
      type: 'integer',
      minimum: 0,
      maximum: 65_535,
      title: 'Port',
      description: 'The port you listen on; 0 takes a free one, which the log then names.',
      default: 8420,
    },
    allowedHosts: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      uniqueItems: true,
      title: 'Allowed hosts',
      description: 'Names other than localhost by which your browser reaches the page (a guard against DNS rebinding).',
      default: [],
    },
    tokens: {
      type: 'array',
      items: {
        type: 'object',
        title: 'Token',
        description: 'One who may call the API.',
        properties: {
          name: {
            type: 'string',
            pattern: NAME_PATTERN,
            title: 'Name',
            description: 'Who it is; written beside what they release and discard, so that you can tell.',
          },
          token: secret('Token', 'What you send as `Authorization: Bearer …`; at least 16 characters.'),
        },
        required: ['name', 'token'],
        additionalProperties: false,
      },
      title: 'Tokens',
      description: 'Bearer tokens. With any, you need one for everything but /healthz and /readyz.',
      default: [],
    },
    modelBytes: size('Largest model', 'The largest model file you let anyone upload.', '64MiB'),
  },
  additionalProperties: false,
} as const satisfies SchemaNode;

const alertSchema = {
  type: 'object',
  title: 'Alert',
  description: 'Someone you want to be told.',
  properties: {
    kind: { const: 'webhook', title: 'Kind', description: 'How you are told: a webhook, signed as Standard Webhooks describes.' },
    url: secret('Url', 'Where you want it posted. It may hold a token, so it is never printed.'),
    secret: secret('Signing secret', 'The key that you check the signature by: whsec_ and 24 to 64 bytes as base64.'),
    events: {
      type: 'array',
      items: { type: 'string', pattern: '^(\\*|[a-z]+(\\.[a-z_]+)*(\\.\\*)?)$' },
      minItems: 1,
      uniqueItems: true,
      title: 'Events',
      description: 'What you want to hear of: names, or a prefix and a star.',
      default: ['breaker.*', 'lane.*', 'schema.*', 'model.*', 'quarantine.rate', 'score.alert', 'slot.*'],
    },
    allowNetworks: {
      type: 'array',
      items: { type: 'string', minLength: 1 },
      title: 'Allowed networks',
      description:
        'Private networks that you let it post to, without TLS if you like, in CIDR notation; left out, only the public internet over https.',
      examples: [['127.0.0.1/32', '10.1.0.0/16']],
      default: [],
    },
  },
  required: ['kind', 'url', 'secret'],
  additionalProperties: false,
} as const satisfies SchemaNode;

const mapOf = <const S extends SchemaNode>(title: string, description: string, schema: S) =>
  ({ type: 'object', title, description, propertyNames: { pattern: NAME_PATTERN }, additionalProperties: schema }) as const;

export const configSchema = {
  type: 'object',
  title: 'Tidegate',
  description: 'The whole service: what you read, what you write, by which rules, and who is told.',
  properties: {
    version: { const: 1, title: 'Version', description: 'The version of this format that you write: 1.' },
    state: {
      type: 'string',
      'x-kind': 'path',
      minLength: 1,
      title: 'State',
      description:
        'The SQLite file in which you keep what the service itself remembers: models, alerts on their way, halted pipelines. Relative to the config file.',
      default: './tidegate.db',
    },
    sources: { ...mapOf('Sources', 'The databases you read, each under a name of your choice.', sourceSchema), minProperties: 1 },
    targets: { ...mapOf('Targets', 'The databases you write, each under a name of your choice.', targetSchema), minProperties: 1 },
    pipelines: { ...mapOf('Pipelines', 'The roads from your sources to your targets.', pipelineSchema), minProperties: 1 },
    http: httpSchema,
    alerts: { ...mapOf('Alerts', 'Those you want to be told when something needs a person.', alertSchema), default: {} },
    logs: {
      type: 'object',
      title: 'Logs',
      description: 'What you want to see on standard error.',
      default: {},
      properties: {
        level: {
          enum: ['debug', 'info', 'warn', 'error'],
          title: 'Level',
          description: 'The least important lines you want to see.',
          default: 'info',
        },
        format: {
          enum: ['json', 'pretty'],
          title: 'Format',
          description: 'One JSON object a line, or lines for your eyes. Left out, pretty on a terminal and json elsewhere.',
          default: null,
        },
      },
      additionalProperties: false,
    },
    drainTimeout: duration(
      'Drain timeout',
      'How long you give the pipelines to finish what they have read when the service is asked to stop.',
      '20s',
    ),
  },
  required: ['version', 'sources', 'targets', 'pipelines'],
  additionalProperties: false,
} as const satisfies SchemaNode;

/** The config as loaded: defaults filled in, durations in ms, sizes in bytes, secrets resolved, paths absolute. */
export type Config = FromSchema<typeof configSchema>;
export type SourceConfig = FromSchema<typeof sourceSchema>;
export type PostgresSourceConfig = FromSchema<typeof postgresSourceSchema>;
export type KafkaSourceConfig = FromSchema<typeof kafkaSourceSchema>;
export type TargetConfig = FromSchema<typeof targetSchema>;
export type LayoutConfig = FromSchema<typeof layoutSchema>;
export type PipelineConfig = FromSchema<typeof pipelineSchema>;
export type ModelUseConfig = FromSchema<typeof modelUseSchema>;
export type HttpConfig = FromSchema<typeof httpSchema>;
export type AlertConfig = FromSchema<typeof alertSchema>;

/** The schema as published for editors. */
export function publishedConfigSchema(): Record<string, unknown> {
  // Editors see a variable where a pattern is asked for: `url: ${SHOP_URL}` fits, since secrets have no pattern.
  return { $schema: 'https://json-schema.org/draft/2020-12/schema', $id: CONFIG_SCHEMA_ID, ...configSchema };
}
