/** Bounds and members of a rule file, as the encodings of cells have them. */
import { wholeOf } from '../../core/expression/decimal.ts';
import { FOREVER } from '../../core/expression/timestamp.ts';
import { INT8_MAX, INT8_MIN } from './integers.ts';

/** The least whole number that is not below a bound. */
export function wholeAtLeast(text: string, strict: boolean): bigint {
  const { floor, exact } = wholeOf(text);
  return exact && !strict ? floor : floor + 1n;
}

/** The greatest whole number that is not above it. */
export function wholeAtMost(text: string, strict: boolean): bigint {
  const { floor, exact } = wholeOf(text);
  return exact && strict ? floor - 1n : floor;
}

const EPOCH_2000_US = 946_684_800_000_000n;
const DAY_US = 86_400_000_000n;
const DATE_MAX = 0x7fffffff;

/** Microseconds since 1970 as a timestamp's since 2000. What is finite stays below infinity, however far it is. */
export function timestampOf(micros: bigint): bigint {
  if (micros >= FOREVER) return INT8_MAX;
  if (micros <= -FOREVER) return INT8_MIN;
  const value = micros - EPOCH_2000_US;
  return value >= INT8_MAX ? INT8_MAX - 1n : value <= INT8_MIN ? INT8_MIN + 1n : value;
}

/** The same as a date's days, and whether the moment lies behind the beginning of its day. */
export function dateOf(micros: bigint): { readonly day: number; readonly isLater: boolean } {
  if (micros >= FOREVER) return { day: DATE_MAX, isLater: false };
  if (micros <= -FOREVER) return { day: -DATE_MAX - 1, isLater: false };
  const since = micros - EPOCH_2000_US;
  const rest = ((since % DAY_US) + DAY_US) % DAY_US;
  const day = Number((since - rest) / DAY_US);
  return { day: Math.min(DATE_MAX - 1, Math.max(-DATE_MAX, day)), isLater: rest !== 0n };
}

/** Microseconds since midnight of a time of day in its canonical text. */
export function timeOf(text: string): bigint {
  const [hour = '', minute = '', second = ''] = text.split(':');
  const [whole = '', fraction = ''] = second.split('.');
  return BigInt((Number(hour) * 60 + Number(minute)) * 60 + Number(whole)) * 1_000_000n + BigInt(fraction.padEnd(6, '0'));
}
