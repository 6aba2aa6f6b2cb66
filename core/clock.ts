/** Time, sleep and randomness: the only doors to them, so that tests own them. */

export interface Clock {
  /** Unix time in ms. */
  now(): number;
  /** Milliseconds since some fixed moment, never going back: for durations. */
  monotonic(): number;
  /** Resolves after `ms`, or at once when `signal` aborts (it does not throw). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** In [0, 1). */
  random(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) return resolve();
      const timer = setTimeout(wake, ms);
      function wake(): void {
        clearTimeout(timer);
        signal?.removeEventListener('abort', wake);
        resolve();
      }
      signal?.addEventListener('abort', wake, { once: true });
    }),
};

/** Exponential backoff with full jitter: attempt 1, 2, 3 … gives up to base, 2·base, 4·base … never more than `maxMs`, never less than a quarter of it. */
export function backoffMs(attempt: number, clock: Pick<Clock, 'random'>, baseMs = 200, maxMs = 30_000): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(20, attempt - 1));
  return ceiling * (0.25 + 0.75 * clock.random());
}
