/** A worker that is terminated while it unpacks must not take the process along, as Node by itself does (app/judge/worker-end.ts). */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

/** Terminated as they are, about one in thirty aborts the process. */
const ROUNDS = 100;

test('workers are ended while they unpack, and the process goes on', { timeout: 60_000 }, async () => {
  const script = fileURLToPath(new URL('unpacking-workers.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [script, String(ROUNDS)]);
  expect(stdout).toBe(`${ROUNDS}\n`);
});
