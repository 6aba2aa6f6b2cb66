/**
 * Records that could not be read, read once more when they are released: a schema may have been registered since, the registry be back, a setting mended. What became of
 * their rows meanwhile is in the topic, behind them.
 */
import type { LaterChange, Quarantined, ReadLater, RecordPlace } from '../../core/contracts.ts';
import { type ChangeEvent, eventId, type LaneId, type Version, versionOf } from '../../core/event.ts';
import { fromOffset } from '../../core/position.ts';
import { PipelineError } from '../../core/errors.ts';
import type { KafkaClient, KafkaRecord, TopicPartition } from '../../wire/kafka/client.ts';
import { isPartial, isSameMove, type TableDecoder } from './debezium.ts';
import { isImportLane, placeOf } from './lane-place.ts';
import { TopicList, type TopicListOptions } from './topic-list.ts';
import { openPartition } from './topic-reader.ts';
import { historyAt, problemOf, recordOf, withProblem } from './undecoded.ts';

export type DecodedAgain =
  | { readonly kind: 'event'; readonly event: ChangeEvent }
  /** There is no change in it. */
  | { readonly kind: 'nothing' }
  /** It cannot be read still: the event as it was, with the reason of now. */
  | { readonly kind: 'undecoded'; readonly event: ChangeEvent };

const TOPICS_AT_ONCE = 8;

export interface DecodeAgainOptions extends TopicListOptions {
  /** Of a dataset by its name: the table and its columns; null for one that is none of ours. */
  readonly tableNamed: (dataset: string) => Parameters<TopicList['decoderOf']>[0] | null;
  /** What the names of the source's lanes begin with. */
  readonly lanes: LaneId;
  readonly client: KafkaClient;
  readonly signal: AbortSignal;
}

export class DecodeAgain implements AsyncDisposable {
  readonly #options: DecodeAgainOptions;
  readonly #list: TopicList;
  /** Found out since the last `decode`: the next who would ask them need not wait as long. */
  #brokersAway: PipelineError | null = null;

  constructor(options: DecodeAgainOptions) {
    this.#options = options;
    this.#list = new TopicList(options);
  }

  /** One answer for each of them. What cannot be asked is asked once for all: they do not wait for it one after the other. */
  async decode(held: readonly ChangeEvent[]): Promise<readonly DecodedAgain[]> {
    this.#brokersAway = null;
    const decoded = new Map<ChangeEvent, DecodedAgain>();
    const topics = [...Map.groupBy(held, (one) => recordOf(one).topic)];
    // In their order within a topic: what a row brings may be asked of by a later one.
    const decodeNext = async (): Promise<void> => {
      for (let next = topics.pop(); next !== undefined; next = topics.pop()) {
        const [topic, events] = next;
        for (const [place, event] of events.entries()) {
          const decoder = this.#decoderOf(event, topic);
          if (place === 0) decoder?.askAnew();
          decoded.set(event, await this.#decode(event, decoder));
        }
      }
    };
    // All have come to an end when one has failed: whoever asked closes what they read from.
    const ended = await Promise.allSettled(Array.from({ length: TOPICS_AT_ONCE }, decodeNext));
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
    return held.flatMap((one) => decoded.get(one) ?? []);
  }

  async #decode(held: ChangeEvent, decoder: TableDecoder | null): Promise<DecodedAgain> {
    const record = recordOf(held);
    if (decoder === null) return { kind: 'undecoded', event: withProblem(held, 'its table is none that the source reads any more') };
    try {
      const { event, half } = await decoder.decodeAsking(record, record.partition, historyAt(held));
      if (event === null) return { kind: 'nothing' };
      const read = half === 'movedFrom' && isPartial(event) ? decoder.incomplete(event, record, record.partition) : event;
      if (read.dataset.undecoded !== true) return { kind: 'event', event: read };
      return { kind: 'undecoded', event: withProblem(held, problemOf(read)) };
    } catch (error) {
      if (!isOfSource(error)) throw error;
      return { kind: 'undecoded', event: withProblem(held, sourceProblem(error)) };
    }
  }

  /** Among the changes of the row that a held record turned out to be of. */
  placeOf({ lane, event: held }: Quarantined, event: ChangeEvent): RecordPlace {
    return { lane: isImportLane(lane) ? null : lane, lanes: this.#options.lanes, readLater: this.#readLater(held, event) };
  }

  #readLater(held: ChangeEvent, { key }: ChangeEvent): ReadLater {
    const own = recordOf(held);
    const { topic, partition, offset } = own;
    const decoder = this.#decoderOf(held, topic);
    const found: FoundChange[] = [];
    let half: { readonly event: ChangeEvent; readonly change: FoundChange } | null = null;
    // Its own record comes first: a dead letter may name a place in a topic that was made anew since.
    let next = offset;
    let isThere = false;
    let history = historyAt(held);
    return async (upTo) => {
      const to = placeOf(upTo).offset;
      if (to <= offset) return 'ahead';
      const { client, signal } = this.#options;
      if (this.#brokersAway !== null) throw this.#brokersAway;
      const extent = await openPartition(client, { topic, partition }, next, to).catch((error: unknown) => {
        if (isOfSource(error)) this.#brokersAway = error;
        throw error;
      });
      if (extent === null) return 'lost';
      for await (const { records } of extent.read(signal)) {
        for (const record of records) {
          if (!isThere && !isSameRecord(own, record)) return 'lost';
          const read = (await decoder?.decodeAsking(record, partition, history)) ?? null;
          history = decoder?.history(partition) ?? history;
          if (!isThere) {
            isThere = true;
            continue;
          }
          const event = read?.event ?? null;
          if (read === null || event === null) continue; // The tombstone between the halves of a key move is none of them.
          if (read.half === 'movedFrom' && half !== null && isSameMove(half.event, event, read.oldKey ?? null))
            half.change.moveId = eventId(event);
          half = null;
          if (event.dataset.undecoded === true || (event.op !== 'truncate' && event.key !== key)) continue;
          const ids = [eventId(event), undecodedId(held, { topic, partition, offset: record.offset })];
          const change: FoundChange = { ids, moveId: null, version: versionOf(event), isPartial: isPartial(event) };
          found.push(change);
          if (read.half === 'movedTo') half = { event, change };
        }
      }
      signal.throwIfAborted(); // It has ended early then.
      if (!isThere) return 'lost';
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

type FoundChange = LaterChange & { moveId: string | null };

/** Whether a record stands where the held one did, and is the same: what hands letters on may write their bytes anew, or give them the time of now. */
const isSameRecord = (held: KafkaRecord, there: KafkaRecord): boolean =>
  there.offset === held.offset &&
  (there.timestampMs === held.timestampMs || (isSameBytes(there.key, held.key) && isSameBytes(there.value, held.value)));

const isSameBytes = (a: Buffer | null, b: Buffer | null): boolean => (a === null || b === null ? a === b : a.equals(b));

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
