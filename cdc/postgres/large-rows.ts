/**
 * Rows larger than `rowBytes`: they are read in pieces as they come, and their large cells are left out (as UNCHANGED ones), so that they are never in
 * memory as a whole. What is left says which row it is, and is held in quarantine.
 */
import { PipelineError } from '../../core/errors.ts';
import { CELL_UNCHANGED } from '../../core/event.ts';
import type { PieceTaker } from '../../wire/postgres/connection.ts';
import type { PgRow } from '../../wire/postgres/row.ts';
import type { PgEvent } from './pg-event.ts';
import { isKeyMissing } from './row-cells.ts';

/** Where nobody says otherwise. */
export const ROW_BYTES = 16 << 20;
/** Cells up to this size stay whatever the others are … */
const TINY_CELL_BYTES = 1 << 10;
/** … and up to this one as long as they fit together. So those of the key do, but for the strangest. */
const SMALL_CELL_BYTES = 1 << 16;
/** In a replication stream before each message: 'w', the start of the data, the end of the log, the time. */
const HEADER_BYTES = 25;
const COPY_SIGNATURE = 0x5047; // "PG", which is more cells than a row can have.
const COPY_HEADER_BYTES = 19;
const KEPT = { null: 110, unchanged: 117, newRow: 78, insert: 73, update: 85, delete: 68 } as const;
const LENGTH_UNCHANGED = lengthBytes(CELL_UNCHANGED);

/** What a reader of pieces asks for: so many bytes, or, below zero, that so many are passed over. */
type Reading<T> = Generator<number, T, Buffer>;

export interface CutMessage {
  /** The message as if it had been sent so; null where it is of no interest. */
  readonly bytes: Buffer | null;
  /** Whether cells of the row as it is now are missing, rather than of the one that was. */
  readonly isCut: boolean;
}

/** A message of a replication stream. */
export function cutMessage(bytesMax: number, done: (message: CutMessage) => void): PieceTaker {
  const kept = new Kept(bytesMax);
  return readingPieces(readMessage(kept), (isCut) => done({ bytes: isCut === null ? null : kept.bytes(), isCut: isCut === true }));
}

/** A row of COPY BINARY, with the header of all where it is the first. */
export function cutCopyRow(bytesMax: number, put: (payload: Buffer) => void): PieceTaker {
  const kept = new Kept(bytesMax);
  return readingPieces(readCopyRow(kept), () => put(kept.bytes()));
}

/** Throws where nothing tells any more which row it is. */
export function checkKey({ before, after }: PgEvent, table: string): void {
  // The class is the one that the decoder makes rows of.
  if (isKeyMissing(before as PgRow | null) || isKeyMissing(after as PgRow | null))
    throw new PipelineError('SOURCE_ROW_TOO_LARGE', `reading ${table}: a row whose key alone is too large`);
}

class Kept {
  readonly #parts: Buffer[] = [];
  readonly #bytesMax: number;
  #length = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  add(bytes: Buffer): void {
    this.#parts.push(bytes);
    this.#length += bytes.length;
  }

  takes(length: number): boolean {
    return length <= TINY_CELL_BYTES || (length <= SMALL_CELL_BYTES && this.#length + length <= this.#bytesMax);
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts, this.#length);
  }
}

/** True: cells of the new row are missing. Null: no row. */
function* readMessage(kept: Kept): Reading<boolean | null> {
  const head = yield HEADER_BYTES + 1;
  const kind = head[HEADER_BYTES];
  if (kind !== KEPT.insert && kind !== KEPT.update && kind !== KEPT.delete) return null;
  kept.add(head);
  kept.add(yield 4); // The relation.
  for (;;) {
    const which = yield 1;
    kept.add(which);
    const missing = yield* readTuple(kept);
    if (which[0] === KEPT.newRow) return missing;
    if (kind === KEPT.delete) return false; // Its key is all that a delete needs.
  }
}

function* readTuple(kept: Kept): Reading<boolean> {
  const count = yield 2;
  kept.add(count);
  let missing = false;
  for (let column = count.readUInt16BE(0); column > 0; column--) {
    const kind = yield 1;
    if (kind[0] === KEPT.null || kind[0] === KEPT.unchanged) {
      kept.add(kind);
      continue;
    }
    const length = yield 4;
    const bytes = length.readInt32BE(0);
    if (kept.takes(bytes)) {
      kept.add(kind);
      kept.add(length);
      if (bytes > 0) kept.add(yield bytes);
    } else {
      missing = true;
      kept.add(Buffer.of(KEPT.unchanged));
      yield -bytes;
    }
  }
  return missing;
}

function* readCopyRow(kept: Kept): Reading<void> {
  let count = yield 2;
  if (count.readUInt16BE(0) === COPY_SIGNATURE) {
    kept.add(count);
    kept.add(yield COPY_HEADER_BYTES - 2);
    count = yield 2;
  }
  kept.add(count);
  for (let column = count.readInt16BE(0); column > 0; column--) {
    const length = yield 4;
    const bytes = length.readInt32BE(0);
    if (kept.takes(bytes)) {
      kept.add(length);
      if (bytes > 0) kept.add(yield bytes);
    } else {
      kept.add(LENGTH_UNCHANGED);
      yield -bytes;
    }
  }
}

/** Feeds a reader; what comes behind its end is passed over. */
function readingPieces<T>(reading: Reading<T>, done: (result: T) => void): PieceTaker {
  let step = reading.next(Buffer.alloc(0));
  let asked: Buffer | null = null;
  let used = 0;
  const wanted = (): number => (step.done === true ? 0 : Math.abs(step.value));
  const answer = (): void => {
    step = reading.next(asked ?? Buffer.alloc(0));
    asked = null;
    used = 0;
  };
  return {
    piece(bytes, from, to) {
      for (let at = from; at < to && step.done !== true;) {
        const end = Math.min(to, at + wanted() - used);
        if (step.value > 0) bytes.copy((asked ??= Buffer.allocUnsafe(step.value)), used, at, end);
        used += end - at;
        at = end;
        if (used === wanted()) answer();
      }
    },
    end() {
      if (step.done === true) done(step.value);
      else throw new RangeError('a row that ends in the middle of a cell');
    },
  };
}

function lengthBytes(length: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(length);
  return bytes;
}
