/** The ledger of a lane as people see it: what became of every event that was read, and whether that is all of them. */
import type { LaneState } from '../sync/postgres/lanes.ts';
import type { LaneView } from './http/shapes.ts';

export function ledgerView(kept: LaneState['ledger']): Pick<LaneView, 'ledger' | 'closed'> {
  const ledger = Object.fromEntries(Object.entries(kept).map(([name, count]) => [name, Number(count)]));
  const { events = 0, ...out } = ledger;
  return { ledger, closed: Object.values(out).reduce((sum, count) => sum + count, 0) === events };
}
