/** Whole numbers and times, most significant byte first, against bounds: exactly, whatever their size. */
import { wordAt } from './cells.ts';

export const INT8_MIN = -(1n << 63n);
export const INT8_MAX = (1n << 63n) - 1n;

/** An int8 as two halves, the lower one turned around so that the order of both as numbers is that of the int8s. */
export interface Int8 {
  readonly high: number;
  readonly low: number;
}

/** Turns the order of halves without a sign into that of halves with one. */
const TURN = -0x8000_0000;

/** A bound beyond all int8 is the last of them. */
export function int8(value: bigint): Int8 {
  const within = value > INT8_MAX ? INT8_MAX : value < INT8_MIN ? INT8_MIN : value;
  return { high: Number(within >> 32n), low: Number(BigInt.asIntN(32, within)) ^ TURN };
}

export function compareInt8(bytes: Uint8Array, at: number, other: Int8): number {
  const high = int4At(bytes, at);
  if (high !== other.high) return high < other.high ? -1 : 1;
  const low = int4At(bytes, at + 4) ^ TURN;
  return low < other.low ? -1 : low > other.low ? 1 : 0;
}

export function compareInt8s(a: Uint8Array, atA: number, b: Uint8Array, atB: number): number {
  const sign = (wordAt(a, atA) ^ 0x8000) - (wordAt(b, atB) ^ 0x8000);
  if (sign !== 0) return sign;
  for (let i = 2; i < 8; i += 2) {
    const order = wordAt(a, atA + i) - wordAt(b, atB + i);
    if (order !== 0) return order;
  }
  return 0;
}

export function int4At(bytes: Uint8Array, at: number): number {
  return (wordAt(bytes, at) << 16) | wordAt(bytes, at + 2);
}

export function int2At(bytes: Uint8Array, at: number): number {
  return (wordAt(bytes, at) << 16) >> 16;
}

const view = new DataView(new ArrayBuffer(8));
const viewed = new Uint8Array(view.buffer);

export function float8At(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < 8; i++) viewed[i] = bytes[at + i] ?? 0;
  return view.getFloat64(0);
}
