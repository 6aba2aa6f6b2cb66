/**
 * Asks databases what rules want to know of them, each rule at its times, and keeps what it came to as the result of a window. A time is judged once, whichever process
 * comes first; one that passed while nobody ran is not made up for, and what was asked when a process died is asked again by the next. Times that a clock which ran ahead
 * had judged are judged once they come.
 */
import type { Clock } from '../../core/clock.ts';
import { PipelineError } from '../../core/errors.ts';
import type { DatasetName } from '../../core/event.ts';
import { CLOCKS_DIFFER_MS, type WindowFinding, type WindowResult, type WindowSetRef } from '../../core/windows.ts';
import type { Contract } from '../../quality/contract.ts';
import type { TimerCheck } from '../../quality/live/check.ts';
import { type Statement, type TimerRule, type TimerSaid, timerSet } from '../../quality/timers/check.ts';
import type { Config, PipelineConfig } from '../config-schema.ts';
import type { Desk } from '../desk.ts';
import { errorFields, type Logger } from '../logger.ts';
import type { RuleFile } from '../rule-files.ts';
import { prove, whyUnproved } from './prove.ts';
import { type Askable, askable, askComparison, askQuery, failureFields, whyNot } from './query.ts';
import { askVersions, whyNoVersions } from './versions.ts';

export interface TimerWatchParts {
  readonly config: Config;
  readonly name: string;
  readonly pipeline: PipelineConfig;
  readonly desk: Desk;
  readonly rules: ReadonlyMap<DatasetName, RuleFile>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether the pipeline is this instance's to tell of. */
  readonly turn: { readonly isOurs: boolean };
  /** Before a dataset is copied, its table at the target says nothing. */
  readonly live: () => { readonly isCopied: (dataset: DatasetName) => boolean };
  /** Who shows and counts results. */
  readonly windows: { add(results: readonly WindowResult[]): void };
}

const LOOK_MS = 500;
/** How often it is said which rules there are: what is known of others is forgotten after two minutes. */
const ASK_MS = 30_000;
/** Rules that are asked by at once. */
const AT_ONCE = 4;

interface Due {
  readonly contract: Contract;
  readonly check: TimerCheck;
  readonly ref: WindowSetRef;
  /** The beginning of the time that it is asked for. */
  readonly startMs: number;
}

/** The tables at the target that it asks about. */
function tablesOf({ contract, check: { timer } }: Pick<Due, 'contract' | 'check'>): readonly DatasetName[] {
  return timer.kind === 'comparison' ? [contract.dataset, timer.question.other as DatasetName] : [contract.dataset]; // One of the pipeline's.
}

export class TimerWatch {
  readonly #parts: TimerWatchParts;
  /** By set: the last time that is known to have been judged. */
  readonly #judgedMs = new Map<string, number>();
  readonly #running = new Map<string, { readonly kind: string; readonly ended: Promise<void> }>();
  readonly #unanswered = new Map<string, string>();
  #askedAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: TimerWatchParts) {
    this.#parts = parts;
  }

  /** Rules that nothing could be said of the last time. */
  notes(): readonly string[] {
    const ids = new Set(this.#timers().map(({ ref }) => idOf(ref)));
    return [...this.#unanswered].flatMap(([id, note]) => (ids.has(id) ? [note] : []));
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger, name } = this.#parts;
    while (!signal.aborted) {
      await clock.sleep(LOOK_MS, signal);
      if (signal.aborted) break;
      try {
        await this.#look(signal);
      } catch (error) {
        // The target is away: others say so.
        logger.debug('rules could not be looked at', { pipeline: name, ...errorFields(error) });
      }
    }
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
  }

  #timers(): readonly Omit<Due, 'startMs'>[] {
    return [...this.#parts.desk.contracts().values()].flatMap((contract) =>
      contract.live.timers.map((check) => ({ contract, check, ref: refOf(contract.dataset, check) })),
    );
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { turn, clock, live, desk } = this.#parts;
    const timers = this.#timers();
    // What others judge meanwhile is not known here.
    if (!turn.isOurs) this.#judgedMs.clear();
    if (!turn.isOurs || timers.length === 0) return;
    const nowMs = clock.now();
    const { isCopied } = live();
    if (Math.abs(nowMs - this.#askedAtMs) >= ASK_MS) {
      const refs = timers.map(({ ref }) => ref);
      await desk.withSink((sink) => sink.windows.ask(refs, []));
      this.#askedAtMs = nowMs;
    }
    // Those that waited longest come first, so that slow ones which are due again keep nobody waiting.
    const lastMs = ({ ref }: Omit<Due, 'startMs'>) => this.#judgedMs.get(idOf(ref)) ?? -1;
    for (const timer of timers.toSorted((a, b) => lastMs(a) - lastMs(b))) {
      const id = idOf(timer.ref);
      const { everyMs, kind } = timer.check.timer;
      const startMs = Math.floor(nowMs / everyMs) * everyMs;
      if (this.#running.size >= AT_ONCE) return;
      if (this.#running.has(id) || isJudged(this.#judgedMs.get(id), startMs, nowMs) || !tablesOf(timer).every(isCopied)) continue;
      // A walk through a table is work for both databases: one after the other.
      if (kind === 'proof' && [...this.#running.values()].some((other) => other.kind === kind)) continue;
      const ended = this.#judge({ ...timer, startMs }, signal).finally(() => this.#running.delete(id));
      this.#running.set(id, { kind, ended });
    }
  }

  /** What it comes to is kept unless somebody was faster. */
  async #judge(due: Due, signal: AbortSignal): Promise<void> {
    const { desk, clock, logger, name, windows } = this.#parts;
    const { check, ref, startMs } = due;
    const id = idOf(ref);
    try {
      if (!(await this.#wasJudged(due))) {
        const { said, error } = await this.#ask(due, signal);
        if (signal.aborted) return;
        const finding = findingOf(due, said, clock.now());
        const results = await desk.withSink((sink) =>
          sink.windows.close(
            ref,
            ({ closedMs }) => (isJudged(closedMs, startMs, clock.now()) ? null : { closedMs: startMs, finalMs: startMs, snapshot: false }),
            () => ({ findings: [finding], memories: [] }),
          ),
        );
        this.#note(due, said, error);
        if (results.length > 0) windows.add(results);
      }
      this.#judgedMs.set(id, startMs);
    } catch (error) {
      // Nothing can be kept where the target is away: rules are judged again once it takes what is said of them.
      this.#askedAtMs = Number.NEGATIVE_INFINITY;
      if (!signal.aborted) logger.warn('what a rule came to could not be kept', { pipeline: name, rule: check.id, ...errorFields(error) });
    }
  }

  /** By a process before this one, of which the newest result is what is left after a while. */
  async #wasJudged({ contract, check, ref, startMs }: Due): Promise<boolean> {
    if (this.#judgedMs.has(idOf(ref))) return false;
    const filter = { dataset: contract.dataset, rule: check.id, newest: true, limit: 1 };
    const [newest] = await this.#parts.desk.withSink((sink) => sink.windows.results(filter));
    return newest?.set === ref.set && isJudged(newest.startMs, startMs, this.#parts.clock.now());
  }

  async #ask(due: Due, signal: AbortSignal): Promise<{ readonly said: TimerSaid; readonly error: unknown }> {
    const { timer } = due.check;
    try {
      return { said: await this.#answerTo(due, signal), error: null };
    } catch (error) {
      return { said: unknown(whyUnknown(timer, error)), error };
    }
  }

  async #answerTo({ contract: { dataset }, check: { timer, allowValues } }: Due, signal: AbortSignal): Promise<TimerSaid> {
    switch (timer.kind) {
      case 'query':
        return timer.say(await askQuery(timer.question, dataset, this.#databaseOf(timer.question), allowValues, signal));
      case 'comparison':
        return timer.say(await askComparison(timer.question, dataset, this.#databaseOf(timer.question), allowValues, signal));
      case 'proof':
        return timer.say(await prove(timer.question, dataset, this.#parts, signal));
      case 'versions':
        return timer.say(await askVersions(timer.question, dataset, this.#parts));
    }
  }

  #databaseOf({ side }: Statement): Askable {
    const of = askable(this.#parts.config, this.#parts.pipeline, side);
    if (of === null) throw new PipelineError('BUG', `a rule asks the ${side}, which is no database: it is refused when rules are loaded`);
    return of;
  }

  /** The same is logged once. */
  #note({ contract: { dataset }, check: { id: rule }, ref }: Due, { verdict, reason }: TimerSaid, error: unknown): void {
    const id = idOf(ref);
    if (verdict !== 'indeterminate') {
      this.#unanswered.delete(id);
      return;
    }
    const note = `the rule ${rule} of ${dataset} could not be judged: ${reason ?? ''}`;
    const { logger, name: pipeline } = this.#parts;
    if (this.#unanswered.get(id) !== note)
      logger.warn('a rule could not be judged', { pipeline, dataset, rule, reason, ...(error === null ? {} : failureFields(error)) });
    this.#unanswered.set(id, note);
  }
}

function whyUnknown(timer: TimerRule, error: unknown): string {
  if (timer.kind === 'proof') return whyUnproved(error);
  return timer.kind === 'versions' ? whyNoVersions(error) : whyNot(error, timer.question);
}

const unknown = (reason: string): TimerSaid => ({ verdict: 'indeterminate', observed: null, reason, rows: 0 });

/** Whether it was, where the last time that was judged is `lastMs`. */
const isJudged = (lastMs: number | null | undefined, startMs: number, nowMs: number): boolean =>
  lastMs !== null && lastMs !== undefined && lastMs >= startMs && lastMs <= nowMs + CLOCKS_DIFFER_MS;

const idOf = ({ dataset, set }: WindowSetRef): string => `${dataset} ${set}`;

/** A rule that asks something else begins anew. */
function refOf(dataset: DatasetName, { id, timer }: TimerCheck): WindowSetRef {
  return { dataset, set: timerSet(id, timer), sizeMs: timer.everyMs };
}

function findingOf({ contract, check, ref, startMs }: Due, said: TimerSaid, nowMs: number): WindowFinding {
  return {
    dataset: contract.dataset,
    rule: check.id,
    type: check.type,
    column: null,
    set: ref.set,
    startMs,
    endMs: Math.max(startMs, nowMs),
    group: '',
    verdict: said.verdict,
    observed: said.observed === null ? null : JSON.stringify(said.observed),
    reason: (said.verdict === 'fail' ? check.message : null) ?? said.reason,
    rows: said.rows,
    missing: 0,
    severity: check.severity,
    onFail: contract.mode === 'shadow' ? 'alert' : check.onFail,
    version: contract.version,
    digest: contract.digest,
  };
}
