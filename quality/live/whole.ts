/** Windows of changes that are all there, as windows of a stream would have said it in the end: however late a row comes, it counts. */
import type { ChangeEvent, LaneId } from '../../core/event.ts';
import type { LanePart, StoredWindow, WindowFinding, WindowPart } from '../../core/windows.ts';
import type { Contract } from '../contract.ts';
import { judgedWhole } from './closer.ts';
import { DatasetWindows } from './lane.ts';
import { planSets } from './slots.ts';

/** Longer than any stream. */
const LATENESS_MS = 1e14;
const FLUSH_EVENTS = 5000;

export class WholeWindows {
  readonly #contract: Contract;
  readonly #windows: DatasetWindows;
  /** By set, and then by window and group. */
  readonly #states = new Map<string, Map<string, WindowPart[]>>();
  readonly #nowMs: number;
  #events = 0;

  /** Windows that have not ended by `nowMs` are not judged. */
  constructor(contract: Contract, nowMs: number) {
    this.#contract = contract;
    this.#nowMs = nowMs;
    this.#windows = new DatasetWindows(waiting(contract));
  }

  /** In the order of commits. */
  add(event: ChangeEvent): void {
    this.#windows.event(event, this.#nowMs);
    if (++this.#events % FLUSH_EVENTS === 0) this.#flush();
  }

  /** To the last window that holds a row. */
  findings(): readonly WindowFinding[] {
    this.#flush();
    const { live } = this.#contract;
    const { rowMs } = this.#windows.mark;
    const plans = planSets(live.checks);
    // Sets are the same ones in the same order, under other names.
    const findings = planSets(waiting(this.#contract).live.checks).flatMap(({ id }, i) => {
      const plan = plans[i];
      const windows = [...(this.#states.get(id)?.values() ?? [])].map((parts) => this.#stored(parts));
      if (plan === undefined || windows.length === 0) return [];
      return judgedWhole(this.#contract, plan, windows, Math.min(this.#nowMs, rowMs + plan.spec.sizeMs));
    });
    // What was said of a window last stands.
    return [...new Map(findings.map((finding) => [JSON.stringify([finding.rule, finding.startMs, finding.group]), finding])).values()];
  }

  #flush(): void {
    const parts: WindowPart[] = [];
    this.#windows.flush(this.#nowMs, parts, []);
    for (const part of parts) {
      const ofSet = this.#states.get(part.set) ?? new Map<string, WindowPart[]>();
      this.#states.set(part.set, ofSet);
      const id = `${part.startMs} ${part.group}`;
      const others = (ofSet.get(id) ?? []).filter((one) => !(part.whole && one.late === part.late));
      ofSet.set(id, [...others, part]);
    }
  }

  /** Nothing is late here. */
  #stored(parts: readonly WindowPart[]): StoredWindow {
    const [first] = parts;
    const own = parts.map(({ rows, state }): LanePart => ({
      dataset: this.#contract.dataset,
      lane: '' as LaneId,
      late: false,
      rows,
      state,
    }));
    return { startMs: first?.startMs ?? 0, group: first?.group ?? '', parts: own };
  }
}

function waiting(contract: Contract): Contract {
  const checks = contract.live.checks.map((check) => ({
    ...check,
    spec: { ...check.spec, latenessMs: check.spec.latenessMs + LATENESS_MS },
  }));
  return { ...contract, live: { ...contract.live, publish: null, checks } };
}
