/**
 * What is committed at a target may still be lost in a crash of it, where it answers commits before they are on its disk. The lane's checkpoint is lost with them, so nothing is wrong at the target; but
 * upstream must not have forgotten by then what is to be read again.
 */
import type { Sink, Source } from './contracts.ts';
import type { Checkpoint, LaneId } from './event.ts';

export class Lasting {
  readonly #source: Source;
  readonly #sink: Sink;
  readonly #signal: AbortSignal;
  /** Committed since the target was last asked: of each lane the newest. */
  readonly #waiting = new Map<LaneId, Checkpoint>();
  #isAsking = false;

  constructor(source: Source, sink: Sink, signal: AbortSignal) {
    this.#source = source;
    this.#sink = sink;
    this.#signal = signal;
  }

  /** Invariant 5: upstream hears of what is committed, and no sooner than it is so for good. */
  async acknowledge(checkpoint: Checkpoint): Promise<void> {
    const untilLasting = this.#sink.untilLasting ?? null;
    await this.#source.acknowledge(checkpoint, untilLasting === null);
    if (untilLasting === null) return;
    this.#waiting.set(checkpoint.lane, checkpoint);
    // Resolves in any case: a target that does not answer shows where batches are written, and then nothing more is acknowledged.
    if (!this.#isAsking) void this.#ask(untilLasting).catch(() => {});
  }

  async #ask(untilLasting: (signal: AbortSignal) => Promise<void>): Promise<void> {
    this.#isAsking = true;
    try {
      while (this.#waiting.size > 0 && !this.#signal.aborted) {
        const checkpoints = [...this.#waiting.values()];
        this.#waiting.clear();
        await untilLasting(this.#signal);
        if (this.#signal.aborted) return;
        for (const checkpoint of checkpoints) await this.#source.acknowledge(checkpoint, true);
      }
    } finally {
      this.#isAsking = false;
    }
  }
}
