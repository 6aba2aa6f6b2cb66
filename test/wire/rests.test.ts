/** A reader rests only while much comes, and longer only while it comes fast. */
import { expect, test } from 'vitest';
import { FLOOD_BYTES, READ_FULL, READ_SMALL, Rests } from '../../wire/postgres/rests.ts';
import { Random } from '../support/random.ts';

const SEED = 9103;
/** What comes was just sent. */
const NEW = { lastMs: 0, waitedMs: 0 };

test('what comes now and then, or slowly, is never kept waiting for long', () => {
  const random = new Random(SEED);
  let now = 0;
  const rests = new Rests(now);
  for (let reads = 0; reads < 2000; reads++) {
    const bytes = 1 + random.below(READ_FULL - 1);
    now += (1.01 * bytes) / FLOOD_BYTES + random.below(20);
    const millis = rests.after(bytes, now, () => false, NEW);
    expect(millis, `seed ${SEED}, read ${reads}`).toBe(bytes > READ_SMALL ? 1 : 0);
    now += millis;
  }
});

test('a flood makes it rest longer from its second read on, and the first read of less ends that', () => {
  const rests = new Rests(0);
  let now = 5000;
  const longest = rests.after(READ_FULL / 2, now, () => false, NEW); // A burst after silence: nobody knows yet whether more follows.
  expect(longest).toBe(1);
  for (let reads = 0; reads < 50; reads++) {
    now += 2;
    expect(rests.after(READ_FULL, now, () => false, NEW)).toBe(0); // There is more to read already.
    now += 1;
    expect(rests.after(3 * FLOOD_BYTES, now, () => false, NEW)).toBeGreaterThan(longest);
  }
  now += 1;
  expect(rests.after(READ_SMALL, now, () => false, NEW)).toBe(0);
  now += 10;
  expect(rests.after(2 * READ_SMALL, now, () => false, NEW)).toBe(longest);
});
