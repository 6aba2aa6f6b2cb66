/** What the config says of topics as a target. */
import type { SchemaNode } from '../schema-type.ts';
import { brokersSchema, registrySchema, saslSchema, tlsSchema } from './kafka.ts';
import { duration, holdSchema, secret, MADE_TOPICS } from './options.ts';

export const kafkaTargetSchema = {
  type: 'object',
  title: 'Kafka target',
  description: 'Topics that you have changes written to, one for each table, as Debezium writes them.',
  properties: {
    kind: { const: 'kafka', title: 'Kind', description: 'What kind of target you write: topics of Kafka.' },
    brokers: brokersSchema,
    sasl: saslSchema,
    tls: tlsSchema,
    store: {
      ...secret(
        'Store',
        'The PostgreSQL database in which you have kept what a topic cannot hold: where each lane stands, the quarantine, windows. postgres://user:password@host:port/database; it is never printed. Left out, the database of `state`.',
      ),
      default: null,
    },
    topic: {
      type: 'string',
      pattern: '^[A-Za-z0-9._-]*(\\{(dataset|source|schema|table|pipeline)\\}[A-Za-z0-9._-]*)*$',
      minLength: 1,
      title: 'Topic',
      description:
        'How you name the topics: {dataset} stands for source.schema.table, {source}, {schema}, {table} and {pipeline} for those. What a topic may not be named by becomes an underscore.',
      default: '{dataset}',
      examples: ['{dataset}', 'cdc.{schema}.{table}'],
    },
    format: {
      enum: ['json', 'avro'],
      title: 'Format',
      description:
        'How you have records written: as JSON, or as Avro with its schemas at a registry, under <topic>-key and <topic>-value, which you then name.',
      default: 'json',
    },
    registry: registrySchema,
    schemas: {
      type: 'boolean',
      title: 'Schemas',
      description:
        'Of JSON: whether each record brings its schema, as Kafka Connect’s JsonConverter has it with schemas.enable=true: what Connect’s sinks need, and about ten times as many bytes.',
      default: true,
    },
    decimals: {
      enum: ['precise', 'string'],
      title: 'Decimals',
      description:
        'How you have decimals written, as Debezium’s decimal.handling.mode: as Connect’s Decimal (bytes), which cannot say NaN, or as text.',
      default: 'precise',
    },
    intervals: {
      enum: ['numeric', 'string'],
      title: 'Intervals',
      description:
        'How you have intervals written, as Debezium’s interval.handling.mode: as microseconds, where a month is 30.4375 days, or as text of ISO 8601 that keeps months and days.',
      default: 'numeric',
    },
    arrays: {
      enum: ['list', 'text'],
      title: 'Arrays',
      description:
        'How you have arrays written: as lists, as Debezium does, which have one dimension and begin at 1 (others are held), or as the text that PostgreSQL shows.',
      default: 'list',
    },
    defaults: {
      enum: ['required', 'all'],
      title: 'Defaults',
      description:
        'Which defaults of columns you have in the schemas of records: those of columns that cannot be null, or, as Debezium does, of all. Many readers (Connect’s sinks among them) take a null for the default where the schema has one.',
      default: 'required',
    },
    transactions: {
      type: 'boolean',
      title: 'Transactions',
      description:
        'Whether each record tells of which transaction it is, and which place it has in it: Debezium’s transaction block (provide.transaction.metadata). Without, you have that block empty.',
      default: false,
    },
    tombstones: {
      type: 'boolean',
      title: 'Tombstones',
      description: 'Whether a record without a value follows each delete, by which compaction forgets the row.',
      default: true,
    },
    compression: {
      enum: ['none', 'gzip', 'snappy', 'lz4', 'zstd'],
      title: 'Compression',
      description:
        'How you have records compressed on their way and in the topics, batch by batch. Schemas in each record compress to almost nothing.',
      default: 'none',
    },
    exactlyOnce: {
      type: 'boolean',
      title: 'Exactly once',
      description:
        'Whether you have each batch written in a transaction of Kafka’s, so that those who read what is committed (isolation.level=read_committed) see each change once, whatever is killed. The store’s server needs max_prepared_transactions, one for each lane.',
      default: false,
    },
    ...MADE_TOPICS,
    compact: {
      type: 'boolean',
      title: 'Compact',
      description: 'Whether you have topics compacted, so that they keep the last record of each row and forget the others.',
      default: false,
    },
    hold: holdSchema,
    silence: duration(
      'Silence',
      'How long you let a session at the store do nothing about what it was asked before you take its connection to hang and make another.',
      '30s',
    ),
  },
  required: ['kind', 'brokers'],
  additionalProperties: false,
} as const satisfies SchemaNode;
