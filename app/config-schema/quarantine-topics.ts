/** What the config says of the topics that a pipeline's quarantine is told to. */
import type { SchemaNode } from '../schema-type.ts';
import { MADE_TOPICS } from './options.ts';
import { brokersSchema as brokers, saslSchema as sasl, tlsSchema as tls } from './kafka.ts';

export const quarantineTopicsSchema = {
  type: 'object',
  title: 'Quarantine topics',
  description:
    'Topics that everything held is published to as well, with what becomes of it, for tools that read dead letter queues. Left out, the quarantine is in its store alone.',
  default: null,
  properties: {
    brokers: {
      ...brokers,
      default: null,
      description: 'Where you reach the brokers, each as host:port. Left out, those of the pipeline’s source, where it reads topics.',
    },
    sasl,
    tls,
    topic: {
      type: 'string',
      pattern: '^[A-Za-z0-9._-]*(\\{(dataset|pipeline)\\}[A-Za-z0-9._-]*)*$',
      minLength: 1,
      title: 'Topic',
      description:
        'How you name the topics: {dataset} and {pipeline} stand for the names of those. What a topic may not be named by becomes an underscore.',
      default: 'tidegate.quarantine.{dataset}',
      examples: ['tidegate.quarantine.{dataset}', 'dlq-{pipeline}'],
    },
    ...MADE_TOPICS,
    compact: {
      type: 'boolean',
      title: 'Compact',
      description:
        'Whether you have topics compacted, so that they keep what is still open and forget the rest. Records are then keyed by the id of their item, and not by the row.',
      default: false,
    },
  },
  additionalProperties: false,
} as const satisfies SchemaNode;
