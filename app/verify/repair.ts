/** Has the running lane bring rows that differ, as they are at the source, through all its stages, and looks whether it did. */
import type { Bringer } from './bring.ts';
import { type Differing, Suspects, type SuspectsParts } from './suspects.ts';

/** Between two looks at what was asked for. */
const POLL_MS = 100;

/**
 * Asks once for these rows, and answers those that still differ when the time is up, or are held by then. How many it may wait for is the
 * caller's to say: they are looked at together.
 */
export async function repairRows(
  table: string,
  rows: readonly Differing[],
  parts: SuspectsParts & { readonly bringer: Bringer; readonly passed: string },
): Promise<readonly Differing[]> {
  const { bringer, passed, waitMs, clock, signal } = parts;
  await bringer.bring(
    table,
    rows.map(({ key }) => key),
    passed,
  );
  const deadline = clock.monotonic() + waitMs;
  const held: Differing[] = [];
  let left = rows;
  while (left.length > 0 && clock.monotonic() < deadline) {
    await clock.sleep(POLL_MS, signal);
    const again = new Suspects(parts);
    for (const { key } of left) again.add(key);
    const differing = await again.decide();
    held.push(...differing.filter(({ isHeld }) => isHeld));
    left = differing.filter(({ isHeld }) => !isHeld);
  }
  return [...held, ...left];
}
