/** Which of several workers of a group reads how many partitions. */
import type { Status } from '../../app/http/shapes.ts';
import { ask, configFolder, type TestConfig } from '../app/services.ts';
import type { ServiceProcess } from '../e2e/service-process.ts';
import { eventually } from '../support/eventually.ts';
import { stack } from './support.ts';

/** 0 as well where it does not answer. */
export async function lanesOf(worker: ServiceProcess): Promise<number> {
  const url = worker.log.map((line) => /"url":"([^"]+)"/.exec(line)?.[1]).findLast((found) => found !== undefined);
  if (url === undefined) return 0;
  const answer = await ask(url, '/api/status').catch(() => null);
  const [pipeline] = (answer?.json as Status | undefined)?.pipelines ?? [];
  return pipeline?.reading.length ?? 0;
}

export const untilShared = (workers: readonly ServiceProcess[], partitions: number): Promise<void> =>
  eventually(
    async () => {
      const counts = await Promise.all(workers.map(lanesOf));
      return counts.every((count) => count > 0) && counts.reduce((sum, count) => sum + count, 0) === partitions;
    },
    `${workers.length} workers share the partitions`,
    60_000,
  );

/** The config of workers that share a topic of orders and what they know of it, and have one rule file. */
export const sharedConfig = (
  { prefix, state, target }: { readonly prefix: string; readonly state: string; readonly target: string },
  columns: Readonly<Record<string, string>>,
  rules: string,
): TestConfig =>
  configFolder(
    {
      state,
      lease: '2s',
      sources: {
        shop: {
          kind: 'kafka',
          brokers: [stack.broker],
          group: `g-${prefix}`,
          session: '6s',
          prefix,
          tables: ['public.orders'],
          oldRows: 'full',
          columns: { 'public.orders': columns },
        },
      },
      pipelines: { main: { source: 'shop', target: 'lake', datasets: './*.rules.yaml', batch: { rows: 20, age: '20ms' } } },
    },
    { 'orders.rules.yaml': rules },
    { source: target, target },
  );
