/**
 * Which of two changes of a row is the later one, from the `source` block that each brings. PostgreSQL: its own place and the end of the commit before its own
 * (`sequence`), for connectors do not say where its own commit is. MySQL and MariaDB: the place in the binlog, which is in the order of commits, within its history.
 */
import type { Version } from '../../core/event.ts';
import { fromChange, fromLsnNumber } from '../../core/position.ts';
import { type BinlogHistory, historyWith, NO_HISTORY, versionIn } from './binlog-history.ts';
import { Undecodable } from './connect-schema.ts';

export interface SourceVersion {
  readonly version: Version;
  /** Of several rows that one event of the log has: which it is. */
  readonly ordinal: number;
}

type Source = Readonly<Record<string, unknown>>;

/** Two places in the log as a JSON text: `["24023119","24023128"]`. The first is null until a commit has been seen, and in a snapshot. Rows of an incremental one have no other place. */
const SEQUENCE = /^\[(?:null|"(\d{1,20})"),\s*"(\d{1,20})"\]$/;

/** Of one topic. */
export class SourceVersions {
  /** Where the snapshot was taken: what is streamed afterwards was committed behind it, wherever it was changed. */
  #snapshot = 0n;
  /** By partition. */
  readonly #histories = new Map<number, BinlogHistory>();
  /** Rows of a snapshot have one place, one after the other. */
  #last: { readonly sequence: string; readonly snapshot: unknown; readonly behind: bigint; readonly place: SourceVersion } | null = null;

  /** From now on changes of the partition are told that follow those which this knows. Where nobody says so, a place is in the one history that there is. */
  resume(partition: number, history: BinlogHistory): void {
    this.#histories.set(partition, history);
  }

  /** With the changes told until now. */
  history(partition: number): BinlogHistory {
    return this.#histories.get(partition) ?? NO_HISTORY;
  }

  of(source: Source, partition = 0): SourceVersion {
    const { file, connector } = source;
    if (typeof file === 'string') return { version: this.#inBinlog(file, source, partition), ordinal: Number(source['row'] ?? 0) };
    const { lsn: only, sequence } = source;
    const last = this.#last;
    if (last !== null && last.sequence === sequence && last.snapshot === source['snapshot'] && last.behind === this.#snapshot)
      return last.place;
    const [, before, own] = (typeof sequence === 'string' ? SEQUENCE.exec(sequence) : null) ?? [];
    // Others than Debezium have the place of the commit.
    if (own === undefined && isWhole(only)) return { version: fromLsnNumber(BigInt(only)), ordinal: 0 };
    if (own === undefined) throw new Undecodable(`its source block has neither an lsn nor a binlog file (connector ${String(connector)})`);
    const lsn = BigInt(own);
    const isRead = before === undefined && isSnapshot(source['snapshot']);
    if (isRead && lsn > this.#snapshot) this.#snapshot = lsn;
    const after = before === undefined ? (isRead ? 0n : this.#snapshot + 1n) : BigInt(before);
    const place = { version: fromChange(after, lsn), ordinal: 0 };
    if (typeof sequence === 'string') this.#last = { sequence, snapshot: source['snapshot'], behind: this.#snapshot, place };
    return place;
  }

  #inBinlog(file: string, source: Source, partition: number): Version {
    const place = binlogPlace(file, source);
    const known = this.#histories.get(partition);
    if (known === undefined) return place as Version;
    const history = historyWith(known, place, source['gtid'], isSnapshot(source['snapshot']));
    this.#histories.set(partition, history);
    return versionIn(history, place);
  }
}

/** `true`, `first`, `last` and others; `incremental` stands among the changes. */
const isSnapshot = (snapshot: unknown): boolean =>
  snapshot === true || (typeof snapshot === 'string' && snapshot !== 'false' && snapshot !== 'incremental');

/** MySQL and MariaDB: the number of the file, then the place in it. */
function binlogPlace(file: string, { pos }: Source): string {
  const number = /\.(\d+)$/.exec(file)?.[1];
  if (number === undefined || !isWhole(pos)) throw new Undecodable('its source block names no place in the binlog');
  return `${hex(BigInt(number), 6)}${hex(BigInt(pos), 10)}`;
}

const hex = (value: bigint, digits: number): string => value.toString(16).padStart(digits, '0');

const isWhole = (value: unknown): value is number | bigint =>
  typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0);
