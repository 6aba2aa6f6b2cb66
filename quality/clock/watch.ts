/** Asks checks of the clock what they say, and keeps it once it is something else than before: so people are told once of each change. */
import type { DatasetName } from '../../core/event.ts';
import type { SloStore } from '../../core/slo.ts';
import { FRESHNESS_SET, type WindowFinding, type WindowResult, type WindowStore } from '../../core/windows.ts';
import type { Contract } from '../contract.ts';
import type { ClockCheck } from '../live/check.ts';
import { countedAs, type Pulse } from './check.ts';

export interface ClockStores {
  readonly windows: Pick<WindowStore, 'newestRows' | 'lastSeen' | 'results' | 'keep'>;
  readonly slo: Pick<SloStore, 'counts'>;
}

const NOTHING = { good: 0, bad: 0 };

/** What each check said last, as far as this process knows. */
export class ClockWatch {
  readonly #last = new Map<string, string>();
  /** Before there is a row, its age is that of the watching. */
  readonly #sinceMs = new Map<DatasetName, number>();

  async look(stores: ClockStores, contracts: Iterable<Contract>, nowMs: number): Promise<readonly WindowResult[]> {
    const watched = [...contracts].filter(({ live }) => live.clock.length > 0);
    if (watched.length === 0) return [];
    const { windows } = stores;
    const newest = await windows.newestRows(watched.map(({ dataset }) => dataset));
    const seenMs = await windows.lastSeen();
    const findings: WindowFinding[] = [];
    for (const [i, contract] of watched.entries()) {
      const { dataset } = contract;
      // A clock that ran ahead is followed back.
      const sinceMs = Math.min(this.#sinceMs.get(dataset) ?? nowMs, nowMs);
      this.#sinceMs.set(dataset, sinceMs);
      const pulse = { nowMs, newestMs: newest[i] ?? null, seenMs, sinceMs };
      for (const check of contract.live.clock) {
        const found = findingOf(contract, check, { ...pulse, counts: await countsOf(stores, dataset, check, nowMs) });
        if ((await this.#lastOf(windows, found)) !== wordOf(found)) findings.push(found);
      }
    }
    const kept = findings.length === 0 ? [] : await windows.keep(findings);
    for (const found of findings) this.#last.set(keyOf(found), wordOf(found));
    return kept;
  }

  /** That it passes is no news before it failed. */
  async #lastOf(windows: ClockStores['windows'], { dataset, rule }: WindowFinding): Promise<string> {
    const key = keyOf({ dataset, rule });
    const known = this.#last.get(key);
    if (known !== undefined) return known;
    const [newest] = await windows.results({ dataset, rule, newest: true, limit: 1 });
    const word = newest === undefined ? PASSED : wordOf(newest);
    this.#last.set(key, word);
    return word;
  }
}

const PASSED = 'pass';
const keyOf = ({ dataset, rule }: Pick<WindowFinding, 'dataset' | 'rule'>): string => `${dataset} ${rule}`;
/** A warning that becomes worse, or better, is news. */
const wordOf = ({ verdict, severity }: Pick<WindowFinding, 'verdict' | 'severity'>): string =>
  verdict === 'pass' ? PASSED : `${verdict} ${severity}`;

async function countsOf({ slo }: ClockStores, dataset: DatasetName, check: ClockCheck, nowMs: number) {
  const { counting } = check.rule;
  if (counting === null) return NOTHING;
  const [counts = NOTHING] = await slo.counts(dataset, countedAs(check), [nowMs - counting.overMs]);
  return counts;
}

function findingOf(contract: Contract, check: ClockCheck, pulse: Pulse): WindowFinding {
  const { severity, observed, reason, startMs, rows } = check.rule.say(pulse);
  const isWarning = severity === 'warning';
  return {
    dataset: contract.dataset,
    rule: check.id,
    type: check.type,
    column: null,
    set: FRESHNESS_SET,
    startMs,
    endMs: Math.max(startMs, pulse.nowMs),
    group: '',
    verdict: severity === null ? 'pass' : 'fail',
    observed: JSON.stringify(observed),
    reason: severity === null ? null : (check.message ?? reason),
    rows,
    missing: 0,
    severity: severity === null || severity === 'as said' ? check.severity : severity,
    // A warning halts nothing.
    onFail: contract.mode === 'shadow' || isWarning ? 'alert' : check.onFail,
    version: contract.version,
    digest: contract.digest,
  };
}
