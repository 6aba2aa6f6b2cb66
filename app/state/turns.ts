/**
 * Whose turn a pipeline is, where several instances run one config. It says who tries, and no more: what may be written is decided by the lane's epoch at
 * the target. So an instance that cannot ask goes on as it was, and one that is wrong about its turn does no harm.
 */

/** One running service. */
export interface Instance {
  readonly id: string;
  readonly host: string;
  readonly pid: number;
}

export interface Holder extends Instance {
  readonly sinceMs: number;
}

export type Claim =
  | {
      readonly kind: 'ours';
      /** Whether it was taken from an instance that did not give it up itself, and may still think that it has it. */
      readonly isTaken: boolean;
    }
  | { readonly kind: 'theirs'; readonly holder: Holder };

export interface Turns {
  /** Takes the turn, or keeps it, where nobody else has it: nobody who lives and has claimed it within `leaseMs`. */
  claim(pipeline: string, me: Instance, leaseMs: number): Promise<Claim>;
  /** Gives it up, so that the next one need not wait. */
  release(pipeline: string, me: Instance): Promise<void>;
}
