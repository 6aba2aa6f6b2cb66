/** MurmurHash3 x86 32-bit by Austin Appleby (public domain), signed as scikit-learn's `murmurhash3_32` gives it. */

const encoder = new TextEncoder();
let scratch = new Uint8Array(256);

/** The signed 32-bit hash of a text's UTF-8 bytes. */
export function murmur3Text(text: string, seed = 0): number {
  // Three bytes are the most that one UTF-16 unit becomes.
  if (scratch.length < text.length * 3) scratch = new Uint8Array(text.length * 3);
  const { written } = encoder.encodeInto(text, scratch);
  return murmur3(scratch, written, seed);
}

/** The signed 32-bit hash of the first `length` bytes. */
export function murmur3(bytes: Uint8Array, length: number, seed = 0): number {
  let hash = seed | 0;
  const blocks = length & ~3;
  for (let at = 0; at < blocks; at += 4) {
    const block = byte(bytes, at) | (byte(bytes, at + 1) << 8) | (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24);
    hash ^= mix(block);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let at = length - 1; at >= blocks; at--) tail = (tail << 8) | byte(bytes, at);
  if (length > blocks) hash ^= mix(tail);
  hash ^= length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) | 0;
}

function mix(block: number): number {
  const first = Math.imul(block, 0xcc9e2d51);
  return Math.imul((first << 15) | (first >>> 17), 0x1b873593);
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}
