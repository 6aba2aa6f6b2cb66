/** Places in a dictionary, as pages of Parquet have them: read as the library reads them, whatever runs they are written in. */
import { readRleBitPackedHybrid } from 'hyparquet/src/encoding.js';
import { expect, test } from 'vitest';
import { readPlaces } from '../../app/judge/parquet-places.ts';
import fc from '../support/fast-check.ts';

interface Run {
  readonly isPacked: boolean;
  readonly count: number;
  readonly seed: number;
}

const BEFORE = 3;

function varInt(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...varInt(value >>> 7)];
}

function written(width: number, runs: readonly Run[]): { readonly bytes: Uint8Array; readonly places: number[] } {
  const bytes = Array.from({ length: BEFORE }, () => 255);
  const places: number[] = [];
  for (const { isPacked, count, seed } of runs) {
    const placeAt = (at: number) => Number((BigInt(seed) * BigInt(at * 7919 + 1)) % (1n << BigInt(width)));
    const own = isPacked ? Array.from({ length: 8 * count }, (_, at) => placeAt(at)) : Array.from({ length: count }, () => placeAt(0));
    const packed = (isPacked ? own : own.slice(0, 1)).reduceRight((all, place) => (all << BigInt(width)) | BigInt(place), 0n);
    const length = isPacked ? count * width : count === 0 ? 0 : Math.ceil(width / 8);
    if (count === 0) continue;
    bytes.push(...varInt((count << 1) | (isPacked ? 1 : 0)));
    for (let at = 0; at < length; at++) bytes.push(Number((packed >> BigInt(8 * at)) & 255n));
    places.push(...own);
  }
  return { bytes: Uint8Array.from(bytes), places };
}

const readerOf = (bytes: Uint8Array) => ({ view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: BEFORE });
const run = fc.record({ isPacked: fc.boolean(), count: fc.nat(40), seed: fc.nat() });

test('places are those that the library reads, and the greatest is told', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 31 }), fc.array(run, { minLength: 1, maxLength: 5 }), fc.nat(7), (width, runs, unused) => {
      const { bytes, places } = written(width, runs);
      const [found, expected] = [1, 2].map(() => new Int32Array(Math.max(0, places.length - unused)));
      if (found === undefined || expected === undefined) throw new Error('two lists were made');
      const most = readPlaces(readerOf(bytes), width, found);
      readRleBitPackedHybrid(readerOf(bytes), width, expected, bytes.length - BEFORE);
      // Of wider ones it loses bits.
      if (width <= 24) expect(found).toEqual(expected);
      expect([...found]).toEqual(places.slice(0, found.length));
      // What fills the last eight may be there, and is no place.
      expect(most).toBe(found.reduce((greatest, place) => Math.max(greatest, place), 0));
    }),
  );
});

test('a page that ends before its places is refused, however it is cut', () => {
  const { bytes } = written(5, [{ isPacked: true, count: 4, seed: 77 }]);
  for (let length = BEFORE; length < bytes.length; length++)
    expect(() => readPlaces(readerOf(bytes.subarray(0, length)), 5, new Int32Array(32))).toThrow('parquet page ends before its places');
  expect(readPlaces(readerOf(bytes), 0, new Int32Array(32))).toBe(0);
});
