/** The windows of a pipeline: closed while it runs, told to people, and shown as lists. */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import type { DatasetName } from '../core/event.ts';
import type { HeldDataset, LotState } from '../core/lots.ts';
import type { RowsLeftOut, WindowFilter, WindowResult } from '../core/windows.ts';
import type { AlertData } from '../ops/alerts/events.ts';
import type { Exposition } from '../ops/prometheus.ts';
import { ClockWatch } from '../quality/clock/watch.ts';
import type { Contract } from '../quality/contract.ts';
import { isWatched } from '../quality/live/check.ts';
import { type Live, lotRules, WindowCloser } from '../quality/live/closer.ts';
import type { PostgresSink } from '../sync/postgres/sink.ts';
import type { Desk } from './desk.ts';
import type { WindowView } from './http/shapes.ts';
import type { Turn } from './turn.ts';

/** What status and page show of them. */
const SHOWN_MAX = 200;
const TOLD_MAX = 100;
const LIST_MAX = 1000;
/** How often it is said which rules are in force; who has not said so for two minutes is gone. */
const SAY_MS = 30_000;

export interface WindowWatchParts {
  readonly pipeline: string;
  readonly desk: Desk;
  readonly clock: Clock;
  readonly contracts: () => ReadonlyMap<DatasetName, Contract>;
  readonly live: () => Omit<Live, 'nowMs'>;
  readonly tell: (data: AlertData['window.failed']) => Promise<void>;
  readonly recovered: (data: AlertData['window.passed']) => Promise<void>;
  readonly halt: (message: string) => void;
  readonly turn: Pick<Turn, 'isOurs'>;
  /** Whether lanes are shared out among all processes that run; else the one whose turn it is reads. */
  readonly isShared: boolean;
  /** Rows that waited are on their way, or held. */
  readonly onSettled: () => void;
}

export class WindowWatch {
  readonly #parts: WindowWatchParts;
  /** By dataset, rule and verdict, since the service started. */
  readonly #counts = new Map<string, { readonly result: WindowResult; count: number }>();
  readonly #closer: WindowCloser;
  readonly #clockWatch = new ClockWatch();
  #newest: readonly WindowView[] | null = null;
  /** Others kept results since. */
  #hasMore = false;
  #leftOut: readonly RowsLeftOut[] = [];
  #held: readonly HeldDataset[] = [];
  #stuck: readonly LotState[] = [];
  readonly #process = randomUUID();
  #said: { readonly what: string; readonly atMs: number; readonly done: Promise<void> } | null = null;

  constructor(parts: WindowWatchParts) {
    this.#parts = parts;
    this.#closer = new WindowCloser(parts.contracts);
  }

  /** The newest window of each rule and group, of the rules in force: what others said last is nobody's concern any more. */
  get newest(): readonly WindowView[] {
    return (this.#newest ?? []).filter(isInForce(this.#parts.contracts()));
  }

  /** Datasets whose rows wait until somebody lets them go on. */
  get held(): readonly HeldDataset[] {
    return this.#held;
  }

  /** What is worth knowing of lots that are not settled. */
  notes(): readonly string[] {
    return this.#stuck.map((lot) => `the lot of ${lot.dataset}, ${windowText(lot)}, waits: ${lot.waitsFor}`);
  }

  /** Before anything is staged by rules, and again and again while they are in force here. */
  async announce(): Promise<void> {
    const { desk, clock, isShared, turn } = this.#parts;
    const isAlone = !isShared && turn.isOurs;
    const revisions = isShared || isAlone ? this.#revisions() : new Map<DatasetName, string | null>();
    const what = JSON.stringify([isAlone, ...revisions]);
    const now = clock.monotonic();
    if (this.#said === null || this.#said.what !== what || now - this.#said.atMs >= SAY_MS) {
      const done = desk.withSink((sink) => sink.lots.say(this.#process, revisions, isAlone));
      this.#said = { what, atMs: now, done };
    }
    const said = this.#said;
    try {
      await said.done;
    } catch (error) {
      if (this.#said === said) this.#said = null;
      throw error;
    }
  }

  #revisions(): ReadonlyMap<DatasetName, string | null> {
    const contracts = this.#parts.contracts();
    const datasets = [...this.#parts.desk.datasets, ...contracts.keys()];
    return new Map(datasets.map((dataset) => [dataset, contracts.get(dataset)?.revision ?? null]));
  }

  /** Said whoever closes windows: another process, with rules of its own, may be the one. */
  async ask(): Promise<void> {
    await this.announce();
    await this.#parts.desk.withSink((sink) => this.#closer.ask(sink.windows, this.#parts.clock.now()));
  }

  /** Closes what is due, and publishes or diverts what waited for that. Throws where the target cannot be asked. */
  async look(): Promise<void> {
    const { desk, contracts, clock, live } = this.#parts;
    const now = [...contracts().values()];
    // Where no rule asks for windows any more, what was kept for some is let go.
    const closed = await desk.withSink(async (sink) => [
      ...(await this.#closer.close(sink.windows, { ...live(), nowMs: clock.now() })),
      ...(await this.#clockWatch.look(sink, now, clock.now())),
    ]);
    // Also what waits for rules that are not in force any more.
    const settled = await desk.withSink((sink) => sink.lots.settle(lotRules(now), this.#revisions()));
    if (settled.length > 0) this.#parts.onSettled();
    this.#held = await desk.withSink((sink) => sink.lots.held());
    this.#stuck = await desk.withSink((sink) => sink.lots.stuck());
    if (!now.some((contract) => isWatched(contract) || contract.live.timers.length > 0)) return;
    for (const result of closed) this.#count(result);
    if (closed.length > 0 || this.#newest === null || this.#hasMore) {
      this.#hasMore = false;
      this.#newest = await newestOf(desk);
    }
    this.#leftOut = await desk.withSink((sink) => sink.windows.leftOut());
    await desk.withSink((sink) => this.#tellAll(sink));
  }

  /** Results that others kept. */
  add(results: readonly WindowResult[]): void {
    for (const result of results) this.#count(result);
    this.#hasMore = true;
  }

  expose(out: Exposition): void {
    const { pipeline } = this.#parts;
    for (const { result, count } of this.#counts.values()) {
      const { dataset, rule, verdict } = result;
      out.counter(
        'tidegate_windows_total',
        'Verdicts over windows since the service started, revisions included.',
        { pipeline, dataset, rule, verdict },
        count,
      );
    }
    for (const { dataset, untimed, tooLate } of this.#leftOut)
      for (const [why, count] of [
        ['untimed', untimed],
        ['too_late', tooLate],
      ] as const)
        out.counter(
          'tidegate_window_rows_left_out_total',
          'Rows that are in no window, having no time, or not in all of theirs, having come later than lateness allows.',
          { pipeline, dataset, why },
          count,
        );
    for (const { dataset, rule, group, observed, verdict } of this.newest) {
      const labels = { pipeline, dataset, rule, group: group ?? '' };
      out.gauge('tidegate_window_failing', 'Whether the newest window of the rule failed.', labels, verdict === 'fail' ? 1 : 0);
      if (typeof observed === 'number')
        out.gauge('tidegate_window_observed', 'What the newest window of the rule came to.', labels, observed);
    }
  }

  #count(result: WindowResult): void {
    const key = JSON.stringify([result.dataset, result.rule, result.verdict]);
    const known = this.#counts.get(key);
    if (known === undefined) this.#counts.set(key, { result, count: 1 });
    else known.count++;
  }

  /** Told, and halted where a rule says so, before that is noted: so a crash in between may tell twice, and never not at all. */
  async #tellAll({ windows }: PostgresSink): Promise<void> {
    const { pipeline, tell, recovered, halt } = this.#parts;
    const untold = await windows.untold(TOLD_MAX);
    for (const result of untold) {
      const view = windowView(pipeline, result);
      const { dataset, rule, startMs, endMs, group, revision, rows } = view;
      const common = { pipeline, dataset, rule, startMs, endMs, group, revision, rows, observed: view.observed };
      if (result.verdict !== 'fail') {
        await recovered({ ...common, verdict: result.verdict });
        continue;
      }
      const holds = result.onFail === 'hold' ? '; what comes after it waits until you let it go on: `tidegate windows resume`' : '';
      const message = `${failureText(view)}${holds}`;
      await tell({ ...common, severity: result.severity, message });
      if (result.onFail === 'halt') halt(message);
    }
    await windows.told(untold.map(({ id }) => id));
  }
}

const isInForce =
  (contracts: ReadonlyMap<DatasetName, Contract>) =>
  ({ dataset, rule }: Pick<WindowView, 'dataset' | 'rule'>): boolean => {
    const live = contracts.get(dataset as DatasetName)?.live; // Written from one.
    return live !== undefined && [...live.checks, ...live.clock, ...live.timers].some(({ id }) => id === rule);
  };

/** Whether the newest window of a rule in force failed. */
export async function isAnyFailing(desks: readonly Desk[], of: Pick<WindowFilter, 'dataset' | 'rule'>): Promise<boolean> {
  for (const desk of desks) {
    const failing = await listWindows([desk], { ...of, newest: true, verdict: 'fail' });
    if (failing.some(isInForce(desk.contracts()))) return true;
  }
  return false;
}

async function newestOf(desk: Desk): Promise<readonly WindowView[]> {
  const results = await desk.withSink((sink) => sink.windows.results({ newest: true, limit: SHOWN_MAX }));
  return results.map((result) => windowView(desk.pipeline, result));
}

/** Newest first. */
export async function listWindows(
  desks: readonly Desk[],
  filter: Omit<WindowFilter, 'limit'>,
  limit = LIST_MAX,
): Promise<readonly WindowView[]> {
  const lists = await Promise.all(
    desks.map(async (desk) => {
      const results = await desk.withSink((sink) => sink.windows.results({ ...filter, limit }));
      return results.map((result) => windowView(desk.pipeline, result));
    }),
  );
  return lists
    .flat()
    .sort((a, b) => b.atMs - a.atMs)
    .slice(0, limit);
}

export function windowView(pipeline: string, result: WindowResult): WindowView {
  const {
    dataset,
    rule,
    type,
    column,
    startMs,
    endMs,
    group,
    verdict,
    reason,
    rows,
    missing,
    severity,
    onFail,
    version,
    digest,
    revision,
    atMs,
  } = result;
  return {
    pipeline,
    dataset,
    rule,
    type,
    column,
    startMs: endMs === null ? null : startMs,
    endMs,
    group: group === '' ? null : groupText(group),
    verdict,
    revision,
    observed: result.observed === null ? null : (JSON.parse(result.observed) as unknown),
    reason,
    rows,
    missing,
    severity,
    onFail,
    version,
    digest,
    atMs,
  };
}

/** The values of its columns, side by side. */
function groupText(group: string): string {
  if (!group.startsWith('[')) return group;
  return (JSON.parse(group) as (string | number | boolean | null)[]).map(String).join(', ');
}

export function windowText({ startMs, endMs }: Pick<WindowView, 'startMs' | 'endMs'>): string {
  if (startMs === null || endMs === null) return 'the snapshot';
  const text = (ms: number) => new Date(ms).toISOString().replace('T', ' ').slice(0, 19);
  const [from, to] = [text(startMs), text(endMs)];
  return `${from} to ${from.slice(0, 10) === to.slice(0, 10) ? to.slice(11) : to}`;
}

function failureText(view: WindowView): string {
  const { dataset, rule, observed, group, reason, rows } = view;
  const of = group === null ? '' : ` of ${group}`;
  const shown = typeof observed === 'number' || typeof observed === 'string' ? `, ${observed} observed` : '';
  return `the rule ${rule} of ${dataset} failed over ${windowText(view)}${of} (${rows} rows${shown})${reason === null ? '' : `: ${reason}`}`;
}
