/** The keys of the rows in a window: a set of numbers, whatever was added to it and taken from it before. */
import { expect, test } from 'vitest';
import { hashKey, KeySet } from '../../../quality/live/keys.ts';
import fc from '../../support/fast-check.ts';

test('it says what a set says, and goes on so once it was encoded', () => {
  // Few keys that come often, and some with one lower half, which are looked for in the same places.
  const key = fc.oneof(
    fc.integer({ min: 0, max: 40 }).map((n) => hashKey(String(n))),
    fc.integer({ min: 0, max: 9 }).map((n) => n * 2 ** 32 + 5),
    fc.constantFrom(0, 2 ** 53 - 1),
  );
  const step = fc.tuple(fc.constantFrom('add', 'add', 'delete', 'again'), key);
  const sorted = (keys: Iterable<number>) => [...keys].sort((a, b) => a - b);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      let keys = new KeySet();
      const wanted = new Set<number>();
      for (const [what, one] of steps) {
        if (what === 'again') keys = KeySet.decode(keys.encode());
        else if (what === 'delete') expect(keys.delete(one)).toBe(wanted.delete(one));
        else {
          keys.add(one);
          wanted.add(one);
        }
        expect([keys.has(one), keys.size]).toEqual([wanted.has(one), wanted.size]);
      }
      expect(sorted(keys)).toEqual(sorted(wanted));
    }),
    { numRuns: 100 },
  );
});
