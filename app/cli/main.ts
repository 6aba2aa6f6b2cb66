#!/usr/bin/env -S node --max-semi-space-size=16 --heap-growing-percent=100
/** The command `tidegate`. */
import { createInterface } from 'node:readline/promises';
import { runCli } from './cli.ts';

/** Signals closer than this are one: npm passes on to us what the terminal, or systemd, has sent to us as well. */
const ONE_SIGNAL_MS = 300;

const stop = new AbortController();
let stoppedAtMs = 0;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    // The second one cuts it off: what was in flight is read again from the checkpoint next time.
    if (stop.signal.aborted && performance.now() - stoppedAtMs > ONE_SIGNAL_MS) process.exit(130);
    if (stop.signal.aborted) return;
    stoppedAtMs = performance.now();
    stop.abort();
  });
}

// A log that cannot be written (its disk is full, its reader is gone) is no reason to stop; what is asked for is written or failed at.
process.stderr.on('error', () => {});
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') process.stderr.write(`✗ standard output cannot be written (${error.code ?? error.message})\n`);
  process.exit(1);
});

process.exitCode = await runCli(process.argv.slice(2), {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  env: process.env,
  isTerminal: process.stderr.isTTY,
  stop: stop.signal,
  ask: async (question) => {
    if (!process.stdin.isTTY) return null;
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    try {
      return await terminal.question(question);
    } finally {
      terminal.close();
    }
  },
});
