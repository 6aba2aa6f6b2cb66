/** Rows of a pipeline that wait for the one that they name: looked after while it runs. */
import type { Clock } from '../core/clock.ts';
import type { DatasetName } from '../core/event.ts';
import type { Live } from '../quality/live/closer.ts';
import { waitRules } from '../quality/keyed.ts';
import type { Desk } from './desk.ts';

/** A look asks of every row that waits whether it still does: where nothing came of it, the target is left alone for so many times as long as it took. */
const REST_SHARE = 10;

export interface WaitWatchParts {
  readonly desk: Pick<Desk, 'contracts' | 'withSink'>;
  readonly clock: Clock;
  readonly live: () => Omit<Live, 'nowMs'>;
  /** Rows that waited are on their way, or wait no more. */
  readonly onSettled: () => void;
}

export class WaitWatch {
  readonly #parts: WaitWatchParts;
  #restsUntilMs = 0;

  constructor(parts: WaitWatchParts) {
    this.#parts = parts;
  }

  /**
   * Also what waits for rules that are not in force any more. No time passes while the source is not read to its end, or the parents are still being copied: what
   * is not there by then may be among what is to be read. Throws where the target cannot be asked.
   */
  async look(): Promise<void> {
    const { desk, clock, live, onSettled } = this.#parts;
    const begunMs = clock.monotonic();
    if (begunMs < this.#restsUntilMs) return;
    const { isCaughtUp, isCopied } = live();
    const mayPass = (parent: DatasetName): boolean => isCaughtUp && isCopied(parent);
    const rules = waitRules(desk.contracts().values());
    const { released, overdue, takenBack } = await desk.withSink((sink) => sink.waits.settle(rules, mayPass));
    if (released + overdue + takenBack > 0) return onSettled();
    const endedMs = clock.monotonic();
    this.#restsUntilMs = endedMs + (endedMs - begunMs) * REST_SHARE;
  }
}
