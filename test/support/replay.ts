/** What was released, through stages and into a target, as a lane of its own does it; it ends once there is no more. */
import { replaySource } from '../../cdc/replay.ts';
import type { ReleaseLog, Stage } from '../../core/contracts.ts';
import type { LaneId } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import type { PostgresSink } from '../../sync/postgres/sink.ts';

interface Replay {
  readonly lane: LaneId;
  readonly stages: readonly Stage[];
  readonly batchRows: number;
  /** Where it was released; the sink's own where it is left out. */
  readonly quarantine?: PostgresSink['quarantine'];
}

export async function replayReleased(sink: PostgresSink, { lane, stages, batchRows, quarantine = sink.quarantine }: Replay): Promise<void> {
  const drain = new AbortController();
  const log: ReleaseLog = {
    releasedAfter: (after, limit) => quarantine.releasedAfter(after, limit),
    changed: async () => drain.abort(),
  };
  const source = replaySource({ log, lane, batchRows });
  await runPipeline({ source, stages, sink }, { drain: drain.signal, abort: new AbortController().signal });
}
