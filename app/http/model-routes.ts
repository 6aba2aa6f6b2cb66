/** Registering models and moving their aliases. */
import type { MultipartFile } from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Operations } from './operations.ts';
import { HttpProblem } from './problem.ts';
import { modelsSchema, modelVersionSchema, modelVersionsSchema, problemSchema, registeredSchema } from './shapes.ts';

const NAME = '^[a-z][a-z0-9_-]{0,62}$';
const nameParams = {
  type: 'object',
  properties: { name: { type: 'string', pattern: NAME, description: 'The model.' } },
  required: ['name'],
} as const;
const versionParams = {
  type: 'object',
  properties: {
    name: { type: 'string', pattern: NAME, description: 'The model.' },
    version: { type: 'string', description: 'A number or an alias.' },
  },
  required: ['name', 'version'],
} as const;
const aliasParams = {
  type: 'object',
  properties: {
    name: { type: 'string', pattern: NAME, description: 'The model.' },
    alias: { type: 'string', pattern: NAME, description: 'The alias.' },
  },
  required: ['name', 'alias'],
} as const;
const registerQuery = {
  type: 'object',
  properties: {
    promote: { type: 'boolean', default: true, description: 'Whether @production moves to it: running pipelines then take it up.' },
  },
  additionalProperties: false,
} as const;
const aliasBody = {
  type: 'object',
  properties: {
    version: { type: 'integer', minimum: 1, description: 'The version it points at from now on.' },
    if_version: { type: 'integer', minimum: 1, description: 'Only if it points at this one now.' },
  },
  required: ['version'],
  additionalProperties: false,
} as const;
const MAPPING_BYTES = 1024 * 1024;

export function modelRoutes(app: FastifyInstance, operations: Operations, modelBytes: number): void {
  const tags = ['models'];
  app.get('/api/models', { schema: { tags, summary: 'All models.', response: { 200: modelsSchema } } }, async () => ({
    models: operations.models.models().map((model) => ({ model, versions: operations.modelVersions(model) })),
  }));

  app.get<{ Params: { name: string } }>(
    '/api/models/:name/versions',
    { schema: { tags, summary: 'A model’s versions.', params: nameParams, response: { 200: modelVersionsSchema, 404: problemSchema } } },
    async ({ params }) => {
      const versions = operations.modelVersions(params.name);
      if (versions.length === 0) throw noModel();
      return { model: params.name, versions };
    },
  );

  app.get<{ Params: { name: string; version: string } }>(
    '/api/models/:name/versions/:version',
    { schema: { tags, summary: 'One version.', params: versionParams, response: { 200: modelVersionSchema, 404: problemSchema } } },
    async ({ params }) => {
      const resolved = operations.models.resolve(`${params.name}@${params.version}`);
      const view = operations.modelVersions(params.name).find(({ version }) => version === resolved?.version);
      if (view === undefined) throw noModel();
      return view;
    },
  );

  app.post<{ Params: { name: string }; Querystring: { promote: boolean } }>(
    '/api/models/:name/versions',
    {
      schema: {
        tags,
        summary: 'Register a version: multipart with a file `model` and a field `mapping` (or `spec`), the feature mapping as JSON.',
        consumes: ['multipart/form-data'],
        params: nameParams,
        querystring: registerQuery,
        response: {
          200: registeredSchema,
          201: registeredSchema,
          400: problemSchema,
          415: problemSchema,
          422: problemSchema,
        },
      },
    },
    async (request, reply) => {
      const { model, mapping } = await upload(request, modelBytes);
      const registration = await operations.models.register(request.params.name, model, mapping, { promote: request.query.promote });
      if (registration.kind === 'rejected') {
        const first = registration.findings[0];
        throw new HttpProblem(
          422,
          'MODEL_REJECTED',
          first === undefined ? 'The model was rejected.' : `The model was rejected: ${first.detail}`,
          {
            findings: registration.findings,
            fix: 'Mend what the findings name and register it again; what is in use stays in use.',
          },
        );
      }
      const { version, created } = registration;
      const view = operations.modelVersions(version.model).find((candidate) => candidate.version === version.version);
      return reply
        .code(created ? 201 : 200)
        .header('location', `/api/models/${version.model}/versions/${version.version}`)
        .send({ created, version: view });
    },
  );

  app.put<{ Params: { name: string; alias: string }; Body: { version: number; if_version?: number } }>(
    '/api/models/:name/aliases/:alias',
    {
      schema: {
        tags,
        summary: 'Point an alias at a version.',
        params: aliasParams,
        body: aliasBody,
        response: { 200: modelVersionSchema, 404: problemSchema, 412: problemSchema },
      },
    },
    async ({ params, body }) => {
      const now = operations.models.aliases(params.name).find(({ alias }) => alias === params.alias)?.version ?? null;
      if (body.if_version !== undefined && body.if_version !== now) {
        throw new HttpProblem(412, 'ALIAS_MOVED', `The alias points at ${now ?? 'nothing'}.`, {
          fix: 'Look again, and repeat with the version it points at.',
        });
      }
      if (!(await operations.models.setAlias(params.name, params.alias, body.version))) throw noModel();
      return operations.modelVersions(params.name).find(({ version }) => version === body.version);
    },
  );
}

/** Reads the parts as they come, and no more of a file than is allowed. */
async function upload(request: FastifyRequest, modelBytes: number): Promise<{ model: Uint8Array; mapping: unknown }> {
  if (!request.isMultipart()) {
    throw new HttpProblem(415, 'UNSUPPORTED_MEDIA_TYPE', 'A model is registered by multipart/form-data.', {
      fix: 'curl -F model=@model.onnx -F mapping=@mapping.json …',
    });
  }
  let model: Buffer | null = null;
  let mapping: string | null = null;
  const limits = { fileSize: modelBytes, files: 3, fields: 5, fieldSize: MAPPING_BYTES, parts: 8 };
  for await (const part of request.parts({ limits })) {
    if (part.type === 'file') {
      const bytes = await bytesOf(part, modelBytes);
      if (part.fieldname === 'model') model = bytes;
      else if (part.fieldname === 'mapping' || part.fieldname === 'spec') mapping = bytes.toString('utf8');
    } else if ((part.fieldname === 'mapping' || part.fieldname === 'spec') && typeof part.value === 'string') mapping = part.value;
  }
  if (model === null)
    throw new HttpProblem(400, 'MODEL_MISSING', 'There is no part `model` with a file.', {
      fix: 'curl -F model=@model.onnx -F mapping=@mapping.json …',
    });
  if (mapping === null)
    throw new HttpProblem(400, 'MAPPING_MISSING', 'There is no part `mapping`.', {
      fix: 'Send the feature mapping as JSON in the part `mapping`.',
    });
  try {
    return { model, mapping: JSON.parse(mapping) as unknown };
  } catch {
    throw new HttpProblem(422, 'MODEL_REJECTED', 'The mapping is no JSON.', {
      findings: [{ rule: 'MAPPING', severity: 'error', path: 'mapping', detail: 'The part `mapping` is no JSON.' }],
    });
  }
}

async function bytesOf(part: MultipartFile, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of part.file as AsyncIterable<Buffer>) chunks.push(chunk);
  if (part.file.truncated) {
    const detail = `The file has more than the ${limit} bytes allowed.`;
    throw new HttpProblem(422, 'MODEL_REJECTED', detail, {
      findings: [{ rule: 'TOO_LARGE', severity: 'error', path: part.fieldname, detail }],
      fix: 'Shrink the model, or raise http.modelBytes in the config.',
    });
  }
  return Buffer.concat(chunks);
}

function noModel(): HttpProblem {
  return new HttpProblem(404, 'NOT_FOUND', 'There is no such model or version.', { fix: 'See /api/models for what there is.' });
}
