/**
 * The whole configuration as one JSON Schema value: what `tidegate check` judges by, what editors complete from
 * (schema/tidegate.v1.schema.json), what docs/config.md is made of, and what the type `Config` is inferred from.
 */
import { duration, NAME_PATTERN, secret, size } from './config-schema/options.ts';
import { type modelUseSchema, pipelineSchema } from './config-schema/pipelines.ts';
import { type kafkaSourceSchema, type postgresSourceSchema, sourceSchema } from './config-schema/sources.ts';
import type { kafkaTargetSchema } from './config-schema/kafka-target.ts';
import { type layoutSchema, type postgresTargetSchema, targetSchema } from './config-schema/targets.ts';
import type { FromSchema, SchemaNode } from './schema-type.ts';

export const CONFIG_SCHEMA_ID = 'https://tidegate.dev/schema/tidegate.v1.schema.json';

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
      default: [
        'breaker.*',
        'lane.*',
        'schema.*',
        'model.*',
        'quarantine.rate',
        'rules.refused',
        'score.alert',
        'slo.*',
        'slot.*',
        'window.*',
      ],
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
      'x-kind': 'place',
      minLength: 1,
      title: 'State',
      description:
        'Where you keep what the service itself remembers: models, alerts on their way, halted pipelines, and whose turn each pipeline is. A SQLite file, relative to the config file; or `postgres://…` (or `{file: …}` with that in it), which all instances of one config share.',
      anyOf: [
        { type: 'string', minLength: 1 },
        {
          type: 'object',
          title: 'From a file',
          description: 'The url of a PostgreSQL database, in a file.',
          properties: {
            file: { type: 'string', title: 'File', description: 'Where you keep the url; relative to the config file.', minLength: 1 },
          },
          required: ['file'],
          additionalProperties: false,
        },
      ],
      default: './tidegate.db',
    },
    lease: duration(
      'Lease',
      'How long you let an instance that runs a pipeline be silent before another instance of the same config takes it over. One whose process is gone is not waited for.',
      '10s',
    ),
    sources: { ...mapOf('Sources', 'The databases you read, each under a name of your choice.', sourceSchema), minProperties: 1 },
    targets: { ...mapOf('Targets', 'What you write, each under a name of your choice.', targetSchema), minProperties: 1 },
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
export type PostgresTargetConfig = FromSchema<typeof postgresTargetSchema>;
export type KafkaTargetConfig = FromSchema<typeof kafkaTargetSchema>;
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
