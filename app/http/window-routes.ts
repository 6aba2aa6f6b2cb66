/** Verdicts over windows. */
import type { FastifyInstance } from 'fastify';
import type { DatasetName } from '../../core/event.ts';
import type { WindowVerdict } from '../../core/windows.ts';
import type { Operations } from './operations.ts';
import { problemSchema, windowsSchema } from './shapes.ts';

const listQuery = {
  type: 'object',
  properties: {
    pipeline: { type: 'string', description: 'Of this pipeline alone.' },
    dataset: { type: 'string', description: 'Of this dataset alone.' },
    rule: { type: 'string', description: 'Of the rule of this id alone.' },
    verdict: { enum: ['pass', 'fail', 'indeterminate'], description: 'Of this verdict alone.' },
    newest: { type: 'boolean', default: false, description: 'Only the newest window of each rule and group.' },
    limit: { type: 'integer', minimum: 1, maximum: 1000, default: 100, description: 'How many at most.' },
  },
  additionalProperties: false,
} as const;

export function windowRoutes(app: FastifyInstance, operations: Operations): void {
  app.get<{ Querystring: { pipeline?: string; dataset?: string; rule?: string; verdict?: WindowVerdict; newest: boolean; limit: number } }>(
    '/api/windows',
    {
      schema: {
        tags: ['windows'],
        summary: 'What rules over windows said, newest first.',
        querystring: listQuery,
        response: { 200: windowsSchema, 503: problemSchema },
      },
    },
    async (request) => {
      const { pipeline, dataset, rule, verdict, newest, limit } = request.query;
      const filter = {
        newest,
        ...(dataset !== undefined && { dataset: dataset as DatasetName }), // Compared with names, and nothing else.
        ...(rule !== undefined && { rule }),
        ...(verdict !== undefined && { verdict }),
      };
      return { windows: await operations.windows(pipeline ?? null, filter, limit) };
    },
  );
}
