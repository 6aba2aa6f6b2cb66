/**
 * Service levels: what a dataset is promised to be, how much of that promise is used up, and what is kept of it at the target. Rows are counted by lanes
 * beside their checkpoints, in the same transaction, so that a row is counted exactly once whatever crashes.
 */
import { type Batch, type Finding, Verdict } from './batch.ts';
import type { DatasetName } from './event.ts';

/** What is promised of: rows that the rules let pass, windows that pass, or minutes at whose end the newest row was not too old. */
export const SLO_UNITS = ['rows', 'windows', 'minutes'] as const;
export type SloUnit = (typeof SLO_UNITS)[number];

/** Two spans in which the budget is used up so many times too fast: the long one says that it matters, the short one that it goes on. */
export interface BurnRule {
  readonly longMs: number;
  readonly shortMs: number;
  readonly rate: number;
  /** Whether somebody has to get up for it. */
  readonly page: boolean;
}

export interface Objective {
  readonly id: string;
  /** In percent, below 100. */
  readonly percent: number;
  readonly of: SloUnit;
  /** The rules over windows that it is about, or the one of freshness; none for rows. */
  readonly rules: readonly string[];
  /** What is counted, as the target names it. */
  readonly counted: string;
  /** Of minutes: the greatest age of the newest row; null elsewhere. */
  readonly maxAgeMs: number | null;
  readonly overMs: number;
  readonly burns: readonly BurnRule[];
  /** With fewer in the long span nobody is told. */
  readonly minCount: number;
}

/** What rows are counted as. */
export const ROWS_COUNTED = 'rows';
export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;

/** The share that may be bad, without the dust of 100 - 99.9. */
export const budgetShare = (percent: number): number => Math.round((100 - percent) * 1e9) / 1e11;

/** Rows of one minute. */
export interface MinuteCount {
  readonly dataset: DatasetName;
  /** ROWS_COUNTED, or what a check of the clock counts. */
  readonly counted: string;
  readonly minuteMs: number;
  readonly good: number;
  readonly bad: number;
}

/**
 * A rule that asks the target fails a row after the rows were counted: it is bad now. Called before the finding is marked. One that waits for another row is
 * not at fault.
 */
export function countFailed(batch: Batch, { index, stage, verdict, waitMs = 0 }: Finding): void {
  const { windows } = batch;
  const event = batch.event(index);
  const known = batch.verdicts[index] ?? Verdict.Pass;
  if (windows === null || event === undefined || stage !== 'quality' || verdict < Verdict.Drop || waitMs > 0 || known >= Verdict.Drop)
    return;
  const minuteMs = Math.floor(event.committedAtMs / MINUTE_MS) * MINUTE_MS;
  const at = windows.minutes.findIndex(
    (one) => one.counted === ROWS_COUNTED && one.minuteMs === minuteMs && one.dataset === event.dataset.name,
  );
  const count = windows.minutes[at];
  if (count === undefined || event.op === 'read' || event.op === 'truncate') return;
  batch.windows = { ...windows, minutes: windows.minutes.with(at, { ...count, good: count.good - 1, bad: count.bad + 1 }) };
}

export interface GoodAndBad {
  readonly good: number;
  readonly bad: number;
}

/** burn: the budget is used up too fast. budget: it is used up. */
export type SloCause = 'burn' | 'budget';

export interface SloTrouble {
  readonly dataset: DatasetName;
  readonly slo: string;
  readonly cause: SloCause;
  readonly severity: 'warning' | 'critical';
  readonly message: string;
}

export interface SloIncident extends SloTrouble {
  readonly id: string;
  readonly openedMs: number;
  /** null while it is open. */
  readonly resolvedMs: number | null;
  /** What people were told last: its severity, that it is resolved, or nothing. */
  readonly told: 'warning' | 'critical' | 'resolved' | null;
}

/** When the clock was last asked about an objective of minutes, and the newest row by then. */
export interface SloLook {
  readonly minuteMs: number;
  readonly newestMs: number | null;
}

/** A minute by itself, or with many rows. */
export type JudgedMinute = Pick<MinuteCount, 'minuteMs' | 'good' | 'bad'>;

export interface SloStore {
  /** What was counted since each of these times. */
  counts(dataset: DatasetName, counted: string, sinceMs: readonly number[]): Promise<readonly GoodAndBad[]>;
  /** Windows that ended since each of these times, by what was said of them last; those of which nothing could be said are neither. */
  windowCounts(dataset: DatasetName, rules: readonly string[], sinceMs: readonly number[]): Promise<readonly GoodAndBad[]>;
  lastLook(dataset: DatasetName, counted: string): Promise<SloLook | null>;
  /** Minutes that nobody has judged yet, and the look that they were judged by. Another's word stands. */
  keepMinutes(dataset: DatasetName, counted: string, minutes: readonly JudgedMinute[], look: SloLook): Promise<void>;
  /** Rules changed: of objectives of minutes that are none of these, nobody knows any more what was in between when they come back. */
  forgetLooks(kept: readonly { readonly dataset: DatasetName; readonly counted: string }[]): Promise<void>;
  /** Counts of minutes long ago become counts of hours, and what no objective looks at any more is let go. */
  compact(nowMs: number): Promise<void>;
  /** Of incidents that are open, or that people are still to be told of. */
  pending(): Promise<readonly SloIncident[]>;
  incidents(limit: number): Promise<readonly SloIncident[]>;
  open(trouble: SloTrouble, nowMs: number): Promise<void>;
  /** It is another trouble by now. */
  change(id: string, trouble: Pick<SloTrouble, 'severity' | 'message'>): Promise<void>;
  resolve(id: string, nowMs: number): Promise<void>;
  told(id: string, what: NonNullable<SloIncident['told']>): Promise<void>;
}
