/** Kafka's Metadata request in the version that tells the ids of topics (10), which the client does not speak itself: bytes out, bytes in. */

export interface TopicMetadata {
  readonly name: string;
  /** As Kafka writes it, in base64url: a topic that was deleted and made anew has another. Null where the brokers give none. */
  readonly id: string | null;
  readonly isInternal: boolean;
  readonly partitions: number;
  /** Kafka's code: 0 where all is well. */
  readonly error: number;
}

export const METADATA_API = { apiKey: 3, apiVersion: 10, apiName: 'Metadata' } as const;
export const UNKNOWN_TOPIC = 3;
export const TOPIC_FORBIDDEN = 29;

const NO_ID = Buffer.alloc(16);

/** `names`: null for all topics there are. */
export function encodeMetadataRequest(names: readonly string[] | null): Buffer {
  const none = Buffer.from([0]); // No tagged fields; and as a length, null.
  const topics = names?.map((name) => {
    const text = Buffer.from(name);
    return Buffer.concat([NO_ID, varint(text.length + 1), text, none]);
  });
  return Buffer.concat([
    none, // Of the header, whose end it is in this version.
    topics === undefined ? none : varint(topics.length + 1),
    ...(topics ?? []),
    Buffer.from([0, 0, 0]), // Make no topics; who may do what is not asked.
    none,
  ]);
}

export function decodeMetadataResponse(bytes: Buffer): readonly TopicMetadata[] {
  const reader = new Reader(bytes);
  reader.tags();
  reader.skip(4); // How long we were held up.
  reader.each(() => {
    reader.skip(4);
    reader.text();
    reader.skip(4);
    reader.text();
    reader.tags();
  });
  reader.text(); // The cluster.
  reader.skip(4); // Its controller.
  return reader.each(() => {
    const error = reader.int16();
    const name = reader.text() ?? '';
    const id = reader.take(16);
    const isInternal = reader.take(1)[0] === 1;
    let partitions = 0;
    reader.each(() => {
      partitions++;
      reader.skip(2 + 4 + 4 + 4);
      for (let list = 0; list < 3; list++) reader.each(() => reader.skip(4)); // Replicas, those in sync, those that are away.
      reader.tags();
    });
    reader.skip(4);
    reader.tags();
    return { name, id: NO_ID.equals(id) ? null : id.toString('base64url'), isInternal, partitions, error };
  });
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  take(length: number): Buffer {
    this.skip(length);
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  skip(length: number): void {
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new RangeError('the answer of the broker ends too early');
  }

  int16(): number {
    return this.take(2).readInt16BE();
  }

  varint(): number {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = this.take(1)[0] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  text(): string | null {
    const length = this.varint();
    return length === 0 ? null : this.take(length - 1).toString('utf8');
  }

  each<T>(read: () => T): readonly T[] {
    const found: T[] = [];
    for (let left = this.varint() - 1; left > 0; left--) found.push(read());
    return found;
  }

  tags(): void {
    for (let left = this.varint(); left > 0; left--) {
      this.varint();
      this.skip(this.varint());
    }
  }
}
