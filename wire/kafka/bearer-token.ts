/** Tokens for OAUTHBEARER: out of a file that somebody else keeps fresh, or asked for at an authorization server (the client credentials grant of OAuth 2). */
import { readFile } from 'node:fs/promises';
import { type Clock, systemClock } from '../../core/clock.ts';

/** There is no token: nobody gives us one, or who gives them cannot be reached. Whose failure that is says the side of the client that asks. */
export class NoToken extends Error {
  override readonly name = 'NoToken';
  readonly isRefused: boolean;

  constructor(isRefused: boolean, doing: string, options?: ErrorOptions) {
    super(doing, options);
    this.isRefused = isRefused;
  }
}

/** Gives a token that is good for now. Throws NoToken. */
export type BearerToken = () => Promise<string>;

export interface ClientCredentials {
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly scope: string | null;
}

const TIMEOUT_MS = 10_000;
/** Asked for anew so long before it is too old; and at the latest when half of a shorter time is over. */
const MARGIN_MS = 60_000;

/** Read whenever a token is asked for, since whoever keeps it fresh writes the file anew. */
export function tokenFromFile(file: string): BearerToken {
  return async () => {
    const token = await readFile(file, 'utf8').catch((error: unknown) => {
      throw new NoToken(true, `reading the token for the brokers from ${file}`, { cause: error });
    });
    if (token.trim() === '') throw new NoToken(true, `the file ${file}, which should have a token for the brokers, is empty`);
    return token.trim();
  };
}

/** Kept until it is nearly too old: each broker asks for it. */
export function tokenFromServer(credentials: ClientCredentials, clock: Clock = systemClock): BearerToken {
  let asked: Promise<string> | null = null;
  let goodUntilMs = 0;
  const ask = async (): Promise<string> => {
    const { token, lifeMs } = await request(credentials);
    goodUntilMs = clock.monotonic() + Math.max(lifeMs - MARGIN_MS, lifeMs / 2);
    return token;
  };
  return () => {
    if (asked !== null && clock.monotonic() < goodUntilMs) return asked;
    goodUntilMs = Infinity; // Those who ask meanwhile get the same.
    const mine = ask();
    asked = mine;
    mine.catch(() => {
      if (asked === mine) asked = null;
    });
    return mine;
  };
}

async function request({ tokenUrl, clientId, clientSecret, scope }: ClientCredentials): Promise<{ token: string; lifeMs: number }> {
  const doing = `asking ${new URL(tokenUrl).host} for a token`;
  // RFC 6749, 2.3.1: both are encoded as in a form before they become user and password.
  const encoded = [clientId, clientSecret].map((one) => encodeURIComponent(one)).join(':');
  const response = await fetch(tokenUrl, {
    method: 'POST',
    headers: { accept: 'application/json', authorization: `Basic ${Buffer.from(encoded).toString('base64')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', ...(scope === null ? {} : { scope }) }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  }).catch((error: unknown) => {
    throw new NoToken(false, doing, { cause: error });
  });
  const answer: unknown = await response.json().catch(() => null);
  const { access_token: token, expires_in: seconds = 300, error } = (answer ?? {}) as Record<string, unknown>; // Looked at below.
  if (response.status >= 500) throw new NoToken(false, `${doing}: it answered ${response.status}`);
  if (!response.ok || typeof token !== 'string') {
    const reason = typeof error === 'string' ? ` (${error})` : '';
    throw new NoToken(true, `${doing}: it answered ${response.status}${reason}`);
  }
  return { token, lifeMs: Math.max(1, Number(seconds) || 0) * 1000 };
}
