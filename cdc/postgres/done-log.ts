/**
 * What of the log a lane has done already when a run begins, and how far the server may hear that it has. The server may be one whose disk was put back to a time before
 * the lane's place, and have written another log since: until what the lane has done came by, where that has to be shown, or as far as the log has come by, nothing is known of that,
 * and the server must not forget anything.
 */
import { PipelineError } from '../../core/errors.ts';
import { toLsn } from '../../core/position.ts';
import type { Position } from '../../core/event.ts';
import { type LanePlace, type LastCommit, reachedLsn } from './lane-position.ts';

/** Where a slot is read from, and what has to come then. */
export interface Beginning {
  /** 16 hex digits. */
  readonly from: string;
  /** The transaction that has to come first, and that the lane has done; null where the server is known to have it. */
  readonly expected: LastCommit | null;
}

/**
 * `confirmed` is up to where the slot's server has heard that the target has the log. Where that is beyond the beginning of the lane's last commit, the server's disk has that commit. Else
 * (the server, or the service, ended before it was kept) the transaction is read once more, which the slot has still. What was read on without a commit is asked for again in any case: in
 * another history there may be a commit in it, which then is new.
 */
export function beginning({ lsn, last }: LanePlace, confirmed: string): Beginning {
  if (last !== null && confirmed <= last.commit) return { from: last.commit, expected: last };
  return { from: confirmed > lsn ? confirmed : lsn, expected: null };
}

/** A place that a server takes for none. */
const NOWHERE = '0'.repeat(16);

export class DoneLog {
  #expected: LastCommit | null;
  /** The transaction that is done in part. */
  #within: LanePlace['within'];
  /** How far the log has come by. */
  #come: string;
  #acknowledged: string;
  /** The first transaction of this run that the log did not have when the lane had read on beyond it: places before it say too much of what is done. */
  #unforeseen: string | null = null;

  /** `acknowledged` is the place (16 hex digits) that the target has for sure. */
  constructor({ from, expected }: Beginning, within: LanePlace['within'], acknowledged: string) {
    this.#expected = expected;
    this.#within = within;
    this.#come = expected === null ? from : NOWHERE;
    this.#acknowledged = acknowledged;
  }

  /** Whether what is read now is one that the lane has done to its end. */
  get isKnown(): boolean {
    return this.#expected !== null;
  }

  /** Whether all that the lane has done has come by. */
  get isPassed(): boolean {
    return this.#expected === null && this.#within === null;
  }

  /** Invariant 5: the server hears of this place (16 hex digits) and never of a later one. */
  get told(): string {
    return this.#acknowledged < this.#come ? this.#acknowledged : this.#come;
  }

  /** The newest place that the target has. */
  get acknowledged(): string {
    return this.#acknowledged;
  }

  /** The target has the lane at `position`. Answers whether that is news. */
  acknowledge(position: Position): boolean {
    const reached = reachedLsn(position);
    const first = this.#unforeseen;
    const lsn = first !== null && position.slice(0, 16) <= first && first < reached ? first : reached;
    if (lsn <= this.#acknowledged) return false;
    this.#acknowledged = lsn;
    return true;
  }

  /** A transaction begins. Answers how many of its events the lane has; null where it has all. */
  begin(commit: string, xid: number, atMs: number): number | null {
    const expected = this.#expected;
    if (expected !== null) {
      if (commit !== expected.commit || xid !== expected.xid || atMs !== expected.atMs) throw lost(expected.commit);
      return null;
    }
    const within = this.#within;
    if (within === null) {
      if (commit < this.#acknowledged) this.#unforeseen = this.#acknowledged = commit;
      return 0;
    }
    // A restart inside a transaction: what is done is left out, and nothing is applied twice. The place inside it stays until it comes.
    if (commit < within.commit) return null;
    if (commit > within.commit) throw lost(within.commit);
    this.#within = null;
    return within.events;
  }

  /** A transaction has come to its end. Answers whether it is one that the lane had not done to its end. */
  commit(endLsn: string): boolean {
    if (this.#expected === null) {
      if (this.#within !== null) return false;
      this.#comeBy(endLsn);
      return true;
    }
    this.#expected = null;
    this.#comeBy(endLsn);
    return false;
  }

  /** All that committed before `lsn` has come by. */
  reach(lsn: string): void {
    const missed = this.#expected ?? this.#within;
    if (missed === null) this.#comeBy(lsn);
    else if (lsn > missed.commit) throw lost(missed.commit);
  }

  #comeBy(lsn: string): void {
    if (lsn > this.#come) this.#come = lsn;
  }
}

const lost = (commit: string): PipelineError =>
  new PipelineError(
    'SOURCE_POSITION_LOST',
    `the server does not have the transaction that the lane has read at ${toLsn(commit)}: its disk was put back to a time before, or it is another copy of it`,
  );
