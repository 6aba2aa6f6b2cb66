/** The series of each pipeline, from BatchReports: counters since the start, and the last 15 minutes second by second. */
import { type Batch, ScoreStatus, type StageName, Verdict } from '../core/batch.ts';
import { type Clock, systemClock } from '../core/clock.ts';
import type { BatchReport, Observer } from '../core/contracts.ts';
import type { ChangeEvent, Dataset, DatasetName, LaneId } from '../core/event.ts';
import { cumulativeSeconds, LATENCY_BUCKETS, latencyBucket, latencyQuantile } from './histogram.ts';
import { countLane, exposeLanes, type LaneCounters, type LaneLag, laneSeries, type LaneSeries, setLag } from './lane-counters.ts';
import { Exposition } from './prometheus.ts';
import { type KeptSeries, MinuteRing } from './rule-series.ts';
import { lessenRules, type RuleCounters, ruleCounter } from './rule-counters.ts';
import { SecondsRing, type SeriesFrame } from './series.ts';

/** How much the page can look back. */
export const SERIES_SECONDS = 900;
/** Rates and latencies of a snapshot are those of the last so many whole seconds. */
const RATE_SECONDS = 10;
/** A lane that has all there is, and for so long nothing new, has caught up. */
const CAUGHT_UP_MS = 2000;
/** What is left of the log in a lane in which nothing happens: it does not move on for less. */
const LITTLE_BYTES = 65_536;
const SCORE_BINS = 20;
const STAGES: readonly StageName[] = ['cdc', 'quality', 'inference', 'sync'];

/** Events by what became of them: a tagged or warned one passed as well, with a remark. */
export interface VerdictCounts {
  readonly in: number;
  readonly passed: number;
  readonly tagged: number;
  readonly warned: number;
  readonly dropped: number;
  readonly held: number;
}

export interface RuleCount {
  readonly stage: StageName;
  readonly rule: string;
  readonly column: string | null;
  readonly verdict: 'tag' | 'warn' | 'drop' | 'quarantine';
  readonly count: number;
  readonly lastAtMs: number;
  /** Of the last hour, minute by minute; the last is the one under way. */
  readonly recent: readonly number[];
}

export interface ScoreSeries {
  readonly model: string;
  readonly version: string;
  readonly scored: number;
  readonly unavailable: number;
  readonly lastAtMs: number;
  /** Scores in 20 equal bins of [0, 1]; what lies outside counts in the first or last. */
  readonly histogram: readonly number[];
}

export interface DatasetSeries {
  readonly dataset: DatasetName;
  /** Since the service started. */
  readonly totals: VerdictCounts;
  /** Events a second over the last 10 whole seconds. */
  readonly rates: { readonly pass: number; readonly warn: number; readonly drop: number; readonly quarantine: number };
  /** Source commit to target commit, of streamed events of the last 60 seconds; null where there were none. */
  readonly latencyMs: { readonly p50: number | null; readonly p99: number | null };
  readonly lastEventAtMs: number | null;
  /** Of the last hour, minute by minute, as the rules have it. */
  readonly recent: readonly number[];
  /** Most frequent first. */
  readonly rules: readonly RuleCount[];
  readonly scores: readonly ScoreSeries[];
}

/** Of a dataset that has not seen an event yet. */
export function silentSeries(dataset: DatasetName): DatasetSeries {
  return {
    dataset,
    totals: { in: 0, passed: 0, tagged: 0, warned: 0, dropped: 0, held: 0 },
    rates: { pass: 0, warn: 0, drop: 0, quarantine: 0 },
    latencyMs: { p50: null, p99: null },
    lastEventAtMs: null,
    recent: [],
    rules: [],
    scores: [],
  };
}

export interface PipelineSeries {
  readonly pipeline: string;
  readonly datasets: readonly DatasetSeries[];
  readonly lanes: readonly LaneSeries[];
  /** Mean milliseconds a batch, since the service started. */
  readonly stageMs: Readonly<Record<StageName, number>>;
}

export interface MetricsSnapshot {
  readonly atMs: number;
  readonly pipelines: readonly PipelineSeries[];
}

/** The charts of one dataset, for the page's stream of events. */
export interface DatasetFrame extends SeriesFrame {
  readonly pipeline: string;
  readonly dataset: DatasetName;
}

const DAY_MS = 86_400_000;

class DatasetCounters {
  readonly ring = new SecondsRing(SERIES_SECONDS);
  /** By verdict, in the order of `Verdict`. */
  readonly byVerdict = new Float64Array(5);
  readonly latency = new Uint32Array(LATENCY_BUCKETS);
  latencySumMs = 0;
  lastEventAtMs: number | null = null;
  readonly minutes = new MinuteRing();
  readonly rules: RuleCounters = new Map();
  readonly scores = new Map<
    string,
    { readonly model: string; readonly version: string; scored: number; unavailable: number; lastAtMs: number; readonly bins: Float64Array }
  >();
}

interface PipelineCounters {
  readonly datasets: Map<DatasetName, DatasetCounters>;
  readonly lanes: Map<LaneId, LaneCounters>;
  readonly stages: Record<StageName, { readonly buckets: Uint32Array; sumMs: number; batches: number }>;
  batches: number;
}

/**
 * One for the service. A batch costs one pass over its verdicts and commit times without allocating; findings and scores are counted
 * only where there are any. All memory is bounded: a ring a dataset, a counter and a small ring a rule (at most 2,000) and a histogram a model version.
 */
export class Metrics {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #pipelines = new Map<string, PipelineCounters>();
  readonly #states = new Map<string, string>();
  readonly #collectors: ((out: Exposition) => void)[] = [];
  readonly #startedAtMs: number;

  constructor(clock: Pick<Clock, 'now'> = systemClock) {
    this.#clock = clock;
    this.#startedAtMs = clock.now();
  }

  /** To be put among the observers of the pipeline of that name. */
  observer(pipeline: string): Observer {
    const counters = this.#pipeline(pipeline);
    return (report) => this.#observe(counters, report);
  }

  /** What the source says about how much of its log the lane has not read yet, and whether all it has sent is committed. */
  setLaneLag(pipeline: string, lane: LaneId, { bytes, records }: LaneLag, hasAll = false): void {
    const counters = this.#pipeline(pipeline).lanes.get(lane);
    if (counters === undefined) return;
    counters.lagBytes = bytes;
    counters.lagRecords = records;
    if (!hasAll || (records !== 0 && (bytes === null || bytes > LITTLE_BYTES))) return;
    const nowMs = this.#clock.now();
    counters.asOfMs = nowMs;
    // How late the last change was is no news once nothing came behind it.
    if (counters.lagMs !== null && nowMs - counters.committedAtMs > CAUGHT_UP_MS) counters.lagMs = 0;
  }

  /** Nobody reads the lane (it is halted, or waits to try again): what comes meanwhile is not known, and how long that lasts is. */
  standLane(pipeline: string, lane: LaneId): void {
    const counters = this.#pipeline(pipeline).lanes.get(lane);
    if (counters !== undefined) setLag(counters, Math.max(0, this.#clock.now() - counters.asOfMs));
  }

  /** Of lanes that another process reads, nobody here knows how late they are: one, or those of a source that it reads no more. */
  leaveLane(pipeline: string, lane: LaneId): void {
    const counters = this.#pipeline(pipeline).lanes.get(lane);
    if (counters !== undefined) setLag(counters, null);
  }
  keepLags(pipeline: string, source: LaneId, read: readonly LaneId[]): void {
    for (const [lane, counters] of this.#pipeline(pipeline).lanes)
      if (lane.startsWith(`${source}/`) && !read.includes(lane)) setLag(counters, null);
  }

  /** Exported as `tidegate_pipeline_state{state="…"} 1`. */
  setPipelineState(pipeline: string, state: string): void {
    this.#pipeline(pipeline);
    this.#states.set(pipeline, state);
  }

  /** Adds series of others (quarantine counts, alerts, process) to the exposition; called at each scrape. */
  collect(collector: (out: Exposition) => void): void {
    this.#collectors.push(collector);
  }

  snapshot(): MetricsSnapshot {
    const atMs = this.#clock.now();
    const pipelines = [...this.#pipelines].map(([pipeline, counters]) => ({
      pipeline,
      datasets: [...counters.datasets].map(([dataset, of]) => datasetSeries(dataset, of, atMs)),
      lanes: [...counters.lanes].map(([lane, of]) => laneSeries(lane, of)),
      stageMs: {
        cdc: meanMs(counters.stages.cdc),
        quality: meanMs(counters.stages.quality),
        inference: meanMs(counters.stages.inference),
        sync: meanMs(counters.stages.sync),
      },
    }));
    return { atMs, pipelines };
  }

  /** What the rules of a pipeline found, for a process after this one. */
  ruleSeries(pipeline: string): KeptSeries {
    const atMs = this.#clock.now();
    const datasets = [...(this.#pipelines.get(pipeline)?.datasets ?? [])].map(([dataset, of]) => ({ dataset, ...minutesOf(of, atMs) }));
    return { atMs, datasets };
  }

  /** Adds what a process before this one had found, but for rules that have been silent for a day: they may be gone from their files. */
  goOn(pipeline: string, { atMs, datasets }: KeptSeries): void {
    const nowMs = this.#clock.now();
    for (const { dataset, recent, rules } of datasets) {
      const fresh = rules.filter(({ lastAtMs }) => lastAtMs > nowMs - DAY_MS);
      if (fresh.length === 0 && recent.every((count) => count === 0)) continue;
      const of = datasetCounters(this.#pipeline(pipeline), { name: dataset });
      of.minutes.merge(recent, atMs, nowMs);
      for (const rule of fresh)
        ruleCounter(of.rules, rule, rule.count, Math.min(rule.lastAtMs, nowMs)).minutes.merge(rule.recent, atMs, nowMs);
    }
  }

  /** Takes out what another process goes on from. */
  handOver(pipeline: string, { atMs, datasets }: KeptSeries): void {
    for (const { dataset, recent, rules } of datasets) {
      const of = this.#pipelines.get(pipeline)?.datasets.get(dataset);
      of?.minutes.lessen(recent, atMs);
      if (of !== undefined) lessenRules(of.rules, rules, atMs);
    }
  }

  /**
   * The charts' whole seconds from `fromS` (Unix seconds, inclusive) to now. Ask first with 0 for all that is kept, then with the `toS`
   * of the last answer: seconds before it never change any more.
   */
  series(fromS: number): { readonly toS: number; readonly frames: readonly DatasetFrame[] } {
    const toS = Math.floor(this.#clock.now() / 1000);
    const first = Math.max(fromS, Math.floor(this.#startedAtMs / 1000));
    const frames = [...this.#pipelines].flatMap(([pipeline, { datasets }]) =>
      [...datasets].map(([dataset, { ring }]) => ({ pipeline, dataset, ...ring.frame(first, toS) })),
    );
    return { toS, frames };
  }

  /** The text for `GET /metrics`, of content type `text/plain; version=0.0.4; charset=utf-8`. */
  prometheus(): string {
    const out = new Exposition();
    const atMs = this.#clock.now();
    out.gauge('tidegate_start_time_seconds', 'Unix time at which the service started.', {}, this.#startedAtMs / 1000);
    for (const [pipeline, counters] of this.#pipelines) {
      const state = this.#states.get(pipeline);
      if (state !== undefined) out.gauge('tidegate_pipeline_state', 'The state that the pipeline is in.', { pipeline, state }, 1);
      exposeLanes(out, pipeline, counters.lanes, atMs);
      for (const [dataset, of] of counters.datasets) exposeDataset(out, pipeline, dataset, of);
      for (const stage of STAGES) exposeStage(out, pipeline, stage, counters.stages[stage]);
    }
    for (const collector of this.#collectors) collector(out);
    return out.toString();
  }

  #pipeline(name: string): PipelineCounters {
    const known = this.#pipelines.get(name);
    if (known !== undefined) return known;
    const fresh: PipelineCounters = {
      datasets: new Map(),
      lanes: new Map(),
      stages: { cdc: stageTimes(), quality: stageTimes(), inference: stageTimes(), sync: stageTimes() },
      batches: 0,
    };
    this.#pipelines.set(name, fresh);
    return fresh;
  }

  #observe(counters: PipelineCounters, { batch, applied, millisByStage }: BatchReport): void {
    const nowMs = this.#clock.now();
    counters.batches++;
    countLane(counters.lanes, batch, applied, nowMs);
    countEvents(counters, batch, nowMs);
    if (batch.findings.length > 0) countFindings(counters, batch, nowMs);
    if (batch.scores.length > 0) countScores(counters, batch);
    if (batch.size === 0) return;
    for (const stage of STAGES) {
      const of = counters.stages[stage];
      const ms = millisByStage[stage];
      const bucket = latencyBucket(ms);
      of.buckets[bucket] = (of.buckets[bucket] ?? 0) + 1;
      of.sumMs += ms;
      of.batches++;
    }
  }
}

const stageTimes = () => ({ buckets: new Uint32Array(LATENCY_BUCKETS), sumMs: 0, batches: 0 });

/** Counts neighbours of one dataset and one commit time, so that a map is looked up once for them and not once an event. */
function countEvents(counters: PipelineCounters, batch: Batch, nowMs: number): void {
  for (const { dataset, from, to } of batch.spans()) {
    const of = datasetCounters(counters, dataset);
    of.lastEventAtMs = nowMs;
    for (let at = from; at < to;) {
      const end = batch.run === null ? endOfCommit(batch.events, at, to) : to;
      countVerdicts(of, batch, at, end, nowMs);
      at = end;
    }
  }
}

function endOfCommit(events: readonly ChangeEvent[], from: number, to: number): number {
  const committedAtMs = events[from]?.committedAtMs;
  let end = from + 1;
  while (end < to && events[end]?.committedAtMs === committedAtMs) end++;
  return end;
}

function countVerdicts(of: DatasetCounters, batch: Batch, from: number, to: number, nowMs: number): void {
  const { verdicts } = batch;
  const second = Math.floor(nowMs / 1000);
  let pass = 0;
  let tag = 0;
  let warn = 0;
  let drop = 0;
  // Counted when they are published, as what they are judged to be then.
  let staged = 0;
  for (let at = from; at < to; at++) {
    const verdict = verdicts[at];
    if (verdict === Verdict.Pass) pass++;
    else if (verdict === Verdict.Tag) tag++;
    else if (verdict === Verdict.Warn) warn++;
    else if (verdict === Verdict.Drop) drop++;
    else if (verdict === Verdict.Staged) staged++;
  }
  const count = to - from;
  const quarantine = count - pass - tag - warn - drop - staged;
  const { byVerdict } = of;
  byVerdict[Verdict.Pass] = (byVerdict[Verdict.Pass] ?? 0) + pass;
  byVerdict[Verdict.Tag] = (byVerdict[Verdict.Tag] ?? 0) + tag;
  byVerdict[Verdict.Warn] = (byVerdict[Verdict.Warn] ?? 0) + warn;
  byVerdict[Verdict.Drop] = (byVerdict[Verdict.Drop] ?? 0) + drop;
  byVerdict[Verdict.Quarantine] = (byVerdict[Verdict.Quarantine] ?? 0) + quarantine;
  of.ring.add(second, pass, tag + warn, drop, quarantine);
  of.minutes.add(nowMs, count - staged);
  const committedAtMs = batch.origin === 'stream' ? batch.event(from)?.committedAtMs : undefined;
  if (committedAtMs === undefined) return; // Only the stream's age says how fast the road is: a snapshot's rows and a released event are as old as they are.
  const ms = Math.max(0, nowMs - committedAtMs);
  const bucket = latencyBucket(ms);
  of.ring.addLatency(second, bucket, count);
  of.latency[bucket] = (of.latency[bucket] ?? 0) + count;
  of.latencySumMs += ms * count;
}

const verdictNames = { [Verdict.Tag]: 'tag', [Verdict.Warn]: 'warn', [Verdict.Drop]: 'drop', [Verdict.Quarantine]: 'quarantine' } as const;

function countFindings(counters: PipelineCounters, batch: Batch, nowMs: number): void {
  for (const finding of batch.findings) {
    const dataset = batch.datasetOf(finding.index);
    // As above: what waits for its lot comes again, with what was found, when that is published.
    if (dataset === undefined || batch.verdicts[finding.index] === Verdict.Staged) continue;
    const { stage, rule, column } = finding;
    const found = { stage, rule, column, verdict: verdictNames[finding.verdict] };
    ruleCounter(datasetCounters(counters, dataset).rules, found, 1, nowMs).minutes.add(nowMs, 1);
  }
}

function countScores(counters: PipelineCounters, batch: Batch): void {
  for (const scores of batch.scores) {
    const dataset = counters.datasets.get(scores.dataset);
    if (dataset === undefined) continue;
    const id = `${scores.model}@${scores.version}`;
    let of = dataset.scores.get(id);
    if (of === undefined) {
      of = { model: scores.model, version: scores.version, scored: 0, unavailable: 0, lastAtMs: 0, bins: new Float64Array(SCORE_BINS) };
      // Versions come and go while the service runs; the eldest is forgotten.
      const eldest = dataset.scores.size >= 16 ? dataset.scores.keys().next().value : undefined;
      if (eldest !== undefined) dataset.scores.delete(eldest);
      dataset.scores.set(id, of);
    }
    of.lastAtMs = scores.atMs;
    const { bins } = of;
    for (let i = 0; i < scores.status.length; i++) {
      const status = scores.status[i];
      if (status === undefined || status === ScoreStatus.NotAsked) continue;
      if (status !== ScoreStatus.Scored) {
        of.unavailable++;
        continue;
      }
      of.scored++;
      const bin = Math.max(0, Math.min(SCORE_BINS - 1, Math.floor((scores.values[i] ?? 0) * SCORE_BINS)));
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
  }
}

function datasetCounters(counters: PipelineCounters, { name }: Pick<Dataset, 'name'>): DatasetCounters {
  const known = counters.datasets.get(name);
  if (known !== undefined) return known;
  const fresh = new DatasetCounters();
  counters.datasets.set(name, fresh);
  return fresh;
}

function totalsOf({ byVerdict }: DatasetCounters): VerdictCounts {
  const of = (verdict: Verdict) => byVerdict[verdict] ?? 0;
  return {
    in: byVerdict.reduce((sum, count) => sum + count, 0),
    passed: of(Verdict.Pass),
    tagged: of(Verdict.Tag),
    warned: of(Verdict.Warn),
    dropped: of(Verdict.Drop),
    held: of(Verdict.Quarantine),
  };
}

function minutesOf(of: DatasetCounters, atMs: number): Pick<DatasetSeries, 'recent' | 'rules'> {
  return {
    recent: of.minutes.values(atMs),
    rules: [...of.rules.values()]
      .map(({ minutes, ...rule }) => ({ ...rule, recent: minutes.values(atMs) }))
      .sort((a, b) => b.count - a.count),
  };
}

function datasetSeries(dataset: DatasetName, of: DatasetCounters, atMs: number): DatasetSeries {
  const toS = Math.floor(atMs / 1000);
  const recent = of.ring.sums(toS - RATE_SECONDS, toS).counts;
  const { latency } = of.ring.sums(toS - 60, toS + 1);
  const rate = (count: number) => Math.round((count / RATE_SECONDS) * 10) / 10;
  return {
    dataset,
    totals: totalsOf(of),
    rates: { pass: rate(recent.pass), warn: rate(recent.warn), drop: rate(recent.drop), quarantine: rate(recent.quarantine) },
    latencyMs: { p50: latencyQuantile(latency, 0.5), p99: latencyQuantile(latency, 0.99) },
    lastEventAtMs: of.lastEventAtMs,
    ...minutesOf(of, atMs),
    scores: [...of.scores.values()].map(({ bins, ...score }) => ({ ...score, histogram: [...bins] })),
  };
}

const meanMs = ({ sumMs, batches }: { readonly sumMs: number; readonly batches: number }) =>
  batches === 0 ? 0 : Math.round((sumMs / batches) * 100) / 100;

function exposeDataset(out: Exposition, pipeline: string, dataset: DatasetName, of: DatasetCounters): void {
  const labels = { pipeline, dataset };
  const totals = totalsOf(of);
  for (const verdict of ['passed', 'tagged', 'warned', 'dropped', 'held'] as const) {
    out.counter('tidegate_events_total', 'Events judged and committed, by verdict.', { ...labels, verdict }, totals[verdict]);
  }
  for (const { stage, rule, column, verdict, count } of of.rules.values()) {
    const ruleLabels = { ...labels, stage, rule, column: column ?? '', verdict };
    out.counter('tidegate_findings_total', 'Findings, by the rule that made them.', ruleLabels, count);
  }
  const help = 'Commit at the source to commit at the target, of streamed events.';
  out.histogram('tidegate_latency_seconds', help, labels, cumulativeSeconds(of.latency), of.latencySumMs / 1000);
  for (const { model, version, scored, unavailable, bins } of of.scores.values()) {
    const modelLabels = { ...labels, model, version };
    out.counter('tidegate_scored_total', 'Events that a model scored.', modelLabels, scored);
    out.counter('tidegate_unscored_total', 'Events that a model was asked to score and could not.', modelLabels, unavailable);
    let seen = 0;
    const buckets = [...bins].map((count, i): [number, number] => {
      seen += count;
      return [i === bins.length - 1 ? Number.POSITIVE_INFINITY : (i + 1) / bins.length, seen];
    });
    const sum = bins.reduce((total, count, i) => total + count * ((i + 0.5) / bins.length), 0);
    out.histogram('tidegate_score', 'Scores, in bins of [0, 1]; the sum is taken at the middle of the bins.', modelLabels, buckets, sum);
  }
}

function exposeStage(out: Exposition, pipeline: string, stage: StageName, of: PipelineCounters['stages'][StageName]): void {
  if (of.batches === 0) return;
  out.histogram(
    'tidegate_stage_seconds',
    'Time that a stage spent on a batch.',
    { pipeline, stage },
    cumulativeSeconds(of.buckets),
    of.sumMs / 1000,
  );
}
