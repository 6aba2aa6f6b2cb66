/** Services for the tests: configs in temporary folders, the real service over them, and requests that say exactly what they say. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LoadedConfig, parseConfig } from '../../app/config.ts';
import { Service } from '../../app/service.ts';
import { eventually } from '../support/eventually.ts';

/** Where nobody listens. */
export const NOWHERE = 'postgres://nobody:hunter1@127.0.0.1:1/none';

export interface TestConfig extends Disposable {
  readonly folder: string;
  readonly file: string;
  /** Loads what the file says now. */
  readonly load: () => LoadedConfig;
}

/** A folder with tidegate.yaml: one pipeline from public.orders to the schema `shop`, unless `config` says otherwise, and files beside it. */
export function configFolder(
  config: Readonly<Record<string, unknown>> = {},
  files: Readonly<Record<string, string>> = {},
  urls: { readonly source: string; readonly target: string } = { source: NOWHERE, target: NOWHERE },
): TestConfig {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-app-'));
  const file = join(folder, 'tidegate.yaml');
  const value = {
    version: 1,
    sources: {
      shop: { kind: 'postgres', url: urls.source, slot: 'tidegate_shop', publication: 'tidegate_shop', tables: ['public.orders'] },
    },
    targets: { lake: { kind: 'postgres', url: urls.target, schema: 'shop' } },
    pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml' } },
    http: { port: 0 },
    ...config,
  };
  writeFileSync(file, JSON.stringify(value));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return {
    folder,
    file,
    load: () => {
      const result = parseConfig(JSON.stringify(value), file, {});
      if (result.kind === 'invalid') throw new Error(JSON.stringify(result.problems));
      return result.loaded;
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The body as JSON; null where it is none. */
  readonly json: unknown;
}

/** A request with exactly these headers (fetch would set some of them itself) and this path, however odd. */
export function ask(
  url: string,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, method: options.method ?? 'GET', headers: options.headers ?? {} }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json: parsed(text) }));
    });
    sent.on('error', reject);
    sent.end(options.body);
  });
}

export const post = (url: string, path: string, body: unknown) =>
  ask(url, path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

/** Registers a model over HTTP; `mapping` as it is where it is a text. */
export async function upload(url: string, name: string, bytes: Uint8Array | null, mapping: unknown, query = ''): Promise<Answer> {
  const form = new FormData();
  if (mapping !== null) form.set('mapping', typeof mapping === 'string' ? mapping : JSON.stringify(mapping));
  if (bytes !== null) form.set('model', new Blob([new Uint8Array(bytes)]), 'model.onnx');
  const response = await fetch(`${url}/api/models/${name}/versions${query}`, { method: 'POST', body: form });
  const text = await response.text();
  return { status: response.status, headers: Object.fromEntries(response.headers), text, json: parsed(text) };
}

/** The real service over a config whose servers are away, unless told otherwise. */
export async function startService(config: TestConfig): Promise<{ readonly service: Service; readonly url: string } & AsyncDisposable> {
  const service = await Service.start(config.load());
  const { url } = service;
  if (url === null) throw new Error('the service does not listen');
  return { service, url, [Symbol.asyncDispose]: () => service.stop(5000) };
}

/** Waits until every pipeline of a service runs, with nothing left to copy, and has caught up. */
export const untilReady = (url: string, timeoutMs = 30_000): Promise<void> =>
  eventually(async () => (await ask(url, '/readyz')).status === 200, 'the service is ready', timeoutMs);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}
