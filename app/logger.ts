/** Lines for people and for machines, on standard error: one JSON object a line, or one readable line. Never a secret or a row's value. */
import type { Clock } from '../core/clock.ts';
import { PipelineError } from '../core/errors.ts';
import { withoutSecrets } from './secret.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with these fields on every line. */
  with(fields: LogFields): Logger;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: 'json' | 'pretty';
  readonly write: (line: string) => void;
  readonly clock: Pick<Clock, 'now'>;
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

export function createLogger(options: LoggerOptions, fixed: LogFields = {}): Logger {
  const line = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    if (RANK[level] < RANK[options.level]) return;
    const all: Record<string, unknown> = { ...fixed, ...fields };
    const at = new Date(options.clock.now()).toISOString();
    const text =
      options.format === 'json'
        ? JSON.stringify({ time: at, level, msg: message, ...all }, (_key, value: unknown) =>
            typeof value === 'bigint' ? String(value) : value,
          )
        : pretty(at, level, message, all);
    options.write(`${withoutSecrets(text)}\n`);
  };
  return {
    debug: (message, fields) => line('debug', message, fields),
    info: (message, fields) => line('info', message, fields),
    warn: (message, fields) => line('warn', message, fields),
    error: (message, fields) => line('error', message, fields),
    with: (fields) => createLogger(options, { ...fixed, ...fields }),
  };
}

/** A log that nobody reads. */
export const silentLogger: Logger = createLogger({ level: 'error', format: 'json', write: () => {}, clock: { now: () => 0 } });

/** What a log line says of an error: its code, its message and those of its causes. Stacks only for bugs. */
export function errorFields(error: unknown): LogFields {
  if (error instanceof PipelineError) {
    const fields = { code: error.code, error: error.message, cause: causes(error), fix: error.fix };
    return error.after === 'bug' ? { ...fields, stack: error.stack } : fields;
  }
  if (error instanceof Error) return { code: 'BUG', error: error.message, cause: causes(error), stack: error.stack };
  return { code: 'BUG', error: String(error) };
}

function causes(error: Error): string | undefined {
  const texts: string[] = [];
  for (let cause = error.cause, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) texts.push(cause.message);
  return texts.length === 0 ? undefined : texts.join(': ');
}

function pretty(at: string, level: LogLevel, message: string, fields: LogFields): string {
  const mark = { debug: '·', info: ' ', warn: '!', error: '✗' }[level];
  const rest = Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(
      ([key, value]) =>
        `${key}=${typeof value === 'string' ? (/[\s"]/.test(value) ? JSON.stringify(value) : value) : JSON.stringify(value)}`,
    )
    .join(' ');
  return `${at.slice(11, 19)} ${mark} ${message}${rest === '' ? '' : `  ${rest}`}`;
}
