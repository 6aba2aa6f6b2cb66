/** What checks that count rows have in common: a share of the rows that came within a time may be bad. */
import type { ClockRule, ClockSaid, Counting, Pulse } from './check.ts';

/** With fewer than `minRows` it passes: one row in three says nothing. */
export function shareRule(counting: Counting, mostBad: number, minRows: number, reason: (bad: number, rows: number) => string): ClockRule {
  return {
    counting,
    asksForLife: false,
    maxAgeMs: null,
    say: ({ nowMs, counts: { good, bad } }: Pulse): ClockSaid => {
      const rows = good + bad;
      const share = rows === 0 ? 0 : bad / rows;
      return {
        severity: rows >= minRows && share > mostBad ? 'as said' : null,
        observed: Math.round(share * 1e9) / 1e9,
        reason: reason(bad, rows),
        startMs: nowMs - counting.overMs,
        rows,
      };
    },
  };
}

export const minRowsSchema = (fewest: number) =>
  ({ type: 'integer', minimum: 1, default: fewest, description: 'With fewer rows in that time it passes.' }) as const;
