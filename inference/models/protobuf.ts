/** A reader of protobuf's wire format that never reads past its message, never recurses and never copies more than it is asked for. */

/** The bytes are no protobuf message. */
export class ProtobufError extends Error {
  override readonly name = 'ProtobufError';
}

type Wire = 'varint' | 'fixed64' | 'bytes' | 'fixed32';
const WIRES: readonly (Wire | null)[] = ['varint', 'fixed64', 'bytes', null, null, 'fixed32'];
const utf8 = new TextDecoder();

/** Goes through the fields of one message: `next()`, then `is(field, wire)`, then the one accessor for that wire type. */
export class ProtobufReader {
  field = 0;
  /** Where the current field's tag begins, and where its value ends: for those who copy fields as they are. */
  tagAt = 0;
  valueEnd = 0;
  readonly bytes: Uint8Array;
  readonly #end: number;
  #at: number;
  #wire: Wire = 'varint';
  #number = 0;
  #valueAt = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Moves to the next field; false at the end of the message. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    this.tagAt = this.#at;
    const tag = this.#varint();
    this.field = Math.floor(tag / 8);
    const wire = WIRES[tag % 8] ?? null;
    if (wire === null || this.field === 0) throw new ProtobufError(`byte ${this.tagAt} is no field`);
    this.#wire = wire;
    if (wire === 'varint') this.#number = this.#varint();
    else {
      const length = wire === 'bytes' ? this.#varint() : wire === 'fixed64' ? 8 : 4;
      this.#valueAt = this.#at;
      if (length > this.#end - this.#at) throw new ProtobufError(`the field at byte ${this.tagAt} goes beyond its message`);
      this.#at += length;
    }
    this.valueEnd = this.#at;
    return true;
  }

  is(field: number, wire: Wire): boolean {
    return this.field === field && this.#wire === wire;
  }

  /** The current varint. Beyond 2^53, and for negatives, only its size is right. */
  number(): number {
    return this.#number;
  }

  /** The current bytes as text, at most 64 KiB of it. */
  text(): string {
    return utf8.decode(this.bytes.subarray(this.#valueAt, Math.min(this.valueEnd, this.#valueAt + 65_536)));
  }

  /** The current bytes as a message of their own. */
  message(): ProtobufReader {
    return new ProtobufReader(this.bytes, this.#valueAt, this.valueEnd);
  }

  /** The current bytes as packed varints, at most `max` of them. */
  varints(max: number): number[] {
    const values: number[] = [];
    const reader = new ProtobufReader(this.bytes, this.#valueAt, this.valueEnd);
    while (reader.#at < reader.#end) {
      if (values.push(reader.#varint()) > max) throw new ProtobufError(`a list has more than ${max} numbers`);
    }
    return values;
  }

  /** How many packed varints the current bytes hold. */
  countVarints(): number {
    let count = 0;
    for (let at = this.#valueAt; at < this.valueEnd; at++) if ((this.bytes[at] ?? 0) < 0x80) count++;
    return count;
  }

  #varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 10; count++) {
      if (this.#at >= this.#end) throw new ProtobufError('the file ends in the middle of a number');
      const byte = this.bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw new ProtobufError(`the number at byte ${this.#at - 10} does not end`);
  }
}
