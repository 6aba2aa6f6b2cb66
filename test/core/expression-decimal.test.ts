import fc from '../support/fast-check.ts';
import { expect, test } from 'vitest';
import { addDecimals, compareDecimalTexts, decimalText, isDecimal, multiplyDecimals, parseDecimal } from '../../core/expression/decimal.ts';
import { compareTimestampTexts, durationMicros, microsOf, timeOfDay, timeParts, timestampText } from '../../core/expression/timestamp.ts';

/** A decimal as an integer of 30 digits after the point: an oracle that knows nothing of texts but their digits. */
const SCALE = 30;
function oracle(text: string): bigint {
  const negative = text.startsWith('-');
  const [whole = '0', fraction = ''] = text.replace('-', '').split('.');
  const value = BigInt(whole + fraction.padEnd(SCALE, '0'));
  return negative ? -value : value;
}
const digits = (max: number) => fc.string({ unit: fc.constantFrom('0', '1', '5', '9'), minLength: 1, maxLength: max });
const decimal = fc
  .tuple(fc.constantFrom('', '-'), digits(20), fc.option(digits(15)))
  .map(([sign, whole, fraction]) => `${sign}${whole}${fraction === null ? '' : `.${fraction}`}`);
const required = (text: string) => parseDecimal(text) ?? expect.fail(`${text} is a decimal`);

test('decimal texts compare as their values do', () => {
  fc.assert(
    fc.property(decimal, decimal, (a, b) => {
      const [x, y] = [oracle(a), oracle(b)];
      expect(compareDecimalTexts(a, b)).toBe(x < y ? -1 : x > y ? 1 : 0);
    }),
    { numRuns: 5000 },
  );
});

test('decimals add and multiply without loss, and keep their value as text', () => {
  fc.assert(
    fc.property(decimal, decimal, (a, b) => {
      expect(oracle(decimalText(required(a)))).toBe(oracle(a));
      expect(oracle(decimalText(addDecimals(required(a), required(b))))).toBe(oracle(a) + oracle(b));
      const product = multiplyDecimals(required(a), required(b));
      expect(product.unscaled * 10n ** BigInt(2 * SCALE - product.scale)).toBe(oracle(a) * oracle(b));
    }),
  );
});

test('odd texts: exponents are read, NaN has no order, infinities lie at the ends', () => {
  expect(compareDecimalTexts('1e3', '1000')).toBe(0);
  expect(compareDecimalTexts('1.5E-2', '0.015')).toBe(0);
  expect(compareDecimalTexts('-0.00', '0')).toBe(0);
  expect(compareDecimalTexts('Infinity', '9e999')).toBe(1);
  expect(compareDecimalTexts('-Infinity', '-9e999')).toBe(-1);
  for (const text of ['NaN', '', '-', '.', '1.2.3', '0x10', '1_000', ' 1'])
    expect(() => compareDecimalTexts(text, '1')).toThrow('not a number');
});

const moment = fc.date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59Z'), noInvalidDate: true });
const micros = fc.tuple(moment, fc.integer({ min: 0, max: 999 })).map(([date, below]) => BigInt(date.getTime()) * 1000n + BigInt(below));

test('timestamps come back from their text, and agree with Date', () => {
  fc.assert(
    fc.property(micros, (value) => {
      const text = timestampText(value);
      expect(microsOf(text)).toBe(value);
      const date = new Date(Number((value - (((value % 1000n) + 1000n) % 1000n)) / 1000n));
      expect(text.slice(0, 19)).toBe(date.toISOString().slice(0, 19).replace('T', ' '));
      expect(timeParts(value)).toMatchObject({
        year: date.getUTCFullYear(),
        month: date.getUTCMonth() + 1,
        day: date.getUTCDate(),
        hour: date.getUTCHours(),
        dayOfWeek: date.getUTCDay(),
      });
    }),
  );
});

test('timestamp texts compare as their times do, in every form', () => {
  const form = fc.constantFrom<(text: string) => string>(
    (text) => text,
    (text) => text.replace(' ', 'T').replace('+00', 'Z'),
    (text) => text.replace('+00', ''),
    (text) => text.replace('+00', '+00:00'),
    (text) => text.slice(0, 10),
  );
  fc.assert(
    fc.property(micros, micros, fc.boolean(), form, form, (a, b, near, formA, formB) => {
      const [x, y] = [formA(timestampText(a)), formB(timestampText(near ? a + (b % 1000n) : b))];
      const [left, right] = [microsOf(x) ?? 0n, microsOf(y) ?? 0n];
      expect(compareTimestampTexts(x, y)).toBe(left < right ? -1 : left > right ? 1 : 0);
    }),
    { numRuns: 3000 },
  );
});

test('timestamps beyond the common ones', () => {
  expect(compareTimestampTexts('infinity', '294276-12-31 23:59:59+00')).toBe(1);
  expect(compareTimestampTexts('-infinity', '4713-01-01 00:00:00+00 BC')).toBe(-1);
  expect(compareTimestampTexts('0044-03-15 BC', '0001-01-01')).toBe(-1);
  expect(compareTimestampTexts('10000-01-01', '9999-12-31')).toBe(1);
  expect(compareTimestampTexts('2026-11-24 14:45:00+01', '2026-11-24 13:45:00')).toBe(0);
  expect(compareTimestampTexts('2026-11-24 13:45:00.1+00', '2026-11-24 13:45:00.10+00')).toBe(0);
  expect(timestampText(microsOf('0044-03-15 12:00:00+00 BC') ?? 0n)).toBe('0044-03-15 12:00:00+00 BC');
  for (const text of ['2026-02-29', '2026-13-01', '2026-00-10', '24.11.2026', '2026-11-24 25:00:00', '', 'now'])
    expect(microsOf(text)).toBe(null);
});

test('durations as CEL writes them', () => {
  expect(durationMicros('1h30m')).toBe(5_400_000_000n);
  expect(durationMicros('-1.5s')).toBe(-1_500_000n);
  expect(durationMicros('2d')).toBe(172_800_000_000n);
  expect(durationMicros('250ms')).toBe(250_000n);
  for (const text of ['', '1', 'h', '1h 30m', '1x']) expect(durationMicros(text)).toBe(null);
});

test('times of day as PostgreSQL writes them', () => {
  expect(['17:00', '17:00:00', '17:00:00.500', '00:00', '24:00', '23:59:59.999999'].map(timeOfDay)).toEqual([
    '17:00:00',
    '17:00:00',
    '17:00:00.5',
    '00:00:00',
    '24:00:00',
    '23:59:59.999999',
  ]);
  for (const text of ['', '5:00', '17', '17:60', '17:00:60', '24:00:01', '25:00', '17:00Z', '5 pm', '17:00:00.'])
    expect([text, timeOfDay(text)]).toEqual([text, null]);
});

test('a text is a decimal where one can be made of it, and megabytes of digits are none', () => {
  const text = fc.string({ unit: fc.constantFrom('0', '7', '.', '-', '+', 'e', ' '), maxLength: 8 });
  fc.assert(
    fc.property(text, (one) => {
      expect(isDecimal(one)).toBe(parseDecimal(one) !== null);
    }),
    { numRuns: 3000 },
  );
  const long = '9'.repeat(5_000_000);
  expect([isDecimal(long), parseDecimal(long)]).toEqual([false, null]);
  expect(parseDecimal('1e10000')).toBe(null); // A bigint of that size takes a while for nine characters of a text.
  expect(compareDecimalTexts(long, '1')).toBe(1);
});
