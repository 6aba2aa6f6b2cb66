/** What releasing would come to, by today's rules and models, without doing anything. */
import { Batch, type Finding, Verdict } from '../core/batch.ts';
import type { DecodeAgain } from '../cdc/kafka/decode-again.ts';
import type { ItemStatus, Quarantine, QuarantineItem, Stage } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import type { LaneId, Position } from '../core/event.ts';
import type { ReleaseOutcome } from './http/shapes.ts';
import { findingView } from './items.ts';

const OPEN: ReadonlySet<ItemStatus> = new Set(['held', 'waiting', 'staged', 'released']);
/** As many as the replay lane takes at once. */
const BATCH_ITEMS = 500;

/** Says it item by item; null where there is none of an id. `would-pass` means: by the stages; the target may still refuse the row. */
export async function dryRunRelease(
  items: ReadonlyMap<string, QuarantineItem | null>,
  quarantine: Pick<Quarantine, 'outrun'>,
  { stages, again }: { readonly stages: readonly Stage[]; readonly again: DecodeAgain | null },
  signal: AbortSignal,
): Promise<readonly ReleaseOutcome[]> {
  const held = [...items.values()].filter((item) => item !== null).filter(({ status }) => OPEN.has(status));
  const open = await Promise.all(held.map((item) => decoded(item, again)));
  const judged = await judge(open, stages, signal);
  const outrun = open.length === 0 ? new Set<string>() : await quarantine.outrun(open);
  return [...items].map(([id, item]): ReleaseOutcome => {
    if (item === null) return { id, outcome: 'unknown', findings: [] };
    const findings = judged.get(id);
    if (findings === undefined) return { id, outcome: 'settled', findings: [] };
    if (outrun.has(id)) return { id, outcome: 'superseded', findings: [] };
    return findings.length === 0
      ? { id, outcome: 'would-pass', findings: [] }
      : { id, outcome: 'still-fails', findings: findings.map(findingView) };
  });
}

/** Of an item whose record could not be read, what it would be read as now. */
async function decoded(item: QuarantineItem, again: DecodeAgain | null): Promise<QuarantineItem> {
  if (again === null || item.event.dataset.undecoded !== true) return item;
  const now = await again.decode(item.event);
  return now.kind === 'nothing' ? item : { ...item, event: now.event };
}

/** Of each item the findings that take it out of the flow. */
async function judge(
  items: readonly QuarantineItem[],
  stages: readonly Stage[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly Finding[]>> {
  const found = new Map<string, readonly Finding[]>();
  for (let from = 0; from < items.length; from += BATCH_ITEMS) {
    const some = items.slice(from, from + BATCH_ITEMS);
    try {
      await judgeBatch(some, stages, found, signal);
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error;
      // What could not be done for one (a model is away) says nothing of the others.
      for (const item of some)
        await judgeBatch([item], stages, found, signal).catch((failure: unknown) => found.set(item.id, [failureOf(failure)]));
    }
  }
  return found;
}

async function judgeBatch(
  items: readonly QuarantineItem[],
  stages: readonly Stage[],
  found: Map<string, readonly Finding[]>,
  signal: AbortSignal,
): Promise<void> {
  const checkpoint = { lane: 'dry-run' as LaneId, position: '' as Position };
  // As the replay lane has them: a route does not hold again what a person releases from it.
  const batch = new Batch(
    items.map(({ event }) => event),
    checkpoint,
    'replay',
    items.map(({ findings }) => findings),
  );
  for (const stage of stages) await stage.run(batch, signal);
  for (const [index, { id }] of items.entries())
    found.set(
      id,
      batch.findings.filter((finding) => finding.index === index && finding.verdict >= Verdict.Drop),
    );
}

function failureOf(error: unknown): Finding {
  if (!(error instanceof PipelineError)) throw error;
  return {
    index: 0,
    stage: 'quality',
    rule: error.code,
    column: null,
    verdict: Verdict.Quarantine,
    severity: 'critical',
    message: error.message,
    notify: false,
  };
}
