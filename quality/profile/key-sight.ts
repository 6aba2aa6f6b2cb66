/** Whether a column's values are all different: then it may be a key. Their hashes are remembered, up to a bound. */
import { UNCHANGED, type Value } from '../../core/event.ts';
import { hashKey, KeySet } from '../live/keys.ts';

/** 16 to 32 bytes each. */
const KEYS_MAX = 1_000_000;

export class KeySight {
  #seen: KeySet | null = new KeySet();
  #differ: boolean | null = true;

  see(value: Value): void {
    if (this.#seen === null || value === null) return;
    const hash = value === UNCHANGED || value instanceof Uint8Array ? null : hashKey(String(value));
    if (hash === null || this.#seen.size >= KEYS_MAX) this.#end(null);
    // Two values of one hash are taken for one: a key that is not proposed, and never a rule that does not hold.
    else if (this.#seen.has(hash)) this.#end(false);
    else this.#seen.add(hash);
  }

  /** null where there are too many to know. */
  get differ(): boolean | null {
    return this.#differ;
  }

  #end(differ: false | null): void {
    this.#differ = differ;
    this.#seen = null;
  }
}
