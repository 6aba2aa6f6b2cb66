/**
 * Keeps one lane of a pipeline running. A failure ends the run; the error table says what follows: another run after a backoff, or a
 * halt, which is remembered in the state and lasts over restarts until a person resumes; over credentials that were refused until the next start. While
 * another instance has the lane it stands by.
 */
import { backoffMs, type Clock } from '../core/clock.ts';
import type { Observer } from '../core/contracts.ts';
import { type ErrorCode, PipelineError, withCauses } from '../core/errors.ts';
import type { LaneId } from '../core/event.ts';
import { type PipelineParts, runPipeline } from '../core/pipeline.ts';
import type { LaneRunState, LaneStatus, Reason } from './http/shapes.ts';
import { errorFields, type Logger } from './logger.ts';
import { withoutSecrets } from './secret.ts';
import type { HaltBook } from './state/halts.ts';

/** What one run needs, opened for it and closed after it. */
export interface Run extends AsyncDisposable {
  readonly parts: Omit<PipelineParts, 'observers' | 'clock'>;
  /** Whether the source is connected and reads: a run is only said to be running once it does. */
  readonly isWorking: () => boolean;
}

export interface LaneRunnerOptions {
  readonly lane: LaneId;
  readonly role: 'main' | 'replay';
  /** Names its halt in the state. */
  readonly haltName: string;
  /** Opens source and sink. Rejects with a PipelineError where one of them is away. */
  readonly open: (signal: AbortSignal) => Promise<Run>;
  readonly observers: readonly Observer[];
  readonly halts: HaltBook;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onState?: (state: LaneRunState, reason: Reason | null) => void;
}

/** How often a run that is not known to work yet is asked. */
const ASK_MS = 100;
/** How often a halt that could not be remembered is tried again. */
const REMEMBER_MS = 30_000;

/** Credentials are read at the start: a start with others is what mends these, and one with the same halts anew. */
const REFUSED: ReadonlySet<string> = new Set<ErrorCode>(['SOURCE_AUTH', 'TARGET_AUTH']);

/** A halt that a person asked for. */
export function operatorHalt(by: string, why: string): { readonly code: string; readonly message: string; readonly fix: string } {
  return {
    code: 'OPERATOR',
    message: why === '' ? `halted by ${by}` : `halted by ${by}: ${why}`,
    fix: 'Resume the pipeline when you are done.',
  };
}

/** `cut`: ended on purpose from here (a halt, another instance has the lane, or to run again). */
type Ending = { readonly kind: 'drained' | 'ended' | 'cut' } | { readonly kind: 'failed'; readonly error: unknown };

export class LaneRunner {
  readonly #options: LaneRunnerOptions;
  readonly #drain = new AbortController();
  readonly #stop = new AbortController();
  #state: LaneRunState = 'starting';
  #sinceMs: number;
  #reason: Reason | null = null;
  #attempts = 0;
  #retryAtMs: number | null = null;
  #abortRun: AbortController | null = null;
  /** Ends the wait of a halt or a backoff. */
  #wake = new AbortController();
  #halt: Reason | null;
  /** The same, as long as it could not be remembered. */
  #unremembered: Reason | null = null;
  /** Why the lane is left to another instance; null where it is ours. */
  #standby: Reason | null = null;
  #loop: Promise<void> | null = null;

  constructor(options: LaneRunnerOptions) {
    this.#options = options;
    this.#sinceMs = options.clock.now();
    const halt = options.halts.get(options.haltName);
    this.#halt = halt === null ? null : { code: halt.code, message: halt.message, fix: halt.fix, atMs: halt.atMs };
    if (this.#halt !== null) this.#enter('halted', this.#halt);
  }

  start(): void {
    const { logger, lane } = this.#options;
    const halt = this.#loop === null ? this.#halt : null;
    if (halt !== null && REFUSED.has(halt.code)) {
      logger.info('credentials were refused: those of this start are tried', { lane, reason: halt.message });
      this.resume();
    } else if (halt !== null) {
      // Else a service that was started again would say nothing of what it does not do.
      const since = new Date(halt.atMs).toISOString();
      logger.warn('still halted: `tidegate resume` lets it go on', { lane, since, code: halt.code, reason: halt.message, fix: halt.fix });
    }
    this.#loop ??= this.#runForever();
  }

  status(): LaneStatus {
    const { lane, role } = this.#options;
    return {
      lane,
      role,
      state: this.#state,
      sinceMs: this.#sinceMs,
      reason: this.#reason,
      attempts: this.#attempts,
      retryAtMs: this.#retryAtMs,
    };
  }

  get state(): LaneRunState {
    return this.#state;
  }

  /** Stops the lane at its checkpoint before anything more is committed, and until `resume`. Remembered before it returns, where the state can be written. */
  halt(code: string, message: string, fix: string): void {
    if (this.#drain.signal.aborted) return;
    const reason = { code, message: withoutSecrets(message), fix, atMs: this.#options.clock.now() };
    this.#unremembered = reason;
    this.#remember();
    this.#stand(reason);
  }

  /** A state that cannot be written, as on a full disk, is no reason to go on, nor to end: it is tried again while the lane stands. */
  #remember(): void {
    const { halts, haltName, logger, lane } = this.#options;
    if (this.#unremembered === null) return;
    try {
      halts.set({ pipeline: haltName, ...this.#unremembered });
      this.#unremembered = null;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      logger.error('the halt could not be remembered: it holds until the service ends, and that is tried again', { lane, error: why });
    }
  }

  /** Another instance halted the lane, or let it go on: what `halts` has by now is done here too. */
  follow(): void {
    if (this.#drain.signal.aborted) return;
    const halt = this.#options.halts.get(this.#options.haltName);
    if (halt === null && this.#halt !== null && this.#unremembered === null) this.#goOn();
    else if (halt !== null && this.#halt === null) this.#stand({ code: halt.code, message: halt.message, fix: halt.fix, atMs: halt.atMs });
  }

  /** The lane is left to another instance; what was on its way is read again by whoever has it. */
  standBy(reason: Reason): void {
    const isNew = this.#standby === null;
    this.#standby = reason;
    if (this.#drain.signal.aborted) return;
    if (isNew) {
      this.#abortRun?.abort(new Halted());
      this.#wake.abort();
    }
    if (this.#halt === null) this.#enter('standby', reason);
  }

  /** The lane is ours from now on. */
  takeOver(): void {
    if (this.#standby === null) return;
    this.#standby = null;
    this.#attempts = 0;
    this.#wake.abort();
  }

  #stand(reason: Reason): void {
    this.#halt = reason;
    this.#options.logger.warn('halted', { lane: this.#options.lane, code: reason.code, reason: reason.message, fix: reason.fix });
    this.#abortRun?.abort(new Halted());
    this.#wake.abort();
    this.#enter('halted', reason);
  }

  /** Cuts the run off, if there is one, and begins another from the checkpoint. */
  runAgain(): void {
    this.#abortRun?.abort(new Halted());
  }

  /** Lets a halted lane go on, and one that backs off try at once. */
  resume(): void {
    const { halts, haltName, logger, lane } = this.#options;
    if (halts.clear(haltName)) logger.info('resumed', { lane });
    this.#goOn();
  }

  #goOn(): void {
    this.#halt = null;
    this.#unremembered = null;
    this.#attempts = 0;
    this.#wake.abort();
  }

  /** Stops reading, commits what was read, and ends; after `deadlineMs` cuts it off, and the next start reads it again. */
  async drain(deadlineMs: number): Promise<void> {
    this.#drain.abort();
    this.#wake.abort();
    if (this.#state === 'running' || this.#state === 'starting') this.#enter('draining', null);
    const deadline = setTimeout(() => {
      this.#options.logger.warn('the drain took too long and was cut off; what was in flight is read again next time', {
        lane: this.#options.lane,
      });
      this.#stop.abort();
    }, deadlineMs);
    try {
      await this.#loop;
    } finally {
      clearTimeout(deadline);
    }
    this.#enter('stopped', null);
  }

  async #runForever(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#drain.signal.aborted) {
      this.#wake = new AbortController();
      if (this.#halt !== null) {
        this.#enter('halted', this.#halt);
        await clock.sleep(this.#unremembered === null ? 2 ** 31 - 1 : REMEMBER_MS, this.#wake.signal);
        this.#remember();
        continue;
      }
      if (this.#standby !== null) {
        this.#enter('standby', this.#standby);
        await clock.sleep(2 ** 31 - 1, this.#wake.signal);
        continue;
      }
      const ending = await this.#runOnce();
      if (ending.kind === 'drained') return;
      if (this.#halt !== null || this.#standby !== null || ending.kind === 'cut') continue;
      if (ending.kind === 'failed') this.#judge(ending.error);
      else this.#enter('stopped', null);
      if (this.#halt !== null) continue;
      if (this.#drain.signal.aborted) return;
      const ms = ending.kind === 'ended' ? 1000 : backoffMs(this.#attempts, clock);
      if (ending.kind === 'failed') {
        this.#retryAtMs = clock.now() + Math.round(ms);
        await clock.sleep(ms, this.#wake.signal);
        this.#retryAtMs = null;
      } else await clock.sleep(ms, this.#wake.signal);
    }
  }

  async #runOnce(): Promise<Ending> {
    const { open, observers, clock, lane, logger } = this.#options;
    const abortRun = new AbortController();
    this.#abortRun = abortRun;
    const onStop = () => abortRun.abort(new Halted());
    this.#stop.signal.addEventListener('abort', onStop, { once: true });
    if (this.#stop.signal.aborted) onStop();
    if (this.#attempts === 0) this.#enter('starting', null);
    const watched = new AbortController();
    let watching: Promise<void> = Promise.resolve();
    try {
      await using run = await open(abortRun.signal);
      watching = this.#watch(run, watched.signal);
      logger.debug('starting', { lane });
      await runPipeline({ ...run.parts, observers, clock }, { drain: this.#drain.signal, abort: abortRun.signal });
      return { kind: this.#drain.signal.aborted ? 'drained' : 'ended' };
    } catch (error) {
      if (this.#stop.signal.aborted) return { kind: 'drained' };
      // Whatever a part made of the abort, it was not its own failure.
      if (abortRun.signal.aborted) return { kind: 'cut' };
      return { kind: 'failed', error };
    } finally {
      watched.abort();
      await watching;
      this.#stop.signal.removeEventListener('abort', onStop);
      this.#abortRun = null;
    }
  }

  /** Says `running` once the run works; it stays `starting`, or `backing-off` with the last failure, until then. */
  async #watch(run: Run, signal: AbortSignal): Promise<void> {
    const { clock, logger, lane } = this.#options;
    for (;;) {
      if (signal.aborted || this.#halt !== null || this.#standby !== null || this.#drain.signal.aborted) return;
      if (run.isWorking()) break;
      await clock.sleep(ASK_MS, signal);
    }
    this.#attempts = 0;
    this.#enter('running', null);
    logger.info('running', { lane });
  }

  #judge(thrown: unknown): void {
    const { clock, logger, lane } = this.#options;
    const error = thrown instanceof PipelineError ? thrown : new PipelineError('BUG', 'an unexpected error', { cause: thrown });
    if (error.after !== 'backoff') {
      logger.error('the lane cannot go on by itself', { lane, ...errorFields(error) });
      this.halt(error.code, withCauses(error), error.fix);
      return;
    }
    this.#attempts++;
    const reason = { code: error.code, message: withoutSecrets(withCauses(error)), fix: error.fix, atMs: clock.now() };
    logger.warn('the run failed and is tried again', { lane, attempt: this.#attempts, ...errorFields(error) });
    this.#enter('backing-off', reason);
  }

  #enter(state: LaneRunState, reason: Reason | null): void {
    if (state !== this.#state) this.#sinceMs = this.#options.clock.now();
    const changed = state !== this.#state || reason?.code !== this.#reason?.code;
    this.#state = state;
    this.#reason = reason;
    if (changed) this.#options.onState?.(state, reason);
  }
}

/** Why a run was cut off on purpose; never judged. */
class Halted extends Error {
  override readonly name = 'Halted';
}
