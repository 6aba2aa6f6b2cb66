/** Types that are PostgreSQL's text to us and have a form of their own at Debezium: bit strings, intervals, points, hstore. Each answers null for what has no such form. */

/** How many there are in a month, on average: what Debezium counts by. */
const MONTH_US = 2_629_800_000_000n;
const DAY_US = 86_400_000_000n;

/** The lowest bit first, in as many bytes as it takes. */
export function bitsOf(digits: string): Buffer | null {
  if (!/^[01]*$/.test(digits)) return null;
  const bytes: number[] = [];
  for (let end = digits.length; end > 0; end -= 8) bytes.push(Number.parseInt(digits.slice(Math.max(0, end - 8), end), 2));
  while (bytes.at(-1) === 0) bytes.pop();
  return Buffer.from(bytes);
}

interface Interval {
  readonly months: number;
  readonly days: number;
  readonly us: bigint;
}

const INTERVAL =
  /^(?:([+-]?\d+) years?)?(?:^| ?)(?:([+-]?\d+) mons?)?(?:^| ?)(?:([+-]?\d+) days?)?(?:^| ?)(?:([+-]?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?$/;

function intervalOf(text: string): Interval | null {
  const found = text === '' ? null : INTERVAL.exec(text);
  if (found === null) return null;
  const [, years = '0', months = '0', days = '0', sign = '', h = '0', m = '0', s = '0', fraction = ''] = found;
  const us = (BigInt(h) * 3600n + BigInt(m) * 60n + BigInt(s)) * 1_000_000n + BigInt(fraction.padEnd(6, '0'));
  return { months: Number(years) * 12 + Number(months), days: Number(days), us: sign === '-' ? -us : us };
}

/** All of it in microseconds, as `interval.handling.mode=numeric` has it. */
export function intervalMicros(text: string): bigint | null {
  const of = intervalOf(text);
  return of === null ? null : BigInt(of.months) * MONTH_US + BigInt(of.days) * DAY_US + of.us;
}

/** Every part of it, as `interval.handling.mode=string` has it: `P1Y2M-3DT4H5M6.7S`. */
export function isoInterval(text: string): string | null {
  const of = intervalOf(text);
  if (of === null) return null;
  const size = of.us < 0n ? -of.us : of.us;
  const signed = (part: bigint): string => `${of.us < 0n && part !== 0n ? '-' : ''}${part}`;
  const [hours, minutes, seconds] = [size / 3_600_000_000n, (size / 60_000_000n) % 60n, (size / 1_000_000n) % 60n];
  const fraction = String(size % 1_000_000n)
    .padStart(6, '0')
    .replace(/0+$/, '');
  const shown = `${of.us < 0n && size % 60_000_000n !== 0n ? '-' : ''}${seconds}${fraction === '' ? '' : `.${fraction}`}`;
  return `P${Math.trunc(of.months / 12)}Y${of.months % 12}M${of.days}DT${signed(hours)}H${signed(minutes)}M${shown}S`;
}

/** A struct of Debezium's: the coordinates, and the same as well-known binary. */
export function pointOf(text: string): { readonly x: number; readonly y: number; readonly wkb: Buffer; readonly srid: null } | null {
  const found = /^\(([^,]+),([^,]+)\)$/.exec(text);
  if (found === null) return null;
  const [x, y] = [Number(found[1]), Number(found[2])];
  const wkb = Buffer.alloc(21);
  wkb.writeUInt8(1, 0); // The lowest byte first.
  wkb.writeUInt32LE(1, 1);
  wkb.writeDoubleLE(x, 5);
  wkb.writeDoubleLE(y, 13);
  return { x, y, wkb, srid: null };
}

const QUOTED = '"((?:[^"\\\\]|\\\\.)*)"';
const PAIR = new RegExp(`${QUOTED}=>(?:${QUOTED}|NULL)(?:, |$)`, 'gsy');

/** `"a"=>"1", "b"=>NULL` as the text of a JSON object. */
export function hstoreJson(text: string): string | null {
  const pairs: string[] = [];
  let at = 0;
  for (const [whole, name = '', value] of text.matchAll(PAIR)) {
    pairs.push(`${JSON.stringify(unquoted(name))}:${value === undefined ? 'null' : JSON.stringify(unquoted(value))}`);
    at += whole.length;
  }
  return at === text.length ? `{${pairs.join(',')}}` : null;
}

export const unquoted = (text: string): string => text.replaceAll(/\\(.)/gs, '$1');
