/** Dates, times and intervals from their binary forms (counted from 2000-01-01) to PostgreSQL's ISO text, microseconds kept. */

const DAY_US = 86_400_000_000n;
const EPOCH_2000_DAYS = 10_957; // 1970-01-01 to 2000-01-01

/** Days since 2000-01-01; the extremes are the infinities. */
export function dateText(days: number): string {
  if (days === 0x7fffffff) return 'infinity';
  if (days === -0x80000000) return '-infinity';
  const { text, era } = civil(days + EPOCH_2000_DAYS);
  return text + era;
}

/** Microseconds since 2000-01-01 00:00 (UTC where `zone` is "+00"); the extremes are the infinities. */
export function timestampText(microseconds: bigint, zone: string): string {
  if (microseconds === 0x7fffffffffffffffn) return 'infinity';
  if (microseconds === -0x8000000000000000n) return '-infinity';
  let days = microseconds / DAY_US;
  let rest = microseconds % DAY_US;
  if (rest < 0n) {
    rest += DAY_US;
    days -= 1n;
  }
  const { text, era } = civil(Number(days) + EPOCH_2000_DAYS);
  return `${text} ${clock(rest)}${zone}${era}`;
}

/** Microseconds since midnight; 24:00:00 is allowed. */
export function timeText(microseconds: bigint): string {
  return clock(microseconds);
}

/** `zone` is in seconds west of UTC. */
export function timetzText(microseconds: bigint, zone: number): string {
  const east = -zone;
  const size = Math.abs(east);
  const parts = [Math.floor(size / 3600), Math.floor(size / 60) % 60, size % 60].map((part) => String(part).padStart(2, '0'));
  const shown = parts[2] !== '00' ? parts.join(':') : parts[1] !== '00' ? `${parts[0]}:${parts[1]}` : parts[0];
  return `${clock(microseconds)}${east < 0 ? '-' : '+'}${shown}`;
}

/** IntervalStyle postgres. PostgreSQL 17 has infinite intervals: all three fields at their extremes. */
export function intervalText(microseconds: bigint, days: number, months: number): string {
  if (months === 0x7fffffff && days === 0x7fffffff && microseconds === 0x7fffffffffffffffn) return 'infinity';
  if (months === -0x80000000 && days === -0x80000000 && microseconds === -0x8000000000000000n) return '-infinity';
  const parts: string[] = [];
  let negative = false; // A later positive part needs its sign after a negative one.
  const part = (count: number, unit: string): void => {
    if (count === 0) return;
    parts.push(`${negative && count > 0 ? '+' : ''}${count} ${unit}${count === 1 ? '' : 's'}`);
    negative = count < 0;
  };
  part(Math.trunc(months / 12), 'year');
  part(months % 12, 'mon');
  part(days, 'day');
  if (microseconds !== 0n || parts.length === 0) {
    const minus = microseconds < 0n;
    parts.push(`${minus ? '-' : negative ? '+' : ''}${clock(minus ? -microseconds : microseconds)}`);
  }
  return parts.join(' ');
}

function clock(microseconds: bigint): string {
  const seconds = microseconds / 1_000_000n;
  const fraction = Number(microseconds % 1_000_000n);
  const two = (part: bigint): string => String(part).padStart(2, '0');
  const shown = `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}`;
  return fraction === 0 ? shown : `${shown}.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`;
}

/** Days since 1970-01-01 to a proleptic Gregorian date (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days). */
function civil(daysSince1970: number): { text: string; era: string } {
  const z = daysSince1970 + 719_468;
  const cycle = Math.floor(z / 146_097);
  const day = z - cycle * 146_097;
  const yearOfCycle = Math.floor((day - Math.floor(day / 1460) + Math.floor(day / 36_524) - Math.floor(day / 146_096)) / 365);
  const dayOfYear = day - (365 * yearOfCycle + Math.floor(yearOfCycle / 4) - Math.floor(yearOfCycle / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const dayOfMonth = dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfCycle + cycle * 400 + (month <= 2 ? 1 : 0);
  const shownYear = year > 0 ? year : 1 - year; // There is no year 0: 1 BC comes before 1 AD.
  const two = (part: number): string => String(part).padStart(2, '0');
  return { text: `${String(shownYear).padStart(4, '0')}-${two(month)}-${two(dayOfMonth)}`, era: year > 0 ? '' : ' BC' };
}
