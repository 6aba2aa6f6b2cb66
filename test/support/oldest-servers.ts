/** The same as servers.ts, of the oldest PostgreSQL that is supported. */
import type { TestProject } from 'vitest/node';
import { OLDEST } from './postgres-versions.ts';
import { serve } from './servers.ts';

export default function setup(project: TestProject): Promise<() => Promise<void>> {
  return serve(project, OLDEST);
}
