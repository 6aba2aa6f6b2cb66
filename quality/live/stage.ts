/**
 * The stage that puts rows into windows. It comes last before the target and marks nothing: every row that is in the log counts, whatever becomes of it.
 * What a batch adds travels on the batch, and is kept in the transaction of its checkpoint: so a lane that starts again goes on from exactly there.
 */
import type { Batch } from '../../core/batch.ts';
import type { Clock } from '../../core/clock.ts';
import type { Stage } from '../../core/contracts.ts';
import type { DatasetName, LaneId, Position } from '../../core/event.ts';
import type { WindowMark, WindowPart, WindowStore } from '../../core/windows.ts';
import type { Contract } from '../contract.ts';
import { isWatched } from './check.ts';
import { DatasetWindows } from './lane.ts';

export interface WindowStageOptions {
  /** Asked with every batch: rule files may be replaced while the lane runs. */
  readonly contracts: () => ReadonlyMap<DatasetName, Contract>;
  readonly store: Pick<WindowStore, 'partsOf' | 'marksOf'>;
  readonly clock: Clock;
  /** Events put into windows before other work of the process gets its turn. Default 2000. */
  readonly sliceEvents?: number;
}

interface Lane {
  readonly datasets: Map<DatasetName, { readonly contract: Contract; readonly windows: DatasetWindows }>;
  /** Where it stands once the last batch is in. */
  at: Position | null;
  readonly parts: Awaited<ReturnType<WindowStore['partsOf']>>;
  readonly marks: readonly WindowMark[];
}

/** One for each run: what it knows of a lane is what the target had when the run took it over, and the batches since. */
export function windowStage(options: WindowStageOptions): Stage {
  return new Windowing(options);
}

class Windowing implements Stage {
  readonly name = 'quality';
  readonly #options: WindowStageOptions;
  readonly #lanes = new Map<LaneId, Lane>();

  constructor(options: WindowStageOptions) {
    this.#options = options;
  }

  async run(batch: Batch, signal: AbortSignal): Promise<void> {
    // A released row was counted when it came.
    if (batch.origin === 'replay') return;
    const contracts = this.#options.contracts();
    const judged = [...contracts.values()].filter(isWatched);
    if (judged.length === 0) return;
    const lane = await this.#laneOf(batch);
    const uses = new Map(judged.map((contract) => [contract.dataset, this.#use(lane, contract)]));
    const nowMs = this.#options.clock.now();
    await this.#fill(batch, uses, nowMs, signal);
    const [parts, marks]: [WindowPart[], WindowMark[]] = [[], []];
    for (const windows of uses.values()) windows.flush(nowMs, parts, marks);
    if (parts.length > 0 || marks.length > 0) batch.windows = { parts, marks, minutes: [] };
    lane.at = batch.checkpoint.position;
  }

  async #fill(batch: Batch, uses: ReadonlyMap<DatasetName, DatasetWindows>, nowMs: number, signal: AbortSignal): Promise<void> {
    const { sliceEvents = 2000 } = this.#options;
    const { run } = batch;
    // Rows that no rule over windows is about are not made objects for it.
    if (run !== null && !uses.has(run.dataset.name)) return;
    let committedAtMs = -1;
    for (let from = 0; from < batch.size; from += sliceEvents) {
      if (from > 0) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
      for (let index = from; index < Math.min(batch.size, from + sliceEvents); index++) {
        const event = run === null ? batch.events[index] : run.look(index);
        if (event === undefined || event.dataset.undecoded === true) continue;
        uses.get(event.dataset.name)?.event(event, nowMs);
        if (event.op !== 'read' && event.committedAtMs > committedAtMs) committedAtMs = event.committedAtMs;
      }
    }
    if (committedAtMs >= 0) for (const windows of uses.values()) windows.passed(committedAtMs, nowMs);
  }

  /** Reads what is kept where the lane was just taken over, for the first time or again. */
  async #laneOf(batch: Batch): Promise<Lane> {
    const known = this.#lanes.get(batch.lane);
    if (known !== undefined && known.at === batch.after) return known;
    const { store } = this.#options;
    const [parts, marks] = [await store.partsOf(batch.lane), await store.marksOf(batch.lane)];
    const lane: Lane = { datasets: new Map(), at: batch.after, parts, marks };
    this.#lanes.set(batch.lane, lane);
    return lane;
  }

  #use(lane: Lane, contract: Contract): DatasetWindows {
    const { dataset } = contract;
    const known = lane.datasets.get(dataset);
    if (known?.contract === contract) return known.windows;
    const windows = new DatasetWindows(contract);
    if (known === undefined)
      windows.restore(
        lane.parts.filter((part) => part.dataset === dataset),
        lane.marks.find((mark) => mark.dataset === dataset),
      );
    else windows.restore(known.windows.kept(), known.windows.mark);
    lane.datasets.set(dataset, { contract, windows });
    return windows;
  }
}
