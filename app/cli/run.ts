/** tidegate run: the service, until it is asked to stop. */
import { systemClock } from '../../core/clock.ts';
import { createLogger } from '../logger.ts';
import { Service } from '../service.ts';
import { type Command, configOf } from './command.ts';

export const run: Command = {
  name: 'run',
  summary:
    'Runs every pipeline of the config and the HTTP server, until SIGTERM or Ctrl-C: then it finishes what it has read. A second signal cuts it off.',
  positionals: ['CONFIG'],
  flags: {},
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const { level, format } = loaded.config.logs;
    const logger = createLogger({ level, format: format ?? (io.isTerminal ? 'pretty' : 'json'), write: io.stderr, clock: systemClock });
    await using service = await Service.start(loaded, { logger });
    if (args.is('json')) io.stdout(`${JSON.stringify({ url: service.url, pid: process.pid })}\n`);
    await new Promise<void>((stopped) => {
      if (io.stop.aborted) stopped();
      else io.stop.addEventListener('abort', () => stopped(), { once: true });
    });
    await service.stop();
    return 0;
  },
};
