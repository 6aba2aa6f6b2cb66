/** Health, metrics, status, lanes, datasets, and the two things one may do to a pipeline. */
import type { FastifyInstance } from 'fastify';
import type { FromSchema } from '../schema-type.ts';
import type { Operations } from './operations.ts';
import { noPipeline, pipelineParams } from './one-pipeline.ts';
import { acceptedSchema, datasetsSchema, lanesSchema, problemSchema, readySchema, statusSchema } from './shapes.ts';

const haltBody = {
  type: 'object',
  properties: { why: { type: 'string', maxLength: 500, description: 'Shown beside the pipeline until you resume it.', default: '' } },
  additionalProperties: false,
} as const;

export function statusRoutes(app: FastifyInstance, operations: Operations): void {
  const tags = ['status'];
  const health = {
    type: 'object',
    description: 'The process lives.',
    properties: { alive: { type: 'boolean', description: 'True.' } },
  } as const;
  app.get('/healthz', { schema: { tags, summary: 'Does the process live?', security: [], response: { 200: health } } }, async () => ({
    alive: true,
  }));

  app.get(
    '/readyz',
    {
      schema: {
        tags,
        summary: 'Does every pipeline run, caught up and not halted, or stand by for the instance that has it?',
        security: [],
        response: { 200: readySchema, 503: readySchema },
      },
    },
    async (_request, reply) => {
      const ready = operations.ready();
      return reply.code(ready.ready ? 200 : 503).send(ready);
    },
  );

  app.get('/metrics', { schema: { tags, summary: 'Metrics as Prometheus text.', produces: ['text/plain'] } }, async (_request, reply) =>
    reply.type('text/plain; version=0.0.4; charset=utf-8').send(operations.metrics.prometheus()),
  );

  app.get('/api/status', { schema: { tags, summary: 'The service and its pipelines.', response: { 200: statusSchema } } }, () =>
    operations.status(),
  );

  app.get(
    '/api/lanes',
    { schema: { tags, summary: 'Lanes as the targets keep them.', response: { 200: lanesSchema, 503: problemSchema } } },
    async () => ({
      lanes: await operations.lanes(),
    }),
  );

  app.get(
    '/api/datasets',
    { schema: { tags, summary: 'Datasets with rates and quarantine.', response: { 200: datasetsSchema } } },
    async () => ({
      datasets: await operations.datasets(),
    }),
  );

  app.post<{ Params: FromSchema<typeof pipelineParams> & { name: string } }>(
    '/api/pipelines/:name/resume',
    {
      schema: {
        tags,
        summary: 'Let a halted pipeline go on.',
        params: pipelineParams,
        response: { 202: acceptedSchema, 404: problemSchema },
      },
    },
    async (request, reply) => {
      if (!(await operations.resume(request.params.name, request.caller))) throw noPipeline();
      return reply.code(202).send({ accepted: true });
    },
  );

  app.post<{ Params: { name: string }; Body: { why?: string } | undefined }>(
    '/api/pipelines/:name/halt',
    {
      schema: {
        tags,
        summary: 'Stop a pipeline until it is resumed.',
        params: pipelineParams,
        body: { anyOf: [haltBody, { type: 'null' }] },
        response: { 202: acceptedSchema, 404: problemSchema },
      },
    },
    async (request, reply) => {
      if (!(await operations.halt(request.params.name, request.caller, request.body?.why ?? ''))) throw noPipeline();
      return reply.code(202).send({ accepted: true });
    },
  );
}
