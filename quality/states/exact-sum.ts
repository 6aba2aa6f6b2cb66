/**
 * Sums of doubles without rounding: a double is a whole number of 2^-1074, so a sum is kept as doubles that do not overlap (Shewchuk) and
 * only its reading is rounded. Order does not matter, and what is added can be taken away without a trace.
 */
import type { Encoded } from './state.ts';

export class ExactSum {
  #parts: number[] = [];
  /** Infinities and NaN by how often they were added: they have no place in a sum that is taken back. */
  #infinite = 0;
  #negative = 0;
  #nan = 0;

  add(value: number): void {
    this.#add(value, 1);
  }

  subtract(value: number): void {
    this.#add(value, -1);
  }

  merge(other: ExactSum): void {
    for (const part of other.#parts) this.#grow(part);
    this.#infinite += other.#infinite;
    this.#negative += other.#negative;
    this.#nan += other.#nan;
  }

  get isZero(): boolean {
    return this.#parts.length === 0 && this.#infinite === 0 && this.#negative === 0 && this.#nan === 0;
  }

  /** What the special values come to; null where all were finite. */
  get special(): number | null {
    if (this.#nan > 0 || (this.#infinite > 0 && this.#negative > 0)) return NaN;
    return this.#infinite > 0 ? Infinity : this.#negative > 0 ? -Infinity : null;
  }

  /** The sum as a whole number of 2^-1074. */
  get scaled(): bigint {
    return this.#parts.reduce((sum, part) => sum + scaledOf(part), 0n);
  }

  encode(): Encoded {
    return [this.#infinite, this.#negative, this.#nan, ...this.#parts];
  }

  static decode(encoded: readonly Encoded[]): ExactSum {
    const sum = new ExactSum();
    const [infinite, negative, nan, ...parts] = encoded.map(Number);
    sum.#infinite = infinite ?? 0;
    sum.#negative = negative ?? 0;
    sum.#nan = nan ?? 0;
    sum.#parts = parts;
    return sum;
  }

  #add(value: number, sign: 1 | -1): void {
    if (Number.isFinite(value)) this.#grow(sign * value);
    else if (Number.isNaN(value)) this.#nan += sign;
    else if (value > 0) this.#infinite += sign;
    else this.#negative += sign;
  }

  #grow(value: number): void {
    const parts = this.#parts;
    let carried = value;
    let kept = 0;
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] ?? 0;
      const sum = carried + part;
      const back = sum - carried;
      const rest = carried - (sum - back) + (part - back);
      if (rest !== 0) parts[kept++] = rest;
      carried = sum;
    }
    parts.length = kept;
    if (carried !== 0) parts.push(carried);
  }
}

/** The scale of `scaled`. */
export const SCALE = 1074n;

const words = new DataView(new ArrayBuffer(8));

function scaledOf(value: number): bigint {
  words.setFloat64(0, value);
  const bits = words.getBigUint64(0);
  const exponent = (bits >> 52n) & 0x7ffn;
  const fraction = bits & 0xfffffffffffffn;
  const magnitude = exponent === 0n ? fraction : (fraction | 0x10000000000000n) << (exponent - 1n);
  return value < 0 ? -magnitude : magnitude;
}

/** The double nearest to a / b, for b > 0. */
export function quotient(a: bigint, b: bigint): number {
  if (a === 0n) return 0;
  const magnitude = a < 0n ? -a : a;
  // 64 bits of the quotient, the last of them set where something is left over: more than a double rounds from.
  const shift = 64n - BigInt(bitLength(magnitude)) + BigInt(bitLength(b));
  const [numerator, denominator] = shift >= 0n ? [magnitude << shift, b] : [magnitude, b << -shift];
  const whole = numerator / denominator;
  const sticky = numerator % denominator === 0n ? whole : whole | 1n;
  const result = scaleDown(Number(sticky), Number(shift));
  return a < 0n ? -result : result;
}

/** value / 2^power in steps that neither overflow nor round on the way. */
function scaleDown(value: number, power: number): number {
  if (power > 1000) return scaleDown(value * 2 ** -1000, power - 1000);
  if (power < -900) return value * 2 ** 900 * 2 ** (-power - 900);
  return value * 2 ** -power;
}

function bitLength(value: bigint): number {
  const hex = value.toString(16);
  return (hex.length - 1) * 4 + (32 - Math.clz32(Number.parseInt(hex[0] ?? '0', 16)));
}
