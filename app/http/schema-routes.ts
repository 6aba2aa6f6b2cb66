/** Changes of tables: looking at them, approving and rejecting. */
import type { FastifyInstance } from 'fastify';
import type { Decided } from '../../sync/postgres/schema-desk.ts';
import type { Operations } from './operations.ts';
import { HttpProblem } from './problem.ts';
import { problemSchema, schemaChangeDetailSchema, schemaChangesSchema, schemaDecisionSchema } from './shapes.ts';

const listQuery = {
  type: 'object',
  properties: { open: { type: 'boolean', default: false, description: 'Only those that park their dataset.' } },
  additionalProperties: false,
} as const;

const params = {
  type: 'object',
  properties: { id: { type: 'string', description: 'The change.' } },
  required: ['id'],
} as const;

const rejectBody = {
  type: 'object',
  properties: { why: { type: 'string', minLength: 1, maxLength: 1000, description: 'Kept beside the change.' } },
  required: ['why'],
  additionalProperties: false,
} as const;

export function schemaRoutes(app: FastifyInstance, operations: Operations): void {
  const tags = ['schema'];
  app.get<{ Querystring: { open: boolean } }>(
    '/api/schema/changes',
    {
      schema: {
        tags,
        summary: 'Changes of tables, newest first.',
        querystring: listQuery,
        response: { 200: schemaChangesSchema, 503: problemSchema },
      },
    },
    async (request) => ({ changes: await operations.schemaChanges(request.query.open) }),
  );

  app.get<{ Params: { id: string } }>(
    '/api/schema/changes/:id',
    {
      schema: {
        tags,
        summary: 'One change, with the SQL it comes to and the rules and models it touches.',
        params,
        response: { 200: schemaChangeDetailSchema, 404: problemSchema, 503: problemSchema },
      },
    },
    async (request) => {
      const change = await operations.schemaChange(request.params.id);
      if (change === null) throw unknown();
      return change;
    },
  );

  app.post<{ Params: { id: string } }>(
    '/api/schema/changes/:id/approve',
    {
      schema: {
        tags,
        summary: 'Make the change at the target, and let the dataset go on.',
        params,
        response: { 200: schemaDecisionSchema, 404: problemSchema, 409: problemSchema, 503: problemSchema },
      },
    },
    async (request) => decided(await operations.approveSchema(request.params.id, request.caller), request.params.id),
  );

  app.post<{ Params: { id: string }; Body: { why: string } }>(
    '/api/schema/changes/:id/reject',
    {
      schema: {
        tags,
        summary: 'Leave the target as it is, and the dataset parked.',
        params,
        body: rejectBody,
        response: { 200: schemaDecisionSchema, 404: problemSchema, 409: problemSchema, 503: problemSchema },
      },
    },
    async (request) => decided(await operations.rejectSchema(request.params.id, request.caller, request.body.why), request.params.id),
  );
}

function decided(outcome: Decided, id: string): { changes: readonly string[]; released: number } {
  switch (outcome.kind) {
    case 'approved':
      return { changes: outcome.changes, released: outcome.released };
    case 'rejected':
      return { changes: [id], released: 0 };
    case 'unknown':
      throw unknown();
    case 'refused':
      throw new HttpProblem(409, 'TARGET_SCHEMA', `${outcome.message}.`, { fix: outcome.fix });
  }
}

const unknown = (): HttpProblem =>
  new HttpProblem(404, 'NOT_FOUND', 'There is no schema change of this id.', { fix: 'See /api/schema/changes for their ids.' });
