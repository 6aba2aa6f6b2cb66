/** How fast rows are read beside the log, however many read them. */
import { expect, test } from 'vitest';
import { Pace } from '../../cdc/postgres/pace.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { ManualClock } from '../app/manual-clock.ts';
import { Random } from '../support/random.ts';

/** It is only asked where sessions are counted. */
const NO_CONNECTION = Object.create(PgConnection.prototype) as PgConnection;

const settled = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

test.each([1, 2, 3, 4])('all who read together stay within the rate, and use it (seed %i)', async (seed) => {
  const random = new Random(seed);
  const clock = new ManualClock();
  const [rate, rereadRate, readers] = [100 + random.below(10_000), 50 + random.below(100), 1 + random.below(4)];
  const pace = new Pace({ rowsPerSecond: rate, rereadRowsPerSecond: rereadRate, busySessions: null, clock });
  const stop = new AbortController();
  const rows = { first: 0, again: 0 };
  const read = async (isAgain: boolean): Promise<void> => {
    for (;;) {
      await pace.turn(NO_CONNECTION, isAgain, stop.signal);
      if (stop.signal.aborted) return;
      const count = Math.ceil(pace.rowsMax(isAgain) * random.next());
      rows[isAgain ? 'again' : 'first'] += count;
      pace.took(count, isAgain);
    }
  };
  const reading = [read(true), ...Array.from({ length: readers }, () => read(false))];
  const startMs = clock.monotonic();
  for (let step = 0; step < 400; step++) {
    clock.advance(random.below(100));
    await settled();
    const seconds = (clock.monotonic() - startMs) / 1000;
    // What each of them has read at once is paid for afterwards.
    expect(rows.first + rows.again).toBeLessThanOrEqual(rate * seconds + (readers + 1) * rate);
    expect(rows.again).toBeLessThanOrEqual(rereadRate * seconds + rereadRate);
    // A reader that is woken late has lost the time.
    expect(rows.first + rows.again).toBeGreaterThanOrEqual(0.5 * rate * (seconds - 2));
  }
  pace.pause();
  await settled();
  clock.advance(60_000);
  await settled();
  const before = { ...rows };
  clock.advance(60_000);
  await settled();
  expect(rows).toEqual(before);
  expect(pace.wait).toBe('paused');
  pace.resume();
  await settled();
  expect(rows.first).toBeGreaterThan(before.first);
  stop.abort();
  await Promise.all(reading);
});
