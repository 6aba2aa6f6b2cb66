/**
 * Checks that hold a window against the same window of another dataset. The other dataset's lanes keep what is asked of it, under a name that the two share, and its windows are closed with those of
 * the dataset that asks: in one transaction, once both have come so far, and again when a late row of either makes it another verdict.
 */
import type { DatasetName } from '../../core/event.ts';
import type { LanePart } from '../../core/windows.ts';
import type { Contract } from '../contract.ts';
import { windowCheck, nothing } from '../windows/check.ts';
import { planSets, type SetPlan } from './slots.ts';
import type { LiveCheck } from './check.ts';

/** What lanes of the other dataset keep for it: how many rows there are. It says nothing itself. */
function counterOf(check: LiveCheck): LiveCheck {
  const count = windowCheck(nothing, (_, { rows }) => ({ success: true, observed: rows }));
  return { ...check, column: null, where: null, rows: null, groupBy: [], check: count, onFail: 'alert' };
}

const known = new WeakMap<LiveCheck, LiveCheck>();

/** The same one for the same check, by which lanes know that nothing has changed. */
function counterFor(check: LiveCheck): LiveCheck {
  const counter = known.get(check) ?? counterOf(check);
  known.set(check, counter);
  return counter;
}

const pairsIn = ({ live }: Contract): readonly LiveCheck[] => live.checks.filter(({ beside }) => beside !== null);

/** What is to be kept of datasets for others, by the dataset. */
export function countersOf(contracts: ReadonlyMap<DatasetName, Contract>): ReadonlyMap<DatasetName, readonly LiveCheck[]> {
  const counters = new Map<DatasetName, LiveCheck[]>();
  for (const contract of contracts.values())
    for (const check of pairsIn(contract)) {
      const other = check.beside?.other;
      if (other === undefined || !contracts.has(other)) continue;
      counters.set(other, [...(counters.get(other) ?? []), counterFor(check)]);
    }
  return counters;
}

/** The other side of a set of windows, and how what it kept is read; null where there is none. */
export interface OtherSide {
  readonly dataset: DatasetName;
  readonly plan: SetPlan;
}

/** `of`: the checks of one set, which all stand beside the same dataset, or beside none. */
export function otherSideOf({ checks }: SetPlan): OtherSide | null {
  const own = checks.map(({ check }) => check);
  const beside = own[0]?.beside ?? null;
  const [plan] = beside === null ? [] : planSets(own.map(counterFor));
  return beside === null || plan === undefined ? null : { dataset: beside.other, plan };
}

/** The parts of the one and of the other. */
export function partedBy(other: OtherSide | null, parts: readonly LanePart[]): readonly [own: string[], others: string[]] {
  const states = (of: (dataset: DatasetName) => boolean) => parts.filter(({ dataset }) => of(dataset)).map(({ state }) => state);
  return [states((dataset) => dataset !== other?.dataset), states((dataset) => dataset === other?.dataset)];
}
