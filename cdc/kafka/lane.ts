/**
 * One partition as a lane: records wait here until a batch is made of them. Its position is the offset to go on from, so records that are nothing to us
 * (tombstones, gaps that compaction left, ends of transactions) move it on as well.
 */
import { Batch, type OriginalRecord } from '../../core/batch.ts';
import type { ChangeEvent, LaneId, Position } from '../../core/event.ts';
import type { Fetched, KafkaRecord, TopicPartition } from '../../wire/kafka/client.ts';
import { type BinlogHistory, historyOf, historyText } from './binlog-history.ts';
import { contentBytes } from '../../wire/kafka/fetched-record.ts';
import { isPartial, isSameMove, moved, type TableDecoder } from './debezium.ts';
import { placeOf, positionOf } from './lane-place.ts';

/** The first half of a key move waits this long for the second one, which may be in another partition. */
const HALF_MS = 200;
/** What a record takes beside its bytes, roughly. */
const RECORD_BYTES = 200;

export interface LaneLimits {
  readonly rows: number;
  readonly bytes: number;
}

export interface LaneStart {
  /** Null where the brokers tell none. */
  readonly topicId: string | null;
  readonly decoder: TableDecoder;
  readonly from: bigint;
  /** What is known there of its binlog's history; see lane-place.ts. */
  readonly history?: string | null;
  /** The end of the partition. */
  readonly end: bigint;
  readonly isTold?: boolean;
}

export class PartitionLane {
  readonly id: LaneId;
  readonly at: TopicPartition;
  readonly topicId: string | null;
  readonly #decoder: TableDecoder;
  #records: KafkaRecord[] = [];
  /** Decoded already: the first half of a key move, whose second was not there yet. */
  #half: { readonly event: ChangeEvent; readonly record: KafkaRecord; readonly history: BinlogHistory; readonly sinceMs: number } | null =
    null;
  #bytes = 0;
  /** Where the fetched records go on. */
  #fetched: bigint;
  #end: bigint;
  /** The offset up to which batches were handed out, and the one up to which they are committed. */
  #handed: bigint;
  /** As it stands at the first of them. */
  #history: BinlogHistory;
  #committed: bigint;
  /** Whether the target knows where it begins: a partition without records would begin anew, at its end of then, and miss what came meanwhile. */
  #isTold: boolean;
  isPaused = false;
  /** Whether the target has a checkpoint of it: that it stands at `committed`. */
  #isKept: boolean;
  /** The group gave it to somebody else, or the run is over. */
  isEnded = false;

  constructor(id: LaneId, at: TopicPartition, { topicId, decoder, from, history = null, end, isTold = true }: LaneStart) {
    this.id = id;
    this.at = at;
    this.topicId = topicId;
    this.#decoder = decoder;
    this.#fetched = from;
    this.#handed = from;
    this.#history = historyOf(history);
    this.#committed = from;
    this.#end = end;
    this.#isTold = isTold;
    this.#isKept = isTold;
  }

  /** Bytes of records that wait. */
  get bytes(): number {
    return this.#bytes;
  }
  get next(): bigint {
    return this.#fetched;
  }
  get committed(): bigint {
    return this.#committed;
  }
  get isKept(): boolean {
    return this.#isKept;
  }
  get end(): bigint {
    return this.#end;
  }
  /** Records still to be read and committed, as far as the brokers have told. */
  get lag(): number {
    return this.#end > this.#committed ? Number(this.#end - this.#committed) : 0;
  }
  get isBehind(): boolean {
    return this.#handed > this.#committed || this.#records.length > 0;
  }

  /** The partition has grown, while nothing was read of it. */
  grown(end: bigint): void {
    if (end > this.#end) this.#end = end;
  }

  /** False for records of an older place, from before the lane began where it did. */
  add({ records, next, end }: Fetched): boolean {
    const first = records.findIndex(({ offset }) => offset >= this.#fetched);
    this.#end = end;
    if (next <= this.#fetched) return false;
    for (const record of first < 0 ? [] : records.slice(first)) {
      this.#records.push(record);
      this.#bytes += sizeOf(record);
    }
    this.#fetched = next;
    return true;
  }

  /** How long until there is a batch: 0 where there is one now, null where something has to come first. */
  readyInMs(nowMs: number): number | null {
    if (this.#half !== null && this.#records.length === 0) return Math.max(0, this.#half.sinceMs + HALF_MS - nowMs);
    return this.#records.length > 0 || this.#fetched > this.#handed || !this.#isTold ? 0 : null;
  }

  /** The next batch; null where there is none after all. Asks the registry for schemas that are met for the first time. */
  async take(limits: LaneLimits, nowMs: number): Promise<Batch | null> {
    const events: ChangeEvent[] = [];
    const records: KafkaRecord[] = [];
    const push = (event: ChangeEvent, record: KafkaRecord): void => {
      events.push(event);
      records.push(record);
    };
    let taken = 0;
    let bytes = 0;
    let isSnapshot = false;
    /** The lane goes on behind it. */
    let last: KafkaRecord | null = null as KafkaRecord | null;
    let history = this.#history;
    // A record may have been decoded that the last batch had no place for.
    this.#decoder.resume(this.at.partition, this.#half?.history ?? history);
    const passed = (record: KafkaRecord, known: BinlogHistory): void => {
      last = record;
      history = known;
    };
    const flushHalf = (): void => {
      if (this.#half === null) return;
      push(this.#half.event, this.#half.record);
      passed(this.#half.record, this.#half.history);
      this.#half = null;
    };
    if (this.#half !== null && this.#records.length === 0 && nowMs >= this.#half.sinceMs + HALF_MS) flushHalf();
    while (taken < this.#records.length && events.length < limits.rows && bytes < limits.bytes) {
      const record = this.#records[taken];
      if (record === undefined) break;
      // No promise for each record: nearly all are of a schema that is known.
      const decoded =
        this.#decoder.decodeKnown(record, this.at.partition) ??
        (await this.#decoder.decodeAsking(record, this.at.partition, null, this.#records));
      const { event, half, oldKey = null } = decoded;
      const known = this.#decoder.history(this.at.partition);
      if (event !== null) {
        const isRead = event.op === 'read';
        if (events.length > 0 && isRead !== isSnapshot) break;
        isSnapshot = isRead;
      }
      taken++;
      bytes += sizeOf(record);
      if (event === null) {
        if (this.#half === null) passed(record, known); // The tombstone between the halves of a key move belongs to them.
        continue;
      }
      if (half === 'movedFrom' && this.#half !== null && isSameMove(this.#half.event, event, oldKey)) {
        push(moved(this.#half.event, event), record);
        this.#half = null;
      } else {
        flushHalf();
        if (half === 'movedTo') {
          this.#half = { event, record, history: known, sinceMs: nowMs };
          continue;
        }
        push(half === 'movedFrom' && isPartial(event) ? this.#decoder.incomplete(event, record, this.at.partition) : event, record);
      }
      passed(record, known);
    }
    this.#drop(taken);
    let next = last === null ? this.#handed : last.offset + 1n;
    if (this.#records.length === 0 && this.#half === null) next = this.#fetched;
    if (next === this.#handed && this.#isTold) return null;
    this.#isTold = true;
    this.#handed = next;
    this.#history = history;
    return new Batch(
      events,
      { lane: this.id, position: positionOf({ offset: next, topicId: this.topicId, history: historyText(history) }) },
      isSnapshot ? 'snapshot' : 'stream',
      null,
      [],
      (i) => this.#original(records[i]),
    );
  }

  acknowledge(position: Position): void {
    const { offset } = placeOf(position);
    this.#isKept = true;
    if (offset > this.#committed) this.#committed = offset;
  }

  #original(record: KafkaRecord | undefined): OriginalRecord | null {
    if (record === undefined) return null;
    const { offset, timestampMs, key, value, headers } = record;
    return { ...this.at, offset, timestampMs, key, value, headers };
  }

  #drop(count: number): void {
    for (const record of this.#records.splice(0, count)) this.#bytes -= sizeOf(record);
  }
}

const sizeOf = (record: KafkaRecord): number => RECORD_BYTES + contentBytes(record);
