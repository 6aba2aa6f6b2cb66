/** The rules in force, and taking up others. */
import type { FastifyInstance } from 'fastify';
import { noPipeline, pipelineParams as params } from './one-pipeline.ts';
import type { Operations } from './operations.ts';
import { HttpProblem } from './problem.ts';
import { ruleSeriesSchema } from './rule-shapes.ts';
import { problemSchema, reloadSchema } from './shapes.ts';

const reloadBody = {
  type: 'object',
  properties: { allowRemoved: { type: 'boolean', description: 'A file that is gone leaves its dataset unjudged; else it is refused.' } },
  additionalProperties: false,
} as const;

const seriesQuery = {
  type: 'object',
  properties: {
    pipeline: { type: 'string', description: 'Of this pipeline alone.' },
    dataset: { type: 'string', description: 'Of this dataset alone.' },
  },
  additionalProperties: false,
} as const;

export function ruleRoutes(app: FastifyInstance, operations: Operations): void {
  const tags = ['rules'];
  app.get<{ Querystring: { pipeline?: string; dataset?: string } }>(
    '/api/rules',
    {
      schema: {
        tags,
        summary: 'What each rule found over the last hour, minute by minute.',
        querystring: seriesQuery,
        response: { 200: ruleSeriesSchema },
      },
    },
    async (request) => operations.ruleSeries(request.query.pipeline ?? null, request.query.dataset ?? null),
  );

  app.post<{ Params: { name: string }; Body: { allowRemoved?: boolean } | undefined }>(
    '/api/pipelines/:name/rules/reload',
    {
      schema: {
        tags,
        summary: 'Read the rule files again and take them up at the next batch; refused (409), what is in force stays.',
        params,
        body: { anyOf: [reloadBody, { type: 'null' }] },
        response: { 200: reloadSchema, 404: problemSchema, 409: problemSchema },
      },
    },
    async (request) => {
      const reloaded = await operations.reload(request.params.name, request.caller, request.body?.allowRemoved ?? false);
      if (reloaded === null) throw noPipeline();
      if (reloaded.outcome !== 'refused') return reloaded;
      const [first] = reloaded.problems;
      throw new HttpProblem(409, 'RULES_REFUSED', first === undefined ? 'They cannot be used.' : `${first.path}: ${first.message}`, {
        fix: first?.fix ?? '',
        findings: reloaded.problems.map(({ severity, path, message, fix }) => ({ rule: message, severity, path, detail: fix })),
      });
    },
  );
}
