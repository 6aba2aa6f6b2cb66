/** Numbers and times read off the bytes of a cell say what its decoded value says, or that only the value can tell. */
import fc from '../support/fast-check.ts';
import { expect, test } from 'vitest';
import { numericBytes } from '../../wire/postgres/types-numeric.ts';
import { builtinType, type PgType } from '../../wire/postgres/types.ts';

const DAY_MS = 86_400_000;
const EPOCH_2000_MS = Date.UTC(2000, 0, 1);

function typeOf(oid: number): PgType {
  const type = builtinType(oid);
  if (type === undefined) throw new Error(`no type ${oid}`);
  return type;
}

/** Among other bytes, as a cell lies in its batch. */
function placed(cell: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([0xff, 0x80, 0x01]), cell, Buffer.from([0xff, 0xff, 0xff, 0xff])]);
}

function binary(length: 2 | 4 | 8, value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt.asIntN(64, value));
  return bytes.subarray(8 - length);
}

const decimals = fc
  .tuple(fc.constantFrom('', '-'), fc.stringMatching(/^[0-9]{1,30}$/), fc.stringMatching(/^[0-9]{0,24}$/))
  .map(([sign, whole, fraction]) => `${sign}${whole}${fraction === '' ? '' : `.${fraction}`}`);
const money = fc.integer({ min: -99_999_999_99, max: 99_999_999_99 }).map((cents) => (cents / 100).toFixed(2));
const cells: fc.Arbitrary<readonly [number, Buffer]> = fc.oneof(
  fc.integer({ min: -0x8000, max: 0x7fff }).map((value) => [21, binary(2, BigInt(value))] as const),
  fc.integer().map((value) => [23, binary(4, BigInt(value))] as const),
  fc.integer({ min: 0, max: 0xffffffff }).map((value) => [26, binary(4, BigInt(value))] as const),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => [20, binary(8, value)] as const),
  fc.maxSafeInteger().map((value) => [20, binary(8, BigInt(value))] as const),
  fc
    .oneof(money, decimals, fc.constantFrom('NaN', 'Infinity', '-Infinity', '0', '1e20', '1e-20'))
    .map((text) => [1700, numericBytes(text)] as const),
);

test('a number is the value rounded once, or left to the value', () => {
  let left = 0;
  fc.assert(
    fc.property(cells, ([oid, cell]) => {
      const type = typeOf(oid);
      const bytes = placed(cell);
      const read = type.number?.(bytes, 3, cell.length) ?? NaN;
      const value = Number(type.decode(bytes, 3, cell.length));
      if (Number.isNaN(read) && !Number.isNaN(value)) left++;
      else expect(read).toBe(value === 0 ? 0 : value);
    }),
    { numRuns: 5000 },
  );
  expect(left).toBeLessThan(2500);
  // What shops have is never left.
  fc.assert(fc.property(money, (text) => typeOf(1700).number?.(numericBytes(text), 0, 0) === Number(text)));
});

test('times are microseconds, or left to the value where they are none', () => {
  const near = fc.bigInt({ min: -(2n ** 53n) + 1n, max: 2n ** 53n - 1n });
  fc.assert(
    fc.property(near, fc.constantFrom(1114, 1184), (micros, oid) => {
      const type = typeOf(oid);
      const cell = binary(8, micros);
      const text = String(type.decode(cell, 0, 8))
        .replace(' ', 'T')
        .replace('+00', '');
      const read = type.micros?.(cell, 0, 8) ?? NaN;
      expect(BigInt(read)).toBe(micros);
      expect(Math.floor(read / 1000) + EPOCH_2000_MS).toBe(
        Date.parse(`${text.slice(0, 19)}Z`) + Math.floor((((read % 1e6) + 1e6) % 1e6) / 1000),
      );
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: -100_000, max: 100_000 }), (days) => {
      const cell = binary(4, BigInt(days));
      const read = typeOf(1082).micros?.(cell, 0, 4) ?? NaN;
      const text = String(typeOf(1082).decode(cell, 0, 4));
      expect(new Date(read / 1000 + EPOCH_2000_MS).toISOString().slice(0, 10)).toBe(text);
      expect(read).toBe(days * DAY_MS * 1000);
    }),
  );
  expect(typeOf(1083).micros?.(binary(8, 86_400_000_000n), 0, 8)).toBe(86_400_000_000);
  for (const infinite of [2n ** 63n - 1n, -(2n ** 63n)]) expect(typeOf(1184).micros?.(binary(8, infinite), 0, 8)).toBeNaN();
  for (const infinite of [2n ** 31n - 1n, -(2n ** 31n)]) expect(typeOf(1082).micros?.(binary(4, infinite), 0, 4)).toBeNaN();
});

test('bytes that end in the middle of a value throw, as decoding them does', () => {
  for (const oid of [20, 21, 23, 1700, 1114, 1082]) {
    const { number, micros, decode } = typeOf(oid);
    const cell = oid === 1700 ? numericBytes('12.5').subarray(0, 9) : Buffer.from([1]);
    expect(() => decode(cell, 0, cell.length)).toThrow(RangeError);
    expect(() => (number ?? micros)?.(cell, 0, cell.length)).toThrow(RangeError);
  }
});

test('text is what is its own bytes, and nothing else', () => {
  expect([25, 1043, 1042, 19, 114].map((oid) => typeOf(oid).isText)).toEqual([true, true, true, true, true]);
  expect([2950, 869, 3802, 1560, 829, 20, 1700].map((oid) => typeOf(oid).isText)).toEqual(Array.from({ length: 7 }, () => false));
});
