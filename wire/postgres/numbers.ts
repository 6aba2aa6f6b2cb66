/** Cells as doubles, read off their bytes: for features and other arithmetic that needs neither their texts nor all their digits. */
import type { ReadCellNumber } from '../../core/event.ts';

const HIGH = 0x1_0000_0000;
const DAY_US = 86_400_000_000;
const POWERS_OF_10 = [1, 1e4, 1e8, 1e12, 1e16, 1e20];
const DIGITS_MAX = 10; // base 10000: what is longer is beyond 2^53 in all but its zeros

export const int2Number: ReadCellNumber = (bytes, at) => (uint16(bytes, at) << 16) >> 16;
export const int4Number: ReadCellNumber = (bytes, at) => int32(bytes, at);
export const oidNumber: ReadCellNumber = (bytes, at) => int32(bytes, at) >>> 0;
/** One rounding, in the addition: as `Number` of the bigint. */
export const int8Number: ReadCellNumber = (bytes, at) => int32(bytes, at) * HIGH + (int32(bytes, at + 4) >>> 0);

/**
 * numeric, rounded as `Number` rounds its text: digits that fit 2^53 and a power of ten that is a double give the nearest double in one
 * division. NaN for what is longer or farther from the point, and for NaN.
 */
export const numericNumber: ReadCellNumber = (bytes, at) => {
  const count = uint16(bytes, at);
  const sign = uint16(bytes, at + 4);
  if (sign === 0xd000) return Infinity;
  if (sign === 0xf000) return -Infinity;
  if (sign === 0xc000 || count > DIGITS_MAX) return NaN;
  let digits = 0;
  for (let i = 0; i < count; i++) digits = digits * 10_000 + uint16(bytes, at + 8 + 2 * i);
  const groups = int2Number(bytes, at + 2, 2) - count + 1;
  const power = POWERS_OF_10[groups < 0 ? -groups : groups];
  if (power === undefined || digits > Number.MAX_SAFE_INTEGER) return NaN;
  const size = groups < 0 ? digits / power : digits * power;
  return sign === 0 ? size : -size;
};

/** NaN for the infinities and for times so far from 2000 that a double can't hold their microseconds. */
export const timestampMicros: ReadCellNumber = (bytes, at) => {
  const micros = int8Number(bytes, at, 8);
  return Number.isSafeInteger(micros) ? micros : NaN;
};
export const dateMicros: ReadCellNumber = (bytes, at) => {
  const micros = int32(bytes, at) * DAY_US;
  return Number.isSafeInteger(micros) ? micros : NaN;
};

function int32(bytes: Uint8Array, at: number): number {
  return (uint16(bytes, at) << 16) | uint16(bytes, at + 2);
}

function uint16(bytes: Uint8Array, at: number): number {
  const high = bytes[at];
  const low = bytes[at + 1];
  if (high === undefined || low === undefined) throw new RangeError('a cell ends in the middle of its value');
  return (high << 8) | low;
}
