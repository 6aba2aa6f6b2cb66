/**
 * Decoder of pgoutput (protocol version 1, binary), the format of PostgreSQL's logical replication: "Logical Replication Message Formats" in
 * its manual. The rows of a followed change are copied into an arena that those of a batch share, in the form that COPY BINARY has them in: so one or many of
 * them go to a target as they lie there. A row is a run of offsets and lengths into it, and nothing is decoded here but lengths.
 */
import { CELL_NULL, CELL_UNCHANGED, type Version } from '../../core/event.ts';
import { PipelineError } from '../../core/errors.ts';
import { type PgRelation, PgRow } from '../../wire/postgres/row.ts';
import { PgEvent } from './pg-event.ts';

/** A table as the log describes it at the time of its next change. */
export interface RelationMessage {
  readonly oid: number;
  readonly schema: string;
  readonly table: string;
  /** pg_class.relreplident: default, nothing, full, index. */
  readonly identity: 'd' | 'n' | 'f' | 'i';
  readonly columns: readonly RelationColumn[];
}
export interface RelationColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typmod: number;
  /** Whether it is part of the replica identity (with identity `full` every column is). */
  readonly inKey: boolean;
}

/** What a decoder needs to know of a table that is followed. */
export interface FollowedTable {
  readonly table: string;
  readonly relation: PgRelation;
  /** Old rows that are sent for whole ones have their key alone. */
  readonly hasKeysAlone?: boolean;
  /** Whether the publication has only rows of a condition. Then an insert may be what the server made of an update, and lack the large values that did not change. */
  readonly isFiltered: boolean;
}

/** What a message came to. `Ignored`: of a table that is not followed, or of no interest. */
export const Read = { Ignored: 0, Event: 1, Begin: 2, Commit: 3, Relation: 4, Truncate: 5, Message: 6, Origin: 7 } as const;
export type Read = (typeof Read)[keyof typeof Read];

const CELLS_PER_CHUNK = 1 << 15;
const ARENA_BYTES = 1 << 18;
/** Up to so many bytes a loop beats a call into the runtime (measured). */
const SMALL_CELL = 128;
/** A null is a byte here, and the length -1 in a COPY. */
const NULL_GROWS = 3;
const POSTGRES_EPOCH_MS = 946_684_800_000;
const BINARY = 98; // 'b'
const TEXT = 116; // 't'
const NULL = 110; // 'n'
const UNCHANGED = 117; // 'u'
const KEY = 75; // 'K'
const NEW = 78; // 'N'

/**
 * `read` takes one message and says what it was; its content is then in the fields. One decoder a connection: it knows the relations
 * that the server has described on it (`follow`), and the transaction it is in.
 */
export class PgoutputDecoder {
  /** After `Event`. */
  event: PgEvent | null = null;
  /** After `Event`: the table it is of. */
  followed: FollowedTable | null = null;
  /** After `Truncate`: one event for each followed table. */
  truncates: { readonly followed: FollowedTable; readonly event: PgEvent }[] = [];
  /** After `Relation`: `follow` has to be called before the next message. */
  relation: RelationMessage | null = null;
  /** After `Message`. Others' may be of any size and content: `content` reads it, until the next message is read. */
  message: { readonly transactional: boolean; readonly prefix: string; readonly content: () => string } = {
    transactional: false,
    prefix: '',
    content: () => '',
  };
  /** Since `Begin`: the transaction's commit LSN (16 hex digits), which is the version of its rows, its id and its commit time. */
  commitLsn = '' as Version;
  xid = 0;
  committedAtMs = 0;
  /** After `Commit`: where the transaction ends (16 hex digits). */
  endLsn = '';
  /** Changes met in this transaction so far, those of ignored tables included: so an ordinal never depends on what is followed. */
  changes = 0;

  readonly #followed = new Map<number, FollowedTable | null>();
  #lastOid = 0;
  #last: FollowedTable | null = null;
  #cells = new Int32Array(CELLS_PER_CHUNK);
  #used = 0;
  /** Chunks are never moved or used again: rows keep theirs alive, and it goes with them. */
  #arena = Buffer.allocUnsafeSlow(ARENA_BYTES);
  #arenaView = viewOf(this.#arena);
  #arenaUsed = 0;
  /** Where reading stands in `#bytes`, while a message is read that ends at `#end`. */
  #bytes: Buffer = this.#arena;
  #view = this.#arenaView;
  #at = 0;
  #end = 0;
  #owned = false;
  #isCut = false;

  /** Answers a `Relation`: how events of that oid are made from now on, or null for a table that is not followed. */
  follow(oid: number, followed: FollowedTable | null): void {
    this.#followed.set(oid, followed);
    this.#lastOid = 0;
  }

  /** Reads the message in `bytes` from `at` to `end`. The caller may use `bytes` again, unless they are ours: `owned`. `isCut`: cells are missing that were sent. */
  read(bytes: Buffer, at: number, end: number, owned = false, isCut = false): Read {
    this.#owned = owned;
    this.#isCut = isCut;
    switch (bytes[at]) {
      case 73: // 'I'
        return this.#insert(bytes, at, end);
      case 85: // 'U'
        return this.#update(bytes, at, end);
      case 68: // 'D'
        return this.#delete(bytes, at, end);
      case 66: // 'B'
        this.commitLsn = lsnText(bytes, at + 1) as Version;
        this.committedAtMs = timestampMs(bytes, at + 9);
        this.xid = bytes.readUInt32BE(at + 17);
        this.changes = 0;
        return Read.Begin;
      case 67: // 'C'
        this.endLsn = lsnText(bytes, at + 10);
        return Read.Commit;
      case 82: // 'R'
        this.relation = readRelation(bytes, at + 1);
        return Read.Relation;
      case 84: // 'T'
        return this.#truncate(bytes, at);
      case 77: // 'M'
        return this.#message(bytes, at);
      case 79: // 'O'rigin: the transaction was made elsewhere, and brought by a replication that said so.
        return Read.Origin;
      case 89: // T'Y'pe: the catalog tells us more than this message.
        return Read.Ignored;
      default:
        throw new PipelineError('BUG', `a replication message of unknown kind ${bytes[at]}`);
    }
  }

  #find(oid: number): FollowedTable | null {
    if (oid === this.#lastOid) return this.#last;
    const found = this.#followed.get(oid);
    if (found === undefined) throw new PipelineError('BUG', `a change of relation ${oid}, which the server has not described`);
    this.#lastOid = oid;
    this.#last = found;
    return found;
  }

  #insert(bytes: Buffer, at: number, end: number): Read {
    const ordinal = this.changes++;
    const followed = this.#find(bytes.readUInt32BE(at + 1));
    if (followed === null) return Read.Ignored;
    this.#open(bytes, at + 6, end, followed.relation);
    const after = this.#tuple(followed.relation, false);
    this.#ended();
    this.#emit('insert', null, after, followed, ordinal, false);
    return Read.Event;
  }

  #update(bytes: Buffer, at: number, end: number): Read {
    const ordinal = this.changes++;
    const followed = this.#find(bytes.readUInt32BE(at + 1));
    if (followed === null) return Read.Ignored;
    const { relation } = followed;
    const kind = bytes[at + 5];
    this.#open(bytes, at + 6, end, relation);
    if (kind === NEW) {
      const after = this.#tuple(relation, false);
      this.#ended();
      this.#emit('update', null, after, followed, ordinal, false);
      return Read.Event;
    }
    const before = this.#tuple(relation, kind === KEY || followed.hasKeysAlone === true);
    if (bytes[this.#at++] !== NEW) throw new PipelineError('BUG', 'an update without its new row');
    const after = this.#tuple(relation, false);
    this.#ended();
    if (!this.#isCut) fillUnchanged(before, after);
    this.#emit('update', before, after, followed, ordinal, keyDiffers(before, after, relation.dataset.key));
    return Read.Event;
  }

  #delete(bytes: Buffer, at: number, end: number): Read {
    const ordinal = this.changes++;
    const followed = this.#find(bytes.readUInt32BE(at + 1));
    if (followed === null) return Read.Ignored;
    this.#open(bytes, at + 6, end, followed.relation);
    const before = this.#tuple(followed.relation, bytes[at + 5] === KEY || followed.hasKeysAlone === true);
    this.#ended();
    this.#emit('delete', before, null, followed, ordinal, false);
    return Read.Event;
  }

  #truncate(bytes: Buffer, at: number): Read {
    const relations = bytes.readInt32BE(at + 1);
    this.truncates = [];
    for (let i = 0; i < relations; i++) {
      const ordinal = this.changes++;
      const followed = this.#find(bytes.readUInt32BE(at + 6 + 4 * i));
      if (followed === null) continue;
      this.#emit('truncate', null, null, followed, ordinal, false);
      if (this.event !== null) this.truncates.push({ followed, event: this.event });
    }
    return Read.Truncate;
  }

  #message(bytes: Buffer, at: number): Read {
    const transactional = ((bytes[at + 1] ?? 0) & 1) === 1;
    const prefixEnd = bytes.indexOf(0, at + 10);
    const length = bytes.readInt32BE(prefixEnd + 1);
    this.message = {
      transactional,
      prefix: bytes.toString('utf8', at + 10, prefixEnd),
      content: () => bytes.toString('utf8', prefixEnd + 5, prefixEnd + 5 + length),
    };
    return Read.Message;
  }

  #emit(op: PgEvent['op'], before: PgRow | null, after: PgRow | null, followed: FollowedTable, ordinal: number, moved: boolean): void {
    this.followed = followed;
    this.event = new PgEvent(op, before, after, followed.relation.dataset, this.commitLsn, ordinal, this.committedAtMs, moved);
  }

  /** `bytes[at, end)` has one row of the relation, or two: both will lie in the same bytes. */
  #open(bytes: Buffer, at: number, end: number, { types }: PgRelation): void {
    if (bytes !== this.#bytes) this.#view = viewOf(bytes);
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
    if (this.#owned) return;
    const size = end - at + 2 * NULL_GROWS * types.length;
    if (this.#arenaUsed + size <= this.#arena.length) return;
    this.#arena = Buffer.allocUnsafeSlow(Math.max(ARENA_BYTES, size));
    this.#arenaView = viewOf(this.#arena);
    this.#arenaUsed = 0;
  }

  /** Reads the tuple at `#at`. Of a `K` tuple only the key's columns are known; the others arrive as nulls, which they are not. */
  #tuple(relation: PgRelation, keyOnly: boolean): PgRow {
    const columns = this.#view.getUint16(this.#at);
    if (columns !== relation.types.length) {
      throw new PipelineError('BUG', `a row of ${relation.dataset.name} has ${columns} cells, its relation ${relation.types.length}`);
    }
    if (this.#used + 2 * columns > this.#cells.length) {
      // Rows keep the chunk they lie in alive, and nothing is ever copied to a larger one.
      this.#cells = new Int32Array(Math.max(CELLS_PER_CHUNK, 2 * columns));
      this.#used = 0;
    }
    const row = this.#owned ? this.#placed(relation) : this.#copied(relation);
    if (keyOnly) onlyKey(row, columns, relation.dataset.key);
    return row;
  }

  /** A row in the bytes that it came in. */
  #placed(relation: PgRelation): PgRow {
    const bytes = this.#bytes;
    const cells = this.#cells;
    const first = this.#used;
    const end = first + 2 * relation.types.length;
    let at = this.#at + 2;
    for (let cell = first; cell < end; cell += 2) {
      const kind = bytes[at++];
      if (kind === BINARY || kind === TEXT) {
        const length = this.#view.getInt32(at);
        this.#check(at + 4, length);
        cells[cell] = at + 4;
        cells[cell + 1] = length;
        at += 4 + length;
      } else {
        cells[cell] = 0;
        cells[cell + 1] = absent(kind);
      }
    }
    this.#used = end;
    this.#at = at;
    return new PgRow(relation, bytes, cells, first);
  }

  /**
   * The same in the arena, and there as COPY BINARY has it: a cell stands behind its length, without the byte that says what it is. Four bytes at a time it
   * takes half as long as byte by byte, or as to copy the whole of it and its cells again for the target (measured).
   */
  #copied(relation: PgRelation): PgRow {
    const view = this.#view;
    const arena = this.#arenaView;
    const cells = this.#cells;
    const first = this.#used;
    const end = first + 2 * relation.types.length;
    let at = this.#at + 2;
    let to = this.#arenaUsed;
    arena.setUint16(to, relation.types.length);
    to += 2;
    const from = to;
    let isWhole = true;
    for (let cell = first; cell < end; cell += 2) {
      const kind = view.getUint8(at++);
      if (kind === BINARY || kind === TEXT) {
        const length = view.getInt32(at);
        at += 4;
        this.#check(at, length);
        arena.setInt32(to, length);
        to += 4;
        cells[cell] = to;
        cells[cell + 1] = length;
        const stop = at + length;
        if (length > SMALL_CELL) to += this.#bytes.copy(this.#arena, to, at, stop);
        else {
          for (; at < stop - 3; at += 4, to += 4) arena.setInt32(to, view.getInt32(at));
          for (; at < stop; at++, to++) arena.setUint8(to, view.getUint8(at));
        }
        at = stop;
      } else {
        cells[cell] = 0;
        cells[cell + 1] = absent(kind);
        isWhole &&= kind === NULL;
        arena.setInt32(to, CELL_NULL);
        to += 4;
      }
    }
    this.#used = end;
    this.#at = at;
    this.#arenaUsed = to;
    return new PgRow(relation, this.#arena, cells, first, isWhole ? from : 0, isWhole ? to : 0);
  }

  #check(at: number, length: number): void {
    if (length < 0 || length > this.#end - at) throw new PipelineError('BUG', `a cell of ${length} bytes in a message that ends before`);
  }

  /** A length read wrong would show here, before anyone acts on it. */
  #ended(): void {
    if (this.#at !== this.#end) throw new PipelineError('BUG', `a replication message ends at ${this.#at} instead of ${this.#end}`);
  }
}

/** 16 hex digits. In half the time that `toString` takes (measured), which counts where a transaction is one row. */
function lsnText(bytes: Buffer, at: number): string {
  const h = (i: number): number => HEX[(bytes[at + i] as number) >> 4] as number;
  const l = (i: number): number => HEX[(bytes[at + i] as number) & 15] as number;
  return String.fromCharCode(h(0), l(0), h(1), l(1), h(2), l(2), h(3), l(3), h(4), l(4), h(5), l(5), h(6), l(6), h(7), l(7));
}

const HEX = Buffer.from('0123456789abcdef');

const viewOf = ({ buffer, byteOffset, length }: Buffer): DataView => new DataView(buffer, byteOffset, length);

function absent(kind: number | undefined): number {
  if (kind === NULL) return CELL_NULL;
  if (kind === UNCHANGED) return CELL_UNCHANGED;
  throw new PipelineError('BUG', `a cell of unknown kind ${kind}`);
}

function onlyKey(row: PgRow, columns: number, key: readonly number[]): void {
  for (let column = 0; column < columns; column++) {
    if (!key.includes(column)) row.cells[row.at + 2 * column + 1] = CELL_UNCHANGED;
  }
  row.framedFrom = 0;
  row.framedTo = 0;
}

/**
 * A large value that an update left alone is not in the new row; but where the old row was sent with it (REPLICA IDENTITY FULL, or a key so
 * large that it is stored apart) it is there. Both rows lie in one message, so the cell can be shared. What was left alone was no null: where the old row has one, it is
 * of a partition that sends its key alone.
 */
function fillUnchanged(before: PgRow, after: PgRow): void {
  const from = before.cells;
  const to = after.cells;
  const columns = after.relation.types.length;
  for (let column = 0; column < columns; column++) {
    const target = after.at + 2 * column;
    if (to[target + 1] !== CELL_UNCHANGED) continue;
    const source = before.at + 2 * column;
    if (from[source + 1] === CELL_NULL) continue;
    to[target] = from[source] ?? 0;
    to[target + 1] = from[source + 1] ?? CELL_UNCHANGED;
  }
}

function keyDiffers(before: PgRow, after: PgRow, key: readonly number[]): boolean {
  const { bytes } = after;
  for (const column of key) {
    const b = before.at + 2 * column;
    const a = after.at + 2 * column;
    const beforeLength = before.cells[b + 1] ?? CELL_NULL;
    const afterLength = after.cells[a + 1] ?? CELL_NULL;
    if (beforeLength !== afterLength) return true;
    if (beforeLength <= 0) continue;
    const beforeAt = before.cells[b] ?? 0;
    const afterAt = after.cells[a] ?? 0;
    if (beforeAt === afterAt) continue; // The cell is shared: unchanged.
    if (bytes.compare(bytes, beforeAt, beforeAt + beforeLength, afterAt, afterAt + afterLength) !== 0) return true;
  }
  return false;
}

function readRelation(bytes: Buffer, start: number): RelationMessage {
  const oid = bytes.readUInt32BE(start);
  const schemaEnd = bytes.indexOf(0, start + 4);
  const tableEnd = bytes.indexOf(0, schemaEnd + 1);
  const identity = String.fromCharCode(bytes[tableEnd + 1] ?? 0) as RelationMessage['identity'];
  const count = bytes.readUInt16BE(tableEnd + 2);
  const columns: RelationColumn[] = [];
  let at = tableEnd + 4;
  for (let i = 0; i < count; i++) {
    const nameEnd = bytes.indexOf(0, at + 1);
    columns.push({
      name: bytes.toString('utf8', at + 1, nameEnd),
      typeOid: bytes.readUInt32BE(nameEnd + 1),
      typmod: bytes.readInt32BE(nameEnd + 5),
      inKey: ((bytes[at] ?? 0) & 1) === 1,
    });
    at = nameEnd + 9;
  }
  return {
    oid,
    schema: bytes.toString('utf8', start + 4, schemaEnd) || 'pg_catalog', // The manual: empty for pg_catalog.
    table: bytes.toString('utf8', schemaEnd + 1, tableEnd),
    identity,
    columns,
  };
}

/** Microseconds since 2000 as Unix ms, rounded down. Good until the year 287,000. */
function timestampMs(bytes: Buffer, at: number): number {
  const micros = bytes.readInt32BE(at) * 4_294_967_296 + bytes.readUInt32BE(at + 4);
  return Math.floor(micros / 1000) + POSTGRES_EPOCH_MS;
}
