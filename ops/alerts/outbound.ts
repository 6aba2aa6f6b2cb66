/** HTTP requests to addresses that people configured, which must not become a way into the service's own network (SSRF). */
import { lookup as systemLookup } from 'node:dns';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { BlockList, isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** Resolves a name to all its addresses. */
export type Resolve = (host: string) => Promise<readonly { readonly address: string; readonly family: number }[]>;

export interface OutboundPolicy {
  /** Networks in CIDR notation ("10.0.0.0/8", "127.0.0.1/32") that may be reached although they are private, over http and on any port. */
  readonly allowNetworks: readonly string[];
  /** For tests. The default asks the system's resolver. */
  readonly resolve?: Resolve;
  /** PEM certificates trusted beside the usual ones. */
  readonly ca?: string;
}

export interface OutboundRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** From the first byte sent to the last one read. */
  readonly timeoutMs: number;
}

export interface OutboundAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** The request was never sent, because the policy forbids where it would go. Trying again changes nothing. */
export class OutboundRefused extends Error {
  override readonly name = 'OutboundRefused';
}

/** Everything that is not the public internet: RFC 6890 and its successors, and the ways to write an IPv4 address as IPv6. */
const PRIVATE = `
  0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16
  198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
  ::/128 ::1/128 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8
`;
const PORTS = new Set(['', '443', '8443']);
/** What is read of an answer, so that an endless one cannot fill the memory; nothing of it is kept. */
const ANSWER_BYTES_MAX = 16 * 1024;

const privateNetworks = networks(PRIVATE.trim().split(/\s+/));

/** A list of networks in CIDR notation. Throws a TypeError that names the one that is malformed. */
export function networks(list: readonly string[]): BlockList {
  const blocked = new BlockList();
  for (const one of list) {
    const [address = '', bits] = one.split('/');
    const family = isIP(address);
    const prefix = bits === undefined ? (family === 6 ? 128 : 32) : Number(bits);
    if (family === 0 || !Number.isInteger(prefix) || prefix < 0 || prefix > (family === 6 ? 128 : 32)) {
      throw new TypeError(`"${one}" is no network: write one as 10.1.0.0/16`);
    }
    blocked.addSubnet(address, prefix, family === 6 ? 'ipv6' : 'ipv4');
  }
  return blocked;
}

/** Why the policy forbids this url as it is written, or null. An address behind a name is judged when the request is sent. */
export function refusedUrl(text: string, policy: OutboundPolicy): string | null {
  if (!URL.canParse(text)) return 'it is no url';
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'only https and http are spoken';
  if (url.username !== '' || url.password !== '') return 'user and password do not belong into the url';
  const host = bare(url.hostname);
  if (isIP(host) !== 0) return refusedAddress(host, url, networks(policy.allowNetworks));
  // A name may stand for an allowed network: that is known only when it is resolved.
  if (policy.allowNetworks.length > 0) return null;
  return url.protocol === 'http:' ? 'https is needed' : PORTS.has(url.port) ? null : `port ${url.port} is not one of 443 and 8443`;
}

/**
 * Sends a POST. Resolves with whatever status comes back (redirects are not followed), rejects when none does.
 * The name is resolved once, its addresses are judged, and only those are connected to, so that a name that changes between the look and
 * the connection gains nothing; the address of the open connection is judged again before anything is written.
 */
export async function postGuarded(policy: OutboundPolicy, request: OutboundRequest, signal?: AbortSignal): Promise<OutboundAnswer> {
  const refused = refusedUrl(request.url, policy);
  if (refused !== null) throw new OutboundRefused(`the webhook's url is refused: ${refused}`);
  const url = new URL(request.url);
  const allowed = networks(policy.allowNetworks);
  const host = bare(url.hostname);
  // A custom `lookup` is not called for an address, so those are resolved to themselves.
  const found = isIP(host) !== 0 ? [{ address: host, family: isIP(host) }] : await (policy.resolve ?? resolveAll)(host);
  const reasons = found.map(({ address }) => refusedAddress(address, url, allowed));
  const open = found.filter((_, i) => reasons[i] === null);
  if (open.length === 0) throw new OutboundRefused(`the webhook's host is refused: ${reasons[0] ?? 'it has no address'}`);

  const timeout = AbortSignal.timeout(request.timeoutMs);
  const stop = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const sent = send(url, {
      method: 'POST',
      agent: false, // A socket of its own: a kept one would be used without a look at its address.
      headers: { ...request.headers, 'content-length': String(Buffer.byteLength(request.body)) },
      lookup: (_host, options, answer) => {
        const [first] = open;
        if (options.all === true) answer(null, [...open]);
        else answer(null, first?.address ?? '', first?.family);
      },
      signal: stop,
      ...(policy.ca === undefined ? {} : { ca: policy.ca }),
    });
    sent.once('error', (error) =>
      reject(timeout.aborted ? new Error(`no answer within ${request.timeoutMs} ms`, { cause: error }) : error),
    );
    sent.once('response', (answer) => {
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > ANSWER_BYTES_MAX) answer.destroy();
      });
      answer.once('error', () => {}); // The status is known by now; the rest of a broken answer does not matter.
      answer.once('close', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers }));
    });
    sent.once('socket', (socket) => {
      socket.once((socket as TLSSocket).encrypted ? 'secureConnect' : 'connect', () => {
        const reason = refusedAddress(socket.remoteAddress ?? '', url, allowed);
        if (reason === null) sent.end(request.body);
        else sent.destroy(new OutboundRefused(`the webhook's host is refused: ${reason}`));
      });
    });
  });
}

function refusedAddress(address: string, url: URL, allowed: BlockList): string | null {
  const family = isIP(address);
  if (family === 0) return 'its address is unknown';
  const kind = family === 6 ? 'ipv6' : 'ipv4';
  if (allowed.check(address, kind)) return null;
  if (privateNetworks.check(address, kind)) return 'its address is not public, and no network in `allowNetworks` holds it';
  if (url.protocol === 'http:') return 'https is needed';
  return PORTS.has(url.port) ? null : `port ${url.port} is not one of 443 and 8443`;
}

const bare = (hostname: string) => (hostname.startsWith('[') ? hostname.slice(1, -1) : hostname);

function resolveAll(host: string): Promise<{ address: string; family: number }[]> {
  return new Promise((resolve, reject) => {
    systemLookup(host, { all: true }, (error, addresses) => (error === null ? resolve(addresses) : reject(error)));
  });
}
