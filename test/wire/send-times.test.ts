/** What the times of messages tell, from their bytes. */
import { expect, test } from 'vitest';
import { SendTimes } from '../../wire/postgres/send-times.ts';

test('the last one is told in milliseconds, and what passes without any is added up where it is long', () => {
  const times = new SendTimes();
  const take = (micros: bigint): void => {
    const bytes = Buffer.alloc(11);
    bytes.writeBigInt64BE(micros, 3);
    times.take(bytes, 3);
  };
  const begin = 0x3_0000_0000n - 2000n; // The lower half begins anew in between.
  for (const micros of [0n, 400n, 800n, 5800n, 5900n, 2_005_900n, 2_000_000n]) take(begin + micros);
  expect(times.lastMs).toBe(Number(begin + 2_000_000n) / 1000);
  expect(times.waitedMs).toBe(5 + 2000);
});
