/** Opens the socket that a connection lives on: the server's Unix socket, or TCP, then TLS as `sslmode` wants it. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { PgConnectionError } from './errors.ts';
import { isSocketFolder, type PgAddress } from './ident.ts';
import { Slab, type TakeBytes } from './slab.ts';

const SSL_REQUEST = 80_877_103;

/** For messages: never with user or password. */
export const where = (address: PgAddress): string =>
  `the Postgres server at ${isSocketFolder(address.host) ? unixSocket(address) : `${address.host}:${address.port}`}`;

/** As the server names it. */
const unixSocket = ({ host, port }: PgAddress): string => `${host.replace(/\/$/, '')}/.s.PGSQL.${port}`;

/** A socket, and what is read from it. */
export interface OpenSocket {
  readonly socket: Socket;
  /** Of the server's certificate, as SCRAM binds a login to it (tls-server-end-point, RFC 5929); null without TLS, and where its signature has no hash that we know. */
  readonly binding: Buffer | null;
  /** Nothing is read before somebody takes it. */
  takeBytes(this: void, take: TakeBytes): void;
}

/** Throws PgConnectionError (a TypeError for a file that the url names and that cannot be read); where `signal` aborts first, its reason. A server that takes the connection and then says nothing is left so too. */
export async function openSocket(address: PgAddress, signal: AbortSignal): Promise<OpenSocket> {
  const files = readFiles(address);
  const slab = new Slab();
  const plain = await dial(address, slab, signal);
  const opened: OpenSocket = { socket: plain, binding: null, takeBytes: (take) => slab.take(take) };
  if (address.sslmode === 'disable') return opened;
  const offered = await asksForTls(opened, address, signal);
  if (offered) {
    const socket = await secured(plain, address, files, signal);
    // What a socket with TLS decrypts comes in memory of its own, and only once somebody listens.
    const takeBytes = (take: TakeBytes): void => {
      slab.take(take);
      socket.on('data', (chunk: Buffer) => slab.push(chunk));
    };
    return { socket, binding: bindingOf(socket), takeBytes };
  }
  if (address.sslmode === 'prefer') return opened;
  plain.destroy();
  throw new PgConnectionError(`${where(address)} does not offer TLS, and sslmode=${address.sslmode} wants it`);
}

/** Runs `work` with a signal that aborts, always for a PgConnectionError, after `timeoutMs` or with `signal`. */
export async function withDeadline<T>(
  address: PgAddress,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  work: (ending: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const timer = setTimeout(
    () => controller.abort(new PgConnectionError(`${where(address)} did not answer within ${timeoutMs} ms`)),
    timeoutMs,
  );
  const abort = (): void => controller.abort(new PgConnectionError('the connection was given up'));
  signal?.addEventListener('abort', abort, { once: true });
  try {
    if (signal?.aborted === true) abort();
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

function dial(address: PgAddress, slab: Slab, signal: AbortSignal): Promise<Socket> {
  const { host, port } = address;
  const socket = connect(isSocketFolder(host) ? { path: unixSocket(address), onread: slab } : { host, port, onread: slab });
  socket.setNoDelay(true);
  return settled(socket, signal, `${where(address)} cannot be reached`, (done) => socket.once('connect', () => done(socket)));
}

/** One byte, S or N: the server may send nothing more before our next message. */
function asksForTls({ socket, takeBytes }: OpenSocket, address: PgAddress, signal: AbortSignal): Promise<boolean> {
  const request = Buffer.alloc(8);
  request.writeInt32BE(8, 0);
  request.writeInt32BE(SSL_REQUEST, 4);
  return settled(socket, signal, `${where(address)} closed the connection`, (done, fail) => {
    takeBytes((bytes) => {
      // What comes in the clear behind the answer must never pass for what came by TLS: nothing of it is kept.
      if (bytes.length === 1 && (bytes[0] === 0x53 || bytes[0] === 0x4e)) done(bytes[0] === 0x53);
      else fail(new PgConnectionError(`${where(address)} does not speak the protocol of Postgres`));
      return bytes.length;
    });
    socket.write(request);
  });
}

type TlsFiles = Pick<ConnectionOptions, 'ca' | 'cert' | 'key'>;

/** For each connection anew: certificates are replaced while we run. */
function readFiles({ sslmode, sslrootcert, sslcert, sslkey }: PgAddress): TlsFiles {
  if (sslmode === 'disable') return {};
  const read = (parameter: string, file: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (error) {
      throw new TypeError(`the file that ${parameter} names cannot be read: ${file}`, { cause: error });
    }
  };
  return {
    ...(sslrootcert === null ? {} : { ca: read('sslrootcert', sslrootcert) }),
    ...(sslcert === null ? {} : { cert: read('sslcert', sslcert) }),
    ...(sslkey === null ? {} : { key: read('sslkey', sslkey) }),
  };
}

function secured(plain: Socket, address: PgAddress, files: TlsFiles, signal: AbortSignal): Promise<TLSSocket> {
  const { host, sslmode, sslrootcert, sslpassword } = address;
  let secure: TLSSocket;
  try {
    secure = connectTls({
      socket: plain,
      host, // Whom the certificate has to name; without it an address would be held against "localhost".
      rejectUnauthorized: sslmode.startsWith('verify') || sslrootcert !== null,
      ...(sslmode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...files,
      ...(sslpassword === null ? {} : { passphrase: sslpassword }),
    });
  } catch (error) {
    plain.destroy();
    throw new TypeError('what sslrootcert, sslcert or sslkey names is no certificate or key that can be used', { cause: error });
  }
  return settled(secure, signal, `TLS with ${where(address)} failed`, (done) => secure.once('secureConnect', () => done(secure)));
}

/** RFC 5929, 4.1: by the hash of the certificate's own signature, but never by MD5 or SHA-1. */
function bindingOf(socket: TLSSocket): Buffer | null {
  const certificate = socket.getPeerX509Certificate();
  const [, name] = /(md5|sha-?1|sha-?224|sha-?256|sha-?384|sha-?512)(?!\d)/i.exec(certificate?.signatureAlgorithm ?? '') ?? [];
  if (certificate === undefined || name === undefined) return null;
  const hash = name.toLowerCase().replace('-', '');
  return createHash(hash === 'md5' || hash === 'sha1' ? 'sha256' : hash)
    .update(certificate.raw)
    .digest();
}

/** Waits for what `start` listens for, or for the socket's end; leaves no listener behind, and no socket where it fails. */
function settled<T>(
  socket: Socket,
  signal: AbortSignal,
  what: string,
  start: (done: (value: T) => void, fail: (cause: Error | null) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', onError);
      socket.off('close', onClose);
    };
    const fail = (cause: Error | null): void => {
      finish();
      socket.once('error', () => {}); // Whatever the dying socket still says.
      socket.destroy();
      reject(cause instanceof PgConnectionError ? cause : new PgConnectionError(what, cause === null ? {} : { cause }));
    };
    const onError = (error: Error): void => fail(error);
    const onClose = (): void => fail(null);
    const onAbort = (): void => fail(signal.reason instanceof Error ? signal.reason : null);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', onError);
    socket.once('close', onClose);
    if (signal.aborted) return onAbort();
    start((value) => {
      finish();
      resolve(value);
    }, fail);
  });
}

/** Asks the server to stop what the session `backendPid` is running. */
export async function askToCancel(address: PgAddress, backendPid: number, secret: number): Promise<void> {
  const { socket, takeBytes } = await withDeadline(address, 5000, undefined, (ending) => openSocket(address, ending));
  const request = Buffer.alloc(16);
  request.writeInt32BE(16, 0);
  request.writeInt32BE(80_877_102, 4);
  request.writeInt32BE(backendPid, 8);
  request.writeInt32BE(secret, 12);
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    socket.once('error', () => resolve());
    takeBytes((bytes) => bytes.length); // The server answers with nothing but the end, which shows only to a reader.
    socket.resume();
    socket.end(request);
  });
}
