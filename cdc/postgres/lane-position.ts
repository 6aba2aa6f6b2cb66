/**
 * Places in a replication slot's lane, as strings whose order is the lane's order.
 *
 *     <end lsn>                                   after the commit that ends there
 *     <end lsn>#<commit lsn>:<events>             inside the next transaction, after so many of its events
 *     <end lsn>@<seq>.<progress>                  the first, while a snapshot is under way (or ended just there)
 *     <end lsn>@<seq>.<progress>#<commit lsn>:<events>
 *
 * LSNs are 16 hex digits, `seq` and `events` 8. Commits arrive in the order of their end LSNs. Several places may share an end LSN (a chunk
 * larger than a batch); `seq` counts the steps of the snapshot, so that they sort. `#` and what follows only ever extends a place.
 */
import type { Position } from '../../core/event.ts';
import { PipelineError } from '../../core/errors.ts';

/** How far the snapshot of one table is. */
export interface TableProgress {
  /** `schema.table` as in the config. */
  readonly table: string;
  readonly rowsDone: number;
  /** The key of the last row copied, as the server's text of each key column; null before the first chunk. */
  readonly last: readonly string[] | null;
  readonly done: boolean;
}

/** The progress of a snapshot as the lane's positions carry it. `tables` is empty when all of it is done. */
export interface SnapshotMark {
  readonly seq: number;
  readonly tables: readonly TableProgress[];
  /** `@<seq>.<progress>`. */
  readonly text: string;
}

export interface LanePlace {
  /** End of the last commit that is wholly done: 16 hex digits. */
  readonly lsn: string;
  readonly snapshot: SnapshotMark | null;
  /** The transaction that is done in part: its commit LSN and how many of its events. */
  readonly within: { readonly commit: string; readonly events: number } | null;
}

/** A snapshot's progress, ready to be written into positions. Tables that are all done become an empty mark. */
export function snapshotMark(seq: number, tables: readonly TableProgress[]): SnapshotMark {
  const pending = tables.some((table) => !table.done);
  const kept = pending ? tables : [];
  const compact = kept.map(({ table, rowsDone, last, done }) => [table, rowsDone, done ? 1 : last]);
  const progress = pending ? Buffer.from(JSON.stringify(compact)).toString('base64url') : '';
  return { seq, tables: kept, text: `@${hex8(seq)}.${progress}` };
}

/** The position after the commit that ends at `lsn`. A mark that is all done is only said where the snapshot ended. */
export function placeText(lsn: string, snapshot: SnapshotMark | null): Position {
  return (snapshot === null ? lsn : lsn + snapshot.text) as Position;
}

/** The position inside the transaction that follows `place` and commits at `commit`, after `events` of its events. */
export function withinText(place: Position, commit: string, events: number): Position {
  return `${place}#${commit}:${hex8(events)}` as Position;
}

export function parsePlace(position: Position): LanePlace {
  const match = /^([0-9a-f]{16})(?:@([0-9a-f]{8})\.([A-Za-z0-9_-]*))?(?:#([0-9a-f]{16}):([0-9a-f]{8}))?$/.exec(position);
  if (match === null) throw new PipelineError('BUG', 'a position of a replication slot that no version of this source wrote');
  const [, lsn = '', seq, progress = '', commit, events] = match;
  return {
    lsn,
    snapshot: seq === undefined ? null : { seq: Number.parseInt(seq, 16), tables: parseProgress(progress), text: `@${seq}.${progress}` },
    within: commit === undefined || events === undefined ? null : { commit, events: Number.parseInt(events, 16) },
  };
}

function parseProgress(progress: string): readonly TableProgress[] {
  if (progress === '') return [];
  // Written by `snapshotMark` alone, into the target's lane table.
  const compact = JSON.parse(Buffer.from(progress, 'base64url').toString('utf8')) as [string, number, 1 | string[] | null][];
  return compact.map(([table, rowsDone, at]) => ({ table, rowsDone, last: at === 1 ? null : at, done: at === 1 }));
}

const hex8 = (n: number): string => n.toString(16).padStart(8, '0');
