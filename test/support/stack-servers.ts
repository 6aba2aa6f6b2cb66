/** Two PostgreSQL servers and a streaming stack for the whole run of the `kafka` tests; each test has databases, topics and connectors of its own. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { fetchJdbcSink } from '../../examples/stack/jdbc-sink.ts';
import { type StackAddress, startStack } from '../../examples/stack/stack.ts';
import { NEWEST } from './postgres-versions.ts';
import { serve } from './servers.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    stack: StackAddress;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), 'tidegate-stack-'));
  const say = (line: string): void => console.error(`stack: ${line}`);
  const [stack, stopServers] = await Promise.all([startStack(folder, { say, plugins: [fetchJdbcSink(say)] }), serve(project, NEWEST)]);
  const { broker, connectUrl, registryUrl, ccompatUrl, pids } = stack;
  project.provide('stack', { folder, broker, connectUrl, registryUrl, ccompatUrl, pids });
  return async () => {
    await Promise.all([stack.stop(), stopServers()]);
  };
}
