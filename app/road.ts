/** One pipeline as it runs: its two lanes, its breaker, its quarantine, and what there is to tell of it. */
import type { Clock } from '../core/clock.ts';
import type { LiveSource, Observer } from '../core/contracts.ts';
import { ERRORS } from '../core/errors.ts';
import type { DatasetName } from '../core/event.ts';
import type { DraftRules } from '../core/keyed.ts';
import { replaySource } from '../cdc/replay.ts';
import type { ModelRegistry } from '../inference/models/registry.ts';
import type { Scorer } from '../inference/scorer/supervisor.ts';
import type { AlertData, AlertType } from '../ops/alerts/events.ts';
import type { AlertSender } from '../ops/alerts/webhook.ts';
import { modelAlerts, type ModelHealth } from '../ops/alerts/model-alerts.ts';
import { scoreAlerts } from '../ops/alerts/score-alerts.ts';
import { type QuarantineBreaker, quarantineBreaker } from '../ops/breaker.ts';
import { type Metrics, type PipelineSeries, silentSeries } from '../ops/metrics.ts';
import type { Exposition } from '../ops/prometheus.ts';
import { TopicSeries } from '../ops/topic-series.ts';
import { arrivalStage } from '../quality/clock/stage.ts';
import type { Live } from '../quality/live/closer.ts';
import { windowStage } from '../quality/live/stage.ts';
import { sloStage } from '../quality/slo/stage.ts';
import type { PostgresSink } from '../sync/postgres/sink.ts';
import { isLaneOf, laneOf, type LoadedConfig, partsOf, replayLaneOf } from './config.ts';
import type { Config, PipelineConfig } from './config-schema.ts';
import { breakerSettings, openDecodeAgain, openSource, tellerOptions } from './connect.ts';
import { decodedLog } from './decoded-log.ts';
import { Desk, type Stages } from './desk.ts';
import type { DatasetStatus, LaneRunState, LaneView, PipelineStatus, Reason, Standby } from './http/shapes.ts';
import { LaneRunner, operatorHalt, type Run } from './lane-runner.ts';
import { exposeCopies, tellLags } from './lags.ts';
import { ledgerView } from './ledger.ts';
import { parentsOf } from './references.ts';
import { heldText } from './lots.ts';
import { errorFields, type Logger } from './logger.ts';
import { modelStatus } from './model-status.ts';
import { type RulesChange, RulesInForce, type StartingRules } from './rules-in-force.ts';
import { ShadowRules } from './shadow-rules.ts';
import { QuarantineTeller } from './quarantine-teller.ts';
import { changeView } from './schema-changes.ts';
import { newTablesDesk, SchemaWatch } from './schema-watch.ts';
import type { HaltBook } from './state/halts.ts';
import type { RulesBook } from './state/kept-rules.ts';
import type { PauseBook } from './state/pauses.ts';
import type { ReaderBook } from './state/readers.ts';
import type { Holder } from './state/turns.ts';
import type { Turn } from './turn.ts';
import { formatDuration } from './units.ts';
import { SlotWatch } from './slot-watch.ts';
import { SnapshotDesk } from './snapshot-desk.ts';
import { tableNews } from './table-news.ts';
import { TargetWatch } from './target-watch.ts';
import { TimerWatch } from './timers/watch.ts';
import { CopyLog, logTold } from './told.ts';
import { VerifyWatch } from './verify/watch.ts';
import { SloWatch } from './slo.ts';
import { WaitWatch } from './waits.ts';
import { WindowWatch } from './windows.ts';

export interface RoadParts {
  readonly config: Config;
  readonly name: string;
  readonly pipeline: PipelineConfig;
  readonly loaded: LoadedConfig;
  readonly start: StartingRules;
  readonly kept: RulesBook;
  readonly registry: ModelRegistry;
  readonly scorer: Scorer;
  readonly metrics: Metrics;
  readonly alerts: AlertSender;
  readonly halts: HaltBook;
  readonly pauses: PauseBook;
  readonly readers: ReaderBook;
  readonly turn: Turn;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How often the target is asked whether it is there, and what its quarantine holds. */
const PROBE_MS = 1000;
const REPLAY_BATCH_ROWS = 500;

export class Road implements AsyncDisposable {
  readonly name: string;
  readonly desk: Desk;
  readonly snapshot: SnapshotDesk;
  readonly rules: RulesInForce;
  readonly #target: TargetWatch;
  readonly #shadow: ShadowRules;
  readonly #verified: VerifyWatch;
  readonly #timers: TimerWatch;
  /** Null where the source is read by none. */
  readonly #slot: SlotWatch | null;
  /** Null where the quarantine has no topics. */
  readonly #teller: QuarantineTeller | null;
  /** Null where the target is a database. */
  readonly #topics: TopicSeries | null;
  readonly #parts: RoadParts;
  readonly #main: LaneRunner;
  readonly #replay: LaneRunner;
  readonly #breaker: QuarantineBreaker;
  readonly #watchModels: (models: readonly ModelHealth[]) => void;
  /** Kept from run to run, with what was compiled for its datasets. */
  readonly #source: LiveSource;
  readonly #schemas: SchemaWatch;
  readonly #windows: WindowWatch;
  readonly #waits: WaitWatch;
  readonly #slo: SloWatch;
  /** Two lanes run at once, and a stage works on one batch at a time. */
  readonly #mainStages: Stages;
  readonly #replayStages: Stages;
  readonly #stopped = new AbortController();
  #changes = 0;
  #haltedAtMs: number | null = null;
  /** While what another instance did is done here too: that one has told of it. */
  #isFollowing = false;
  /** What goes on beside the lanes until the end. */
  #beside: readonly Promise<void>[] = [];

  constructor(parts: RoadParts) {
    const { name, pipeline, config, clock, metrics, halts } = parts;
    this.#parts = parts;
    this.name = name;
    const { source, target } = partsOf(config, pipeline);
    const logger = parts.logger.with({ pipeline: name });
    this.#topics = target.kind === 'kafka' ? new TopicSeries() : null;
    this.rules = new RulesInForce({ ...parts, logger, tell: this.#tell, onTakenUp: (changes, more) => this.#takeUp(changes, more) });
    this.#shadow = new ShadowRules(this.rules, clock);
    this.desk = new Desk({ ...parts, rules: this.rules.files });
    this.#verified = new VerifyWatch({ ...parts, rules: this.rules.files });
    const telling = tellerOptions(config, name, pipeline, clock, parts.logger);
    this.#teller = telling === null ? null : new QuarantineTeller(telling);
    this.#breaker = this.#makeBreaker();
    const opened = openSource(config, pipeline, clock, {
      ...(source.kind === 'postgres' && { decideNewTables: newTablesDesk(this.desk, source.newTables, target.kind === 'postgres') }),
      ...tableNews(logger),
      onFound: (datasets) => {
        this.desk.found(datasets);
        parts.logger.info('tables were found that the patterns fit: they are followed', { pipeline: name, datasets: datasets.join(' ') });
      },
      endsReader: () => parts.turn.isTaken,
      lastReader: { get: () => parts.readers.get(name), set: (session) => parts.readers.set(name, session) },
      namedBy: (dataset) => parentsOf(this.rules.files.get(dataset)?.contract),
      followed: this.desk.shapeOf,
    });
    this.#source = opened.source;
    this.#slot =
      source.kind === 'kafka'
        ? null
        : new SlotWatch({
            ...parts,
            source,
            target,
            reader: opened.database,
            onRisk: (data) => this.#tell('slot.retention', data),
            onSafe: (data) => this.#tell('slot.safe', data),
          });
    this.snapshot = new SnapshotDesk({ ...opened, name, pauses: parts.pauses, clock });
    this.#schemas = new SchemaWatch({
      pipeline: name,
      desk: this.desk,
      source: this.#source,
      tell: (data) => {
        if (parts.turn.isOurs) this.#tell('schema.drift', { pipeline: name, ...data });
      },
    });
    this.#windows = this.#makeWindows();
    this.#timers = new TimerWatch({ ...parts, desk: this.desk, rules: this.rules.files, live: () => this.#live(), windows: this.#windows });
    this.#waits = new WaitWatch({ desk: this.desk, clock, live: () => this.#live(), onSettled: () => this.noteChange() });
    this.#slo = new SloWatch({
      pipeline: name,
      desk: this.desk,
      clock,
      contracts: () => this.desk.contracts(),
      tell: (type, data) => parts.alerts.emit(type, data),
    });
    this.#target = new TargetWatch({
      desk: this.desk,
      source: this.#source,
      clock,
      onCounts: () => this.noteChange(),
      alsoLook: async () => {
        await this.#schemas.look();
        await this.#windows.ask();
        if (!parts.turn.isOurs) return;
        await this.#windows.look();
        await this.#slo.look();
        await this.#waits.look();
      },
    });
    this.#mainStages = this.desk.stages();
    this.#replayStages = this.desk.stages();
    const seen: Observer = ({ applied, batch }) => {
      if (applied.held > 0 || batch.origin === 'replay') this.#changes++;
    };
    this.#watchModels = modelAlerts({ pipeline: name, clock, emit: (data) => this.#tell('model.unavailable', data) });
    const alert = scoreAlerts({ pipeline: name, clock, emit: (data) => this.#tell('score.alert', data) });
    const common = { halts, clock, logger };
    this.#main = new LaneRunner({
      ...common,
      lane: laneOf(pipeline.source, source),
      role: 'main',
      haltName: name,
      open: (signal) => this.#openMain(signal),
      observers: [metrics.observer(name), seen, alert, this.#breaker.observe, this.#shadow.observe],
      onState: (state, reason) => this.#onState(state, reason),
    });
    this.#replay = new LaneRunner({
      ...common,
      lane: replayLaneOf(name),
      role: 'replay',
      haltName: replayLaneOf(name),
      open: (signal) => this.#openReplay(signal),
      observers: [metrics.observer(name), seen],
      onState: (state, reason) => {
        if (state === 'halted' && reason !== null && !this.#isFollowing)
          this.#tell('lane.halted', { pipeline: name, code: reason.code, message: reason.message, fix: reason.fix });
      },
    });
    parts.turn.onChange(() => this.#onTurn());
    this.#onTurn();
  }

  start(): void {
    for (const { inference } of [this.#mainStages, this.#replayStages]) inference?.keepReady();
    this.#main.start();
    this.#replay.start();
    const { signal } = this.#stopped;
    const watches = [this.#verified, this.#timers, this.#slot, this.#teller].map((watch) => watch?.run(signal) ?? Promise.resolve());
    this.#beside = [this.#probeForever(), this.rules.watch(signal), ...watches];
  }

  /** Reading stops, what was read is committed; what takes longer is cut off. */
  async drain(deadlineMs: number): Promise<void> {
    await Promise.all([this.#main.drain(deadlineMs), this.#replay.drain(deadlineMs)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    // First, or a probe that waits for a silent target would keep us for as long.
    await this.desk[Symbol.asyncDispose]();
    await Promise.all(this.#beside);
    await this.#source[Symbol.asyncDispose]();
    await this.#mainStages.close();
    await this.#replayStages.close();
  }

  resume(): void {
    this.#breaker.reset();
    this.#main.resume();
    this.#replay.resume();
  }

  /** What another instance halted or let go on is done here too. */
  follow(): void {
    this.#isFollowing = true;
    if (this.#parts.halts.get(this.name) === null && this.#main.state === 'halted') this.#breaker.reset();
    this.#main.follow();
    this.#replay.follow();
    this.snapshot.follow();
    this.#isFollowing = false;
  }

  halt(by: string, why: string): void {
    const { code, message, fix } = operatorHalt(by, why);
    this.#main.halt(code, message, fix);
  }

  get changes(): number {
    return this.#changes;
  }

  noteChange(): void {
    this.#changes++;
  }

  /** What there is to count of it. */
  collect(out: Exposition): void {
    for (const { dataset, status, count } of this.#target.counts)
      out.gauge('tidegate_quarantine_items', 'Items in the quarantine, by status.', { pipeline: this.name, dataset, status }, count);
    this.rules.collect(out);
    this.#shadow.collect(this.name, out);
    this.#verified.collect(out);
    this.#slot?.collect(out);
    this.#schemas.collect(out);
    this.#teller?.collect(out);
    this.#topics?.collect(this.name, out);
    this.#windows.expose(out);
    this.#slo.expose(out);
    if (this.#main.state !== 'standby') exposeCopies(out, this.name, this.snapshot.progress());
  }

  status(series: PipelineSeries | null): PipelineStatus {
    const { name, pipeline, config, registry } = this.#parts;
    const main = this.#main.status();
    const replay = this.#replay.status();
    const worse = replay.state === 'halted' && main.state !== 'halted' ? replay : main;
    const notReady = this.notReady(series);
    const { target } = partsOf(config, pipeline);
    return {
      name,
      source: pipeline.source,
      target: pipeline.target,
      targetSchema: target.kind === 'postgres' ? target.schema : null,
      state: worse.state,
      sinceMs: worse.sinceMs,
      retryAtMs: worse.retryAtMs,
      attempt: worse.attempts,
      error: worse.state === 'standby' ? null : worse.reason,
      ready: notReady.length === 0,
      notReady,
      standby: this.standby(),
      reading: main.state === 'running' ? [...this.#source.lanes] : [],
      runs: [main, replay],
      snapshot: this.snapshot.progress(),
      schemaChanges: this.#schemas.open.map((change) => changeView(name, change)),
      rules: this.rules.view(this.#shadow.view()),
      windows: [...this.#windows.newest],
      slo: [...this.#slo.now],
      slot: this.#slot?.view() ?? null,
      lagMs: this.#lagMs(series),
      stageMs: series?.stageMs ?? { cdc: 0, quality: 0, inference: 0, sync: 0 },
      models: modelStatus(pipeline, registry, this.#mainStages.inference?.status() ?? []),
      lanes: series?.lanes ?? [],
      datasets: [...new Set([...this.desk.datasets, ...this.#schemas.waiting])].map((dataset) => this.#datasetStatus(dataset, series)),
    };
  }

  /** Why the pipeline is not ready, in words; empty where it is. */
  notReady(series: PipelineSeries | null): readonly string[] {
    const reasons: string[] = [];
    for (const { role, state, reason } of [this.#main.status(), this.#replay.status()]) {
      const what = role === 'main' ? 'the pipeline' : 'the lane of released rows';
      if (state === 'running' || state === 'standby' || (role === 'replay' && state === 'starting')) continue;
      reasons.push(`${what} is ${state}${reason === null ? '' : `: ${reason.message}`}`);
    }
    if (this.#target.problem !== null) reasons.push(this.#target.problem);
    // The rest is told by the one that has the lanes.
    if (this.standby() !== null) return reasons;
    reasons.push(...(this.#slot?.problems() ?? []));
    if (this.#target.lost !== null) reasons.push(`${this.#target.lost}: \`tidegate recover\` brings the rows that differ`);
    reasons.push(...this.#schemas.problems());
    for (const held of this.#windows.held) reasons.push(heldText(held));
    const paused = this.snapshot.view().waits === 'paused' ? ', paused' : '';
    for (const { dataset, rowsDone, rowsEstimated, state } of this.snapshot.progress()) {
      if (state === 'done') continue;
      if (state === 'away') {
        reasons.push(`${dataset} has another name at the source: what changes there is not read until it has this one again`);
        continue;
      }
      const of = rowsEstimated === null || rowsEstimated <= 0 ? `${rowsDone} rows so far` : `${rowsDone} of about ${rowsEstimated} rows`;
      reasons.push(`${dataset} is still being copied (${of}${paused})`);
    }
    const lagMs = this.#lagMs(series);
    if (lagMs !== null && lagMs > this.#parts.pipeline.readyLag) {
      reasons.push(
        `it is ${formatDuration(lagMs)} behind the source, and ready means ${formatDuration(this.#parts.pipeline.readyLag)} at most`,
      );
    }
    return reasons;
  }

  /** What is no reason not to be ready, and worth to be known. */
  notes(): string[] {
    return [...this.rules.notes(), ...this.#windows.notes(), ...this.#timers.notes(), ...(this.#slot?.notes() ?? [])];
  }

  /** Who has the lanes while this instance stands by; null where it has them itself. */
  standby(): Standby | null {
    const { holder } = this.#parts.turn;
    if (holder === null || this.#main.state !== 'standby') return null;
    const { host, pid, sinceMs } = holder;
    return { host, pid, sinceMs, message: this.#standbyText(holder) };
  }

  async lanes(): Promise<readonly LaneView[]> {
    const states = [this.#main.status(), this.#replay.status()];
    const kept = await this.desk.withSink((sink) => sink.lanes());
    return kept.flatMap((lane) => {
      const status = states.find((one) => isLaneOf(lane.lane, one.lane));
      if (status === undefined) return [];
      return [
        {
          pipeline: this.name,
          lane: lane.lane,
          role: status.role,
          state: status.state,
          epoch: lane.epoch,
          position: lane.position,
          updatedAtMs: lane.updatedAtMs,
          ...ledgerView(lane.ledger),
        },
      ];
    });
  }

  /**
   * A batch is judged by the rules that its stage has when it begins with it, so these are in force from the next one on. What the target's session goes
   * by as well (holding keys, changes of tables) begins with another run: what is in flight is cut off, and read again under the new rules.
   */
  #takeUp(changes: readonly RulesChange[], more: boolean): void {
    for (const { quality } of [this.#mainStages, this.#replayStages]) {
      for (const { dataset, draft } of changes) {
        if (draft) continue;
        const contract = this.rules.files.get(dataset)?.contract;
        if (contract === undefined) quality.removeContract(dataset);
        else quality.replaceContract(contract);
      }
    }
    this.#shadow.take();
    if (!more) return;
    this.#main.runAgain();
    this.#replay.runAgain();
  }

  async #openMain(signal: AbortSignal): Promise<Run> {
    await using opened = new AsyncDisposableStack();
    const sink = opened.use(await this.#openSink(signal, this.#shadow.asked));
    this.snapshot.recall(await sink.lanes());
    const source = this.#source;
    const { clock } = this.#parts;
    const contracts = () => this.desk.contracts();
    const windows = windowStage({
      contracts,
      store: sink.windows,
      lots: sink.lots,
      announce: () => this.#windows.announce(),
      clock,
      lanes: () => source.lanes,
    });
    const arrivals = arrivalStage({ contracts, store: sink.windows, clock });
    const { quality, inference } = this.#mainStages;
    const stages = [quality, this.#shadow.stage, ...(inference === null ? [] : [inference]), windows, arrivals, sloStage(contracts)];
    const run = opened.move();
    return {
      parts: { source, stages, sink },
      isWorking: () => source.status().state === 'streaming' || source.status().state === 'snapshot',
      [Symbol.asyncDispose]: () => run.disposeAsync(),
    };
  }

  async #openReplay(signal: AbortSignal): Promise<Run> {
    const { clock, name, config, pipeline } = this.#parts;
    await using opened = new AsyncDisposableStack();
    const sink = opened.use(await this.#openSink(signal));
    const again = opened.use(openDecodeAgain(config, pipeline, clock, this.desk.shapeOf, signal));
    const log = again === null ? sink.quarantine : decodedLog(sink.quarantine, again, 'tidegate');
    const source = opened.use(replaySource({ log, lane: replayLaneOf(name), batchRows: REPLAY_BATCH_ROWS, clock }));
    const { stages } = this.#replayStages;
    const run = opened.move();
    return { parts: { source, stages, sink }, isWorking: () => true, [Symbol.asyncDispose]: () => run.disposeAsync() };
  }

  /** A sink that is closed when the run is cut off: whoever waits for a silent target must not wait on. */
  #openSink(signal: AbortSignal, drafts: DraftRules | null = null): Promise<PostgresSink> {
    const opening = this.desk.openSink(this.#topics, drafts);
    return new Promise((resolve, reject) => {
      const cut = (): void => {
        reject(signal.reason);
        void opening.then((sink) => sink[Symbol.asyncDispose]()).catch(() => {}); // The run awaits it too.
      };
      signal.addEventListener('abort', cut, { once: true });
      if (signal.aborted) cut();
      opening.then(resolve, reject);
    });
  }

  #makeWindows(): WindowWatch {
    const { name, clock, alerts, config, pipeline, turn } = this.#parts;
    return new WindowWatch({
      pipeline: name,
      turn,
      desk: this.desk,
      clock,
      contracts: () => this.desk.contracts(),
      live: () => this.#live(),
      isShared: partsOf(config, pipeline).source.kind === 'kafka',
      tell: (data) => alerts.emit('window.failed', data),
      recovered: (data) => alerts.emit('window.passed', data),
      onSettled: () => this.noteChange(),
      halt: (message) => this.#main.halt('WINDOW_FAILED', message, ERRORS.WINDOW_FAILED.fix),
    });
  }

  #live(): Omit<Live, 'nowMs'> {
    const source = this.#source;
    return {
      isCaughtUp: this.#main.state === 'running' && source.status().state === 'streaming' && !this.#isBehind(),
      isCopied: (dataset) => source.progress().every((table) => table.dataset !== dataset || table.state === 'done'),
      ...(source.lanesOf === undefined ? {} : { lanesOf: (dataset) => source.lanesOf?.(dataset) ?? null }),
    };
  }

  #makeBreaker(): QuarantineBreaker {
    const { name, pipeline, clock } = this.#parts;
    return quarantineBreaker({
      pipeline: name,
      clock,
      settings: (dataset) => breakerSettings(pipeline, this.rules.files.get(dataset)),
      onOpen: (error, opened) => {
        this.#main.halt(error.code, error.message, error.fix);
        const { dataset, ratio: share, rows, quarantined, topRules } = opened;
        this.#tell('breaker.opened', {
          pipeline: name,
          dataset,
          ratio: share,
          rows,
          quarantined,
          topRules,
          message: error.message,
          fix: error.fix,
        });
      },
      onClose: ({ dataset }) => this.#tell('breaker.closed', { pipeline: name, dataset }),
      onRate: ({ dataset, ratio: share, rows, quarantined, topRules }) =>
        this.#tell('quarantine.rate', { pipeline: name, dataset, ratio: share, rows, quarantined, topRules }),
    });
  }

  /** A slot has one reader. Partitions are shared out by their group, and only what is released is one instance's to bring back. */
  #onTurn(): void {
    const { turn, config, pipeline } = this.#parts;
    const { holder } = turn;
    const lanes = partsOf(config, pipeline).source.kind === 'kafka' ? [this.#replay] : [this.#main, this.#replay];
    if (holder === null) this.follow();
    for (const lane of lanes) {
      if (holder === null) lane.takeOver();
      else
        lane.standBy({
          code: 'STANDBY',
          message: this.#standbyText(holder),
          fix: 'Nothing to do: stop the other instance to have this one take over.',
          atMs: holder.sinceMs,
        });
    }
  }

  #standbyText({ host, pid }: Holder): string {
    const silent = formatDuration(this.#parts.config.lease);
    return `standing by: process ${pid} on ${host} has the pipeline, and this one takes over when that is gone or silent for ${silent}`;
  }

  #onState(state: LaneRunState, reason: Reason | null): void {
    const { name, metrics, clock } = this.#parts;
    metrics.setPipelineState(name, state);
    if (state === 'halted' && reason !== null && this.#haltedAtMs === null) {
      this.#haltedAtMs = reason.atMs;
      if (this.#isFollowing) return;
      this.#tell('lane.halted', { pipeline: name, code: reason.code, message: reason.message, fix: reason.fix });
    } else if (state === 'running' && this.#haltedAtMs !== null) {
      this.#tell('lane.recovered', { pipeline: name, haltedMs: clock.now() - this.#haltedAtMs });
      this.#haltedAtMs = null;
    }
  }

  /** Alerts are written down before anything waits for them; one that cannot be is in the log. */
  readonly #tell = <T extends AlertType>(type: T, data: AlertData[T]): void => {
    const { alerts, logger } = this.#parts;
    logTold(logger.with({ pipeline: this.name }), type, data);
    alerts.emit(type, data).catch((error: unknown) => {
      logger.error('an alert could not be kept', { pipeline: this.name, type, ...errorFields(error) });
    });
  };

  /** The age of the newest change at its commit; while there is more to commit, no less than the time since the last one. */
  #lagMs(series: PipelineSeries | null): number | null {
    const { lane } = this.#main.status();
    const own = series?.lanes.filter((candidate) => isLaneOf(candidate.lane, lane)) ?? [];
    if (own.length === 0) return null;
    const isBehind = this.#isBehind();
    const waitingMs = isBehind ? this.#parts.clock.now() - Math.max(...own.map(({ committedAtMs }) => committedAtMs)) : 0;
    const lags = own.flatMap(({ lagMs }) => lagMs ?? []);
    return lags.length === 0 ? (isBehind ? waitingMs : null) : Math.max(...lags, waitingMs);
  }

  /** Whether transactions have been received that are not committed yet. */
  #isBehind(): boolean {
    return this.#source.status().isBehind;
  }

  #datasetStatus(dataset: DatasetName, series: PipelineSeries | null): DatasetStatus {
    const known = series?.datasets.find((candidate) => candidate.dataset === dataset) ?? silentSeries(dataset);
    const ruleFile = this.desk.ruleFile(dataset);
    return { ...known, quarantine: this.#target.countsOf(dataset), judged: ruleFile !== null, ruleFile };
  }

  async #probeForever(): Promise<void> {
    const { clock, metrics, name, logger } = this.#parts;
    const { signal } = this.#stopped;
    const copies = new CopyLog(logger.with({ pipeline: name }), clock);
    while (!signal.aborted) {
      copies.see(this.snapshot.progress());
      tellLags(metrics, name, this.#source, this.#main.state);
      this.#watchModels(this.#mainStages.inference?.status() ?? []);
      await this.#target.look();
      await clock.sleep(PROBE_MS, signal);
    }
  }
}
