/**
 * Places in a partition's lane, as strings whose order is the lane's order:
 *
 *     <offset>             go on at this offset: 16 hex digits
 *     <offset>.<topic id>  the same, in the topic of this id: one of the same name that was made anew has another
 *     <offset>.<topic id>.<history>  and what is known of its binlog's history there, in a topic of MySQL's or MariaDB's (see binlog-history.ts)
 */
import type { LaneId, Position } from '../../core/event.ts';
import { fromOffset } from '../../core/position.ts';
import type { TopicPartition } from '../../wire/kafka/client.ts';

export interface LanePlace {
  readonly offset: bigint;
  /** Null where the brokers told none. */
  readonly topicId: string | null;
  /** Null where there is none, or nothing is known. */
  readonly history: string | null;
}

/** What the names of all lanes of a source begin with. */
export const sourceLane = ({ name, group }: { readonly name: string; readonly group: string }): LaneId => `${name}/${group}` as LaneId;

/** The lane of a partition, under that of its source. */
export function partitionLane(source: LaneId, { topic, partition }: TopicPartition): LaneId {
  return `${source}/${topic}/${partition}` as LaneId;
}

/** Of what was taken out of a dead letter queue, where no partition is known that it stood in: nothing is ever read of this lane. */
export const importLane = (queue: string): LaneId => `${IMPORT}${queue}` as LaneId;
export const isImportLane = (lane: LaneId): boolean => lane.startsWith(IMPORT);

const IMPORT = 'import:';

export function positionOf({ offset, topicId, history }: LanePlace): Position {
  const parts = history === null ? (topicId === null ? [] : [topicId]) : [topicId ?? '', history];
  return [fromOffset(offset), ...parts].join('.') as Position;
}

export function placeOf(position: Position): LanePlace {
  const [offset = '', topicId = '', history = null] = position.split('.');
  return { offset: BigInt(`0x${offset}`), topicId: topicId === '' ? null : topicId, history };
}
