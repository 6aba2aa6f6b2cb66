/** How you reach brokers and schema registries: the same for topics that are read and topics that are written. */
import type { SchemaNode } from '../schema-type.ts';
import { secret } from './options.ts';

export const brokersSchema = {
  type: 'array',
  items: { type: 'string', pattern: '^[^\\s:/]+:\\d{1,5}$', examples: ['kafka-1:9092'] },
  minItems: 1,
  uniqueItems: true,
  title: 'Brokers',
  description: 'Where you reach the brokers, each as host:port; a few of them are enough.',
} as const satisfies SchemaNode;

const certificates = {
  ca: {
    ...secret('Authority', 'The certificate of the authority that signed theirs (PEM); left out, the ones that Node knows.'),
    default: null,
  },
  cert: { ...secret('Certificate', 'Your own certificate (PEM), where they ask for one.'), default: null },
  key: { ...secret('Key', 'The key of your certificate (PEM).'), default: null },
  passphrase: { ...secret('Passphrase', 'What the key is encrypted with; left out, it is not.'), default: null },
} as const;

export const tlsSchema = {
  type: 'object',
  title: 'TLS',
  description: 'That you reach the brokers over TLS; left out, in the clear.',
  default: null,
  properties: {
    ...certificates,
    serverName: {
      type: 'string',
      minLength: 1,
      title: 'Server name',
      description: 'Whom the brokers’ certificate names, where that is not the host that you reach them by.',
      default: null,
    },
  },
  additionalProperties: false,
} as const satisfies SchemaNode;

export const saslSchema = {
  type: 'object',
  title: 'SASL',
  description: 'How you show the brokers who you are; left out, not at all.',
  default: null,
  properties: {
    mechanism: {
      enum: ['plain', 'scram-sha-256', 'scram-sha-512', 'oauthbearer'],
      title: 'Mechanism',
      description:
        'The mechanism that your brokers want. Use plain and oauthbearer over TLS only: anybody on the way could read them else.',
    },
    username: {
      type: 'string',
      minLength: 1,
      title: 'User',
      description: 'The user you are to the brokers, for plain and scram.',
      default: null,
    },
    password: { ...secret('Password', 'The user’s password.'), default: null },
    oauth: {
      type: 'object',
      title: 'OAuth',
      description: 'Where you get a token for oauthbearer: an authorization server, by the client credentials grant.',
      default: null,
      properties: {
        tokenUrl: {
          type: 'string',
          pattern: '^https?://[^\\s@]+$',
          title: 'Token url',
          examples: ['https://login.example.com/oauth2/token'],
          description:
            'The token endpoint of the server. Its certificate has to be signed by an authority that Node knows (NODE_EXTRA_CA_CERTS names more).',
        },
        clientId: { type: 'string', minLength: 1, title: 'Client', description: 'The client you are there.' },
        clientSecret: secret('Client secret', 'The client’s secret.'),
        scope: {
          type: 'string',
          minLength: 1,
          title: 'Scope',
          description: 'What you ask a token for, where the server wants to know.',
          default: null,
        },
      },
      required: ['tokenUrl', 'clientId', 'clientSecret'],
      additionalProperties: false,
    },
    tokenFile: {
      type: 'string',
      'x-kind': 'path',
      minLength: 1,
      title: 'Token file',
      description:
        'Instead of oauth: a file with a token that somebody keeps fresh. It is read for each login. Relative to the config file.',
      default: null,
    },
    extensions: {
      type: 'object',
      additionalProperties: { type: 'string' },
      title: 'Extensions',
      description: 'What else your brokers want to be told with a token, as logicalCluster and identityPoolId.',
      default: {},
      examples: [{ logicalCluster: 'lkc-1' }],
    },
  },
  required: ['mechanism'],
  additionalProperties: false,
} as const satisfies SchemaNode;

export const registrySchema = {
  type: 'object',
  title: 'Schema registry',
  description: 'The registry that has the schemas of records, with a Confluent-compatible API.',
  default: null,
  properties: {
    url: secret('Url', 'The root of the API, as https://registry:8081 (for Apicurio, with /apis/ccompat/v7).'),
    username: { type: 'string', minLength: 1, title: 'User', description: 'The user you ask as; left out, none.', default: null },
    password: { ...secret('Password', 'The user’s password.'), default: null },
    token: { ...secret('Token', 'Instead of user and password: a bearer token.'), default: null },
    tls: {
      type: 'object',
      title: 'TLS',
      description: 'Certificates for a registry at an https url, where what Node knows is not enough.',
      default: null,
      properties: certificates,
      additionalProperties: false,
    },
  },
  required: ['url'],
  additionalProperties: false,
} as const satisfies SchemaNode;
