/** Freshness: whether the newest row of a dataset is too old, told once when it becomes so, and once when it is not any more. */
import type { DatasetName } from '../../core/event.ts';
import { FRESHNESS_SET, type WindowFinding, type WindowResult, type WindowStore } from '../../core/windows.ts';
import type { Contract } from '../contract.ts';
import type { FreshnessCheck } from './check.ts';

/** What a check said last, as far as this process knows. */
export class Freshness {
  readonly #last = new Map<string, WindowFinding['verdict'] | null>();
  /** Before there is a row, its age is that of the watching. */
  readonly #sinceMs = new Map<DatasetName, number>();

  async look(store: WindowStore, contracts: Iterable<Contract>, nowMs: number): Promise<readonly WindowResult[]> {
    const watched = [...contracts].filter(({ live }) => live.freshness.length > 0);
    if (watched.length === 0) return [];
    const newest = await store.newestRows(watched.map(({ dataset }) => dataset));
    const findings: WindowFinding[] = [];
    for (const [i, contract] of watched.entries()) {
      const { dataset } = contract;
      if (!this.#sinceMs.has(dataset)) this.#sinceMs.set(dataset, nowMs);
      const rowMs = newest[i] ?? null;
      for (const check of contract.live.freshness) {
        const found = judge(contract, check, rowMs, this.#sinceMs.get(dataset) ?? nowMs, nowMs);
        if ((await this.#lastOf(store, found)) !== found.verdict) findings.push(found);
      }
    }
    const kept = findings.length === 0 ? [] : await store.keep(findings);
    for (const found of findings) this.#last.set(keyOf(found), found.verdict);
    return kept;
  }

  /** That it is fresh is no news before it was not. */
  async #lastOf(store: WindowStore, { dataset, rule }: WindowFinding): Promise<WindowFinding['verdict']> {
    const key = keyOf({ dataset, rule });
    if (!this.#last.has(key)) {
      const [newest] = await store.results({ dataset, rule, newest: true, limit: 1 });
      this.#last.set(key, newest?.verdict ?? null);
    }
    return this.#last.get(key) ?? 'pass';
  }
}

const keyOf = ({ dataset, rule }: Pick<WindowFinding, 'dataset' | 'rule'>): string => `${dataset} ${rule}`;

function judge(contract: Contract, check: FreshnessCheck, rowMs: number | null, sinceMs: number, nowMs: number): WindowFinding {
  const startMs = rowMs ?? sinceMs;
  const ageMs = Math.max(0, nowMs - startMs);
  const fails = ageMs > check.maxMs;
  return {
    dataset: contract.dataset,
    rule: check.id,
    type: 'freshness',
    column: null,
    set: FRESHNESS_SET,
    startMs,
    endMs: Math.max(startMs, nowMs),
    group: '',
    verdict: fails ? 'fail' : 'pass',
    observed: JSON.stringify(Math.round(ageMs / 1000)),
    reason: fails ? (check.message ?? `no row for ${Math.floor(ageMs / 1000)} s, and max is ${Math.floor(check.maxMs / 1000)} s`) : null,
    rows: 0,
    missing: 0,
    severity: check.severity,
    onFail: contract.mode === 'shadow' ? 'alert' : check.onFail,
    version: contract.version,
    digest: contract.digest,
  };
}
