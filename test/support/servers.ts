/** Two PostgreSQL servers for the whole run of the `real` tests; each test makes databases of its own in them (see databases.ts). */
import type { TestProject } from 'vitest/node';
import { type PostgresVersion, sharedVersion, startPostgres } from './postgres-versions.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    sourceServer: string;
    targetServer: string;
  }
}

/** Prepared transactions are among what a source may have. */
const SETTINGS = { max_prepared_transactions: '10' };

export default function setup(project: TestProject): Promise<() => Promise<void>> {
  return serve(project, sharedVersion());
}

export async function serve(project: TestProject, version: PostgresVersion): Promise<() => Promise<void>> {
  // The second server's OIDs are made to differ from the first one's by the tests that care.
  const [source, target] = await Promise.all([startPostgres(version, SETTINGS), startPostgres(version, SETTINGS)]);
  project.provide('sourceServer', source.url());
  project.provide('targetServer', target.url());
  return async () => {
    await Promise.all([source.stop(), target.stop()]);
  };
}
