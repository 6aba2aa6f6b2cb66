/**
 * What the windows of a dataset may keep in memory. Before the first row comes a file is refused whose states would need more although each held few values; while
 * rows come, the states that hold most go over to sketches before it is exceeded, and are given up, their windows indeterminate, where there are none. So the cap holds, whatever the rows are.
 */
import type { Keys } from '../rule-text.ts';
import { type LiveCheck, type LiveRules, openWindows, setIdOf } from './check.ts';
import { slotIdOf } from './slots.ts';

/** Counts, sums, extremes or bins, with what JavaScript adds. */
const FIXED_BYTES = 600;
export const VALUE_BYTES = { fixed: 0, 'all values': 20, 'distinct values': 120, 'timed values': 240 } as const;
/** So much of them is for a text; what is longer comes on top, once it is there. */
export const TEXT_BYTES = 64;
const KEY_BYTES = 48;
/** A state of fewer values is no use. */
const VALUES_MIN = 50;

export interface Budget {
  /** For the values that states hold. */
  readonly valueBytes: number;
  /** How many keys of rows in open windows are known at once. */
  readonly keys: number;
  readonly problem: { readonly keys: Keys; readonly message: string; readonly fix: string } | null;
}

interface Need {
  readonly check: LiveCheck;
  /** How many states of it there may be at once. */
  readonly states: number;
  readonly valueBytes: number;
}

export function budgetOf({ checks, eventTime, maxStateBytes }: LiveRules): Budget {
  const needs = needsOf(checks);
  const keysBytes = eventTime.kind === 'commit' && checks.some(({ spec }) => spec.of === 'rows') ? maxStateBytes / 2 : 0;
  const fixed = needs.reduce((sum, { states }) => sum + states * FIXED_BYTES, 0);
  const least = needs.reduce((sum, { states, valueBytes }) => sum + states * valueBytes * VALUES_MIN, 0);
  const valueBytes = maxStateBytes - keysBytes - fixed;
  const wanted = (fixed + least) * (keysBytes > 0 ? 2 : 1);
  return {
    valueBytes,
    keys: Math.floor(keysBytes / KEY_BYTES),
    problem: valueBytes >= least ? null : tooMuch(needs, maxStateBytes, wanted),
  };
}

function needsOf(checks: readonly LiveCheck[]): readonly Need[] {
  const needs = new Map<string, Need>();
  for (const check of checks) {
    const { size } = check.check.kind;
    const groups = check.groupBy.length === 0 ? 1 : check.maxGroups + 1;
    needs.set(`${setIdOf(check)} ${slotIdOf(check)}`, { check, states: openWindows(check.spec) * groups, valueBytes: VALUE_BYTES[size] });
  }
  return [...needs.values()];
}

function tooMuch(needs: readonly Need[], allowed: number, wanted: number): Budget['problem'] {
  const cost = ({ states, valueBytes }: Need) => states * (FIXED_BYTES + valueBytes * VALUES_MIN);
  const [worst] = needs.toSorted((a, b) => cost(b) - cost(a));
  if (worst === undefined) return null;
  const { check, states } = worst;
  const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)}MB`;
  return {
    keys: check.keys,
    message: `the windows of this file may need ${megabytes(wanted)}, and max_state is ${megabytes(allowed)}: ${check.id} alone may have ${states} states (open windows times groups)`,
    fix: `Write defaults: { window: { max_state: ${megabytes(wanted)} } }, or lower max_groups or lateness, or make every longer.`,
  };
}
