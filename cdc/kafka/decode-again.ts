/**
 * Records that could not be read, read once more when they are released: a schema may have been registered since, the registry be back, a setting mended. What became of
 * their rows meanwhile is in the topic, behind them.
 */
import type { LaterChange, ReadLater } from '../../core/contracts.ts';
import { type ChangeEvent, eventId, type Version, versionOf } from '../../core/event.ts';
import { fromOffset } from '../../core/position.ts';
import { PipelineError } from '../../core/errors.ts';
import type { KafkaClient, TopicPartition } from '../../wire/kafka/client.ts';
import { isPartial, problemOf, recordOf, type TableDecoder, withProblem } from './debezium.ts';
import { placeOf } from './lane-place.ts';
import { TopicList, type TopicListOptions } from './topic-list.ts';
import { openPartition } from './topic-reader.ts';

export type DecodedAgain =
  | { readonly kind: 'event'; readonly event: ChangeEvent }
  /** There is no change in it. */
  | { readonly kind: 'nothing' }
  /** It cannot be read still: the event as it was, with the reason of now. */
  | { readonly kind: 'undecoded'; readonly event: ChangeEvent };

export interface DecodeAgainOptions extends TopicListOptions {
  /** Of a dataset by its name: the table and its columns; null for one that is none of ours. */
  readonly tableNamed: (dataset: string) => Parameters<TopicList['decoderOf']>[0] | null;
  readonly client: KafkaClient;
  readonly signal: AbortSignal;
}

export class DecodeAgain implements AsyncDisposable {
  readonly #options: DecodeAgainOptions;
  readonly #list: TopicList;

  constructor(options: DecodeAgainOptions) {
    this.#options = options;
    this.#list = new TopicList(options);
  }

  async decode(held: ChangeEvent): Promise<DecodedAgain> {
    const record = recordOf(held);
    const decoder = this.#decoderOf(held, record.topic);
    if (decoder === null) return { kind: 'undecoded', event: withProblem(held, 'its table is none that the source reads any more') };
    decoder.askAnew();
    try {
      const { event, half } = await decoder.decodeAsking(record, record.partition);
      if (event === null) return { kind: 'nothing' };
      const read = half === 'movedFrom' && isPartial(event) ? decoder.incomplete(event, record, record.partition) : event;
      if (read.dataset.undecoded !== true) return { kind: 'event', event: read };
      return { kind: 'undecoded', event: withProblem(held, problemOf(read)) };
    } catch (error) {
      if (!isOfSource(error)) throw error;
      return { kind: 'undecoded', event: withProblem(held, sourceProblem(error)) };
    }
  }

  /** What came after a record of the row that it turned out to be of. */
  readLater(held: ChangeEvent, { key }: ChangeEvent): ReadLater {
    const { topic, partition, offset } = recordOf(held);
    const decoder = this.#decoderOf(held, topic);
    const found: LaterChange[] = [];
    let next = offset + 1n;
    return async (upTo) => {
      const to = upTo === null ? null : placeOf(upTo).offset;
      const { client, signal } = this.#options;
      const extent = await openPartition(client, { topic, partition }, next, to);
      if (extent === null) return null;
      for await (const { records } of extent.read(signal)) {
        for (const record of records) {
          const { event } = (await decoder?.decodeAsking(record, partition)) ?? { event: null };
          if (event === null || event.dataset.undecoded === true) continue;
          if (event.op !== 'truncate' && event.key !== key) continue;
          const ids = [eventId(event), undecodedId(held, { topic, partition, offset: record.offset })];
          found.push({ ids, version: versionOf(event), isPartial: isPartial(event) });
        }
      }
      signal.throwIfAborted(); // It has ended early then.
      next = extent.end;
      return found;
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.client[Symbol.asyncDispose]();
  }

  #decoderOf({ dataset }: ChangeEvent, topic: string): TableDecoder | null {
    const table = this.#options.tableNamed(dataset.name);
    return table === null ? null : this.#list.decoderOf(table, topic);
  }
}

/** Registry or brokers cannot be asked now: what is released beside it need not wait for them. */
export function isOfSource(error: unknown): error is PipelineError {
  return error instanceof PipelineError && error.code.startsWith('SOURCE_');
}

export const sourceProblem = ({ message, code }: PipelineError): string => `${message} (${code})`;

/** As which a record is in the quarantine where it could not be read either. */
function undecodedId(held: ChangeEvent, { topic, partition, offset }: TopicPartition & { readonly offset: bigint }): string {
  const key = JSON.stringify([topic, String(partition), String(offset)]);
  return eventId({ ...held, key, version: fromOffset(offset) as string as Version, ordinal: 0 }); // As debezium.ts makes it.
}
