/** What the checks of a set say of one window: of what all lanes kept of it, put together. */
import { cutText } from '../../core/text.ts';
import type { WindowFinding, WindowVerdict } from '../../core/windows.ts';
import { SNAPSHOT_WINDOW } from '../../core/windows.ts';
import type { Contract } from '../contract.ts';
import { compareCells, Unusable } from '../states/cell.ts';
import type { Sketch } from '../states/sketch.ts';
import type { Encoded, State } from '../states/state.ts';
import type { Extremes } from '../states/extremes.ts';
import type { Verdict, WindowCheck } from '../windows/check.ts';
import type { Kept } from '../windows/memory.ts';
import type { LiveCheck } from './check.ts';
import { Fold, type SlotState } from './fold.ts';
import type { SetMemory } from './memory.ts';
import type { SetPlan } from './slots.ts';

/** What these observe is a value of some row. */
const SHOWS_VALUES: ReadonlySet<string> = new Set([
  'expect_column_min_to_be_between',
  'expect_column_max_to_be_between',
  'expect_column_median_to_be_between',
  'expect_column_quantile_values_to_be_between',
  'expect_column_distinct_values_to_be_in_set',
  'expect_column_distinct_values_to_contain_set',
  'expect_column_distinct_values_to_equal_set',
  'expect_column_most_common_value_to_be_in_set',
]);
/** What is known of these by a sketch are numbers of rows. */
const SHOWS_COUNTS: ReadonlySet<string> = new Set([
  'expect_column_distinct_values_to_be_in_set',
  'expect_column_distinct_values_to_contain_set',
  'expect_column_distinct_values_to_equal_set',
  'expect_column_most_common_value_to_be_in_set',
]);
const OBSERVED_MAX = 2000;

/** The parts of one window and group as one fold. */
export function merged(plan: SetPlan, states: readonly string[], bytesMax: number): Fold {
  const whole = new Fold(plan.slots);
  for (const state of states) {
    whole.merge(Fold.decode(plan.slots, state, false));
    for (const slot of whole.slots) {
      if (slot.bytes > bytesMax) slot.condense();
      if (slot.bytes > bytesMax) slot.giveUp();
    }
  }
  return whole;
}

export interface WindowAt {
  readonly startMs: number;
  readonly group: string;
  readonly memory: SetMemory;
  /** The same window of the dataset that it is held against. */
  readonly beside: Fold | null;
}

/** One finding a check, none where it has nothing to say of a window like this. */
export function judgeWindow(contract: Contract, plan: SetPlan, at: WindowAt, fold: Fold, checks = plan.checks): WindowFinding[] {
  const { startMs, group } = at;
  return checks.flatMap(({ check, slot }) => {
    const state = fold.slots[slot];
    const said = state === undefined ? null : (check.check.memory === undefined ? say : sayBeside)(check, fold, state, at);
    if (said === null || state === undefined) return [];
    return [
      {
        ...findingAbout(contract, plan, check, startMs),
        group,
        verdict: said.verdict,
        observed: observedText(check, said.observed),
        reason: (said.verdict === 'fail' ? check.message : null) ?? said.reason,
        rows: state.rows,
        missing: state.missing,
      },
    ];
  });
}

/** Of a window that had no rows, and got some late: they are those of their groups, and that it is empty, which was said of no group, is not so any more. */
export function takenBack(contract: Contract, plan: SetPlan, startMs: number): WindowFinding[] {
  return plan.checks.map(({ check }) => ({
    ...findingAbout(contract, plan, check, startMs),
    group: '',
    verdict: 'pass',
    observed: null,
    reason: 'rows came late: each group is judged by itself',
    rows: 0,
    missing: 0,
    takesBack: true,
  }));
}

type About = 'dataset' | 'rule' | 'type' | 'column' | 'set' | 'startMs' | 'endMs' | 'severity' | 'onFail' | 'version' | 'digest';

/** Which check it is of, and of which window. */
function findingAbout(contract: Contract, plan: SetPlan, check: LiveCheck, startMs: number): Pick<WindowFinding, About> {
  return {
    dataset: contract.dataset,
    rule: check.id,
    type: check.type,
    column: check.column,
    set: plan.id,
    startMs,
    endMs: startMs === SNAPSHOT_WINDOW ? null : startMs + plan.spec.sizeMs,
    severity: check.severity,
    onFail: contract.mode === 'shadow' ? 'alert' : check.onFail,
    version: contract.version,
    digest: contract.digest,
  };
}

interface Said {
  readonly verdict: WindowVerdict;
  readonly observed: unknown;
  readonly reason: string | null;
}

const indeterminate = (reason: string): Said => ({ verdict: 'indeterminate', observed: null, reason });

/** Where the window itself, whatever is in it, says what is to be said; undefined where its values do. */
function sayAtOnce(check: LiveCheck, fold: Fold, slot: SlotState): Said | null | undefined {
  const doubt = doubtOf(fold, slot);
  if (doubt !== null) return indeterminate(doubt);
  if (!check.countsRows) {
    if (slot.rows === 0)
      return check.onEmpty === 'skip' ? null : { verdict: check.onEmpty, observed: null, reason: 'the window has no rows' };
    if (slot.rows < check.minRows) return indeterminate(`${slot.rows} rows are fewer than min_rows (${check.minRows})`);
  }
  const lost = lostExtreme(check, slot);
  return lost === null ? undefined : indeterminate(lost);
}

function say(check: LiveCheck, fold: Fold, slot: SlotState, { startMs, beside }: WindowAt): Said | null {
  // How many rows a table has says nothing of how many come in five minutes.
  if (check.countsRows && startMs === SNAPSHOT_WINDOW) return null;
  const atOnce = sayAtOnce(check, fold, slot);
  if (atOnce !== undefined) return atOnce;
  const doubt = doubtBeside(check, beside);
  if (doubt !== null) return doubt;
  try {
    const said = verdictOf(check.check, slot, beside?.slots[0]?.rows);
    if (said === null) return indeterminate(TOO_MANY);
    const { success, observed, known, why } = said;
    const verdict = success === null ? 'indeterminate' : success ? 'pass' : 'fail';
    return { verdict, observed, reason: why ?? (slot.sketches === null ? null : sketchReason(check, success, known)) };
  } catch (error) {
    if (!(error instanceof Unusable)) throw error;
    return indeterminate(UNUSABLE);
  }
}

/** What is not known of the other dataset's window is not known of the check. */
function doubtBeside({ beside }: LiveCheck, fold: Fold | null): Said | null {
  const [slot] = fold?.slots ?? [];
  const doubt = fold === null || slot === undefined || beside === null ? null : doubtOf(fold, slot);
  return doubt === null ? null : indeterminate(`of ${beside?.other ?? ''}: ${doubt}`);
}

/** Held against the windows before it, and remembered for those after it. */
function sayBeside(check: LiveCheck, fold: Fold, slot: SlotState, { startMs, group, memory }: WindowAt): Said | null {
  // The rows of a snapshot are no window among others, and where there are groups no rows are of none.
  if (startMs === SNAPSHOT_WINDOW || (check.groupBy.length > 0 && group === '')) return null;
  const { memory: own } = check.check;
  if (own === undefined) return null;
  const note = (trace: Encoded | null, learns: boolean) => memory.note(check, group, startMs, trace, learns);
  const atOnce = sayAtOnce(check, fold, slot);
  if (atOnce !== undefined) {
    note(null, false);
    return atOnce;
  }
  const trace = traceOf(check.check, slot);
  if (typeof trace === 'string') {
    note(null, false);
    return indeterminate(trace);
  }
  const past = memory.before(check, group, startMs);
  if (past.length < own.asked.minWindows) {
    note(trace.of, true);
    return indeterminate(`${past.length} windows that it could be held against are fewer than min_windows (${own.asked.minWindows})`);
  }
  const { success, observed, why = null } = own.judge(trace.of, past, trace.kept);
  note(trace.of, success !== false || own.asked.learns === 'all');
  return {
    verdict: success === null ? 'indeterminate' : success ? 'pass' : 'fail',
    observed,
    reason: why === null || !maySay(check) ? null : slot.sketches === null ? why : `estimated, ${why}`,
  };
}

const maySay = ({ check: { showsValues = false, saysCounts = false }, allowValues }: LiveCheck): boolean =>
  !showsValues || saysCounts || allowValues;

/** What it leaves to the windows after it; a text says why there is nothing. */
function traceOf(
  { memory, sketch }: WindowCheck,
  { state, sketches, rows, missing }: SlotState,
): { readonly of: Encoded; readonly kept: Kept<State, Sketch> } | string {
  const counts = { rows, missing };
  const kept = sketches === null || sketch === null ? undefined : sketches.get(sketch.kind.id);
  try {
    const trace = sketches === null ? memory?.trace(state, counts) : kept === undefined ? undefined : memory?.traceOfSketch?.(kept, counts);
    if (trace === undefined) return TOO_MANY;
    if (trace === null) return 'it has no values';
    return { of: trace, kept: kept === undefined ? { state, sketch: null } : { state: null, sketch: kept } };
  } catch (error) {
    if (!(error instanceof Unusable)) throw error;
    return UNUSABLE;
  }
}

/** null: it keeps more values than there is room for, and has no sketch of them. */
function verdictOf(check: WindowCheck, { state, sketches, rows, missing }: SlotState, beside: number | undefined): Verdict | null {
  const { sketch } = check;
  if (sketches === null) return check.judge(state, { rows, missing, ...(beside !== undefined && { beside }) });
  const kept = sketch === null ? undefined : sketches.get(sketch.kind.id);
  return kept === undefined || sketch === null ? null : sketch.judge(kept, { rows, missing });
}

function sketchReason({ expectation, allowValues }: LiveCheck, success: boolean | null, known: string | undefined): string {
  const shown =
    known === undefined || (SHOWS_VALUES.has(expectation) && !allowValues && !SHOWS_COUNTS.has(expectation)) ? '' : `: ${known}`;
  return success === null
    ? `more values than are kept exactly, and a bound lies within the error of what is known${shown}`
    : `estimated${shown}`;
}

const UNUSABLE = 'its values cannot be judged by this check';
const TOO_MANY = 'it has more values than max_state has room for';

function doubtOf({ unknown }: Fold, { rows, missing, absent, full, unseen }: SlotState): string | null {
  if (absent > 0) return 'the rules were changed while the window was open';
  if (unknown > 0) return `of ${unknown} changed rows it is not known whether they were in the window before`;
  if (full) return TOO_MANY;
  if (unseen > 0) return `the values of ${unseen} rows are not known`;
  return rows < 0 || missing < 0 || missing > rows ? 'rows were taken back that had come before the windows were watched' : null;
}

/** The least or greatest value was taken back, and the next one is not known. */
function lostExtreme({ expectation, check }: LiveCheck, { state, taken }: SlotState): string | null {
  if (taken === null) return null;
  const [all, gone] = [state as unknown as Extremes, taken as unknown as Extremes];
  if (all.least === null || all.greatest === null || gone.least === null || gone.greatest === null) return null;
  const isMin = expectation === 'expect_column_min_to_be_between' || check.memory?.id === 'min';
  const reached = isMin ? compareCells(gone.least, all.least) <= 0 : compareCells(gone.greatest, all.greatest) >= 0;
  return reached ? `the row with the ${isMin ? 'least' : 'greatest'} value was changed or deleted, and the next one is not known` : null;
}

function observedText({ expectation, allowValues, check }: LiveCheck, observed: unknown): string | null {
  const showsValues = SHOWS_VALUES.has(expectation) || check.showsValues === true;
  if (observed === null || observed === undefined || (showsValues && !allowValues)) return null;
  const text = JSON.stringify(observed, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  return text.length > OBSERVED_MAX ? JSON.stringify(cutText(text, OBSERVED_MAX)) : text;
}
