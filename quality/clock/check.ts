/**
 * Checks of the clock: what they say may change though nothing comes. Each lies in a file of its own beside this one, and registry.ts names them all. A check looks at a
 * pulse: what is known of a dataset at a moment. One that counts rows says of each, as it comes, whether it is good.
 */
import type { Severity } from '../../core/batch.ts';
import type { GoodAndBad } from '../../core/slo.ts';
import type { SchemaNode } from '../schema-type.ts';

export interface Pulse {
  readonly nowMs: number;
  /** Since when it is watched, as far as this process knows. */
  readonly sinceMs: number;
  /** The greatest time of a row; null before there is one. */
  readonly newestMs: number | null;
  /** When something last came of any table that the source reads; null before that. */
  readonly seenMs: number | null;
  /** Of a check that counts: what came within its time. */
  readonly counts: GoodAndBad;
}

/** A row as it comes. */
export interface Arrival {
  /** How long after it happened. */
  readonly lagMs: number;
  /** How long before the newest row of its lane it happened; 0 where it is that. */
  readonly behindMs: number;
}

export interface Counting {
  /** How far back it looks. */
  readonly overMs: number;
  readonly isBad: (row: Arrival) => boolean;
}

export interface ClockSaid {
  /** null: it passes. */
  readonly severity: Severity | 'as said' | null;
  readonly observed: number;
  readonly reason: string | null;
  readonly startMs: number;
  readonly rows: number;
}

export interface ClockRule {
  readonly counting: Counting | null;
  /** Whether it asks when something last came. */
  readonly asksForLife: boolean;
  /** The greatest age of the newest row, where that is what it is about. */
  readonly maxAgeMs: number | null;
  readonly say: (pulse: Pulse) => ClockSaid;
}

/** What stands behind `passes` and `fails` on the reference page: a dataset that a test asks the rule about. */
export interface ClockExample {
  /** As an item of checks. */
  readonly rule: string;
  readonly passes: ExamplePulse;
  readonly fails: ExamplePulse;
}
export interface ExamplePulse {
  /** Ages of the newest row, and of the last sign of life. */
  readonly newest_row?: string;
  readonly last_seen?: string;
  /** Rows, by how late they came after they happened, or after the newest one. */
  readonly lags?: readonly string[];
}

/** Says what is wrong with its parameters; `at` leads into them. */
export type Refuse = (message: string, fix: string, ...at: readonly string[]) => null;

export interface ClockExpectation {
  readonly name: string;
  /** JSON Schema of its parameters, with a description for editors and for the reference page. */
  readonly schema: SchemaNode;
  readonly example: ClockExample;
  /** Of parameters that fit the schema. */
  readonly bind: (parameters: Readonly<Record<string, unknown>>, refuse: Refuse) => ClockRule | null;
}

/** What the rows of a check that counts are counted as. */
export const countedAs = ({ type, id }: { readonly type: string; readonly id: string }): string => `${type} ${id}`;

export const seconds = (ms: number): number => Math.round(ms / 1000);

/** How far back a check that counts may look: what it asks for is summed up again and again. */
const OVER = { minMs: 60_000, maxMs: 86_400_000 };

export function isOver(overMs: number, refuse: Refuse): boolean {
  if (overMs >= OVER.minMs && overMs <= OVER.maxMs) return true;
  refuse('rows are counted by the minute, for a day', 'Write over: 5m, or another time from 1m to 1d.', 'over');
  return false;
}
