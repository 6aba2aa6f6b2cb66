/** What a command is: its description and what it does. */
import { type LoadedConfig, loadConfig } from '../config.ts';
import { ConfigProblems } from '../service.ts';
import type { Arguments, CommandSpec } from './arguments.ts';
import type { ExitCode, Io } from './output.ts';

export interface Command extends CommandSpec {
  readonly run: (args: Arguments, io: Io) => Promise<ExitCode>;
}

/** Loads the config named first on the command line; throws ConfigProblems. */
export function configOf(args: Arguments, io: Io): LoadedConfig {
  const result = loadConfig(args.positionals[0] ?? 'tidegate.yaml', io.env);
  if (result.kind === 'invalid') throw new ConfigProblems(result.problems);
  return result.loaded;
}
