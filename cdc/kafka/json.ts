/**
 * Records that JsonConverter wrote. With schemas, each record repeats its schema, often five times as long as what it is about: the bytes before the
 * payload are compared with those of records before, and only the payload is parsed.
 */
import { exactNumber } from '../../core/whole-numbers.ts';
import type { Slice } from '../../wire/kafka/fetched-record.ts';
import { type ConnectData, type ConnectSchema, isTooDeep, Undecodable } from './connect-schema.ts';

const SCHEMA = Buffer.from('{"schema":');
const PAYLOAD = Buffer.from(',"payload":');
/** Heads of records kept for comparison: the shapes of a topic's tables, of their keys, and some that were. */
const HEADS_MAX = 32;

/** One object for all records that begin so. */
export interface Head {
  /** Up to the payload. */
  readonly bytes: Buffer;
  readonly schema: ConnectSchema | null;
}

export class JsonReader {
  readonly #heads: Head[] = [];

  /** `exact`: whole numbers beyond ±(2^53-1) become bigints, which takes several times as long. Throws Undecodable. */
  read(bytes: Buffer, exact: boolean): ConnectData {
    const head = bytes.subarray(0, SCHEMA.length).equals(SCHEMA) ? this.#headOf(bytes) : null;
    if (head === null) return { schema: null, payload: parseJson(bytes.toString('utf8'), exact) };
    return { schema: head.schema, payload: parseJson(bytes.toString('utf8', head.bytes.length, bytes.lastIndexOf('}')), exact) };
  }

  /** The head of a record, where one like it was read before. */
  known({ bytes, from, to }: Slice): Head | null {
    for (const head of this.#heads) {
      const end = from + head.bytes.length;
      if (end < to && head.bytes.compare(bytes, from, end) === 0) return head;
    }
    return null;
  }

  #headOf(bytes: Buffer): Head | null {
    for (const [i, head] of this.#heads.entries()) {
      const { length } = head.bytes;
      if (length >= bytes.length || head.bytes.compare(bytes, 0, length) !== 0) continue;
      if (i > 0) this.#heads.unshift(...this.#heads.splice(i, 1));
      return head;
    }
    const end = valueEnd(bytes, SCHEMA.length);
    if (!bytes.subarray(end, end + PAYLOAD.length).equals(PAYLOAD)) return null;
    const schema = parseJson(bytes.toString('utf8', SCHEMA.length, end), false);
    const head = { bytes: Buffer.from(bytes.subarray(0, end + PAYLOAD.length)), schema: schema as ConnectSchema | null }; // As converters write it.
    this.#heads.unshift(head);
    if (this.#heads.length > HEADS_MAX) this.#heads.pop();
    return head;
  }
}

/** Where the JSON value that begins at `from` ends. */
function valueEnd(bytes: Buffer, from: number): number {
  let depth = 0;
  let isText = false;
  for (let i = from; i < bytes.length; i++) {
    const byte = bytes[i];
    if (isText) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) isText = false;
    } else if (byte === 0x22) isText = true;
    else if (byte === 0x7b || byte === 0x5b) depth++;
    else if (byte === 0x7d || byte === 0x5d) {
      if (--depth === 0) return i + 1;
    } else if (depth === 0 && byte === 0x2c) return i;
  }
  return bytes.length;
}

export function parseJson(text: string, exact: boolean): unknown {
  try {
    return exact ? (JSON.parse(text, exactNumber) as unknown) : (JSON.parse(text) as unknown);
  } catch (error) {
    throw new Undecodable(isTooDeep(error) ? 'its JSON is nested too deeply' : 'it is no valid JSON');
  }
}
