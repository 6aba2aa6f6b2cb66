/** Places in a source's log, written so that string order is log order: comparable here, in SQL, and in a file. */
import { createHash } from 'node:crypto';
import { PipelineError } from './errors.ts';
import type { Position, Version } from './event.ts';

/** A Postgres LSN ("16/B374D848") is a place in its slot's lane and a version of the rows it committed. */
export function fromLsn(lsn: string): Position & Version {
  const [high = '', low = ''] = lsn.split('/');
  return `${high.padStart(8, '0')}${low.padStart(8, '0')}`.toLowerCase() as Position & Version;
}

/** The same from the 64-bit number of the protocol. */
export function fromLsnNumber(lsn: bigint): Position & Version {
  return lsn.toString(16).padStart(16, '0') as Position & Version;
}

/** The 64-bit number of a position or version made by `fromLsn`; whatever follows the first 16 digits is left out. */
export function toLsnNumber(position: string): bigint {
  return BigInt(`0x${position.slice(0, 16)}`);
}

/** The LSN of a position or version as PostgreSQL writes it, for people and for SQL; whatever follows the first 16 digits is left out. */
export function toLsn(position: string): string {
  const part = (text: string): string => Number.parseInt(text, 16).toString(16).toUpperCase();
  return `${part(position.slice(0, 8))}/${part(position.slice(8, 16))}`;
}

/**
 * A version of a row whose source tells, of a change, its own place and that of the commit before its own, and not of its own commit: that stands behind both. The
 * first half is as close to it as is known, and can be compared with the place of a commit; the second tells changes of one transaction apart.
 */
export function fromChange(commitBefore: bigint, lsn: bigint): Version {
  return `${fromLsnNumber(commitBefore > lsn ? commitBefore : lsn)}.${fromLsnNumber(lsn)}` as Version;
}

/** The 16 digits of a version that tell the place of the change or its commit in the log. */
export function placeDigits(version: Version): string {
  return version[16] === '.' && version.length === 33 ? version.slice(17) : version.slice(0, 16);
}

/** A Kafka offset is only a place in its partition's lane: when partitions are added, keys move between lanes. */
export function fromOffset(offset: bigint): Position {
  return offset.toString(16).padStart(16, '0') as Position;
}

/** A version of a change whose place in its source's log nobody tells: it orders changes of one partition, and nothing else. */
export function unplaced(offset: bigint): Version {
  return `${fromOffset(offset)}${UNPLACED}` as Version;
}

/** Whether a version is a place in the source's own log, by which changes that came by several lanes can be compared. */
export const hasPlace = (version: Version): boolean => !version.endsWith(UNPLACED);

const UNPLACED = '@';

/**
 * A position that says something long behind its step (`<lsn>@<step>.<long>…`: the tables of a slot's lane, or how far their copies are), taken apart, so that what seldom changes
 * need not be written with every checkpoint. `place` has a hash of it instead, so that equal places are equal positions. It is none that a source reads: an earlier version
 * that finds one stops, and does not take it for a lane without tables.
 */
export interface ApartPosition {
  readonly place: string;
  /** Null where the position is `place` itself. */
  readonly long: string | null;
}

/** Shorter ones stay as they are: their rows are as cheap to write, and earlier versions read them. */
const LONG = 256;
const LONG_POSITION = new RegExp(String.raw`^([0-9a-f]{16}@[0-9a-f]{8}\.)([~=]?[A-Za-z0-9_-]{${LONG},})(?![A-Za-z0-9_-])`);
const APART_PLACE = /^([0-9a-f]{16}@[0-9a-f]{8}\.)\*([A-Za-z0-9_-]{22})(?![A-Za-z0-9_-])/;

export function takeApart(position: Position): ApartPosition {
  const match = position.length < LONG ? null : LONG_POSITION.exec(position);
  if (match === null) return { place: position, long: null };
  const [all, begin = '', long = ''] = match;
  return { place: `${begin}*${longHash(long)}${position.slice(all.length)}`, long };
}

/** The position that was taken apart into these. */
export function putTogether(place: string, long: string | null): Position {
  const match = APART_PLACE.exec(place);
  if (match === null) return place as Position;
  const [all, begin = '', hash] = match;
  if (long === null || longHash(long) !== hash) throw new PipelineError('BUG', 'a position is kept with another long part than its own');
  return `${begin}${long}${place.slice(all.length)}` as Position;
}

const longHash = (long: string): string => createHash('sha256').update(long).digest('base64url').slice(0, 22);
