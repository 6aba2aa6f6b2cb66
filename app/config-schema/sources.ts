/** What the config says of sources: databases that are read by a replication slot, and topics that Debezium writes. */
import type { SchemaNode } from '../schema-type.ts';
import { brokersSchema, registrySchema, saslSchema, tlsSchema } from './kafka.ts';
import { count, duration, secret, size, TABLE_PATTERN } from './options.ts';

/** What PostgreSQL takes for a slot's name; we hold publications to the same. */
const SLOT_PATTERN = '^[a-z0-9_]{1,63}$';
/** Short enough that a topic's name has room for the table's behind it. */
const KAFKA_NAME_PATTERN = '^[A-Za-z0-9._-]{1,200}$';

const tables = {
  type: 'array',
  items: { type: 'string', pattern: TABLE_PATTERN, examples: ['public.orders'] },
  uniqueItems: true,
  title: 'Tables',
  description: 'The tables you read, each as schema.table.',
  default: [],
} as const satisfies SchemaNode;

const patterns = {
  type: 'array',
  items: { type: 'string', pattern: TABLE_PATTERN, examples: ['public.*'] },
  uniqueItems: true,
  title: 'Patterns',
  description:
    'Patterns for tables that you read beside those, each as schema.table, where * stands for any characters and ? for one; also tables that are made later.',
  default: [],
  examples: [['public.*', 'sales.order_*']],
} as const satisfies SchemaNode;

const except = {
  type: 'array',
  items: { type: 'string', pattern: TABLE_PATTERN, examples: ['public.audit_*'] },
  uniqueItems: true,
  title: 'Except',
  description: 'Patterns for tables that you do not read, though one of the patterns fits them.',
  default: [],
} as const satisfies SchemaNode;

export const postgresSourceSchema = {
  type: 'object',
  title: 'PostgreSQL source',
  description: 'A PostgreSQL database whose changes you want to move, read by a replication slot.',
  properties: {
    kind: { const: 'postgres', title: 'Kind', description: 'What kind of source you read: a PostgreSQL server with wal_level = logical.' },
    url: secret(
      'Url',
      'How you reach it: postgres://user:password@host:port/database. Of several hosts (host1:port,host2:port) you get the first that is no standby; a host that is a path, as %2Fvar%2Frun%2Fpostgresql, is the folder of a Unix socket. TLS and more: docs/connections.md. Take it from the environment (${NAME}) or a file; it is never printed.',
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
    tables,
    patterns,
    except,
    newTables: {
      enum: ['accept', 'hold', 'quarantine', 'ignore'],
      title: 'New tables',
      description:
        'What you have done with a table that a pattern fits, and that was not there when the pipeline began: copy and follow it (accept), wait until you approve it (hold), copy and follow it into the quarantine until you approve it (quarantine), or leave it out with a note (ignore).',
      default: 'accept',
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
          description:
            'Whether you copy the rows of each table first (initial) or only follow changes from now on (never). Should you change never to initial, the tables that were never copied are, from the next start on.',
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
        rate: count(
          'Rate',
          'How many rows a second you read at most, over all tables, to spare the source. Left out, as many as go through.',
          null,
          'rows a second',
          1_000_000_000,
        ),
        busySessions: count(
          'Busy sessions',
          'With so many sessions of others at work at the source (active ones of clients, in all of its databases), you read no chunk until there are fewer. Your role needs pg_read_all_stats for it. Left out, however many there are.',
          null,
          'sessions',
          1_000_000,
        ),
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
    decodingMemory: {
      ...size(
        'Decoding memory',
        'How much memory the source may use for the changes of transactions that have not ended (its logical_decoding_work_mem, for this slot alone); what is beyond, it writes to files and reads again at the commit. Left out, half of its shared_buffers, at least 64 and at most 256 MB; or what was set for the server, the database or the role, where somebody did.',
        null,
      ),
      examples: ['512MB'],
    },
    wal: {
      type: 'object',
      title: 'Log kept',
      description: 'How much of its log you let the source keep for the slot before you hear of it.',
      default: {},
      properties: {
        disk: {
          ...size(
            'Disk',
            'How large the disk is that the source’s log is on, so that you are told when it would be full: SQL does not show that. Left out, only max_slot_wal_keep_size of the server counts.',
            null,
          ),
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
  required: ['kind', 'url', 'slot', 'publication'],
  additionalProperties: false,
} as const satisfies SchemaNode;

export const kafkaSourceSchema = {
  type: 'object',
  title: 'Kafka source',
  description: 'Topics that Debezium writes, one for each table. You name the tables, or a pattern for their topics.',
  properties: {
    kind: { const: 'kafka', title: 'Kind', description: 'What kind of source you read: topics that Debezium writes.' },
    brokers: brokersSchema,
    group: {
      type: 'string',
      pattern: KAFKA_NAME_PATTERN,
      title: 'Group',
      examples: ['tidegate_shop'],
      description:
        'The consumer group you read as: processes with the same group share the partitions. Where each partition goes on is kept at the target under this name, so another group begins anew.',
    },
    session: duration(
      'Session',
      'How long you let a process of the group be silent (killed, frozen, cut off) before its partitions go to the others. Brokers take 6 s to 30 min unless told otherwise.',
      '10s',
    ),
    prefix: {
      type: 'string',
      pattern: KAFKA_NAME_PATTERN,
      title: 'Topic prefix',
      examples: ['shop'],
      description: 'The connector’s topic.prefix: you read the topic prefix.schema.table for each table.',
    },
    tables: {
      type: 'array',
      items: { type: 'string', pattern: TABLE_PATTERN, examples: ['public.orders'] },
      uniqueItems: true,
      title: 'Tables',
      description: 'The tables you read, each as schema.table (for MySQL and MariaDB database.table).',
      default: [],
    },
    topicPattern: {
      type: 'string',
      minLength: 1,
      title: 'Topic pattern',
      examples: ['shop\\.public\\..*'],
      description:
        'A regular expression for topics that you read beside those of the tables, whole names, also such as come later. A topic is of the table that its groups (?<schema>…) and (?<table>…) name; without those, of the one behind the prefix.',
      default: null,
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
    added: {
      type: 'object',
      title: 'Added fields',
      description:
        'For rows alone: how your connector names what it adds to them, as fields (add.fields) or headers (add.headers). Those are no columns; op, lsn, sequence, file, pos, row, ts_ms and connector are understood, with or without source_ before them.',
      default: {},
      properties: {
        prefix: {
          type: 'string',
          title: 'Prefix',
          description: 'What their names begin with: its add.fields.prefix and add.headers.prefix. Empty if they have none.',
          default: '__',
        },
        names: {
          type: 'array',
          items: { type: 'string', minLength: 1 },
          title: 'Names',
          description: 'Fields that the prefix does not tell from columns, by their whole names; name all of them if it is empty.',
          default: [],
          examples: [['op', 'lsn', 'source_ts_ms']],
        },
      },
      additionalProperties: false,
    },
    unavailable: {
      type: 'string',
      minLength: 1,
      title: 'Unavailable value',
      description: 'What your connector writes for a large value that did not change (its unavailable.value.placeholder).',
      default: '__debezium_unavailable_value',
    },
    oldRows: {
      enum: ['key', 'full'],
      title: 'Old rows',
      description:
        'What a delete brings of the row that there was: its key, or all of it. Say `full` where your tables have `replica identity full`, for a record does not tell: windows can take deleted rows back then. MySQL and MariaDB bring all of it anyway.',
      default: 'key',
    },
    registry: registrySchema,
    connect: {
      ...secret(
        'Connect',
        'Kafka Connect’s REST API, as http://connect:8083 or with user and password: `tidegate check` reads there what your connector loses by its settings. Nothing else asks it.',
      ),
      default: null,
    },
    database: {
      type: 'object',
      title: 'Database',
      description:
        'The PostgreSQL database that the connector follows: `tidegate verify` compares the target with it. Nothing else reads from it.',
      default: null,
      properties: {
        url: secret('Url', 'How you reach it: postgres://user:password@host:port/database, with a role that may read the tables.'),
        slot: {
          type: 'string',
          pattern: SLOT_PATTERN,
          title: 'Replication slot',
          description: 'The connector’s slot.name: by it the database knows what is in the topics.',
          default: 'debezium',
        },
        publication: {
          type: 'string',
          minLength: 1,
          title: 'Publication',
          description: 'The connector’s publication.name: it says which rows and columns you get.',
          default: 'dbz_publication',
        },
      },
      required: ['url'],
      additionalProperties: false,
    },
    sasl: saslSchema,
    tls: tlsSchema,
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
  required: ['kind', 'brokers', 'group', 'prefix'],
  additionalProperties: false,
} as const satisfies SchemaNode;

export const sourceSchema = {
  title: 'Source',
  description: 'A database whose changes you want to move, read directly or by what Debezium writes of it.',
  anyOf: [postgresSourceSchema, kafkaSourceSchema],
} as const satisfies SchemaNode;
