/** Two PostgreSQL servers for the whole run of the `real` tests; each test makes databases of its own in them (see databases.ts). */
import type { TestProject } from 'vitest/node';
import { startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    sourceServer: string;
    targetServer: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // The second server's OIDs are made to differ from the first one's by the tests that care (design, trap 8).
  const [source, target] = await Promise.all([startEmbeddedPostgres(), startEmbeddedPostgres()]);
  project.provide('sourceServer', source.url());
  project.provide('targetServer', target.url());
  return async () => {
    await Promise.all([source.stop(), target.stop()]);
  };
}
