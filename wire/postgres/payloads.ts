/** Who takes payloads of CopyData: whole, in pieces that are never in memory together, or gathered in a buffer of their own. */

/** Takes one payload in the pieces in which it comes: `bytes[from, to)` is the next, valid only during the call. */
export interface PieceTaker {
  piece(bytes: Buffer, from: number, to: number): void;
  end(): void;
}

/** CopyData payloads of more than `bytesMax` bytes, which are never in memory as a whole. */
export interface LargePayloads {
  readonly bytesMax: number;
  begin(bytes: number): PieceTaker;
}

/** Takes CopyData payloads of a replication stream: `bytes[from, to)` is one, valid only during the call unless it is `owned`. */
export interface CopyBothHandler {
  message(bytes: Buffer, from: number, to: number, owned: boolean): void;
  /** Left out, each is a `message`, however large. */
  readonly large?: LargePayloads;
  /** Everything that has arrived so far was handed over. `flows`: it was much, and there may be more in a moment. */
  drained(flows: boolean): void;
  /** Whether what was handed over last was written a while ago. */
  isBehind(): boolean;
}

/** A replication stream. `pause` stops reading from the socket, so that the server waits. */
export interface CopyBoth {
  send(payload: Uint8Array): void;
  pause(): void;
  resume(): void;
}

/** From this size on a payload is gathered in a buffer of its own, and not in pieces that are joined in the end. */
export const GATHERED_MIN = 1 << 20;

/** Gathers a payload of `length` bytes. */
export function gathering(length: number, whole: (bytes: Buffer) => void): PieceTaker {
  const gathered = Buffer.allocUnsafeSlow(length);
  let used = 0;
  return {
    piece: (bytes, from, to) => void (used += bytes.copy(gathered, used, from, to)),
    end: () => whole(gathered),
  };
}
