/** A server's disk as a snapshot of its storage keeps it, which can be put back later: same system identifier, same timeline, the slots with it. */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import type { EmbeddedServer } from '../../examples/embedded-postgres.ts';

/** Answers what puts the server back to how it is now. It is ended as by a power cut both times, and takes connections again after. */
export async function keepDisk(server: EmbeddedServer): Promise<() => Promise<void>> {
  const kept = `${server.folder}.kept`; // In the folder that `stop` removes.
  await server.kill();
  rmSync(kept, { recursive: true, force: true });
  execFileSync('cp', ['-a', server.folder, kept]);
  await server.start();
  return async () => {
    await server.kill();
    rmSync(server.folder, { recursive: true });
    execFileSync('cp', ['-a', kept, server.folder]);
    await server.start();
  };
}
