/** This instance's turn at one pipeline: claimed again and again while it lives, and watched for while another instance has it. */
import type { Clock } from '../core/clock.ts';
import { errorFields, type Logger } from './logger.ts';
import type { State } from './state/state.ts';
import type { Holder, Instance } from './state/turns.ts';

export interface TurnParts {
  readonly pipeline: string;
  readonly state: Pick<State, 'turns' | 'refreshNotes'>;
  readonly me: Instance;
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

const BEAT_MS = 1000;

export class Turn {
  readonly #parts: TurnParts;
  #holder: Holder | null = null;
  #isTaken = false;
  #isAway = false;
  #onChange: () => void = () => {};

  constructor(parts: TurnParts) {
    this.#parts = parts;
  }

  get pipeline(): string {
    return this.#parts.pipeline;
  }

  /** Who else has the pipeline; null where it is ours. */
  get holder(): Holder | null {
    return this.#holder;
  }

  get isOurs(): boolean {
    return this.#holder === null;
  }

  /** Whether it was taken from an instance that may still think it has it: one that stood still for longer than the lease. */
  get isTaken(): boolean {
    return this.#isTaken && this.#holder === null;
  }

  /** Called whenever the turn comes or goes. */
  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, leaseMs } = this.#parts;
    while (!signal.aborted) {
      await clock.sleep(Math.min(BEAT_MS, leaseMs / 4), signal);
      if (!signal.aborted) await this.claim();
    }
  }

  /** While the state is away everything stays as it is: the lane's epoch at the target is what fences. */
  async claim(): Promise<void> {
    const { state, pipeline, me, leaseMs, logger } = this.#parts;
    try {
      const claim = await state.turns.claim(pipeline, me, leaseMs);
      // Whoever had it may have been halted a moment ago.
      if (claim.kind === 'ours' && this.#holder !== null) await state.refreshNotes();
      this.#isAway = false;
      const before = this.#holder;
      this.#holder = claim.kind === 'ours' ? null : claim.holder;
      this.#isTaken = claim.kind === 'ours' && claim.isTaken;
      if (before?.id === this.#holder?.id) return;
      if (this.#holder === null)
        logger.info('it is our turn', { pipeline, from: `${before?.host} (${before?.pid})`, taken: this.#isTaken });
      else logger.info('standing by: another instance has the pipeline', { pipeline, host: this.#holder.host, pid: this.#holder.pid });
      this.#onChange();
    } catch (error) {
      if (!this.#isAway)
        logger.warn('whose turn it is could not be asked; nothing changes until it can', { pipeline, ...errorFields(error) });
      this.#isAway = true;
    }
  }

  /** So that another instance need not wait for the lease to end. */
  async release(): Promise<void> {
    const { state, pipeline, me } = this.#parts;
    await state.turns.release(pipeline, me).catch(() => {}); // It ends by itself.
  }
}
