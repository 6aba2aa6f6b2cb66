/** Released events as a source: a lane of its own whose places are release numbers. */
import { Batch, HOLD_KEY_RULE, Verdict } from '../core/batch.ts';
import { type Clock, systemClock } from '../core/clock.ts';
import type { Quarantined, ReleaseLog, Resume, Source } from '../core/contracts.ts';
import type { LaneId, Position } from '../core/event.ts';

export interface ReplaySourceOptions {
  readonly log: ReleaseLog;
  readonly lane: LaneId;
  readonly batchRows: number;
  readonly clock?: Clock;
}

/**
 * Reads the log of releases to its end, then waits for more, until `signal` aborts. Events keep the versions they had, so a batch's events
 * need not be in the source's order: the target compares.
 */
export function replaySource(options: ReplaySourceOptions): Source {
  return new ReplaySource(options);
}

class ReplaySource implements Source {
  readonly name: string;
  readonly #options: ReplaySourceOptions;
  readonly #clock: Clock;

  constructor(options: ReplaySourceOptions) {
    this.name = options.lane;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  async *read(resume: Resume, signal: AbortSignal): AsyncGenerator<Batch> {
    const { log, lane, batchRows } = this.#options;
    const { checkpoint } = await resume(lane);
    let after = checkpoint === null ? 0n : BigInt(`0x${checkpoint.position}`);
    while (!signal.aborted) {
      const started = this.#clock.monotonic();
      const released = await log.releasedAfter(after, batchRows);
      const last = released.at(-1);
      if (last === undefined) {
        await log.changed(signal);
        continue;
      }
      after = last.seq;
      const position = after.toString(16).padStart(16, '0') as Position; // Written so that it sorts: core/position.ts.
      const batch = new Batch(
        released.map(({ item }) => item.event),
        { lane, position },
        'replay',
        released.map(({ item }) => item.findings),
      );
      batch.passedBy = released.map(({ item }) => passedBy(item));
      batch.millisByStage.cdc = this.#clock.monotonic() - started;
      yield batch;
    }
  }

  async acknowledge(): Promise<void> {
    // The log knows by the items' own status what is done.
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The log belongs to the target, which closes it.
  }
}

/** What was staged had passed, and nothing was found since but what it had to wait for. */
function passedBy({ lot, findings, revision }: Quarantined): string | null {
  const hasPassed = findings.every(({ verdict, rule }) => verdict < Verdict.Drop || rule === HOLD_KEY_RULE);
  return lot && hasPassed ? revision : null;
}
