/**
 * A record of a topic as bytes that lose nothing, for the quarantine: a header in JSON (where it stood, its headers), then key and value as they were.
 * The first byte is the format's version.
 */
import type { OriginalRecord } from '../../core/batch.ts';
import { PipelineError } from '../../core/errors.ts';

const FORMAT = 1;

interface Header {
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  readonly timestampMs: number;
  /** In bytes; null where there is none. */
  readonly key: number | null;
  readonly value: number | null;
  /** Values as base64: of one name, one or a list. */
  readonly headers: readonly (readonly [name: string, value: string | readonly string[]])[];
}

export function packRecord({ topic, partition, offset, timestampMs, key, value, headers }: OriginalRecord): Buffer {
  const header: Header = {
    topic,
    partition,
    offset: String(offset),
    timestampMs,
    key: key?.length ?? null,
    value: value?.length ?? null,
    headers: Object.entries(headers).flatMap(([name, one]) =>
      one === undefined ? [] : [[name, isList(one) ? one.map(base64) : base64(one)] as const],
    ),
  };
  const json = Buffer.from(JSON.stringify(header));
  const head = Buffer.alloc(5);
  head[0] = FORMAT;
  head.writeUInt32BE(json.length, 1);
  return Buffer.concat([head, json, key ?? NOTHING, value ?? NOTHING]);
}

/** Throws BUG for bytes that `packRecord` did not make. */
export function unpackRecord(packed: Uint8Array): OriginalRecord {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength);
  if (bytes[0] !== FORMAT) throw new PipelineError('BUG', `a held record has format ${bytes[0]}, this version reads ${FORMAT}`);
  const end = 5 + bytes.readUInt32BE(1);
  const { topic, partition, offset, timestampMs, key, value, headers } = JSON.parse(bytes.toString('utf8', 5, end)) as Header; // Written by packRecord.
  const valueAt = end + (key ?? 0);
  return {
    topic,
    partition,
    offset: BigInt(offset),
    timestampMs,
    key: key === null ? null : bytes.subarray(end, valueAt),
    value: value === null ? null : bytes.subarray(valueAt, valueAt + value),
    headers: Object.fromEntries(headers.map(([name, one]) => [name, typeof one === 'string' ? fromBase64(one) : one.map(fromBase64)])),
  };
}

const NOTHING = Buffer.alloc(0);

type HeaderValue = NonNullable<OriginalRecord['headers'][string]>;

const isList = (value: HeaderValue): value is readonly (Uint8Array | string)[] => Array.isArray(value);
const base64 = (value: Uint8Array | string): string => Buffer.from(value).toString('base64');
const fromBase64 = (text: string): Buffer => Buffer.from(text, 'base64');
