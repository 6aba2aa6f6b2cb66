/**
 * The stage that puts rows into windows. It comes last before the target and says nothing of any row: every row that is in the log counts, whatever becomes of it. Rows that
 * pass are staged, where they wait for their window to be judged, or their dataset is held.
 * What a batch adds travels on the batch, and is kept in the transaction of its checkpoint: so a lane that starts again goes on from exactly there.
 */
import type { Batch } from '../../core/batch.ts';
import type { Clock } from '../../core/clock.ts';
import type { Stage } from '../../core/contracts.ts';
import { PipelineError } from '../../core/errors.ts';
import type { ChangeEvent, DatasetName, LaneId, Position } from '../../core/event.ts';
import { HELD_LOT, type LotStore, STAGED_ROWS_MAX, type Staging } from '../../core/lots.ts';
import { addWindowWrites, type WindowMark, type WindowPart, type WindowStore } from '../../core/windows.ts';
import type { Contract } from '../contract.ts';
import { countersOf } from './beside.ts';
import { isWatched, type LiveCheck } from './check.ts';
import { DatasetWindows, type HeldElsewhere } from './lane.ts';

export interface WindowStageOptions {
  /** Asked with every batch: rule files may be replaced while the lane runs. */
  readonly contracts: () => ReadonlyMap<DatasetName, Contract>;
  readonly store: Pick<WindowStore, 'partsOf' | 'marksOf'>;
  readonly lots: Pick<LotStore, 'staging'>;
  /** Awaited before rows are staged by rules: others may publish what nobody has said to have in force. */
  readonly announce?: () => Promise<void>;
  readonly clock: Clock;
  /** The lanes that the process reads now: what it knows of others, which another one reads, takes nobody's room. Left out, it reads all that have come. */
  readonly lanes?: () => readonly LaneId[];
  /** Events put into windows before other work of the process gets its turn. Default 2000. */
  readonly sliceEvents?: number;
}

interface Lane {
  readonly datasets: Map<
    DatasetName,
    { readonly contract: Contract; readonly counters: readonly LiveCheck[]; readonly windows: DatasetWindows }
  >;
  /** Where it stands once the last batch is in. */
  at: Position | null;
  readonly parts: Awaited<ReturnType<WindowStore['partsOf']>>;
  readonly marks: readonly WindowMark[];
}

/** How long what is known of held datasets may be old. */
const STAGING_MS = 1000;

/** One for each run: what it knows of a lane is what the target had when the run took it over, and the batches since. */
export function windowStage(options: WindowStageOptions): Stage {
  return new Windowing(options);
}

class Windowing implements Stage {
  readonly name = 'quality';
  readonly #options: WindowStageOptions;
  readonly #lanes = new Map<LaneId, Lane>();
  /** As the target had it at `atMs`, and what was staged since. */
  #staging: { readonly atMs: number; readonly known: Staging; readonly more: Map<DatasetName, number> } | null = null;

  constructor(options: WindowStageOptions) {
    this.#options = options;
  }

  async run(batch: Batch, signal: AbortSignal): Promise<void> {
    // A released row was counted when it came.
    if (batch.origin === 'replay') return;
    const contracts = this.#options.contracts();
    const counters = countersOf(contracts);
    const judged = [...contracts.values()].filter((contract) => isWatched(contract) || counters.has(contract.dataset));
    const nowMs = this.#options.clock.now();
    if (judged.some(({ live }) => live.publish !== null)) await this.#options.announce?.();
    const held = await this.#held(judged, nowMs);
    if (judged.length === 0) {
      if (held.size > 0) await this.#fill(batch, new Map(), nowMs, signal);
      return;
    }
    const lane = await this.#laneOf(batch);
    const uses = new Map(judged.map((contract) => [contract.dataset, this.#use(lane, contract, counters.get(contract.dataset) ?? NONE)]));
    const read = this.#options.lanes?.() ?? [...this.#lanes.keys()];
    for (const [dataset, windows] of uses) windows.beside(this.#heldElsewhere(read, lane, dataset));
    await this.#fill(batch, uses, nowMs, signal);
    const [parts, marks]: [WindowPart[], WindowMark[]] = [[], []];
    for (const windows of uses.values()) windows.flush(nowMs, parts, marks);
    if (parts.length > 0 || marks.length > 0) addWindowWrites(batch, { parts, marks });
    lane.at = batch.checkpoint.position;
  }

  #heldElsewhere(read: readonly LaneId[], own: Lane, dataset: DatasetName): HeldElsewhere {
    let [lanes, bytes, keys] = [0, 0, 0];
    for (const id of read) {
      const lane = this.#lanes.get(id);
      const windows = lane === own ? undefined : lane?.datasets.get(dataset)?.windows;
      if (windows === undefined) continue;
      lanes++;
      bytes += windows.bytes;
      keys += windows.keys;
    }
    return { lanes, bytes, keys };
  }

  async #fill(batch: Batch, uses: ReadonlyMap<DatasetName, DatasetWindows>, nowMs: number, signal: AbortSignal): Promise<void> {
    const { sliceEvents = 2000 } = this.#options;
    const { run } = batch;
    // Rows that no rule over windows is about are not made objects for it.
    if (run !== null && !uses.has(run.dataset.name) && this.#staging?.known.held.has(run.dataset.name) !== true) return;
    let committedAtMs = -1;
    for (let from = 0; from < batch.size; from += sliceEvents) {
      if (from > 0) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
      for (let index = from; index < Math.min(batch.size, from + sliceEvents); index++) {
        const event = run === null ? batch.events[index] : run.look(index);
        if (event === undefined || event.dataset.undecoded === true) continue;
        const windows = uses.get(event.dataset.name) ?? null;
        windows?.scores.look(batch.scores, index);
        windows?.event(event, nowMs);
        this.#stage(batch, index, event, windows, nowMs);
        if (event.op !== 'read' && event.committedAtMs > committedAtMs) committedAtMs = event.committedAtMs;
      }
    }
    if (committedAtMs >= 0) for (const windows of uses.values()) windows.passed(committedAtMs, nowMs);
  }

  /** The datasets that are held, as far as is known; asked for only where there may be some. */
  async #held(judged: readonly Contract[], nowMs: number): Promise<ReadonlySet<DatasetName>> {
    const last = this.#staging;
    const asks = last === null || last.known.held.size > 0 || judged.some(mayStage);
    if (last !== null && (!asks || nowMs - last.atMs < STAGING_MS)) return last.known.held;
    const known = await this.#options.lots.staging();
    this.#staging = { atMs: nowMs, known, more: new Map() };
    return known.held;
  }

  #stage(batch: Batch, index: number, event: ChangeEvent, windows: DatasetWindows | null, nowMs: number): void {
    if (!batch.passes(index)) return;
    const { name } = event.dataset;
    const lot = windows?.lotOf(event, nowMs) ?? (this.#staging?.known.held.has(name) === true ? HELD_LOT : null);
    if (lot === null || this.#staging === null) return;
    const { known, more } = this.#staging;
    const own = (more.get(name) ?? 0) + 1;
    const rows = (known.staged.get(name) ?? 0) + own;
    const rowsMax = this.#options.contracts().get(name)?.live.publish?.maxRows ?? STAGED_ROWS_MAX;
    if (rows > rowsMax)
      throw new PipelineError(
        'WINDOW_STAGED_FULL',
        `staging a row of ${name}: ${rows - own} rows are staged, and ${own} more came since that was asked`,
      );
    more.set(name, own);
    batch.stage(index, lot);
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

  #use(lane: Lane, contract: Contract, counters: readonly LiveCheck[]): DatasetWindows {
    const { dataset } = contract;
    const known = lane.datasets.get(dataset);
    if (known?.contract === contract && isSame(known.counters, counters)) return known.windows;
    const windows = new DatasetWindows(contract, counters);
    if (known === undefined)
      windows.restore(
        lane.parts.filter((part) => part.dataset === dataset),
        lane.marks.find((mark) => mark.dataset === dataset),
      );
    else windows.restore(known.windows.kept(), known.windows.mark);
    lane.datasets.set(dataset, { contract, counters, windows });
    return windows;
  }
}

const NONE: readonly LiveCheck[] = [];
const isSame = (some: readonly LiveCheck[], others: readonly LiveCheck[]): boolean =>
  some.length === others.length && some.every((one, i) => one === others[i]);

const mayStage = ({ live }: Contract): boolean => live.publish !== null || live.checks.some(({ onFail }) => onFail === 'hold');
