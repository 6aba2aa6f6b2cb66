/**
 * Four projects: `fast` needs nothing but Node, `real` starts real servers (see test/support), `kafka` a streaming stack as well, where a JDK and Maven are found, and a MariaDB where that is found, `oldest` runs what speaks with PostgreSQL on the
 * oldest one that is supported, where its programs are installed.
 */
import { defineConfig } from 'vitest/config';
import { hasTools } from './examples/stack/java.ts';
import { findMariadb } from './examples/stack/mariadb-programs.ts';
import { isInstalled, OLDEST } from './test/support/postgres-versions.ts';

const report = process.env['TIDEGATE_TEST_REPORT'];
const onServers = { testTimeout: 120_000, hookTimeout: 120_000, maxWorkers: 2 };

export default defineConfig({
  test: {
    reporters: report === undefined ? ['default'] : ['default', ['json', { outputFile: report }]],
    projects: [
      {
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.{real,stack}.test.ts', 'test/e2e/**', 'node_modules/**'],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'real',
          include: ['test/**/*.real.test.ts', 'test/e2e/**/*.test.ts'],
          globalSetup: ['test/support/servers.ts'],
          ...onServers,
        },
      },
      ...(hasTools()
        ? [
            {
              test: {
                name: 'kafka',
                include: ['test/**/*.stack.test.ts'],
                exclude: [...(findMariadb() === null ? ['test/**/mariadb*.stack.test.ts'] : []), 'node_modules/**'],
                globalSetup: ['test/support/stack-servers.ts'],
                ...onServers,
              },
            },
          ]
        : []),
      ...(isInstalled(OLDEST)
        ? [
            {
              test: {
                name: 'oldest',
                include: ['test/{cdc,sync,wire}/**/*.real.test.ts', 'test/types/{keys,targets,without-codec}.real.test.ts'],
                globalSetup: ['test/support/oldest-servers.ts'],
                ...onServers,
              },
            },
          ]
        : []),
    ],
  },
});
