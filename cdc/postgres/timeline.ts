/**
 * Which of a server's histories a lane has read. A standby that is promoted begins a new timeline where its log ends; what the old primary wrote beyond is in
 * no log any more, though a lane may have it. Such a lane must not go on as if nothing had been there.
 */
import { fromLsn, toLsn } from '../../core/position.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import type { LanePlace } from './lane-position.ts';

/** The timeline that the server writes: no standby does. */
export async function timelineOf(connection: PgConnection): Promise<number> {
  const found = await connection.query('select pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn())');
  return Number.parseInt(found.rows[0]?.[0]?.slice(0, 8) ?? '', 16);
}

/**
 * A lane's place as one of the server's timeline; or why the server does not have the log up to there. Of what was read on without a commit nothing is missed:
 * then the lane stands where the timelines part, and what the server has committed from there on is still to come. `connect` opens a walsender, which alone can be
 * asked for the history of a timeline.
 */
export async function placeOnTimeline(
  place: LanePlace,
  timeline: number,
  connect: () => Promise<PgConnection>,
): Promise<LanePlace | { readonly lost: string }> {
  if (timeline === place.timeline) return place;
  await using walsender = await connect();
  const [history] = timeline === 1 ? [] : await walsender.script(`TIMELINE_HISTORY ${timeline}`);
  const end = endOf(place.timeline, history?.rows[0]?.[1] ?? '');
  // A transaction that is done in part has to be there to its end.
  const wanted = place.within?.commit ?? place.lsn;
  if (end !== null && wanted <= end)
    return { ...place, timeline, readOn: place.readOn === null || place.readOn < end ? place.readOn : end };
  const what = `the lane has read timeline ${place.timeline} of the server, which is at timeline ${timeline} now`;
  if (end === null) return { lost: `${what}, and does not come from there` };
  return {
    lost: `${what}: a standby took over that lacks the log from ${toLsn(end)} to ${toLsn(wanted)}; should nothing have been committed there, recovering finds no difference`,
  };
}

/** Where a history (lines of timeline, place, reason) leaves a timeline: 16 hex digits; null where it was never on it. */
function endOf(timeline: number, history: string): string | null {
  for (const line of history.split('\n')) {
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line);
    if (match !== null && Number(match[1]) === timeline) return fromLsn(match[2] ?? '');
  }
  return null;
}
