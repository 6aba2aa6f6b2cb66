/** Registering models and moving their aliases. */
import type { MultipartFile } from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { AdmissionRule } from '../../inference/models/admission.ts';
import { MODEL_NAME } from '../../inference/models/registry.ts';
import type { Operations } from './operations.ts';
import { HttpProblem } from './problem.ts';
import { modelsSchema, modelVersionSchema, modelVersionsSchema, problemSchema, registeredSchema } from './shapes.ts';

const nameParams = {
  type: 'object',
  properties: { name: { type: 'string', pattern: MODEL_NAME, description: 'The model.' } },
  required: ['name'],
} as const;
const versionParams = {
  type: 'object',
  properties: {
    name: { type: 'string', pattern: MODEL_NAME, description: 'The model.' },
    version: { type: 'string', description: 'A number or an alias.' },
  },
  required: ['name', 'version'],
} as const;
const aliasParams = {
  type: 'object',
  properties: {
    name: { type: 'string', pattern: MODEL_NAME, description: 'The model.' },
    alias: { type: 'string', pattern: MODEL_NAME, description: 'The alias.' },
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
/** Uploads at once: each holds a model in memory until it has been admitted, one after the other. */
const UPLOADS_MAX = 4;
const CURL = 'curl -F model=@model.onnx -F mapping=@mapping.json …';
const MEND = 'Mend what the findings name and register it again; what is in use stays in use.';

export function modelRoutes(app: FastifyInstance, operations: Operations, modelBytes: number): void {
  const tags = ['models'];
  let uploads = 0;
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
          413: problemSchema,
          415: problemSchema,
          422: problemSchema,
          429: problemSchema,
        },
      },
    },
    async (request, reply) => {
      if (uploads >= UPLOADS_MAX) {
        throw new HttpProblem(429, 'TOO_MANY_UPLOADS', `${UPLOADS_MAX} models are being registered already.`, {
          fix: 'Try again in a while.',
        });
      }
      uploads++;
      const { name } = request.params;
      const registration = await upload(request, modelBytes)
        .then(({ model, mapping }) => operations.models.register(name, model, mapping, { promote: request.query.promote }))
        .finally(() => uploads--);
      if (registration.kind === 'rejected') {
        const { findings } = registration;
        const first = findings.find(({ severity }) => severity === 'error');
        const why = first === undefined ? '' : `: ${first.path}: ${first.detail}`;
        throw new HttpProblem(422, 'MODEL_REJECTED', `The model was rejected${why}`, { findings, fix: MEND });
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

interface Upload {
  readonly model: Uint8Array;
  readonly mapping: unknown;
}

/** Reads the parts as they come, and no more of a file than is allowed. */
async function upload(request: FastifyRequest, modelBytes: number): Promise<Upload> {
  if (!request.isMultipart()) {
    throw new HttpProblem(415, 'UNSUPPORTED_MEDIA_TYPE', 'A model is registered by multipart/form-data.', { fix: CURL });
  }
  const { model, mapping } = await parts(request, modelBytes);
  if (model === null) throw new HttpProblem(400, 'MODEL_MISSING', 'There is no part `model` with a file.', { fix: CURL });
  if (mapping === null)
    throw new HttpProblem(400, 'MAPPING_MISSING', 'There is no part `mapping`.', {
      fix: 'Send the feature mapping as JSON in the part `mapping`.',
    });
  try {
    return { model, mapping: JSON.parse(mapping) as unknown };
  } catch {
    throw rejected({ rule: 'MAPPING', path: 'mapping', detail: 'The part `mapping` is no JSON.' });
  }
}

async function parts(request: FastifyRequest, modelBytes: number): Promise<{ model: Uint8Array | null; mapping: string | null }> {
  let model: Buffer | null = null;
  let mapping: string | null = null;
  const limits = { fileSize: modelBytes, files: 3, fields: 5, fieldSize: MAPPING_BYTES, parts: 8 };
  try {
    for await (const part of request.parts({ limits })) {
      const isMapping = part.fieldname === 'mapping' || part.fieldname === 'spec';
      if (part.type === 'file') {
        const bytes = await bytesOf(part, isMapping ? Math.min(modelBytes, MAPPING_BYTES) : modelBytes);
        if (part.fieldname === 'model') model = bytes;
        else if (isMapping) mapping = bytes.toString('utf8');
      } else if (isMapping && typeof part.value === 'string') {
        if (part.valueTruncated) throw tooLarge(part.fieldname, MAPPING_BYTES);
        mapping = part.value;
      }
    }
  } catch (error) {
    // What has a status is of ours or of the parser's limits; the rest is what the parser says of a body that is none.
    if (error instanceof HttpProblem || (error instanceof Error && 'statusCode' in error)) throw error;
    throw new HttpProblem(400, 'INVALID_MULTIPART', 'The body is no multipart/form-data, or ends too early.', { fix: CURL });
  }
  return { model, mapping };
}

async function bytesOf(part: MultipartFile, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of part.file as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length <= limit) chunks.push(chunk); // The rest of the body is read all the same, or the client would wait for ever.
  }
  if (part.file.truncated || length > limit) throw tooLarge(part.fieldname, limit);
  return Buffer.concat(chunks);
}

function tooLarge(part: string, limit: number): HttpProblem {
  const fix =
    part === 'model' ? 'Shrink the model, or raise http.modelBytes in the config.' : 'Shrink the mapping: fewer golden rows or words.';
  return rejected({ rule: 'TOO_LARGE', path: part, detail: `It has more than the ${limit} bytes allowed.` }, fix);
}

/** 422 for what is wrong before it comes to the registry. */
function rejected(finding: { rule: AdmissionRule; path: string; detail: string }, fix = MEND): HttpProblem {
  const detail = `The model was rejected: ${finding.path}: ${finding.detail}`;
  return new HttpProblem(422, 'MODEL_REJECTED', detail, { findings: [{ ...finding, severity: 'error' }], fix });
}

function noModel(): HttpProblem {
  return new HttpProblem(404, 'NOT_FOUND', 'There is no such model or version.', { fix: 'See /api/models for what there is.' });
}
