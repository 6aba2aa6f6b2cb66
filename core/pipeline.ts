/** Moves batches from a source through the stages into a sink, and commits each once. */
import { type Batch, type Finding, Verdict } from './batch.ts';
import { type Clock, systemClock } from './clock.ts';
import type { Applied, Lease, Observer, Quarantined, Resume, Sink, Source, Stage } from './contracts.ts';
import { PipelineError } from './errors.ts';
import { eventId, type LaneId, type Position } from './event.ts';
import { Lasting } from './lasting.ts';
import { countFailed } from './slo.ts';

export interface PipelineParts {
  readonly source: Source;
  readonly stages: readonly Stage[];
  readonly sink: Sink;
  /** Told of every batch once it is committed, in lane order. */
  readonly observers?: readonly Observer[];
  readonly clock?: Clock;
}

export interface PipelineSignals {
  /** Stop reading, finish what was read, commit it, return. */
  readonly drain: AbortSignal;
  /** Stop now. What was in flight is read again from the checkpoint next time. */
  readonly abort: AbortSignal;
}

/**
 * Runs until the source ends, `drain` aborts, or something throws. There is one way to recover from any
 * failure: throw, and run again from the checkpoint. So an error path is the same path as a crash.
 */
export async function runPipeline(parts: PipelineParts, signals: PipelineSignals): Promise<void> {
  const clock = parts.clock ?? systemClock;
  const leases = new Map<LaneId, Lease>();
  const places = new Map<LaneId, Position | null>();
  const resume: Resume = async (lane) => {
    const lease = await parts.sink.acquire(lane);
    leases.set(lane, lease);
    places.set(lane, lease.checkpoint?.position ?? null);
    return lease;
  };

  // A failure anywhere must stop the source before the error travels back through the generators: each waits
  // for the one before it to finish, and a source that waits for its next change finishes only when told to.
  const failure = new AbortController();
  const working = AbortSignal.any([signals.abort, failure.signal]);
  const reading = AbortSignal.any([signals.drain, working]);

  let batches: AsyncIterable<Batch> = inOrder(parts.source.read(resume, reading), places);
  for (const stage of parts.stages) batches = through(stage, ahead(batches), working, failure, clock);
  if (parts.sink.prepare !== undefined)
    batches = ahead(prepared(parts.sink, ahead(batches), (batch) => leaseOf(batch, parts, leases), failure, clock));

  const lasting = new Lasting(parts.source, parts.sink, working);
  for await (const batch of ahead(batches)) {
    try {
      working.throwIfAborted();
      if (parts.source.isAbandoned?.(batch) === true) continue;
      const lease = leaseOf(batch, parts, leases);
      const started = clock.monotonic();
      const applied = await deliver(parts, batch, lease, working);
      batch.millisByStage.sync += clock.monotonic() - started;
      closeLedger(batch, applied);
      for (const observe of parts.observers ?? []) observe({ batch, applied, millisByStage: batch.millisByStage });
      await lasting.acknowledge(applied.checkpoint); // Invariant 5: only what is committed.
    } catch (error) {
      if (isLeaseLost(error) && parts.source.isAbandoned?.(batch) === true) continue;
      failure.abort(error);
      throw error;
    }
  }
  working.throwIfAborted();
}

function isLeaseLost(error: unknown): boolean {
  return error instanceof PipelineError && error.code === 'LEASE_LOST';
}

function leaseOf(batch: Batch, { source }: PipelineParts, leases: ReadonlyMap<LaneId, Lease>): Lease {
  const lease = leases.get(batch.lane);
  if (lease === undefined) throw new PipelineError('BUG', `${source.name} yielded a lane it never resumed`);
  return lease;
}

/** Each pass either commits the batch or moves at least one more of its events to quarantine, so it ends. Invariants 1 and 2. */
async function deliver(parts: PipelineParts, batch: Batch, lease: Lease, signal: AbortSignal): Promise<Applied> {
  for (let pass = 0; pass <= batch.size; pass++) {
    const outcome = await parts.sink.apply(batch, quarantined(batch), lease, signal);
    if (outcome.kind === 'applied') return outcome;
    for (const finding of outcome.findings) {
      countFailed(batch, finding);
      batch.mark(finding);
    }
  }
  throw new PipelineError('BUG', `${parts.sink.name} refuses a batch without naming a new event`);
}

/** Invariant 8: every event that came in is accounted for once. */
function closeLedger(batch: Batch, applied: Applied): void {
  const { upserts, deletes, truncates, stale, folded, held, dropped } = applied;
  const out = upserts + deletes + truncates + stale + folded + held + dropped;
  if (out !== batch.size) {
    throw new PipelineError(
      'BUG',
      `the ledger of ${batch.lane} at ${batch.checkpoint.position} does not close: ${batch.size} in, ${out} out`,
    );
  }
}

function quarantined(batch: Batch): Quarantined[] {
  if (!batch.holds) return [];
  const findings = new Map<number, Finding[]>();
  for (const finding of batch.findings) {
    const known = findings.get(finding.index);
    if (known === undefined) findings.set(finding.index, [finding]);
    else known.push(finding);
  }
  const held: Quarantined[] = [];
  for (const [index, verdict] of batch.verdicts.entries()) {
    const event = verdict === Verdict.Quarantine || verdict === Verdict.Staged ? batch.event(index) : undefined;
    if (event === undefined) continue;
    const lot = batch.lotOf(index);
    const revision = batch.revisions.get(event.dataset.name) ?? null;
    const record = batch.recordOf?.(index) ?? null;
    held.push({ id: eventId(event), lane: batch.lane, event, findings: findings.get(index) ?? [], revision, record, lot });
  }
  return held;
}

/** Tells each batch where it goes on from. */
async function* inOrder(batches: AsyncIterable<Batch>, places: Map<LaneId, Position | null>): AsyncGenerator<Batch> {
  for await (const batch of batches) {
    batch.after = places.get(batch.lane) ?? null;
    places.set(batch.lane, batch.checkpoint.position);
    yield batch;
  }
}

async function* through(
  stage: Stage,
  batches: AsyncIterable<Batch>,
  signal: AbortSignal,
  failure: AbortController,
  clock: Clock,
): AsyncGenerator<Batch> {
  for await (const batch of batches) {
    try {
      const started = clock.monotonic();
      await stage.run(batch, signal);
      batch.millisByStage[stage.name] += clock.monotonic() - started;
    } catch (error) {
      failure.abort(error);
      throw error;
    }
    yield batch;
  }
}

async function* prepared(
  sink: Sink,
  batches: AsyncIterable<Batch>,
  leaseOf: (batch: Batch) => Lease,
  failure: AbortController,
  clock: Clock,
): AsyncGenerator<Batch> {
  for await (const batch of batches) {
    try {
      const started = clock.monotonic();
      sink.prepare?.(batch, quarantined(batch), leaseOf(batch));
      batch.millisByStage.sync += clock.monotonic() - started;
    } catch (error) {
      failure.abort(error);
      throw error;
    }
    yield batch;
  }
}

/** Asks for the next item while the last one is being worked on, so that neighbouring stages overlap. */
async function* ahead<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]();
  const pull = () => {
    const next = iterator.next();
    next.catch(() => {}); // Awaited on the next turn; until then a rejection must not count as unhandled.
    return next;
  };
  try {
    for (let next = pull(); ;) {
      const result = await next;
      if (result.done === true) return;
      next = pull();
      yield result.value;
    }
  } finally {
    await iterator.return?.();
  }
}
