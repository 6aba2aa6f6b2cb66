/** tidegate run: the service, until it is asked to stop. */
import { isatty } from 'node:tty';
import { systemClock } from '../../core/clock.ts';
import { createLogger, errorFields } from '../logger.ts';
import { ConfigProblems } from '../config-problems.ts';
import { Service } from '../service.ts';
import { type Command, configOf } from './command.ts';

export const run: Command = {
  name: 'run',
  summary:
    'Runs every pipeline of the config and the HTTP server, until SIGTERM or Ctrl-C: then it finishes what it has read. A second signal cuts it off. SIGHUP takes changed rule files up.',
  positionals: ['CONFIG'],
  flags: {},
  run: async (args, io) => {
    const loaded = configOf(args, io);
    const { level, format } = loaded.config.logs;
    const logger = createLogger({ level, format: format ?? (io.isTerminal ? 'pretty' : 'json'), write: io.stderr, clock: systemClock });
    await using service = await Service.start(loaded, { logger, stop: io.stop }).catch((error: unknown) => {
      if (!io.stop.aborted || error instanceof ConfigProblems) throw error;
      logger.warn('told to stop before everything was started', errorFields(error));
      return null;
    });
    if (service === null) return 0;
    if (args.is('json')) io.stdout(`${JSON.stringify({ url: service.url, pid: process.pid })}\n`);
    const hungUp = new AbortController();
    const onHangup = (): void => {
      // Who closes the terminal means the service that runs in it; anyone else who sends SIGHUP means its rule files.
      if (io.isTerminal && !isatty(process.stderr.fd)) hungUp.abort();
      else void service.reloadAll('SIGHUP'); // It tells of itself what came of it.
    };
    process.on('SIGHUP', onHangup);
    try {
      const stop = AbortSignal.any([io.stop, hungUp.signal]);
      await new Promise<void>((stopped) => {
        if (stop.aborted) stopped();
        else stop.addEventListener('abort', () => stopped(), { once: true });
      });
      await service.stop();
    } finally {
      process.off('SIGHUP', onHangup);
    }
    return 0;
  },
};
