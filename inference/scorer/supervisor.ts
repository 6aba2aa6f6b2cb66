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
import { PipelineError } from '../../core/errors.ts';
import { arrivals, type ScorableModel, ScorerError, ScorerProcess, type ScorerProcessOptions } from './process.ts';

/** A model version to keep a child for. Equal ids share one. */
export interface ServedModel extends ScorableModel {
  /** `name@version` */
  readonly id: string;
  /** What a row costs at large batches, as admission measured it. */
  readonly microsPerRow: number;
}

export interface ScorerOptions extends ScorerProcessOptions {
  /** Rows that may wait for one model. Default 65,536. */
  readonly queueRowsMax?: number;
  /** Rows of one run, and its floats. Default 8,192 and 4 Mi (16 MiB of memory). One row may have as many floats as it likes. */
  readonly microBatchRowsMax?: number;
  readonly microBatchFloatsMax?: number;
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
  /** The rows of a micro-batch: no call of `score` may have more. Whoever has more makes one matrix while another is scored. */
  readonly rowsMax: number;
  /** Resolves once the child has loaded the model and run it once; rejects where the first attempt fails. */
  ready(): Promise<void>;
  /**
   * The scores of `rows` rows of `matrix` (rows × width, row-major), in order. Until then the matrix must not change. Rejects with
   * `ScorerError` past `deadlineMs` from now, and where the child fails.
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
      rowsMax: kept.runner.rowsMax,
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
  readonly rowsMax: number;
  readonly #model: ServedModel;
  readonly #options: ScorerOptions;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
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
    const floatsMax = options.microBatchFloatsMax ?? 4 * 1024 * 1024;
    this.rowsMax = Math.max(1, Math.min(options.microBatchRowsMax ?? 8192, Math.floor(floatsMax / model.input.width)));
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

  score(matrix: Float32Array, rows: number, deadlineMs: number): Promise<Float32Array> {
    if (rows > this.rowsMax) throw new PipelineError('BUG', `${rows} rows are to be scored at once, and ${this.rowsMax} may be`);
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

  async close(): Promise<void> {
    this.#closing.abort(); // Whatever the child is at, it ends now, and what waits for it fails.
    this.#wake?.();
    await this.#loop;
    this.#failAll(new ScorerError('closed', 'the scorer was closed'));
  }

  async #expire(request: Request, deadlineMs: number, settled: AbortSignal): Promise<void> {
    await this.#clock.sleep(deadlineMs, settled);
    if (settled.aborted) return;
    await arrivals();
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
        await using child = await ScorerProcess.start(this.#model, this.#options, closing);
        await this.#warm(child);
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

  /** The first run costs many times what the others do: no batch pays for it. */
  async #warm(child: ScorerProcess): Promise<void> {
    try {
      await child.run(new Float32Array(this.#model.input.width), this.#limitMs(1));
    } catch (error) {
      if (!(error instanceof ScorerError && error.failure === 'model')) throw error; // A row of zeros may be none for it.
    }
  }

  /** How long a run may take before the child counts as stuck. */
  #limitMs(rows: number): number {
    return (this.#options.runLimitMs ?? 1000) + (10 * rows * this.#model.microsPerRow) / 1000;
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
    try {
      const scores = await child.run(together(requests, rows * this.#model.input.width), this.#limitMs(rows));
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
    while (this.#queue[0] !== undefined && (taken.length === 0 || rows + this.#queue[0].rows <= this.rowsMax)) {
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
