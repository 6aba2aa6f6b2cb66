/** Builds the frontend messages of the PostgreSQL protocol, version 3, into one growing buffer: a whole pipeline is one write. */

export const Format = { Text: 0, Binary: 1 } as const;
export type Format = (typeof Format)[keyof typeof Format];

/** A parameter as bytes of the format given in `bind`; null is SQL's null. */
export type ParameterBytes = Uint8Array | string | null;

const LARGE_BUFFER = 32 << 20;

/** Up to so many bytes a loop beats a call into the runtime (measured). */
const SMALL_CELL = 48;

export class FrontendWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(initialBytes = 4096) {
    this.#buffer = Buffer.allocUnsafe(initialBytes);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  get capacity(): number {
    return this.#buffer.length;
  }

  /** What was written, as a view that the next write may overwrite after `reset`. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Hands the bytes over and starts anew with a buffer of its own. */
  take(): Buffer {
    const taken = this.bytes();
    this.#buffer = Buffer.allocUnsafe(Math.min(Math.max(4096, this.#length), 1 << 20));
    this.#length = 0;
    return taken;
  }

  reset(): this {
    this.#length = 0;
    return this;
  }

  /** A simple query: one or several statements, answered by one ReadyForQuery. */
  query(sql: string): this {
    return this.#message(0x51, () => this.#string(sql));
  }

  parse(name: string, sql: string, parameterOids: readonly number[] = []): this {
    return this.#message(0x50, () => {
      this.#string(name);
      this.#string(sql);
      this.int16(parameterOids.length);
      for (const oid of parameterOids) this.int32(oid);
    });
  }

  /** `formats`: one for all parameters, or one each. `resultFormat` holds for every result column. */
  bind(
    portal: string,
    statement: string,
    parameters: readonly ParameterBytes[],
    formats: Format | readonly Format[],
    resultFormat: Format = Format.Text,
  ): this {
    return this.#message(0x42, () => {
      this.#string(portal);
      this.#string(statement);
      if (typeof formats === 'number') {
        this.int16(1);
        this.int16(formats);
      } else {
        this.int16(formats.length);
        for (const format of formats) this.int16(format);
      }
      this.int16(parameters.length);
      for (const parameter of parameters) {
        if (parameter === null) this.int32(-1);
        else if (typeof parameter === 'string') {
          const bytes = Buffer.byteLength(parameter);
          this.int32(bytes);
          this.#room(bytes);
          this.#length += this.#buffer.write(parameter, this.#length);
        } else {
          this.int32(parameter.length);
          this.raw(parameter);
        }
      }
      this.int16(1);
      this.int16(resultFormat);
    });
  }

  describe(kind: 'S' | 'P', name: string): this {
    return this.#message(0x44, () => {
      this.#byte(kind.charCodeAt(0));
      this.#string(name);
    });
  }

  execute(portal = '', rowsMax = 0): this {
    return this.#message(0x45, () => {
      this.#string(portal);
      this.int32(rowsMax);
    });
  }

  closeStatement(name: string): this {
    return this.#message(0x43, () => {
      this.#byte(0x53);
      this.#string(name);
    });
  }

  sync(): this {
    return this.#message(0x53, () => {});
  }

  copyData(payload: Uint8Array): this {
    return this.#message(0x64, () => this.raw(payload));
  }

  /** Opens a CopyData message whose payload is written by `int16`, `int32` and `raw`; answers what `endCopyData` wants back. */
  beginCopyData(): number {
    this.#byte(0x64);
    this.int32(0);
    return this.#length - 4;
  }

  endCopyData(at: number): void {
    this.#buffer.writeInt32BE(this.#length - at, at);
  }

  copyDone(): this {
    return this.#message(0x63, () => {});
  }

  copyFail(reason: string): this {
    return this.#message(0x66, () => this.#string(reason));
  }

  terminate(): this {
    return this.#message(0x58, () => {});
  }

  password(text: string): this {
    return this.#message(0x70, () => this.#string(text));
  }

  saslInitial(mechanism: string, response: string): this {
    return this.#message(0x70, () => {
      this.#string(mechanism);
      this.int32(Buffer.byteLength(response));
      this.raw(Buffer.from(response));
    });
  }

  saslResponse(response: string): this {
    return this.#message(0x70, () => this.raw(Buffer.from(response)));
  }

  startup(parameters: Readonly<Record<string, string>>): this {
    const start = this.#length;
    this.int32(0);
    this.int32(196608);
    for (const [name, value] of Object.entries(parameters)) {
      this.#string(name);
      this.#string(value);
    }
    this.#byte(0);
    this.#buffer.writeInt32BE(this.#length - start, start);
    return this;
  }

  int16(value: number): this {
    this.#room(2);
    this.#buffer[this.#length++] = (value >> 8) & 0xff;
    this.#buffer[this.#length++] = value & 0xff;
    return this;
  }

  int32(value: number): void {
    this.#room(4);
    this.#buffer[this.#length++] = (value >> 24) & 0xff;
    this.#buffer[this.#length++] = (value >> 16) & 0xff;
    this.#buffer[this.#length++] = (value >> 8) & 0xff;
    this.#buffer[this.#length++] = value & 0xff;
  }

  raw(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Copies `bytes[from, to)` without making a view of it. */
  rawRange(bytes: Uint8Array, from: number, to: number): void {
    const length = to - from;
    this.#room(length);
    if (length <= SMALL_CELL) {
      const buffer = this.#buffer;
      let at = this.#length;
      for (let i = from; i < to; i++) buffer[at++] = bytes[i] ?? 0;
    } else if (bytes instanceof Buffer) bytes.copy(this.#buffer, this.#length, from, to);
    else this.#buffer.set(bytes.subarray(from, to), this.#length);
    this.#length += length;
  }

  /**
   * The beginning of a row of COPY BINARY: the number of its cells, then those of `columns`, each as its length and its bytes. `cells` has two numbers a
   * cell from `first` on, its offset in `bytes` and its length (see EncodedRow). One check for room and one loop: a third less than cell by cell.
   */
  copyRow(count: number, bytes: Buffer, cells: Int32Array, first: number, columns: Int32Array): void {
    let size = 2 + 4 * columns.length;
    for (let i = 0; i < columns.length; i++) {
      const length = cells[first + 2 * (columns[i] as number) + 1] as number;
      if (length > 0) size += length;
    }
    this.#room(size);
    const buffer = this.#buffer;
    let at = this.#length;
    buffer[at++] = (count >> 8) & 0xff;
    buffer[at++] = count & 0xff;
    for (let i = 0; i < columns.length; i++) {
      const cell = first + 2 * (columns[i] as number);
      const length = Math.max(-1, cells[cell + 1] as number);
      buffer[at++] = (length >> 24) & 0xff;
      buffer[at++] = (length >> 16) & 0xff;
      buffer[at++] = (length >> 8) & 0xff;
      buffer[at++] = length & 0xff;
      const from = cells[cell] as number;
      const end = from + length;
      if (length <= SMALL_CELL) for (let k = from; k < end; k++) buffer[at++] = bytes[k] as number;
      else at += bytes.copy(buffer, at, from, end);
    }
    this.#length = at;
  }

  float64(value: number): void {
    this.#room(8);
    this.#length = this.#buffer.writeDoubleBE(value, this.#length);
  }

  #byte(value: number): void {
    this.#room(1);
    this.#buffer[this.#length++] = value;
  }

  #string(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.#room(bytes + 1);
    this.#length += this.#buffer.write(text, this.#length);
    this.#buffer[this.#length++] = 0;
  }

  #message(type: number, body: () => void): this {
    this.#byte(type);
    const start = this.#length;
    this.int32(0);
    body();
    this.#buffer.writeInt32BE(this.#length - start, start);
    return this;
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    // A large row fills it alone: twice that would be for nothing.
    const factor = this.#buffer.length > LARGE_BUFFER ? 1.25 : 2;
    const grown = Buffer.allocUnsafe(Math.max(Math.ceil(this.#buffer.length * factor), this.#length + bytes));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
