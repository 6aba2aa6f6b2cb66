/** An address in the bytes of a text of ASCII: what the format `email` says of the text, in one look at each byte. */
import { Outcome } from '../outcome.ts';
import { type Judged, Undecided } from './cells.ts';

const LOCAL_MAX = 64;
const LABEL_MAX = 63;
const ADDRESS_MAX = 254;
const [AT, DOT, HYPHEN] = [64, 46, 45] as const;

/** What stands in an address without quotes, before the last @ and beside dots (RFC 5321's atext). */
const IN_ATOM = Uint8Array.from({ length: 256 }, (_, code) => (/[!#$%&'*+/0-9=?A-Z^_`a-z{|}~-]/.test(character(code)) ? 1 : 0));
/** What stands in a label; a label of digits alone is a number. */
const [DIGIT, OTHER] = [1, 2] as const;
const IN_LABEL = Uint8Array.from({ length: 256 }, (_, code) =>
  /[0-9]/.test(character(code)) ? DIGIT : /[A-Za-z-]/.test(character(code)) ? OTHER : 0,
);

function character(code: number): string {
  return code < 128 ? String.fromCharCode(code) : '';
}

/** `Undecided` where a byte beyond ASCII is met before anything that no address has: lengths are those of texts there. */
export function emailInBytes(bytes: Uint8Array, from: number, to: number): Judged {
  let at = from;
  for (let start = from; ; at++) {
    const code = at < to ? (bytes[at] ?? 0) : 0;
    if (IN_ATOM[code] === 1) continue;
    if (code >= 128) return Undecided;
    if (at === start) return Outcome.Fail;
    if (code === AT) break;
    if (code !== DOT) return Outcome.Fail;
    start = at + 1;
  }
  return at - from > LOCAL_MAX ? Outcome.Fail : domainInBytes(bytes, at + 1, to, to - from <= ADDRESS_MAX);
}

/** Two or more labels, the last of which is not a number. */
function domainInBytes(bytes: Uint8Array, from: number, to: number, isShort: boolean): Judged {
  let start = from;
  let labels = 0;
  let kinds = 0;
  for (let at = from; ; at++) {
    const code = at < to ? (bytes[at] ?? 0) : DOT;
    const kind = IN_LABEL[code] ?? 0;
    if (kind !== 0) {
      kinds |= kind;
      continue;
    }
    if (code >= 128) return Undecided;
    const length = at - start;
    if (code !== DOT || length === 0 || length > LABEL_MAX || bytes[start] === HYPHEN || bytes[at - 1] === HYPHEN) return Outcome.Fail;
    labels++;
    if (at === to) return isShort && labels > 1 && kinds >= OTHER ? Outcome.Pass : Outcome.Fail;
    start = at + 1;
    kinds = 0;
  }
}
