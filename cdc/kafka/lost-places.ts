/** Lanes whose checkpoints their topics do not have any more, and where each can go on. */
import type { LaneId, Position } from '../../core/event.ts';
import type { KafkaClient } from '../../wire/kafka/client.ts';
import { placeOf, positionOf } from './lane-place.ts';

export interface LostPlace {
  readonly lane: LaneId;
  readonly from: Position;
  readonly to: Position;
  /** Both as offsets, for people. */
  readonly fromText: string;
  readonly toText: string;
  readonly why: string;
}

/** `source`: of all of them. A topic that is gone is left to whoever reads it: there is nothing to go on with. */
export async function lostPlaces(
  client: KafkaClient,
  source: LaneId,
  lanes: readonly { readonly lane: LaneId; readonly position: Position | null }[],
): Promise<readonly LostPlace[]> {
  const found: LostPlace[] = [];
  const byTopic = Map.groupBy(
    lanes.map((one) => ({ ...one, ...partitionOf(source, one.lane) })),
    ({ topic }) => topic,
  );
  const there = await client.topics([...byTopic.keys()]);
  for (const [topic, partitions] of byTopic) {
    const topicId = there.get(topic)?.id ?? null;
    const marks = await client.watermarks(topic);
    for (const { lane, position, partition } of partitions) {
      const kept = marks?.get(partition);
      if (position === null || kept === undefined) continue;
      const place = placeOf(position);
      const isOther = place.topicId !== null && topicId !== null && place.topicId !== topicId;
      if (!isOther && place.offset >= kept.low && place.offset <= kept.high) continue;
      const why = isOther
        ? `${topic} was deleted and made anew`
        : `${topic} keeps partition ${partition} from ${kept.low} to ${kept.high}, and the lane stood at ${place.offset}`;
      const to = positionOf({ offset: kept.low, topicId, history: place.history });
      found.push({ lane, from: position, to, fromText: String(place.offset), toText: String(kept.low), why });
    }
  }
  return found;
}

function partitionOf(source: LaneId, lane: LaneId): { readonly topic: string; readonly partition: number } {
  const [topic = '', partition = ''] = lane.slice(source.length + 1).split('/');
  return { topic, partition: Number(partition) };
}
