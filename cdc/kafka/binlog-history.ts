/**
 * Histories of a binlog, as one partition shows them. Places in a binlog (file and position) are in the order of commits until another server takes over, or somebody resets it:
 * files are numbered anew then, and later changes would look older. What tells is the transaction's own id (GTID), which goes on across servers: where the place goes back and
 * the id does not, a history begins, and all of it is later than the one before. Where both go back the connector sends again what it has sent, as it does once it was killed.
 *
 * A change alone does not say of which history it is, so what is known is kept with the place of the lane: records that are read again have the versions that they had.
 */
import type { Version } from '../../core/event.ts';

export interface BinlogHistory {
  /** How many there were before. */
  readonly number: number;
  /** Where it began: what stands before that, and is sent again, is of the one before. */
  readonly since: string;
  /** The last place. */
  readonly place: string;
  /** The last ids, the newest at the end; none where the server writes none. */
  readonly seen: readonly Gtid[];
}

interface Gtid {
  /** Within which numbers go on: a domain of MariaDB's, a server of MySQL's (with a tag, perhaps). */
  readonly writer: string;
  readonly number: bigint;
}

export const NO_HISTORY: BinlogHistory = { number: 0, since: '', place: '', seen: [] };

/** As many writers as may take turns; what is sent again is never of one long gone. */
const WRITERS_MAX = 8;
/** Above every number of a file: a version that begins with it is later than any place alone. */
const LATER = 0xf00000;

/** With a change at `place`, which is 16 hex digits. `isSnapshot`: one of a whole snapshot, which is taken where the log ends, and brings no id. */
export function historyWith(known: BinlogHistory, place: string, gtid: unknown, isSnapshot: boolean): BinlogHistory {
  const id = parseGtid(gtid);
  const last = known.seen.find(({ writer }) => writer === id?.writer);
  const isNews = id === null ? isSnapshot : last === undefined || id.number > last.number;
  const isBack = place < known.place;
  if (!isNews && isBack) return known;
  const seen = id === null || !isNews ? known.seen : [...known.seen.filter((one) => one !== last), id].slice(-WRITERS_MAX);
  if (!isBack) return { ...known, place, seen };
  // After a reset numbers begin anew, too; and a snapshot has to be taken.
  return { number: known.number + 1, since: place, place, seen: isSnapshot ? [] : seen };
}

export function versionIn({ number, since }: BinlogHistory, place: string): Version {
  const own = place < since ? number - 1 : number;
  return (own === 0 ? place : `${(LATER + own).toString(16)}${place}`) as Version;
}

/** For the lane's place; null before the first change. */
export function historyText({ number, since, place, seen }: BinlogHistory): string | null {
  if (place === '') return null;
  return [number.toString(16), since, place, seen.map((one) => `${one.writer}~${one.number}`).join(',')].join('+');
}

export function historyOf(text: string | null): BinlogHistory {
  if (text === null) return NO_HISTORY;
  const [number = '', since = '', place = '', seen = ''] = text.split('+');
  const writers = seen === '' ? [] : seen.split(',').map((one) => numbered(one, '~'));
  return { number: Number.parseInt(number, 16), since, place, seen: writers };
}

/** MariaDB: `<domain>-<server>-<number>`. MySQL: `<uuid>:<number>`, or `<uuid>:<tag>:<number>`. */
function parseGtid(gtid: unknown): Gtid | null {
  if (typeof gtid !== 'string') return null;
  const [, domain, number] = /^(\d{1,10})-\d{1,10}-(\d{1,20})$/.exec(gtid) ?? [];
  if (domain !== undefined && number !== undefined) return { writer: domain, number: BigInt(number) };
  return /^[0-9a-fA-F-]{36}(?::\w{1,32})?:\d{1,20}$/.test(gtid) ? numbered(gtid.toLowerCase(), ':') : null;
}

function numbered(text: string, separator: string): Gtid {
  const at = text.lastIndexOf(separator);
  return { writer: text.slice(0, at), number: BigInt(text.slice(at + 1)) };
}
