/**
 * Closes windows: by what the lanes have committed, so that it comes to the same whoever does it and whenever, and by the clock where nothing comes. A window
 * that ended is judged once, with the rows that came in time; rows that came late make another verdict of it, its next revision, until it takes no more.
 */
import type { DatasetName, LaneId } from '../../core/event.ts';
import { SNAPSHOT_WINDOW } from '../../core/windows.ts';
import type {
  Closing,
  JudgedWindows,
  StoredWindow,
  WindowFinding,
  WindowMemory,
  WindowResult,
  WindowSetRef,
  WindowSetState,
  WindowStore,
} from '../../core/windows.ts';
import type { LotRule } from '../../core/lots.ts';
import type { Contract } from '../contract.ts';
import { otherSideOf, type OtherSide, partedBy } from './beside.ts';
import { budgetOf } from './budget.ts';
import { judgesLots, type WindowSpec } from './check.ts';
import { judgeWindow, merged, takenBack } from './judge.ts';
import { SetMemory } from './memory.ts';
import { planSets, type SetPlan } from './slots.ts';

/** How the stream stands, as far as the clock may close windows. */
export interface Live {
  readonly nowMs: number;
  /** The source is read and has nothing more: what does not come is not there. */
  readonly isCaughtUp: boolean;
  /** All rows that the dataset had before have been read. */
  readonly isCopied: (dataset: DatasetName) => boolean;
  /** All lanes that rows of it may come by, whoever reads them; null while that is not known. Left out, those that have brought some of it, or of the dataset beside it. */
  readonly lanesOf?: (dataset: DatasetName) => readonly LaneId[] | null;
}

/** Of a long silence the last windows are judged; nobody reads thousands of results that say that nothing came. */
const EMPTY_MAX = 100;

/** How often it is said which windows are asked for; those that nobody asks for are let go after two minutes. */
const ASK_MS = 30_000;
const idOf = ({ dataset, set }: WindowSetRef): string => JSON.stringify([dataset, set]);

/** Stands in for lanes of which it is not known yet which there are. */
const UNKNOWN_LANE = '' as LaneId;

interface OwnedSet {
  readonly contract: Contract;
  readonly plan: SetPlan;
  readonly ref: WindowSetRef;
  readonly other: OtherSide | null;
}

/** All datasets whose rows count in a set's windows. */
const datasetsOf = ({ contract, other }: Pick<OwnedSet, 'contract' | 'other'>): readonly DatasetName[] =>
  other === null ? [contract.dataset] : [contract.dataset, other.dataset];

export class WindowCloser {
  readonly #contracts: () => ReadonlyMap<DatasetName, Contract>;
  #planned: { readonly contracts: readonly Contract[]; readonly sets: readonly OwnedSet[] } | null = null;
  #said: { readonly sets: readonly OwnedSet[]; readonly atMs: number } | null = null;
  /** Since when a lane is waited for that has said nothing yet of a dataset. */
  readonly #silentSince = new Map<string, number>();

  constructor(contracts: () => ReadonlyMap<DatasetName, Contract>) {
    this.#contracts = contracts;
  }

  /** Says which windows the rules ask for: whoever closes them, others with other rules may not let them go. */
  async ask(store: Pick<WindowStore, 'ask'>, nowMs: number): Promise<void> {
    const sets = this.#sets();
    const said = this.#said;
    if (said !== null && said.sets === sets && nowMs - said.atMs < ASK_MS && nowMs >= said.atMs) return;
    const asked = sets.flatMap(namesOf);
    const ids = new Set(asked.map(idOf));
    const dropped = (said?.sets ?? []).flatMap(namesOf).filter((ref) => !ids.has(idOf(ref)));
    await store.ask(asked, dropped);
    this.#said = { sets, atMs: nowMs };
  }

  /** Closes all that is due, and answers with what is new. */
  async close(store: WindowStore, live: Live): Promise<readonly WindowResult[]> {
    await this.ask(store, live.nowMs);
    const sets = this.#sets();
    if (sets.length === 0) return [];
    const states = await store.peek(sets.map(({ ref }) => ref));
    const results: WindowResult[] = [];
    const decide = (set: OwnedSet, state: WindowSetState) => closingOf(set, this.#withSilent(state, set, live), live);
    for (const [i, set] of sets.entries()) {
      const state = states[i];
      // Looked at without a lock, so that nobody is kept from writing where nothing is due.
      if (state === undefined || decide(set, state) === null) continue;
      const closed = await store.close(
        set.ref,
        (now) => decide(set, now),
        (windows, before, closing, memories) => judgedOf(set, windows, before, closing, memories),
      );
      results.push(...closed);
    }
    return results;
  }

  /** A lane that nothing was heard of is waited for as one that went silent is: its rows may be as old as those of the others. */
  #withSilent(state: WindowSetState, set: OwnedSet, live: Live): WindowSetState {
    const silent = datasetsOf(set).flatMap((dataset) => this.#silentOf(state, dataset, live));
    return silent.length === 0 ? state : { ...state, lanes: [...state.lanes, ...silent] };
  }

  #silentOf({ lanes }: WindowSetState, dataset: DatasetName, { lanesOf, nowMs }: Live): WindowSetState['lanes'] {
    const known = new Set(lanes.filter((mark) => mark.dataset === dataset).map(({ lane }) => lane));
    const expected = lanesOf === undefined ? lanes.map(({ lane }) => lane) : lanesOf(dataset);
    const silent = new Set(expected ?? [UNKNOWN_LANE]).difference(known);
    return [...silent].map((lane) => {
      const id = `${lane} ${dataset}`;
      const seenMs = expected === null ? nowMs : (this.#silentSince.get(id) ?? nowMs);
      if (expected !== null) this.#silentSince.set(id, seenMs);
      return { dataset, lane, timeMs: -1, rowMs: -1, seenMs };
    });
  }

  #sets(): readonly OwnedSet[] {
    const contracts = [...this.#contracts().values()].filter(({ live }) => live.checks.length > 0);
    const known = this.#planned;
    if (known === null || known.contracts.length !== contracts.length || known.contracts.some((contract, i) => contract !== contracts[i])) {
      const sets = contracts.flatMap((contract) => planSets(contract.live.checks).map((plan) => ownedSet(contract, plan)));
      this.#planned = { contracts, sets };
      return sets;
    }
    return known.sets;
  }
}

function ownedSet(contract: Contract, plan: SetPlan): OwnedSet {
  const other = otherSideOf(plan);
  const ref = { dataset: contract.dataset, set: plan.id, sizeMs: plan.spec.sizeMs };
  return { contract, plan, other, ref: other === null ? ref : { ...ref, beside: other.dataset } };
}

/** What is kept under its name, of each dataset. */
const namesOf = ({ ref, other }: OwnedSet): readonly WindowSetRef[] =>
  other === null ? [ref] : [ref, { dataset: other.dataset, set: ref.set, sizeMs: ref.sizeMs }];

/** Whose windows lots wait for. */
export function lotRules(contracts: Iterable<Contract>): readonly LotRule[] {
  return [...contracts].flatMap(({ dataset, live: { publish, checks } }) => {
    if (publish === null) return [];
    const sets = planSets(checks).filter((plan) => judgesLots(publish, plan));
    return [{ dataset, sets: sets.map(({ id }) => id), divertsIndeterminate: publish.divertsIndeterminate }];
  });
}

/** How far the set is to be closed; null where it is closed so far. */
function closingOf(set: OwnedSet, state: WindowSetState, live: Live): Closing | null {
  const { spec } = set.plan;
  const snapshot = state.hasSnapshot && datasetsOf(set).every(live.isCopied);
  const reachedMs = watermark(spec, state, live);
  const endMs = reachedMs === null ? null : lastEnd(spec, reachedMs);
  const beganMs = beginning(spec, state);
  // Before the first window has ended nothing is closed: an earlier one may still get rows, of another lane or out of order.
  const isFurther = endMs !== null && endMs > (beganMs ?? -1);
  const closedMs = isFurther ? endMs : (state.closedMs ?? -1);
  const isAmended = state.closedMs !== null && state.firstMs !== null;
  if (!isFurther && !isAmended && !snapshot) return null;
  return { closedMs, finalMs: closedMs - spec.latenessMs, snapshot };
}

/** Windows that ended by then are judged or nobody's business: there was no row before the first one. */
function beginning({ everyMs, sizeMs }: WindowSpec, { closedMs, firstMs }: WindowSetState): number | null {
  return closedMs ?? (firstMs === null ? null : firstMs + sizeMs - everyMs);
}

/** Before this no row comes any more in time: the least that the lanes have come to, but for those that are idle. */
function watermark({ outOfOrderMs, idleMs }: WindowSpec, { lanes }: WindowSetState, { nowMs, isCaughtUp }: Live): number | null {
  const active = lanes.filter(({ seenMs }) => nowMs - seenMs <= idleMs);
  if (active.some(({ timeMs }) => timeMs < 0)) return null;
  const byRows = (active.length > 0 ? active : lanes).map(({ timeMs }) => timeMs).filter((timeMs) => timeMs >= 0);
  const reached = byRows.length === 0 ? null : Math.min(...byRows) - outOfOrderMs;
  if (active.length > 0 || !isCaughtUp) return reached;
  return Math.max(reached ?? -1, nowMs - idleMs - outOfOrderMs);
}

/** The end of the last window that ends at `timeMs` or before. */
function lastEnd({ everyMs, sizeMs }: WindowSpec, timeMs: number): number {
  return Math.floor((timeMs - sizeMs) / everyMs) * everyMs + sizeMs;
}

/** Window by window, in the order of their times: what a rule remembers of one is there for the next. */
function judgedOf(
  { contract, plan, other }: OwnedSet,
  windows: readonly StoredWindow[],
  before: WindowSetState,
  closing: Closing,
  memories: readonly WindowMemory[],
): JudgedWindows {
  const { valueBytes } = budgetOf(contract.live);
  const findings: WindowFinding[] = [];
  const { sizeMs, latenessMs } = plan.spec;
  const memory = new SetMemory(
    plan.checks.map(({ check }) => check),
    memories,
  );
  const say = (startMs: number, group: string, parts: StoredWindow['parts'], checks = plan.checks) => {
    const [own, others] = partedBy(other, parts);
    const beside = other === null ? null : merged(other.plan, others, valueBytes);
    findings.push(...judgeWindow(contract, plan, { startMs, group, memory, beside }, merged(plan, own, valueBytes), checks));
  };
  const judgedMs = beginning(plan.spec, before) ?? -1;
  for (const { startMs, hasEnded, own } of byTime(windows, emptyWindows(plan.spec, before, closing))) {
    if (hasEnded) {
      // Windows and groups that have late rows alone are empty at first, whether those have come by now or not.
      const present = new Set(own.filter(({ parts }) => parts.some(({ late }) => !late)).map(({ group }) => group));
      if (present.size === 0) say(startMs, '', []);
      for (const [missing, group] of memory.missed(startMs, present))
        say(
          startMs,
          group,
          [],
          plan.checks.filter(({ check }) => check === missing),
        );
    }
    for (const { group, parts } of own) {
      const endMs = startMs + sizeMs;
      // The clock has closed it for good, and its lane came back: nobody waits for such rows any more.
      if (startMs !== SNAPSHOT_WINDOW && endMs <= (before.closedMs ?? -1) - latenessMs) continue;
      // Before any was judged, windows that begin before the first have late rows alone: as those that come when it was.
      const judged = startMs === SNAPSHOT_WINDOW || endMs <= judgedMs;
      const inTime = parts.filter(({ late }) => !late);
      // Judged without the rows that came late first: so the first verdict is the same however the rows fell into batches.
      if (!judged && inTime.length > 0) say(startMs, group, inTime);
      if (judged || inTime.length < parts.length) say(startMs, group, parts);
    }
    const isLate = startMs !== SNAPSHOT_WINDOW && own.some(({ parts }) => parts.some(({ late }) => late));
    if (isLate && plan.groupBy.length > 0) findings.push(...takenBack(contract, plan, startMs));
  }
  return { findings, memories: memory.encode(closing.finalMs - sizeMs + 1) };
}

/** What is said of windows whose rows are all there, as if they were closed one after the other to `toMs`. */
export function judgedWhole(contract: Contract, plan: SetPlan, windows: readonly StoredWindow[], toMs: number): readonly WindowFinding[] {
  const { spec } = plan;
  const closedMs = lastEnd(spec, toMs);
  const before = { closedMs: null, lanes: [], firstMs: Math.min(...windows.map(({ startMs }) => startMs)), hasSnapshot: false };
  const ended = windows.filter(({ startMs }) => startMs + spec.sizeMs <= closedMs);
  return judgedOf(ownedSet(contract, plan), ended, before, { closedMs, finalMs: closedMs - spec.latenessMs, snapshot: false }, []).findings;
}

interface WindowsOf {
  readonly startMs: number;
  /** Whether it ended since the set was last closed, and is to be judged even where it has no rows. */
  readonly hasEnded: boolean;
  /** Those that have rows, of the groups that there are. */
  readonly own: readonly StoredWindow[];
}

function byTime(windows: readonly StoredWindow[], ended: readonly number[]): readonly WindowsOf[] {
  const own = new Map<number, StoredWindow[]>(ended.map((startMs) => [startMs, []]));
  for (const window of windows) own.set(window.startMs, [...(own.get(window.startMs) ?? []), window]);
  const isEnded = new Set(ended);
  return [...own].sort(([a], [b]) => a - b).map(([startMs, windowsOf]) => ({ startMs, hasEnded: isEnded.has(startMs), own: windowsOf }));
}

/** The windows that ended since the set was last closed. */
function emptyWindows(spec: WindowSpec, before: WindowSetState, closing: Closing): number[] {
  const starts: number[] = [];
  const beganMs = beginning(spec, before);
  if (beganMs === null) return starts;
  const { everyMs, sizeMs } = spec;
  for (let endMs = closing.closedMs; endMs > beganMs && starts.length < EMPTY_MAX; endMs -= everyMs) starts.push(endMs - sizeMs);
  return starts.reverse().filter((startMs) => startMs > SNAPSHOT_WINDOW);
}
