/** Calls to the running service that a config describes. */
import { PipelineError } from '../../core/errors.ts';
import type { LoadedConfig } from '../config.ts';
import type { Status } from '../http/shapes.ts';

/** The service did not answer: it most likely does not run. */
export class NotRunning extends Error {
  override readonly name = 'NotRunning';
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** What sends a body along. */
export const postOf = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
});

export function unexpected({ status }: Answer): PipelineError {
  if (status >= 500) return new PipelineError('BUG', `the service answered ${status}: its log says why`);
  return new PipelineError('CONFIG_INVALID', `the service answered ${status}: is this the config it runs by?`);
}

/** How the running service is; null where it does not run. */
export async function statusOf(loaded: LoadedConfig, signal: AbortSignal): Promise<Status | null> {
  try {
    const answer = await callService(loaded, '/api/status', {}, signal);
    if (answer.status !== 200) throw unexpected(answer);
    return answer.body as Status; // Our own service, by its own schema.
  } catch (error) {
    if (error instanceof NotRunning) return null;
    throw error;
  }
}

/** Throws NotRunning where nobody listens. `port` says where a service listens that took a free one. */
export async function callService({ config }: LoadedConfig, path: string, init: RequestInit = {}, signal?: AbortSignal): Promise<Answer> {
  const { host, port, tokens, enabled } = config.http;
  if (!enabled || port === 0) throw new NotRunning('the config has no fixed http port');
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host.includes(':') ? `[${host}]` : host;
  const headers = new Headers(init.headers);
  const token = tokens[0]?.token.reveal();
  if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
  let response: Response;
  try {
    response = await fetch(`http://${reachable}:${port}${path}`, { ...init, headers, ...(signal === undefined ? {} : { signal }) });
  } catch (error) {
    throw new NotRunning(`nobody answers at ${host}:${port}`, { cause: error });
  }
  const text = await response.text();
  try {
    return { status: response.status, body: JSON.parse(text) as unknown };
  } catch (error) {
    throw new PipelineError('CONFIG_INVALID', `what listens at ${host}:${port} is not Tidegate`, { cause: error });
  }
}
