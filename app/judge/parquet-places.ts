/** The places in a dictionary that a page has: runs of one place, and places packed bit by bit, in turn. The library reads them too, several times slower. */
import type { readPage } from 'hyparquet/src/column.js';

type Reader = Parameters<typeof readPage>[0];

/** Eight bits more than a wider place are too many for the operators of bits. */
const NARROW = 24;
const WIDTH_MAX = 32;

/** Fills `places` from what is left of the page, and says the greatest of them. */
export function readPlaces({ view, offset }: Reader, width: number, places: Int32Array): number {
  if (width === 0) return 0;
  if (width > WIDTH_MAX) throw new Error(`parquet page has places of ${width} bits`);
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const unpack = width > NARROW ? unpackWide : unpackNarrow;
  let [at, filled, most] = [offset, 0, 0];
  while (filled < places.length) {
    let header = 0;
    for (let shift = 0, byte = 128; byte >= 128 && shift < 35; shift += 7) {
      byte = bytes[at++] ?? 0;
      header |= (byte & 127) << shift;
    }
    const isPacked = (header & 1) === 1;
    const count = (header >>> 1) * (isPacked ? 8 : 1);
    const own = places.subarray(filled, filled + count);
    const used = isPacked ? Math.ceil((own.length * width) / 8) : Math.ceil(width / 8);
    // Writers may leave out what fills the last eight.
    if (at + used > bytes.length) throw new Error('parquet page ends before its places');
    if (isPacked) {
      most = Math.max(most, unpack(bytes, at, width, own));
      at += (header >>> 1) * width;
    } else {
      const place = wholeAt(bytes, at, used);
      if (own.length > 0) most = Math.max(most, place);
      own.fill(place);
      at += used;
    }
    filled += own.length;
  }
  return most;
}

function unpackNarrow(bytes: Uint8Array, from: number, width: number, places: Int32Array): number {
  const mask = (1 << width) - 1;
  let [at, held, bits, most] = [from, 0, 0, 0];
  for (let next = 0; next < places.length; next++) {
    for (; bits < width; bits += 8) held |= (bytes[at++] ?? 0) << bits;
    const place = held & mask;
    held >>>= width;
    bits -= width;
    if (place > most) most = place;
    places[next] = place;
  }
  return most;
}

function unpackWide(bytes: Uint8Array, from: number, width: number, places: Int32Array): number {
  const size = 2 ** width;
  let [at, held, bits, most] = [from, 0, 0, 0];
  for (let next = 0; next < places.length; next++) {
    for (; bits < width; bits += 8) held += (bytes[at++] ?? 0) * 2 ** bits;
    const place = held % size;
    held = (held - place) / size;
    bits -= width;
    most = Math.max(most, place);
    places[next] = place;
  }
  return most;
}

function wholeAt(bytes: Uint8Array, at: number, length: number): number {
  let whole = 0;
  for (let byte = 0; byte < length; byte++) whole += (bytes[at + byte] ?? 0) * 2 ** (8 * byte);
  return whole;
}
