/** What releasing would come to, by today's rules and models, without doing anything. */
import { Batch, type Finding, Verdict } from '../core/batch.ts';
import type { Quarantine, QuarantineItem, Stage } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import type { LaneId, Position } from '../core/event.ts';
import type { ReleaseOutcome } from './http/shapes.ts';
import { findingView } from './items.ts';

/**
 * Says it item by item, in the order of `ids`. `would-pass` means: by the stages; the target may still refuse the row. A check that would
 * halt the lane counts as a failure of its item.
 */
export async function dryRunRelease(
  ids: readonly string[],
  quarantine: Pick<Quarantine, 'get' | 'outrun'>,
  stages: readonly Stage[],
  signal: AbortSignal,
): Promise<readonly ReleaseOutcome[]> {
  const items = new Map<string, QuarantineItem | null>();
  for (const id of ids) items.set(id, await quarantine.get(id));
  const open = [...items.values()].filter(
    (item) => item !== null && (item.status === 'held' || item.status === 'waiting' || item.status === 'released'),
  );
  const judged = await judge(
    open.filter((item) => item !== null),
    stages,
    signal,
  );
  const outrun = open.length === 0 ? new Set<string>() : await quarantine.outrun(open.flatMap((item) => (item === null ? [] : [item.id])));
  return [...items].map(([id, item]): ReleaseOutcome => {
    if (item === null) return { id, outcome: 'unknown', findings: [] };
    if (!open.includes(item)) return { id, outcome: 'settled', findings: [] };
    if (outrun.has(id)) return { id, outcome: 'superseded', findings: [] };
    const findings = judged.get(id) ?? [];
    return findings.length === 0
      ? { id, outcome: 'would-pass', findings: [] }
      : { id, outcome: 'still-fails', findings: findings.map(findingView) };
  });
}

/** Of each item the findings that take it out of the flow. One at a time, so that one that halts says nothing of the others. */
async function judge(
  items: readonly QuarantineItem[],
  stages: readonly Stage[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly Finding[]>> {
  const found = new Map<string, readonly Finding[]>();
  for (const { id, event } of items) {
    const batch = new Batch([event], { lane: 'dry-run' as LaneId, position: '' as Position }, 'replay');
    try {
      for (const stage of stages) await stage.run(batch, signal);
      found.set(
        id,
        batch.findings.filter(({ verdict }) => verdict >= Verdict.Drop),
      );
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      found.set(id, [
        {
          index: 0,
          stage: 'quality',
          rule: error.code,
          column: null,
          verdict: Verdict.Quarantine,
          severity: 'critical',
          message: error.message,
          notify: false,
        },
      ]);
    }
  }
  return found;
}
