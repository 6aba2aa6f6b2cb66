/** A COPY that is read until there is enough of it, in a transaction that goes on; and its tuples cell by cell. */
import { CELL_UNCHANGED } from '../../core/event.ts';
import { type PgConnection, PgError } from '../../wire/postgres/connection.ts';
import { cutCopyRow } from './large-rows.ts';

/** Whether a COPY was asked to stop: what was asked may strike later. */
export interface Cancelled {
  is: boolean;
}

export interface CopyLimits {
  /** Rows that are larger come without their large cells. */
  readonly rowBytesMax: number;
  /** Whether somebody else has written of its SQL: it may read, and nothing else. */
  readonly isForeign: boolean;
  /** Gives the memory that rows come in; left out, each has its own. */
  readonly block?: () => Buffer;
}

/** Rows above the limit, in pieces, as `PgConnection.copyOut` takes them. */
export const largeRows = (bytesMax: number) => ({
  bytesMax,
  begin: (_: number, put: (payload: Buffer) => void) => cutCopyRow(bytesMax, put),
});

/**
 * Reads a COPY until `take` says that it has enough. Then the server is asked to stop: what is still to come may be large. The transaction goes on, with its
 * snapshot and its lock.
 */
export async function copyUntil(
  connection: PgConnection,
  sql: string,
  { rowBytesMax, isForeign, block }: CopyLimits,
  cancelled: Cancelled,
  take: (bytes: Buffer) => boolean,
): Promise<void> {
  await connection.script(`savepoint chunk${isForeign ? '; set local transaction_read_only = on' : ''}`);
  let cancelling: Promise<void> | null = null;
  try {
    for await (const bytes of connection.copyOut(sql, undefined, largeRows(rowBytesMax), block)) {
      if (cancelling !== null || !take(bytes)) continue;
      cancelled.is = true;
      cancelling = connection.cancel().catch(() => {}); // Should this fail, the rest of the rows comes, and is left.
    }
  } catch (error) {
    if (cancelling === null || !isCancelled(error)) throw error;
  }
  if (cancelling !== null) await cancelling;
  if (cancelling !== null || isForeign) await connection.script('rollback to savepoint chunk');
}

/** Behind a proxy, what was to stop a COPY may come when another statement runs. Then the transaction is begun again, by now with as many rows as fit. */
export async function unlessCancelled<T>(connection: PgConnection, work: (cancelled: Cancelled) => Promise<T>): Promise<T> {
  for (const cancelled: Cancelled = { is: false }; ;) {
    try {
      return await work(cancelled);
    } catch (error) {
      if (!cancelled.is || !isCancelled(error)) throw error;
      await connection.script('rollback');
    }
  }
}

const isCancelled = (error: unknown): boolean => error instanceof PgError && error.code === '57014';

/** The cells of one tuple, in the bytes that were pushed; `undefined` is one that was left out. */
export type CopyTuple = readonly (Buffer | null | undefined)[];

const COPY_HEADER_BYTES = 19;

/** Reads COPY BINARY: a header, then tuples of a cell count and cells with their lengths, then -1. */
export class CopyTuples {
  #rest: Buffer = Buffer.alloc(0);
  #isHeaded = false;

  /** The tuples that are there by now. */
  *push(chunk: Buffer): Generator<CopyTuple> {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    if (!this.#isHeaded && bytes.length >= COPY_HEADER_BYTES) {
      this.#isHeaded = true;
      at = COPY_HEADER_BYTES + bytes.readInt32BE(COPY_HEADER_BYTES - 4);
    }
    for (let end = this.#isHeaded ? endOfTuple(bytes, at) : -1; end >= 0; end = endOfTuple(bytes, at)) {
      yield cellsOf(bytes, at);
      at = end;
    }
    this.#rest = bytes.subarray(at);
  }
}

/** -1 where it is not all there yet, or was the end. */
function endOfTuple(bytes: Buffer, start: number): number {
  if (bytes.length - start < 2) return -1;
  let at = start + 2;
  const count = bytes.readInt16BE(start);
  if (count < 0) return -1;
  for (let cell = 0; cell < count; cell++) {
    if (bytes.length - at < 4) return -1;
    at += 4 + Math.max(0, bytes.readInt32BE(at));
  }
  return at > bytes.length ? -1 : at;
}

function cellsOf(bytes: Buffer, start: number): CopyTuple {
  let at = start + 2;
  return Array.from({ length: bytes.readInt16BE(start) }, () => {
    const length = bytes.readInt32BE(at);
    const from = at + 4;
    at = from + Math.max(0, length);
    if (length < 0) return length === CELL_UNCHANGED ? undefined : null;
    return bytes.subarray(from, at);
  });
}
