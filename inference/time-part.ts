/** Parts of a time, taken from its ISO text character by character: no Date is made, and no microsecond is rounded. */

export type TimePart = 'minute' | 'hour' | 'dow' | 'dom' | 'month';

/** How many steps a part's circle has, and where it begins. */
export const TIME_CIRCLES: Readonly<Record<TimePart, { readonly steps: number; readonly first: number }>> = {
  minute: { steps: 60, first: 0 },
  hour: { steps: 24, first: 0 },
  dow: { steps: 7, first: 0 },
  dom: { steps: 31, first: 1 },
  month: { steps: 12, first: 1 },
};

const DASH = 45;
const COLON = 58;
/** Sakamoto's table: how far each month's first day is from the year's, modulo a week. */
const MONTH_OFFSETS = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];

/**
 * The part of '2026-11-24 13:45:00.123456+00', '2026-11-24' (hour and minute 0) or '13:45:00' (hour and minute only).
 * NaN for what is no such text: 'infinity', years BC.
 */
export function timePart(text: string, part: TimePart): number {
  if (text.charCodeAt(2) === COLON) return clockPart(text, 0, part);
  // Years have four digits or more.
  const dash = text.charCodeAt(4) === DASH ? 4 : text.indexOf('-');
  if (dash < 4 || text.length < dash + 6 || text.endsWith('BC')) return NaN;
  switch (part) {
    case 'month':
      return twoDigits(text, dash + 1);
    case 'dom':
      return twoDigits(text, dash + 4);
    case 'dow':
      return dayOfWeek(Number(text.slice(0, dash)), twoDigits(text, dash + 1), twoDigits(text, dash + 4));
    case 'hour':
    case 'minute':
      return text.length === dash + 6 ? 0 : clockPart(text, dash + 7, part);
  }
}

function clockPart(text: string, at: number, part: TimePart): number {
  if (part === 'hour') return twoDigits(text, at);
  return part === 'minute' ? twoDigits(text, at + 3) : NaN;
}

function twoDigits(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 48;
  const ones = text.charCodeAt(at + 1) - 48;
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : NaN;
}

/** 0 on Monday, as pandas and Python count. */
function dayOfWeek(year: number, month: number, day: number): number {
  const counted = month < 3 ? year - 1 : year;
  const leaps = Math.floor(counted / 4) - Math.floor(counted / 100) + Math.floor(counted / 400);
  return (counted + leaps + (MONTH_OFFSETS[month - 1] ?? NaN) + day + 6) % 7;
}
