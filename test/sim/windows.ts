/** Rules over windows in the simulation: what lanes keep of them with their checkpoints has to come to what one straight reading of the logs comes to. */
import { Batch } from '../../core/batch.ts';
import type { Clock } from '../../core/clock.ts';
import type { Stage } from '../../core/contracts.ts';
import type { DatasetName, LaneId } from '../../core/event.ts';
import type { WindowWrites } from '../../core/windows.ts';
import { type Contract, parseContract } from '../../quality/contract.ts';
import { WindowCloser } from '../../quality/live/closer.ts';
import { windowStage } from '../../quality/live/stage.ts';
import { MemoryStore, NO_LOTS } from '../quality/live/support.ts';
import type { LaneLog } from './source-log.ts';

/** What a lane kept with one of its batches. */
export interface LaneWrites {
  readonly lane: LaneId;
  readonly writes: WindowWrites;
}

/** A transaction takes a second. */
const rulesOf = (dataset: string): string => `
apiVersion: quality/v1
kind: DatasetRules
dataset: ${dataset}
defaults: { window: { every: 4s, out_of_order: 0s, lateness: 1h, idle: 1s } }
columns: { amount: [{ sum: { min: 0 } }] }
checks: [{ row_count: { min: 3 } }]
`;

export class SimulatedWindows {
  readonly #logs: readonly LaneLog[];
  readonly #clock: Clock;
  readonly #contracts: ReadonlyMap<DatasetName, Contract>;

  constructor(logs: readonly LaneLog[], clock: Clock) {
    this.#logs = logs;
    this.#clock = clock;
    this.#contracts = new Map(
      logs.map(({ dataset }) => {
        const parsed = parseContract(rulesOf(dataset.name), 'sim.yaml');
        if ('problems' in parsed) throw new Error(parsed.problems[0].message);
        return [dataset.name, parsed.contract];
      }),
    );
  }

  /** Of one process, which goes on from what is kept. */
  stage(kept: () => Promise<readonly LaneWrites[]>): Stage {
    const store = {
      partsOf: async (lane: LaneId) => storeOf(await kept()).partsOf(lane),
      marksOf: async (lane: LaneId) => storeOf(await kept()).marksOf(lane),
    };
    return windowStage({ contracts: () => this.#contracts, store, lots: NO_LOTS, clock: this.#clock });
  }

  /** What is wrong with what was kept in the end. */
  async problems(kept: readonly LaneWrites[]): Promise<string[]> {
    const [found, expected] = [await this.#said(storeOf(kept)), await this.#said(await this.#straight())];
    return [
      ...expected.filter((said) => !found.includes(said)).map((said) => `not said of windows: ${said}`),
      ...found.filter((said) => !expected.includes(said)).map((said) => `said of windows: ${said}`),
    ];
  }

  async #straight(): Promise<MemoryStore> {
    const store = new MemoryStore();
    for (const { lane, events, end } of this.#logs) {
      const batch = new Batch(events, { lane, position: end });
      await windowStage({ contracts: () => this.#contracts, store, lots: NO_LOTS, clock: this.#clock }).run(
        batch,
        new AbortController().signal,
      );
      if (batch.windows !== null) store.write(lane, batch.windows);
    }
    return store;
  }

  async #said(store: MemoryStore): Promise<string[]> {
    await new WindowCloser(() => this.#contracts).close(store, { nowMs: 120_000, isCaughtUp: true, isCopied: () => true });
    return store.all.map(({ dataset, rule, startMs, verdict, observed, rows, revision }) =>
      JSON.stringify([dataset, rule, startMs, verdict, observed, rows, revision]),
    );
  }
}

function storeOf(kept: readonly LaneWrites[]): MemoryStore {
  const store = new MemoryStore();
  for (const { lane, writes } of kept) store.write(lane, writes);
  return store;
}
