/** Alerts on their way: where they wait until an endpoint has taken them. */

/** One alert for one endpoint. */
export interface OutboxItem {
  /** The `webhook-id`: the same at every attempt, so that the receiver can tell repeats. Unique together with `endpoint`. */
  readonly id: string;
  /** The endpoint's name in the config. */
  readonly endpoint: string;
  readonly type: string;
  /** The body, byte for byte the same at every attempt. */
  readonly body: string;
  readonly createdAtMs: number;
  /** Attempts made so far. */
  readonly attempts: number;
  readonly nextAttemptAtMs: number;
}

/** `given-up`: the schedule is exhausted, or the endpoint said 410, or the policy forbids its url. */
export type Delivery =
  | { readonly kind: 'delivered'; readonly atMs: number; readonly status: number }
  | { readonly kind: 'retry'; readonly atMs: number; readonly nextAttemptAtMs: number; readonly why: string }
  | { readonly kind: 'given-up'; readonly atMs: number; readonly why: string };

/**
 * Keeps alerts until they are settled. An implementation that is durable (SQLite) makes delivery at least once: an alert added before a
 * crash is sent after it, under the same id. Used by one process at a time.
 */
export interface AlertOutbox {
  /** Durable when it resolves. Items already known by id and endpoint are left alone. */
  add(items: readonly OutboxItem[]): Promise<void>;
  /** The endpoint's unsettled items with `nextAttemptAtMs <= nowMs`, oldest first; at most `limit`. */
  due(endpoint: string, nowMs: number, limit: number): Promise<readonly OutboxItem[]>;
  /** The endpoint's earliest `nextAttemptAtMs` of an unsettled item, or null where there is none. */
  nextAttemptAtMs(endpoint: string): Promise<number | null>;
  /** Records what an attempt came to; `retry` adds one to `attempts`. Delivered and given-up items are settled: they are not due again. */
  settle(item: OutboxItem, delivery: Delivery): Promise<void>;
}

/** For tests, and for a service without a state file: what waits is lost with the process. Beyond `limit` the oldest goes. */
export function memoryOutbox(limit = 1_000): AlertOutbox {
  const waiting = new Map<string, OutboxItem>();
  const idOf = (item: OutboxItem) => `${item.endpoint}\n${item.id}`;
  const of = (endpoint: string) => [...waiting.values()].filter((item) => item.endpoint === endpoint);
  return {
    add: async (items) => {
      for (const item of items) if (!waiting.has(idOf(item))) waiting.set(idOf(item), item);
      for (const id of waiting.keys()) {
        if (waiting.size <= limit) break;
        waiting.delete(id);
      }
    },
    due: async (endpoint, nowMs, limitOfPage) =>
      of(endpoint)
        .filter((item) => item.nextAttemptAtMs <= nowMs)
        .sort((a, b) => a.createdAtMs - b.createdAtMs)
        .slice(0, limitOfPage),
    nextAttemptAtMs: async (endpoint) =>
      of(endpoint).reduce<number | null>((min, item) => Math.min(min ?? Infinity, item.nextAttemptAtMs), null),
    settle: async (item, delivery) => {
      if (delivery.kind === 'retry')
        waiting.set(idOf(item), { ...item, attempts: item.attempts + 1, nextAttemptAtMs: delivery.nextAttemptAtMs });
      else waiting.delete(idOf(item));
    },
  };
}
