/** A record where it lies among others in the bytes that a fetch brought: what nobody asks for is never made. */
import type { KafkaRecord } from './client.ts';

const EMPTY = Buffer.alloc(0);
const NO_HEADERS: KafkaRecord['headers'] = Object.freeze({});

export class FetchedRecord implements KafkaRecord {
  readonly bytes: Buffer;
  /** Its offset: far below 2^53. */
  readonly place: number;
  readonly timestampMs: number;
  readonly keyFrom: number;
  /** Below zero where there is none, as of the value. */
  readonly keyLength: number;
  readonly valueFrom: number;
  readonly valueLength: number;
  /** Where the number of its headers stands. */
  readonly #headersFrom: number;

  constructor(
    bytes: Buffer,
    place: number,
    timestampMs: number,
    keyFrom: number,
    keyLength: number,
    valueFrom: number,
    valueLength: number,
    headersFrom: number,
  ) {
    this.bytes = bytes;
    this.place = place;
    this.timestampMs = timestampMs;
    this.keyFrom = keyFrom;
    this.keyLength = keyLength;
    this.valueFrom = valueFrom;
    this.valueLength = valueLength;
    this.#headersFrom = headersFrom;
  }

  get offset(): bigint {
    return BigInt(this.place);
  }

  get key(): Buffer | null {
    return this.keyLength < 0 ? null : this.bytes.subarray(this.keyFrom, this.keyFrom + this.keyLength);
  }

  get value(): Buffer | null {
    return this.valueLength < 0 ? null : this.bytes.subarray(this.valueFrom, this.valueFrom + this.valueLength);
  }

  get headers(): KafkaRecord['headers'] {
    return this.bytes[this.#headersFrom] === 0 ? NO_HEADERS : headersAt(this.bytes, this.#headersFrom);
  }
}

/** `bytes[from, to)` */
export interface Slice {
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
}

/** The key or the value where it lies; null where there is none. */
export function sliceOf(record: KafkaRecord, part: 'key' | 'value'): Slice | null {
  if (record instanceof FetchedRecord) {
    const { bytes } = record;
    const [from, length] = part === 'key' ? [record.keyFrom, record.keyLength] : [record.valueFrom, record.valueLength];
    return length < 0 ? null : { bytes, from, to: from + length };
  }
  const bytes = record[part];
  return bytes === null ? null : { bytes, from: 0, to: bytes.length };
}

/** What a record takes of memory with its key and value, without making them. */
export function contentBytes(record: KafkaRecord): number {
  if (record instanceof FetchedRecord) return Math.max(0, record.keyLength) + Math.max(0, record.valueLength);
  return (record.key?.length ?? 0) + (record.value?.length ?? 0);
}

/** One that comes several times has a list; one without a value is undefined. */
function headersAt(bytes: Buffer, from: number): KafkaRecord['headers'] {
  const found = new Map<string, (Buffer | undefined)[]>();
  let at = from;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
  };
  const take = (length: number): Buffer | undefined => {
    if (length < 0) return undefined;
    at += length;
    return bytes.subarray(at - length, at);
  };
  for (let left = varint(); left > 0; left--) {
    const name = take(varint())?.toString() ?? '';
    const value = take(varint());
    const known = found.get(name);
    if (known === undefined) found.set(name, [value]);
    else known.push(value);
  }
  // By entries: a header may be called __proto__.
  return Object.fromEntries(
    [...found].map(([name, [only, ...more]]) => [name, more.length === 0 ? only : [only, ...more].map((one) => one ?? EMPTY)]),
  );
}
