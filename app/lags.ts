/** How far the lanes of a source are behind, and its first copy is: for the metrics. */
import type { LiveSource, SnapshotProgress } from '../core/contracts.ts';
import type { Metrics } from '../ops/metrics.ts';
import type { Exposition } from '../ops/prometheus.ts';
import type { LaneRunState } from './http/shapes.ts';

/** `run` is what the lanes do here: where they stand, the source says nothing of what comes meanwhile, and they fall behind. */
export function tellLags(
  metrics: Metrics,
  pipeline: string,
  source: Pick<LiveSource, 'lane' | 'lanes' | 'status' | 'lagRecords'>,
  run: LaneRunState,
): void {
  const { lagBytes, state, isBehind } = source.status();
  for (const lane of source.lanes) {
    const records = source.lagRecords?.(lane) ?? null;
    if (run === 'standby') metrics.leaveLane(pipeline, lane);
    else if (run === 'halted' || run === 'backing-off') metrics.standLane(pipeline, lane);
    else metrics.setLaneLag(pipeline, lane, { bytes: lagBytes, records }, state === 'streaming' && !isBehind);
  }
  metrics.keepLags(pipeline, source.lane, source.lanes);
}

/** How far the first copy of each table is, until it is done. */
export function exposeCopies(out: Exposition, pipeline: string, progress: readonly SnapshotProgress[]): void {
  for (const { dataset, state, rowsDone, rowsEstimated } of progress) {
    const labels = { pipeline, dataset };
    const isDone = state === 'done';
    out.gauge('tidegate_snapshot_done', 'Whether the first copy of a table is done.', labels, isDone ? 1 : 0);
    if (isDone) continue;
    out.gauge('tidegate_snapshot_rows', 'Rows that are done of a table that is being copied.', labels, rowsDone);
    if (rowsEstimated !== null)
      out.gauge(
        'tidegate_snapshot_estimated_rows',
        'Rows that a table which is being copied has, by the planner’s statistics.',
        labels,
        rowsEstimated,
      );
  }
}
