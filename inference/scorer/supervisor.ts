/**
 * Keeps scorer children running: one for each model version in use, however many pipelines use it.
 *
 * Requests queue, bounded in rows. Whenever the child is free it gets everything that waits, up to a micro-batch, as one run; so a
 * batch is as large as the load makes it, and no time is spent waiting for more. One run is in flight at a time.
 *
 * There are two limits of time. A request's own deadline makes that request fail and leaves the child alone: a result that comes
 * later is counted and thrown away. The run's limit (1 s and ten times what admission measured) says that the child is stuck: it
 * is killed, its requests fail, and another is started after a backoff. While none runs, requests fail as soon as it is certain
 * that their deadline passes first. Whoever asked follows its failure policy; nothing is asked twice here.
 */
import { backoffMs, type Clock, systemClock } from '../../core/clock.ts';
import { type ScorableModel, ScorerError, ScorerProcess, type ScorerProcessOptions } from './process.ts';

/** A model version to keep a child for. Equal ids share one. */
export interface ServedModel extends ScorableModel {
  /** `name@version` */
  readonly id: string;
  /** What a row costs at large batches, as admission measured it. */
  readonly microsPerRow: number;
  /** 1 where the model has a fixed batch dimension of 1. */
  readonly batchRowsMax: number;
}

export interface ScorerOptions extends ScorerProcessOptions {
  /** Rows that may wait for one model. Default 65,536. */
  readonly queueRowsMax?: number;
  /** Rows of one run. Default 8,192. */
  readonly microBatchRowsMax?: number;
  /** What a run may take besides ten times its measured cost. Default 1 s. */
  readonly runLimitMs?: number;
}

export interface ScorerStatus {
  readonly model: string;
  readonly state: 'starting' | 'ready' | 'backing-off' | 'closed';
  readonly pid: number | null;
  readonly restarts: number;
  readonly runs: number;
  readonly rows: number;
  readonly queuedRows: number;
  /** Results that came after their request's deadline. */
  readonly lateResults: number;
  /** Why the last child went, in words, with what it wrote last. */
  readonly lastFailure: string | null;
}

/** The right to score by one model. Release it when done: the last one's release ends the child. */
export interface ScorerSession {
  /** Resolves once the child has loaded the model; rejects where the first attempt fails. */
  ready(): Promise<void>;
  /**
   * The scores of `rows` rows of `matrix` (rows × width, row-major), in order. Rejects with `ScorerError` past `deadlineMs` from now,
   * and where the child fails.
   */
  score(matrix: Float32Array, rows: number, deadlineMs: number): Promise<Float32Array>;
  status(): ScorerStatus;
  release(): Promise<void>;
}

/** The service's scorer children. */
export class Scorer implements AsyncDisposable {
  readonly #options: ScorerOptions;
  readonly #runners = new Map<string, { runner: Runner; users: number }>();

  constructor(options: ScorerOptions = {}) {
    this.#options = options;
  }

  open(model: ServedModel): ScorerSession {
    const kept = this.#runners.get(model.id) ?? { runner: new Runner(model, this.#options), users: 0 };
    kept.users++;
    this.#runners.set(model.id, kept);
    let released = false;
    return {
      ready: () => kept.runner.ready,
      score: (matrix, rows, deadlineMs) => kept.runner.score(matrix, rows, deadlineMs),
      status: () => kept.runner.status(),
      release: async () => {
        if (released) return;
        released = true;
        if (--kept.users > 0) return;
        if (this.#runners.get(model.id) === kept) this.#runners.delete(model.id);
        await kept.runner.close();
      },
    };
  }

  status(): readonly ScorerStatus[] {
    return [...this.#runners.values()].map(({ runner }) => runner.status());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const runners = [...this.#runners.values()];
    this.#runners.clear();
    await Promise.all(runners.map(({ runner }) => runner.close()));
  }
}

interface Request {
  readonly matrix: Float32Array;
  readonly rows: number;
  readonly deadlineAt: number;
  resolve(scores: Float32Array): void;
  reject(error: ScorerError): void;
  /** Already rejected: its result, if one comes, is late. */
  expired: boolean;
}

/** One model's queue and the child that works it off. */
class Runner {
  readonly ready: Promise<void>;
  readonly #model: ServedModel;
  readonly #options: ScorerOptions;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  readonly #microBatchRowsMax: number;
  readonly #loop: Promise<void>;
  #queue: Request[] = [];
  #queuedRows = 0;
  #child: ScorerProcess | null = null;
  #wake: (() => void) | null = null;
  /** When the next child is started, where there is none; on the monotonic clock. */
  #nextStartAt: number | null = null;
  #restarts = 0;
  #runs = 0;
  #rows = 0;
  #lateResults = 0;
  #lastFailure: string | null = null;

  constructor(model: ServedModel, options: ScorerOptions) {
    this.#model = model;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#microBatchRowsMax = Math.min(options.microBatchRowsMax ?? 8192, model.batchRowsMax);
    const first = Promise.withResolvers<void>();
    first.promise.catch(() => {}); // Nobody may be waiting for it.
    this.ready = first.promise;
    this.#loop = this.#keep(first);
  }

  status(): ScorerStatus {
    return {
      model: this.#model.id,
      state: this.#closing.signal.aborted
        ? 'closed'
        : this.#child !== null
          ? 'ready'
          : this.#nextStartAt === null
            ? 'starting'
            : 'backing-off',
      pid: this.#child?.pid ?? null,
      restarts: this.#restarts,
      runs: this.#runs,
      rows: this.#rows,
      queuedRows: this.#queuedRows,
      lateResults: this.#lateResults,
      lastFailure: this.#lastFailure,
    };
  }

  async score(matrix: Float32Array, rows: number, deadlineMs: number): Promise<Float32Array> {
    if (rows <= this.#microBatchRowsMax) return this.#ask(matrix, rows, deadlineMs);
    const { width } = this.#model.input;
    const parts: Promise<Float32Array>[] = [];
    for (let from = 0; from < rows; from += this.#microBatchRowsMax) {
      const to = Math.min(rows, from + this.#microBatchRowsMax);
      parts.push(this.#ask(matrix.subarray(from * width, to * width), to - from, deadlineMs));
    }
    const scores = new Float32Array(rows);
    for (const [part, values] of (await Promise.all(parts)).entries()) scores.set(values, part * this.#microBatchRowsMax);
    return scores;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake?.();
    await this.#loop;
    this.#failAll(new ScorerError('closed', 'the scorer was closed'));
  }

  #ask(matrix: Float32Array, rows: number, deadlineMs: number): Promise<Float32Array> {
    if (this.#closing.signal.aborted) return Promise.reject(new ScorerError('closed', 'the scorer was closed'));
    const deadlineAt = this.#clock.monotonic() + deadlineMs;
    if (this.#nextStartAt !== null && this.#nextStartAt >= deadlineAt) return Promise.reject(this.#down());
    if (this.#queuedRows + rows > (this.#options.queueRowsMax ?? 65_536) && this.#queue.length > 0) {
      return Promise.reject(new ScorerError('unavailable', `${this.#model.id}: the queue is full`));
    }
    const { promise, resolve, reject } = Promise.withResolvers<Float32Array>();
    const settled = new AbortController();
    const request: Request = {
      matrix,
      rows,
      deadlineAt,
      expired: false,
      resolve(scores) {
        settled.abort();
        resolve(scores);
      },
      reject(error) {
        settled.abort();
        reject(error);
      },
    };
    // Not awaited: it ends at the latest when the request is settled.
    void this.#expire(request, deadlineMs, settled.signal);
    this.#queue.push(request);
    this.#queuedRows += rows;
    this.#wake?.();
    return promise;
  }

  async #expire(request: Request, deadlineMs: number, settled: AbortSignal): Promise<void> {
    await this.#clock.sleep(deadlineMs, settled);
    if (settled.aborted) return;
    request.expired = true;
    this.#drop(request);
    request.reject(new ScorerError('deadline', `${this.#model.id}: no score within ${Math.round(deadlineMs)} ms`));
  }

  /** Starts children, one after the other, until closed. */
  async #keep(first: PromiseWithResolvers<void>): Promise<void> {
    const closing = this.#closing.signal;
    for (let attempt = 1; !closing.aborted; attempt++) {
      try {
        this.#nextStartAt = null;
        await using child = await ScorerProcess.start(this.#model, this.#options);
        this.#child = child;
        first.resolve();
        const runsBefore = this.#runs;
        const failure = await this.#work(child);
        if (failure === null) return;
        if (this.#runs > runsBefore) attempt = 1; // It did work.
        this.#fail(failure, child.output);
      } catch (error) {
        const failure = error instanceof ScorerError ? error : new ScorerError('crashed', String(error));
        first.reject(failure);
        this.#fail(failure, '');
      }
      this.#restarts++;
      const waitMs = backoffMs(attempt, this.#clock);
      this.#nextStartAt = this.#clock.monotonic() + waitMs;
      for (const request of this.#queue.filter((waiting) => waiting.deadlineAt <= (this.#nextStartAt ?? 0))) {
        this.#drop(request);
        request.reject(this.#down());
      }
      await this.#clock.sleep(waitMs, closing);
    }
  }

  /** Feeds a child until it goes (returns why) or the runner is closed (null). */
  async #work(child: ScorerProcess): Promise<ScorerError | null> {
    void this.#wakeAfter(child);
    for (;;) {
      if (this.#closing.signal.aborted) return null;
      if (child.gone !== null) return child.gone;
      const requests = this.#take();
      if (requests.length === 0) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = null;
        continue;
      }
      const failure = await this.#run(child, requests);
      if (failure !== null && failure.failure !== 'model') return failure;
    }
  }

  async #wakeAfter(child: ScorerProcess): Promise<void> {
    await child.exited;
    this.#wake?.();
  }

  async #run(child: ScorerProcess, requests: readonly Request[]): Promise<ScorerError | null> {
    const rows = requests.reduce((sum, request) => sum + request.rows, 0);
    const limitMs = (this.#options.runLimitMs ?? 1000) + (10 * rows * this.#model.microsPerRow) / 1000;
    try {
      const scores = await child.run(together(requests, rows * this.#model.input.width), limitMs);
      if (scores.length !== rows) throw new ScorerError('model', `${this.#model.id} gives ${scores.length} scores for ${rows} rows`);
      this.#runs++;
      this.#rows += rows;
      let at = 0;
      for (const request of requests) {
        if (request.expired) this.#lateResults++;
        else request.resolve(scores.subarray(at, at + request.rows));
        at += request.rows;
      }
      return null;
    } catch (error) {
      const failure = error instanceof ScorerError ? error : new ScorerError('crashed', String(error));
      for (const request of requests) {
        if (!request.expired) request.reject(failure);
      }
      return failure;
    }
  }

  /** Everything that waits, up to a micro-batch; a single request may be as large as one. */
  #take(): Request[] {
    const taken: Request[] = [];
    let rows = 0;
    while (this.#queue[0] !== undefined && (taken.length === 0 || rows + this.#queue[0].rows <= this.#microBatchRowsMax)) {
      const [request] = this.#queue.splice(0, 1);
      if (request === undefined) break;
      taken.push(request);
      rows += request.rows;
    }
    this.#queuedRows -= rows;
    return taken;
  }

  #drop(request: Request): void {
    const at = this.#queue.indexOf(request);
    if (at < 0) return;
    this.#queue.splice(at, 1);
    this.#queuedRows -= request.rows;
  }

  #fail(failure: ScorerError, output: string): void {
    this.#child = null;
    const said = output.trim();
    this.#lastFailure = said === '' ? failure.message : `${failure.message}: ${said}`;
  }

  #failAll(error: ScorerError): void {
    const waiting = this.#queue;
    this.#queue = [];
    this.#queuedRows = 0;
    for (const request of waiting) request.reject(error);
  }

  #down(): ScorerError {
    return new ScorerError('unavailable', `${this.#model.id} does not run: ${this.#lastFailure ?? 'its scorer is being started again'}`);
  }
}

/** The requests' matrices as one. */
function together(requests: readonly Request[], cells: number): Float32Array {
  const [only] = requests;
  if (requests.length === 1 && only !== undefined) return only.matrix;
  const matrix = new Float32Array(cells);
  let at = 0;
  for (const request of requests) {
    matrix.set(request.matrix, at);
    at += request.matrix.length;
  }
  return matrix;
}
