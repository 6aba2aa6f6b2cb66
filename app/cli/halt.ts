/** tidegate halt and resume: a pipeline stands still until a person lets it go on. Through the running service or, where it does not run, for its next start. */
import { userInfo } from 'node:os';
import { systemClock } from '../../core/clock.ts';
import { type LoadedConfig, replayLaneOf } from '../config.ts';
import { operatorHalt } from '../lane-runner.ts';
import { existingServiceState, openServiceState } from '../state/state.ts';
import { callService, NotRunning, postOf, unexpected } from './client.ts';
import { type Command, configOf, pipelineOf } from './command.ts';
import { type Io, show } from './output.ts';

const LATER = 'No running service was reached: it counts from the next start.\n';

export const halt: Command = {
  name: 'halt',
  summary:
    'Stops a pipeline at its checkpoint, before anything more is committed, until you resume it; over restarts too. The source keeps its log meanwhile.',
  positionals: ['CONFIG', '[PIPELINE]'],
  flags: { why: { type: 'string', value: 'TEXT', help: 'Why; shown beside the pipeline until you resume it.' } },
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const pipeline = pipelineOf(args, loaded);
    const why = args.text('why') ?? '';
    const running = await ask(loaded, pipeline, 'halt', { why }, io);
    if (!running) {
      await using state = await openServiceState(loaded.config.state);
      state.halts.set({ pipeline, ...operatorHalt(userInfo().username, why), atMs: systemClock.now() });
    }
    show(io, args.is('json'), { pipeline, halted: true, running }, () => `${pipeline} is halted.\n${running ? '' : LATER}`);
    return 0;
  },
};

export const resume: Command = {
  name: 'resume',
  summary:
    'Lets a halted pipeline go on from its checkpoint, and one that backs off try at once: nothing was lost while it stood still. `tidegate status` tells why it was halted.',
  positionals: ['CONFIG', '[PIPELINE]'],
  flags: {},
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const pipeline = pipelineOf(args, loaded);
    const running = await letGoOn(loaded, pipeline, io);
    show(io, args.is('json'), { pipeline, resumed: true, running }, () => `${pipeline} goes on.\n${running ? '' : LATER}`);
    return 0;
  },
};

/** False where no service was reached: then it goes on from the next start. */
export async function letGoOn(loaded: LoadedConfig, pipeline: string, io: Io): Promise<boolean> {
  const running = await ask(loaded, pipeline, 'resume', {}, io);
  if (running) return true;
  await using state = await existingServiceState(loaded.config.state);
  if (state !== null) for (const name of [pipeline, replayLaneOf(pipeline)]) state.halts.clear(name);
  return false;
}

/** False where no service was reached. */
async function ask(loaded: LoadedConfig, pipeline: string, what: 'halt' | 'resume', body: unknown, io: Io): Promise<boolean> {
  try {
    const answer = await callService(loaded, `/api/pipelines/${encodeURIComponent(pipeline)}/${what}`, postOf(body), io.stop);
    if (answer.status === 202) return true;
    throw unexpected(answer);
  } catch (error) {
    if (error instanceof NotRunning) return false;
    throw error;
  }
}
