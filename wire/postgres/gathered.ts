/** Payloads of a COPY until its reader takes them: small ones one behind the other in blocks, large ones as buffers of their own that are not copied. */
export class Gathered {
  readonly #next: () => Buffer;
  /** Complete: nothing is written behind them any more. */
  readonly #chunks: Buffer[] = [];
  #block: Buffer = Buffer.alloc(0);
  /** Given and not begun: what it was for is larger. */
  #spare: Buffer | null = null;
  /** What is in the block and not taken yet. */
  #from = 0;
  #to = 0;
  /** Bytes in chunks that are complete. */
  #waiting = 0;

  /** `next` gives blocks to gather in. */
  constructor(next: () => Buffer) {
    this.#next = next;
  }

  /** Bytes that wait. */
  get length(): number {
    return this.#waiting + this.#to - this.#from;
  }

  /** Whether there is no more than one block of them. */
  get isShort(): boolean {
    return this.#chunks.length === 0;
  }

  /** Copies `bytes[from, to)`. */
  add(bytes: Buffer, from: number, to: number): void {
    const length = to - from;
    if (this.#to + length > this.#block.length) {
      this.#complete();
      const block = this.#spare ?? this.#next();
      this.#spare = length > block.length ? block : null;
      if (this.#spare !== null) return this.addOwned(Buffer.from(bytes.subarray(from, to)));
      this.#block = block;
    }
    bytes.copy(this.#block, this.#to, from, to);
    this.#to += length;
  }

  addOwned(payload: Buffer): void {
    this.#complete();
    this.#chunks.push(payload);
    this.#waiting += payload.length;
  }

  /** Null where nothing waits. */
  take(): Buffer | null {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#waiting -= chunk.length;
      return chunk;
    }
    if (this.#to === this.#from) return null;
    const taken = this.#block.subarray(this.#from, this.#to);
    this.#from = this.#to;
    return taken;
  }

  /** The block is left as it is. */
  #complete(): void {
    if (this.#to > this.#from) {
      this.#chunks.push(this.#block.subarray(this.#from, this.#to));
      this.#waiting += this.#to - this.#from;
    }
    this.#block = this.#block.subarray(this.#to);
    this.#from = 0;
    this.#to = 0;
  }
}
