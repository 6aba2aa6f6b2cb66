/** How many rows a column's times fall on, hour by hour and day by day. */
import { microsOf } from '../../core/expression/timestamp.ts';
import type { Value } from '../../core/event.ts';

const STEPS = [
  { every: '1h', ms: 3_600_000, what: 'hours' },
  { every: '1d', ms: 86_400_000, what: 'days' },
] as const;
/** More windows than these are a long history: its last ones say as much. */
const WINDOWS_MAX = 20_000;
/** Fewer windows, or fewer rows in one, say nothing about those to come. */
const LEAST_WINDOWS = 5;
const LEAST_ROWS = 10;

export interface Pace {
  readonly every: (typeof STEPS)[number]['every'];
  readonly what: string;
  readonly windows: number;
  /** Rows of the emptiest and the fullest of them. */
  readonly min: number;
  readonly max: number;
}

export class TimeSight {
  #counts: readonly Map<number, number>[] | null = STEPS.map(() => new Map());

  see(value: Value): void {
    if (this.#counts === null) return;
    const micros = typeof value === 'string' ? microsOf(value) : null;
    const ms = micros === null ? NaN : Number(micros / 1000n);
    // A row without a time, or one of all times, is in no window.
    if (!Number.isSafeInteger(ms)) this.#counts = null;
    for (const [at, { ms: stepMs }] of STEPS.entries()) {
      const counts = this.#counts?.[at];
      if (counts === undefined) continue;
      const window = Math.floor(ms / stepMs);
      counts.set(window, (counts.get(window) ?? 0) + 1);
      if (counts.size > WINDOWS_MAX) this.#counts = null;
    }
  }

  /** The shortest windows that all have rows enough, but for the first and the last, which may be cut off; null where there are none. */
  pace(): Pace | null {
    for (const [at, { every, what }] of STEPS.entries()) {
      const counts = this.#counts?.[at] ?? new Map<number, number>();
      const windows = [...counts.keys()].sort((a, b) => a - b).slice(1, -1);
      const [first, last] = [windows[0], windows.at(-1)];
      if (first === undefined || last === undefined || last - first + 1 !== windows.length || windows.length < LEAST_WINDOWS) continue;
      const rows = windows.map((window) => counts.get(window) ?? 0);
      const [min, max] = [Math.min(...rows), Math.max(...rows)];
      if (min >= LEAST_ROWS) return { every, what, windows: windows.length, min, max };
    }
    return null;
  }
}
