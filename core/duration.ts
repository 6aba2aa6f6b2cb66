/** Durations as people write them. */

/** Of a number and its unit, once or several times: `1h30m`. */
export const durationSchema = { type: 'string', pattern: '^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d))+$' } as const;

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** `90m`, in the greatest unit that it is whole in. */
export function formatMillis(ms: number): string {
  for (const [unit, size] of UNITS) if (ms > 0 && ms % size === 0) return `${ms / size}${unit}`;
  return ms === 0 ? '0' : `${ms}ms`;
}
