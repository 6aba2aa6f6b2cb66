/**
 * Which log a lane has read: that of one server (its system identifier), on one of its timelines. Another server has another log, whatever its slots are called. A standby that is promoted
 * begins a new timeline where its log ends; what the old primary wrote beyond is in no log any more, though a lane may have it. Such a lane must not go on as if nothing
 * had been there. What neither shows, a server whose disk was put back, is found by the last transaction that the lane has: see done-log.ts.
 */
import type { Clock } from '../../core/clock.ts';
import { fromLsn, fromLsnNumber, toLsn, toLsnNumber } from '../../core/position.ts';
import type { PgConnection } from '../../wire/postgres/connection.ts';
import { closeSoon } from './connect.ts';
import { sourceFailure } from './failures.ts';
import type { LanePlace, PlaceLog } from './lane-position.ts';
import { answeredWithin } from './slot-reader.ts';

/** The log that the server writes: no standby does. */
export type ServerLog = Pick<PlaceLog, 'timeline'> & { readonly system: string };

export interface LookParts {
  /** Opens a walsender: only that can be asked for the history of a timeline, and needs no right beyond reading a slot. */
  readonly connect: () => Promise<PgConnection>;
  readonly silenceMs: number;
  readonly clock: Clock;
}

/** A server's log, and a lane's place as one in it; or why the server does not have the log up to there. */
export interface FoundPlace {
  readonly log: ServerLog;
  /** Null where there was none, or it is lost. */
  readonly place: LanePlace | null;
  readonly lost: string | null;
}

export async function findPlace(place: LanePlace | null, { connect, silenceMs, clock }: LookParts): Promise<FoundPlace> {
  const walsender = await connect();
  try {
    return await answeredWithin(walsender, silenceMs, clock, async () => {
      const log = await logOf(walsender);
      const found = place === null ? null : await placeIn(log, place, walsender);
      return found !== null && 'lost' in found ? { log, place: null, lost: found.lost } : { log, place: found, lost: null };
    });
  } catch (error) {
    throw sourceFailure(error, 'connecting', 'asking the source which log it writes');
  } finally {
    await closeSoon(walsender);
  }
}

export async function logOf(walsender: PgConnection): Promise<ServerLog> {
  const [result] = await walsender.script('IDENTIFY_SYSTEM');
  const [system, timeline] = result?.rows[0] ?? [];
  return { system: fromLsnNumber(BigInt(system ?? '0')), timeline: Number(timeline) };
}

/**
 * Of what was read on without a commit nothing is missed: then the lane stands where the timelines part, and what the server has committed from there on is still to
 * come. Where the place says nothing of the server, it is from here on.
 */
async function placeIn(log: ServerLog, place: LanePlace, walsender: PgConnection): Promise<LanePlace | { readonly lost: string }> {
  const { system, timeline } = log;
  if (place.system !== null && place.system !== system) {
    return {
      lost: `the lane has read the server with the system identifier ${decimal(place.system)}, and this one has ${decimal(system)}: it is another server, or it was upgraded`,
    };
  }
  if (timeline === place.timeline) return { ...place, system };
  const [history] = timeline === 1 ? [] : await walsender.script(`TIMELINE_HISTORY ${timeline}`);
  const end = endOf(place.timeline, history?.rows[0]?.[1] ?? '');
  // A transaction that is done in part has to be there to its end.
  const wanted = place.within?.commit ?? place.lsn;
  if (end !== null && wanted <= end) return { ...place, ...log, readOn: place.readOn === null || place.readOn < end ? place.readOn : end };
  const what = `the lane has read timeline ${place.timeline} of the server, which is at timeline ${timeline} now`;
  if (end === null) return { lost: `${what}, and does not come from there` };
  return {
    lost: `${what}: a standby took over that lacks the log from ${toLsn(end)} to ${toLsn(wanted)}; should nothing have been committed there, recovering finds no difference`,
  };
}

/** As PostgreSQL writes a system identifier. */
const decimal = (system: string): string => toLsnNumber(system).toString();

/** Where a history (lines of timeline, place, reason) leaves a timeline: 16 hex digits; null where it was never on it. */
function endOf(timeline: number, history: string): string | null {
  for (const line of history.split('\n')) {
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line);
    if (match !== null && Number(match[1]) === timeline) return fromLsn(match[2] ?? '');
  }
  return null;
}
