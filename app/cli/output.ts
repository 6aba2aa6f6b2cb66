/** How commands speak: results on standard output, everything else on standard error, and one JSON value where --json asks for it. */
import { PipelineError, withCauses } from '../../core/errors.ts';
import { isError, type Problem } from '../../core/problems.ts';
import { withoutSecrets } from '../secret.ts';
import { UsageError } from './arguments.ts';

export interface Io {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether standard error is a terminal. */
  readonly isTerminal: boolean;
  /** Asks a person; null where there is none. */
  readonly ask: (question: string) => Promise<string | null>;
  /** Aborts when the process is asked to stop. */
  readonly stop: AbortSignal;
}

/** 0: done. 1: it failed, or what was asked about is not well. 2: what was written is wrong, and nothing was done. 130: a signal stopped it before it was done. */
export type ExitCode = 0 | 1 | 2 | 130;

/** The value as JSON, or in words. */
export function show(io: Io, json: boolean, value: unknown, words: () => string): void {
  io.stdout(json ? `${JSON.stringify(value, null, 2)}\n` : words());
}

export function problemText({ severity, path, message, fix }: Problem): string {
  return `${severity === 'error' ? '✗' : '!'} ${path}${path.endsWith(':') ? '' : ':'} ${message}\n    ${fix}\n`;
}

export function problemsText(problems: readonly Problem[]): string {
  const errors = problems.filter(isError).length;
  const warnings = problems.length - errors;
  const counts = [count(errors, 'error'), count(warnings, 'warning')].filter((text) => text !== '').join(', ');
  return `${problems.map(problemText).join('')}${counts}\n`;
}

/** Says which rules are left out where rows are tried and not written; nothing where there are none. */
export const notAskedText = (rules: readonly string[], by = ''): string =>
  rules.length === 0 ? '' : `! Left out${by}, for the target is asked when rows are written and not before: ${rules.join(', ')}\n`;

/** Columns as wide as their widest cell. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, index) => Math.max(title.length, ...rows.map((row) => (row[index] ?? '').length)));
  const line = (row: readonly string[]) =>
    `${row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd()}\n`;
  return line(head) + rows.map(line).join('');
}

export function timeText(ms: number | null): string {
  return ms === null ? '-' : new Date(ms).toISOString().replace('T', ' ').slice(0, 19);
}

/** What is said of an error that ends a command. */
export function errorText(error: unknown): { readonly code: string; readonly message: string; readonly fix: string | null } {
  if (error instanceof UsageError) return { code: 'USAGE', message: error.message, fix: error.fix };
  if (error instanceof PipelineError) {
    return { code: error.code, message: withoutSecrets(withCauses(error)), fix: error.fix };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    code: 'BUG',
    message: withoutSecrets(message),
    fix: 'Report this with the output of the command run again with TIDEGATE_DEBUG=1.',
  };
}

function count(number: number, noun: string): string {
  return number === 0 ? '' : `${number} ${noun}${number === 1 ? '' : 's'}`;
}
