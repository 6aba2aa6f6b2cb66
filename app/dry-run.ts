/** What releasing would come to, by today's rules and models, without doing anything. */
import { Batch, type Finding, Verdict } from '../core/batch.ts';
import type { DecodeAgain } from '../cdc/kafka/decode-again.ts';
import type { ItemStatus, Quarantine, QuarantineItem, Stage } from '../core/contracts.ts';
import { PipelineError } from '../core/errors.ts';
import { type DatasetName, type LaneId, type Position, versionOf } from '../core/event.ts';
import type { AskedRules } from '../core/keyed.ts';
import type { ReleaseOutcome } from './http/shapes.ts';
import { findingView } from './items.ts';

const OPEN: ReadonlySet<ItemStatus> = new Set(['held', 'waiting', 'staged', 'released']);
/** As many as the replay lane takes at once. */
const BATCH_ITEMS = 500;

export interface DryRunParts {
  readonly quarantine: Pick<Quarantine, 'outrun'>;
  readonly asked: AskedRules;
  readonly stages: readonly Stage[];
  readonly again: DecodeAgain | null;
}

export interface DryRun {
  /** Item by item. `would-pass` means: by the stages and the rows that the target has now; it may still refuse the row. */
  readonly results: readonly ReleaseOutcome[];
  /** Datasets whose rules that need other rows could not be asked. */
  readonly unasked: ReadonlySet<DatasetName>;
}

/** Null where there is no item of an id. */
export async function dryRunRelease(
  items: ReadonlyMap<string, QuarantineItem | null>,
  { quarantine, asked, stages, again }: DryRunParts,
  signal: AbortSignal,
): Promise<DryRun> {
  const held = [...items.values()].filter((item) => item !== null).filter(({ status }) => OPEN.has(status));
  const open = await decoded(held, again);
  const outrun = open.length === 0 ? new Set<string>() : await quarantine.outrun(open);
  const going = open.filter(({ id }) => !outrun.has(id)).sort((a, b) => (versionOf(a.event) < versionOf(b.event) ? -1 : 1));
  const unasked = new Set<DatasetName>();
  const judged = await judge(going, stages, asked, unasked, signal);
  const results = [...items].map(([id, item]): ReleaseOutcome => {
    if (item === null) return { id, outcome: 'unknown', findings: [] };
    if (outrun.has(id)) return { id, outcome: 'superseded', findings: [] };
    const findings = judged.get(id);
    if (findings === undefined) return { id, outcome: 'settled', findings: [] };
    return findings.length === 0
      ? { id, outcome: 'would-pass', findings: [] }
      : { id, outcome: 'still-fails', findings: findings.map(findingView) };
  });
  return { results, unasked };
}

/** Of items whose records could not be read, what they would be read as now. */
async function decoded(items: readonly QuarantineItem[], again: DecodeAgain | null): Promise<readonly QuarantineItem[]> {
  if (again === null) return items;
  const unread = items.filter(({ event }) => event.dataset.undecoded === true);
  const read = await again.decode(unread.map(({ event }) => event));
  const readOf = new Map(unread.map((item, i) => [item, read[i]]));
  return items.map((item) => {
    const now = readOf.get(item);
    return now === undefined || now.kind === 'nothing' ? item : { ...item, event: now.event };
  });
}

/** Of each item the findings that take it out of the flow. */
async function judge(
  items: readonly QuarantineItem[],
  stages: readonly Stage[],
  asked: AskedRules,
  unasked: Set<DatasetName>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, readonly Finding[]>> {
  const found = new Map<string, readonly Finding[]>();
  const ask = async (some: readonly QuarantineItem[], batch: Batch): Promise<void> => {
    const look = await asked.look(batch);
    for (const dataset of look.unasked) unasked.add(dataset);
    for (const [index, { id }] of some.entries()) {
      const own = [...batch.findings, ...look.findings].filter((finding) => finding.index === index);
      found.set(
        id,
        own.filter(({ verdict }) => verdict >= Verdict.Drop),
      );
    }
  };
  for (let from = 0; from < items.length; from += BATCH_ITEMS) {
    const some = items.slice(from, from + BATCH_ITEMS);
    const batch = await throughStages(some, stages, signal).catch(stageFailure);
    if (batch instanceof Batch) {
      await ask(some, batch);
      continue;
    }
    // What could not be done for one (a model is away) says nothing of the others.
    for (const item of some) {
      const alone = await throughStages([item], stages, signal).catch(stageFailure);
      if (alone instanceof Batch) await ask([item], alone);
      else found.set(item.id, [alone]);
    }
  }
  return found;
}

async function throughStages(items: readonly QuarantineItem[], stages: readonly Stage[], signal: AbortSignal): Promise<Batch> {
  const checkpoint = { lane: 'dry-run' as LaneId, position: '' as Position };
  // As the replay lane has them: a route does not hold again what a person releases from it.
  const batch = new Batch(
    items.map(({ event }) => event),
    checkpoint,
    'replay',
    items.map(({ findings }) => findings),
  );
  for (const stage of stages) await stage.run(batch, signal);
  return batch;
}

function stageFailure(error: unknown): Finding {
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
