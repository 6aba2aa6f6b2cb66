/** Rows that wait for a window, or with their dataset. */
import type { FastifyInstance } from 'fastify';
import type { Operations } from './operations.ts';
import { HttpProblem } from './problem.ts';
import { lotsSchema, problemSchema, resumedSchema } from './shapes.ts';

const listQuery = {
  type: 'object',
  properties: { limit: { type: 'integer', minimum: 1, maximum: 1000, default: 100, description: 'How many at most.' } },
  additionalProperties: false,
} as const;
const resumeBody = {
  type: 'object',
  properties: { dataset: { type: 'string', minLength: 1, description: 'source.schema.table' } },
  required: ['dataset'],
  additionalProperties: false,
} as const;

export function lotRoutes(app: FastifyInstance, operations: Operations): void {
  const tags = ['windows'];
  app.get<{ Querystring: { limit: number } }>(
    '/api/lots',
    {
      schema: {
        tags,
        summary: 'Lots of rows that are staged, published and diverted, and the datasets that are held.',
        querystring: listQuery,
        response: { 200: lotsSchema, 503: problemSchema },
      },
    },
    (request) => operations.lots(request.query.limit),
  );

  app.post<{ Body: { dataset: string } }>(
    '/api/lots/resume',
    {
      schema: {
        tags,
        summary: 'Let a dataset go on that is held since a window of it failed.',
        body: resumeBody,
        response: { 200: resumedSchema, 404: problemSchema, 503: problemSchema },
      },
    },
    async (request) => {
      const { dataset } = request.body;
      if (!(await operations.letGoOn(dataset, request.caller)))
        throw new HttpProblem(404, 'NOT_FOUND', `${dataset} is not held.`, { fix: 'GET /api/lots names those that are.' });
      return { dataset, resumed: true };
    },
  );
}
