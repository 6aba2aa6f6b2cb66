/** Checks of several columns of a row, of expressions, and of old against new values, each against a naive reading. */
import fc from '../support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { UNCHANGED, type Value } from '../../core/event.ts';
import { type Cells, insert, messages, read, removed, rule, update } from './support.ts';

const RUNS = { numRuns: 200 };
const money = fc.integer({ min: -20_000, max: 20_000 });
const text = (cents: number, scale = 2) => {
  const digits = String(Math.abs(cents)).padStart(3, '0');
  return `${cents < 0 ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}${'0'.repeat(scale - 2)}`;
};

describe('pair_equal and pair_greater', () => {
  const pair = { column_A: 'total', column_B: 'net' };
  test('decimals of any scale, by value', () => {
    fc.assert(
      fc.property(money, fc.oneof(money, fc.constant(null)), fc.integer({ min: 2, max: 20 }), (a, b, scale) => {
        const event = insert({ total: text(a, scale), net: text(b ?? a) });
        const other = b ?? a;
        expect(rule(null, { pair_equal: pair })(event)).toBe(a === other);
        expect(rule(null, { pair_greater: pair })(event)).toBe(a > other);
        expect(rule(null, { pair_greater: { ...pair, or_equal: true } })(event)).toBe(a >= other);
      }),
      RUNS,
    );
  });

  test('timestamps and dates, integers and decimals', () => {
    const later = rule(null, { pair_greater: { column_A: 'shipped_at', column_B: 'created_at' } });
    expect(later(insert({ shipped_at: '2026-01-02 00:00:00+00', created_at: '2026-01-01 23:59:59.999999+00' }))).toBe(true);
    expect(later(insert({ shipped_at: '2026-01-02 00:00:00+00', created_at: 'infinity' }))).toBe(false);
    const mixed = rule(null, { pair_equal: { column_A: 'items', column_B: 'total' } });
    expect([mixed(insert({ items: 3, total: '3.00' })), mixed(insert({ items: 3, total: '3.01' }))]).toEqual([true, false]);
    expect(mixed(insert({ items: 3, total: 'NaN' }))).toBe('unreadable');
  });

  test('missing values go by ignore_row_if, and what was not sent is not judged', () => {
    const outcomes = (policy: string | undefined, check: string) =>
      [
        [null, null],
        [null, '1'],
        ['1', null],
        [UNCHANGED, '1'],
        [null, UNCHANGED],
      ].map(([total, net]) =>
        rule(null, { [check]: { ...pair, ...(policy === undefined ? {} : { ignore_row_if: policy }) } })(
          update(null, { total: total as Value, net: net as Value }),
        ),
      );
    expect(outcomes(undefined, 'pair_equal')).toEqual([true, false, false, true, true]);
    expect(outcomes('both_values_are_missing', 'pair_greater')).toEqual([true, false, false, true, true]);
    expect(outcomes('either_value_is_missing', 'pair_equal')).toEqual([true, true, true, true, true]);
    expect(outcomes('neither', 'pair_equal')).toEqual([true, false, false, true, true]);
    expect(outcomes('neither', 'pair_greater')).toEqual([false, false, false, true, true]);
  });
});

const mostlyNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null, freq: 2 });

describe('pair_in_set', () => {
  const items = mostlyNull(fc.integer({ min: 0, max: 2 }));
  const total = mostlyNull(fc.integer({ min: 0, max: 2 }));
  const POLICIES = ['both_values_are_missing', 'either_value_is_missing', 'neither'] as const;
  test('numbers by value, nulls where a pair has one, and what is ignored passes', () => {
    const pairs = fc.uniqueArray(fc.tuple(items, total), { minLength: 1, maxLength: 4, selector: String });
    fc.assert(
      fc.property(pairs, items, total, fc.constantFrom(...POLICIES), (listed, x, y, policy) => {
        const parameters = { column_A: 'items', column_B: 'total', pairs: listed, ignore_row_if: policy };
        const found = listed.some(([a, b]) => a === x && b === y);
        const missing = Number(x === null) + Number(y === null);
        const isIgnored = policy === 'neither' ? false : missing >= (policy === 'either_value_is_missing' ? 1 : 2);
        const event = insert({ items: x, total: y === null ? null : `${y}.00` });
        expect(rule(null, { pair_in_set: parameters })(event)).toBe(isIgnored || found);
        const { pairs: value_pairs_set, ...others } = parameters;
        const expected = { expect: 'expect_column_pair_values_to_be_in_set', kwargs: { ...others, value_pairs_set } };
        expect(rule(null, expected)(event)).toBe(isIgnored || found);
      }),
      RUNS,
    );
  });

  test('a pair that is there twice, or that no row is held against, is told', () => {
    const said = (pairs: string) => messages(`checks: [{ pair_in_set: { column_A: items, column_B: paid, pairs: ${pairs} } }]`);
    expect(said('[[1, true], [1, true]]')).toEqual([expect.stringContaining('listed twice')]);
    expect(said('[[1, true], [null, null]]')).toEqual([expect.stringContaining('never looked for')]);
    expect(said('[[1, true], [1, null]]')).toEqual([]);
  });

  test('what was not sent is not judged', () => {
    const check = rule(null, { pair_in_set: { column_A: 'status', column_B: 'email', pairs: [['a', 'b']] } });
    expect(check(update(null, { status: 'x', email: UNCHANGED }))).toBe(true);
    expect(check(update(null, { status: 'x', email: null }))).toBe(false);
  });
});

describe('unique_within_record', () => {
  const POLICIES = ['all_values_are_missing', 'any_value_is_missing', 'never'] as const;
  const small = fc.option(fc.integer({ min: 0, max: 5 }), { nil: null, freq: 3 });
  const asText = (value: number | null) => (value === null ? null : `${value}.0`);
  test('no two are the same by value, two nulls are, and what is ignored passes', () => {
    fc.assert(
      fc.property(small, small, small, fc.constantFrom(...POLICIES), (items, net, risk, policy) => {
        const values = [items, net, risk];
        const missing = values.filter((value) => value === null).length;
        const isIgnored = policy === 'all_values_are_missing' ? missing === 3 : policy === 'any_value_is_missing' && missing > 0;
        const kwargs = { column_list: ['items', 'net', 'risk'], ignore_row_if: policy };
        const event = insert({ items, net: asText(net), risk });
        const passes = isIgnored || new Set(values).size === 3;
        expect(rule(null, { unique_within_record: kwargs })(event)).toBe(passes);
        expect(rule(null, { expect: 'expect_select_column_values_to_be_unique_within_record', kwargs })(event)).toBe(passes);
      }),
      RUNS,
    );
  });

  test('what was not sent is no other value, and the others are judged', () => {
    const check = rule(null, { unique_within_record: ['net', 'tax', 'total'] });
    expect(check(update(null, { net: '1', tax: UNCHANGED, total: '1.0' }))).toBe(false);
    expect(check(update(null, { net: '1', tax: UNCHANGED, total: '2' }))).toBe(true);
    expect(check(insert({ net: 'NaN', tax: '1', total: '2' }))).toBe('unreadable');
  });
});

test('dateutil_parseable: what a date leaves out is of the day of its change, whenever it is read', () => {
  const check = rule('status', 'dateutil_parseable');
  const at = (text: string, day: string) => check({ ...insert({ status: text }), committedAtMs: Date.parse(day) });
  expect([at('31', '2026-01-15'), at('31', '2026-02-15'), at('29 Feb', '2024-01-01'), at('29 Feb', '2026-01-01')]).toEqual([
    true,
    false,
    true,
    false,
  ]);
});

describe('sum_equals', () => {
  test('adds exactly, whatever the scale and the length', () => {
    const digits = fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n });
    fc.assert(
      fc.property(
        fc.oneof(digits, fc.bigInt({ min: -999n, max: 999n })),
        digits,
        fc.nat(3),
        fc.nat(3),
        fc.integer({ min: -1, max: 1 }),
        (a, b, s, t, off) => {
          const decimal = (value: bigint, scale: number) =>
            scale === 0
              ? String(value)
              : `${value < 0n ? '-' : ''}${String(value < 0n ? -value : value)
                  .padStart(scale + 1, '0')
                  .replace(new RegExp(`(\\d{${scale}})$`), '.$1')}`;
          const scale = Math.max(s, t);
          const sum = a * 10n ** BigInt(scale - s) + b * 10n ** BigInt(scale - t) + BigInt(off);
          const check = rule(null, { sum_equals: { column_list: ['net', 'tax'], sum_column: 'total' } });
          expect(check(insert({ net: decimal(a, s), tax: decimal(b, t), total: decimal(sum, scale) }))).toBe(off === 0);
        },
      ),
      RUNS,
    );
  });

  test('of short decimals of one scale, as money is', () => {
    const check = rule(null, { sum_equals: { column_list: ['net', 'tax'], sum_column: 'total' } });
    fc.assert(
      fc.property(money, money, fc.integer({ min: -1, max: 1 }), (net, tax, off) => {
        expect(check(insert({ net: text(net), tax: text(tax), total: text(net + tax + off) }))).toBe(off === 0);
      }),
      RUNS,
    );
    expect(check(insert({ net: '1', tax: '2.0', total: '3.00' }))).toBe(true);
  });

  test('within a tolerance, to a number or a column, with columns of several types', () => {
    const check = rule(null, { sum_equals: { column_list: ['net', 'items'], sum_total: '10', tolerance: '0.01' } });
    expect(['6.99', '7', '7.01', '6.98', '7.011'].map((net) => check(insert({ net, items: 3 })))).toEqual([true, true, true, false, false]);
    const floats = rule(null, { sum_equals: { column_list: ['risk', 'net'], sum_total: 0.3 } });
    expect(floats(insert({ risk: 0.1, net: '0.2' }))).toBe(true);
    expect(floats(insert({ risk: Number.NaN, net: '0.2' }))).toBe('unreadable');
  });

  test('missing values go by ignore_row_if, and what was not sent is not judged', () => {
    const lists: Cells[] = [{}, { net: '1', total: '1' }, { net: '1', tax: UNCHANGED, total: '9' }];
    const outcomes = (policy: string) =>
      lists.map((cells) =>
        rule(null, { sum_equals: { column_list: ['net', 'tax'], sum_column: 'total', ignore_row_if: policy } })(update(null, cells)),
      );
    expect(outcomes('all_values_are_missing')).toEqual([true, false, true]);
    expect(outcomes('any_value_is_missing')).toEqual([true, true, true]);
    expect(outcomes('never')).toEqual([false, false, true]);
  });

  test.each(['-.', 'x', '', 'NaN', 'Infinity', '1,5'])('a cell that is no number (%j) cannot be read', (net) => {
    const check = rule(null, { sum_equals: { column_list: ['net', 'tax'], sum_column: 'total' } });
    expect(check(insert({ net, tax: '0', total: '0' }))).toBe('unreadable');
  });
});

describe('expr', () => {
  test('fails where the condition is false, and passes or fails where it is unknown, by nulls', () => {
    const check = { expr: 'after.total >= after.net' };
    expect(rule(null, check)(insert({ total: '2', net: '1' }))).toBe(true);
    expect(rule(null, check)(insert({ total: '1', net: '2' }))).toBe(false);
    expect(rule(null, check)(insert({ total: '1' }))).toBe(true);
    expect(rule(null, { ...check, nulls: 'fail' })(insert({ total: '1' }))).toBe(false);
    expect(rule(null, check)(insert({ total: 'NaN', net: '1' }))).toBe('unreadable');
  });
  test('sees the operation and the old row', () => {
    const noDelete = rule(null, { expr: 'op != "delete"', ops: ['d', 'u'] });
    expect([noDelete(removed({ id: 1 })), noDelete(update(null, {}))]).toEqual([false, true]);
    const grows = rule(null, { expr: 'before.total == null || after.total >= before.total' });
    expect(grows(update({ total: '2' }, { total: '1' }))).toBe(false);
    expect(grows(update(null, { total: '1' }))).toBe(true);
    expect(grows(insert({ total: '1' }))).toBe(true);
  });
  test('at a column it still is a condition over the row', () => {
    expect(rule('total', { expr: 'after.total > 0' })(insert({ total: '0' }))).toBe(false);
  });
  test('where of an unreadable row is unreadable too: it is not passed unjudged', () => {
    expect(rule('status', { not_null: true, where: 'after.total > 0' })(insert({ total: 'NaN' }))).toBe('unreadable');
  });
});

describe('immutable', () => {
  const cells = fc.constantFrom<Value>(null, 'a', 'b', '', UNCHANGED);
  test('an update keeps the value: nulls are values, what was not sent did not change', () => {
    fc.assert(
      fc.property(cells, cells, (before, after) => {
        const expected = before === UNCHANGED || after === UNCHANGED || before === after;
        expect(rule('status', 'immutable')(update({ status: before }, { status: after }))).toBe(expected);
      }),
    );
  });
  test('values that are equal in other words did not change', () => {
    expect(rule('total', 'immutable')(update({ total: '1.0' }, { total: '1.00' }))).toBe(true);
    expect(rule('total', 'immutable')(update({ total: '1.0' }, { total: '1.01' }))).toBe(false);
    expect(rule('total', 'immutable')(update({ total: 'NaN' }, { total: 'NaN' }))).toBe(true);
    expect(rule('hash', 'immutable')(update({ hash: Uint8Array.of(1) }, { hash: Buffer.of(1) }))).toBe(true);
    expect(rule('hash', 'immutable')(update({ hash: Uint8Array.of(1) }, { hash: Buffer.of(2) }))).toBe(false);
    expect(rule('risk', 'immutable')(update({ risk: Number.NaN }, { risk: Number.NaN }))).toBe(true);
  });
  test('without an old row no_before decides; other operations are not asked', () => {
    expect(rule('status', 'immutable')(update(null, { status: 'b' }))).toBe(true);
    expect(rule('status', { immutable: true, no_before: 'fail' })(update(null, { status: 'b' }))).toBe('unreadable');
    expect([insert({ status: 'b' }), read({ status: 'b' }), removed({ status: 'b' })].map(rule('status', 'immutable'))).toEqual([
      true,
      true,
      true,
    ]);
  });
});

describe('transitions', () => {
  const steps = { new: ['paid', 'cancelled'], paid: ['shipped', 'cancelled'], shipped: [], cancelled: [] };
  const states = fc.constantFrom('new', 'paid', 'shipped', 'cancelled', 'strange', null, UNCHANGED);
  test('an update moves only along the steps', () => {
    fc.assert(
      fc.property(states, states, (before, after) => {
        const allowed: Readonly<Record<string, readonly string[]>> = steps;
        const open = before === null || after === null || before === UNCHANGED || after === UNCHANGED || before === after;
        const expected = open || (allowed[before] ?? []).includes(after);
        expect(rule('status', { transitions: steps })(update({ status: before }, { status: after }))).toBe(expected);
      }),
      RUNS,
    );
  });
  test('of whole numbers and booleans too', () => {
    const check = rule('items', { transitions: { 1: [2], 2: [] } });
    expect([check(update({ items: 1 }, { items: 2 })), check(update({ items: 2 }, { items: 1 }))]).toEqual([true, false]);
    const once = rule('paid', { transitions: { false: [true], true: [] } });
    expect([once(update({ paid: false }, { paid: true })), once(update({ paid: true }, { paid: false }))]).toEqual([true, false]);
  });
});

describe('change_between', () => {
  const bound = fc.option(fc.integer({ min: -300, max: 300 }), { nil: undefined });

  test('is the difference of exact decimals, and its share of the old value', () => {
    fc.assert(
      fc.property(money, money, bound, bound, fc.boolean(), fc.boolean(), (from, to, min, max, strict, asPercent) => {
        fc.pre((min ?? max) !== undefined && (min ?? -1000) < (max ?? 1000));
        const bounds = {
          ...(min === undefined ? {} : { min }),
          ...(max === undefined ? {} : { max }),
          strict_min: strict,
          strict_max: strict,
        };
        const check = rule('total', { change_between: { ...bounds, as: asPercent ? 'percent' : 'difference' } });
        const [low, high] = [BigInt(min ?? -1e9), BigInt(max ?? 1e9)];
        // In cents: moved * 100 of each 100 * |from|.
        const size = asPercent ? BigInt(Math.abs(from)) : 100n;
        const moved = BigInt(to - from) * (asPercent ? 100n : 1n);
        const open = size === 0n && moved !== 0n;
        const expected = open
          ? (moved > 0n ? max : min) === undefined
          : strict
            ? (min === undefined || moved > low * size || (size === 0n && 0n > low)) &&
              (max === undefined || moved < high * size || (size === 0n && 0n < high))
            : (min === undefined || (size === 0n ? 0n >= low : moved >= low * size)) &&
              (max === undefined || (size === 0n ? 0n <= high : moved <= high * size));
        expect(check(update({ total: text(from) }, { total: text(to, 5) }))).toBe(expected);
      }),
      RUNS,
    );
  });

  test('of dates and timestamps in seconds, to the microsecond', () => {
    const check = rule('created_at', { change_between: { min: 0, max: '0.5' } });
    const moved = (to: string) => check(update({ created_at: '2026-01-01 00:00:00+00' }, { created_at: to }));
    expect([moved('2026-01-01 00:00:00.5+00'), moved('2026-01-01 00:00:00.500001+00'), moved('2025-12-31 23:59:59.999999+00')]).toEqual([
      true,
      false,
      false,
    ]);
    expect(moved('infinity')).toBe(false);
  });

  test('nulls did not move, an old row that was not sent goes by no_before, other operations pass', () => {
    const check = rule('total', { change_between: { max: 0 } });
    expect([
      check(update({ total: null }, { total: '5' })),
      check(update({ total: '5' }, { total: null })),
      check(insert({ total: '9' })),
    ]).toEqual([true, true, true]);
    expect(check(update(null, { total: '9' }))).toBe(true);
    expect(rule('total', { change_between: { max: 0 }, no_before: 'fail' })(update(null, { total: '9' }))).toBe('unreadable');
    expect(check(update({ total: '1' }, { total: 'NaN' }))).toBe('unreadable');
  });
});

test('no_delete finds deletes and truncates, be the old row sent or not, and nothing else', () => {
  const check = rule(null, { no_delete: true });
  const truncate = { ...removed({}), op: 'truncate', before: null, after: null } as const;
  expect([check(removed({ id: 1 })), check(truncate), check(insert({ id: 1 })), check(update(null, { id: 1 }))]).toEqual([
    false,
    false,
    true,
    true,
  ]);
  const paid = rule(null, { no_delete: true, where: 'before.status == "paid"' });
  expect([paid(removed({ status: 'paid' })), paid(removed({ status: 'new' })), paid(truncate)]).toEqual([false, true, true]);
});
