/** Sends alerts to webhooks as Standard Webhooks 1.0.0 describes: signed, at least once, under one id, with retries. */
import { randomUUID } from 'node:crypto';
import { type Clock, systemClock } from '../../core/clock.ts';
import type { Problem } from '../../core/problems.ts';
import { type AlertData, type AlertType, idlePatterns, takes } from './events.ts';
import { networks, OutboundRefused, type OutboundPolicy, postGuarded, refusedUrl } from './outbound.ts';
import type { AlertOutbox, Delivery, OutboxItem } from './outbox.ts';
import { signWebhook, webhookKey } from './signature.ts';

export interface WebhookEndpoint {
  /** Its name in the config. */
  readonly name: string;
  readonly url: string;
  /** `whsec_…`, the one in use first. Two while a secret is rotated: each webhook is signed with both. */
  readonly secrets: readonly [string, ...string[]];
  /** Patterns of alert types: `breaker.*`, `quarantine.rate`, `*`. */
  readonly events: readonly string[];
  /** Networks that may be reached although they are private; see `OutboundPolicy`. */
  readonly allowNetworks: readonly string[];
}

export interface WebhookOptions {
  readonly endpoints: readonly WebhookEndpoint[];
  readonly outbox: AlertOutbox;
  readonly clock?: Clock;
  /** For tests, and for a CA of one's own. */
  readonly outbound?: Omit<OutboundPolicy, 'allowNetworks'>;
  /** Seconds after a failed attempt until the next one. */
  readonly retryAfterS?: readonly number[];
  /** Of one attempt. */
  readonly timeoutMs?: number;
  /** Told of every attempt, for logs and metrics. The url is not in it, for some carry secrets. */
  readonly onAttempt?: (endpoint: string, item: OutboxItem, delivery: Delivery) => void;
}

/** How an endpoint is doing, for the page and `/readyz`. */
export interface EndpointStatus {
  readonly name: string;
  readonly delivered: number;
  readonly failures: number;
  readonly givenUp: number;
  readonly lastDeliveredAtMs: number | null;
  readonly lastFailure: { readonly atMs: number; readonly why: string } | null;
  /** It answered 410: nothing is sent any more until the service starts again. */
  readonly gone: boolean;
}

/**
 * After a failure: 5 s, 30 s, 2 min, 5 min, 30 min, 2 h, 5 h, 10 h. The schedule that the specification suggests waits five minutes before
 * its third attempt, which is long for news of a halted pipeline.
 */
export const RETRY_AFTER_S = [5, 30, 120, 300, 1_800, 7_200, 18_000, 36_000] as const;
const TIMEOUT_MS = 15_000;
/** The specification asks for bodies below 20 kB. */
const BODY_BYTES_MAX = 20_000;
const PAGE = 20;
const OUTBOX_AWAY_MS = 1000;

export interface AlertSender {
  /** Puts an alert into the outbox for every endpoint that takes its type. Resolves when it is there, not when it is delivered. */
  emit<T extends AlertType>(type: T, data: AlertData[T]): Promise<void>;
  /** Delivers until `signal` aborts. One request at a time an endpoint, so that they come in order unless one has to be repeated. */
  run(signal: AbortSignal): Promise<void>;
  status(): readonly EndpointStatus[];
}

export function webhookSender(options: WebhookOptions): AlertSender {
  const clock = options.clock ?? systemClock;
  const { outbox } = options;
  const lines = options.endpoints.map((endpoint) => new EndpointLine(endpoint, options));
  return {
    emit: async (type, data) => {
      const atMs = clock.now();
      const id = `msg_${randomUUID().replaceAll('-', '')}`;
      const body = bodyOf(type, data, atMs);
      const takers = lines.filter(({ endpoint }) => endpoint.events.some((pattern) => takes(pattern, type)));
      const items = takers.map(({ endpoint }) => ({
        id,
        endpoint: endpoint.name,
        type,
        body,
        createdAtMs: atMs,
        attempts: 0,
        nextAttemptAtMs: atMs,
      }));
      if (items.length === 0) return;
      await outbox.add(items);
      for (const line of takers) line.wake();
    },
    run: async (signal) => {
      await Promise.all(lines.map((line) => line.run(signal)));
    },
    status: () => lines.map((line) => line.status()),
  };
}

/** What is wrong with the endpoints of a config, without sending anything. `path` is where they stand: `alerts`. */
export function checkEndpoints(endpoints: readonly WebhookEndpoint[], path: string): Problem[] {
  return endpoints.flatMap((endpoint) => {
    const problems: Problem[] = [];
    const at = (field: string, message: string, fix: string, severity: Problem['severity'] = 'error') =>
      problems.push({ severity, path: `${path}.${endpoint.name}.${field}`, message, fix });
    try {
      networks(endpoint.allowNetworks);
      const refused = refusedUrl(endpoint.url, endpoint);
      if (refused !== null) at('url', `The url is refused: ${refused}.`, 'Use a public https url, or name its network in `allowNetworks`.');
    } catch (error) {
      at(
        'allowNetworks',
        `${error instanceof Error ? error.message : 'malformed'}.`,
        'Write networks in CIDR notation, as 10.1.0.0/16 or 127.0.0.1/32.',
      );
    }
    if (endpoint.secrets.some((secret) => webhookKey(secret) === null)) {
      at(
        'secret',
        'The secret is not "whsec_" and the base64 of 24 to 64 bytes.',
        "Make one with `node -e \"console.log('whsec_' + crypto.randomBytes(32).toString('base64'))\"`.",
      );
    }
    const idle = idlePatterns(endpoint.events);
    if (idle.length > 0)
      at('events', `No alert is ever called ${idle.join(', ')}.`, 'Use names such as breaker.*, lane.halted or score.alert.', 'warning');
    return problems;
  });
}

/** One endpoint's deliveries, one after the other. */
class EndpointLine {
  readonly endpoint: WebhookEndpoint;
  readonly #options: WebhookOptions;
  readonly #clock: Clock;
  #delivered = 0;
  #failures = 0;
  #givenUp = 0;
  #lastDeliveredAtMs: number | null = null;
  #lastFailure: { readonly atMs: number; readonly why: string } | null = null;
  #gone = false;
  #sleeping = new AbortController();
  #woken = false;

  constructor(endpoint: WebhookEndpoint, options: WebhookOptions) {
    this.endpoint = endpoint;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  wake(): void {
    this.#woken = true;
    this.#sleeping.abort();
  }

  status(): EndpointStatus {
    return {
      name: this.endpoint.name,
      delivered: this.#delivered,
      failures: this.#failures,
      givenUp: this.#givenUp,
      lastDeliveredAtMs: this.#lastDeliveredAtMs,
      lastFailure: this.#lastFailure,
      gone: this.#gone,
    };
  }

  async run(signal: AbortSignal): Promise<void> {
    const stop = () => this.#sleeping.abort();
    signal.addEventListener('abort', stop, { once: true });
    try {
      while (!signal.aborted) {
        try {
          await this.#sendDue(signal);
        } catch (error) {
          // The outbox is away: what waits there is sent when it is back.
          this.#lastFailure = { atMs: this.#clock.now(), why: `the outbox cannot be asked (${reasonOf(error)})` };
          await this.#clock.sleep(OUTBOX_AWAY_MS, signal);
        }
      }
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  async #sendDue(signal: AbortSignal): Promise<void> {
    this.#woken = false;
    const due = await this.#options.outbox.due(this.endpoint.name, this.#clock.now(), PAGE);
    for (const item of due) {
      if (signal.aborted) return;
      const delivery = await this.#attempt(item, signal);
      if (signal.aborted && delivery.kind !== 'delivered') return; // Cut off by the stop: it is sent again next time.
      await this.#settle(item, delivery);
    }
    if (due.length === 0) await this.#pause(signal);
  }

  /** Sleeps until the next attempt is due or an alert comes in. */
  async #pause(signal: AbortSignal): Promise<void> {
    const next = await this.#options.outbox.nextAttemptAtMs(this.endpoint.name);
    this.#sleeping = new AbortController();
    if (this.#woken || signal.aborted) return;
    const ms = next === null ? 60_000 : Math.max(1, Math.min(60_000, next - this.#clock.now()));
    await this.#clock.sleep(ms, this.#sleeping.signal);
  }

  async #attempt(item: OutboxItem, signal: AbortSignal): Promise<Delivery> {
    const { endpoint } = this;
    const startedAtMs = this.#clock.now();
    if (this.#gone) return { kind: 'given-up', atMs: startedAtMs, why: 'the endpoint is gone (410)' };
    const policy = { ...this.#options.outbound, allowNetworks: endpoint.allowNetworks };
    try {
      const { status, headers } = await postGuarded(
        policy,
        {
          url: endpoint.url,
          body: item.body,
          timeoutMs: this.#options.timeoutMs ?? TIMEOUT_MS,
          headers: {
            'content-type': 'application/json',
            'user-agent': 'tidegate',
            ...signWebhook(item.id, Math.floor(startedAtMs / 1000), item.body, endpoint.secrets),
          },
        },
        signal,
      );
      const atMs = this.#clock.now();
      if (status >= 200 && status < 300) return { kind: 'delivered', atMs, status };
      if (status === 410) {
        this.#gone = true;
        return { kind: 'given-up', atMs, why: 'the endpoint is gone (410)' };
      }
      return this.#again(item, `the endpoint answered ${status}`, retryAfterMs(headers['retry-after'], atMs));
    } catch (error) {
      if (error instanceof OutboundRefused) return { kind: 'given-up', atMs: this.#clock.now(), why: error.message };
      return this.#again(item, `no answer from the endpoint (${reasonOf(error)})`, 0);
    }
  }

  /** The next attempt by the schedule, up to a fifth later so that many do not come at once, and not before `leastMs` from now. */
  #again(item: OutboxItem, why: string, leastMs: number): Delivery {
    const atMs = this.#clock.now();
    const pauseS = (this.#options.retryAfterS ?? RETRY_AFTER_S)[item.attempts];
    if (pauseS === undefined) return { kind: 'given-up', atMs, why: `${why}, at the last of ${item.attempts + 1} attempts` };
    const pauseMs = Math.max(leastMs, pauseS * 1000 * (1 + 0.2 * this.#clock.random()));
    return { kind: 'retry', atMs, nextAttemptAtMs: atMs + Math.round(pauseMs), why };
  }

  async #settle(item: OutboxItem, delivery: Delivery): Promise<void> {
    switch (delivery.kind) {
      case 'delivered':
        this.#delivered++;
        this.#lastDeliveredAtMs = delivery.atMs;
        break;
      case 'retry':
        this.#failures++;
        this.#lastFailure = { atMs: delivery.atMs, why: delivery.why };
        break;
      case 'given-up':
        this.#givenUp++;
        this.#lastFailure = { atMs: delivery.atMs, why: delivery.why };
        break;
    }
    await this.#options.outbox.settle(item, delivery);
    this.#options.onAttempt?.(this.endpoint.name, item, delivery);
  }
}

function bodyOf(type: string, data: unknown, atMs: number): string {
  const timestamp = new Date(atMs).toISOString();
  const body = JSON.stringify({ type, timestamp, data });
  if (Buffer.byteLength(body) <= BODY_BYTES_MAX) return body;
  return JSON.stringify({
    type,
    timestamp,
    data: { truncated: true, message: 'This alert is too large for a webhook: look at the page.' },
  });
}

/** Milliseconds that a Retry-After header asks for (seconds or a date), at most a day; 0 where it says nothing. */
function retryAfterMs(header: string | undefined, nowMs: number): number {
  if (header === undefined) return 0;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  return Number.isFinite(ms) ? Math.max(0, Math.min(ms, 86_400_000)) : 0;
}

function reasonOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return error instanceof Error ? error.name : 'unknown';
}
