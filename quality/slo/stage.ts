/**
 * The stage that counts rows for service levels. It comes last before the target and marks nothing. What a batch adds travels on the batch, and is kept in the
 * transaction of its checkpoint: a batch that is read again after a crash is counted once.
 */
import { type Batch, Verdict } from '../../core/batch.ts';
import type { Stage } from '../../core/contracts.ts';
import type { DatasetName } from '../../core/event.ts';
import { MINUTE_MS, type MinuteCount, ROWS_COUNTED } from '../../core/slo.ts';
import { addWindowWrites } from '../../core/windows.ts';
import type { Contract } from '../contract.ts';

/** `contracts` is asked with every batch: rule files may be replaced while the lane runs. */
export function sloStage(contracts: () => ReadonlyMap<DatasetName, Contract>): Stage {
  return {
    name: 'quality',
    run: async (batch) => {
      // A snapshot says nothing of now, and a released row was counted when it came.
      if (batch.origin !== 'stream' || batch.size === 0) return;
      const counted = new Set([...contracts().values()].filter(countsRows).map(({ dataset }) => dataset));
      if (counted.size === 0) return;
      const minutes = countRows(batch, counted);
      if (minutes.length > 0) addWindowWrites(batch, { minutes });
    },
  };
}

const countsRows = ({ slo }: Contract): boolean => slo.some(({ of }) => of === 'rows');

export function countRows(batch: Batch, datasets: ReadonlySet<DatasetName>): readonly MinuteCount[] {
  const counts = new Map<string, { -readonly [K in keyof MinuteCount]: MinuteCount[K] }>();
  const { verdicts } = batch;
  for (const { dataset, from, to } of batch.spans()) {
    if (!datasets.has(dataset.name)) continue;
    let count: { -readonly [K in keyof MinuteCount]: MinuteCount[K] } | undefined;
    for (let index = from; index < to; index++) {
      const event = batch.events[index];
      if (event === undefined || event.op === 'read' || event.op === 'truncate') continue;
      const minuteMs = Math.floor(event.committedAtMs / MINUTE_MS) * MINUTE_MS;
      if (count?.minuteMs !== minuteMs) {
        const key = `${dataset.name} ${minuteMs}`;
        count = counts.get(key) ?? { dataset: dataset.name, counted: ROWS_COUNTED, minuteMs, good: 0, bad: 0 };
        counts.set(key, count);
      }
      const verdict = verdicts[index] ?? Verdict.Pass;
      // With a row that waits for its window nothing is wrong.
      if (verdict < Verdict.Drop || verdict === Verdict.Staged) count.good++;
      else count.bad++;
    }
  }
  return [...counts.values()];
}
