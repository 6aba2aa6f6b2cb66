/** Errors of the API: problem+json (RFC 9457), with `error` and `error_code` beside it for clients of other habits. */
import { STATUS_CODES } from 'node:http';
import { PipelineError } from '../../core/errors.ts';
import { withoutSecrets } from '../secret.ts';

export interface ProblemExtras {
  readonly fix?: string;
  readonly findings?: readonly { readonly rule: string; readonly severity: string; readonly path: string; readonly detail: string }[];
}

/** An answer that is not the one asked for. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem';
  readonly status: number;
  readonly code: string;
  readonly extras: ProblemExtras;

  constructor(status: number, code: string, detail: string, extras: ProblemExtras = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.extras = extras;
  }
}

/** What is told of an error: everything of our own, and nothing of an unexpected one but that it happened. */
export function problemOf(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (error instanceof PipelineError) {
    const status = error.code.startsWith('TARGET_') || error.code.startsWith('SOURCE_') ? 503 : error.code === 'BUG' ? 500 : 409;
    return new HttpProblem(status, error.code, withoutSecrets(error.message), { fix: error.fix });
  }
  const { code, statusCode, message, validation } = (typeof error === 'object' && error !== null ? error : {}) as {
    code?: unknown;
    statusCode?: unknown;
    message?: unknown;
    validation?: unknown;
  };
  if (Array.isArray(validation))
    return new HttpProblem(400, 'INVALID_REQUEST', String(message), { fix: 'See /openapi.json for what this call takes.' });
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    const known = typeof code === 'string' ? code.replace(/^FST_(ERR_)?/, '') : 'INVALID_REQUEST';
    return new HttpProblem(statusCode, known, String(message));
  }
  return new HttpProblem(500, 'INTERNAL', 'Something went wrong here; the log says what.');
}

export function problemBody(problem: HttpProblem): Record<string, unknown> {
  return {
    type: `https://tidegate.dev/problems/${problem.code.toLowerCase().replaceAll('_', '-')}`,
    title: TITLES[problem.code] ?? STATUS_CODES[problem.status] ?? 'Error',
    status: problem.status,
    detail: problem.message,
    ...(problem.extras.fix === undefined ? {} : { fix: problem.extras.fix }),
    error: problem.message,
    error_code: problem.code,
    ...(problem.extras.findings === undefined ? {} : { findings: problem.extras.findings }),
  };
}

const TITLES: Readonly<Record<string, string>> = {
  MODEL_REJECTED: 'Model rejected',
  RULES_REFUSED: 'Rules refused',
  INVALID_REQUEST: 'Invalid request',
  UNAUTHENTICATED: 'Token missing or wrong',
  WRONG_HOST: 'Unknown host',
  CROSS_SITE: 'Cross-site request refused',
  NOT_FOUND: 'Not found',
};
