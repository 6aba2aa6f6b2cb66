/** Who may call: the Host header against DNS rebinding, the origin against other sites' pages, and bearer tokens. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { HttpConfig } from '../config-schema.ts';
import { HttpProblem } from './problem.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who calls: the name of the token, or `local` where none are configured. */
    caller: string;
  }
}

/**
 * Routes answered without a token: what load balancers and orchestrators ask, and the page itself, which holds nothing. Routes and not
 * paths: the router reads /%61pi/status as /api/status, so a path says little about where it leads.
 */
const OPEN_ROUTES: ReadonlySet<string | undefined> = new Set(['/healthz', '/readyz', '/*']);

export function guard(app: FastifyInstance, http: Pick<HttpConfig, 'host' | 'allowedHosts' | 'tokens'>): void {
  const tokens = http.tokens.map(({ name, token }) => ({ name, digest: digestOf(token.reveal()) }));
  const hosts = new Set(['localhost', http.host.toLowerCase(), ...http.allowedHosts.map((host) => host.toLowerCase())]);
  app.decorateRequest('caller', 'local');
  app.addHook('onRequest', async (request) => {
    checkHost(request, hosts);
    if (request.method !== 'GET' && request.method !== 'HEAD') checkSite(request);
    if (tokens.length === 0 || OPEN_ROUTES.has(request.routeOptions.url)) return;
    request.caller = nameOf(request.headers.authorization, tokens);
  });
}

/** A page of another site may point its own name at our address (DNS rebinding), but can't use an address instead of a name. */
function checkHost(request: FastifyRequest, hosts: ReadonlySet<string>): void {
  const name = nameIn(request.headers.host ?? '');
  if (hosts.has(name) || isIP(name) !== 0) return;
  throw new HttpProblem(421, 'WRONG_HOST', `This is not the host ${name.slice(0, 100) || '(none)'}.`, {
    fix: 'Name it in http.allowedHosts of the config.',
  });
}

/** Browsers say where a request comes from; anything that is not our own page may not change anything. */
function checkSite(request: FastifyRequest): void {
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined && site !== 'same-origin' && site !== 'none') throw crossSite();
  const origin = request.headers.origin;
  if (origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== request.headers.host)) throw crossSite();
  // A form of another site can only send the other types; a request without a body has no type.
  const type = request.headers['content-type'];
  const hasBody = request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0;
  if ((hasBody || type !== undefined) && !/^(application\/json|multipart\/form-data)\b/i.test(type ?? '')) {
    throw new HttpProblem(415, 'UNSUPPORTED_MEDIA_TYPE', 'The body must be JSON, or multipart where a model is registered.', {
      fix: 'Send content-type: application/json.',
    });
  }
}

function nameOf(header: string | undefined, tokens: readonly { readonly name: string; readonly digest: Buffer }[]): string {
  const given = /^Bearer +(\S+)$/i.exec(header ?? '')?.[1];
  if (given !== undefined) {
    const digest = digestOf(given);
    const found = tokens.find((token) => timingSafeEqual(token.digest, digest));
    if (found !== undefined) return found.name;
  }
  throw new HttpProblem(401, 'UNAUTHENTICATED', given === undefined ? 'This call needs a token.' : 'This token is not known.', {
    fix: 'Send Authorization: Bearer and one of the tokens under http.tokens.',
  });
}

function nameIn(host: string): string {
  const bracketed = /^\[([^\]]+)\]/.exec(host)?.[1];
  return (bracketed ?? host.replace(/:\d+$/, '')).toLowerCase();
}

function crossSite(): HttpProblem {
  return new HttpProblem(403, 'CROSS_SITE', 'A page of another site may not do this.', {
    fix: 'Use the page of this service, or a client that is no browser.',
  });
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
