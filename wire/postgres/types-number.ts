/** Integers, floats and money from their binary forms, and floats as the server prints them. */
import type { Value } from '../../core/event.ts';
import type { DecodeText } from './types-text.ts';

type Decode = (bytes: Buffer, offset: number, length: number) => Value;

export const int2: Decode = (bytes, offset) => bytes.readInt16BE(offset);
export const int4: Decode = (bytes, offset) => bytes.readInt32BE(offset);
export const oid: Decode = (bytes, offset) => bytes.readUInt32BE(offset);
export const int8: Decode = (bytes, offset) => {
  const high = bytes.readInt32BE(offset);
  const low = bytes.readUInt32BE(offset + 4);
  if (high >= -0x200000 && high < 0x200000) {
    const value = high * 0x1_0000_0000 + low;
    if (Number.isSafeInteger(value)) return value;
  }
  return (BigInt(high) << 32n) | BigInt(low);
};
/** Unsigned, and its digits: nobody computes with a transaction id. */
export const xid8: DecodeText = (bytes, offset) => String(bytes.readBigUInt64BE(offset));
export const float4 = (bytes: Buffer, offset: number): number => float4Number(bytes.readFloatBE(offset));
export const float8 = (bytes: Buffer, offset: number): number => bytes.readDoubleBE(offset);

/** The shortest decimal that reads back as the same float4, as the server writes it. */
export function float4Number(value: number): number {
  if (!Number.isFinite(value) || value === 0) return value;
  for (let digits = 1; digits < FLOAT4_DIGITS; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value && !isFloat4Tie(value, short)) return short === value ? short : toEven(value, digits, short);
  }
  return toEven(value, FLOAT4_DIGITS, Number(value.toPrecision(FLOAT4_DIGITS)));
}

/** JavaScript rounds a last digit that could go both ways up, the server to the even one. */
function toEven(value: number, digits: number, rounded: number): number {
  const exact = value.toPrecision(digits + 1);
  const match = /^(.*[02468]\.?)5(e.*)?$/.exec(exact);
  return match === null || Number(exact) !== value ? rounded : Number(`${match[1]}0${match[2] ?? ''}`);
}

const FLOAT4_DIGITS = 9;
const FLOAT8_DIGITS = 17;
const single = new Float32Array(1);
const singleBits = new Int32Array(single.buffer);

/** Whether a decimal lies just between two float4: it reads back as the even one, but the server does not rely on that. */
function isFloat4Tie(value: number, decimal: number): boolean {
  if (decimal === value) return false;
  single[0] = value;
  singleBits[0] = (singleBits[0] ?? 0) + (Math.abs(decimal) > Math.abs(value) ? 1 : -1);
  return decimal - value === ((single[0] ?? 0) - value) / 2;
}

/** float8out and float4out (`isSingle`): the shortest digits, with an exponent where a number has 15 (or 6) digits and more before its point. */
export function floatText(value: number, isSingle: boolean): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  const [mantissa = '', power = '0'] = (isSingle ? value.toExponential() : shortest(value)).split('e');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= (isSingle ? 6 : 15)) {
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  return String(value); // JavaScript has no exponent from 1e-6 to 1e21.
}

/** JavaScript's shortest digits, but for those that lie just between two float8, as above: only whole numbers can. */
function shortest(value: number): string {
  const shown = value.toExponential();
  if (Math.abs(value) <= Number.MAX_SAFE_INTEGER || !isFloat8Tie(value, shown)) return shown;
  for (let digits = shown.replace(/e.*/, '').replaceAll(/\D/g, '').length; digits < FLOAT8_DIGITS; digits++) {
    const longer = value.toExponential(digits);
    if (Number(longer) === value && !isFloat8Tie(value, longer)) return longer;
  }
  return value.toExponential(FLOAT8_DIGITS - 1);
}

function isFloat8Tie(value: number, decimal: string): boolean {
  const [mantissa = '', power = '0'] = decimal.replace('-', '').split('e');
  const [whole = '', fraction = ''] = mantissa.split('.');
  if (Number(power) < fraction.length) return false;
  const size = BigInt(Math.abs(value));
  const distance = BigInt(whole + fraction) * 10n ** BigInt(Number(power) - fraction.length) - size;
  if (distance === 0n) return false;
  const bits = new BigInt64Array(new Float64Array([Math.abs(value)]).buffer);
  bits[0] = (bits[0] ?? 0n) + (distance > 0n ? 1n : -1n);
  const [next = 0] = new Float64Array(bits.buffer);
  return Number.isFinite(next) && distance * 2n === BigInt(next) - size;
}

export const float4Text: DecodeText = (bytes, offset) => floatText(float4(bytes, offset), true);
export const float8Text: DecodeText = (bytes, offset) => floatText(float8(bytes, offset), false);

/** money is a count of the smallest unit; how many digits of it are a fraction is the server's lc_monetary to say. */
export function moneyDecoder(scale: number): DecodeText {
  return (bytes, offset) => {
    const units = bytes.readBigInt64BE(offset);
    const digits = String(units < 0n ? -units : units).padStart(scale + 1, '0');
    const whole = digits.slice(0, digits.length - scale);
    return `${units < 0n ? '-' : ''}${whole}${scale === 0 ? '' : `.${digits.slice(-scale)}`}`;
  };
}
