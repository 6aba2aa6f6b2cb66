/** Places in a source's log, written so that string order is log order: comparable here, in SQL, and in a file. */
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
