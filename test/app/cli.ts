/** The command line in this process, with what it writes kept. */
import { runCli } from '../../app/cli/cli.ts';
import type { ExitCode } from '../../app/cli/output.ts';

export interface CliRun {
  readonly code: ExitCode;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as JSON; null where it is none. */
  readonly json: unknown;
}

/** Runs `tidegate …args` where nobody sits at the terminal. */
export const cli = (...args: readonly string[]): Promise<CliRun> => cliIn({}, ...args);

/** The same with variables of the environment. */
export const cliIn = (env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<CliRun> =>
  run(env, new AbortController().signal, args);

/** The same where a signal has been sent to it. */
export const stoppedCli = (...args: readonly string[]): Promise<CliRun> => run({}, AbortSignal.abort(), args);

async function run(env: Readonly<Record<string, string>>, stop: AbortSignal, args: readonly string[]): Promise<CliRun> {
  let stdout = '';
  let stderr = '';
  const code = await runCli(args, {
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    env,
    isTerminal: false,
    ask: async () => null,
    stop,
  });
  let json: unknown = null;
  try {
    json = JSON.parse(stdout) as unknown;
  } catch {
    // In words.
  }
  return { code, stdout, stderr, json };
}
