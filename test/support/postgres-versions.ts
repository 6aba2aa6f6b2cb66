/**
 * The PostgreSQL versions that are supported, and where their programs are: those of the newest and, where there are some for the platform, of
 * the oldest come with the development install, those between are fetched by test/matrix.ts.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EMBEDDED_PLATFORM, type EmbeddedServer, type ServerBinaries, startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';

export const VERSIONS = [14, 15, 16, 17, 18] as const;
export type PostgresVersion = (typeof VERSIONS)[number];
export const OLDEST: PostgresVersion = 14;
export const NEWEST: PostgresVersion = 18;

const MODULES = join(dirname(dirname(import.meta.dirname)), 'node_modules');
/** Where test/matrix.ts installs. */
export const FETCHED = join(MODULES, '.cache/postgres');

/** The name that a version's package is installed under, here and there. */
export const packageOf = (version: PostgresVersion): string => `postgres-${version}-${EMBEDDED_PLATFORM}`;

const foldersOf = (version: PostgresVersion): string[] =>
  [MODULES, join(FETCHED, 'node_modules')].map((folder) => join(folder, packageOf(version)));

export const isInstalled = (version: PostgresVersion): boolean =>
  version === NEWEST || foldersOf(version).some((folder) => existsSync(folder));

/** The version that the environment asks for the shared servers of the `real` tests; else the newest. */
export function sharedVersion(): PostgresVersion {
  const asked = process.env['TIDEGATE_POSTGRES'] ?? String(NEWEST);
  const version = VERSIONS.find((one) => String(one) === asked);
  if (version === undefined) throw new Error(`TIDEGATE_POSTGRES=${asked}: name one of ${VERSIONS.join(', ')}`);
  return version;
}

export async function startPostgres(version: PostgresVersion, settings: Readonly<Record<string, string>> = {}): Promise<EmbeddedServer> {
  if (version === NEWEST) return startEmbeddedPostgres(settings);
  const folder = foldersOf(version).find((one) => existsSync(one));
  if (folder === undefined) throw new Error(`the programs of PostgreSQL ${version} are not installed: npm run test:matrix fetches them`);
  return startEmbeddedPostgres(settings, (await import(join(folder, 'dist/index.js'))) as ServerBinaries);
}
