/** The HTTP API of the real service. Its databases are away here: what needs them is in service.real.test.ts. */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { externalModel, linearModel, plainMapping } from '../inference/models.ts';
import { ask, configFolder, post, startService, type TestConfig, upload } from './services.ts';

const anyText: unknown = expect.any(String);
const textLike = (pattern: RegExp): unknown => expect.stringMatching(pattern);

const TOKEN = 'a-token-of-sixteen-or-more';
const OTHER = 'another-token-of-sixteen';
let config: TestConfig;
let guarded: TestConfig;
let running: Awaited<ReturnType<typeof startService>>;
let locked: Awaited<ReturnType<typeof startService>>;
let url: string;

beforeAll(async () => {
  config = configFolder({ http: { port: 0, modelBytes: '1MiB', allowedHosts: ['gate.example'] } });
  const tokens = [
    { name: 'ci', token: TOKEN },
    { name: 'ops', token: OTHER },
  ];
  guarded = configFolder({ http: { port: 0, tokens } });
  running = await startService(config);
  locked = await startService(guarded);
  url = running.url;
});
afterAll(async () => {
  await running?.[Symbol.asyncDispose]();
  await locked?.[Symbol.asyncDispose]();
  config?.[Symbol.dispose]();
  guarded?.[Symbol.dispose]();
});

describe('health', () => {
  test('/healthz says that the process lives, whatever the databases do', async () => {
    expect(await ask(url, '/healthz')).toMatchObject({ status: 200, json: { alive: true } });
  });

  test('/readyz says no while the source is away, and why', async () => {
    await eventually(async () => (await ask(url, '/api/status')).text.includes('backing-off'), 'the pipeline backs off');
    const { status, json } = await ask(url, '/readyz');
    expect([status, json]).toMatchObject([503, { ready: false, pipelines: [{ name: 'main', ready: false }] }]);
    expect(JSON.stringify(json)).toMatch(/the pipeline is backing-off: .*the Postgres server at 127\.0\.0\.1:1 cannot be reached/);
  });

  test('the status names the error, its fix and the next try, and no password', async () => {
    const { json, text } = await ask(url, '/api/status');
    expect(json).toMatchObject({
      ready: false,
      pipelines: [{ name: 'main', source: 'shop', target: 'lake', state: 'backing-off', error: { fix: textLike(/up and reachable/) } }],
    });
    expect(text).not.toMatch(/hunter1/);
  });

  test('/metrics is Prometheus text: every sample after its HELP and TYPE, no series twice', async () => {
    const { headers, text } = await ask(url, '/metrics');
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    const seen = new Set<string>();
    const types = new Map<string, string>();
    for (const line of text.trimEnd().split('\n')) {
      const comment = /^# (HELP|TYPE) ([a-z_:][a-z0-9_:]*) (.+)$/.exec(line);
      if (comment !== null) {
        if (comment[1] === 'TYPE') types.set(comment[2] ?? '', comment[3] ?? '');
        continue;
      }
      const sample = /^([a-z_:][a-z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.]+(?:e[+-]?\d+)?|NaN|[+-]Inf)$/.exec(
        line,
      );
      expect([line, sample === null]).toEqual([line, false]);
      const [, name = '', labels = ''] = sample ?? [];
      const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
      expect([name, types.get(family)]).toEqual([name, textLike(/^(counter|gauge|histogram|summary)$/)]);
      expect([line, seen.has(name + labels)]).toEqual([line, false]);
      seen.add(name + labels);
    }
    expect([...types.keys()]).toContain('tidegate_pipeline_state');
  });
});

interface OpenApi {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}
interface Operation {
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: object; readonly required?: boolean }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: object }>> };
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}

describe('OpenAPI', () => {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  let api: OpenApi;
  beforeAll(async () => {
    api = (await ask(url, '/openapi.json')).json as OpenApi;
  });

  test('every operation is described, and every schema in it is one', () => {
    expect(api.openapi).toMatch(/^3\.1\./);
    for (const [path, operations] of Object.entries(api.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        const where = `${method} ${path}`;
        const inPath = (operation.parameters ?? []).filter((one) => one.in === 'path' && one.required === true).map(({ name }) => name);
        const named = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name);
        expect([where, operation.summary, operation.tags?.length, new Set(inPath)]).toEqual([
          where,
          textLike(/[.?]$|,/),
          1,
          new Set(named),
        ]);
        const schemas = [
          ...(operation.parameters ?? []).map(({ schema }) => schema),
          ...Object.values(operation.requestBody?.content ?? {}).map(({ schema }) => schema),
          ...Object.values(operation.responses).flatMap(({ content }) => Object.values(content ?? {}).map(({ schema }) => schema)),
        ];
        const wrong = schemas.filter((schema) => ajv.validateSchema(schema) !== true);
        expect([where, wrong, Object.keys(operation.responses).length > 0]).toEqual([where, [], true]);
        for (const schema of schemas) ajv.compile(schema);
      }
    }
  });

  test('errors are described as problem+json, texts as texts, and the upload of a model by its parts', () => {
    const typesOf = (path: string, method: string, status: string) =>
      Object.keys(api.paths[path]?.[method]?.responses[status]?.content ?? {});
    expect([typesOf('/metrics', 'get', '200'), typesOf('/api/events', 'get', '200')]).toEqual([['text/plain'], ['text/event-stream']]);
    expect(typesOf('/readyz', 'get', '503')).toEqual(['application/json']);
    for (const [path, operations] of Object.entries(api.paths)) {
      for (const [method, { responses }] of Object.entries(operations)) {
        const errors = Object.keys(responses).filter((status) => status === 'default' || (status >= '400' && path !== '/readyz'));
        expect([path, method, errors.map((status) => typesOf(path, method, status))]).toEqual([
          path,
          method,
          errors.map(() => ['application/problem+json']),
        ]);
        expect(errors).toContain('default');
      }
    }
    const body = api.paths['/api/models/{name}/versions']?.['post']?.requestBody?.content['multipart/form-data']?.schema;
    expect(body).toMatchObject({ required: ['model', 'mapping'] });
    expect(Object.keys(api.paths).filter((path) => path.includes('*'))).toEqual([]);
  });

  test('what is answered is what is described', async () => {
    await upload(url, 'described', linearModel([1, 2]), plainMapping);
    const asked = ['/healthz', '/readyz', '/api/status', '/api/lanes', '/api/datasets', '/api/quarantine', '/api/models'];
    for (const path of asked) {
      const { status, json } = await ask(url, path);
      expect([path, errorsOf(responseOf(path, status), json)]).toEqual([path, []]);
    }
    const snapshot = await ask(url, '/api/pipelines/main/snapshot');
    expect(errorsOf(responseOf('/api/pipelines/{name}/snapshot', snapshot.status), snapshot.json)).toEqual([]);
    const versions = await ask(url, '/api/models/described/versions');
    expect(errorsOf(responseOf('/api/models/{name}/versions', versions.status), versions.json)).toEqual([]);
  });

  function responseOf(path: string, status: number): ValidateFunction {
    const response = api.paths[path]?.['get']?.responses[String(status)];
    const schema = Object.values(response?.content ?? {})[0]?.schema;
    if (schema === undefined) throw new Error(`GET ${path} does not describe ${status}`);
    return ajv.compile(schema);
  }
  const errorsOf = (validate: ValidateFunction, value: unknown) => (validate(value) ? [] : (validate.errors ?? []));
});

describe('models', () => {
  test('a good one is registered once, is production, and is found again', async () => {
    const first = await upload(url, 'm', linearModel([1, 0]), plainMapping);
    expect(first).toMatchObject({ status: 201, json: { created: true, version: { model: 'm', version: 1, aliases: ['production'] } } });
    expect(first.headers['location']).toBe('/api/models/m/versions/1');
    expect(await upload(url, 'm', linearModel([1, 0]), plainMapping)).toMatchObject({ status: 200, json: { created: false } });
    expect(await upload(url, 'm', linearModel([2, 0]), plainMapping, '?promote=false')).toMatchObject({
      status: 201,
      json: { version: { version: 2, aliases: [] } },
    });
    expect((await ask(url, '/api/models/m/versions/production')).json).toMatchObject({ version: 1 });
    const move = (body: unknown) =>
      ask(url, '/api/models/m/aliases/production', {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    expect(await move({ version: 2, if_version: 2 })).toMatchObject({ status: 412, json: { error_code: 'ALIAS_MOVED' } });
    expect(await move({ version: 2, if_version: 1 })).toMatchObject({ status: 200, json: { version: 2, aliases: ['production'] } });
    expect(await move({ version: 9 })).toMatchObject({ status: 404 });
    expect(await ask(url, '/api/models/nobody/versions')).toMatchObject({ status: 404, json: { error_code: 'NOT_FOUND' } });
  });

  test.each([
    ['what is no model', () => new TextEncoder().encode('no model at all'), plainMapping, 'NOT_A_MODEL'],
    ['an empty file', () => new Uint8Array(0), plainMapping, 'NOT_A_MODEL'],
    ['a model that is too large', () => new Uint8Array(1024 * 1024 + 1), plainMapping, 'TOO_LARGE'],
    ['a model with data elsewhere', () => externalModel('../../etc/passwd'), plainMapping, 'EXTERNAL_DATA'],
    ['a model of other inputs', () => linearModel([1, 2, 3]), plainMapping, 'INPUT_MISMATCH'],
    ['a mapping that is none', () => linearModel([1, 2]), { features: 7 }, 'MAPPING'],
    ['a mapping that is no JSON', () => linearModel([1, 2]), '{', 'MAPPING'],
    ['a mapping that is too large', () => linearModel([1, 2]), `{${' '.repeat(1024 * 1024)}}`, 'TOO_LARGE'],
  ])('%s is 422, with what is wrong', async (_what, bytes, mapping, rule) => {
    const { status, json } = await upload(url, 'bad', bytes(), mapping);
    expect([status, json]).toEqual([
      422,
      expect.objectContaining({
        error_code: 'MODEL_REJECTED',
        findings: expect.arrayContaining([expect.objectContaining({ rule, severity: 'error', path: anyText })]) as unknown,
      }),
    ]);
    expect((await ask(url, '/api/models/bad/versions')).status).toBe(404);
  });

  test('a file as the mapping, and the other name of its part, are taken', async () => {
    const parts = (...[name, value]: readonly [string, string | Blob]) => {
      const form = new FormData();
      form.set(name, value);
      form.set('model', new Blob([linearModel([3, 0])]), 'm.onnx');
      return fetch(`${url}/api/models/parts/versions`, { method: 'POST', body: form });
    };
    const mapping = JSON.stringify(plainMapping);
    const statuses = [await parts('mapping', new Blob([mapping])), await parts('spec', mapping)].map(({ status }) => status);
    expect([...statuses, (await parts('mapping', new Blob([' '.repeat(1024 * 1024 + 1)]))).status]).toEqual([201, 200, 422]);
  });

  test('no more than four are registered at once', async () => {
    const answers = await Promise.all([1, 2, 3, 4, 5, 6].map((weight) => upload(url, 'many', linearModel([weight, 1]), plainMapping)));
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([201, 201, 201, 201, 429, 429]);
    expect((await upload(url, 'many', linearModel([7, 1]), plainMapping)).status).toBe(201);
  });

  test.each([
    ['without a boundary', 'multipart/form-data', 'x', 'INVALID_MULTIPART'],
    [
      'cut off',
      'multipart/form-data; boundary=b',
      '--b\r\ncontent-disposition: form-data; name="model"; filename="m"\r\n\r\nxx',
      'INVALID_MULTIPART',
    ],
    ['of something else', 'multipart/form-data; boundary=b', 'hello\r\n', 'INVALID_MULTIPART'],
    ['that is empty', 'multipart/form-data; boundary=b', '', 'MODEL_MISSING'],
  ])('a body %s is a bad request', async (_what, type, body, code) => {
    const answer = await ask(url, '/api/models/bad/versions', { method: 'POST', headers: { 'content-type': type }, body });
    expect(answer).toMatchObject({ status: 400, json: { error_code: code } });
  });

  test('a part that is missing, another kind of body and a name that is none are told of', async () => {
    expect(await upload(url, 'bad', null, plainMapping)).toMatchObject({ status: 400, json: { error_code: 'MODEL_MISSING' } });
    expect(await upload(url, 'bad', linearModel([1, 2]), null)).toMatchObject({ status: 400, json: { error_code: 'MAPPING_MISSING' } });
    expect((await post(url, '/api/models/bad/versions', {})).status).toBe(415);
    expect((await upload(url, 'Not%20a%20name', linearModel([1, 2]), plainMapping)).status).toBe(400);
  });
});

describe('errors', () => {
  test.each([
    ['GET', '/api/nothing', undefined, 404, 'NOT_FOUND'],
    ['GET', '/api/quarantine?limit=0', undefined, 400, 'INVALID_REQUEST'],
    ['GET', '/api/quarantine?from=yesterday', undefined, 400, 'INVALID_REQUEST'],
    ['GET', '/api/quarantine?nonsense=1', undefined, 400, 'INVALID_REQUEST'],
    ['GET', '/api/quarantine', undefined, 503, 'TARGET_UNREACHABLE'],
    ['GET', '/api/quarantine/rules', undefined, 503, 'TARGET_UNREACHABLE'],
    ['GET', '/api/quarantine/rules?nonsense=1', undefined, 400, 'INVALID_REQUEST'],
    ['POST', '/api/quarantine/release', '{}', 400, 'INVALID_REQUEST'],
    ['POST', '/api/quarantine/release', '{"filter":{}}', 400, 'INVALID_REQUEST'],
    ['POST', '/api/quarantine/release', '{"ids":["a"],"filter":{"rule":"x"}}', 400, 'INVALID_REQUEST'],
    ['POST', '/api/quarantine/discard', '{"ids":["a"]}', 400, 'INVALID_REQUEST'],
    ['POST', '/api/quarantine/release', '{', 400, 'CTP_INVALID_JSON_BODY'],
    ['POST', '/api/pipelines/nobody/resume', undefined, 404, 'NOT_FOUND'],
    ['POST', '/api/pipelines/nobody/rereads', '{"dataset":"x"}', 404, 'NOT_FOUND'],
    ['POST', '/api/pipelines/main/rereads', '{}', 400, 'INVALID_REQUEST'],
    ['POST', '/api/pipelines/main/rereads', '{"dataset":"x"}', 400, 'INVALID_REQUEST'],
    ['POST', '/api/pipelines/nobody/snapshot/pause', undefined, 404, 'NOT_FOUND'],
    ['DELETE', '/api/status', undefined, 404, 'NOT_FOUND'],
  ])('%s %s with %s is %i %s, as problem+json', async (method, path, body, status, code) => {
    const headers: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
    const answer = await ask(url, path, { method, headers, ...(body === undefined ? {} : { body }) });
    expect([answer.status, answer.headers['content-type']?.split(';')[0]]).toEqual([status, 'application/problem+json']);
    expect(answer.json).toMatchObject({ status, error_code: code, title: anyText, detail: anyText });
    expect(answer.text).not.toMatch(/hunter1|node_modules/);
  });

  test('a body beyond its limit is refused', async () => {
    expect((await post(url, '/api/quarantine/release', { ids: ['x'.repeat(2 * 1024 * 1024)] })).status).toBe(413);
  });
});

describe('who may call', () => {
  test.each([
    ['localhost', 200],
    ['127.0.0.1', 200],
    ['[::1]:8420', 200],
    ['GATE.example:443', 200],
    ['evil.example', 421],
    ['localhost.evil.example', 421],
  ])('the host %j is answered %i', async (host, status) => {
    expect((await ask(url, '/api/status', { headers: { host } })).status).toBe(status);
  });

  test.each<[string, Record<string, string>, number]>([
    ['our own page', { origin: 'http://localhost:1', host: 'localhost:1', 'sec-fetch-site': 'same-origin' }, 202],
    ['a client that is no browser', {}, 202],
    ['another site', { 'sec-fetch-site': 'cross-site' }, 403],
    ['another port of this host', { 'sec-fetch-site': 'same-site', origin: 'http://localhost:2', host: 'localhost:1' }, 403],
    ['an old browser on another site', { origin: 'https://evil.example' }, 403],
    ['a frame without an origin', { origin: 'null' }, 403],
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['a form that looks like none', { 'content-type': 'text/plain' }, 415],
  ])('a change that comes from %s (%j) is answered %i', async (_from, headers, status) => {
    expect((await ask(url, '/api/pipelines/main/resume', { method: 'POST', headers })).status).toBe(status);
  });

  test('the page is our own, and may load nothing from elsewhere', async () => {
    const page = await ask(url, '/');
    expect([page.status, page.text.includes('<title>Tidegate')]).toEqual([200, true]);
    expect(page.headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
    });
    expect(page.headers['content-security-policy']).toMatch(/^default-src 'self';.*frame-ancestors 'none'/);
    expect((await ask(url, '/app.js')).headers['content-type']).toMatch(/javascript/);
    for (const path of ['/../package.json', '/%2e%2e/package.json', '/..%2f..%2fpackage.json', '/.env', '/API.md'])
      expect([path, (await ask(url, path)).status]).toEqual([path, expect.toSatisfy((status: number) => status === 404 || status === 403)]);
  });
});

describe('with tokens', () => {
  const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

  test('health and the page are open, everything else wants one of them', async () => {
    for (const path of ['/healthz', '/readyz', '/', '/app.js'])
      expect([path, (await ask(locked.url, path)).status]).not.toEqual([path, 401]);
    for (const path of ['/metrics', '/api/status', '/api/events', '/api/quarantine', '/openapi.json']) {
      const answer = await ask(locked.url, path);
      expect([path, answer.status, answer.headers['www-authenticate']]).toEqual([path, 401, 'Bearer']);
    }
    for (const token of [TOKEN, OTHER]) expect((await ask(locked.url, '/api/status', bearer(token))).status).toBe(200);
    for (const wrong of ['', 'x', TOKEN.slice(1), `${TOKEN}x`])
      expect((await ask(locked.url, '/api/status', bearer(wrong))).status).toBe(401);
  });

  test.each([
    '/%61pi/status',
    '/api%2fstatus',
    '//api/status',
    '/./api/status',
    '/x/../api/status',
    '/API/status',
    '/api/status/',
    '/api;x/status',
    '/%6detrics',
    '/%6Fpenapi.json',
  ])('the path %s is no way around it', async (path) => {
    const { status, text } = await ask(locked.url, path);
    expect([status, /"pipelines"|tidegate_|"openapi"/.test(text)]).toEqual([expect.toSatisfy((code: number) => code >= 400), false]);
  });

  test('a change is written down under the name of the token', async () => {
    const options = {
      method: 'POST',
      headers: { authorization: `Bearer ${OTHER}`, 'content-type': 'application/json' },
      body: '{"why":"night"}',
    };
    expect((await ask(locked.url, '/api/pipelines/main/halt', options)).status).toBe(202);
    const { text } = await ask(locked.url, '/api/status', bearer(TOKEN));
    expect(text).toMatch(/"code":"OPERATOR","message":"[^"]*ops[^"]*night/);
    expect((await ask(locked.url, '/readyz')).text).toMatch(/halted/);
    expect((await ask(locked.url, '/api/pipelines/main/resume', { ...options, body: '{}' })).status).toBe(202);
  });
});

test('the stream tells the status at once, and ends when the service stops', async () => {
  using other = configFolder();
  const another = await startService(other);
  const response = await fetch(`${another.url}/api/events`);
  expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
  const decoder = new TextDecoder();
  let text = '';
  let stopping: PromiseLike<void> | null = null;
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    if (text.includes('event: series')) stopping ??= another[Symbol.asyncDispose]();
  }
  await stopping;
  const [event, data = ''] = (text.split('\n\n').find((message) => message.startsWith('event: status')) ?? '').split('\n');
  expect([event, (JSON.parse(data.slice('data: '.length)) as { pipelines: { name: string }[] }).pipelines.map(({ name }) => name)]).toEqual(
    ['event: status', ['main']],
  );
});

test('a port in use is an explained mistake, and nothing is left running', async () => {
  using other = configFolder({ http: { port: Number(new URL(url).port) } });
  await expect(startService(other)).rejects.toMatchObject({
    name: 'ConfigProblems',
    problems: [
      {
        path: textLike(/http\.port$/),
        message: textLike(/in use/),
        fix: textLike(/0 takes a free one/),
      },
    ],
  });
});
