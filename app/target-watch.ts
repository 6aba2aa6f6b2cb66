/** Asks a pipeline's target again and again whether it is there, what its quarantine holds, and whether the lane has lost a part of the source's log. */
import type { Clock } from '../core/clock.ts';
import type { LiveSource, QuarantineItem } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import type { DatasetName } from '../core/event.ts';
import { toLsn } from '../core/position.ts';
import type { PostgresSink } from '../sync/postgres/sink.ts';
import type { Desk } from './desk.ts';
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
  #lost: { readonly from: string; readonly to: string } | null = null;
  #problem: string | null = 'the target has not been asked yet';
  /** When the question was asked that the target has not answered yet. */
  #askedAtMs: number | null = null;

  constructor(parts: TargetWatchParts) {
    this.#parts = parts;
  }

  get counts(): Counts {
    return this.#counts;
  }

  /** What the lane has lost from the source's log and not read again, as LSNs. */
  get lost(): { readonly from: string; readonly to: string } | null {
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
      this.#problem = error instanceof PipelineError ? `the target does not answer: ${error.message}` : 'the target does not answer';
    } finally {
      this.#askedAtMs = null;
    }
  }

  async #ask(): Promise<void> {
    const { desk, source, onCounts, alsoLook } = this.#parts;
    const counts = await desk.withSink((sink) => sink.quarantine.counts());
    if (JSON.stringify(counts) !== JSON.stringify(this.#counts)) onCounts();
    this.#counts = counts;
    const lost = (await desk.withSink((sink) => sink.lanes())).find(({ lane }) => lane === source.lane)?.lost ?? null;
    this.#lost = lost === null ? null : { from: toLsn(lost.from), to: toLsn(lost.to) };
    await alsoLook();
  }
}
