/** The frames between the service and its scorer child: a 12-byte header (payload length, kind, id; little-endian u32) and the payload. */

/** Service to child: `Load` {a JSON header and the model's bytes}, `Run` {rows × width float32}. Child to service: the rest. */
export const FrameKind = { Load: 1, Run: 2, Loaded: 3, Result: 4, Failed: 5 } as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** As `index` of a model's output: its last column, however many it has. */
export const LAST_COLUMN = -1;

export interface Frame {
  readonly kind: number;
  readonly id: number;
  /** A buffer of its own, so that a float32 view on it is aligned. */
  readonly payload: Uint8Array<ArrayBuffer>;
}

const HEADER_BYTES = 12;
/** What a header may promise at most: a wild length must not make us allocate the world. */
const PAYLOAD_BYTES_MAX = 512 * 1024 * 1024;

/** The header of a frame whose payload is written right after it. */
export function frameHeader(kind: FrameKind, id: number, payloadBytes: number): Uint8Array {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(0, payloadBytes, true);
  view.setUint32(4, kind, true);
  view.setUint32(8, id, true);
  return header;
}

/** The bytes of a float32 array, without copying. */
export function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** A payload of float32 values, without copying. */
export function floatsOf(payload: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  return new Float32Array(payload.buffer, payload.byteOffset, payload.byteLength >>> 2);
}

/** Puts the chunks of a pipe together again. Throws where the other side does not speak frames. */
export class FrameReader {
  readonly #onFrame: (frame: Frame) => void;
  readonly #header = new Uint8Array(HEADER_BYTES);
  #headerFilled = 0;
  #payload: Uint8Array<ArrayBuffer> | null = null;
  #payloadFilled = 0;

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length || this.#isComplete()) {
      if (this.#payload === null) {
        const taken = Math.min(HEADER_BYTES - this.#headerFilled, chunk.length - at);
        this.#header.set(chunk.subarray(at, at + taken), this.#headerFilled);
        this.#headerFilled += taken;
        at += taken;
        if (this.#headerFilled < HEADER_BYTES) return;
        const length = new DataView(this.#header.buffer).getUint32(0, true);
        if (length > PAYLOAD_BYTES_MAX) throw new Error(`a frame of ${length} bytes`);
        this.#payload = new Uint8Array(length);
        this.#payloadFilled = 0;
      } else if (this.#payloadFilled < this.#payload.length) {
        const taken = Math.min(this.#payload.length - this.#payloadFilled, chunk.length - at);
        this.#payload.set(chunk.subarray(at, at + taken), this.#payloadFilled);
        this.#payloadFilled += taken;
        at += taken;
      }
      if (this.#isComplete()) this.#emit();
    }
  }

  #isComplete(): boolean {
    return this.#payload !== null && this.#payloadFilled === this.#payload.length;
  }

  #emit(): void {
    const payload = this.#payload ?? new Uint8Array(0);
    const view = new DataView(this.#header.buffer);
    this.#payload = null;
    this.#headerFilled = 0;
    this.#onFrame({ kind: view.getUint32(4, true), id: view.getUint32(8, true), payload });
  }
}
