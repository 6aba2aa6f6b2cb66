/** What is counted of each lane: how far it is, its ledger, and how far behind the source. */
import type { Batch } from '../core/batch.ts';
import type { Applied } from '../core/contracts.ts';
import type { LaneId, Position } from '../core/event.ts';
import type { Exposition } from './prometheus.ts';

export interface LaneSeries {
  readonly lane: LaneId;
  readonly position: Position;
  readonly batches: number;
  readonly ledger: LedgerCounts;
  /** Age at its commit of the newest streamed change; null before the first, 0 once the lane has caught up. */
  readonly lagMs: number | null;
  /** As the source says it (`setLaneLag`); null where it does not. */
  readonly lagBytes: number | null;
  /** The same in records, for logs that count those. */
  readonly lagRecords: number | null;
  readonly committedAtMs: number;
}

/** How much of a lane's log is still to be read; null where the source does not say. */
export interface LaneLag {
  readonly bytes: number | null;
  readonly records: number | null;
}

/** Invariant 8: `difference` is what came in minus everything that is accounted for, and is 0 unless there is a bug. */
export interface LedgerCounts {
  readonly events: number;
  readonly upserts: number;
  readonly deletes: number;
  readonly truncates: number;
  readonly stale: number;
  readonly folded: number;
  readonly held: number;
  readonly dropped: number;
  readonly difference: number;
}

export interface LaneCounters {
  position: Position;
  batches: number;
  readonly sums: { -readonly [K in Exclude<keyof LedgerCounts, 'difference'>]: number };
  lagMs: number | null;
  lagBytes: number | null;
  lagRecords: number | null;
  committedAtMs: number;
  /** When the target last had all of the source, as far as is known. */
  asOfMs: number;
}

/** Counts a committed batch of a lane. */
export function countLane(lanes: Map<LaneId, LaneCounters>, batch: Batch, applied: Applied, nowMs: number): void {
  let lane = lanes.get(batch.lane);
  if (lane === undefined) {
    const sums = { events: 0, upserts: 0, deletes: 0, truncates: 0, stale: 0, folded: 0, held: 0, dropped: 0 };
    const { position } = batch.checkpoint;
    lane = { position, batches: 0, sums, lagMs: null, lagBytes: null, lagRecords: null, committedAtMs: nowMs, asOfMs: nowMs };
    lanes.set(batch.lane, lane);
  }
  lane.position = applied.checkpoint.position;
  lane.batches++;
  lane.committedAtMs = nowMs;
  const { sums } = lane;
  sums.events += batch.size;
  sums.upserts += applied.upserts;
  sums.deletes += applied.deletes;
  sums.truncates += applied.truncates;
  sums.stale += applied.stale;
  sums.folded += applied.folded;
  sums.held += applied.held;
  sums.dropped += applied.dropped;
  if (batch.origin !== 'stream') return;
  const newest = batch.events.at(-1);
  // A batch without events only moves the checkpoint: the lane has read everything there is.
  lane.lagMs = newest === undefined ? 0 : Math.max(0, nowMs - newest.committedAtMs);
  lane.asOfMs = newest?.committedAtMs ?? nowMs;
}

/** What is not known is null. */
export function setLag(lane: LaneCounters, lagMs: number | null): void {
  lane.lagBytes = null;
  lane.lagRecords = null;
  lane.lagMs = lagMs;
}

/** As it is told of. */
export function laneSeries(lane: LaneId, of: LaneCounters): LaneSeries {
  return {
    lane,
    position: of.position,
    batches: of.batches,
    ledger: { ...of.sums, difference: ledgerDifference(of) },
    lagMs: isCaughtUp(of) ? 0 : of.lagMs,
    lagBytes: of.lagBytes,
    lagRecords: of.lagRecords,
    committedAtMs: of.committedAtMs,
  };
}

const isCaughtUp = ({ lagBytes, lagRecords }: LaneCounters): boolean => lagBytes === 0 || lagRecords === 0;

/** Invariant 8: in = applied + stale + folded + held + dropped. */
function ledgerDifference({ sums }: LaneCounters): number {
  return sums.events - sums.upserts - sums.deletes - sums.truncates - sums.stale - sums.folded - sums.held - sums.dropped;
}

/** Its part of /metrics. */
export function exposeLanes(out: Exposition, pipeline: string, lanes: ReadonlyMap<LaneId, LaneCounters>, atMs: number): void {
  for (const [lane, of] of lanes) {
    const labels = { pipeline, lane };
    const outcome = (name: string, count: number) =>
      out.counter('tidegate_lane_outcomes_total', 'What became of the events that a lane brought.', { ...labels, outcome: name }, count);
    out.counter('tidegate_lane_events_total', 'Events that a lane brought and committed.', labels, of.sums.events);
    outcome('upserted', of.sums.upserts);
    outcome('deleted', of.sums.deletes);
    outcome('truncated', of.sums.truncates);
    outcome('stale', of.sums.stale);
    outcome('folded', of.sums.folded);
    outcome('held', of.sums.held);
    outcome('dropped', of.sums.dropped);
    out.gauge('tidegate_ledger_difference', 'Events in minus events accounted for; anything but 0 is a bug.', labels, ledgerDifference(of));
    out.counter('tidegate_lane_batches_total', 'Batches committed.', labels, of.batches);
    if (of.lagMs !== null) {
      const help =
        'How far behind the source the target is: 0 once caught up; while nobody reads the lane, the time since it had everything.';
      out.gauge('tidegate_lane_lag_seconds', help, labels, (isCaughtUp(of) ? 0 : of.lagMs) / 1000);
    }
    if (of.lagBytes !== null) out.gauge('tidegate_lane_lag_bytes', 'Bytes of the log of the source still to be read.', labels, of.lagBytes);
    if (of.lagRecords !== null)
      out.gauge('tidegate_lane_lag_records', 'Records of the log of the source still to be read.', labels, of.lagRecords);
    const quietHelp = 'Seconds since the lane last committed anything.';
    out.gauge('tidegate_lane_quiet_seconds', quietHelp, labels, Math.max(0, atMs - of.committedAtMs) / 1000);
  }
}
