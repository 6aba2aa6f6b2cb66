/** Quarantined events as people see them. Rows are shown only one by one. */
import { type Finding, Verdict } from '../core/batch.ts';
import type { QuarantineItem } from '../core/contracts.ts';
import { type Row, UNCHANGED, type Value } from '../core/event.ts';
import { cutText } from '../core/text.ts';
import type { FindingView, ItemDetail, ItemView } from './http/shapes.ts';

const VERDICTS = { [Verdict.Tag]: 'tag', [Verdict.Warn]: 'warn', [Verdict.Drop]: 'drop', [Verdict.Quarantine]: 'quarantine' } as const;
/** Longer cells are cut for people; `release` sends the whole row. */
const CELL_CHARACTERS_MAX = 2000;

export function findingView({ stage, rule, column, verdict, severity, message }: Finding): FindingView {
  return { stage, rule, column, verdict: VERDICTS[verdict], severity, message };
}

export function itemView(pipeline: string, item: QuarantineItem): ItemView {
  const { event } = item;
  return {
    id: item.id,
    pipeline,
    dataset: event.dataset.name,
    op: event.op,
    key: event.key,
    status: item.status,
    version: event.version,
    committedAtMs: event.committedAtMs,
    heldAtMs: item.heldAtMs,
    settledAtMs: item.settledAtMs,
    waitsUntilMs: item.waitsUntilMs,
    by: item.by,
    why: item.why,
    lane: item.lane,
    revision: item.revision,
    lotStartMs: item.lot?.startMs ?? null,
    findings: item.findings.map(findingView),
  };
}

export function itemDetail(pipeline: string, item: QuarantineItem): ItemDetail {
  const { dataset, before, after } = item.event;
  const columns = dataset.columns.map((column, index) => ({
    name: column.name,
    type: column.native,
    key: dataset.key.includes(index),
    before: cellText(before, index),
    after: cellText(after, index),
    note: after !== null && after.value(index) === UNCHANGED ? 'unchanged' : null,
  }));
  return { ...itemView(pipeline, item), columns };
}

function cellText(row: Row | null, index: number): string | null {
  if (row === null) return null;
  const value: Value = row.value(index);
  if (value === null || value === UNCHANGED) return null;
  const text =
    value instanceof Uint8Array
      ? `\\x${Buffer.from(value.subarray(0, CELL_CHARACTERS_MAX)).toString('hex')}`
      : Object.is(value, -0)
        ? '-0'
        : String(value);
  return cutText(text, CELL_CHARACTERS_MAX);
}
