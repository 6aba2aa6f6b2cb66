/** A check over the windows of a live stream: its expectation, its windows, and what follows when it fails. */
import type { Severity } from '../../core/batch.ts';
import { formatMillis } from '../../core/duration.ts';
import type { DatasetName } from '../../core/event.ts';
import { durationMicros } from '../../core/expression/timestamp.ts';
import type { ClockRule } from '../clock/check.ts';
import type { TimerRule } from '../timers/check.ts';
import type { Check, Contract, FileCheck } from '../contract.ts';
import { Kwargs } from '../gx/kwargs.ts';
import { CATALOGUE } from '../gx/registry.ts';
import type { Keys } from '../rule-text.ts';
import { Unusable } from '../states/cell.ts';
import type { WindowCheck } from '../windows/check.ts';

/** `hold`: later rows of the dataset are staged until somebody lets them go on. */
export type WindowOnFail = 'alert' | 'halt' | 'hold';

export interface WindowSpec {
  readonly everyMs: number;
  readonly sizeMs: number;
  readonly outOfOrderMs: number;
  readonly latenessMs: number;
  readonly idleMs: number;
  readonly of: 'rows' | 'changes';
}

export interface LiveCheck extends FileCheck {
  readonly check: WindowCheck;
  /** The check of rows whose share it judges. */
  readonly rows: Check | null;
  readonly spec: WindowSpec;
  readonly groupBy: readonly string[];
  readonly maxGroups: number;
  readonly minRows: number;
  readonly onEmpty: 'pass' | 'fail' | 'skip';
  readonly severity: Severity;
  readonly onFail: WindowOnFail;
  readonly message: string | null;
  /** Whether results may show values of rows. */
  readonly allowValues: boolean;
  /** The number of rows itself is judged: too few and none at all are what it speaks of. */
  readonly countsRows: boolean;
  /** Whose rows it is held against; null: nobody's but its own. */
  readonly beside: Beside | null;
}

/** A dataset, and the one beside it whose rows in the same windows count as well. */
export interface Beside {
  readonly own: DatasetName;
  readonly other: DatasetName;
}

/** When a row happened: at its commit, or what a column of it says. */
export type EventTime = { readonly kind: 'commit' } | { readonly kind: 'column'; readonly column: string };

/** A check that is about no rows that come. */
interface TimedCheck {
  readonly id: string;
  readonly type: string;
  readonly severity: Severity;
  readonly onFail: 'alert' | 'halt';
  readonly message: string | null;
  readonly keys: Keys;
}

/** A check of the clock in a rule file. */
export interface ClockCheck extends TimedCheck {
  readonly rule: ClockRule;
}

/** A check that databases are asked by. */
export interface TimerCheck extends TimedCheck {
  readonly timer: TimerRule;
  /** Where its parameters stand. */
  readonly parameterKeys: Keys;
  readonly allowValues: boolean;
}

/** Rows wait until their window is judged, and are published or diverted as a lot. */
export interface PublishRule {
  /** Of the windows, one after the other: those of `defaults.window`. */
  readonly everyMs: number;
  /** The greatest of all checks over such windows. */
  readonly outOfOrderMs: number;
  readonly divertsIndeterminate: boolean;
  readonly maxRows: number;
}

/** Everything a contract says of windows, and of the clock. */
export interface LiveRules {
  readonly eventTime: EventTime;
  readonly maxStateBytes: number;
  readonly checks: readonly LiveCheck[];
  readonly clock: readonly ClockCheck[];
  readonly timers: readonly TimerCheck[];
  /** null where rows are published as they come. */
  readonly publish: PublishRule | null;
}

/** What an expectation keeps of a window and says of it; null where it cannot judge windows. */
export function windowCheckOf(expectation: string, kwargs: Readonly<Record<string, unknown>>): WindowCheck | null {
  const found = CATALOGUE.get(expectation)?.window;
  if (found === undefined) return null;
  try {
    return found(new Kwargs(kwargs, 0));
  } catch (error) {
    if (error instanceof Unusable) return null; // Told by the reader, in its words.
    throw error;
  }
}

/** What keeps an expectation from being judged over a file, whose rows are one window; null where nothing does. */
export function unfitForFiles(
  expectation: string,
  kwargs: Readonly<Record<string, unknown>>,
): { readonly message: string; readonly fix: string } | null {
  const check = windowCheckOf(expectation, kwargs);
  if (check?.reads?.kind === 'score')
    return { message: 'is about what a model makes of rows, and none scores those of a file', fix: 'Remove the check here.' };
  if (check?.memory === undefined) return null;
  return {
    message: 'is held against the windows before, and the rows of a file are one window',
    fix: 'reference' in kwargs ? 'Give it a reference of a file.' : 'Remove the check here.',
  };
}

export function judgesWindows(expectation: string): boolean {
  return CATALOGUE.get(expectation)?.window !== undefined;
}

/** Whether the check has a say in what becomes of a lot: its windows are those of the lots. */
export const judgesLots = ({ everyMs }: Pick<PublishRule, 'everyMs'>, { spec }: Pick<LiveCheck, 'spec'>): boolean =>
  spec.everyMs === everyMs && spec.sizeMs === everyMs;

/** Whether anything of the dataset has to be remembered from batch to batch. */
export const isWatched = ({ live }: Contract): boolean => live.checks.length > 0 || live.clock.length > 0;

/** A duration of a rule file, whose form has been held against the schema. */
export function millis(text: unknown): number | null {
  const micros = typeof text === 'string' ? durationMicros(text) : null;
  return micros === null ? null : Number(micros / 1000n);
}

/** Checks of one id share their windows, their groups and the rows in them. */
export function setIdOf({ spec, groupBy, maxGroups, beside }: Pick<LiveCheck, 'spec' | 'groupBy' | 'maxGroups' | 'beside'>): string {
  const { everyMs, sizeMs, outOfOrderMs, latenessMs, idleMs, of } = spec;
  const times = [sizeMs, everyMs, outOfOrderMs, latenessMs, idleMs].map(formatMillis).join('/');
  const pair = beside === null ? '' : ` of ${beside.own} beside ${beside.other}`;
  return `${times}/${of}${pair}${groupBy.length === 0 ? '' : ` by ${groupBy.join(',')} (${maxGroups})`}`;
}

/** How many states a slot and group may have at once: of windows that are filled, and two of each that late rows still amend. */
export function openWindows({ everyMs, sizeMs, outOfOrderMs, latenessMs }: WindowSpec): number {
  return Math.ceil(sizeMs / everyMs) + 2 * Math.ceil((outOfOrderMs + latenessMs) / everyMs) + 1;
}
