/** What the routes' own schemas cannot say in /openapi.json: bodies that are no JSON, and that errors are problem+json. */
import { problemSchema } from './shapes.ts';

interface Described {
  readonly paths?: object | undefined;
}
interface Operation {
  requestBody?: unknown;
  responses: Record<string, { description: string; content?: Record<string, unknown> }>;
}

/** Routes that answer with text. */
const TEXTS: Readonly<Record<string, readonly [type: string, description: string]>> = {
  '/metrics': ['text/plain', 'Every series of now, in the Prometheus text format.'],
  '/api/events': ['text/event-stream', 'Events until you hang up, every second.'],
};
/** What it answers is no error: the body is the same as when it is ready. */
const READINESS = '/readyz';
const UPLOAD = '/api/models/{name}/versions';

const uploadBody = {
  required: true,
  content: {
    'multipart/form-data': {
      schema: {
        type: 'object',
        properties: {
          model: { type: 'string', contentMediaType: 'application/octet-stream', description: 'The ONNX file.' },
          mapping: { type: 'string', contentMediaType: 'application/json', description: 'The feature mapping.' },
        },
        required: ['model', 'mapping'],
      },
    },
  },
};

/** The document with that; changes it in place. */
export function completed<D extends Described>(document: D): D {
  const paths = (document.paths ?? {}) as Readonly<Record<string, Readonly<Record<string, Operation>>>>; // As @fastify/swagger makes it.
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      if (path === UPLOAD && method === 'post') operation.requestBody = uploadBody;
      const text = TEXTS[path];
      if (text !== undefined) operation.responses['200'] = { description: text[1], content: { [text[0]]: { schema: { type: 'string' } } } };
      for (const [status, response] of Object.entries(operation.responses)) {
        if (Number(status) < 400 || path === READINESS) continue;
        response.content = { 'application/problem+json': { schema: problemSchema } };
      }
      operation.responses['default'] = {
        description: problemSchema.description,
        content: { 'application/problem+json': { schema: problemSchema } },
      };
    }
  }
  return document;
}
