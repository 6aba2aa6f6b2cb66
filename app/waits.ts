/** Rows of a pipeline that wait for the one that they name: looked after while it runs. */
import type { DatasetName } from '../core/event.ts';
import type { Live } from '../quality/live/closer.ts';
import { waitRules } from '../quality/keyed.ts';
import type { Desk } from './desk.ts';

export interface WaitWatchParts {
  readonly desk: Desk;
  readonly live: () => Omit<Live, 'nowMs'>;
  /** Rows that waited are on their way, or wait no more. */
  readonly onSettled: () => void;
}

export class WaitWatch {
  readonly #parts: WaitWatchParts;

  constructor(parts: WaitWatchParts) {
    this.#parts = parts;
  }

  /**
   * Also what waits for rules that are not in force any more. No time passes while the source is not read to its end, or the parents are still being copied: what
   * is not there by then may be among what is to be read. Throws where the target cannot be asked.
   */
  async look(): Promise<void> {
    const { desk, live, onSettled } = this.#parts;
    const { isCaughtUp, isCopied } = live();
    const mayPass = (parent: DatasetName): boolean => isCaughtUp && isCopied(parent);
    const rules = waitRules(desk.contracts().values());
    const { released, overdue, takenBack } = await desk.withSink((sink) => sink.waits.settle(rules, mayPass));
    if (released + overdue + takenBack > 0) onSettled();
  }
}
