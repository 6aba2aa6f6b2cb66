/** The HTTP server: health, metrics, the API, the stream of events and the page. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import multipart from '@fastify/multipart';
import fastifyStatic from '@fastify/static';
import swagger from '@fastify/swagger';
import fastify, { type FastifyInstance } from 'fastify';
import type { HttpConfig } from '../config-schema.ts';
import { errorFields, type Logger } from '../logger.ts';
import { VERSION } from '../version.ts';
import { liveRoute } from './live.ts';
import { guard } from './guard.ts';
import { modelRoutes } from './model-routes.ts';
import { completed } from './openapi.ts';
import type { Operations } from './operations.ts';
import { HttpProblem, problemBody, problemOf } from './problem.ts';
import { quarantineRoutes } from './quarantine-routes.ts';
import { ruleRoutes } from './rule-routes.ts';
import { schemaRoutes } from './schema-routes.ts';
import { lotRoutes } from './lot-routes.ts';
import { windowRoutes } from './window-routes.ts';
import { sloRoutes } from './slo-routes.ts';
import { snapshotRoutes } from './snapshot-routes.ts';
import { statusRoutes } from './status-routes.ts';

/** Bodies other than a model: lists of ids and filters. */
const BODY_BYTES = 1024 * 1024;

/** What the page may load: its own files, and nothing from elsewhere. */
const CONTENT_POLICY =
  "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export async function createHttpServer(operations: Operations, http: HttpConfig, logger: Logger): Promise<FastifyInstance> {
  const app = fastify({
    logger: false,
    bodyLimit: BODY_BYTES,
    // A stuck client may not hold a connection for ever; the stream of events sends something every second.
    connectionTimeout: 120_000,
    forceCloseConnections: true,
    // Ids of quarantined events hold keys, which may be long.
    routerOptions: { maxParamLength: 16_384 },
    ajv: { customOptions: { coerceTypes: 'array', removeAdditional: false, allErrors: true, strict: false } },
  });
  app.removeContentTypeParser('text/plain');
  // The schemas document and are tested against; serializing by them would drop what they do not name.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value));
  guard(app, http);
  app.setErrorHandler(async (error, request, reply) => {
    const problem = problemOf(error);
    if (problem.status >= 500)
      logger.error('a request failed', { method: request.method, url: request.url.split('?', 1)[0], ...errorFields(error) });
    if (problem.status === 401) reply.header('www-authenticate', 'Bearer');
    return reply.code(problem.status).type('application/problem+json').send(problemBody(problem));
  });
  app.setNotFoundHandler(async (request) => {
    throw new HttpProblem(404, 'NOT_FOUND', `There is no ${request.method} ${request.url.split('?', 1)[0] ?? ''}.`, {
      fix: 'See /openapi.json for what there is.',
    });
  });
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff');
    reply.header('referrer-policy', 'no-referrer');
    reply.header('content-security-policy', CONTENT_POLICY);
    reply.header('x-frame-options', 'DENY');
  });
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Tidegate', version: VERSION, description: 'Status, quarantine, lanes and models of a running service.' },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      ...(http.tokens.length > 0 ? { security: [{ token: [] }] } : {}),
    },
    transformObject: (described) => completed('openapiObject' in described ? described.openapiObject : {}),
  });
  await app.register(multipart, { throwFileSizeLimit: false });
  await app.register(async (routes) => {
    statusRoutes(routes, operations);
    quarantineRoutes(routes, operations);
    schemaRoutes(routes, operations);
    windowRoutes(routes, operations);
    sloRoutes(routes, operations);
    lotRoutes(routes, operations);
    snapshotRoutes(routes, operations);
    ruleRoutes(routes, operations);
    modelRoutes(routes, operations, http.modelBytes);
    liveRoute(routes, operations);
  });
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  const web = fileURLToPath(new URL('../web/', import.meta.url));
  if (existsSync(web))
    await app.register(fastifyStatic, {
      root: web,
      index: 'index.html',
      cacheControl: true,
      maxAge: 0,
      etag: true,
      allowedPath: (path) => !path.endsWith('.md'),
    });
  return app;
}
