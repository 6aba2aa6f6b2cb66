/** Signatures of webhooks as Standard Webhooks 1.0.0 defines them (standardwebhooks.com): HMAC-SHA256 over `id.timestamp.body`. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const PREFIX = 'whsec_';

/** The three headers of a signed webhook. */
export interface WebhookHeaders {
  readonly 'webhook-id': string;
  readonly 'webhook-timestamp': string;
  readonly 'webhook-signature': string;
}

/** A new secret for one endpoint: 32 random bytes. */
export function newWebhookSecret(): string {
  return `${PREFIX}${randomBytes(32).toString('base64')}`;
}

/** The key in `whsec_<base64 of 24 to 64 bytes>`, or null where the text is no such secret. The prefix may be left out. */
export function webhookKey(secret: string): Buffer | null {
  const text = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : secret;
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  const key = Buffer.from(text, 'base64');
  return key.length >= 24 && key.length <= 64 ? key : null;
}

/**
 * Signs `body` as it goes over the wire. While a secret is rotated give both: the receiver accepts either signature.
 * `timestampS` is the time of this attempt, in Unix seconds. Throws a TypeError when a secret is malformed.
 */
export function signWebhook(id: string, timestampS: number, body: string | Uint8Array, secrets: readonly string[]): WebhookHeaders {
  const signatures = secrets.map((secret) => {
    const key = webhookKey(secret);
    if (key === null) throw new TypeError('a webhook secret is "whsec_" and the base64 of 24 to 64 bytes');
    return `v1,${mac(key, id, String(timestampS), body).toString('base64')}`;
  });
  return { 'webhook-id': id, 'webhook-timestamp': String(timestampS), 'webhook-signature': signatures.join(' ') };
}

export type WebhookVerdict = { readonly kind: 'genuine' } | { readonly kind: 'refused'; readonly why: string };

/**
 * What a receiver does with a webhook before it believes it. `body` must be the bytes as they came. A timestamp further than
 * `toleranceS` from `nowMs` is refused, so that a recorded webhook cannot be played again later; within it, the id tells repeats.
 */
export function verifyWebhook(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  body: string | Uint8Array,
  secrets: readonly string[],
  nowMs: number,
  toleranceS = 300,
): WebhookVerdict {
  const id = headers['webhook-id'];
  const timestamp = headers['webhook-timestamp'];
  const signatures = headers['webhook-signature'];
  if (typeof id !== 'string' || typeof timestamp !== 'string' || typeof signatures !== 'string')
    return refused('a webhook header is missing');
  if (!/^\d{1,15}$/.test(timestamp)) return refused('the timestamp is no number of seconds');
  if (Math.abs(nowMs / 1000 - Number(timestamp)) > toleranceS) return refused('the timestamp is too far from now');
  const given = signatures
    .split(' ')
    .filter((one) => one.startsWith('v1,'))
    .map((one) => Buffer.from(one.slice(3), 'base64'));
  for (const secret of secrets) {
    const key = webhookKey(secret);
    if (key === null) continue;
    const expected = mac(key, id, timestamp, body);
    if (given.some((one) => one.length === expected.length && timingSafeEqual(one, expected))) return { kind: 'genuine' };
  }
  return refused('no signature fits');
}

const refused = (why: string): WebhookVerdict => ({ kind: 'refused', why });

function mac(key: Buffer, id: string, timestamp: string, body: string | Uint8Array): Buffer {
  return createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
}
