/** Released items whose records could not be read are read once more before they go through the stages, and are events like any other from then on. */
import type { Quarantined, ReleaseLog } from '../core/contracts.ts';
import { type DecodeAgain, type DecodedAgain, isOfSource, sourceProblem } from '../cdc/kafka/decode-again.ts';
import { withProblem } from '../cdc/kafka/undecoded.ts';
import type { PostgresSink } from '../sync/postgres/sink.ts';

const NOTHING = 'there is no change in its record';
/** Why one that can be read by now is held still: by what may have become of its row meanwhile. */
const REASONS = {
  lost: 'its record, or what came after it, is not kept in its topic any more, so nobody knows whether its row has changed since: have the row read again, and discard this',
  ahead: 'its topic has not been read as far as its record yet: release it once it has',
  unplaced:
    'nobody knows where it stood in its topic, so nobody knows whether its row has changed since it was imported: have the row read again, and discard this; or have the target keep row versions (rowVersions)',
  partial:
    'later changes of its row left out cells that did not change, and only this one may have them: have the row read again, and discard this',
} as const;

/** `by`: who is said to have discarded those in which there is nothing. */
export function decodedLog(quarantine: PostgresSink['quarantine'], again: DecodeAgain, by: string): ReleaseLog {
  return {
    changed: (signal) => quarantine.changed(signal),
    releasedAfter: async (after, limit) => {
      const released = await quarantine.releasedAfter(after, limit);
      const undecoded = released.map(({ item }) => item).filter(({ event }) => event.dataset.undecoded === true);
      const read = await again.decode(undecoded.map(({ event }) => event));
      const readOf = new Map(undecoded.map((item, i) => [item, read[i]]));
      const decoded: { readonly seq: bigint; readonly item: Quarantined }[] = [];
      for (const { seq, item } of released) {
        const now = readOf.get(item);
        const taken = now === undefined ? item : await settle(quarantine, again, item, now, by);
        if (taken !== null) decoded.push({ seq, item: taken });
      }
      return decoded;
    },
  };
}

/** Null for one that has been settled. */
async function settle(
  quarantine: PostgresSink['quarantine'],
  again: DecodeAgain,
  item: Quarantined,
  decoded: DecodedAgain,
  by: string,
): Promise<Quarantined | null> {
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
    const { kind } = await quarantine.become(item, event, again.placeOf(item, event));
    if (kind === 'became') return await quarantine.get(item.id);
    return kind === 'gone' ? null : { ...item, event: withProblem(item.event, REASONS[kind]) };
  } catch (error) {
    if (!isOfSource(error)) throw error;
    return { ...item, event: withProblem(item.event, sourceProblem(error)) };
  }
}
