/** The quarantine: looking, releasing, discarding. */
import type { FastifyInstance } from 'fastify';
import type { ItemStatus } from '../../core/contracts.ts';
import type { DatasetName } from '../../core/event.ts';
import type { ItemChoice, ItemFilter, Operations } from './operations.ts';
import { HttpProblem } from './problem.ts';
import { discardSchema, heldByRuleSchema, ITEM_STATUSES, itemDetailSchema, itemsSchema, problemSchema, releaseSchema } from './shapes.ts';

const filterProperties = {
  pipeline: { type: 'string', description: 'Only those of this pipeline.' },
  dataset: { type: 'string', description: 'Only this dataset.' },
  rule: { type: 'string', description: 'Only items that this rule held.' },
  key: { type: 'string', description: 'Only this key.' },
  status: { type: 'array', items: { enum: ITEM_STATUSES }, description: 'Only these; every one if left out.' },
  window: { type: 'string', description: 'Only the lot of the window that begins at this time: ISO text or Unix time in ms.' },
  from: { type: 'string', description: 'Held at this time or later: ISO text or Unix time in ms.' },
  to: { type: 'string', description: 'Held before this time.' },
} as const;

const listQuery = {
  type: 'object',
  properties: {
    ...filterProperties,
    after: { type: 'string', description: '`next` of the page before.' },
    limit: { type: 'integer', minimum: 1, maximum: 500, default: 50, description: 'Items a page.' },
  },
  additionalProperties: false,
} as const;

const idParams = {
  type: 'object',
  properties: { id: { type: 'string', description: 'The event: dataset/key@version#ordinal, with / as %2F and # as %23.' } },
  required: ['id'],
} as const;
const filterBody = { type: 'object', properties: filterProperties, additionalProperties: false, minProperties: 1 } as const;
const choice = {
  ids: { type: 'array', items: { type: 'string', minLength: 1 }, minItems: 1, maxItems: 10_000, description: 'These items.' },
  filter: { ...filterBody, description: 'The open items that fit this instead, the newest 10,000 at once.' },
} as const;
const releaseBody = {
  type: 'object',
  properties: { ...choice, dryRun: { type: 'boolean', default: false, description: 'Only say what it would come to.' } },
  additionalProperties: false,
} as const;
const discardBody = {
  type: 'object',
  properties: { ...choice, why: { type: 'string', minLength: 1, maxLength: 1000, description: 'Kept beside the items.' } },
  required: ['why'],
  additionalProperties: false,
} as const;

type FilterQuery = Partial<Record<'pipeline' | 'dataset' | 'rule' | 'key' | 'window' | 'from' | 'to', string>> & {
  readonly status?: readonly ItemStatus[];
};
type ListQuery = FilterQuery & { readonly after?: string; readonly limit: number };
interface ChoiceBody {
  readonly ids?: readonly string[];
  readonly filter?: FilterQuery;
}

export function quarantineRoutes(app: FastifyInstance, operations: Operations): void {
  const tags = ['quarantine'];
  app.get<{ Querystring: ListQuery }>(
    '/api/quarantine',
    {
      schema: {
        tags,
        summary: 'Quarantined events, newest first.',
        querystring: listQuery,
        response: { 200: itemsSchema, 503: problemSchema },
      },
    },
    (request) => operations.quarantine(filterOf(request.query), request.query.limit, request.query.after ?? null),
  );

  app.get<{ Querystring: { readonly pipeline?: string } }>(
    '/api/quarantine/rules',
    {
      schema: {
        tags,
        summary: 'Open events by the rules that hold them.',
        querystring: { type: 'object', properties: { pipeline: filterProperties.pipeline }, additionalProperties: false },
        response: { 200: heldByRuleSchema, 503: problemSchema },
      },
    },
    (request) => operations.heldByRule(request.query.pipeline ?? null),
  );

  app.get<{ Params: { id: string } }>(
    '/api/quarantine/:id',
    {
      schema: {
        tags,
        summary: 'One quarantined event with its row.',
        params: idParams,
        response: { 200: itemDetailSchema, 404: problemSchema, 503: problemSchema },
      },
    },
    async (request) => {
      const item = await operations.quarantined(request.params.id);
      if (item === null)
        throw new HttpProblem(404, 'NOT_FOUND', 'There is no quarantined event of this id.', {
          fix: 'Escape the id in the path: / as %2F, # as %23.',
        });
      return item;
    },
  );

  app.post<{ Body: ChoiceBody & { readonly dryRun: boolean } }>(
    '/api/quarantine/release',
    {
      schema: {
        tags,
        summary: 'Send events through the stages again, or say what that would come to.',
        body: releaseBody,
        response: { 200: releaseSchema, 503: problemSchema },
      },
    },
    (request) => operations.release(choiceOf(request.body), request.caller, request.body.dryRun),
  );

  app.post<{ Body: ChoiceBody & { readonly why: string } }>(
    '/api/quarantine/discard',
    { schema: { tags, summary: 'Settle events as discarded.', body: discardBody, response: { 200: discardSchema, 503: problemSchema } } },
    async (request) => ({ discarded: await operations.discard(choiceOf(request.body), request.caller, request.body.why) }),
  );
}

function choiceOf({ ids, filter }: ChoiceBody): ItemChoice {
  if ((ids === undefined) === (filter === undefined)) {
    throw new HttpProblem(400, 'INVALID_REQUEST', 'Name either ids or a filter.', { fix: 'Send {"ids": […]} or {"filter": {…}}.' });
  }
  return ids === undefined ? { filter: filterOf(filter ?? {}) } : { ids };
}

function filterOf(query: FilterQuery): ItemFilter {
  return {
    ...(query.pipeline === undefined ? {} : { pipeline: query.pipeline }),
    ...(query.dataset === undefined ? {} : { dataset: query.dataset as DatasetName }),
    ...(query.rule === undefined ? {} : { rule: query.rule }),
    ...(query.key === undefined ? {} : { key: query.key }),
    ...(query.status === undefined ? {} : { status: query.status }),
    ...(query.window === undefined ? {} : { lotStartMs: timeOf(query.window, 'window') }),
    ...(query.from === undefined ? {} : { heldFromMs: timeOf(query.from, 'from') }),
    ...(query.to === undefined ? {} : { heldToMs: timeOf(query.to, 'to') }),
  };
}

function timeOf(text: string, name: string): number {
  const ms = /^\d{9,}$/.test(text) ? Number(text) : Date.parse(text);
  if (Number.isFinite(ms)) return ms;
  throw new HttpProblem(400, 'INVALID_REQUEST', `${name} is no time.`, { fix: 'Write 2026-11-24T12:00:00Z, or Unix time in ms.' });
}
