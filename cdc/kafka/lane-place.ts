/**
 * Places in a partition's lane, as strings whose order is the lane's order:
 *
 *     <offset>             go on at this offset: 16 hex digits
 *     <offset>.<topic id>  the same, in the topic of this id: one of the same name that was made anew has another
 */
import type { LaneId, Position } from '../../core/event.ts';
import { fromOffset } from '../../core/position.ts';
import type { TopicPartition } from '../../wire/kafka/client.ts';

export interface LanePlace {
  readonly offset: bigint;
  /** Null where the brokers told none. */
  readonly topicId: string | null;
}

/** The lane of a partition, under that of its source. */
export function partitionLane(source: LaneId, { topic, partition }: TopicPartition): LaneId {
  return `${source}/${topic}/${partition}` as LaneId;
}

export function positionOf({ offset, topicId }: LanePlace): Position {
  return (topicId === null ? fromOffset(offset) : `${fromOffset(offset)}.${topicId}`) as Position;
}

export function placeOf(position: Position): LanePlace {
  const [offset = '', topicId = null] = position.split('.');
  return { offset: BigInt(`0x${offset}`), topicId };
}
