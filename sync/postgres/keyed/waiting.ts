/** Events that wait for an earlier one of their key, which a rule holds: the next look at the batch says so, and by then other rows must not have failed for their sake. */
import type { ChangeEvent } from '../../../core/event.ts';
import { keysOf, refOf } from '../held-keys.ts';
import type { Change } from './occupancy.ts';

export class Waiting {
  readonly #waits: (event: ChangeEvent) => boolean;
  #blocked: ReadonlySet<string> = new Set();
  #next: ReadonlySet<string> = new Set();

  constructor(waits: (event: ChangeEvent) => boolean) {
    this.#waits = waits;
  }

  /** What is written of a transaction of which these are held. */
  left<T extends Change>(transaction: readonly T[], isHeld: (change: T) => boolean): T[] {
    const blocked = new Set(this.#blocked);
    this.#next = blocked;
    return transaction.filter((change) => {
      const { event } = change;
      const keys = keysOf(event).map((key) => refOf(event.dataset.name, key));
      const isLeft = !isHeld(change) && !(keys.some((key) => blocked.has(key)) && this.#waits(event));
      if (!isLeft) for (const key of keys) blocked.add(key);
      return isLeft;
    });
  }

  /** The transaction is done, with what was last left of it. */
  commit(): void {
    this.#blocked = this.#next;
  }
}
