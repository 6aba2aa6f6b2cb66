/** Released items whose records could not be read are read once more before they go through the stages, and are events like any other from then on. */
import type { Quarantined, ReleaseLog } from '../core/contracts.ts';
import { type DecodeAgain, type DecodedAgain, isOfSource, sourceProblem } from '../cdc/kafka/decode-again.ts';
import { withProblem } from '../cdc/kafka/debezium.ts';
import type { PostgresSink } from '../sync/postgres/sink.ts';

const NOTHING = 'there is no change in its record';
const UNKNOWN =
  'what came after it in its topic is not kept any more, so nobody knows whether its row has changed since: have the row read again, and discard this';
const PARTIAL =
  'later changes of its row left out cells that did not change, and only this one may have them: have the row read again, and discard this';

/** `by`: who is said to have discarded those in which there is nothing. */
export function decodedLog(quarantine: PostgresSink['quarantine'], again: DecodeAgain, by: string): ReleaseLog {
  return {
    changed: (signal) => quarantine.changed(signal),
    releasedAfter: async (after, limit) => {
      const released = await quarantine.releasedAfter(after, limit);
      const decoded: { readonly seq: bigint; readonly item: Quarantined }[] = [];
      for (const { seq, item } of released) {
        const now = item.event.dataset.undecoded === true ? await decodeItem(quarantine, again, item, by) : item;
        if (now !== null) decoded.push({ seq, item: now });
      }
      return decoded;
    },
  };
}

/** Null for one that has been settled. */
async function decodeItem(
  quarantine: PostgresSink['quarantine'],
  again: DecodeAgain,
  item: Quarantined,
  by: string,
): Promise<Quarantined | null> {
  const decoded = await again.decode(item.event);
  switch (decoded.kind) {
    case 'nothing':
      await quarantine.discard([item.id], by, NOTHING);
      return null;
    case 'undecoded':
      return { ...item, event: decoded.event };
    case 'event':
      return become(quarantine, again, item, decoded);
  }
}

async function become(
  quarantine: PostgresSink['quarantine'],
  again: DecodeAgain,
  item: Quarantined,
  { event }: Extract<DecodedAgain, { kind: 'event' }>,
): Promise<Quarantined | null> {
  try {
    const { kind } = await quarantine.become(item, event, again.readLater(item.event, event));
    if (kind === 'became') return await quarantine.get(item.id);
    if (kind === 'gone') return null;
    return { ...item, event: withProblem(item.event, kind === 'unknown' ? UNKNOWN : PARTIAL) };
  } catch (error) {
    if (!isOfSource(error)) throw error;
    return { ...item, event: withProblem(item.event, sourceProblem(error)) };
  }
}
