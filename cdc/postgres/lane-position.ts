/**
 * Places in a replication slot's lane, as strings whose order is the lane's order.
 *
 *     <end lsn>                                   after the commit that ends there
 *     <end lsn>#<commit lsn>:<events>             inside the next transaction, after so many of its events
 *     <end lsn>@<seq>.<progress>                  the first, while a snapshot is under way, or rows are read again
 *     <end lsn>@<seq>.~<tables>                   the first, once it has ended: which tables the lane has
 *     <end lsn>@<seq>.=<tables>                   the same, with the entry of each in the publication
 *     …%<timeline>.<lsn>                          any of these, and the log was read on to that LSN, in which nothing more was committed
 *     …#<commit lsn>:<events>                     the second of all these
 *     …!<timeline>.<system>                       any of all: the server's timeline, and its system identifier
 *     …!<timeline>.<system>.<commit lsn>.<xid>.<time>   the same, with the last transaction that is wholly done
 *     …!<timeline>                                what earlier versions wrote, where the timeline was not the first; on that, nothing
 *
 * LSNs, `system` and `time` are 16 hex digits, `seq`, `events`, `timeline` and `xid` 8. `tables` are hashes of 8 characters each: a table that the config has left out for a while (and
 * whose changes are lost to the lane) must not pass for one that it has. Behind each are 6 characters for its entry: a table that has left the publication and come back
 * while nobody looked has another. Commits arrive in the order of their end LSNs. Several places may share an end LSN (a chunk
 * larger than a batch); `seq` counts the steps of the snapshot, so that they sort. `%`, `#` and what follows only ever extend a place. How far the log was read
 * beyond the last commit is no part of its beginning: a standby that takes over may lack it, and then commits before there.
 */
import { createHash } from 'node:crypto';
import type { Position } from '../../core/event.ts';
import { PipelineError } from '../../core/errors.ts';
import type { NumberedColumn } from '../../core/shape.ts';
import type { KeyTexts } from '../../wire/postgres/row-sums.ts';

/** How far the snapshot of one table is. */
export interface TableProgress {
  /** `schema.table` as in the config. */
  readonly table: string;
  readonly rowsDone: number;
  /** The key of the last row copied, as the server's text of each key column; null before the first chunk. */
  readonly last: readonly string[] | null;
  readonly done: boolean;
  /** Whether the lane has had its rows before, and the copy is there for what the log did not tell. */
  readonly isAgain?: boolean;
  /** Whether the source has it under another name: what changes there is not read, and once it has its own again, all of it is. */
  readonly isAway?: boolean;
  /** Of the table in the publication, as the lane knows it; left out where it does not. */
  readonly entry?: string;
  /** Left out where it is the table's own copy. */
  readonly reread?: Reread;
}

/** Rows of a table that somebody wants to have read again, beside what the lane has of it: all, those that a condition holds for, or those of some keys. */
export interface Reread {
  readonly id: string;
  /** As SQL. */
  readonly where: string | null;
  /** Those that are still to be read; null where rows are not named by their keys. */
  readonly keys: readonly KeyTexts[] | null;
  /** How many rows there are about; null where nobody knows. */
  readonly rowsEstimated: number | null;
  /** Those that are read beside the key: rows come as updates of these cells. Left out where whole rows are read. */
  readonly columns?: readonly NumberedColumn[];
}

export type RereadProgress = TableProgress & { readonly reread: Reread };

/** The same with whole rows from here on. */
export function withWholeRows(progress: TableProgress): TableProgress {
  if (progress.reread === undefined) return progress;
  const { columns, ...reread } = progress.reread;
  return columns === undefined ? progress : { ...progress, reread };
}

/** What the lane's positions say of its snapshot. `tables` and `rereads` are empty when all of it is done. */
export interface SnapshotMark {
  readonly seq: number;
  readonly tables: readonly TableProgress[];
  /** Those that are not done. */
  readonly rereads: readonly RereadProgress[];
  /** The tables that the lane has once it is done, as positions have them; '' while it is not, or where that is not known. */
  readonly had: string;
  /** `@<seq>.<progress>`. */
  readonly text: string;
}

export interface LanePlace {
  /** End of the last commit that is wholly done: 16 hex digits. */
  readonly lsn: string;
  /** How far the log was read beyond that, with no commit in it; null where it was not. */
  readonly readOn: string | null;
  readonly snapshot: SnapshotMark | null;
  /** The transaction that is done in part: its commit LSN and how many of its events. */
  readonly within: { readonly commit: string; readonly events: number } | null;
  /** Of the server's log: see server-log.ts. */
  readonly timeline: number;
  /** The server's system identifier as 16 hex digits; null where the place does not say. */
  readonly system: string | null;
  /** The transaction that ends at `lsn`; null where none was read yet, or the place does not say. */
  readonly last: LastCommit | null;
}

/** A transaction as the log has it. Another history of the server may have one that commits at the same place, but hardly this one. */
export interface LastCommit {
  /** Where its commit begins in the log: 16 hex digits. */
  readonly commit: string;
  /** The lower 32 bits of its number. */
  readonly xid: number;
  /** Unix time in ms. */
  readonly atMs: number;
}

/** Which log a place is in. */
export type PlaceLog = Pick<LanePlace, 'timeline' | 'system' | 'last'>;

/**
 * Up to where a place has all that the server committed: 16 hex digits. Where the log has a transaction that was not there when it was read on (it is another history
 * then), no further than that.
 */
export function doneLsn({ lsn, readOn, within }: Pick<LanePlace, 'lsn' | 'readOn' | 'within'>): string {
  if (readOn === null) return lsn;
  return within !== null && within.commit < readOn ? within.commit : readOn;
}

/** A snapshot's progress, ready to be written into positions. */
export function snapshotMark(seq: number, tables: readonly TableProgress[], rereads: readonly RereadProgress[] = []): SnapshotMark {
  const left = rereads.filter(({ done }) => !done);
  if (tables.every((table) => table.done) && left.length === 0) {
    const had = hadText(tables);
    return { seq, tables: [], rereads: [], had: tables.length === 0 ? '' : had, text: `@${hex8(seq)}.${had}` };
  }
  const compact = tables.map(compactTable);
  const text = JSON.stringify(left.length === 0 ? compact : ({ t: compact, r: left.map(compactReread) } satisfies CompactMark));
  return { seq, tables, rereads: left, had: '', text: `@${hex8(seq)}.${Buffer.from(text).toString('base64url')}` };
}

/** The next step with nothing of the snapshot changed: for rows that come beside it. */
export function nextStep(mark: SnapshotMark | null): SnapshotMark {
  if (mark === null) return snapshotMark(1, []);
  const seq = mark.seq + 1;
  return mark.tables.length > 0 || mark.rereads.length > 0
    ? snapshotMark(seq, mark.tables, mark.rereads)
    : { ...mark, seq, text: `@${hex8(seq)}.${mark.had === '' ? NONE : mark.had}` };
}

/** What is read beside the log: a table's own copy by the name of the table, what is read again by its id. */
export const jobOf = ({ table, reread }: TableProgress): string => reread?.id ?? table;

/** The next step, with one of the jobs as far as `progress` says. */
export function movedOn(mark: SnapshotMark, progress: TableProgress): SnapshotMark {
  const job = jobOf(progress);
  const seq = mark.seq + 1;
  const { reread } = progress;
  if (reread === undefined)
    return snapshotMark(
      seq,
      mark.tables.map((one) => (one.table === job ? progress : one)),
      mark.rereads,
    );
  return snapshotMark(
    seq,
    mark.tables,
    mark.rereads.map((one) => (one.reread.id === job ? { ...progress, reread } : one)),
  );
}

type CompactTable = [
  table: string,
  rowsDone: number,
  at: 1 | readonly string[] | null,
  again?: typeof FIRST | typeof AGAIN | typeof AWAY,
  entry?: string,
];
type CompactReread = [
  id: string,
  table: string,
  rowsDone: number,
  last: readonly string[] | null,
  where: string | null,
  keys: readonly KeyTexts[] | null,
  rowsEstimated: number | null,
  columns?: readonly (readonly [id: number, name: string])[],
];
interface CompactMark {
  readonly t: readonly CompactTable[];
  readonly r: readonly CompactReread[];
}

const FIRST = 0;
const AGAIN = 1;
const AWAY = 2;

function compactTable({ table, rowsDone, last, done, isAgain = false, isAway = false, entry }: TableProgress): CompactTable {
  const how = done || (!isAgain && !isAway) ? FIRST : isAway ? AWAY : AGAIN;
  const at = done ? 1 : last;
  if (entry !== undefined) return [table, rowsDone, at, how, entry];
  return how === FIRST ? [table, rowsDone, at] : [table, rowsDone, at, how];
}

/** Without entries where none is known. */
function hadText(tables: readonly TableProgress[]): string {
  if (tables.every(({ entry }) => entry === undefined)) return NONE + tables.map(({ table }) => hashOf(table)).join('');
  return WITH_ENTRIES + tables.map(({ table, entry = '0' }) => hashOf(table) + entryText(entry)).join('');
}

/** What `had` begins with: how its tables are written. */
const NONE = '~';
const WITH_ENTRIES = '=';
const HASH_CHARACTERS = 8;
const ENTRY_CHARACTERS = 6;
const widthOf = (had: string): number => HASH_CHARACTERS + (had.startsWith(WITH_ENTRIES) ? ENTRY_CHARACTERS : 0);

function entryText(entry: string): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(Number(entry));
  return bytes.toString('base64url');
}

/** Undefined for none: no entry has the number 0. */
function entryFrom(text: string): string | undefined {
  const entry = text === '' ? 0 : Buffer.from(text, 'base64url').readUInt32BE();
  return entry === 0 ? undefined : String(entry);
}

function compactReread({ table, rowsDone, last, reread }: RereadProgress): CompactReread {
  const { id, where, keys, rowsEstimated, columns } = reread;
  if (columns === undefined) return [id, table, rowsDone, last, where, keys, rowsEstimated];
  return [id, table, rowsDone, last, where, keys, rowsEstimated, columns.map((column) => [column.id, column.name] as const)];
}

/** How far the lane is with a table: null where it does not have it, undefined where its place does not say. */
export function progressOf(mark: SnapshotMark | null, table: string): TableProgress | null | undefined {
  if (mark === null) return undefined;
  if (mark.tables.length > 0) return mark.tables.find((one) => one.table === table) ?? null;
  const { had } = mark;
  if (had.length < 2) return undefined;
  const hash = hashOf(table);
  for (let at = 1; at < had.length; at += widthOf(had)) {
    if (!had.startsWith(hash, at)) continue;
    const entry = entryFrom(had.slice(at + HASH_CHARACTERS, at + widthOf(had)));
    return { ...notBegun(table), done: true, ...(entry === undefined ? {} : { entry }) };
  }
  return null;
}

/** Tells the tables that the lane has wholly, where its snapshot is done; none where it is not, or where that is not known. */
export function tablesCopied(mark: SnapshotMark | null): (table: string) => boolean {
  const hashes = new Set<string>();
  const had = mark?.had ?? '';
  for (let at = 1; at < had.length; at += widthOf(had)) hashes.add(had.slice(at, at + HASH_CHARACTERS));
  return (table) => hashes.size > 0 && hashes.has(hashOf(table));
}

export const notBegun = (table: string): TableProgress => ({ table, rowsDone: 0, last: null, done: false });

/** The same with what is known of its entry. */
export const anew = ({ table, entry }: TableProgress): TableProgress =>
  entry === undefined ? notBegun(table) : { ...notBegun(table), entry };

export const awayTable = (progress: TableProgress): TableProgress => ({ ...anew(progress), isAway: true });

/** The same tables, with the entries of those of which none was known; null where that is nothing new. */
export function withEntries(mark: SnapshotMark, tables: readonly string[], entries: ReadonlyMap<string, string>): SnapshotMark | null {
  let isNew = false;
  const known = tables.flatMap((table): TableProgress[] => {
    const progress = progressOf(mark, table);
    if (progress === null || progress === undefined) return [];
    const entry = entries.get(table);
    if (progress.entry !== undefined || entry === undefined) return [progress];
    isNew = true;
    return [{ ...progress, entry }];
  });
  return isNew && known.length === tableCount(mark) ? snapshotMark(mark.seq + 1, known, mark.rereads) : null;
}

/** The same tables, of whose entries nothing is known: what changed meanwhile is looked for in another way. */
export function withoutEntries(mark: SnapshotMark): SnapshotMark {
  const seq = mark.seq + 1;
  if (mark.tables.length > 0) return snapshotMark(seq, mark.tables.map(withoutEntry), mark.rereads);
  const width = widthOf(mark.had);
  const hashes = Array.from({ length: tableCount(mark) }, (_, i) => mark.had.slice(1 + i * width, 1 + i * width + HASH_CHARACTERS));
  const had = hashes.length === 0 ? '' : NONE + hashes.join('');
  return { ...mark, seq, had, text: `@${hex8(seq)}.${had === '' ? NONE : had}` };
}

const withoutEntry = ({ table, rowsDone, last, done, isAgain = false, isAway = false }: TableProgress): TableProgress => ({
  table,
  rowsDone,
  last,
  done,
  ...(isAgain ? { isAgain } : {}),
  ...(isAway ? { isAway } : {}),
});

/** Whether there are rows to be read of it now. */
export const isLeft = ({ done, isAway }: TableProgress): boolean => !done && isAway !== true;

/** How many tables the lane has. */
export function tableCount(mark: SnapshotMark): number {
  return mark.tables.length > 0 ? mark.tables.length : Math.floor(mark.had.length / widthOf(mark.had));
}

const hashOf = (table: string): string => createHash('sha256').update(table).digest('base64url').slice(0, HASH_CHARACTERS);

/** The position after the commit that ends at `lsn`. */
export function placeText(lsn: string, snapshot: SnapshotMark | null): Position {
  return (snapshot === null ? lsn : lsn + snapshot.text) as Position;
}

/** A position made by the one above, where the log of the timeline was read on to `lsn`: in another timeline that may be an earlier place. */
export function readOnText(place: Position, timeline: number, lsn: string): Position {
  return `${place}%${hex8(timeline)}.${lsn}` as Position;
}

/** The same as `doneLsn`, of a position. */
export function reachedLsn(position: Position): string {
  const from = position.indexOf('%');
  if (from === -1) return position.slice(0, 16);
  const readOn = position.slice(from + 10, from + 26);
  if (position[from + 26] !== '#') return readOn;
  const commit = position.slice(from + 27, from + 43);
  return commit < readOn ? commit : readOn;
}

/** The position inside the transaction that follows `place` and commits at `commit`, after `events` of its events. */
export function withinText(place: Position, commit: string, events: number): Position {
  return `${place}#${commit}:${hex8(events)}` as Position;
}

/** A position made by those above, as one of a log. It is said last, so that positions sort as they do without. */
export function inLog(position: Position, { timeline, system, last }: PlaceLog): Position {
  if (system === null) return timeline === 1 ? position : (`${position}!${hex8(timeline)}` as Position);
  const log = `${position}!${hex8(timeline)}.${system}`;
  return (last === null ? log : `${log}.${last.commit}.${hex8(last.xid)}.${last.atMs.toString(16).padStart(16, '0')}`) as Position;
}

export function parsePlace(position: Position): LanePlace {
  const match =
    /^([0-9a-f]{16})(?:@([0-9a-f]{8})\.([~=]?[A-Za-z0-9_-]*))?(?:%[0-9a-f]{8}\.([0-9a-f]{16}))?(?:#([0-9a-f]{16}):([0-9a-f]{8}))?(?:!([0-9a-f]{8})(?:\.([0-9a-f]{16})(?:\.([0-9a-f]{16})\.([0-9a-f]{8})\.([0-9a-f]{16}))?)?)?$/.exec(
      position,
    );
  if (match === null) throw new PipelineError('BUG', 'a position of a replication slot that no version of this source wrote');
  const [, lsn = '', seq, progress = '', readOn = null, commit, events, timeline = '1', system = null, last, xid = '', at = ''] = match;
  return {
    lsn,
    readOn,
    snapshot: seq === undefined ? null : parseMark(seq, progress),
    within: commit === undefined || events === undefined ? null : { commit, events: Number.parseInt(events, 16) },
    timeline: Number.parseInt(timeline, 16),
    system,
    last: last === undefined ? null : { commit: last, xid: Number.parseInt(xid, 16), atMs: Number.parseInt(at, 16) },
  };
}

function parseMark(seq: string, progress: string): SnapshotMark {
  const mark = { seq: Number.parseInt(seq, 16), text: `@${seq}.${progress}` };
  if (progress === '' || progress.startsWith(NONE) || progress.startsWith(WITH_ENTRIES))
    return { ...mark, tables: [], rereads: [], had: progress.slice(1) === '' ? '' : progress };
  // Written by `snapshotMark` alone, into the target's lane table.
  const compact = JSON.parse(Buffer.from(progress, 'base64url').toString('utf8')) as readonly CompactTable[] | CompactMark;
  const { t, r } = 't' in compact ? compact : { t: compact, r: [] };
  const tables = t.map(([table, rowsDone, at, again, entry]) => ({
    table,
    rowsDone,
    last: at === 1 ? null : at,
    done: at === 1,
    ...(again === AGAIN ? { isAgain: true } : {}),
    ...(again === AWAY ? { isAway: true } : {}),
    ...(entry === undefined ? {} : { entry }),
  }));
  const rereads = r.map(([id, table, rowsDone, last, where, keys, rowsEstimated, columns]) => ({
    table,
    rowsDone,
    last,
    done: false,
    reread: {
      id,
      where,
      keys,
      rowsEstimated,
      ...(columns === undefined ? {} : { columns: columns.map(([number, name]) => ({ id: number, name })) }),
    },
  }));
  return { ...mark, tables, rereads, had: '' };
}

const hex8 = (n: number): string => n.toString(16).padStart(8, '0');
