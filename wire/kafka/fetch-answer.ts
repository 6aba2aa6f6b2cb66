/**
 * Answers to a fetch, read by ourselves: the client makes a dozen objects and texts of every record, and collecting them takes a quarter of a worker's time. Here
 * a record is one object with places in the answer's bytes. Formats: Kafka's protocol guide, "Fetch" and "Record Batch".
 */
import type { KafkaRecord } from './client.ts';
import { FetchedRecord } from './fetched-record.ts';

/** Undoes a compression by its number in a record batch (1 to 4). */
export type Decompress = (bytes: Buffer, codec: number) => Promise<Buffer>;

/** What a record batch is to the client: one message of its own, at the batch's last offset. */
export interface FetchedBatch {
  readonly offset: string;
  /** Those that are committed; none of the broker's own marks. */
  readonly records: readonly FetchedRecord[];
}

export interface FetchedPartition {
  readonly partition: number;
  readonly errorCode: number;
  readonly highWatermark: string;
  readonly lastStableOffset: string;
  readonly lastStartOffset: string | null;
  /** Their records are left out already. */
  readonly abortedTransactions: readonly never[];
  readonly preferredReadReplica: number;
  readonly messages: readonly FetchedBatch[];
}

export interface FetchAnswer {
  readonly throttleTime: number;
  readonly clientSideThrottleTime: number;
  readonly errorCode: number;
  readonly sessionId: number;
  readonly responses: readonly { readonly topicName: string; readonly partitions: readonly FetchedPartition[] }[];
}

interface FetchRequest {
  protocol: (chosen: { readonly version: number }) => (options: unknown) => {
    readonly request: unknown;
    readonly response: { decode(bytes: Buffer): Promise<unknown>; parse(decoded: unknown): Promise<unknown> };
  };
}

/** How one broker is asked, by the version that it chose. */
interface FetchingBroker {
  lookupRequest: (api: number, request: FetchRequest) => unknown;
}

/** Of the client's inside. */
export interface FetchingCluster {
  findBroker: (which: unknown) => Promise<FetchingBroker>;
}

const FETCH_API = 1;
/** All that a broker since 0.11 may choose. */
const VERSIONS = { first: 4, last: 11 } as const;

const BATCH_HEAD = 12;
/** Up to the records, from behind the length. */
const BATCH_FIELDS = 49;
/** The number of the form, which all forms have here. */
const MAGIC_AT = 16;
const MAGIC = 2;
const CODEC = 0x07;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const ABORT = 0;

/** Has a cluster of the client's read answers by `decodeFetchAnswer`; others in this process go on as they do. */
export function readFetchAnswers(cluster: FetchingCluster, decompress: Decompress): void {
  const known = new WeakSet<FetchingBroker>();
  const find = cluster.findBroker.bind(cluster);
  cluster.findBroker = async (which) => {
    const broker = await find(which);
    if (!known.has(broker)) {
      known.add(broker);
      readAnswersOf(broker, decompress);
    }
    return broker;
  };
}

/** A broker looks anew for how it is asked whenever it is connected. */
function readAnswersOf(broker: FetchingBroker, decompress: Decompress): void {
  let { lookupRequest } = broker;
  const ours: FetchingBroker['lookupRequest'] = (api, request) =>
    lookupRequest(api, api === FETCH_API ? reading(request, decompress) : request);
  Object.defineProperty(broker, 'lookupRequest', {
    configurable: true,
    get: () => ours,
    set: (next: FetchingBroker['lookupRequest']) => {
      lookupRequest = next;
    },
  });
}

function reading(request: FetchRequest, decompress: Decompress): FetchRequest {
  const protocol: FetchRequest['protocol'] = ({ version }) => {
    const ask = request.protocol({ version });
    if (version < VERSIONS.first || version > VERSIONS.last) return ask;
    return (options) => {
      const asked = ask(options);
      const decode = async (bytes: Buffer): Promise<unknown> =>
        (await decodeFetchAnswer(bytes, version, decompress)) ?? asked.response.decode(bytes);
      return { ...asked, response: { ...asked.response, decode } };
    };
  };
  return { ...request, protocol };
}

/** A record as the client reads it itself. */
interface OldMessage extends Pick<KafkaRecord, 'key' | 'value'> {
  readonly offset: string;
  readonly timestamp: string;
  readonly headers?: KafkaRecord['headers'];
}

/** A message of the client's is one of our batches of records, or an old record of its own. */
export function recordsOf(message: OldMessage | FetchedBatch): readonly KafkaRecord[] {
  if ('records' in message) return message.records;
  const { offset, timestamp, key, value, headers = {} } = message;
  return [{ offset: BigInt(offset), timestampMs: Number(timestamp), key, value, headers }];
}

/** Null for records in a form from before Kafka 0.11, which is left to the client. */
export async function decodeFetchAnswer(bytes: Buffer, version: number, decompress: Decompress): Promise<FetchAnswer | null> {
  const cursor = new Cursor(bytes);
  const throttled = cursor.int32();
  const hasSession = version >= 7;
  const errorCode = hasSession ? cursor.int16() : 0;
  const sessionId = hasSession ? cursor.int32() : 0;
  const responses: { topicName: string; partitions: FetchedPartition[] }[] = [];
  for (let topics = cursor.int32(); topics > 0; topics--) {
    const topicName = cursor.text(cursor.int16());
    const partitions: FetchedPartition[] = [];
    for (let left = cursor.int32(); left > 0; left--) {
      const partition = await decodePartition(cursor, version, decompress);
      if (partition === null) return null;
      partitions.push(partition);
    }
    responses.push({ topicName, partitions });
  }
  // Before version 8 the broker has held the answer back by itself; since then it is the client who waits.
  const [throttleTime, clientSideThrottleTime] = version >= 8 ? [0, throttled] : [throttled, 0];
  return { throttleTime, clientSideThrottleTime, errorCode, sessionId, responses };
}

async function decodePartition(cursor: Cursor, version: number, decompress: Decompress): Promise<FetchedPartition | null> {
  const partition = cursor.int32();
  const errorCode = cursor.int16();
  const highWatermark = String(cursor.int64());
  const lastStableOffset = String(cursor.int64());
  const lastStartOffset = version >= 5 ? String(cursor.int64()) : null;
  const aborted: Aborted[] = [];
  for (let left = cursor.int32(); left > 0; left--) aborted.push({ producer: cursor.int64(), from: cursor.int64() });
  const preferredReadReplica = version >= 11 ? cursor.int32() : -1;
  const messages = await decodeBatches(cursor.take(cursor.int32()), aborted, decompress);
  return messages === null
    ? null
    : { partition, errorCode, highWatermark, lastStableOffset, lastStartOffset, abortedTransactions: [], preferredReadReplica, messages };
}

interface Aborted {
  readonly producer: bigint;
  /** Its first offset. */
  readonly from: bigint;
}

/** The last batch may be cut: the next answer has it whole. */
async function decodeBatches(bytes: Buffer, aborted: readonly Aborted[], decompress: Decompress): Promise<FetchedBatch[] | null> {
  const batches: FetchedBatch[] = [];
  const waiting = aborted.toSorted((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
  const aborting = new Set<bigint>();
  for (let at = 0; at + MAGIC_AT < bytes.length;) {
    if (bytes[at + MAGIC_AT] !== MAGIC) return null; // An old record alone may be shorter than the head of a batch.
    const end = at + BATCH_HEAD + bytes.readInt32BE(at + 8);
    if (end > bytes.length) break;
    if (end < at + BATCH_HEAD + BATCH_FIELDS) throw malformed();
    const first = Number(bytes.readBigInt64BE(at));
    const attributes = bytes.readInt16BE(at + 21);
    const last = first + bytes.readInt32BE(at + 23);
    const producer = bytes.readBigInt64BE(at + 43);
    while (waiting[0] !== undefined && waiting[0].from <= last) aborting.add((waiting.shift() as Aborted).producer);
    let records: readonly FetchedRecord[] = [];
    const isControl = (attributes & CONTROL) !== 0;
    if (isControl || (attributes & TRANSACTIONAL) === 0 || !aborting.has(producer)) {
      const codec = attributes & CODEC;
      const packed = bytes.subarray(at + BATCH_HEAD + BATCH_FIELDS, end);
      const times = {
        first: Number(bytes.readBigInt64BE(at + 27)),
        all: (attributes & LOG_APPEND_TIME) === 0 ? null : Number(bytes.readBigInt64BE(at + 35)),
      };
      const content = codec === 0 ? packed : await decompress(packed, codec);
      records = decodeRecords(content, bytes.readInt32BE(at + 57), first, times);
      if (isControl) {
        if (isAbortMark(records[0])) aborting.delete(producer);
        records = [];
      }
    }
    batches.push({ offset: String(last), records });
    at = end;
  }
  return batches;
}

/** The key of a control record: its version, and what it is. */
const isAbortMark = (record: FetchedRecord | undefined): boolean => record?.key?.readInt16BE(2) === ABORT;

/** `times.all`: that of the broker, which holds for all of them. */
function decodeRecords(bytes: Buffer, count: number, firstOffset: number, times: { first: number; all: number | null }): FetchedRecord[] {
  const cursor = new Cursor(bytes);
  const records: FetchedRecord[] = [];
  for (let i = 0; i < count; i++) {
    const length = cursor.varint();
    const end = cursor.at + length;
    if (length < 0 || end > bytes.length) throw malformed();
    cursor.at++; // Its attributes: none are in use.
    const delta = cursor.varlong();
    const offset = firstOffset + cursor.varint();
    const keyLength = cursor.varint();
    const keyFrom = cursor.at;
    if (keyLength > 0) cursor.at += keyLength;
    const valueLength = cursor.varint();
    const valueFrom = cursor.at;
    if (valueLength > 0) cursor.at += valueLength;
    if (cursor.at > end) throw malformed();
    records.push(new FetchedRecord(bytes, offset, times.all ?? times.first + delta, keyFrom, keyLength, valueFrom, valueLength, cursor.at));
    cursor.at = end;
  }
  return records;
}

/** As the client's own reader throws. */
const malformed = (): RangeError => new RangeError('an answer to a fetch has a record that does not fit into it');

class Cursor {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int16(): number {
    this.at += 2;
    return this.#bytes.readInt16BE(this.at - 2);
  }

  int32(): number {
    this.at += 4;
    return this.#bytes.readInt32BE(this.at - 4);
  }

  int64(): bigint {
    this.at += 8;
    return this.#bytes.readBigInt64BE(this.at - 8);
  }

  text(length: number): string {
    return this.take(length).toString();
  }

  /** None for a length below zero, which stands for nothing at all. */
  take(length: number): Buffer {
    const from = this.at;
    if (length > 0) this.at += length;
    return this.#bytes.subarray(from, this.at);
  }

  /** Of 32 bits, in zigzag. */
  varint(): number {
    const bytes = this.#bytes;
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = bytes[this.at++];
      if (byte === undefined) break;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    throw malformed();
  }

  /** Of 64 bits: times are far below 2^53. */
  varlong(): number {
    const bytes = this.#bytes;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      const byte = bytes[this.at++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    throw malformed();
  }
}
