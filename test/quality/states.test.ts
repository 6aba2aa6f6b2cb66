/** Every state: merged parts are the whole, what is taken back leaves nothing, encoding changes nothing, and readings are those of naive code. */
import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { Decimal } from '../../core/expression/values.ts';
import { SlotState } from '../../quality/live/fold.ts';
import { bins } from '../../quality/states/bins.ts';
import { compareCells, keyOf, Moment, momentAt, type Present } from '../../quality/states/cell.ts';
import { course, Timed } from '../../quality/states/course.ts';
import { quotient } from '../../quality/states/exact-sum.ts';
import { extremes } from '../../quality/states/extremes.ts';
import { ranks } from '../../quality/states/ranks.ts';
import type { State, StateKind } from '../../quality/states/state.ts';
import { Sums, sums } from '../../quality/states/sums.ts';
import { type ValueCounts, valueCounts } from '../../quality/states/value-counts.ts';

fc.configureGlobal({ seed: 20_261_126 });

const number = fc.oneof(
  fc.integer({ min: -1000, max: 1000 }),
  fc.double({ noNaN: true, min: -1e15, max: 1e15 }),
  fc.constantFrom(0.1, 0.2, 0.3, 1e-9),
);
const exact = fc.oneof(
  number,
  fc.bigInt({ min: -(10n ** 25n), max: 10n ** 25n }),
  fc.tuple(fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }), fc.nat({ max: 8 })).map(([unscaled, scale]) => new Decimal(unscaled, scale)),
  fc
    .tuple(fc.integer({ min: -95_000_000, max: 95_000_000 }), fc.nat({ max: 2 }))
    .map(([unscaled, scale]) => new Decimal(BigInt(unscaled), scale)),
);
const moment = fc
  .integer({ min: 0, max: 4e9 })
  .map((seconds) => new Moment(BigInt(seconds) * 1_000_000n, new Date(seconds * 1000).toISOString()));
const any = fc.oneof(number, fc.string({ maxLength: 3 }), fc.boolean(), moment);

/** Many kinds of values, few of each, so that they meet again; with those that have no place in the tables of numbers and texts. */
const counted = fc.oneof(
  fc.integer({ min: -20, max: 20 }),
  fc.integer({ min: -3, max: 3 }).map((n) => n * 2 ** 30),
  fc.integer({ min: -20, max: 20 }).map((n) => n / 4),
  fc.constantFrom(Infinity, -Infinity, NaN, 2 ** 53, 1e300, 2n ** 53n, 10n ** 30n, 7n, true, false),
  fc.tuple(fc.integer({ min: 1, max: 30 }), fc.constantFrom(0, 3)).map(([n, scale]) => new Decimal(BigInt(n), scale)),
  fc.integer({ min: 1, max: 9 }).map((n) => new Decimal(10n ** 20n + BigInt(n), 22)),
  fc.integer({ min: 0, max: 30 }).map((n) => momentAt(BigInt(n) * 1_000_000_000n)),
  fc.integer({ min: 0, max: 40 }).map((n) => `text ${n}`),
  fc.constantFrom(
    '',
    '\0',
    'Zoë',
    'é'.repeat(127),
    'é'.repeat(130),
    'x'.repeat(256),
    'x'.repeat(257),
    '🙂',
    '\ud83d',
    '\ud83e',
    '1',
    '25',
    'true',
  ),
);

// One zero: which of two equal values is kept is not said.
const timed = fc.tuple(fc.nat({ max: 20 }), number).map(([micros, value]) => new Timed(micros, value + 0));

const EDGES = [-100, 0, 0.5, 1000, 1e6];
const KINDS: readonly (readonly [StateKind<State>, fc.Arbitrary<Present>])[] = [
  [sums as unknown as StateKind<State>, exact],
  [extremes as unknown as StateKind<State>, exact],
  [extremes as unknown as StateKind<State>, moment],
  [valueCounts as unknown as StateKind<State>, any],
  [{ ...valueCounts, name: 'value counts of all kinds' } as unknown as StateKind<State>, counted],
  [ranks as unknown as StateKind<State>, number],
  [course as unknown as StateKind<State>, timed],
  [bins(EDGES) as unknown as StateKind<State>, number],
];

const stateOf = (kind: StateKind<State>, cells: readonly Present[]) => {
  const state = kind.create();
  for (const cell of cells) state.add(cell);
  return state;
};
const shown = (kind: StateKind<State>, state: State) => JSON.stringify(readingOf(kind, state));

/** What a state says, whatever the order was in which it came to it. */
function readingOf(kind: StateKind<State>, state: State): unknown {
  if (state instanceof Sums) return [String(state.sum), state.mean, state.deviation, state.count];
  return kind === (ranks as unknown) ? (state.encode() as { added: unknown }).added : state.encode();
}

describe.each(KINDS.map(([kind, cells]) => [kind.name, kind, cells] as const))('%s', (_, kind, cell) => {
  const lists = fc.array(cell, { maxLength: 40 });

  test('merged parts are the whole', () => {
    fc.assert(
      fc.property(lists, lists, (a, b) => {
        const whole = shown(kind, stateOf(kind, [...a, ...b]));
        expect(shown(kind, kind.merge(stateOf(kind, a), stateOf(kind, b)))).toBe(whole);
        expect(shown(kind, kind.merge(stateOf(kind, b), stateOf(kind, a)))).toBe(whole);
      }),
    );
  });

  test('what is encoded goes on as it would have', () => {
    fc.assert(
      fc.property(lists, lists, (a, b) => {
        const encoded = JSON.parse(JSON.stringify(stateOf(kind, a).encode())) as ReturnType<State['encode']>;
        const state = kind.decode(encoded);
        for (const cell of b) state.add(cell);
        expect(shown(kind, state)).toBe(shown(kind, stateOf(kind, [...a, ...b])));
      }),
    );
  });
});

const taking = KINDS.filter(([{ retracts }]) => retracts).map(([kind, cells]) => [kind.name, kind, cells] as const);
describe.each(taking)('%s', (_, kind, cell) => {
  const lists = fc.array(cell, { maxLength: 40 });

  test('what is taken back, in any order and in another part, leaves no trace', () => {
    fc.assert(
      fc.property(lists, lists, fc.nat(), (kept, gone, turn) => {
        const [here, there] = [stateOf(kind, [...gone, ...kept]), kind.create()];
        const order = gone.map((_, at) => gone[(at + turn) % gone.length] ?? 0);
        for (const [at, cell] of order.entries()) kind.retract?.(at % 2 === 0 ? here : there, cell);
        const left = kind.merge(here, there);
        expect(left.isEmpty).toBe(kept.length === 0);
        expect(shown(kind, kind.decode(left.encode()))).toBe(shown(kind, stateOf(kind, kept)));
      }),
    );
  });
});

test('sums are those of exact fractions', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: -1e9, max: 1e9 }), fc.nat({ max: 20 })), { minLength: 2, maxLength: 30 }), (parts) => {
      // Fractions of a power of two: doubles hold them, so that whole numbers tell what the sum is.
      const state = sums.create();
      for (const [whole, power] of parts) state.add(whole / 2 ** power);
      const scaled = parts.map(([whole, power]) => BigInt(whole) << BigInt(20 - power));
      const total = scaled.reduce((sum, value) => sum + value, 0n);
      expect(Number(state.sum)).toBe(Number(total) / 2 ** 20);
      const n = BigInt(parts.length);
      const squares = scaled.reduce((sum, value) => sum + value * value, 0n);
      const variance = Number(n * squares - total * total) / Number(n * (n - 1n)) / 2 ** 40;
      expect(state.deviation).toBeCloseTo(Math.sqrt(variance), 6);
    }),
  );
});

test('sums of decimals are those of their digits, however the scales alternate and what is taken back', () => {
  const digits = fc.integer({ min: -95_000_000, max: 95_000_000 });
  fc.assert(
    fc.property(fc.array(fc.tuple(digits, fc.nat({ max: 2 })), { minLength: 3, maxLength: 60 }), (parts) => {
      const state = sums.create();
      const cells = parts.map(([unscaled, scale]) => new Decimal(BigInt(unscaled), scale));
      for (const cell of cells) state.add(cell);
      const [first] = cells;
      if (first !== undefined) sums.retract?.(state, first);
      const cents = cells.slice(1).map(({ unscaled, scale }) => unscaled * 10n ** BigInt(2 - scale));
      const total = cents.reduce((sum, value) => sum + value, 0n);
      expect(Number(state.sum)).toBe(Number(total) / 100);
      const n = BigInt(cents.length);
      const squares = cents.reduce((sum, value) => sum + value * value, 0n);
      expect(state.deviation).toBe(Math.sqrt(quotient(n * squares - total * total, n * (n - 1n) * 10_000n)));
    }),
  );
});

test('sums of numbers of any size are those of whole numbers that know no size, and what is taken back leaves nothing', () => {
  // Around the limits of what doubles take: 2^26.5, whose square they hold, 2^50, and sums and squares that come to more than two of them hold.
  const limits = fc.constantFrom(94_906_265, 94_906_266, 2 ** 40 + 1, 2 ** 50 - 1, 2 ** 50, 2 ** 50 + 1, 2 ** 53 - 1);
  const whole = fc.tuple(fc.oneof(limits, fc.maxSafeInteger()), fc.constantFrom(1, -1)).map(([value, sign]) => value * sign);
  const lists = fc.tuple(fc.array(whole, { minLength: 2, maxLength: 80 }), fc.nat({ max: 4 }), fc.boolean());
  fc.assert(
    fc.property(lists, ([values, scale, areDecimals]) => {
      const cells = values.map((value) => (areDecimals ? new Decimal(value, scale) : value));
      const unit = areDecimals ? 10n ** BigInt(scale) : 1n;
      const all = values.map(BigInt);
      const total = all.reduce((sum, value) => sum + value, 0n);
      const squares = all.reduce((sum, value) => sum + value * value, 0n);
      const n = BigInt(all.length);
      const [one, other] = [sums.create(), sums.create()];
      for (const [at, cell] of cells.entries()) (at % 3 === 0 ? one : other).add(cell);
      const state = sums.merge(one, sums.decode(other.encode()));
      expect(state.mean).toBe(quotient(total, n * unit));
      expect(state.deviation).toBe(Math.sqrt(quotient(n * squares - total * total, n * (n - 1n) * unit * unit)));
      for (const cell of cells) sums.retract?.(state, cell);
      expect(state.encode()).toEqual(sums.create().encode());
    }),
  );
});

test('texts counted by their bytes and texts counted as texts are the same texts', () => {
  const pieces = fc.array(
    fc.tuple(
      counted.filter((cell) => typeof cell === 'string'),
      fc.boolean(),
      fc.constantFrom(1, 1, -1),
    ),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(pieces, (puts) => {
      const [mixed, plain] = [valueCounts.create(), valueCounts.create()];
      for (const [text, asBytes, times] of puts) {
        const bytes = Buffer.from(`--${text}-`);
        const counts = asBytes && text.isWellFormed() && mixed.putText(bytes, 2, bytes.length - 3, times);
        if (!counts) mixed.put(text, times);
        plain.put(text, times);
      }
      expect(mixed.encode()).toEqual(plain.encode());
      const naive = new Map<string, number>();
      for (const [text, , times] of puts) naive.set(text, (naive.get(text) ?? 0) + times);
      for (const [text, times] of naive) expect([text, plain.countOf(text)]).toEqual([text, times]);
      const there = [...naive].filter(([, times]) => times !== 0);
      expect([plain.distinct, plain.total]).toEqual([there.length, there.reduce((sum, [, times]) => sum + times, 0)]);
    }),
  );
});

test('of values that come and go nothing is kept but those that are there', () => {
  const state = valueCounts.create();
  for (let n = 0; n < 20_000; n++) {
    for (const cell of [n * 1.5, `text ${n}`, momentAt(BigInt(n))]) state.put(cell, 1);
    if (n >= 100) for (const cell of [(n - 100) * 1.5, `text ${n - 100}`, momentAt(BigInt(n - 100))]) state.put(cell, -1);
  }
  expect([state.distinct, state.total, state.countOf(19_999 * 1.5), state.countOf('text 19899')]).toEqual([300, 300, 1, 0]);
  expect(state.encode()).toEqual(valueCounts.decode(state.encode()).encode());
  expect(state.room).toBeLessThan(2000);
});

test.each([10, 100, 250, 300, 5000])('texts of %d characters are counted with what they take up, until they are gone', (length) => {
  const [slot, empty] = [new SlotState({ kind: valueCounts as unknown as StateKind<State>, sketches: [] }), valueCounts.create()];
  const text = (n: number) => `${n} `.padEnd(length, 'x');
  for (let n = 0; n < 200; n++) slot.state.add(text(n));
  expect(slot.bytes).toBeGreaterThanOrEqual(200 * (length + 56));
  expect(slot.bytes).toBeLessThanOrEqual(200 * Math.max(120, 2 * length + 120));
  for (let n = 0; n < 200; n++) valueCounts.retract?.(slot.state as ValueCounts, text(n));
  expect(slot.state.encode()).toEqual(empty.encode());
  // Those that are gone are left out when there is no more room.
  for (let n = 0; n < 2000; n++) for (const times of [1, -1]) (slot.state as ValueCounts).put(text(n), times);
  expect(slot.bytes).toBeLessThan(1024 * 256);
});

test('decimals that are counted and ranked by their digits are those that come as values', () => {
  const digits = fc.oneof(fc.integer({ min: -9999, max: 9999 }), fc.maxSafeInteger());
  const puts = fc.array(fc.tuple(digits, fc.nat({ max: 24 }), fc.boolean(), fc.boolean()), { maxLength: 80 });
  fc.assert(
    fc.property(puts, (cells) => {
      const [mixed, plain] = [valueCounts.create(), valueCounts.create()];
      const [piled, ranked, first, second] = [ranks.create(), ranks.create(), ranks.create(), ranks.create()];
      for (const [at, [unscaled, scale, inPlace, isTaken]] of cells.entries()) {
        const half = 2 * at < cells.length ? first : second;
        const cell = new Decimal(unscaled, scale);
        for (const times of isTaken ? ([1, -1] as const) : ([1] as const)) {
          if (!inPlace || !mixed.putDigits(unscaled, scale, times)) mixed.put(cell, times);
          plain.put(cell, times);
          if (inPlace) piled.putDigits(unscaled, scale, times);
          else if (times === 1) piled.add(cell);
          else piled.retract(cell);
          for (const state of [ranked, half])
            if (times === 1) state.add(cell);
            else state.retract(cell);
        }
      }
      expect(mixed.encode()).toEqual(plain.encode());
      expect(piled.encode()).toEqual(ranked.encode());
      expect(ranks.merge(first, second).encode()).toEqual(ranked.encode());
      const left = cells.filter(([, , , isTaken]) => !isTaken).map(([unscaled, scale]) => new Decimal(unscaled, scale));
      const values = Array.from(piled.sorted());
      expect(values.map(keyOf)).toEqual(left.sort(compareCells).map(keyOf));
      for (const { value, count } of plain.entries()) expect(left.filter((cell) => keyOf(cell) === keyOf(value))).toHaveLength(count);
      const merged = valueCounts.merge(valueCounts.decode(mixed.encode()), plain);
      expect(merged.encode()).toEqual(plain.entries().length === 0 ? [] : valueCounts.decode(merged.encode()).encode());
      expect(merged.total).toBe(2 * plain.total);
    }),
  );
});

test('a mean is not carried away by what is large and goes again', () => {
  const state = sums.create();
  for (const cell of [1e15, 0.1, 0.2]) state.add(cell);
  sums.retract?.(state, 1e15);
  expect(state.sum).toBe(0.30000000000000004);
  expect(state.mean).toBe(0.15000000000000002);
});

test('counts, modes and ranks are those of naive code', () => {
  fc.assert(
    fc.property(fc.array(any, { maxLength: 40 }), fc.array(number, { maxLength: 40 }), (cells, numbers) => {
      const counts = valueCounts.create();
      for (const cell of cells) counts.add(cell);
      const keys = cells.map(keyOf);
      const times = (cell: Present) => keys.filter((key) => key === keyOf(cell)).length;
      expect(counts.distinct).toBe(new Set(keys).size);
      expect(counts.entries().every(({ value, count }) => count === times(value))).toBe(true);
      const most = Math.max(0, ...cells.map(times));
      expect(new Set(counts.modes().map(keyOf))).toEqual(new Set(cells.filter((cell) => times(cell) === most).map(keyOf)));
      const ordered = ranks.create();
      for (const cell of numbers) ordered.add(cell);
      expect(Array.from(ordered.sorted())).toEqual(numbers.toSorted((a, b) => compareCells(a, b)));
    }),
  );
});

test('bins are those of numpy: the last takes its upper edge', () => {
  const state = bins([0, 1, 2]).create();
  for (const cell of [-1, 0, 0.5, 1, 2, 3]) state.add(cell);
  expect([state.below, state.inside, state.above]).toEqual([1, [2, 2], 1]);
});
