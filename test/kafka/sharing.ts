/** Which of several workers of a group reads how many partitions. */
import type { Status } from '../../app/http/shapes.ts';
import { ask } from '../app/services.ts';
import type { ServiceProcess } from '../e2e/service-process.ts';
import { eventually } from '../support/eventually.ts';

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
