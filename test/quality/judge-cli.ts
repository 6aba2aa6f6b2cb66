/** `tidegate judge …args`, with all that it writes. */
import { cli } from '../app/cli.ts';

export async function judge(...args: readonly string[]): Promise<{ readonly code: number; readonly out: string }> {
  const { code, stdout, stderr } = await cli('judge', ...args);
  return { code, out: stdout + stderr };
}
