/** The service: everything that the config names, wired together, started, watched and stopped. */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:net';
import { hostname } from 'node:os';
import type { FastifyInstance } from 'fastify';
import { type Clock, systemClock } from '../core/clock.ts';
import { PipelineError } from '../core/errors.ts';
import type { DatasetName } from '../core/event.ts';
import { isError, type Problem } from '../core/problems.ts';
import type { WindowFilter } from '../core/windows.ts';
import type { RereadRequest } from '../cdc/postgres/reread.ts';
import { ModelRegistry } from '../inference/models/registry.ts';
import { Scorer } from '../inference/scorer/supervisor.ts';
import { type AlertSender, webhookSender } from '../ops/alerts/webhook.ts';
import { type Decided, followedDatasets } from '../sync/postgres/schema-desk.ts';
import { Metrics } from '../ops/metrics.ts';
import { endpointOf, type LoadedConfig } from './config.ts';
import type { HttpConfig, PipelineConfig } from './config-schema.ts';
import { storeOf } from './connect.ts';
import type { Desk } from './desk.ts';
import type { ItemChoice, ItemFilter, Operations } from './http/operations.ts';
import { createHttpServer } from './http/server.ts';
import type {
  DatasetView,
  ItemDetail,
  HeldByRuleView,
  ItemPage,
  LaneView,
  ModelVersionView,
  Ready,
  ReleaseView,
  ReloadView,
  SchemaChangeDetailView,
  SchemaChangeView,
  LotsView,
  WindowView,
  SnapshotView,
  Status,
} from './http/shapes.ts';
import type { RuleSeriesView, SlosView } from './http/rule-shapes.ts';
import { errorFields, type Logger, silentLogger } from './logger.ts';
import { discardItems, getItem, heldByRule, listItems, releaseItems } from './quarantines.ts';
import { Road } from './road.ts';
import { heldAgainstTables, type RuleFiles } from './rule-files.ts';
import { startingRules } from './rules-in-force.ts';
import { approveChange, getChange, listChanges, rejectChange } from './schema-changes.ts';
import { existingServiceState, openServiceState, type State, whenThere } from './state/state.ts';
import { Turn } from './turn.ts';
import { KeptSeries } from './kept-series.ts';
import { ruleSeries } from './rule-series.ts';
import { listSlo } from './slo.ts';
import { letGoOn, listHeld, listLots } from './lots.ts';
import { listWindows } from './windows.ts';
import { ConfigProblems } from './config-problems.ts';
import { VERSION } from './version.ts';

/** How long a source is given to say what its tables look like before anything is started. */
const TABLES_MS = 3000;
/** How often it is asked what other instances did, and whether a port of theirs is free. */
const LOOK_MS = 1000;

/**
 * Rules that can never be used on their tables. A source that is away is no reason not to start: its lane backs off until it is there. Nor is a table
 * that has changed since the target follows it: what its rules cannot read is held, and the other tables go on.
 */
async function unusableRules(
  loaded: LoadedConfig,
  name: string,
  pipeline: PipelineConfig,
  { files, drafts }: Pick<RuleFiles, 'files' | 'drafts'>,
): Promise<readonly Problem[]> {
  try {
    const { refused, refusedOf } = await heldAgainstTables(loaded, pipeline, files, drafts, AbortSignal.timeout(TABLES_MS));
    if (refused.length === 0) return [];
    const followed = await followedDatasets({ name: pipeline.target, url: storeOf(loaded.config, pipeline).url, pipeline: name });
    return refused.map((problem): Problem => {
      const dataset = refusedOf.get(problem);
      return dataset !== undefined && followed.has(dataset) ? { ...problem, severity: 'warning' } : problem;
    });
  } catch (error) {
    if (error instanceof PipelineError && error.after !== 'bug') return [];
    throw error;
  }
}

/** The rules of every pipeline, in the order of the config. Throws ConfigProblems where one can't start by any. */
async function rulesToStartBy(loaded: LoadedConfig, logger: Logger, clock: Clock, stop: AbortSignal) {
  const { config } = loaded;
  const onAway = (): void => logger.warn('the database of the state is away, and waited for');
  await using state = await whenThere(() => existingServiceState(config.state), clock, stop, onAway);
  const kept = state?.kept ?? null;
  const rules = await Promise.all(
    Object.entries(config.pipelines).map(async ([name, pipeline]) => {
      const start = await startingRules(loaded, name, pipeline, kept, (files) => unusableRules(loaded, name, pipeline, files));
      return { name, pipeline, start };
    }),
  );
  const problems = rules.flatMap(({ start }) => start.problems);
  if (problems.some(isError)) throw new ConfigProblems(problems);
  for (const { path, message, fix } of problems) logger.warn(message, { path, fix });
  for (const { name, start } of rules)
    for (const { path, message, fix } of start.refused ?? [])
      logger.warn('a new revision of the rules was refused: the one before is in force again', { pipeline: name, path, message, fix });
  return rules;
}

function isInUse(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
}

function isFree({ host, port }: HttpConfig): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port }, () => server.close(() => resolve(true)));
  });
}

export interface ServiceOptions {
  readonly logger?: Logger;
  readonly clock?: Clock;
  /** Ends what is waited for at the start, which fails then. */
  readonly stop?: AbortSignal;
}

export class Service implements Operations, AsyncDisposable {
  readonly metrics: Metrics;
  readonly models: ModelRegistry;
  readonly #loaded: LoadedConfig;
  readonly #roads: ReadonlyMap<string, Road>;
  readonly #state: State;
  readonly #series: KeptSeries;
  readonly #turns: readonly Turn[];
  readonly #scorer: Scorer;
  readonly #alerts: AlertSender;
  readonly #alerting: Promise<void>;
  readonly #stopped: AbortController;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #instance: string;
  readonly #startedAtMs: number;
  #http: FastifyInstance | null = null;
  #url: string | null = null;
  #stopping: Promise<void> | null = null;
  /** What goes on beside the pipelines until the end. */
  readonly #beside: Promise<void>[] = [];

  /** Starts every pipeline and the HTTP server. Throws ConfigProblems, with nothing started, where a rule file is wrong. */
  static async start(loaded: LoadedConfig, options: ServiceOptions = {}): Promise<Service> {
    const clock = options.clock ?? systemClock;
    const logger = options.logger ?? silentLogger;
    const stop = options.stop ?? new AbortController().signal;
    const { config } = loaded;
    const rules = await rulesToStartBy(loaded, logger, clock, stop);

    const state = await whenThere(() => openServiceState(config.state, clock), clock, stop);
    const me = { id: randomUUID(), host: hostname(), pid: process.pid };
    const scorer = new Scorer();
    const stopped = new AbortController();
    const turnOf = (pipeline: string) => new Turn({ pipeline, state, me, leaseMs: config.lease, clock, logger });
    const pipelines = rules.map((one) => ({ ...one, turn: turnOf(one.name) }));
    const turns = pipelines.map(({ turn }) => turn);
    try {
      const models = { clock, modelBytesMax: config.http.modelBytes };
      const registry = await whenThere(() => ModelRegistry.open(state.models, models), clock, stop);
      const metrics = new Metrics(clock);
      const alerts = webhookSender({
        endpoints: Object.entries(config.alerts).map(([name, alert]) => endpointOf(name, alert)),
        outbox: state.outbox,
        clock,
        onAttempt: (endpoint, item, delivery) => {
          const fields = { alert: endpoint, type: item.type, id: item.id };
          if (delivery.kind === 'delivered') logger.info('an alert was delivered', fields);
          else
            logger.warn(delivery.kind === 'retry' ? 'an alert was not delivered and is tried again' : 'an alert was given up', {
              ...fields,
              why: delivery.why,
            });
        },
      });
      const { halts, pauses, kept, readers } = state;
      await Promise.all(turns.map((turn) => turn.claim()));
      const common = { loaded, config, registry, scorer, metrics, alerts, halts, pauses, kept, readers, clock, logger };
      const roads = new Map(pipelines.map((one) => [one.name, new Road({ ...common, ...one })]));
      const service = new Service({
        loaded,
        instance: me.id,
        roads,
        state,
        turns,
        scorer,
        alerts,
        registry,
        metrics,
        stopped,
        clock,
        logger,
      });
      await service.#listen();
      for (const road of roads.values()) road.start();
      service.#beside.push(...turns.map((turn) => turn.run(stopped.signal)), service.#followOthers(), service.#series.run(stopped.signal));
      return service;
    } catch (error) {
      stopped.abort();
      await scorer[Symbol.asyncDispose]();
      for (const turn of turns) await turn.release();
      await state[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(parts: {
    loaded: LoadedConfig;
    instance: string;
    roads: ReadonlyMap<string, Road>;
    state: State;
    turns: readonly Turn[];
    scorer: Scorer;
    alerts: AlertSender;
    registry: ModelRegistry;
    metrics: Metrics;
    stopped: AbortController;
    clock: Clock;
    logger: Logger;
  }) {
    this.#loaded = parts.loaded;
    this.#roads = parts.roads;
    this.#instance = parts.instance;
    this.#state = parts.state;
    this.#turns = parts.turns;
    this.#scorer = parts.scorer;
    this.#alerts = parts.alerts;
    const { instance, state, metrics, clock, logger } = parts;
    const ours = new Map(parts.turns.map((turn) => [turn.pipeline, turn]));
    this.#series = new KeptSeries({ pipelines: ours, instance, metrics, book: state.series, clock, logger });
    this.models = parts.registry;
    this.metrics = parts.metrics;
    this.#stopped = parts.stopped;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#startedAtMs = parts.clock.now();
    this.#alerting = parts.alerts.run(parts.stopped.signal);
    this.models.onChange((model, isOurs) => this.#onModel(model, isOurs));
    this.metrics.collect((out) => {
      for (const road of this.#roads.values()) road.collect(out);
      out.gauge('process_resident_memory_bytes', 'Memory of the service’s own process.', {}, process.memoryUsage.rss());
      const { user, system } = process.cpuUsage();
      out.counter('process_cpu_seconds_total', 'Processor time that the service’s own process has used.', {}, (user + system) / 1e6);
      out.gauge('tidegate_build_info', 'Always 1; the labels say what runs.', { version: VERSION, node: process.version }, 1);
    });
  }

  /** Where the HTTP server listens, or null where there is none. */
  get url(): string | null {
    return this.#url;
  }

  /** Ends everything in order: reading stops, what was read is committed, then the rest is closed. Calling it again waits for the first. */
  stop(drainTimeoutMs = this.#loaded.config.drainTimeout): Promise<void> {
    this.#stopping ??= this.#stop(drainTimeoutMs);
    return this.#stopping;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async status(): Promise<Status> {
    const { pipelines } = this.metrics.snapshot();
    const statuses = [...this.#roads].map(([name, road]) => road.status(pipelines.find(({ pipeline }) => pipeline === name) ?? null));
    return {
      version: VERSION,
      instance: this.#instance,
      startedAtMs: this.#startedAtMs,
      nowMs: this.#clock.now(),
      ready: this.#stopping === null && statuses.every(({ ready }) => ready),
      pipelines: statuses,
      alerts: this.#alerts.status(),
    };
  }

  ready(): Ready {
    const { pipelines: series } = this.metrics.snapshot();
    const pipelines = [...this.#roads].map(([name, road]) => {
      const reasons = [...road.notReady(series.find(({ pipeline }) => pipeline === name) ?? null)];
      if (this.#stopping !== null) reasons.unshift('the service is stopping');
      return { name, ready: reasons.length === 0, reasons, notes: road.notes(), standby: road.standby() };
    });
    return { ready: pipelines.every(({ ready }) => ready), pipelines };
  }

  async lanes(): Promise<readonly LaneView[]> {
    const lanes = await Promise.all([...this.#roads.values()].map((road) => road.lanes()));
    return lanes.flat();
  }

  async datasets(): Promise<readonly DatasetView[]> {
    const { pipelines } = await this.status();
    return pipelines.flatMap(({ name, datasets, models }) =>
      datasets.map(({ dataset, judged, ruleFile, totals, rates, latencyMs, lastEventAtMs, quarantine }) => ({
        dataset,
        pipeline: name,
        judged,
        ruleFile,
        models: models.filter((use) => use.dataset === dataset).map(({ model, alias }) => `${model}@${alias}`),
        totals: { ...totals },
        rates: { ...rates },
        latencyMs,
        lastEventAtMs,
        quarantine,
      })),
    );
  }

  quarantine(filter: ItemFilter, limit: number, after: string | null): Promise<ItemPage> {
    return listItems(this.#desks(), filter, limit, after);
  }

  heldByRule(pipeline: string | null): Promise<HeldByRuleView> {
    return heldByRule(this.#desks(), pipeline);
  }

  quarantined(id: string): Promise<ItemDetail | null> {
    return getItem(this.#desks(), id);
  }

  async release(choice: ItemChoice, by: string, dryRun: boolean): Promise<ReleaseView> {
    const view = await releaseItems(this.#desks(), choice, by, dryRun, this.#stopped.signal);
    if (view.released.length > 0) this.#logger.info('released', { items: view.released.length, by });
    return view;
  }

  async discard(choice: ItemChoice, by: string, why: string): Promise<readonly string[]> {
    const discarded = await discardItems(this.#desks(), choice, by, why);
    if (discarded.length > 0) this.#logger.info('discarded', { items: discarded.length, by });
    return discarded;
  }

  schemaChanges(open: boolean): Promise<readonly SchemaChangeView[]> {
    return listChanges(this.#desks(), open);
  }

  schemaChange(id: string): Promise<SchemaChangeDetailView | null> {
    return getChange(this.#desks(), id);
  }

  async approveSchema(id: string, by: string): Promise<Decided> {
    const decided = await approveChange(this.#desks(), id, by);
    if (decided.kind === 'approved')
      this.#logger.info('schema changes approved', { changes: decided.changes.join(' '), released: decided.released, by });
    return decided;
  }

  async rejectSchema(id: string, by: string, why: string): Promise<Decided> {
    const decided = await rejectChange(this.#desks(), id, by, why);
    if (decided.kind === 'rejected') this.#logger.info('a schema change was rejected', { change: id, by });
    return decided;
  }

  windows(pipeline: string | null, filter: Omit<WindowFilter, 'limit'>, limit: number): Promise<readonly WindowView[]> {
    const desks = this.#desks().filter((desk) => pipeline === null || desk.pipeline === pipeline);
    return listWindows(desks, filter, limit);
  }

  ruleSeries(pipeline: string | null, dataset: string | null): RuleSeriesView {
    return ruleSeries(this.metrics.snapshot(), this.#desks(), (of, name) => (pipeline ?? of) === of && (dataset ?? name) === name);
  }

  slo(dataset: DatasetName | null): Promise<SlosView> {
    return listSlo(this.#desks(), dataset, this.#clock.now());
  }

  async lots(limit: number): Promise<LotsView> {
    return { lots: [...(await listLots(this.#desks(), limit))], held: [...(await listHeld(this.#desks()))] };
  }

  async letGoOn(dataset: string, by: string): Promise<boolean> {
    const pipelines = await letGoOn(this.#desks(), dataset);
    if (pipelines.length > 0) this.#logger.info('a dataset that was held goes on', { dataset, by });
    return pipelines.length > 0;
  }

  quarantineChanges(): number {
    return [...this.#roads.values()].reduce((sum, road) => sum + road.changes, 0);
  }

  async resume(pipeline: string, by: string): Promise<boolean> {
    const road = this.#roads.get(pipeline);
    if (road === undefined) return false;
    this.#logger.info('asked to resume', { pipeline, by });
    road.resume();
    await this.#state.save();
    return true;
  }

  async halt(pipeline: string, by: string, why: string): Promise<boolean> {
    const road = this.#roads.get(pipeline);
    if (road === undefined) return false;
    road.halt(by, why);
    await this.#state.save();
    return true;
  }

  async reload(pipeline: string, by: string, allowRemoved: boolean): Promise<ReloadView | null> {
    const road = this.#roads.get(pipeline);
    if (road === undefined) return null;
    this.#logger.info('asked to read the rule files again', { pipeline, by });
    return road.rules.reload(allowRemoved);
  }

  /** Of every pipeline; what is refused is told as always. */
  async reloadAll(by: string): Promise<void> {
    for (const pipeline of this.#roads.keys())
      await this.reload(pipeline, by, false).catch((error: unknown) =>
        this.#logger.error('rule files were not read again', { pipeline, ...errorFields(error) }),
      );
  }

  snapshot(pipeline: string): SnapshotView | null {
    return this.#roads.get(pipeline)?.snapshot.view() ?? null;
  }

  async steerSnapshot(pipeline: string, action: 'pause' | 'resume', by: string): Promise<boolean> {
    const road = this.#roads.get(pipeline);
    if (road === undefined) return false;
    if (action === 'pause') road.snapshot.pause(by);
    else road.snapshot.resume();
    await this.#state.save();
    this.#logger.info(`asked to ${action} the snapshot`, { pipeline, by });
    return true;
  }

  async reread(pipeline: string, request: RereadRequest, by: string): Promise<string | null> {
    const road = this.#roads.get(pipeline);
    if (road === undefined) return null;
    const id = await road.snapshot.reread(request);
    this.#logger.info('rows are read again', { pipeline, dataset: request.dataset, id, by });
    return id;
  }

  modelVersions(model: string): readonly ModelVersionView[] {
    const aliases = this.models.aliases(model);
    return this.models.versions(model).map((version) => ({
      model,
      version: version.version,
      sha256: version.sha256,
      aliases: aliases.filter((alias) => alias.version === version.version).map(({ alias }) => alias),
      registeredAtMs: version.registeredAtMs,
      usedBy: Object.entries(this.#loaded.config.pipelines)
        .filter(([, pipeline]) =>
          pipeline.models.some((use) => use.model.split('@')[0] === model && this.models.resolve(use.model)?.version === version.version),
        )
        .map(([name]) => name),
      mapping: version.mapping,
      report: version.report,
    }));
  }

  async #listen(): Promise<void> {
    const { http } = this.#loaded.config;
    if (!http.enabled) return;
    try {
      await this.#listenAt(http);
    } catch (error) {
      // Its port is most likely that of the instance on this machine that has the pipelines, and both are taken over together.
      if (isInUse(error) && this.#turns.some(({ holder }) => holder?.host === hostname())) {
        this.#logger.info('the port is another instance’s, and taken over when it is free', { port: http.port });
        this.#beside.push(this.#listenLater(http));
        return;
      }
      const place = this.#loaded.place('http', 'port');
      const message = isInUse(error)
        ? `port ${http.port} of ${http.host} is in use`
        : `nobody may listen on port ${http.port} of ${http.host}`;
      throw new ConfigProblems([
        { severity: 'error', path: place, message, fix: 'Stop the other process, or choose another port (0 takes a free one).' },
      ]);
    }
  }

  async #listenAt(http: HttpConfig): Promise<void> {
    const server = await createHttpServer(this, http, this.#logger);
    try {
      this.#url = await server.listen({ host: http.host, port: http.port });
      this.#http = server;
    } catch (error) {
      await server.close();
      throw error;
    }
    this.#logger.info('listening', { url: this.#url });
  }

  async #listenLater(http: HttpConfig): Promise<void> {
    while (this.#stopping === null && this.#http === null) {
      await this.#clock.sleep(LOOK_MS, this.#stopped.signal);
      if (this.#stopping !== null || !(await isFree(http))) continue;
      await this.#listenAt(http).catch((error: unknown) => {
        if (!isInUse(error)) this.#logger.error('the port cannot be listened at', errorFields(error));
      });
    }
  }

  /** What other instances halt, resume or register counts here too. */
  async #followOthers(): Promise<void> {
    const { news } = this.#state;
    if (news === null) return;
    for (;;) {
      await this.#clock.sleep(LOOK_MS, this.#stopped.signal);
      if (this.#stopped.signal.aborted) return;
      try {
        const { notes, models } = await news();
        if (notes) for (const road of this.#roads.values()) road.follow();
        if (models) await this.models.refresh();
      } catch (error) {
        // Whose turn it is is asked of the same place: that says that it is away.
        if (!(error instanceof PipelineError)) throw error;
      }
    }
  }

  async #stop(drainTimeoutMs: number): Promise<void> {
    this.#logger.info('stopping', { drainTimeoutMs });
    await Promise.all([...this.#roads.values()].map((road) => road.drain(drainTimeoutMs)));
    // The page and the health checks stay until the last batch is committed.
    await this.#http?.close();
    this.#stopped.abort();
    await Promise.all(this.#beside);
    await this.#series.end();
    for (const turn of this.#turns) await turn.release();
    for (const road of this.#roads.values()) await road[Symbol.asyncDispose]();
    await this.#alerting;
    await this.#scorer[Symbol.asyncDispose]();
    try {
      await this.#state[Symbol.asyncDispose]();
    } catch (error) {
      this.#logger.error('what is to be remembered could not be written', errorFields(error));
    }
    this.#logger.info('stopped');
  }

  #onModel(model: string, isOurs: boolean): void {
    const aliases = this.models.aliases(model);
    const newest = this.models.versions(model).at(-1);
    if (newest === undefined) return;
    this.#logger.info('a model changed', {
      model,
      versions: newest.version,
      aliases: aliases.map(({ alias, version }) => `${alias}=${version}`).join(' '),
    });
    if (!isOurs) return;
    const told = this.#alerts.emit('model.registered', {
      model,
      version: String(newest.version),
      aliases: aliases.filter(({ version }) => version === newest.version).map(({ alias }) => alias),
    });
    told.catch((error: unknown) => this.#logger.error('an alert could not be kept', errorFields(error)));
  }

  #desks(): readonly Desk[] {
    return [...this.#roads.values()].map((road) => road.desk);
  }
}
