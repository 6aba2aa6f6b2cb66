/** Batch reports in one line each, for the tests of ops/. */
import { Batch, type Finding, type Origin, Verdict } from '../../core/batch.ts';
import type { Applied, BatchReport } from '../../core/contracts.ts';
import { type ChangeEvent, type Dataset, type DatasetName, type LaneId, type Position, ValueRow, type Version } from '../../core/event.ts';

export const lane = 'shop/slot' as LaneId;

export function datasetOf(name: string): Dataset {
  return {
    name: name as DatasetName,
    version: 1,
    columns: [{ name: 'id', type: 'integer', native: 'bigint', nullable: false }],
    key: [0],
  };
}

export function eventOf(dataset: Dataset, key: number, committedAtMs = 0): ChangeEvent {
  const change = { op: 'insert', before: null, after: new ValueRow(key) } as const;
  return { ...change, dataset, key: String(key), movedFrom: null, version: '01' as Version, ordinal: key, committedAtMs };
}

/** A finding that puts the event in quarantine unless `more` says otherwise. */
export function findingOf(index: number, rule: string, more: Partial<Finding> = {}): Finding {
  return {
    index,
    stage: 'quality',
    rule,
    column: null,
    verdict: Verdict.Quarantine,
    severity: 'critical',
    message: 'is wrong',
    notify: false,
    ...more,
  };
}

/** A committed batch with these findings: what is neither held nor dropped was upserted. */
export function reportOf(
  events: readonly ChangeEvent[],
  findings: readonly Finding[] = [],
  more: { readonly origin?: Origin; readonly applied?: Partial<Applied> } = {},
): BatchReport {
  const batch = new Batch(events, { lane, position: '0001' as Position }, more.origin ?? 'stream');
  for (const finding of findings) batch.mark(finding);
  const count = (verdict: number) => batch.verdicts.filter((one) => one === verdict).length;
  const held = count(Verdict.Quarantine);
  const dropped = count(Verdict.Drop);
  const upserts = events.length - held - dropped;
  const applied: Applied = {
    kind: 'applied',
    checkpoint: batch.checkpoint,
    upserts,
    deletes: 0,
    truncates: 0,
    stale: 0,
    folded: 0,
    held,
    dropped,
    ...more.applied,
  };
  return { batch, applied, millisByStage: batch.millisByStage };
}
