/** numeric: base-10000 digits with a weight, a sign and a display scale; the decimal text loses nothing. */

/** The most decimal digits that it holds before the point, and behind. Of groups of four it has so up to 36,864: the count of them is unsigned. */
const WHOLE_MAX = 131_072;
const SCALE_MAX = 16_383;

/** `numeric_send`: ndigits, weight, sign (0x4000 negative, 0xC000 NaN, 0xD000 Infinity, 0xF000 -Infinity), dscale, digits. */
export function numericText(bytes: Buffer, offset: number): string {
  const count = bytes.readUInt16BE(offset);
  const weight = bytes.readInt16BE(offset + 2);
  const sign = bytes.readUInt16BE(offset + 4);
  const scale = bytes.readUInt16BE(offset + 6);
  if (sign === 0xc000) return 'NaN';
  if (sign === 0xd000) return 'Infinity';
  if (sign === 0xf000) return '-Infinity';
  if (weight >= 0 && weight <= 2 && scale <= 4) {
    // Money and the like: below 10^12 with at most four decimals, no digit groups beyond them.
    let whole = 0;
    for (let i = 0; i <= weight; i++) whole = whole * 10_000 + (i < count ? bytes.readUInt16BE(offset + 8 + 2 * i) : 0);
    const text = sign === 0x4000 ? `-${whole}` : String(whole);
    if (scale === 0) return text;
    return text + (fractions(scale)[weight + 1 < count ? bytes.readUInt16BE(offset + 10 + 2 * weight) : 0] ?? '');
  }
  const digit = (i: number): number => (i >= 0 && i < count ? bytes.readUInt16BE(offset + 8 + 2 * i) : 0);
  let shown = sign === 0x4000 ? '-' : '';
  if (weight < 0) shown += '0';
  else {
    shown += digit(0);
    for (let i = 1; i <= weight; i++) shown += String(digit(i)).padStart(4, '0');
  }
  if (scale === 0) return shown;
  let fraction = '';
  for (let i = weight + 1; fraction.length < scale; i++) fraction += String(digit(i)).padStart(4, '0');
  return `${shown}.${fraction.slice(0, scale)}`;
}

const FRACTIONS: string[][] = [];

/** By digit group: its first `scale` digits behind a point. */
function fractions(scale: number): string[] {
  const known = FRACTIONS[scale];
  if (known !== undefined) return known;
  const made = Array.from({ length: 10_000 }, (_, group) => `.${String(group).padStart(4, '0').slice(0, scale)}`);
  FRACTIONS[scale] = made;
  return made;
}

/** The inverse, for a decimal text as JavaScript, JSON or SQL writes it ("-12.50", "1e3", "NaN", "Infinity"). Throws a RangeError for anything else. */
export function numericBytes(decimal: string): Buffer {
  const special = { NaN: 0xc000, Infinity: 0xd000, '+Infinity': 0xd000, '-Infinity': 0xf000 }[decimal];
  if (special !== undefined) return header(0, 0, special, 0, []);
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(decimal);
  if (match === null || ((match[2] ?? '') === '' && (match[3] ?? '') === '')) throw new RangeError('not a decimal number');
  let whole = match[2] ?? '';
  let fraction = match[3] ?? '';
  const exponent = Number(match[4] ?? 0);
  if (exponent > WHOLE_MAX || exponent < -SCALE_MAX) throw new RangeError('a decimal exponent beyond what numeric holds');
  if (exponent > 0) {
    whole += fraction.slice(0, exponent).padEnd(exponent, '0');
    fraction = fraction.slice(exponent);
  } else if (exponent < 0) {
    fraction = whole.slice(exponent).padStart(-exponent, '0') + fraction;
    whole = whole.slice(0, exponent);
  }
  const scale = fraction.length;
  whole = whole.replace(/^0+/, '');
  if (whole.length > WHOLE_MAX || scale > SCALE_MAX) throw new RangeError('a decimal of more digits than numeric holds');
  whole = whole.padStart(Math.ceil(whole.length / 4) * 4, '0');
  fraction = fraction.padEnd(Math.ceil(fraction.length / 4) * 4, '0');
  const digits = ((whole + fraction).match(/.{4}/g) ?? []).map(Number);
  let weight = whole.length / 4 - 1;
  const zeros = digits.findIndex((digit) => digit !== 0);
  if (zeros > 0) {
    digits.splice(0, zeros);
    weight -= zeros;
  }
  while (digits.at(-1) === 0) digits.pop();
  if (digits.length === 0) return header(0, 0, 0, scale, []);
  return header(digits.length, weight, match[1] === '-' ? 0x4000 : 0, scale, digits);
}

function header(count: number, weight: number, sign: number, scale: number, digits: readonly number[]): Buffer {
  const bytes = Buffer.alloc(8 + 2 * digits.length);
  bytes.writeUInt16BE(count, 0);
  bytes.writeInt16BE(weight, 2);
  bytes.writeUInt16BE(sign, 4);
  bytes.writeUInt16BE(scale, 6);
  for (const [i, digit] of digits.entries()) bytes.writeUInt16BE(digit, 8 + 2 * i);
  return bytes;
}
