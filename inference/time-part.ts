/** Parts of a time in UTC, from its microseconds or from its ISO text: no Date is made, and no microsecond is rounded. */

export type TimePart = 'minute' | 'hour' | 'dow' | 'dom' | 'month';

/** How many steps a part's circle has, and where it begins. */
export const TIME_CIRCLES: Readonly<Record<TimePart, { readonly steps: number; readonly first: number }>> = {
  minute: { steps: 60, first: 0 },
  hour: { steps: 24, first: 0 },
  dow: { steps: 7, first: 0 },
  dom: { steps: 31, first: 1 },
  month: { steps: 12, first: 1 },
};

/** Parts that a time of day has. */
export const CLOCK_PARTS: readonly TimePart[] = ['minute', 'hour'];

const SECOND_US = 1_000_000;
const DAY_S = 86_400;
const DASH = 45;
const PLUS = 43;
const COLON = 58;
const MARCH_0000_DAYS = 730_425; // 0000-03-01 to 2000-01-01
const CYCLE_DAYS = 146_097; // 400 years

/** The part of a time that is `micros` microseconds after 2000-01-01, or after midnight. */
export function microsPart(micros: number, part: TimePart, isTimeOfDay: boolean): number {
  const days = isTimeOfDay ? 0 : Math.floor(micros / (DAY_S * SECOND_US));
  return part === 'minute' || part === 'hour' ? clockPart(micros / SECOND_US - days * DAY_S, part) : dayPart(days, part);
}

/**
 * The part of '2026-11-24 13:45:00.123456+00', '2026-11-24' (hour and minute 0) or '13:45:00+02' (hour and minute only).
 * NaN for what is no such text: 'infinity', years BC.
 */
export function timePart(text: string, part: TimePart): number {
  const isClock = part === 'minute' || part === 'hour';
  if (text.charCodeAt(2) === COLON) {
    const zone = zoneSeconds(text, 8);
    const seconds = clockSeconds(text, 0) - zone;
    return isClock ? clockPart(zone === 0 ? seconds : seconds - Math.floor(seconds / DAY_S) * DAY_S, part) : NaN;
  }
  // Years have four digits or more.
  const dash = text.charCodeAt(4) === DASH ? 4 : text.indexOf('-');
  if (dash < 4 || text.length < dash + 6 || text.endsWith('BC')) return NaN;
  const seconds = text.length === dash + 6 ? 0 : clockSeconds(text, dash + 7) - zoneSeconds(text, dash + 15);
  const shift = Math.floor(seconds / DAY_S);
  if (isClock) return clockPart(seconds - shift * DAY_S, part);
  return dayPart(daysSince2000(Number(text.slice(0, dash)), twoDigits(text, dash + 1), twoDigits(text, dash + 4)) + shift, part);
}

function clockPart(seconds: number, part: 'minute' | 'hour'): number {
  return part === 'hour' ? Math.floor(seconds / 3600) : Math.floor(seconds / 60) % 60;
}

function clockSeconds(text: string, at: number): number {
  return twoDigits(text, at) * 3600 + twoDigits(text, at + 3) * 60 + twoDigits(text, at + 6);
}

/** East of UTC: '+05:30' behind the clock. 0 where there is none, and for Z. */
function zoneSeconds(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const sign = text.charCodeAt(at);
    if (sign !== PLUS && sign !== DASH) continue;
    const minutes = text.length > at + 3 ? twoDigits(text, at + 4) : 0;
    const seconds = text.length > at + 6 ? twoDigits(text, at + 7) : 0;
    return (sign === PLUS ? 1 : -1) * (twoDigits(text, at + 1) * 3600 + minutes * 60 + seconds);
  }
  return 0;
}

function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 48;
  const ones = text.charCodeAt(at + 1) - 48;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : NaN;
}

/** Of a day counted from 2000-01-01, a Saturday. `dow` is 0 on Monday, as pandas and Python count. */
function dayPart(days: number, part: 'dow' | 'dom' | 'month'): number {
  if (part === 'dow') return (((days + 5) % 7) + 7) % 7;
  // Years that begin in March, in cycles of 400 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
  const shifted = days + MARCH_0000_DAYS;
  const day = shifted - Math.floor(shifted / CYCLE_DAYS) * CYCLE_DAYS;
  const year = Math.floor((day - Math.floor(day / 1460) + Math.floor(day / 36_524) - Math.floor(day / 146_096)) / 365);
  const dayOfYear = day - (365 * year + Math.floor(year / 4) - Math.floor(year / 100));
  const month = Math.floor((5 * dayOfYear + 2) / 153);
  if (part === 'dom') return dayOfYear - Math.floor((153 * month + 2) / 5) + 1;
  return month < 10 ? month + 3 : month - 9;
}

/** The inverse: days_from_civil. */
function daysSince2000(year: number, month: number, day: number): number {
  const counted = month < 3 ? year - 1 : year;
  const cycle = Math.floor(counted / 400);
  const yearOfCycle = counted - cycle * 400;
  const dayOfYear = Math.floor((153 * (month < 3 ? month + 9 : month - 3) + 2) / 5) + day - 1;
  return cycle * CYCLE_DAYS + yearOfCycle * 365 + Math.floor(yearOfCycle / 4) - Math.floor(yearOfCycle / 100) + dayOfYear - MARCH_0000_DAYS;
}
