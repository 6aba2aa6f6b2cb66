/** The breaker that protects a target from a flood of bad rows: too large a share in quarantine stops the pipeline. */
import { HOLD_KEY_RULE, isOfSchema, Verdict } from '../core/batch.ts';
import { type Clock, systemClock } from '../core/clock.ts';
import type { BatchReport, Observer } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import type { DatasetName } from '../core/event.ts';

/** `breaker.open_when` of a dataset's rule file. */
export interface BreakerSettings {
  /** Share of events in quarantine at or above which it opens, 0 to 1. */
  readonly quarantinedRatio: number;
  /** Over the last so many ms. */
  readonly overMs: number;
  /** Never on fewer events than this. */
  readonly minRows: number;
}

export const DEFAULT_BREAKER: BreakerSettings = { quarantinedRatio: 0.2, overMs: 60_000, minRows: 200 };

export interface BreakerOpened {
  readonly pipeline: string;
  readonly dataset: DatasetName;
  readonly openedAtMs: number;
  readonly ratio: number;
  readonly rows: number;
  readonly quarantined: number;
  /** The rules that held most, worst first, at most five. */
  readonly topRules: readonly { readonly rule: string; readonly count: number }[];
  readonly settings: BreakerSettings;
}

export interface BreakerOptions {
  readonly pipeline: string;
  /** The settings of a dataset; null switches its breaker off. */
  readonly settings: (dataset: DatasetName) => BreakerSettings | null;
  /**
   * Called once when a breaker opens, after the commit of the batch that opened it and before another is sent: so it must stop the pipeline at
   * once (`supervisor.halt(error)`), and not in a later turn of the event loop. One batch may be on its way already.
   */
  readonly onOpen: (error: PipelineError, opened: BreakerOpened) => void;
  /** Called when an open breaker is closed by `reset`. */
  readonly onClose?: (closed: BreakerOpened) => void;
  /** Called once when the share passes half of what opens the breaker, and again only after it fell below a quarter of it. */
  readonly onRate?: (warning: BreakerOpened) => void;
  /** Windows are measured by the clock that nobody sets. */
  readonly clock?: Pick<Clock, 'now' | 'monotonic'>;
}

export interface QuarantineBreaker {
  readonly observe: Observer;
  /** The breakers that are open now. */
  readonly open: () => readonly BreakerOpened[];
  /** Closes the breakers of the pipeline and forgets what they counted: what an operator who resumes it asks for. */
  readonly reset: () => void;
}

/**
 * Counts in as many slots as fit a window of `overMs`, one dataset at a time. Not counted: events that a replay brings (a person chose
 * to try them), and events held only because they wait for an earlier one of their key, or for
 * the row that they name.
 */
export function quarantineBreaker(options: BreakerOptions): QuarantineBreaker {
  const clock = options.clock ?? systemClock;
  const windows = new Map<DatasetName, RateWindow | null>();
  const opened = new Map<DatasetName, BreakerOpened>();

  const windowOf = (dataset: DatasetName): RateWindow | null => {
    const known = windows.get(dataset);
    if (known !== undefined) return known;
    const settings = options.settings(dataset);
    const fresh = settings === null ? null : new RateWindow(settings);
    windows.set(dataset, fresh);
    return fresh;
  };

  const judge = (dataset: DatasetName, window: RateWindow, openedAtMs: number): void => {
    const { settings } = window;
    const ratio = window.rows === 0 ? 0 : window.quarantined / window.rows;
    if (ratio < settings.quarantinedRatio / 4) window.warned = false;
    if (window.rows < settings.minRows || ratio < settings.quarantinedRatio / 2) return;
    const found: BreakerOpened = {
      pipeline: options.pipeline,
      dataset,
      openedAtMs,
      ratio,
      rows: window.rows,
      quarantined: window.quarantined,
      topRules: window.topRules(5),
      settings,
    };
    if (ratio < settings.quarantinedRatio) {
      if (!window.warned) options.onRate?.(found);
      window.warned = true;
      return;
    }
    if (opened.has(dataset)) return;
    opened.set(dataset, found);
    options.onOpen(new PipelineError('TOO_MUCH_QUARANTINE', describe(found)), found);
  };

  return {
    observe: (report) => {
      if (report.batch.origin === 'replay') return;
      const openedAtMs = clock.now();
      for (const [dataset, window] of count(report, clock.monotonic(), windowOf)) judge(dataset, window, openedAtMs);
    },
    open: () => [...opened.values()],
    reset: () => {
      windows.clear();
      const closed = [...opened.values()];
      opened.clear();
      for (const one of closed) options.onClose?.(one);
    },
  };
}

function describe({ dataset, ratio, rows, settings, topRules }: BreakerOpened): string {
  const percent = Math.round(ratio * 100);
  const seconds = Math.round(settings.overMs / 1000);
  const rules = topRules.map(({ rule, count }) => `${rule} (${count})`).join(', ');
  return `${percent} % of the last ${rows} events of ${dataset} within ${seconds} s went to quarantine, mostly by ${rules || 'no rule'}`;
}

/** Adds the report to the windows of its datasets and returns those. Neighbours of one dataset are counted at once. */
function count(
  { batch }: BatchReport,
  nowMs: number,
  windowOf: (dataset: DatasetName) => RateWindow | null,
): ReadonlyMap<DatasetName, RateWindow> {
  const touched = new Map<DatasetName, RateWindow>();
  for (const { dataset, from, to } of batch.spans()) {
    const window = windowOf(dataset.name);
    if (window === null) continue;
    window.add(nowMs, to - from, 0);
    touched.set(dataset.name, window);
  }
  if (!batch.verdicts.includes(Verdict.Quarantine)) return touched;
  const counted = new Set<number>();
  for (const finding of batch.findings) {
    const { index, rule, verdict, waitMs = 0 } = finding;
    // What waits for its key or for the row that it names, or with its whole dataset for a person, says nothing of how good rows are.
    if (verdict !== Verdict.Quarantine || rule === HOLD_KEY_RULE || isOfSchema(finding) || waitMs > 0) continue;
    const dataset = batch.datasetOf(index);
    const window = dataset === undefined ? undefined : touched.get(dataset.name);
    if (window === undefined) continue;
    if (!counted.has(index)) window.add(nowMs, 0, 1);
    counted.add(index);
    window.blame(nowMs, rule);
  }
  return touched;
}

/** At most this many slots a window, whatever its length. */
const SLOTS = 60;

class RateWindow {
  readonly settings: BreakerSettings;
  rows = 0;
  quarantined = 0;
  warned = false;
  readonly #slotMs: number;
  #slots: { readonly at: number; rows: number; quarantined: number; readonly rules: Map<string, number> }[] = [];

  constructor(settings: BreakerSettings) {
    this.settings = settings;
    this.#slotMs = Math.max(1, settings.overMs / SLOTS);
  }

  add(nowMs: number, rows: number, quarantined: number): void {
    const slot = this.#slot(nowMs);
    slot.rows += rows;
    slot.quarantined += quarantined;
    this.rows += rows;
    this.quarantined += quarantined;
  }

  blame(nowMs: number, rule: string): void {
    const { rules } = this.#slot(nowMs);
    rules.set(rule, (rules.get(rule) ?? 0) + 1);
  }

  topRules(limit: number): { rule: string; count: number }[] {
    const sums = new Map<string, number>();
    for (const { rules } of this.#slots) for (const [rule, n] of rules) sums.set(rule, (sums.get(rule) ?? 0) + n);
    return [...sums]
      .map(([rule, n]) => ({ rule, count: n }))
      .sort((a, b) => b.count - a.count)
      .slice(0, limit);
  }

  #slot(nowMs: number): { rows: number; quarantined: number; readonly rules: Map<string, number> } {
    const at = Math.floor(nowMs / this.#slotMs);
    const newest = this.#slots.at(-1);
    if (newest !== undefined && newest.at >= at) return newest;
    const eldest = at - SLOTS;
    for (let first = this.#slots[0]; first !== undefined && first.at <= eldest; first = this.#slots[0]) {
      this.rows -= first.rows;
      this.quarantined -= first.quarantined;
      this.#slots.shift();
    }
    const fresh = { at, rows: 0, quarantined: 0, rules: new Map<string, number>() };
    this.#slots.push(fresh);
    return fresh;
  }
}
