/** What checks over windows cost: a row in its window, and the update of each kind of state. */
import type { ChangeEvent } from '../core/event.ts';
import { type Contract, parseContract } from '../quality/contract.ts';
import { bindSets } from '../quality/live/binding.ts';
import { Fold } from '../quality/live/fold.ts';
import { DatasetWindows } from '../quality/live/lane.ts';
import { planSets } from '../quality/live/slots.ts';
import { dataset } from './encoded-orders.ts';

/** By what it keeps: one check of each. */
const CHECKS: Readonly<Record<string, string>> = {
  'nulls, counted': 'columns: { note: [{ null_rate: { max: 0.1 } }] }',
  'sum of integers': 'columns: { items: [{ mean: { between: [1, 100] } }] }',
  'sum of numerics': 'columns: { total: [{ mean: { between: [0, 10000] } }] }',
  'extremes of integers': 'columns: { items: [{ max: { between: [1, 100] } }] }',
  'extremes of numerics': 'columns: { total: [{ max: { between: [0, 1000000] } }] }',
  'ranks of integers': 'columns: { items: [{ median: { between: [1, 100] } }] }',
  'ranks of numerics': 'columns: { total: [{ median: { between: [0, 10000] } }] }',
  'values, few': 'columns: { status: [{ distinct_count: { max: 5 } }] }',
  'values, all distinct': 'columns: { id: [{ distinct_count: { min: 1 } }] }',
  'texts, all distinct': 'columns: { email: [{ distinct_count: { min: 1 } }] }',
  'share of rows that pass': 'columns: { email: [{ format: email, mostly: 0.9, on_fail: tag }] }',
};
const HEAD = 'apiVersion: quality/v1\nkind: DatasetRules\ndataset: shop.public.orders\n';
const RUNS = 9;
/** Windows are kept by services that run for long: V8 compiles what they do for the last time after some hundred thousand rows. */
const WARM_RUNS = 40;
const BATCH = 2000;

export interface WindowCosts {
  /** Of one check over rows: finding the window, keeping the row's key, and writing what batches add. */
  readonly nsPerRow: number;
  readonly nsPerUpdate: Readonly<Record<string, number>>;
}

export function benchWindows(events: readonly ChangeEvent[]): WindowCosts {
  const perEvent = (millis: (contract: Contract, events: readonly ChangeEvent[]) => number, text: string) => {
    const contract = contractOf(HEAD + text);
    const times = Array.from({ length: WARM_RUNS + RUNS }, () => (millis(contract, events) * 1e6) / events.length);
    return Math.round(times.slice(WARM_RUNS).sort((a, b) => a - b)[Math.floor(RUNS / 2)] ?? Number.NaN);
  };
  return {
    nsPerRow: perEvent(windowMillis, 'checks: [{ row_count: { min: 1 } }]\n'),
    nsPerUpdate: Object.fromEntries(Object.entries(CHECKS).map(([name, text]) => [name, perEvent(updateMillis, text)])),
  };
}

/** Rows in their windows, and what a batch adds written as the target keeps it. */
function windowMillis(contract: Contract, events: readonly ChangeEvent[]): number {
  const windows = new DatasetWindows(contract);
  const started = performance.now();
  for (const [index, event] of events.entries()) {
    windows.event(event, 0);
    if (index % BATCH === BATCH - 1) windows.flush(0, [], []);
  }
  return performance.now() - started;
}

/** The cell read and added to the state of one window. */
function updateMillis(contract: Contract, events: readonly ChangeEvent[]): number {
  const plans = planSets(contract.live.checks);
  const readers = bindSets(contract, plans, dataset).sets[0]?.readers ?? [];
  const fold = new Fold(plans[0]?.slots ?? []);
  const started = performance.now();
  for (const event of events) if (event.after !== null) fold.add(readers, event, event.after, null);
  return performance.now() - started;
}

function contractOf(text: string): Contract {
  const parsed = parseContract(text, 'bench.yaml');
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems));
  return parsed.contract;
}

export function windowsText({ nsPerRow, nsPerUpdate }: WindowCosts): string {
  const lines = Object.entries(nsPerUpdate).map(([name, ns]) => `  ${name.padEnd(24)} ${String(ns).padStart(6)}`);
  return `windows: ${nsPerRow} ns a row to count and keep it; ns an update of a check's state\n${lines.join('\n')}\n`;
}
