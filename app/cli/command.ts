/** What a command is: its description and what it does. */
import { type LoadedConfig, loadConfig } from '../config.ts';
import { ConfigProblems } from '../config-problems.ts';
import { type Arguments, type CommandSpec, UsageError } from './arguments.ts';
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

/** The pipeline that is named, or the only one there is. */
export function pipelineOf(args: Arguments, { config }: LoadedConfig, at = 1): string {
  return pipelineNamed(args.positionals[at] ?? null, { config });
}

/** The same by a name from elsewhere; null where none is given. */
export function pipelineNamed(named: string | null, { config }: Pick<LoadedConfig, 'config'>): string {
  const names = Object.keys(config.pipelines);
  if (named !== null && !names.includes(named)) throw new UsageError(`there is no pipeline ${named}`, `Name one of ${names.join(', ')}.`);
  const pipeline = named ?? (names.length === 1 ? names[0] : undefined);
  if (pipeline === undefined) throw new UsageError('which pipeline is not said', `Name one of ${names.join(', ')}.`);
  return pipeline;
}
