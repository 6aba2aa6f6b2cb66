/** Whole numbers and times, most significant byte first, against bounds: exactly, whatever their size. */
import { wordAt } from './cells.ts';

export const INT8_MIN = -(1n << 63n);
export const INT8_MAX = (1n << 63n) - 1n;

/** An int8 as four words, the sign turned around so that the order of the words is that of the numbers. */
export interface Int8 {
  readonly first: number;
  readonly second: number;
  readonly third: number;
  readonly fourth: number;
}

/** A bound beyond all int8 is the last of them. */
export function int8(value: bigint): Int8 {
  const within = BigInt.asUintN(64, value > INT8_MAX ? INT8_MAX : value < INT8_MIN ? INT8_MIN : value);
  const word = (shift: bigint) => Number((within >> shift) & 0xffffn);
  return { first: word(48n) ^ 0x8000, second: word(32n), third: word(16n), fourth: word(0n) };
}

export function compareInt8(bytes: Uint8Array, at: number, other: Int8): number {
  const first = wordAt(bytes, at) ^ 0x8000;
  if (first !== other.first) return first - other.first;
  const second = wordAt(bytes, at + 2);
  if (second !== other.second) return second - other.second;
  const third = wordAt(bytes, at + 4);
  return third !== other.third ? third - other.third : wordAt(bytes, at + 6) - other.fourth;
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
