/** Has the running lane bring rows that differ, as they are at the source, through all its stages, and looks whether it did. */
import { versionOf } from '../../core/event.ts';
import type { Bringer } from './bring.ts';
import { type Differing, Suspects, type SuspectsParts } from './suspects.ts';

/** Between two looks at what was asked for. */
const POLL_MS = 100;
/** Rows that did not come are asked for again after this time, and then after twice as long each time: somebody may have made them different again, or the request was not heard. */
const AGAIN_MS = 2000;

export interface RepairParts extends SuspectsParts {
  readonly bringer: Bringer;
  readonly passed: string;
  /** Told while rows are waited for: how many, and how often they were asked for. */
  readonly onWaiting: (rows: number, times: number) => void;
}

/**
 * Asks for these rows, again for those that do not come, and answers those that still differ when the time is up, or are held by then. How many it may wait for is the
 * caller's to say: they are looked at together.
 */
export async function repairRows(table: string, rows: readonly Differing[], parts: RepairParts): Promise<readonly Differing[]> {
  const { bringer, waitMs, clock, signal } = parts;
  let { passed } = parts;
  const ask = (some: readonly Differing[]): Promise<string> =>
    bringer.bring(
      table,
      some.map(({ key }) => key),
      passed,
    );
  const deadline = clock.monotonic() + waitMs;
  const asked = await ask(rows);
  let [times, pauseMs] = [1, AGAIN_MS];
  let againAtMs = clock.monotonic() + pauseMs;
  const held: Differing[] = [];
  let left = rows;
  while (left.length > 0 && clock.monotonic() < deadline) {
    parts.onWaiting(left.length, times);
    await clock.sleep(POLL_MS, signal);
    const again = new Suspects({ ...parts, waitMs: Math.max(0, Math.min(pauseMs, deadline - clock.monotonic())) });
    for (const { key } of left) again.add(key);
    const isOver = await heldSince(left, asked, parts);
    const differing = await again.decide();
    if (again.passed !== '') passed = again.passed;
    held.push(...differing.filter(isOver));
    left = differing.filter((row) => !isOver(row));
    if (left.length === 0 || clock.monotonic() < againAtMs) continue;
    await ask(left);
    times++;
    pauseMs *= 2;
    againAtMs = clock.monotonic() + pauseMs;
  }
  return [...held, ...left];
}

/** Tells rows that have come and are held, in whatever is looked at from now on: what was open of their keys before is not what was asked for. */
async function heldSince(
  rows: readonly Differing[],
  asked: string,
  { target, dataset }: RepairParts,
): Promise<(row: Differing) => boolean> {
  const open = await target.openAmong(
    dataset.name,
    rows.map(({ eventKey }) => eventKey),
  );
  const since = new Set(open.flatMap(({ key, event }) => (versionOf(event) >= asked ? [key] : [])));
  return ({ isHeld, eventKey }) => isHeld && since.has(eventKey);
}
