/** Points and what is made of them, as their `…_out` functions write them: coordinates are float8. */
import { floatText } from './types-number.ts';
import type { DecodeText } from './types-text.ts';

const POINT_BYTES = 16;

const number = (bytes: Buffer, offset: number): string => floatText(bytes.readDoubleBE(offset), false);

export function pointText(bytes: Buffer, offset: number): string {
  return `(${number(bytes, offset)},${number(bytes, offset + 8)})`;
}

function pointList(bytes: Buffer, offset: number, count: number): string {
  return Array.from({ length: count }, (_, i) => pointText(bytes, offset + i * POINT_BYTES)).join(',');
}

/** A, B and C of Ax + By + C = 0. */
export function lineText(bytes: Buffer, offset: number): string {
  return `{${[0, 8, 16].map((at) => number(bytes, offset + at)).join(',')}}`;
}

export const lsegText: DecodeText = (bytes, offset) => `[${pointList(bytes, offset, 2)}]`;
export const boxText: DecodeText = (bytes, offset) => pointList(bytes, offset, 2);

/** Whether it is closed, then a count and the points. */
export function pathText(bytes: Buffer, offset: number): string {
  const points = pointList(bytes, offset + 5, bytes.readInt32BE(offset + 1));
  return bytes[offset] === 1 ? `(${points})` : `[${points}]`;
}

export const polygonText: DecodeText = (bytes, offset) => `(${pointList(bytes, offset + 4, bytes.readInt32BE(offset))})`;

/** Centre and radius. */
export const circleText: DecodeText = (bytes, offset) => `<${pointText(bytes, offset)},${number(bytes, offset + POINT_BYTES)}>`;
