/** Every sketch: what it says holds what exact code says, parts in any order are the whole, what is taken back is gone, and damaged ones are refused. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Decimal } from '../../core/expression/values.ts';
import { Kwargs } from '../../quality/gx/kwargs.ts';
import { CATALOGUE } from '../../quality/gx/registry.ts';
import { keyOf, Moment, momentAt, type Present } from '../../quality/states/cell.ts';
import { COUNTERS, frequentValues } from '../../quality/states/frequent-values.ts';
import { DISTINCT_ERROR, hyperLogLog } from '../../quality/states/hyper-log-log.ts';
import { members } from '../../quality/states/members.ts';
import { CELLS_MAX, quantileSketch } from '../../quality/states/quantile-sketch.ts';
import { spread } from '../../quality/states/spread.ts';
import { Sums } from '../../quality/states/sums.ts';
import type { Interval, Sketch, SketchKind } from '../../quality/states/sketch.ts';
import type { Encoded, State, StateKind } from '../../quality/states/state.ts';
import type { WindowCheck } from '../../quality/windows/check.ts';
import fc from '../support/fast-check.ts';
import { Random } from '../support/random.ts';

const MEMBERS = members(['v1', 'v2', 'none'], (cell) => ['v1', 'v2', 'none'].includes(cell as string));
const KINDS = [hyperLogLog, frequentValues, quantileSketch, MEMBERS] as unknown as readonly SketchKind<Sketch>[];

type Put = readonly [Present, number];
const fill = <S extends Sketch>(kind: SketchKind<S>, puts: readonly Put[]): S => {
  const sketch = kind.create();
  for (const [cell, times] of puts) sketch.put(cell, times);
  return sketch;
};
const textOf = (sketch: Sketch) => JSON.stringify(sketch.encode());
const again = <S extends Sketch>(kind: SketchKind<S>, sketch: S): S => kind.decode(JSON.parse(textOf(sketch)) as Encoded);

/** Numbers over many magnitudes, of both signs, some of them often. */
function numbers(random: Random, count: number): number[] {
  return Array.from({ length: count }, () => {
    const size = 10 ** (random.below(9) - 3) * (random.chance(0.2) ? -1 : 1);
    return random.chance(0.1) ? random.below(5) - 2 : (random.below(1_000_000) / 1000) * size;
  });
}

/** Texts, the first ones much more often than the last ones. */
function texts(random: Random, count: number, different: number): string[] {
  return Array.from({ length: count }, () => `v${Math.floor(different * (random.below(1_000_000) / 1_000_000) ** 3)}`);
}

/** Merges the sketches of pieces of what is put, in an order of its own, some of them over what is written of them. */
function inPieces<S extends Sketch>(kind: SketchKind<S>, puts: readonly Put[], random: Random): S {
  const pieces = Array.from({ length: 5 }, (): Put[] => []);
  for (const put of puts) pieces[random.below(5)]?.push(put);
  let whole = kind.create();
  for (const piece of pieces.sort(() => random.below(3) - 1)) {
    const part = fill(kind, piece);
    const before = textOf(part);
    whole = random.chance(0.5) ? kind.merge(whole, part) : again(kind, kind.merge(whole, again(kind, part)));
    expect(textOf(part)).toBe(before);
  }
  return whole;
}

const holds = ({ low, high }: Interval<number>, value: number) => low <= value && value <= high;

describe('distinct values', () => {
  test.each([
    ['whole numbers in a row', (n: number) => n],
    ['texts', (n: number) => `user${n}@mail.example.org`],
    ['doubles', (n: number) => n / 7],
    ['integers of many digits', (n: number) => BigInt(n) * 10n ** 20n],
    ['moments', (n: number) => new Moment(BigInt(n) * 1_000_000n, '')],
  ])('of %s lie in the interval, as often as three standard errors do', (_, valueOf) => {
    let [missed, squares, trials] = [0, 0, 0];
    for (const count of [100, 3000, 40_000, 200_000]) {
      for (let trial = 0; trial < (count > 10_000 ? 3 : 20); trial++) {
        const sketch = hyperLogLog.create();
        for (let n = 0; n < count; n++) sketch.put(valueOf(trial * 1_000_000 + n) as Present, 1);
        // Said again, nothing is new.
        for (let n = 0; n < 50; n++) sketch.put(valueOf(trial * 1_000_000 + n) as Present, 1);
        const { low, high, estimate } = sketch.distinct;
        if (!holds({ low, high, estimate }, count)) missed++;
        expect(high - low).toBeLessThanOrEqual(2.1 * DISTINCT_ERROR * count + 2);
        squares += ((estimate - count) / count) ** 2;
        trials++;
      }
    }
    expect(missed).toBeLessThanOrEqual(1);
    expect(Math.sqrt(squares / trials)).toBeLessThan(0.0095);
  });

  test('are told apart as they always were: what was kept of a window before goes on', () => {
    const sketch = hyperLogLog.create();
    for (let n = 0; n < 500; n++) {
      const texts = [`user${n}@mail.example.org`, `Zoë ${n} 🙂`, `\0${n}`];
      const numbers = [n - 250, n / 7, BigInt(n) * 10n ** 20n, new Decimal(BigInt(n) * 5n, 1), new Decimal(BigInt(n) * 10n ** 20n + 7n, 3)];
      const moments = [new Moment(BigInt(n - 250) * 987_654_321n, ''), new Moment(BigInt(n) * 10n ** 17n, '')];
      for (const cell of [...numbers, ...moments, n % 2 === 0]) sketch.put(cell, 1);
      for (const text of texts) {
        const bytes = Buffer.from(`-${text}-`);
        if (n % 2 === 0) sketch.put(text, 1);
        else sketch.putText(bytes, 1, bytes.length - 2, 1);
      }
    }
    expect(createHash('sha256').update(textOf(sketch)).digest('hex').slice(0, 16)).toBe('3559cb32aedf5f4c');
  });

  test('what was taken back widens the interval downwards, and nothing is left of nothing', () => {
    const sketch = hyperLogLog.create();
    for (let n = 0; n < 50_000; n++) sketch.put(n, 1);
    const before = sketch.distinct;
    for (let n = 0; n < 300; n++) sketch.put(n, -1);
    expect(sketch.distinct).toMatchObject({ low: before.low - 300, high: Math.min(before.high, 49_700) });
    expect(holds(sketch.distinct, 49_700)).toBe(true);
    for (let n = 300; n < 50_000; n++) sketch.put(n, -1);
    expect(sketch.distinct).toEqual({ low: 0, high: 0, estimate: 0 });
  });
});

describe.each([1, 2, 3, 4, 5, 6])('with seed %i', (seed) => {
  test('the bounds of frequent values hold for every value, with the error that the papers say', () => {
    const random = new Random(seed);
    const put = texts(random, 40_000, 3000 * seed).map((text): Put => [text, 1]);
    const taken = put.filter(() => random.chance(0.1)).map(([text]): Put => [text, -1]);
    const counts = new Map<string, number>();
    for (const [cell, times] of [...put, ...taken]) counts.set(cell as string, (counts.get(cell as string) ?? 0) + times);
    for (const sketch of [fill(frequentValues, [...put, ...taken]), inPieces(frequentValues, [...put, ...taken], random)]) {
      const { counted, uncounted } = sketch;
      const known = new Map(counted.map((one) => [one.value, one]));
      for (const [value, count] of counts) {
        const bounds = known.get(value);
        if (bounds === undefined) expect(count).toBeLessThanOrEqual(uncounted);
        else expect(holds({ ...bounds, estimate: 0 }, count)).toBe(true);
      }
      expect(uncounted).toBeLessThanOrEqual(put.length / (COUNTERS + 1));
      expect(sketch.bytes).toBeLessThan(2 * 2 * COUNTERS * 120 + 300);
    }
  });

  test('values of any rank lie in their cells, however they came, and the cells are narrow', () => {
    const random = new Random(seed);
    const values = [...numbers(random, 20_000), -Infinity, Infinity, 0, -0, NaN, Number.MAX_VALUE, 5e-324];
    const gone = values.filter(() => random.chance(0.2));
    const puts = [...values.map((value): Put => [value, 1]), ...gone.map((value): Put => [value, -1])];
    const left = Float64Array.from(values.slice()).sort();
    const without = [...left];
    for (const value of gone)
      without.splice(
        without.findIndex((one) => Object.is(one + 0, value + 0)),
        1,
      );
    const whole = fill(quantileSketch, puts);
    expect(textOf(inPieces(quantileSketch, puts, random))).toBe(textOf(whole));
    expect(whole.count).toBe(without.length);
    expect(whole.bytes).toBeLessThan(CELLS_MAX * 40 + 300);
    const ranks = Array.from({ length: 200 }, () => random.below(without.length));
    for (const [at, found] of whole.at(ranks).entries()) {
      const exact = without[ranks[at] ?? 0] ?? 0;
      if (Number.isNaN(exact)) expect(found?.low).toBeNaN();
      else {
        expect(holds(found as Interval<number>, exact)).toBe(true);
        // 2,048 cells over twenty powers of two of each sign.
        if (Math.abs(exact) > 0.01 && Number.isFinite(exact))
          expect(((found?.high as number) - (found?.low as number)) / Math.abs(exact)).toBeLessThan(0.08);
      }
    }
    expect(whole.at([without.length])).toEqual([null]);
  });

  test('how many lie outside of an interval lies between what the cells say, and sums beside them are exact, however they came', () => {
    const random = new Random(seed);
    const values = numbers(random, 20_000);
    const puts = [...values.map((value): Put => [value, 1]), ...values.slice(0, 4000).map((value): Put => [value, -1])];
    const left = values.slice(4000);
    const sums = new Sums();
    for (const value of left) sums.add(value);
    for (const whole of [fill(spread, puts), inPieces(spread, puts, random)]) {
      expect([whole.sums.sum, whole.sums.mean, whole.sums.deviation]).toEqual([sums.sum, sums.mean, sums.deviation]);
      for (let turn = 0; turn < 30; turn++) {
        const [center, reach] = [values[turn] ?? 0, Math.abs(values[100 + turn] ?? 0)];
        const isNear = (value: number) => Math.abs(value - center) < reach;
        const isBelow = (value: number) => value < center;
        expect(holds(whole.cells.outside(isNear, center), left.filter((value) => !isNear(value)).length)).toBe(true);
        expect(holds(whole.cells.outside(isBelow, -Infinity), left.filter((value) => !isBelow(value)).length)).toBe(true);
      }
    }
  });

  test('what is put together of pieces says the same of a set as of the whole', () => {
    const random = new Random(seed);
    const puts = texts(random, 2000, 50).map((text): Put => [text, random.chance(0.2) ? -1 : 1]);
    expect(textOf(inPieces(MEMBERS, puts, random))).toBe(textOf(fill(MEMBERS, puts)));
    const distinct = puts.filter(([, times]) => times > 0);
    expect(textOf(inPieces(hyperLogLog, distinct, random))).toBe(textOf(fill(hyperLogLog, distinct)));
  });

  test('moments lie in cells of one width, whole numbers in cells without fractions', () => {
    const random = new Random(seed);
    const days = Array.from({ length: 5000 }, () => 1_790_000_000_000_000 + random.below(86_400_000) * 1000);
    const sketch = fill(
      quantileSketch,
      days.map((micros): Put => [momentAt(BigInt(micros)), 1]),
    );
    const [middle] = sketch.at([2500]);
    const exact = days.toSorted((a, b) => a - b)[2500] ?? 0;
    const [low, high] = [middle?.low as Moment, middle?.high as Moment];
    expect(Number(low.micros) <= exact && exact <= Number(high.micros)).toBe(true);
    expect(Number(high.micros) - Number(low.micros)).toBeLessThan(120_000_000);
    const whole = fill(
      quantileSketch,
      Array.from({ length: 30_000 }, (): Put => [random.below(1000), 1]),
    );
    expect(whole.at([0, 29_999]).map((cell) => [cell?.low, cell?.high])).toEqual([
      [0, 0],
      [999, 999],
    ]);
  });
});

test('all that is taken back leaves no value in cells, and no member', () => {
  const puts = numbers(new Random(7), 30_000).map((value): Put => [value, 1]);
  const back = puts.map(([value]): Put => [value, -1]);
  const sketch = fill(quantileSketch, [...puts, ...back]);
  expect([sketch.count, sketch.bytes, sketch.at([0])]).toEqual([0, 200, [null]]);
  const texts = fill(MEMBERS, [
    ['v1', 3],
    ['x', 2],
    ['x', -2],
    ['v1', -3],
  ]);
  expect([texts.total, texts.counts.isEmpty, texts.others]).toEqual([0, true, 0]);
});

describe('a verdict by a sketch is never another than that by all values', () => {
  const check = (name: string, kwargs: Readonly<Record<string, unknown>>): WindowCheck => {
    const found = CATALOGUE.get(name)?.window?.(new Kwargs({ column: 'c', ...kwargs }, 0));
    if (found === undefined) throw new Error(`${name} judges no windows`);
    return found;
  };
  const both = (own: WindowCheck, cells: readonly Present[], gone: readonly Present[]) => {
    const state = own.kind.create();
    for (const cell of cells) state.add(cell);
    const sketch = own.sketch?.kind.create();
    if (sketch === undefined || own.sketch === null) throw new Error('it has no sketch');
    // All goes over into the sketch, and only then some is taken back.
    const { kind } = own;
    state.each?.((cell, times) => sketch.put(cell, times));
    for (const cell of gone) {
      sketch.put(cell, -1);
      (kind as Required<StateKind<State>>).retract(state, cell);
    }
    const counts = { rows: cells.length - gone.length, missing: 0 };
    return [own.sketch.judge(sketch, counts).success, own.judge(state, counts).success];
  };
  const text = fc.nat({ max: 400 }).map((n) => `v${Math.floor(n ** 2 / 400)}`);
  const bound = fc.nat({ max: 400 });
  const cases: readonly (readonly [string, fc.Arbitrary<Readonly<Record<string, unknown>>>, fc.Arbitrary<Present>])[] = [
    ['expect_column_unique_value_count_to_be_between', bound.map((min_value) => ({ min_value })), text],
    ['expect_column_proportion_of_unique_values_to_be_between', bound.map((n) => ({ max_value: n / 400 })), text],
    ['duplicates', bound.map((n) => ({ max_value: n / 4 })), text],
    ['duplicates', bound.map((n) => ({ max_value: n / 400, as: 'share' })), text],
    ['expect_column_distinct_values_to_be_in_set', bound.map((n) => ({ value_set: Array.from({ length: n }, (_, i) => `v${i}`) })), text],
    ['expect_column_distinct_values_to_contain_set', bound.map((n) => ({ value_set: ['v0', `v${n}`] })), text],
    ['expect_column_distinct_values_to_equal_set', bound.map((n) => ({ value_set: Array.from({ length: n }, (_, i) => `v${i}`) })), text],
    [
      'expect_column_most_common_value_to_be_in_set',
      fc.tuple(fc.array(text), fc.boolean()).map(([value_set, ties_okay]) => ({ value_set: ['v0', ...value_set], ties_okay })),
      text,
    ],
    ['expect_column_median_to_be_between', bound.map((min_value) => ({ min_value })), fc.integer({ min: -400, max: 400 })],
    [
      'expect_column_quantile_values_to_be_between',
      fc.tuple(bound, bound, fc.constantFrom('linear', 'midpoint', false)).map(([share, least, allow_relative_error]) => ({
        quantile_ranges: {
          quantiles: [share / 400, 1],
          value_ranges: [
            [least - 200, null],
            [null, 390],
          ],
        },
        allow_relative_error,
      })),
      fc.double({ min: -400, max: 400, noNaN: true }),
    ],
    [
      'expect_column_value_z_scores_to_be_less_than',
      fc
        .tuple(bound, bound, fc.boolean())
        .map(([far, share, double_sided]) => ({ threshold: (far - 100) / 100, mostly: share / 400, double_sided })),
      fc.double({ min: -400, max: 400, noNaN: true }),
    ],
    ['psi', bound.map((n) => ({ values: ['v0', `v${n + 1}`], weights: [1, 1], max: n / 100 })), text],
    ['chi_square', bound.map((n) => ({ values: ['v0', 'v1', 'v2'], weights: [3, 1, 1], max: n })), text],
    [
      'expect_column_kl_divergence_to_be_less_than',
      bound.map((n) => ({
        partition_object: { values: ['v0', 'v1'], weights: [0.5, 0.5] },
        threshold: 0.1,
        tail_weight_holdout: n > 200 ? 0.1 : 0,
      })),
      text,
    ],
  ];
  test.each(cases)('%s', (name, kwargs, cell) => {
    let decided = 0;
    fc.assert(
      fc.property(kwargs, fc.array(cell, { minLength: 1, maxLength: 120 }), fc.nat({ max: 20 }), (given, cells, gone) => {
        const [said, exact] = both(check(name, given), cells, cells.slice(1, 1 + gone));
        if (said === null) return;
        decided++;
        expect(said).toBe(exact);
      }),
    );
    expect(decided).toBeGreaterThan(20);
  });
});

describe('what was not written by a sketch is refused', () => {
  const puts: readonly Put[] = [
    ['v1', 2],
    ['v9', 1],
  ];
  test.each(KINDS.map((kind) => [kind.id, kind] as const))('%s', (_, kind) => {
    const good = (
      kind === (quantileSketch as unknown)
        ? fill(kind, [
            [1, 2],
            [700, 3],
          ])
        : fill(kind, puts)
    ).encode();
    expect(textOf(kind.decode(good))).toBe(JSON.stringify(good));
    const damaged = [null, 1, 'full', [], {}, ...mutilated(good)];
    for (const one of damaged) expect(() => kind.decode(one as Encoded)).toThrow(Error);
  });

  test('a register of more zeros than there are, a grid without an end, a counter of nothing', () => {
    const registers = Buffer.alloc(2 ** 14, 52).toString('base64');
    for (const one of [null, {}, { sums: {} }, { cells: quantileSketch.create().encode() }])
      expect(() => spread.decode(one)).toThrow(Error);
    expect(() => hyperLogLog.decode([1, 0, registers])).toThrow('more zeros');
    expect(() => quantileSketch.decode({ numbers: [4, 1], moments: [10], nans: 0, fractions: 0 })).toThrow('no such grid');
    expect(() => frequentValues.decode({ added: [0, ['a', 0]], taken: [0] })).toThrow('whole number');
  });
});

/** Each number a fraction, each text cut short, each field gone. */
function* mutilated(encoded: Encoded): Iterable<unknown> {
  if (typeof encoded === 'number') yield encoded + 0.5;
  if (typeof encoded === 'string' && encoded.length > 10) yield encoded.slice(4);
  if (typeof encoded !== 'object' || encoded === null) return;
  const entries = Object.entries(encoded as Readonly<Record<string, Encoded>>);
  const isList = Array.isArray(encoded);
  for (const [at, [key, value]] of entries.entries()) {
    for (const one of mutilated(value)) {
      const changed = entries.with(at, [key, one as Encoded]);
      yield isList ? changed.map(([, item]) => item) : Object.fromEntries(changed);
    }
    if (!isList) yield Object.fromEntries(entries.toSpliced(at, 1));
  }
}

test('equal values are one value to a sketch as they are to an exact state', () => {
  const same: readonly (readonly [Present, Present])[] = [
    [0, -0],
    [1, 1n],
    [2 ** 53, 2n ** 53n],
  ];
  for (const [a, b] of same) {
    expect(new Map([[keyOf(a), 1]]).has(keyOf(b))).toBe(true);
    expect(
      fill(hyperLogLog, [
        [a, 1],
        [b, 1],
      ]).distinct.estimate,
    ).toBe(1);
  }
  expect(
    fill(hyperLogLog, [
      ['1', 1],
      [1, 1],
      [true, 1],
    ]).distinct.estimate,
  ).toBe(3);
});
