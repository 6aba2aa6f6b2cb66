/** Answers to a fetch as we read them, beside what the client's own reader makes of the same bytes. */
import { gunzipSync, gzipSync } from 'node:zlib';
import kafkajs from 'kafkajs';
import * as response from 'kafkajs/src/protocol/requests/fetch/v11/response.js';
import { expect, test } from 'vitest';
import { decodeFetchAnswer } from '../../wire/kafka/fetch-answer.ts';
import { contentBytes, type FetchedRecord } from '../../wire/kafka/fetched-record.ts';
import { Random } from '../support/random.ts';

/** As the client answers it. */
interface Theirs {
  readonly responses: readonly {
    readonly topicName: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly highWatermark: string;
      readonly messages: readonly (kafkajs.KafkaMessage & {
        readonly isControlRecord: boolean;
        readonly batchContext: { producerId: string; inTransaction: boolean };
      })[];
    }[];
  }[];
}

interface Made {
  readonly producer: number;
  readonly attributes: number;
  readonly firstOffset: number;
  readonly bytes: Buffer;
}

const GZIP = 1;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const gunzip = (bytes: Buffer): Promise<Buffer> => Promise.resolve(gunzipSync(bytes));

test.each([1, 2, 3, 4, 5, 6])('records of random batches are what the client reads of them (seed %i)', async (seed) => {
  const random = new Random(seed);
  for (let round = 0; round < 20; round++) {
    const batches = randomBatches(random, false);
    const cut = random.chance(0.3) ? batches.at(-1)?.bytes.subarray(0, random.below(70)) : undefined;
    const bytes = answer(
      [...batches.slice(0, cut === undefined ? batches.length : -1).map((one) => one.bytes), cut ?? Buffer.alloc(0)],
      [],
    );
    const theirs = ((await response.decode(bytes)) as Theirs).responses[0]?.partitions[0];
    const ours = (await decodeFetchAnswer(bytes, 11, gunzip))?.responses[0]?.partitions[0];
    expect(ours?.highWatermark).toBe(theirs?.highWatermark);
    const records = ours?.messages.flatMap((one) => one.records) ?? [];
    expect(records.map(shown)).toEqual((theirs?.messages ?? []).map((one) => shownTheirs(one)));
    expect(records.map(contentBytes)).toEqual((theirs?.messages ?? []).map(({ key, value }) => (key?.length ?? 0) + (value?.length ?? 0)));
  }
});

test.each([7, 8, 9])('records of transactions that were given up are left out, marks as well (seed %i)', async (seed) => {
  const random = new Random(seed);
  for (let round = 0; round < 20; round++) {
    const batches = randomBatches(random, true);
    const { aborted, committed } = outcomes(batches);
    const ours = await decodeFetchAnswer(
      answer(
        batches.map(({ bytes }) => bytes),
        aborted,
      ),
      11,
      gunzip,
    );
    const found = ours?.responses[0]?.partitions[0]?.messages ?? [];
    expect(found.length).toBe(batches.length);
    expect(found.flatMap(({ records }, i) => (records.length > 0 ? [batches[i]] : []))).toEqual(committed);
  }
});

test('records from before Kafka 0.11 are left to the client', async () => {
  const old = batch(new Random(1), { producer: -1, attributes: 0, firstOffset: 0 }).bytes;
  old[16] = 1;
  expect(await decodeFetchAnswer(answer([old], []), 11, gunzip)).toBeNull();
  const short = old.subarray(0, 40);
  short.writeInt32BE(40 - 12, 8);
  expect(await decodeFetchAnswer(answer([short], []), 11, gunzip)).toBeNull();
});

test('who was held back by the broker itself does not wait once more', async () => {
  const waits = async (version: number): Promise<readonly [number, number] | null> => {
    const bytes = Buffer.alloc(version >= 7 ? 14 : 8); // No topics.
    bytes.writeInt32BE(900, 0);
    const read = await decodeFetchAnswer(bytes, version, gunzip);
    return read && [read.throttleTime, read.clientSideThrottleTime];
  };
  expect(await Promise.all([4, 7, 8, 11].map(waits))).toEqual([
    [900, 0],
    [900, 0],
    [0, 900],
    [0, 900],
  ]);
});

const shown = ({ offset, timestampMs, key, value, headers }: FetchedRecord): unknown[] => [
  String(offset),
  timestampMs,
  key,
  value,
  headers,
];
const shownTheirs = ({ offset, timestamp, key, value, headers = {} }: kafkajs.KafkaMessage): unknown[] => [
  offset,
  Number(timestamp),
  key,
  value,
  headers,
];

/** Of transactions, two producers take turns, and end each of theirs with a mark. */
function randomBatches(random: Random, inTransactions: boolean): Made[] {
  const made: Made[] = [];
  let firstOffset = random.below(1000);
  for (let i = 0; i < 1 + random.below(inTransactions ? 30 : 8); i++) {
    const producer = inTransactions ? random.below(2) : -1;
    const isMark = inTransactions && random.chance(0.4);
    const attributes =
      (inTransactions ? TRANSACTIONAL : 0) | (isMark ? CONTROL : random.chance(0.3) ? GZIP : 0) | (random.chance(0.2) ? 0x08 : 0);
    made.push(batch(random, { producer, attributes, firstOffset }));
    firstOffset += 20 + random.below(5);
  }
  return made;
}

/** By the marks: those of a producer's batches whose next mark says that they are given up, and the batches of the others. */
function outcomes(batches: readonly Made[]): { readonly aborted: readonly [number, number][]; readonly committed: readonly Made[] } {
  const aborted: [number, number][] = [];
  const committed: Made[] = [];
  for (const [i, one] of batches.entries()) {
    if ((one.attributes & CONTROL) !== 0) continue;
    const mark = batches.slice(i).find(({ producer, attributes }) => producer === one.producer && (attributes & CONTROL) !== 0);
    if (mark === undefined || !isAbort(mark)) {
      committed.push(one);
      continue;
    }
    const before = batches.slice(0, i).findLast(({ producer }) => producer === one.producer);
    if (before === undefined || (before.attributes & CONTROL) !== 0) aborted.push([one.producer, one.firstOffset]);
  }
  return { aborted: aborted.toReversed(), committed };
}

/** A mark's only record has a key of four bytes; see `batch`. */
const isAbort = ({ bytes }: Made): boolean => bytes.at(-3) === 0;

function batch(random: Random, { producer, attributes, firstOffset }: Omit<Made, 'bytes'>): Made {
  const isMark = (attributes & CONTROL) !== 0;
  const records = Array.from({ length: isMark ? 1 : 1 + random.below(4) }, (_, i) => {
    const key = isMark ? Buffer.from([0, 0, 0, random.below(2)]) : randomBytes(random);
    const headers = isMark
      ? []
      : Array.from({ length: random.below(4) }, () => [Buffer.from(`h${random.below(3)}`), Buffer.from('v')] as const);
    const fields = [
      Buffer.from([0]),
      varint(isMark ? 0 : random.below(3) === 0 ? -random.below(5000) : random.below(2 ** 30)),
      varint(i * 3),
      sized(key),
      sized(isMark ? null : randomBytes(random)),
      varint(headers.length),
      ...headers.flatMap(([name, value]) => [sized(name), sized(value)]),
    ];
    return sized(Buffer.concat(fields));
  });
  const head = Buffer.alloc(61);
  const packed = Buffer.concat(records);
  const content = (attributes & 7) === GZIP ? gzipSync(packed) : packed;
  head.writeBigInt64BE(BigInt(firstOffset), 0);
  head.writeInt32BE(49 + content.length, 8);
  head[16] = 2;
  head.writeInt16BE(attributes, 21);
  head.writeInt32BE(3 * records.length + 1, 23); // Compaction left out the last ones.
  head.writeBigInt64BE(1_795_000_000_000n, 27);
  head.writeBigInt64BE(1_795_000_009_999n, 35);
  head.writeBigInt64BE(BigInt(producer), 43);
  head.writeInt32BE(records.length, 57);
  return { producer, attributes, firstOffset, bytes: Buffer.concat([head, content]) };
}

function answer(batches: readonly Buffer[], aborted: readonly (readonly [number, number])[]): Buffer {
  const all = Buffer.concat(batches);
  const head = Buffer.alloc(18);
  head.writeInt32BE(1, 10);
  head.writeInt16BE(1, 14);
  head.write('t', 16);
  const partition = Buffer.alloc(1 + 4 + 4 + 2 + 24 + 4 + 16 * aborted.length + 8);
  let at = partition.writeInt32BE(1, 0);
  at = partition.writeInt32BE(3, at);
  at = partition.writeInt16BE(0, at);
  for (const offset of [99n, 98n, 1n]) at = partition.writeBigInt64BE(offset, at);
  at = partition.writeInt32BE(aborted.length, at);
  for (const [producer, from] of aborted) {
    at = partition.writeBigInt64BE(BigInt(producer), at);
    at = partition.writeBigInt64BE(BigInt(from), at);
  }
  at = partition.writeInt32BE(-1, at);
  partition.writeInt32BE(all.length, at);
  return Buffer.concat([head.subarray(0, 17), partition.subarray(0, at + 4), all]);
}

const randomBytes = (random: Random): Buffer | null =>
  random.chance(0.2) ? null : Buffer.from(Array.from({ length: random.below(random.chance(0.1) ? 300 : 20) }, () => random.below(256)));

/** In zigzag. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value < 0 ? -2 * value - 1 : 2 * value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

const sized = (bytes: Buffer | null): Buffer => (bytes === null ? varint(-1) : Buffer.concat([varint(bytes.length), bytes]));
