/** Every state: merged parts are the whole, what is taken back leaves nothing, encoding changes nothing, and readings are those of naive code. */
import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { Decimal } from '../../core/expression/values.ts';
import { bins } from '../../quality/states/bins.ts';
import { compareCells, keyOf, Moment, type Present } from '../../quality/states/cell.ts';
import { course, Timed } from '../../quality/states/course.ts';
import { quotient } from '../../quality/states/exact-sum.ts';
import { extremes } from '../../quality/states/extremes.ts';
import { ranks } from '../../quality/states/ranks.ts';
import type { State, StateKind } from '../../quality/states/state.ts';
import { Sums, sums } from '../../quality/states/sums.ts';
import { valueCounts } from '../../quality/states/value-counts.ts';

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

// One zero: which of two equal values is kept is not said.
const timed = fc.tuple(fc.nat({ max: 20 }), number).map(([micros, value]) => new Timed(micros, value + 0));

const EDGES = [-100, 0, 0.5, 1000, 1e6];
const KINDS: readonly (readonly [StateKind<State>, fc.Arbitrary<Present>])[] = [
  [sums as unknown as StateKind<State>, exact],
  [extremes as unknown as StateKind<State>, exact],
  [extremes as unknown as StateKind<State>, moment],
  [valueCounts as unknown as StateKind<State>, any],
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
