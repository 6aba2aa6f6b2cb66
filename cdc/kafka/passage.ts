/**
 * How far lanes of topics are in the log of the database behind them. A connector confirms a place of the log to its slot once all that was committed before it is in the
 * topics. So lanes that have passed where the topics ended behind such a confirmation have all of that. This is told late and never early: connectors confirm once a
 * minute unless told otherwise. What one writes again after its end comes behind what it had confirmed.
 */
import type { LaneId, Position } from '../../core/event.ts';
import type { KafkaClient } from '../../wire/kafka/client.ts';
import { partitionLane, placeOf } from './lane-place.ts';

export interface TopicPassageOptions {
  readonly client: KafkaClient;
  /** Of the source. */
  readonly lane: LaneId;
  readonly topics: readonly string[];
  /** What the connector has confirmed: 16 hex digits, null where it has no slot. */
  readonly confirmed: () => Promise<string | null>;
}

/** Where each lane has to be, to be behind a place of the log. */
interface Milestone {
  readonly lsn: string;
  readonly ends: ReadonlyMap<LaneId, bigint>;
}

/** Of those that lanes have yet to reach; the first of them are reached first. */
const MILESTONES_MAX = 16;

export class TopicPassage {
  readonly #options: TopicPassageOptions;
  readonly #ahead: Milestone[] = [];
  #passed = '';

  constructor(options: TopicPassageOptions) {
    this.#options = options;
  }

  /** Looks for what the connector has confirmed since. */
  async ask(): Promise<void> {
    const lsn = await this.#options.confirmed();
    if (lsn === null || lsn <= (this.#ahead.at(-1)?.lsn ?? this.#passed)) return;
    if (this.#ahead.length === MILESTONES_MAX) this.#ahead.pop();
    this.#ahead.push({ lsn, ends: await this.#ends() });
  }

  /** The place that lanes which stand so are known to have passed: 16 hex digits, '' where none is. */
  passed(lanes: ReadonlyMap<LaneId, Position>): string {
    const reached = this.#ahead.findLastIndex(({ ends }) => [...ends].every(([lane, end]) => offsetOf(lanes.get(lane)) >= end));
    const [milestone] = this.#ahead.splice(0, reached + 1).slice(-1);
    this.#passed = milestone?.lsn ?? this.#passed;
    return this.#passed;
  }

  /** Where the topics end now. A lane of an empty partition need not have begun. */
  async #ends(): Promise<ReadonlyMap<LaneId, bigint>> {
    const { client, lane, topics } = this.#options;
    const ends = new Map<LaneId, bigint>();
    for (const topic of topics)
      for (const [partition, { low, high }] of (await client.watermarks(topic)) ?? [])
        if (high > low) ends.set(partitionLane(lane, { topic, partition }), high);
    return ends;
  }
}

const offsetOf = (position: Position | undefined): bigint => (position === undefined ? -1n : placeOf(position).offset);
