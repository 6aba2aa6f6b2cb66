/** How often the target is asked for rows that wait: on a clock of the test's own, whose looks take time. */
import { expect, test } from 'vitest';
import type { WaitsSettled } from '../../core/keyed.ts';
import type { PostgresSink } from '../../sync/postgres/sink.ts';
import { WaitWatch } from '../../app/waits.ts';
import { ManualClock } from './manual-clock.ts';

/** Looks in so many seconds, each of which takes so long, where something comes of the first few. */
async function looksIn(seconds: number, tookMs: number, fruitful: number): Promise<number> {
  const clock = new ManualClock();
  let looks = 0;
  const settle = (): Promise<WaitsSettled> => {
    looks++;
    clock.advance(tookMs);
    return Promise.resolve({ released: looks <= fruitful ? 5000 : 0, overdue: 0, takenBack: 0 });
  };
  const watch = new WaitWatch({
    desk: { contracts: () => new Map(), withSink: (work) => work({ waits: { settle } } as unknown as PostgresSink) }, // All that is asked of it.
    clock,
    live: () => ({ isCaughtUp: true, isCopied: () => true }) as unknown as ReturnType<ConstructorParameters<typeof WaitWatch>[0]['live']>,
    onSettled: () => {},
  });
  for (const endMs = clock.monotonic() + seconds * 1000; clock.monotonic() < endMs; clock.advance(1000)) await watch.look();
  return looks;
}

test('however many rows wait for nothing, the target is busy with them for a tenth of the time at most', async () => {
  expect(await looksIn(600, 5, 0)).toBeGreaterThan(590);
  expect((await looksIn(600, 500, 0)) * 500).toBeLessThanOrEqual(60_000);
  expect((await looksIn(6000, 10_000, 0)) * 10_000).toBeLessThanOrEqual(600_000);
});

test('while rows are freed nobody rests', async () => {
  expect(await looksIn(60, 500, 100)).toBe(40);
});
