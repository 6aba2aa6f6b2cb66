/**
 * The inference stage: scores the events of a batch by the models in use, and routes them by their scores.
 *
 * A new version of a model is taken up between two batches and without waiting: its child is started and warmed while the old one
 * goes on serving, and is switched to once it is ready. Only the first version of all is waited for. A model that does not answer,
 * that nobody has registered yet, or whose mapping does not fit the dataset is unavailable, and the use's failure policy says what follows.
 */
import { type Batch, type Finding, ScoreStatus, type ScoreColumns, Verdict } from '../core/batch.ts';
import { type Clock, systemClock } from '../core/clock.ts';
import type { Stage } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import type { ChangeEvent, Dataset, DatasetName } from '../core/event.ts';
import type { Problem } from '../core/problems.ts';
import { type CompiledFeatures, compileFeatures, ENCODED, type RefusedFeatures } from './features.ts';
import { encodeGolden, wrongGolden } from './models/golden.ts';
import type { ModelRegistry } from './models/registry.ts';
import type { ModelVersion } from './models/store.ts';
import { type CompiledRoute, compileRoutes, type Route, routeFinding } from './routes.ts';
import type { Scorer, ScorerSession } from './scorer/supervisor.ts';

/** A model in use, as the config says it. */
export interface ModelUse {
  /** `order-risk`, `order-risk@3`, `order-risk@canary` */
  readonly model: string;
  readonly dataset: DatasetName;
  readonly on: readonly ('insert' | 'update' | 'read')[];
  readonly write: ScoreColumns;
  /** In order; the first that is true counts. */
  readonly routes: readonly Route[];
  /** `fail_open`: the rows pass unscored. `fail_closed`: they are quarantined. `hold`: the stage throws MODEL_UNAVAILABLE. */
  readonly failure: 'fail_open' | 'fail_closed' | 'hold';
  /** How long a batch waits for its scores before that counts as a failure. */
  readonly deadlineMs: number;
}

export interface InferenceParts {
  readonly registry: ModelRegistry;
  readonly scorer: Scorer;
  readonly uses: readonly ModelUse[];
  readonly clock?: Clock;
}

/** How a model in use is doing, for status pages. */
export interface ModelUseStatus {
  readonly model: string;
  readonly dataset: DatasetName;
  readonly failure: ModelUse['failure'];
  /** The version that scores the next batch; null while there is none. */
  readonly version: number | null;
  /** The version being started, to be switched to. */
  readonly nextVersion: number | null;
  readonly scored: number;
  readonly unavailable: number;
  /** Rows that the mapping rejected or the model gave no number for. */
  readonly unreadable: number;
  /** Why the last batch had no scores, or why the next version does not start; null where neither is so. */
  readonly problem: string | null;
}

export interface InferenceStage extends Stage, AsyncDisposable {
  /**
   * Starts the models' processes before a batch needs them, and those of new versions as they are registered, until the stage is closed.
   * Without it the first batch waits, and a new version is started by the first batch that wants it.
   */
  keepReady(): void;
  status(): readonly ModelUseStatus[];
  /**
   * What keeps the uses from working with these datasets today: for `tidegate check`. A model not registered yet is a warning. Starts each
   * model's process, and scores its golden rows.
   */
  check(datasets: readonly Dataset[]): Promise<readonly Problem[]>;
}

export function inferenceStage(parts: InferenceParts): InferenceStage {
  const uses = parts.uses.map((use, index) => new UsedModel(use, `models[${index}]`, parts));
  return {
    name: 'inference',
    async run(batch, signal) {
      for (const use of uses) await use.run(batch, signal);
    },
    keepReady: () => {
      for (const use of uses) use.keepReady();
    },
    status: () => uses.map((use) => use.status()),
    check: async (datasets) => (await Promise.all(uses.map((use) => use.check(datasets)))).flat(),
    async [Symbol.asyncDispose]() {
      await Promise.all(uses.map((use) => use.close()));
    },
  };
}

/** What a model may take for its golden rows when it is tried out. */
const TRY_OUT_MS = 5000;

interface Served {
  readonly version: ModelVersion;
  readonly session: ScorerSession;
  /** Compiled once per Dataset object. */
  readonly features: WeakMap<Dataset, CompiledFeatures | RefusedFeatures>;
}

/** By event of the batch, as `Scores` has them. */
interface Marks {
  readonly values: Float32Array;
  readonly status: Uint8Array;
}

/** Rows of a batch, encoded, on their way to the model. */
interface Sent {
  /** `events[i]` is the index in the batch of the row that `scores[i]` scores. */
  readonly events: Int32Array;
  readonly rows: number;
  readonly scores: Promise<Float32Array>;
}

class UsedModel {
  readonly #use: ModelUse;
  readonly #path: string;
  readonly #name: string;
  readonly #registry: ModelRegistry;
  readonly #scorer: Scorer;
  readonly #clock: Clock;
  readonly #routes = new WeakMap<Dataset, readonly CompiledRoute[]>();
  #current: Served | null = null;
  #next: Served | null = null;
  #turn: Promise<void> = Promise.resolve();
  #isAtWork = false;
  #isClosed = false;
  /** Ends what `keepReady` began. */
  #forget: (() => void) | null = null;
  /** Used last, and to be used next. */
  #matrices: readonly [Float32Array, Float32Array] = [new Float32Array(0), new Float32Array(0)];
  #scored = 0;
  #unavailable = 0;
  #unreadable = 0;
  #problem: string | null = null;
  /** The version that the problem was with; null where none was registered. */
  #problemOf: ModelVersion | null = null;

  constructor(use: ModelUse, path: string, parts: InferenceParts) {
    this.#use = use;
    this.#path = path;
    this.#name = use.model.split('@')[0] ?? use.model;
    this.#registry = parts.registry;
    this.#scorer = parts.scorer;
    this.#clock = parts.clock ?? systemClock;
  }

  async run(batch: Batch, signal: AbortSignal): Promise<void> {
    const asked = this.#asked(batch);
    if (asked.length === 0) return;
    const marks: Marks = { values: new Float32Array(batch.size).fill(NaN), status: new Uint8Array(batch.size) };
    for (const index of asked) marks.status[index] = ScoreStatus.Unavailable;

    let served: Served | null = null;
    try {
      this.#isAtWork = true;
      served = await this.#serve(signal);
      await this.#score(batch, asked, served, marks, signal);
      this.#problem = null;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof PipelineError) throw error;
      this.#fail(batch, asked, marks, error);
    } finally {
      this.#isAtWork = false;
    }
    batch.scores.push({
      dataset: this.#use.dataset,
      model: this.#name,
      version: String(served?.version.version ?? ''),
      ...marks,
      atMs: this.#clock.now(),
      write: this.#use.write,
    });
    if (served !== null) this.#route(batch, asked, marks, served.version);
  }

  status(): ModelUseStatus {
    return {
      model: this.#use.model,
      dataset: this.#use.dataset,
      failure: this.#use.failure,
      version: this.#upcoming()?.version.version ?? null,
      nextVersion: this.#upcoming() === this.#next ? null : (this.#next?.version.version ?? null),
      scored: this.#scored,
      unavailable: this.#unavailable,
      unreadable: this.#unreadable,
      // What went wrong with another version, or before there was one, is no news of this one.
      problem: (this.#problemOf === this.#registry.resolve(this.#use.model) ? this.#problem : null) ?? this.#notStarting(),
    };
  }

  /** Why the next version has not come up yet, where its process ended; meanwhile the one before goes on. */
  #notStarting(): string | null {
    return this.#next?.session.status().lastFailure ?? null;
  }

  async check(datasets: readonly Dataset[]): Promise<readonly Problem[]> {
    const dataset = datasets.find(({ name }) => name === this.#use.dataset);
    if (dataset === undefined) return []; // The config's own check says that there is no such dataset.
    const routes = compileRoutes(this.#use.routes, dataset, this.#path);
    const problems: Problem[] = routes.kind === 'refused' ? [...routes.problems] : [];
    const version = this.#registry.resolve(this.#use.model);
    if (version === null) {
      const fix = `Register it: POST /api/models/${this.#name}/versions. Until then its failure policy (${this.#use.failure}) applies.`;
      return [...problems, { severity: 'warning', path: `${this.#path}.model`, message: `There is no model ${this.#use.model} yet.`, fix }];
    }
    const features = compileFeatures(version.mapping, dataset, `${this.#name}@${version.version} mapping`);
    return [...problems, ...(features.kind === 'refused' ? features.problems : []), ...(await this.#tryOut(version))];
  }

  /** What was true when the version was admitted may not be so on this machine. */
  async #tryOut(version: ModelVersion): Promise<readonly Problem[]> {
    const problem = (message: string): Problem => ({
      severity: 'error',
      path: `${this.#path}.model`,
      message,
      fix: `Register it again, or move @production to a version that runs here. Until then its failure policy (${this.#use.failure}) applies.`,
    });
    const name = `${this.#name}@${version.version}`;
    let session: ScorerSession | null = null;
    try {
      ({ session } = await this.#start(version));
      await session.ready();
      const { matrix, rows } = encodeGolden(version.mapping);
      const { width } = version.report.input;
      const scores = new Float32Array(rows);
      for (let from = 0; from < rows; from += session.rowsMax) {
        const to = Math.min(rows, from + session.rowsMax);
        scores.set(await session.score(matrix.subarray(from * width, to * width), to - from, TRY_OUT_MS), from);
      }
      return wrongGolden(version.mapping, scores).map(({ index, got, score }) =>
        problem(`${name} gives ${got} for its golden row ${index}, where ${score} is expected.`),
      );
    } catch (error) {
      return [problem(`${name} does not run: ${error instanceof Error ? error.message : String(error)}`)];
    } finally {
      await session?.release();
    }
  }

  keepReady(): void {
    const prepare = async (): Promise<void> => {
      await this.#prepare();
      await this.#next?.session.ready();
      // So that the process of the version before ends, even if there never is another batch.
      if (!this.#isAtWork) this.#switch();
    };
    const tryTo = (): void => void prepare().catch(() => {}); // The batch that needs it says what is wrong.
    this.#forget ??= this.#registry.onChange((model) => {
      if (model === this.#name) tryTo();
    });
    tryTo();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#forget?.();
    await this.#turn;
    await Promise.all([this.#current?.session.release(), this.#next?.session.release()]);
    this.#current = null;
    this.#next = null;
  }

  /** The events to score: of the dataset, of the operations, and on their way to the target. */
  #asked(batch: Batch): number[] {
    const asked: number[] = [];
    const { dataset: wanted, on } = this.#use;
    for (const { dataset, from, to } of batch.spans()) {
      if (dataset.name !== wanted) continue;
      for (let index = from; index < to; index++) {
        const op = batch.run === null ? batch.events[index]?.op : 'read'; // Those of a run that nobody asks for stay no objects.
        if (op !== undefined && (on as readonly string[]).includes(op) && batch.passes(index)) asked.push(index);
      }
    }
    return asked;
  }

  /** The version to score by now. Throws where there is none. */
  async #serve(signal: AbortSignal): Promise<Served> {
    if (this.#registry.resolve(this.#use.model) === null) throw new Error(`${this.#use.model} is not registered`);
    await this.#prepare();
    while (this.#current === null) {
      const first = this.#next;
      if (first === null) throw new PipelineError('BUG', `${this.#use.model} is resolved and not served`);
      // Whether it is ready or failed to start, the requests will tell.
      await unlessAborted(
        first.session.ready().catch(() => {}),
        signal,
      );
      if (this.#next !== first) continue; // Another version was registered meanwhile.
      this.#current = first;
      this.#next = null;
    }
    this.#switch();
    return this.#current;
  }

  /** Between two batches: takes up the next version, if its process runs. */
  #switch(): void {
    const served = this.#upcoming();
    if (served === this.#current) return;
    void this.#current?.session.release(); // Not awaited: its end is nothing that a batch has to wait for.
    this.#current = served;
    this.#next = null;
  }

  /** What the next batch is scored by: the next version once its process runs. */
  #upcoming(): Served | null {
    return this.#next?.session.status().state === 'ready' ? this.#next : this.#current;
  }

  /** Starts the version that is wanted now, if it is neither served nor started. One at a time, whoever asks. */
  #prepare(): Promise<void> {
    const prepared = this.#turn.then(() => this.#prepareNow());
    this.#turn = prepared.catch(() => {});
    return prepared;
  }

  async #prepareNow(): Promise<void> {
    const wanted = this.#registry.resolve(this.#use.model);
    if (wanted === null || this.#isClosed || this.#next?.version === wanted) return;
    const started = this.#current?.version === wanted ? null : await this.#start(wanted);
    void this.#next?.session.release(); // Abandoned before it was ready.
    this.#next = started;
  }

  async #start(version: ModelVersion): Promise<Served> {
    const { input, output, costs, batchRowsMax } = version.report;
    const session = this.#scorer.open({
      id: `${version.model}@${version.version}`,
      bytes: await this.#registry.bytes(version),
      input,
      output,
      microsPerRow: costs.at(-1)?.microsPerRow ?? 100,
      rowsMax: batchRowsMax,
    });
    return { version, session, features: new WeakMap() };
  }

  /** A large batch goes in parts: the next one is encoded while the model scores the last, and no more than two are in memory. */
  async #score(batch: Batch, asked: readonly number[], served: Served, marks: Marks, signal: AbortSignal): Promise<void> {
    const deadlineAt = this.#clock.monotonic() + this.#use.deadlineMs;
    const size = Math.ceil(asked.length / Math.ceil(asked.length / served.session.rowsMax));
    let sent: Sent | null = null;
    for (let from = 0; from < asked.length; from += size) {
      const next = this.#send(batch, asked.slice(from, from + size), served, marks, deadlineAt);
      if (sent !== null) await this.#receive(batch, sent, served.version, marks, signal);
      sent = next;
    }
    if (sent !== null) await this.#receive(batch, sent, served.version, marks, signal);
  }

  #send(batch: Batch, asked: readonly number[], served: Served, marks: Marks, deadlineAt: number): Sent {
    const { width } = served.version.report.input;
    const matrix = this.#matrix(asked.length * width);
    const events = new Int32Array(asked.length);
    let rows = 0;
    let dataset: Dataset | null = null;
    let features: CompiledFeatures | null = null;
    for (const index of asked) {
      const event = batch.events[index];
      if (event === undefined) continue;
      if (features === null || event.dataset !== dataset) {
        dataset = event.dataset;
        features = this.#featuresOf(dataset, served);
      }
      const rejected = features.encode(event, matrix, rows * width);
      if (rejected === ENCODED) events[rows++] = index;
      else {
        const name = served.version.mapping.features[rejected]?.name ?? '';
        marks.status[index] = ScoreStatus.FeatureMissing;
        this.#markUnreadable(batch, index, served.version, `the feature "${name}" can't be read from it`);
      }
    }
    if (rows === 0) return { events, rows, scores: Promise.resolve(new Float32Array(0)) };
    const scores = served.session.score(matrix.subarray(0, rows * width), rows, deadlineAt - this.#clock.monotonic());
    scores.catch(() => {}); // It is awaited once the part before it is: until then a rejection must not count as unhandled.
    return { events, rows, scores };
  }

  /**
   * Room for a part's features. There are two, in turn, and the part before the last has been scored: nothing but a request that has
   * expired, whose scores nobody gets, still reads what is overwritten. A new one for each would keep the garbage collector busy.
   */
  #matrix(floats: number): Float32Array {
    const [last, free] = this.#matrices;
    const matrix = free.length < floats ? new Float32Array(floats) : free;
    this.#matrices = [matrix, last];
    return matrix;
  }

  async #receive(batch: Batch, sent: Sent, version: ModelVersion, { values, status }: Marks, signal: AbortSignal): Promise<void> {
    const { events, rows, scores } = sent;
    const received = await unlessAborted(scores, signal);
    for (let row = 0; row < rows; row++) {
      const index = events[row] ?? -1;
      const score = received[row] ?? NaN;
      // The gate after the model: what is no number is no score.
      if (!Number.isFinite(score)) {
        this.#markUnreadable(batch, index, version, 'the model gives no number');
        continue;
      }
      values[index] = score;
      status[index] = ScoreStatus.Scored;
      this.#scored++;
    }
  }

  #featuresOf(dataset: Dataset, served: Served): CompiledFeatures {
    let features = served.features.get(dataset);
    if (features === undefined) {
      features = compileFeatures(served.version.mapping, dataset, `${this.#name}@${served.version.version} mapping`);
      served.features.set(dataset, features);
    }
    if (features.kind === 'compiled') return features;
    throw new Error(features.problems.map(({ path, message }) => `${path}: ${message}`).join(' '));
  }

  #routesOf(dataset: Dataset): readonly CompiledRoute[] {
    const known = this.#routes.get(dataset);
    if (known !== undefined) return known;
    const compiled = compileRoutes(this.#use.routes, dataset, this.#path);
    if (compiled.kind === 'refused') {
      const text = compiled.problems.map(({ path, message, fix }) => `${path}: ${message} ${fix}`).join(' ');
      throw new PipelineError('CONFIG_INVALID', `compiling the routes of ${this.#use.model} for ${dataset.name}: ${text}`);
    }
    this.#routes.set(dataset, compiled.routes);
    return compiled.routes;
  }

  #route(batch: Batch, asked: readonly number[], { values, status }: Marks, version: ModelVersion): void {
    if (this.#use.routes.length === 0) return;
    let dataset: Dataset | null = null;
    let routes: readonly CompiledRoute[] = [];
    for (const index of asked) {
      const event = batch.events[index];
      if (status[index] !== ScoreStatus.Scored || event === undefined) continue;
      if (event.dataset !== dataset) {
        dataset = event.dataset;
        routes = this.#routesOf(dataset);
      }
      this.#takeFirst(routes, batch, index, event, values[index] ?? NaN, version);
    }
  }

  /** The first route that is true counts; one that can't be told is a finding, and the next is asked. */
  #takeFirst(
    routes: readonly CompiledRoute[],
    batch: Batch,
    index: number,
    event: ChangeEvent,
    score: number,
    version: ModelVersion,
  ): void {
    for (let place = 0; place < routes.length; place++) {
      const compiled = routes[place];
      if (compiled === undefined) continue;
      try {
        if (!compiled.applies(event, score)) continue;
      } catch {
        this.#markUnreadable(batch, index, version, `the route "${compiled.route.when}" can't be told from it`);
        continue;
      }
      mark(batch, routeFinding(index, this.#name, version.version, place, compiled.route, score));
      return;
    }
  }

  /** A row that gets no score through its own fault: the mapping says what becomes of it, and the batch goes on. */
  #markUnreadable(batch: Batch, index: number, version: ModelVersion, why: string): void {
    const { unreadable } = version.mapping;
    this.#unreadable++;
    mark(batch, {
      index,
      stage: 'inference',
      rule: `${this.#name}.unreadable`,
      column: null,
      verdict: unreadable?.do === 'quarantine' ? Verdict.Quarantine : unreadable?.do === 'tag' ? Verdict.Tag : Verdict.Warn,
      severity: unreadable?.severity ?? 'warning',
      message: `${this.#name}@${version.version} can't score this row: ${why}`,
      notify: false,
    });
  }

  /** The model does not answer: what the use's failure policy says of the rows that it has not scored. */
  #fail(batch: Batch, asked: readonly number[], { status }: Marks, cause: unknown): void {
    const unscored = asked.filter((index) => status[index] !== ScoreStatus.Scored);
    this.#unavailable += unscored.length;
    this.#problem = cause instanceof Error ? cause.message : String(cause);
    this.#problemOf = this.#registry.resolve(this.#use.model);
    if (this.#use.failure === 'fail_open') return;
    if (this.#use.failure === 'hold') {
      throw new PipelineError('MODEL_UNAVAILABLE', `scoring ${this.#use.dataset} by ${this.#use.model}`, { cause });
    }
    for (const index of unscored) {
      const finding: Finding = {
        index,
        stage: 'inference',
        rule: `${this.#name}.unavailable`,
        column: null,
        verdict: Verdict.Quarantine,
        severity: 'warning',
        message: `${this.#use.model} did not answer, and its failure policy is fail_closed`,
        notify: false,
      };
      batch.mark(finding);
    }
  }
}

/**
 * What a model thinks of a row is advice to people. So a released event is not held a second time by the finding that a person
 * released it from: it is tagged with it. Any other finding, of a route it was never held by, does hold it.
 */
function mark(batch: Batch, finding: Finding): void {
  const released =
    finding.verdict === Verdict.Quarantine && batch.heldFor?.[finding.index]?.some(({ rule }) => rule === finding.rule) === true;
  batch.mark(released ? { ...finding, verdict: Verdict.Tag, message: `${finding.message} (released)` } : finding);
}

/** What `promise` resolves to, unless `signal` aborts before; then it throws the reason. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: done, resolve, reject } = Promise.withResolvers<T>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  promise.then(resolve, reject);
  try {
    return await done;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
