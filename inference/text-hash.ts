/** The hash of a text after its steps, from its UTF-8 bytes where these can be taken as they are. */
import { murmur3, murmur3Text } from './murmur3.ts';

/** `domain` keeps what follows the last @. */
export type TextStep = 'lower' | 'trim' | 'domain';

export interface TextHasher {
  ofText(text: string): number;
  /** Of the text whose UTF-8 is `bytes[offset … offset + length)`; the same number. */
  ofBytes(bytes: Uint8Array, offset: number, length: number): number;
}

const AT = 64;
const A = 65;
const Z = 90;
const TO_LOWER = 32;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Hashes `prefix` and the text, which has gone through the steps in their order. */
export function textHasher(prefix: string, steps: readonly TextStep[]): TextHasher {
  const head = encoder.encode(prefix);
  // Other letters have cases of their own, and other scripts other spaces; the bytes of an @ are an @ everywhere.
  const wantsAscii = steps.some((step) => step !== 'domain');
  let scratch = new Uint8Array(256);
  const ofText = (text: string): number => murmur3Text(prefix + stepped(text, steps));
  return {
    ofText,
    ofBytes(bytes, offset, length) {
      if (wantsAscii && !isAscii(bytes, offset, length)) return ofText(decoder.decode(bytes.subarray(offset, offset + length)));
      let from = offset;
      let to = offset + length;
      let lowers = false;
      for (const step of steps) {
        if (step === 'lower') lowers = true;
        else if (step === 'trim') {
          while (from < to && isSpace(bytes[from])) from++;
          while (from < to && isSpace(bytes[to - 1])) to--;
        } else from = afterLastAt(bytes, from, to);
      }
      const size = head.length + to - from;
      if (scratch.length < size) scratch = new Uint8Array(2 * size);
      scratch.set(head);
      for (let at = from, put = head.length; at < to; at++, put++) {
        const byte = bytes[at] ?? 0;
        scratch[put] = lowers && byte >= A && byte <= Z ? byte + TO_LOWER : byte;
      }
      return murmur3(scratch, size);
    },
  };
}

function stepped(text: string, steps: readonly TextStep[]): string {
  let token = text;
  for (const step of steps) {
    if (step === 'lower') token = token.toLowerCase();
    else if (step === 'trim') token = token.trim();
    else token = token.slice(token.lastIndexOf('@') + 1);
  }
  return token;
}

function afterLastAt(bytes: Uint8Array, from: number, to: number): number {
  for (let at = to - 1; at >= from; at--) if (bytes[at] === AT) return at + 1;
  return from;
}

function isAscii(bytes: Uint8Array, offset: number, length: number): boolean {
  for (let at = offset; at < offset + length; at++) if ((bytes[at] ?? 0) >= 0x80) return false;
  return true;
}

/** What `trim` takes off, of ASCII. */
function isSpace(byte: number | undefined): boolean {
  return byte === 32 || (byte !== undefined && byte >= 9 && byte <= 13);
}
