/**
 * Which of two changes of a row is the later one, from the `source` block that each brings. It is the place of the change in the log of the source, and not its
 * commit's, which connectors do not say: two changes of one row are in the same order by either, for the second waits for the first one's commit.
 */
import type { Version } from '../../core/event.ts';
import { fromLsnNumber } from '../../core/position.ts';
import { Undecodable } from './connect-schema.ts';

export interface SourceVersion {
  readonly version: Version;
  /** Of several rows that one event of the log has: which it is. */
  readonly ordinal: number;
}

type Source = Readonly<Record<string, unknown>>;

export function versionOfSource(source: Source): SourceVersion {
  const { lsn, file, connector } = source;
  if (isWhole(lsn)) return { version: fromLsnNumber(BigInt(lsn)), ordinal: 0 };
  if (typeof file === 'string') return { version: fromBinlog(file, source), ordinal: Number(source['row'] ?? 0) };
  throw new Undecodable(`its source block has neither an lsn nor a binlog file (connector ${String(connector)})`);
}

/** MySQL and MariaDB: the number of the file, then the place in it. Files are numbered on and on, until somebody resets them or another server takes over. */
function fromBinlog(file: string, { pos }: Source): Version {
  const number = /\.(\d+)$/.exec(file)?.[1];
  if (number === undefined || !isWhole(pos)) throw new Undecodable('its source block names no place in the binlog');
  return `${hex(BigInt(number), 6)}${hex(BigInt(pos), 10)}` as Version;
}

const hex = (value: bigint, digits: number): string => value.toString(16).padStart(digits, '0');

const isWhole = (value: unknown): value is number | bigint =>
  typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0);
