/** The forecast of a slot: levels, growth since it was last at its least, and what is told when. */
import { expect, test } from 'vitest';
import { SlotForecast, type SlotLimits, type SlotSample, SlotTeller } from '../../ops/slot-forecast.ts';

const GIB = 1 << 30;
const LIMITS: SlotLimits = { diskBytes: null, warnBytes: 10 * GIB, warnBeforeMs: 6 * 3_600_000, criticalBeforeMs: 3_600_000 };
const sample = (atS: number, retainedBytes: number, rest: Partial<SlotSample> = {}): SlotSample => ({
  atMs: atS * 1000,
  walStatus: 'reserved',
  retainedBytes,
  safeBytes: null,
  keepBytes: null,
  walBytes: null,
  ...rest,
});
const seen = (samples: readonly SlotSample[], limits: Partial<SlotLimits> = {}) => {
  const forecast = new SlotForecast({ ...LIMITS, ...limits });
  return samples.map((one) => forecast.see(one)).at(-1);
};

test('at a steady pace the time until nothing is left is what is left divided by the pace, whichever limit is nearer', () => {
  for (const [perS, leftKeep, disk] of [
    [1000, 5_000_000, null],
    [77, 900_000, 2_000_000],
    [4096, 80_000_000, 10_000_000],
  ] as const) {
    const samples = Array.from({ length: 40 }, (_, n) => {
      const bytes = n * 10 * perS;
      return sample(n * 10, bytes, { safeBytes: leftKeep - bytes, keepBytes: leftKeep, walBytes: bytes + 1000 });
    });
    const last = seen(samples, { diskBytes: disk });
    const left = Math.min(leftKeep - 390 * perS, disk === null ? Number.POSITIVE_INFINITY : disk - 390 * perS - 1000);
    expect(last?.bytesPerSecond).toBeCloseTo(perS, 6);
    expect(last?.left?.bytes).toBe(left);
    expect(last?.left?.by).toBe(left === leftKeep - 390 * perS ? 'keep' : 'disk');
    expect(last?.fullInMs).toBeCloseTo((left / perS) * 1000, -1);
  }
});

test('growth counts from where the slot was last at its least, and only after a minute', () => {
  const sawtooth = Array.from({ length: 100 }, (_, n) =>
    sample(n * 10, (n % 5) * 1e9, { safeBytes: 5e9 - (n % 5) * 1e9, keepBytes: 50e9 }),
  );
  expect(seen(sawtooth)?.fullInMs).toBe(null);
  const then = Array.from({ length: 8 }, (_, n) => sample(1000 + n * 10, n * 1e6, { safeBytes: 1e9, keepBytes: 1e9 }));
  expect(seen([...sawtooth, ...then.slice(0, 6)])?.bytesPerSecond).toBe(null);
  expect(seen([...sawtooth, ...then])?.bytesPerSecond).toBe(1e5);
});

test('levels: by what the server says, by what is used up, by when it ends, by size alone where no limit is known', () => {
  const level = (rest: Partial<SlotSample>, retained = GIB, limits: Partial<SlotLimits> = {}) =>
    seen([sample(0, retained, rest)], limits)?.level;
  expect(level({})).toBe('ok');
  expect(level({}, 10 * GIB)).toBe('warning');
  expect(level({ walStatus: 'extended' })).toBe('ok');
  expect(level({ walStatus: 'unreserved' })).toBe('critical');
  expect(level({ walStatus: 'lost' })).toBe('lost');
  expect(level({ safeBytes: 49, keepBytes: 100 })).toBe('warning');
  expect(level({ safeBytes: 9, keepBytes: 100 })).toBe('critical');
  expect(level({ walBytes: 60 * GIB }, GIB, { diskBytes: 100 * GIB })).toBe('warning');
  const growing = (left: number) =>
    seen([sample(0, 0, { safeBytes: left, keepBytes: left }), sample(100, 100_000, { safeBytes: left - 100_000, keepBytes: left })])?.level;
  expect(growing(1000 * 3500)).toBe('critical');
  expect(growing(1000 * 3800)).toBe('warning');
  expect(growing(1000 * 3600 * 7)).toBe('ok');
});

test('what becomes worse is told once; that it is well again, after a minute of it', () => {
  const teller = new SlotTeller();
  const forecast = new SlotForecast(LIMITS);
  const told = [1, 11, 12, 1, 11, 1, 1, 1, 1, 1, 1, 1, 11].map((gib, n) =>
    teller.tell(forecast.see(sample(n * 15, gib * GIB)), n * 15_000),
  );
  expect(told).toEqual([null, 'worse', null, null, null, null, null, null, null, 'safe', null, null, 'worse']);
});
