/** Service levels. */
import type { FastifyInstance } from 'fastify';
import type { DatasetName } from '../../core/event.ts';
import type { Operations } from './operations.ts';
import { slosSchema } from './rule-shapes.ts';
import { problemSchema } from './shapes.ts';

const query = {
  type: 'object',
  properties: { dataset: { type: 'string', description: 'Of this dataset alone.' } },
  additionalProperties: false,
} as const;

export function sloRoutes(app: FastifyInstance, operations: Operations): void {
  app.get<{ Querystring: { dataset?: string } }>(
    '/api/slo',
    {
      schema: {
        tags: ['slo'],
        summary: 'Service levels, what is left of their error budgets, and their incidents.',
        querystring: query,
        response: { 200: slosSchema, 503: problemSchema },
      },
    },
    (request) => operations.slo((request.query.dataset ?? null) as DatasetName | null), // Compared with names, and nothing else.
  );
}
