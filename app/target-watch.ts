/** Asks a pipeline's target again and again whether it is there, what its quarantine holds, and whether the lane has lost a part of the source's log. */
import type { Clock } from '../core/clock.ts';
import type { LiveSource, QuarantineItem } from '../core/contracts.ts';
import { PipelineError, withCauses } from '../core/errors.ts';
import type { DatasetName, LaneId, Position } from '../core/event.ts';
import { toLsn } from '../core/position.ts';
import { placeOf } from '../cdc/kafka/lane-place.ts';
import type { PostgresSink } from '../sync/postgres/sink.ts';
import type { Desk } from './desk.ts';
import { isLaneOf } from './config.ts';
import { whenLate } from './late.ts';
import { formatDuration } from './units.ts';

export type Counts = Awaited<ReturnType<PostgresSink['quarantine']['counts']>>;

export interface TargetWatchParts {
  readonly desk: Desk;
  readonly source: Pick<LiveSource, 'lane'>;
  readonly clock: Clock;
  /** The quarantine holds something else than before. */
  readonly onCounts: () => void;
  /** What else is asked of the target each time. */
  readonly alsoLook: () => Promise<void>;
}

/** A target that takes longer than this to answer is said to be away. */
const ANSWER_MS = 3000;
/** A connection that is silent for so long is given up. */
const SILENCE_MS = 30_000;

export class TargetWatch {
  readonly #parts: TargetWatchParts;
  #counts: Counts = [];
  #lost: string | null = null;
  #problem: string | null = 'the target has not been asked yet';
  /** When the question was asked that the target has not answered yet. */
  #askedAtMs: number | null = null;

  constructor(parts: TargetWatchParts) {
    this.#parts = parts;
  }

  get counts(): Counts {
    return this.#counts;
  }

  /** What a lane has lost from the source's log and not read again, in words. */
  get lost(): string | null {
    return this.#lost;
  }

  /** Why the target cannot be relied on; null where it answers. */
  get problem(): string | null {
    const silentMs = this.#askedAtMs === null ? 0 : this.#parts.clock.monotonic() - this.#askedAtMs;
    return silentMs > ANSWER_MS ? `the target has not answered for ${formatDuration(silentMs)}` : this.#problem;
  }

  countsOf(dataset: DatasetName): Readonly<Record<QuarantineItem['status'], number>> {
    const counts = { held: 0, waiting: 0, staged: 0, released: 0, applied: 0, superseded: 0, discarded: 0 };
    for (const { dataset: of, status, count } of this.#counts) if (of === dataset) counts[status] += count;
    return counts;
  }

  /** Never rejects. */
  async look(): Promise<void> {
    const { clock, desk } = this.#parts;
    this.#askedAtMs = clock.monotonic();
    try {
      await whenLate(
        clock,
        SILENCE_MS,
        () => desk.disconnect(),
        () => this.#ask(),
      );
      this.#problem = null;
    } catch (error) {
      this.#problem = error instanceof PipelineError ? `the target does not answer: ${withCauses(error)}` : 'the target does not answer';
    } finally {
      this.#askedAtMs = null;
    }
  }

  async #ask(): Promise<void> {
    const { desk, source, onCounts, alsoLook } = this.#parts;
    const counts = await desk.withSink((sink) => sink.quarantine.counts());
    if (JSON.stringify(counts) !== JSON.stringify(this.#counts)) onCounts();
    this.#counts = counts;
    const lanes = await desk.withSink((sink) => sink.lanes());
    const one = lanes.find(({ lane, lost }) => lost !== null && isLaneOf(lane, source.lane));
    this.#lost = one?.lost === undefined || one.lost === null ? null : lossText(one.lane, one.lost, source.lane);
    await alsoLook();
  }
}

/** A lane of topics is under its source's, and its places are offsets. */
function lossText(lane: LaneId, { from, to }: { readonly from: Position; readonly to: Position }, source: LaneId): string {
  if (lane === source) return `what was committed from ${toLsn(from)} to ${toLsn(to)} was lost from the source's log`;
  return `records of ${lane} were lost before they were read: it stood at ${placeOf(from).offset}, and went on from ${placeOf(to).offset}`;
}
