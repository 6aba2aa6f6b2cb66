/** Timestamps and durations: ISO text as PostgreSQL writes it in UTC, compared as text where that is sound, else as microseconds. */
import { civilFromDays, daysFromCivil, daysIn } from '../calendar.ts';
import { ExpressionError } from './values.ts';

const DAY_US = 86_400_000_000n;

const SYNTAX =
  /^(-?\d{4,7})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?\s?(Z|z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?)?( BC)?$/;

/** Greater than every finite time: 'infinity'. */
export const FOREVER = 1n << 80n;

/**
 * Microseconds since 1970-01-01 in UTC of an ISO date or timestamp ('2026-11-24', '2026-11-24 13:45:00.123456+00', '2026-11-24T13:45:00Z',
 * '0044-03-15 BC', 'infinity'), null where the text is none. Digits below a microsecond are cut. No zone means UTC.
 */
export function microsOf(text: string): bigint | null {
  if (text === 'infinity') return FOREVER;
  if (text === '-infinity') return -FOREVER;
  const match = SYNTAX.exec(text);
  if (match === null) return null;
  const [, yearText = '', monthText = '', dayText = '', hour = '0', minute = '0', second = '0', fraction = '', zone = '', bc] = match;
  const year = bc === undefined ? Number(yearText) : 1 - Number(yearText);
  const month = Number(monthText);
  const day = Number(dayText);
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return null;
  const [h, m, s] = [Number(hour), Number(minute), Number(second)];
  if (h > 24 || m > 59 || s > 60 || (h === 24 && (m > 0 || s > 0))) return null;
  const offset = offsetSeconds(zone);
  if (offset === null) return null;
  const seconds = h * 3600 + m * 60 + s - offset;
  return BigInt(daysFromCivil(year, month, day)) * DAY_US + BigInt(seconds) * 1_000_000n + BigInt(fraction.slice(0, 6).padEnd(6, '0'));
}

/** The ISO text, as PostgreSQL writes a timestamptz in UTC, of microseconds since 1970. */
export function timestampText(micros: bigint): string {
  if (micros >= FOREVER) return 'infinity';
  if (micros <= -FOREVER) return '-infinity';
  let days = micros / DAY_US;
  let rest = micros % DAY_US;
  if (rest < 0n) {
    days -= 1n;
    rest += DAY_US;
  }
  const { year, month, day } = civilFromDays(Number(days));
  const seconds = Number(rest / 1_000_000n);
  const fraction = Number(rest % 1_000_000n);
  const digits = fraction === 0 ? '' : `.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`;
  const shownYear = String(year > 0 ? year : 1 - year).padStart(4, '0');
  const time = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}${digits}`;
  return `${shownYear}-${two(month)}-${two(day)} ${time}+00${year > 0 ? '' : ' BC'}`;
}

const TIME = /^(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?$/;

/** A time of day as PostgreSQL writes it ('17:00' is '17:00:00'), so that texts are equal and ordered as their times are; null where the text is none. */
export function timeOfDay(text: string): string | null {
  const match = TIME.exec(text);
  if (match === null) return null;
  const [, hour = '', minute = '', second = '00', fraction = ''] = match;
  const digits = fraction.replace(/0+$/, '');
  const isLast = hour === '24' && minute === '00' && second === '00' && digits === '';
  if ((Number(hour) > 23 && !isLast) || Number(minute) > 59 || Number(second) > 59) return null;
  return `${hour}:${minute}:${second}${digits === '' ? '' : `.${digits}`}`;
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}

/** Orders two ISO texts in UTC. Throws ExpressionError where one is no timestamp. */
export function compareTimestampTexts(a: string, b: string): -1 | 0 | 1 {
  const shape = shapeOf(a);
  if (shape !== 0 && shape === shapeOf(b)) return a === b ? 0 : a < b ? -1 : 1;
  const left = microsOf(a);
  const right = microsOf(b);
  if (left === null || right === null) throw new ExpressionError('not a timestamp');
  return left < right ? -1 : left > right ? 1 : 0;
}

const FORM = '0000-00-00 00:00:00';

/**
 * 1: a date, 2: a timestamp without a zone, 3: one with +00, of the years 0000 to 9999, exactly as PostgreSQL writes them in UTC; 0: anything
 * else. Among texts of one shape the order of the texts is the order of the times, since '+' < '.' < '0' and fractions have no trailing zeros.
 */
function shapeOf(text: string): 0 | 1 | 2 | 3 {
  const length = text.length;
  if (length < 10) return 0;
  const head = Math.min(length, FORM.length);
  for (let i = 0; i < head; i++) {
    const wanted = FORM.charCodeAt(i);
    const code = text.charCodeAt(i);
    if (wanted === 48 ? code < 48 || code > 57 : code !== wanted) return 0;
  }
  if (length === 10) return 1;
  if (length < FORM.length) return 0;
  let at = FORM.length;
  if (at < length && text.charCodeAt(at) === 46) {
    const from = ++at;
    while (at < length && text.charCodeAt(at) >= 48 && text.charCodeAt(at) <= 57) at++;
    if (at === from || at - from > 6 || text.charCodeAt(at - 1) === 48) return 0;
  }
  if (at === length) return 2;
  return length === at + 3 && text.charCodeAt(at) === 43 && text.charCodeAt(at + 1) === 48 && text.charCodeAt(at + 2) === 48 ? 3 : 0;
}

const DURATION = /([+-]?\d+(?:\.\d+)?)(us|ms|s|m|h|d)/y;
const UNIT_US = { us: 1n, ms: 1000n, s: 1_000_000n, m: 60_000_000n, h: 3_600_000_000n, d: DAY_US } as const;

/** Microseconds of a duration text as CEL writes it ("1h30m", "1.5s", "-2d"; d is 24 hours), null where it is none. */
export function durationMicros(text: string): bigint | null {
  let total = 0n;
  let at = 0;
  const negative = text.startsWith('-');
  const body = negative ? text.slice(1) : text;
  while (at < body.length) {
    DURATION.lastIndex = at;
    const match = DURATION.exec(body);
    if (match === null) return null;
    const [whole, amount = '', unit = 's'] = match;
    const [integer = '0', fraction = ''] = amount.split('.');
    const unitUs = UNIT_US[unit as keyof typeof UNIT_US];
    total += BigInt(integer) * unitUs + (BigInt(fraction.padEnd(18, '0').slice(0, 18)) * unitUs) / 10n ** 18n;
    at += whole.length;
  }
  if (at === 0) return null;
  return negative ? -total : total;
}

/** Year, month, day, hour, minute, second, day of the week (0 = Sunday) and day of the year (0-based), in UTC. */
export function timeParts(micros: bigint) {
  const days = Number((micros - (((micros % DAY_US) + DAY_US) % DAY_US)) / DAY_US);
  const seconds = Number((((micros % DAY_US) + DAY_US) % DAY_US) / 1_000_000n);
  const civil = civilFromDays(days);
  return {
    ...civil,
    hour: Math.floor(seconds / 3600),
    minute: Math.floor(seconds / 60) % 60,
    second: seconds % 60,
    dayOfWeek: (((days + 4) % 7) + 7) % 7,
    dayOfYear: days - daysFromCivil(civil.year, 1, 1),
  };
}

function offsetSeconds(zone: string): number | null {
  if (zone === '' || zone === 'Z' || zone === 'z') return 0;
  const digits = zone.slice(1).replaceAll(':', '');
  const [h, m, s] = [digits.slice(0, 2), digits.slice(2, 4), digits.slice(4, 6)].map((part) => Number(part || '0'));
  if (h === undefined || m === undefined || s === undefined || h > 15 || m > 59 || s > 59) return null;
  return (zone.startsWith('-') ? -1 : 1) * (h * 3600 + m * 60 + s);
}
