/** Rows that are read beside the log: how far they are, waiting with them, and reading some again. */
import type { FastifyInstance } from 'fastify';
import type { DatasetName } from '../../core/event.ts';
import { RereadRefused } from '../../cdc/postgres/reread.ts';
import { noPipeline, pipelineParams as params } from './one-pipeline.ts';
import type { Operations } from './operations.ts';
import { HttpProblem } from './problem.ts';
import { acceptedSchema, problemSchema, rereadBegunSchema, snapshotSchema } from './shapes.ts';

const rereadBody = {
  type: 'object',
  properties: {
    dataset: { type: 'string', description: 'source.schema.table' },
    where: { type: 'string', minLength: 1, description: 'Only rows that this holds for, in the source’s SQL.' },
    keys: {
      type: 'array',
      items: { type: 'array', items: { type: 'string' } },
      description: 'Only rows of these keys: each the texts of its columns, in their order. One without a row is deleted at the target.',
    },
  },
  required: ['dataset'],
  additionalProperties: false,
} as const;

interface RereadBody {
  readonly dataset: string;
  readonly where?: string;
  readonly keys?: readonly (readonly string[])[];
}

export function snapshotRoutes(app: FastifyInstance, operations: Operations): void {
  const tags = ['snapshot'];
  const errors = { 400: problemSchema, 404: problemSchema } as const;
  app.get<{ Params: { name: string } }>(
    '/api/pipelines/:name/snapshot',
    {
      schema: {
        tags,
        summary: 'How far the rows are that are read beside the log.',
        params,
        response: { 200: snapshotSchema, 404: problemSchema },
      },
    },
    async (request) => {
      const view = operations.snapshot(request.params.name);
      if (view === null) throw noPipeline();
      return view;
    },
  );

  for (const what of ['pause', 'resume'] as const)
    app.post<{ Params: { name: string } }>(
      `/api/pipelines/:name/snapshot/${what}`,
      {
        schema: {
          tags,
          summary:
            what === 'pause'
              ? 'Read no more rows beside the log until it is resumed, over restarts of the service too.'
              : 'Read rows beside the log again.',
          params,
          response: { 202: acceptedSchema, ...errors },
        },
      },
      async (request, reply) => {
        const isThere = await refusable(async () => operations.steerSnapshot(request.params.name, what, request.caller));
        if (!isThere) throw noPipeline();
        return reply.code(202).send({ accepted: true });
      },
    );

  app.post<{ Params: { name: string }; Body: RereadBody }>(
    '/api/pipelines/:name/rereads',
    {
      schema: {
        tags,
        summary: 'Read rows of a dataset again, in the lane’s order.',
        params,
        body: rereadBody,
        response: { 202: rereadBegunSchema, ...errors, 503: problemSchema },
      },
    },
    async (request, reply) => {
      const { dataset, where = null, keys = null } = request.body;
      const wanted = { dataset: dataset as DatasetName, where, keys };
      const id = await refusable(() => operations.reread(request.params.name, wanted, request.caller));
      if (id === null) throw noPipeline();
      return reply.code(202).send({ id });
    },
  );
}

async function refusable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RereadRefused) throw new HttpProblem(400, 'INVALID_REQUEST', `${error.message}.`, { fix: error.fix });
    throw error;
  }
}
