/**
 * The stage that says that something came, and counts rows by how late they come. It marks nothing, and like all counts its own are kept in the transaction of the batch's checkpoint. How late a row
 * is by the clock is known when it is judged: one that is read again after a crash has become later.
 */
import type { Batch } from '../../core/batch.ts';
import type { Clock } from '../../core/clock.ts';
import type { Stage } from '../../core/contracts.ts';
import type { ChangeEvent, Dataset, DatasetName, Position } from '../../core/event.ts';
import { MINUTE_MS, type MinuteCount } from '../../core/slo.ts';
import { addWindowWrites, ANY_DATASET, type WindowStore } from '../../core/windows.ts';
import type { Contract } from '../contract.ts';
import { type Binding, bindSets } from '../live/binding.ts';
import { countedAs, type Counting } from './check.ts';

export interface ArrivalStageOptions {
  /** Asked with every batch: rule files may be replaced while the lane runs. */
  readonly contracts: () => ReadonlyMap<DatasetName, Contract>;
  readonly store: Pick<WindowStore, 'marksOf'>;
  readonly clock: Clock;
}

/** It is said so often that something came. */
const LIFE_MS = 1000;

/** One for each run, of one lane or of several. */
export function arrivalStage(options: ArrivalStageOptions): Stage {
  let saidAtMs = Number.NEGATIVE_INFINITY;
  const lanes = new Map<string, { at: Position | null; readonly newestMs: Map<DatasetName, number> }>();
  const laneOf = async (batch: Batch) => {
    const known = lanes.get(batch.lane);
    if (known !== undefined && known.at === batch.after) return known;
    const marks = await options.store.marksOf(batch.lane);
    const lane = { at: batch.after, newestMs: new Map(marks.map(({ dataset, rowMs }) => [dataset, rowMs])) };
    lanes.set(batch.lane, lane);
    return lane;
  };
  const bindings = new WeakMap<Contract, WeakMap<Dataset, Binding['timeOf']>>();
  const timesOf = (contract: Contract, dataset: Dataset): Binding['timeOf'] => {
    const known = bindings.get(contract) ?? new WeakMap<Dataset, Binding['timeOf']>();
    bindings.set(contract, known);
    const found = known.get(dataset) ?? bindSets(contract, [], dataset).timeOf;
    known.set(dataset, found);
    return found;
  };
  return {
    name: 'quality',
    run: async (batch) => {
      if (batch.origin === 'replay') return;
      const contracts = [...options.contracts().values()];
      const nowMs = options.clock.now();
      if (batch.size > 0 && nowMs - saidAtMs >= LIFE_MS && contracts.some(asksForLife)) {
        saidAtMs = nowMs;
        sayThatSomethingCame(batch, nowMs);
      }
      const counted = contracts.filter((contract) => countingOf(contract).length > 0);
      if (counted.length === 0) return;
      const lane = await laneOf(batch);
      lane.at = batch.checkpoint.position;
      if (batch.origin !== 'stream') return;
      const minutes = counted.flatMap((contract) =>
        countLateness(batch, contract, lane.newestMs, nowMs, (dataset) => timesOf(contract, dataset)),
      );
      if (minutes.length > 0) addWindowWrites(batch, { minutes });
    },
  };
}

const asksForLife = ({ live }: Contract): boolean => live.clock.some(({ rule }) => rule.asksForLife);

function sayThatSomethingCame(batch: Batch, nowMs: number): void {
  const mark = { dataset: ANY_DATASET, timeMs: 0, rowMs: -1, seenMs: nowMs, untimed: 0, tooLate: 0 };
  addWindowWrites(batch, { marks: [mark] });
}

const countingOf = ({ live }: Contract) =>
  live.clock.flatMap((check) => (check.rule.counting === null ? [] : [{ counted: countedAs(check), counting: check.rule.counting }]));

/** Counts under the minute of now, and moves the newest time of the lane along. */
function countLateness(
  batch: Batch,
  contract: Contract,
  newest: Map<DatasetName, number>,
  nowMs: number,
  timesOf: (dataset: Dataset) => Binding['timeOf'],
): readonly MinuteCount[] {
  const { dataset } = contract;
  const tallies = countingOf(contract).map(({ counted, counting }) => ({ counted, counting, good: 0, bad: 0 }));
  let newestMs = newest.get(dataset) ?? -1;
  for (const span of batch.spans()) {
    if (span.dataset.name !== dataset || span.dataset.undecoded === true) continue;
    const timeOf = timesOf(span.dataset);
    for (let index = span.from; index < span.to; index++) {
      const event = batch.events[index];
      const timeMs = event === undefined ? null : timeIn(event, contract, timeOf);
      if (timeMs === null) continue;
      for (const tally of tallies) tallyRow(tally, tally.counting, nowMs - timeMs, Math.max(0, newestMs - timeMs));
      // A time to come, most likely a mistake, must not make all that follows late.
      newestMs = Math.max(newestMs, Math.min(timeMs, Math.max(event?.committedAtMs ?? nowMs, nowMs)));
    }
  }
  newest.set(dataset, newestMs);
  const minuteMs = Math.floor(nowMs / MINUTE_MS) * MINUTE_MS;
  return tallies.flatMap(({ counted, good, bad }) => (good + bad === 0 ? [] : [{ dataset, counted, minuteMs, good, bad }]));
}

/** When the row happened; null where it has no time, or there is no new row. */
function timeIn(event: ChangeEvent, { live }: Contract, timeOf: Binding['timeOf']): number | null {
  if (event.op !== 'insert' && event.op !== 'update') return null;
  return live.eventTime.kind === 'commit' ? event.committedAtMs : timeOf(event.after, event.before);
}

function tallyRow(tally: { good: number; bad: number }, { isBad }: Counting, lagMs: number, behindMs: number): void {
  if (isBad({ lagMs, behindMs })) tally.bad++;
  else tally.good++;
}
