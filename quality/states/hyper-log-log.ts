/**
 * How many different values there are, by the greatest number of leading zeros among their hashes in each of 16,384 registers.
 *
 * Flajolet, Fusy, Gandouet, Meunier: HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm (2007), with the estimator of
 * Ertl: New cardinality estimation algorithms for HyperLogLog sketches (2017), which needs no correction by tables. Its standard error is 1.04 / 128, 0.81 %.
 *
 * A register does not know what it was before, so nothing is taken back from it. Each value that is taken back may have been the last of its kind or not: it
 * widens the interval by one.
 */
import { keyOf, Moment, type Present } from './cell.ts';
import type { Interval, Sketch, SketchKind } from './sketch.ts';
import { bytesOf, type Encoded, listOf, wholeOf } from './state.ts';

const PRECISION = 14;
const REGISTERS = 2 ** PRECISION;
/** The bits of a hash behind those that choose the register. */
const BITS = 64 - PRECISION;
/** Three standard errors: of a thousand intervals three are expected not to hold the number. */
export const DISTINCT_ERROR = 0.025;

export class HyperLogLog implements Sketch {
  readonly #registers = new Uint8Array(REGISTERS);
  /** Values that are there, each as often as it is. */
  #total = 0;
  #taken = 0;

  put(cell: Present, times: number): void {
    this.#total += times;
    if (times <= 0) {
      this.#taken++;
      return;
    }
    if (cell instanceof Moment && typeof cell.micros === 'number') hashMoment(cell.micros);
    else hash(keyOf(cell));
    this.#see();
  }

  putText(bytes: Uint8Array, at: number, length: number, times: number): void {
    if (times > 0 && hashText(bytes, at, length)) {
      this.#total += times;
      this.#see();
    } else this.put(Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString('utf8'), times);
  }

  get bytes(): number {
    return REGISTERS + 100;
  }

  get total(): number {
    return this.#total;
  }

  /** Of a whole window. As many values as there are, at most; none where all were taken back. */
  get distinct(): Interval<number> {
    const seen = estimateOf(this.#registers);
    const most = Math.min(this.#total, Math.floor(seen / (1 - DISTINCT_ERROR)));
    const least = Math.min(most, Math.max(this.#total > 0 ? 1 : 0, Math.ceil(seen / (1 + DISTINCT_ERROR)) - this.#taken));
    return { low: least, high: most, estimate: Math.min(most, Math.max(least, Math.round(seen))) };
  }

  merge(from: HyperLogLog): this {
    for (let at = 0; at < REGISTERS; at++) {
      const other = from.#registers[at] ?? 0;
      if (other > (this.#registers[at] ?? 0)) this.#registers[at] = other;
    }
    this.#total += from.#total;
    this.#taken += from.#taken;
    return this;
  }

  encode(): Encoded {
    return [this.#total, this.#taken, Buffer.from(this.#registers).toString('base64')];
  }

  static decode(encoded: Encoded): HyperLogLog {
    const [total, taken, registers] = listOf(encoded);
    const sketch = new HyperLogLog();
    sketch.#total = wholeOf(total);
    sketch.#taken = wholeOf(taken, 0);
    const bytes = bytesOf(registers, REGISTERS);
    if (bytes.some((zeros) => zeros > BITS + 1)) throw new Error('a register of a sketch holds more zeros than a hash has');
    sketch.#registers.set(bytes);
    return sketch;
  }

  /** The last hash. */
  #see(): void {
    const place = first >>> (32 - PRECISION);
    // The zeros before the first one among the rest of the first word and the second.
    const rest = (first << PRECISION) >>> 0;
    const zeros = rest !== 0 ? Math.clz32(rest) : 32 - PRECISION + Math.clz32(second);
    if (zeros + 1 > (this.#registers[place] ?? 0)) this.#registers[place] = zeros + 1;
  }
}

/** Ertl's improved raw estimator, his algorithm 6. */
function estimateOf(registers: Uint8Array): number {
  const counts = new Float64Array(BITS + 2);
  for (const zeros of registers) counts[zeros] = (counts[zeros] ?? 0) + 1;
  let sum = REGISTERS * tau(1 - (counts[BITS + 1] ?? 0) / REGISTERS);
  for (let zeros = BITS; zeros >= 1; zeros--) sum = 0.5 * (sum + (counts[zeros] ?? 0));
  sum += REGISTERS * sigma((counts[0] ?? 0) / REGISTERS);
  return REGISTERS ** 2 / (2 * Math.LN2 * sum);
}

function sigma(share: number): number {
  if (share === 1) return Infinity;
  let [power, sum, weight] = [share, share, 1];
  for (let before = NaN; before !== sum; weight *= 2) {
    before = sum;
    power *= power;
    sum += power * weight;
  }
  return sum;
}

function tau(share: number): number {
  if (share === 0 || share === 1) return 0;
  let [root, sum, weight] = [share, 1 - share, 1];
  for (let before = NaN; before !== sum;) {
    before = sum;
    root = Math.sqrt(root);
    weight *= 0.5;
    sum -= (1 - root) ** 2 * weight;
  }
  return sum / 3;
}

/** The two words of the last hash: a pair would be an object for every value. */
let [first, second] = [0, 0];
const number = new Float64Array(1);
const words = new Int32Array(number.buffer);

/** Keys of different types never are one value, so they do not begin with the same words. */
function hash(key: unknown): void {
  if (typeof key === 'number') {
    number[0] = Number.isNaN(key) ? NaN : key + 0; // Both zeros are one.
    mix(0x2545f491 ^ (words[0] ?? 0), 0x9e3779b9 ^ (words[1] ?? 0));
    return;
  }
  const text = String(key);
  let a = SEED_A ^ seedOf(key);
  let b = SEED_B;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    a = Math.imul(a ^ code, STEP_A);
    b = Math.imul(b ^ code, STEP_B);
  }
  mix(a, b);
}

const SEED_A: number = 0xdeadbeef;
const SEED_B: number = 0x41c6ce57;
const STEP_A = 2_654_435_761;
const STEP_B = 1_597_334_677;

/** As `hash` of the text. False where only the text has the hash: one beyond ASCII, or one whose key is not itself. */
function hashText(bytes: Uint8Array, at: number, length: number): boolean {
  const end = at + length;
  if (bytes[at] === 0 && length > 0) return false;
  let a = SEED_A;
  let b = SEED_B;
  for (; at < end; at++) {
    const code = bytes[at] ?? 0;
    if (code >= 128) return false;
    a = Math.imul(a ^ code, STEP_A);
    b = Math.imul(b ^ code, STEP_B);
  }
  mix(a, b);
  return true;
}

const digits = new Uint8Array(18);

/** As `hash` of its key, without making one: '\0m' and its microseconds. */
function hashMoment(micros: number): void {
  let left = Math.abs(micros);
  let at = digits.length;
  do {
    const rest = Math.floor(left / 10);
    digits[--at] = 48 + left - 10 * rest;
    left = rest;
  } while (left > 0);
  if (micros < 0) digits[--at] = 45;
  let a = Math.imul(SEED_A, STEP_A);
  let b = Math.imul(SEED_B, STEP_B);
  a = Math.imul(a ^ 109, STEP_A);
  b = Math.imul(b ^ 109, STEP_B);
  for (; at < digits.length; at++) {
    a = Math.imul(a ^ (digits[at] ?? 0), STEP_A);
    b = Math.imul(b ^ (digits[at] ?? 0), STEP_B);
  }
  mix(a, b);
}

function seedOf(key: unknown): number {
  return typeof key === 'bigint' ? 1 : typeof key === 'boolean' ? 2 : 0;
}

/** The finalizer of Murmur3 over both words, each of which then depends on every bit of both. */
function mix(a: number, b: number): void {
  const one = finish(a ^ Math.imul(b, 0x85ebca6b));
  const two = finish(Math.imul(b, 0xc2b2ae35) ^ (one >>> 3) ^ 0x27d4eb2f);
  first = finish(one ^ two) >>> 0;
  second = finish(Math.imul(two, 0x9e3779b1) ^ a) >>> 0;
}

function finish(word: number): number {
  let mixed = word ^ (word >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}

export const hyperLogLog: SketchKind<HyperLogLog> = {
  id: 'distinct',
  create: () => new HyperLogLog(),
  merge: (into, from) => into.merge(from),
  decode: (encoded) => HyperLogLog.decode(encoded),
};
