/** Names, literals and addresses of PostgreSQL as text. */

/** An identifier, always quoted: "Order", "a""b". */
export function quoteIdent(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** `schema.table`, both quoted. */
export function quoteQualified(schema: string, name: string): string {
  return `${quoteIdent(schema)}.${quoteIdent(name)}`;
}

/** A string literal, safe whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const quoted = text.replaceAll("'", "''");
  return quoted.includes('\\') ? ` E'${quoted.replaceAll('\\', '\\\\')}'` : `'${quoted}'`;
}

export type SslMode = 'disable' | 'prefer' | 'require' | 'verify-ca' | 'verify-full';
export type ChannelBinding = 'disable' | 'prefer' | 'require';

export interface PgAddress {
  /** A name, an IP address, or the folder of a Unix socket: what begins with a slash. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly sslmode: SslMode;
  /** PEM file of the authority to trust; null for those that everybody trusts. */
  readonly sslrootcert: string | null;
  /** What we show a server that asks for a certificate: PEM files, and what the key is encrypted with. */
  readonly sslcert: string | null;
  readonly sslkey: string | null;
  readonly sslpassword: string | null;
  /** Whether a password is given only to whom the certificate is of. */
  readonly channelBinding: ChannelBinding;
}

/** What is read of a url behind its `?`. */
const PARAMETERS = [
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'sslpassword',
  'channel_binding',
  'target_session_attrs',
  'host',
  'port',
];
/** What other clients read there, and what makes no difference here. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  'application_name',
  'fallback_application_name',
  'client_encoding',
  'connect_timeout',
  'gssencmode',
  'keepalives',
  'keepalives_count',
  'keepalives_idle',
  'keepalives_interval',
  'krbsrvname',
  'sslcompression',
  'sslsni',
  'tcp_user_timeout',
]);

/** Servers to be tried in turn. */
export interface PgServers {
  readonly addresses: readonly PgAddress[];
  /** Whether a standby will do. */
  readonly session: 'any' | 'primary';
}

/**
 * Reads a url of one host or several: `postgres://user:password@host1:port,host2:port/database?target_session_attrs=…`. Of several the first that
 * is no standby is meant, unless the url says `any`. Throws as `parsePgUrl` does.
 */
export function parsePgServers(url: string): PgServers {
  const urls = splitHosts(url);
  const addresses = urls.map(parsePgUrl);
  const attrs = new URL(urls[0] ?? url).searchParams.get('target_session_attrs');
  const known: Record<string, PgServers['session']> = { any: 'any', primary: 'primary', 'read-write': 'primary' };
  const session = attrs === null ? (addresses.length > 1 ? 'primary' : 'any') : known[attrs];
  if (session === undefined)
    throw new TypeError(`target_session_attrs must be one of ${Object.keys(known).join(', ')}, not ${attrs ?? ''}`);
  return { addresses, session };
}

/** A url of several hosts as one url for each. */
export function splitHosts(url: string): string[] {
  const [, before = '', hosts = '', after = ''] = /^([a-z]+:\/\/(?:[^/?#]*@)?)([^/?#]*)(.*)$/s.exec(url) ?? [];
  return hosts.includes(',') ? hosts.split(',').map((host) => `${before}${host}${after}`) : [url];
}

/**
 * Reads `postgres://user:password@host:port/database?sslmode=…`. As for libpq, a host that is a path is the folder of the server's Unix socket, written
 * `%2Fvar%2Frun%2Fpostgresql` or, with no other host, `?host=/var/run/postgresql`; there is no TLS on it, whatever `sslmode` says. What another client would heed and we do not is refused. Throws a TypeError that
 * never repeats the url, since it holds a password.
 */
export function parsePgUrl(url: string): PgAddress {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new TypeError('the url of a Postgres server must look like postgres://user:password@host:port/database');
  }
  if (parsed.protocol !== 'postgres:' && parsed.protocol !== 'postgresql:')
    throw new TypeError(`a Postgres url begins with postgres://, not ${parsed.protocol}//`);
  const unknown = [...parsed.searchParams.keys()].find((name) => !PARAMETERS.includes(name) && !WITHOUT_EFFECT.has(name));
  if (unknown !== undefined) {
    // What is no name may be part of a password with a ? in it.
    const named = /^[a-z_]+$/.test(unknown) ? unknown : 'such parameter';
    const known = PARAMETERS.join(', ');
    throw new TypeError(`the url of a Postgres server has no ${named} here, but ${known}; settings of a session are those of its role`);
  }
  const decoded = (text: string): string => {
    try {
      return decodeURIComponent(text);
    } catch {
      throw new TypeError('a % in the url of a Postgres server, in its password too, is written as %25');
    }
  };
  const user = decoded(parsed.username) || 'postgres';
  const host = hostOf(parsed, decoded);
  return {
    host,
    port: parsed.port === '' ? Number(parsed.searchParams.get('port') ?? 5432) : Number(parsed.port),
    user,
    password: decoded(parsed.password),
    database: decoded(parsed.pathname.slice(1)) || user,
    ...tlsOf(parsed.searchParams, host),
  };
}

/** As libpq has it: who names an authority has it asked for, and `system` are those that everybody trusts. */
function tlsOf(
  parameters: URLSearchParams,
  host: string,
): Pick<PgAddress, 'sslmode' | 'sslrootcert' | 'sslcert' | 'sslkey' | 'sslpassword' | 'channelBinding'> {
  const [rootcert, sslcert, sslkey] = ['sslrootcert', 'sslcert', 'sslkey'].map((name) => parameters.get(name));
  const isSystem = rootcert === 'system';
  const modes: Record<string, SslMode> = {
    disable: 'disable',
    allow: 'prefer',
    prefer: 'prefer',
    require: typeof rootcert === 'string' ? 'verify-ca' : 'require',
    'verify-ca': 'verify-ca',
    'verify-full': 'verify-full',
  };
  const sslmode = oneOf('sslmode', modes, parameters.get('sslmode') ?? (isSystem ? 'verify-full' : 'prefer'));
  if (isSystem && sslmode !== 'verify-full') throw new TypeError('sslrootcert=system takes sslmode=verify-full');
  if ((typeof sslcert === 'string') !== (typeof sslkey === 'string')) throw new TypeError('sslcert and sslkey are named together');
  const bindings: Record<string, ChannelBinding> = { disable: 'disable', prefer: 'prefer', require: 'require' };
  return {
    sslmode: isSocketFolder(host) ? 'disable' : sslmode,
    sslrootcert: isSystem ? null : (rootcert ?? null),
    sslcert: sslcert ?? null,
    sslkey: sslkey ?? null,
    sslpassword: parameters.get('sslpassword'),
    channelBinding: oneOf('channel_binding', bindings, parameters.get('channel_binding') ?? 'prefer'),
  };
}

function oneOf<T>(name: string, known: Readonly<Record<string, T>>, given: string): T {
  const found = Object.hasOwn(known, given) ? known[given] : undefined;
  if (found === undefined) throw new TypeError(`${name} must be one of ${Object.keys(known).join(', ')}, not ${given}`);
  return found;
}

/** Whether a host is where a server's Unix socket lies. */
export const isSocketFolder = (host: string): boolean => host.startsWith('/');

function hostOf(url: URL, decoded: (text: string) => string): string {
  const host = decoded(url.hostname.replace(/^\[(.*)\]$/, '$1'));
  return host === '' ? (url.searchParams.get('host') ?? '127.0.0.1') : host;
}

/** Whether each server of a url is one of PostgreSQL's. */
export function isPostgresUrl(url: string): boolean {
  return splitHosts(url).every((one) => {
    if (!URL.canParse(one)) return false;
    const { protocol, hostname, searchParams } = new URL(one);
    return /^postgres(ql)?:$/.test(protocol) && (hostname !== '' || isSocketFolder(searchParams.get('host') ?? ''));
  });
}

/** A text[] as a parameter. */
export const arrayLiteral = (texts: readonly (string | null)[]): string =>
  `{${texts.map((text) => (text === null ? 'NULL' : `"${text.replaceAll(/["\\]/g, '\\$&')}"`)).join(',')}}`;
