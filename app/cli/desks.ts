/** The targets of every pipeline, for commands that look at and decide about what is kept there; works while the service runs. */
import { userInfo } from 'node:os';
import { systemClock } from '../../core/clock.ts';
import { isError } from '../../core/problems.ts';
import { ModelRegistry } from '../../inference/models/registry.ts';
import { MemoryModelStore } from '../../inference/models/store.ts';
import { Scorer } from '../../inference/scorer/supervisor.ts';
import type { LoadedConfig } from '../config.ts';
import { silentLogger } from '../logger.ts';
import { Desk } from '../desk.ts';
import { loadRuleFiles } from '../rule-files.ts';
import { ConfigProblems } from '../config-problems.ts';
import { existingServiceState } from '../state/state.ts';
import type { Arguments } from './arguments.ts';
import { configOf } from './command.ts';
import type { ExitCode, Io } from './output.ts';

/** The desks of every pipeline, with the registered models for dry runs. */
export async function withDesks(
  args: Arguments,
  io: Io,
  work: (desks: readonly Desk[], loaded: LoadedConfig) => Promise<ExitCode>,
): Promise<ExitCode> {
  const loaded = configOf(args, io);
  const rules = Object.entries(loaded.config.pipelines).map(([name, pipeline]) => ({
    name,
    pipeline,
    ...loadRuleFiles(loaded, name, pipeline),
  }));
  const problems = rules.flatMap((one) => one.problems);
  if (problems.some(isError)) throw new ConfigProblems(problems);
  await using state = await existingServiceState(loaded.config.state);
  const registry = await ModelRegistry.open(state?.models ?? new MemoryModelStore());
  await using scorer = new Scorer();
  const desks = rules.map(
    ({ name, pipeline, files }) =>
      new Desk({ config: loaded.config, name, pipeline, rules: files, registry, scorer, clock: systemClock, logger: silentLogger }),
  );
  try {
    return await work(desks, loaded);
  } finally {
    for (const desk of desks) await desk[Symbol.asyncDispose]();
  }
}

export function callerOf(args: Arguments): string {
  return args.text('by') ?? userInfo().username;
}
