/** Messages as the server sends them: "Logical Replication Message Formats" in PostgreSQL's manual. */

/** `u`: not sent. */
export type Cell = Buffer | null | 'u';

export type SentChange =
  | { readonly op: 'I' | 'U'; readonly before: readonly Cell[] | null; readonly after: readonly Cell[] }
  | { readonly op: 'D'; readonly before: readonly Cell[] };

export const int = (value: number, size: 2 | 4): Buffer => {
  const all = Buffer.alloc(size);
  all.writeIntBE(value, 0, size);
  return all;
};

function tuple(cells: readonly Cell[]): Buffer {
  const parts = cells.map((one) => (Buffer.isBuffer(one) ? [Buffer.from('b'), int(one.length, 4), one] : [Buffer.from(one ?? 'n')]));
  return Buffer.concat([int(cells.length, 2), ...parts.flat()]);
}

/** `old`: what rows before are, whole ones (REPLICA IDENTITY FULL) or keys. */
export function changeMessage(oid: number, change: SentChange, old: 'O' | 'K' = 'O'): Buffer {
  const head = [Buffer.from(change.op), int(oid, 4)];
  if (change.op === 'D') return Buffer.concat([...head, Buffer.from(old), tuple(change.before)]);
  const before = change.op === 'I' || change.before === null ? [] : [Buffer.from(old), tuple(change.before)];
  return Buffer.concat([...head, ...before, Buffer.from('N'), tuple(change.after)]);
}

/** Of the transaction that is committed at `lsn`. */
export function beginMessage(lsn: bigint): Buffer {
  const all = Buffer.alloc(21);
  all.write('B');
  all.writeBigUInt64BE(lsn, 1);
  return all;
}

export const truncateMessage = (oid: number): Buffer => Buffer.concat([Buffer.from('T'), int(1, 4), Buffer.from([0]), int(oid, 4)]);
