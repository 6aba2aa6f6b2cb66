/**
 * Records in transactions. An id has one writer: whoever takes it over has the brokers refuse the one before, and undo what that had begun. With a transaction
 * goes a note, as the offset of a consumer group of the same name, so that whoever comes next knows which was the last to be committed.
 */
import type { OutgoingRecord } from './client.ts';

export interface TransactionNote {
  readonly text: string;
  /** Grows from note to note. */
  readonly number: bigint;
}

export interface KafkaTransactions extends AsyncDisposable {
  /** Of the last transaction that was committed. Null where there was none, or where the brokers have forgotten it: they do some days after it. */
  readonly last: TransactionNote | null;
  /** Writes records in the transaction that is open, or begins one. Ends with its first failure, as a producer does. */
  send(records: readonly OutgoingRecord[]): Promise<void>;
  /** What it throws leaves open whether the transaction is committed. `topic` is one that is there. */
  commit(topic: string, text: string): Promise<void>;
}

/** As much of the client as is needed. */
interface Client<Messages> {
  transaction(): Promise<Open<Messages>>;
  disconnect(): Promise<void>;
}
interface Open<Messages> {
  sendBatch(batch: { readonly acks: number; readonly compression: number; readonly topicMessages: Messages }): Promise<unknown>;
  sendOffsets(offsets: {
    readonly consumerGroupId: string;
    readonly topics: { topic: string; partitions: { partition: number; offset: string; metadata: string }[] }[];
  }): Promise<void>;
  commit(): Promise<void>;
  abort(): Promise<void>;
}
/** What a group has committed. */
export type GroupOffsets = readonly {
  readonly partitions: readonly { readonly offset: string; readonly metadata: string | null }[];
}[];

export interface TransactionsParts<Messages> {
  readonly id: string;
  readonly producer: Client<Messages>;
  readonly messagesOf: (records: readonly OutgoingRecord[]) => Messages;
  /** As the protocol numbers them. */
  readonly compression: number;
  readonly offsetsOf: (group: string) => Promise<GroupOffsets>;
  readonly failure: (error: unknown, doing: string) => Error;
}

/** Takes the id over. */
export async function openTransactions<Messages>(parts: TransactionsParts<Messages>): Promise<KafkaTransactions> {
  const { id, producer, offsetsOf, failure } = parts;
  try {
    // The id is taken with the first transaction that is begun.
    await (await producer.transaction()).abort();
    return new Transactions(parts, lastNote(await offsetsOf(id)));
  } catch (error) {
    await producer.disconnect().catch(() => {}); // It may be gone.
    throw failure(error, `taking over the transactional id ${id}`);
  }
}

/** Notes are told under whatever topic was there at the time. */
function lastNote(offsets: GroupOffsets): TransactionNote | null {
  let last: TransactionNote | null = null;
  for (const { offset, metadata } of offsets.flatMap(({ partitions }) => partitions)) {
    const number = BigInt(offset);
    if (number > (last?.number ?? -1n)) last = { number, text: metadata ?? '' };
  }
  return last;
}

class Transactions<Messages> implements KafkaTransactions {
  readonly #parts: TransactionsParts<Messages>;
  #last: TransactionNote | null;
  #open: Open<Messages> | null = null;

  constructor(parts: TransactionsParts<Messages>, last: TransactionNote | null) {
    this.#parts = parts;
    this.#last = last;
  }

  get last(): TransactionNote | null {
    return this.#last;
  }

  async send(records: readonly OutgoingRecord[]): Promise<void> {
    await this.#attempt(`writing records by the transactional id ${this.#parts.id}`, async () => {
      this.#open ??= await this.#parts.producer.transaction();
      const { messagesOf, compression } = this.#parts;
      await this.#open.sendBatch({ acks: -1, compression, topicMessages: messagesOf(records) });
    });
  }

  async commit(topic: string, text: string): Promise<void> {
    const { id, producer } = this.#parts;
    const number = (this.#last?.number ?? -1n) + 1n;
    await this.#attempt(`committing by the transactional id ${id}`, async () => {
      const open = (this.#open ??= await producer.transaction());
      const partitions = [{ partition: 0, offset: String(number), metadata: text }];
      await open.sendOffsets({ consumerGroupId: id, topics: [{ topic, partitions }] });
      await open.commit();
      this.#open = null;
      this.#last = { number, text };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const open = this.#open;
    this.#open = null;
    // What is open is undone at the latest by whoever takes the id over.
    await open?.abort().catch(() => {});
    await this.#parts.producer.disconnect().catch(() => {}); // It is gone either way.
  }

  async #attempt(doing: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw this.#parts.failure(error, doing);
    }
  }
}
