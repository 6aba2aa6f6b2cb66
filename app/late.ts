/** Work that somebody does not wait for without end. */
import type { Clock } from '../core/clock.ts';

/** Does some work, and calls `onLate` once it takes longer than `ms`. The work goes on until it ends by itself: `onLate` sees to that. */
export async function whenLate<T>(clock: Clock, ms: number, onLate: () => void, work: () => Promise<T>): Promise<T> {
  const done = new AbortController();
  const patience = clock.sleep(ms, done.signal).then(() => {
    if (!done.signal.aborted) onLate();
  });
  try {
    return await work();
  } finally {
    done.abort();
    await patience;
  }
}
