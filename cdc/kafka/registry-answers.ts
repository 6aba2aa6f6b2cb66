/**
 * What a schema registry says is told from what others say in its place (a proxy's page, a portal's redirection). The library would take such for a schema that cannot
 * be used, or for one that is not there, and both last.
 */
import type { SchemaRegistryAPIClientArgs } from '@kafkajs/confluent-schema-registry/dist/api/index.js';

export type Middleware = NonNullable<SchemaRegistryAPIClientArgs['middlewares']>[number];

const ANSWER_MS = 10_000;

/** As the library has errors of a registry that is away: by the status of its answer. */
class NoRegistry extends Error {
  override readonly name = 'NoRegistry';
  readonly status = 502;
}

/** The outermost: it sees the library's own errors. */
export const answersOnly: Middleware = () => ({
  prepareRequest: async (next) => (await next()).enhance({ timeout: ANSWER_MS }),
  response: async (next) => {
    const answer = await next().catch((error: unknown) => {
      throw isUnsaid(error) ? new NoRegistry('the answer is none of a schema registry’s', { cause: error }) : error;
    });
    if (isSchema(answer.data())) return answer;
    throw new NoRegistry('the answer is no schema');
  },
});

/** A 404 that brings no word of a registry's (`{"error_code": 40403, "message": "Schema not found"}`): the library writes down the message, or else what came. */
const isUnsaid = (error: unknown): boolean => error instanceof Error && error.message.includes('Error, status 404');

const isSchema = (said: unknown): boolean =>
  typeof said === 'object' && said !== null && 'schema' in said && typeof said.schema === 'string';
