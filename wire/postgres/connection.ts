/**
 * One connection to a PostgreSQL server, spoken by us: pipelines of binary statements, COPY both ways and logical replication need the
 * socket itself. Requests are answered in the order they were sent, several may be in flight; a lost connection fails all of them.
 *
 * Modes: *idle or answering* (a queue of pending requests, each ended by its ReadyForQuery), *copying out* (the oldest request hands
 * CopyData on as it comes, the socket pauses while nobody takes it) and *copying both* (replication: every CopyData goes to one handler until the
 * connection is destroyed).
 */
import type { Socket } from 'node:net';
import { fieldsOf, PgConnectionError, PgError } from './errors.ts';
import { parsePgServers, type PgAddress } from './ident.ts';
import { Login } from './login.ts';
import { Format, FrontendWriter } from './messages.ts';
import { Gathered } from './gathered.ts';
import { askToCancel, openSocket, type OpenSocket, where, withDeadline } from './socket.ts';
import { type CopyBoth, type CopyBothHandler, GATHERED_MIN, gathering, type LargePayloads, type PieceTaker } from './payloads.ts';
import { NO_RESULT, type PgResult, ResultReader } from './results.ts';
import { liftsTransactionTimeout, type PgOptions, settingsSql, startupOf } from './session.ts';
import { Reading } from './reading.ts';

export { PgConnectionError, PgError } from './errors.ts';
export type { CopyBoth, CopyBothHandler, LargePayloads, PieceTaker } from './payloads.ts';
export type { PgColumn, PgResult } from './results.ts';
export type { PgOptions } from './session.ts';

export type PgParam = string | number | bigint | boolean | null | Uint8Array;

interface Pending {
  readyLeft: number;
  readonly results: PgResult[];
  error: PgError | null;
  readonly resolve: (results: PgResult[]) => void;
  readonly reject: (error: Error) => void;
  /** Takes the payload `bytes[from, to)`, valid only during the call. */
  readonly onCopyData: ((bytes: Buffer, from: number, to: number) => void) | null;
  readonly onCopyIn: (() => void) | null;
  readonly binary: boolean;
  readonly large?: LargePayloads | undefined;
  /** Takes a large payload as a buffer of its own. */
  readonly onOwned?: (bytes: Buffer) => void;
}

const EMPTY: readonly never[] = [];
/** A server that starts, stops or is full: another may do. */
const AWAY = /^(57P0[123]|53)/;
/** What a COPY may be ahead of its reader. */
const COPY_GATHERED_MAX = 4 << 20;
/** How long a server may take to answer a goodbye. */
const CLOSE_MS = 2000;

export class PgConnection implements AsyncDisposable {
  readonly parameters = new Map<string, string>();
  /** Resolves when the connection is gone: with the reason, or null where `close` ended it. */
  readonly closed: Promise<Error | null>;
  #backendPid = 0;
  #secret = 0;
  readonly #socket: Socket;
  readonly #takeBytes: OpenSocket['takeBytes'];
  readonly #address: PgAddress;
  readonly #loginState: Login;
  /** What to say as soon as we are let in: the session is never idle before, nor waits for us. */
  #first: Uint8Array | null = null;
  readonly #pending: Pending[] = [];
  #head = 0;
  /** Who takes the payload that is under way in pieces, and how much of it is still to come. */
  #taker: PieceTaker | null = null;
  #takerWants = 0;
  readonly #result = new ResultReader();
  #copyBoth: CopyBothHandler | null = null;
  #copyBothStarted: (() => void) | null = null;
  readonly #reading: Reading;
  #failure: Error | null = null;
  #closing = false;
  #onClosed: (reason: Error | null) => void = () => {};
  #onNotification: ((channel: string, payload: string) => void) | null = null;
  #onNotice: ((notice: PgError) => void) | null = null;

  private constructor({ socket, binding, takeBytes }: OpenSocket, address: PgAddress) {
    this.#socket = socket;
    this.#takeBytes = takeBytes;
    this.#reading = new Reading(socket, address);
    this.#address = address;
    this.#loginState = new Login(address, binding);
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
  }

  get backendPid(): number {
    return this.#backendPid;
  }

  /** Of the server: 18 for 18.4. */
  get majorVersion(): number {
    return Number.parseInt(this.parameters.get('server_version') ?? '0', 10);
  }

  /** What has arrived so far, messages that are not complete included. */
  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  /** What is written and the system has not taken yet. */
  get bytesUnsent(): number {
    return this.#socket.writableLength;
  }

  /** Whether an answer is to come, and would be read. */
  get isOwed(): boolean {
    return this.#head < this.#pending.length && !this.#reading.isHeld;
  }

  /** Whether requests can be sent. */
  get open(): boolean {
    return this.#failure === null && !this.#closing;
  }

  /** Throws PgError where the server refuses the login, PgConnectionError where there is no server or `signal` aborts. */
  static async connect(options: PgOptions, signal?: AbortSignal): Promise<PgConnection> {
    const { addresses, session } = parsePgServers(options.url);
    const failures: Error[] = [];
    for (const address of addresses) {
      try {
        const connection = await PgConnection.#connectTo(address, options, signal);
        if (session === 'any' || connection.parameters.get('in_hot_standby') !== 'on') return connection;
        connection.destroy();
        failures.push(new PgConnectionError(`${where(address)} is a standby`));
      } catch (error) {
        const isElsewhere = error instanceof PgConnectionError || (error instanceof PgError && AWAY.test(error.code));
        if (addresses.length === 1 || !isElsewhere || signal?.aborted === true) throw error;
        failures.push(error);
      }
    }
    const [first] = failures;
    if (failures.length === 1 && first !== undefined) throw first;
    throw new PgConnectionError(failures.map(({ message }) => message).join('; '), { cause: failures.at(-1) });
  }

  /** A pooler refuses a session that begins with settings (08P01): it is asked again without. */
  static async #connectTo(address: PgAddress, options: PgOptions, signal: AbortSignal | undefined): Promise<PgConnection> {
    try {
      return await PgConnection.#begin(address, options, signal, false);
    } catch (error) {
      if (options.replication !== undefined || !(error instanceof PgError) || error.code !== '08P01') throw error;
      return PgConnection.#begin(address, options, signal, true);
    }
  }

  static #begin(address: PgAddress, options: PgOptions, signal: AbortSignal | undefined, isBare: boolean): Promise<PgConnection> {
    return withDeadline(address, options.connectTimeoutMs ?? 10_000, signal, async (ending) => {
      const connection = new PgConnection(await openSocket(address, ending), address);
      const giveUp = (): void => connection.destroy(ending.reason as Error); // A PgConnectionError: see withDeadline.
      ending.addEventListener('abort', giveUp, { once: true });
      try {
        await connection.#login(options, isBare);
        if (liftsTransactionTimeout(options, connection.majorVersion)) await connection.script("set transaction_timeout = '0'");
        return connection;
      } catch (error) {
        connection.destroy();
        throw error;
      } finally {
        ending.removeEventListener('abort', giveUp);
      }
    });
  }

  /** One statement with parameters ($1 …), sent as text; bytes as bytea. Throws PgError, PgConnectionError. */
  async query(sql: string, params: readonly PgParam[] = EMPTY): Promise<PgResult> {
    const writer = new FrontendWriter(sql.length + 256);
    writer.parse('', sql);
    const texts = params.map((value) =>
      value === null || typeof value === 'string' || value instanceof Uint8Array ? value : String(value),
    );
    writer.bind(
      '',
      '',
      texts,
      texts.map((value) => (value instanceof Uint8Array ? Format.Binary : Format.Text)),
    );
    writer.describe('P', '').execute().sync();
    const results = await this.exchange(writer.bytes());
    return results[0] ?? NO_RESULT;
  }

  /** Several statements without parameters, in one implicit transaction unless they say otherwise. */
  async script(sql: string): Promise<PgResult[]> {
    return this.exchange(new FrontendWriter(sql.length + 64).query(sql).bytes());
  }

  /**
   * Sends messages that were built already and resolves at the `readyCount`-th ReadyForQuery with a result per completed statement.
   * Rejects with the first error of them, also only then, so the connection stays usable. With `binary`, rows are in `raw`.
   */
  exchange(bytes: Uint8Array | readonly Uint8Array[], readyCount = 1, binary = false): Promise<PgResult[]> {
    return new Promise((resolve, reject) => {
      if (!this.#enqueue({ readyLeft: readyCount, results: [], error: null, resolve, reject, onCopyData: null, onCopyIn: null, binary }))
        return;
      this.#write(bytes);
    });
  }

  /**
   * Sends a COPY … TO STDOUT and yields its CopyData payloads, gathered to chunks. Ends the connection where the reader stops early. What a `large`
   * payload comes to is told by `put`, and takes its place among the others. Chunks are parts of blocks that `block` gives; left out, each is its own.
   */
  async *copyOut(
    sql: string,
    signal?: AbortSignal,
    large?: { readonly bytesMax: number; readonly begin: (bytes: number, put: (payload: Buffer) => void) => PieceTaker },
    block?: () => Buffer,
  ): AsyncGenerator<Buffer> {
    const gathered = new Gathered(block ?? (() => Buffer.allocUnsafeSlow(1 << 17)));
    let waiting: (() => void) | null = null;
    const wake = (): void => {
      waiting?.();
      waiting = null; // To resolve a promise once more costs as much as all else that is done for a row.
    };
    let done = false;
    let failure: Error | null = null;
    const ended = new Promise<PgResult[]>((resolve, reject) => {
      const onCopyData = (bytes: Buffer, from: number, to: number): void => {
        gathered.add(bytes, from, to); // Copied: the socket's memory is used again after this call.
        if (gathered.length > COPY_GATHERED_MAX) this.#reading.hold(true);
        wake();
      };
      const onOwned = (payload: Buffer): void => {
        gathered.addOwned(payload);
        this.#reading.hold(true);
        wake();
      };
      const taken = large === undefined ? undefined : { bytesMax: large.bytesMax, begin: (bytes: number) => large.begin(bytes, onOwned) };
      if (
        this.#enqueue({
          readyLeft: 1,
          results: [],
          error: null,
          resolve,
          reject,
          onCopyData,
          onCopyIn: null,
          binary: false,
          large: taken,
          onOwned,
        })
      ) {
        this.#write(new FrontendWriter().query(sql).bytes());
      }
    });
    ended.then(
      () => {
        done = true;
        wake();
      },
      (error: Error) => {
        failure = error;
        done = true;
        wake();
      },
    );
    const abort = (): void => this.destroy(new PgConnectionError('the copy was given up'));
    signal?.addEventListener('abort', abort, { once: true });
    try {
      if (signal?.aborted === true) abort();
      for (;;) {
        const chunk = gathered.take();
        if (chunk !== null) {
          if (gathered.isShort) this.#reading.hold(false);
          yield chunk;
        } else if (done) {
          if (failure !== null) throw failure as Error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            waiting = resolve;
          });
        }
      }
    } finally {
      signal?.removeEventListener('abort', abort);
      if (!done) this.destroy(new PgConnectionError('the copy was given up'));
    }
  }

  /** Sends a COPY … FROM STDIN and its data, never further ahead than the socket takes it. Throws PgError where rows are refused. */
  async copyIn(sql: string, chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<PgResult> {
    let started: () => void = () => {};
    const ready = new Promise<void>((resolve) => {
      started = resolve;
    });
    let failed = false;
    const ended = new Promise<PgResult[]>((resolve, reject) => {
      if (this.#enqueue({ readyLeft: 1, results: [], error: null, resolve, reject, onCopyData: null, onCopyIn: started, binary: false })) {
        this.#write(new FrontendWriter().query(sql).bytes());
      }
    });
    ended.catch(() => {
      failed = true;
      started();
    });
    await ready;
    const writer = new FrontendWriter();
    try {
      for await (const chunk of chunks) {
        if (failed) break;
        writer.copyData(chunk);
        if (!this.#socket.write(writer.take())) await this.#drain();
      }
      if (!failed) this.#write(writer.reset().copyDone().bytes());
    } catch (error) {
      this.#write(writer.reset().copyFail('the data ended early').bytes());
      await ended.catch(() => {});
      throw error;
    }
    const results = await ended;
    return results[0] ?? NO_RESULT;
  }

  /**
   * Starts a replication stream (START_REPLICATION …). Throws PgError where the server refuses. From then on every CopyData goes to `handler`,
   * and the connection is good for nothing else. The server ending the stream shows in `closed`.
   *
   * Reads are gathered: the socket rests while there is much to read (see rests.ts). At low rates it never does.
   */
  async copyBoth(sql: string, handler: CopyBothHandler): Promise<CopyBoth> {
    let started = false;
    await new Promise<void>((resolve, reject) => {
      this.#copyBothStarted = () => {
        started = true;
        this.#copyBoth = handler;
        resolve();
      };
      // An error in the middle of the stream leaves the walsender waiting for commands: for us the connection is over.
      const refuse = (error: Error): void => (started ? this.#fail(error) : reject(error));
      if (
        this.#enqueue({
          readyLeft: 1,
          results: [],
          error: null,
          resolve: () => refuse(new PgConnectionError('the server ended the stream')),
          reject: refuse,
          onCopyData: null,
          onCopyIn: null,
          binary: false,
        })
      ) {
        this.#write(new FrontendWriter().query(sql).bytes());
      }
    });
    const writer = new FrontendWriter();
    return {
      send: (payload) => this.#write(Buffer.from(writer.reset().copyData(payload).bytes())),
      pause: () => this.#reading.hold(true),
      resume: () => this.#reading.hold(false),
    };
  }

  /** Is told of NOTIFY messages for channels that this session listens to. */
  onNotification(handler: (channel: string, payload: string) => void): void {
    this.#onNotification = handler;
  }

  /** Is told of the server's warnings and notices. */
  onNotice(handler: (notice: PgError) => void): void {
    this.#onNotice = handler;
  }

  /** Asks the server, over a connection of its own, to stop what this one is running. */
  async cancel(): Promise<void> {
    await askToCancel(this.#address, this.#backendPid, this.#secret);
  }

  /** Says goodbye and waits until the connection is gone; a server that does not react within two seconds is left without its consent. */
  async close(): Promise<void> {
    if (this.#failure === null && !this.#closing) {
      this.#closing = true;
      this.#socket.end(new FrontendWriter().terminate().bytes());
      this.#reading.end();
    }
    const timer = setTimeout(() => this.#fail(null), CLOSE_MS);
    await this.closed;
    clearTimeout(timer);
  }

  /** Cuts the connection; everything in flight fails with `error`. */
  destroy(error: Error = new PgConnectionError('the connection was closed')): void {
    this.#fail(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #login(options: PgOptions, isBare: boolean): Promise<void> {
    const settings = settingsSql(options);
    if (settings !== null) this.#first = new FrontendWriter().query(settings).bytes();
    const readyLeft = settings === null ? 1 : 2;
    const ready = new Promise<PgResult[]>((resolve, reject) => {
      this.#enqueue({ readyLeft, results: [], error: null, resolve, reject, onCopyData: null, onCopyIn: null, binary: false });
    });
    const socket = this.#socket;
    socket.setKeepAlive(true, 30_000);
    this.#takeBytes((bytes, fresh) => {
      try {
        return this.#read(bytes, fresh);
      } catch (error) {
        if (error instanceof PgConnectionError) this.#fail(error);
        else this.#fail(new PgConnectionError(`${where(this.#address)} sent what cannot be understood`, { cause: error }));
        return bytes.length;
      }
    });
    socket.once('error', (error) => this.#fail(new PgConnectionError(`the connection to ${where(this.#address)} broke`, { cause: error })));
    socket.once('close', () => this.#fail(this.#closing ? null : new PgConnectionError(`${where(this.#address)} closed the connection`)));
    socket.write(new FrontendWriter().startup(startupOf(this.#address, options, isBare)).bytes());
    await ready;
  }

  #authenticate(bytes: Buffer, at: number, end: number): void {
    const answer = this.#loginState.answer(bytes, at, end);
    if (answer !== null) this.#write(answer);
    if (bytes.readInt32BE(at) !== 0 || this.#first === null) return;
    this.#write(this.#first); // AuthenticationOk
    this.#first = null;
  }

  #enqueue(pending: Pending): boolean {
    if (this.#failure !== null || this.#closing) {
      pending.reject(this.#failure ?? new PgConnectionError('the connection was closed'));
      return false;
    }
    this.#pending.push(pending);
    return true;
  }

  #write(bytes: Uint8Array | readonly Uint8Array[]): void {
    if (bytes instanceof Uint8Array) {
      this.#socket.write(bytes);
      return;
    }
    this.#socket.cork();
    for (const part of bytes) this.#socket.write(part);
    this.#socket.uncork();
  }

  #drain(): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done);
        this.#socket.off('close', done);
        resolve();
      };
      this.#socket.once('drain', done);
      this.#socket.once('close', done);
    });
  }

  /** Takes what is whole of `bytes`, which were there before up to `fresh`. Answers how much that is. */
  #read(bytes: Buffer, fresh: number): number {
    let at = this.#takePiece(bytes, 0);
    while (bytes.length - at >= 5) {
      const length = bytes.readInt32BE(at + 1);
      const end = at + 1 + length;
      if (length < 4) throw new RangeError(`a message of ${length} bytes`);
      if (end > bytes.length) {
        if (bytes[at] === 0x64 && this.#takes(length - 4)) at = this.#takePiece(bytes, at + 5);
        break;
      }
      if (bytes[at] === 0x64 && this.#copyBoth !== null) {
        this.#reading.payload(bytes, at + 5);
        this.#copyBoth.message(bytes, at + 5, end, false);
      } else this.#message(bytes[at] ?? 0, bytes, at + 5, end);
      if (this.#failure !== null) return bytes.length;
      at = end;
    }
    if (this.#copyBoth !== null) this.#reading.after(bytes.length - fresh, this.#copyBoth);
    return at;
  }

  /** Whether a CopyData payload of so many bytes is taken in pieces. */
  #takes(bytes: number): boolean {
    const pending = this.#pending[this.#head];
    const large = this.#copyBoth === null ? pending?.large : this.#copyBoth.large;
    const whole = this.#wholeTaker(pending);
    if (large !== undefined && bytes > large.bytesMax) this.#taker = large.begin(bytes);
    else if (bytes >= GATHERED_MIN && whole !== null) this.#taker = gathering(bytes, whole);
    else return false;
    this.#takerWants = bytes;
    return true;
  }

  #wholeTaker(pending: Pending | undefined): ((bytes: Buffer) => void) | null {
    const both = this.#copyBoth;
    if (both !== null) return (bytes) => both.message(bytes, 0, bytes.length, true);
    return pending?.onOwned ?? null;
  }

  /** Hands on what of the payload under way lies in `bytes` from `at` on. Answers where that ends. */
  #takePiece(bytes: Buffer, at: number): number {
    if (this.#taker === null) return at;
    const to = Math.min(bytes.length, at + this.#takerWants);
    this.#takerWants -= to - at;
    this.#taker.piece(bytes, at, to);
    if (this.#takerWants > 0) return to;
    const taker = this.#taker;
    this.#taker = null;
    taker.end();
    return to;
  }

  #message(type: number, bytes: Buffer, at: number, end: number): void {
    const pending = this.#pending[this.#head];
    switch (type) {
      case 0x44: // DataRow
        this.#result.row(bytes, at, pending?.binary ?? false);
        return;
      case 0x43: // CommandComplete
      case 0x49: // EmptyQueryResponse
      case 0x73: {
        // PortalSuspended: the rows asked for are complete.
        const result = this.#result.complete(type === 0x43 ? bytes.toString('utf8', at, end - 1) : '');
        pending?.results.push(result);
        return;
      }
      case 0x5a: // ReadyForQuery
        this.#ready(pending);
        return;
      case 0x45: {
        const error = new PgError(fieldsOf(bytes, at, end));
        this.#result.forget();
        if (pending !== undefined) pending.error ??= error;
        if (error.severity === 'FATAL' || error.severity === 'PANIC') this.#fail(error);
        return;
      }
      case 0x54: // RowDescription
        this.#result.describe(bytes, at);
        return;
      case 0x64: // CopyData
        pending?.onCopyData?.(bytes, at, end);
        return;
      case 0x47: // CopyInResponse
        pending?.onCopyIn?.();
        return;
      case 0x57: // CopyBothResponse
        this.#copyBothStarted?.();
        return;
      case 0x53: {
        const [name = '', value = ''] = bytes.toString('utf8', at, end).split('\0');
        this.parameters.set(name, value);
        return;
      }
      case 0x4b: // BackendKeyData
        this.#backendPid = bytes.readInt32BE(at);
        this.#secret = bytes.readInt32BE(at + 4);
        return;
      case 0x52: // Authentication
        this.#authenticate(bytes, at, end);
        return;
      case 0x41: {
        const [channel = '', payload = ''] = bytes.toString('utf8', at + 4, end).split('\0');
        this.#onNotification?.(channel, payload);
        return;
      }
      case 0x4e: // NoticeResponse
        this.#onNotice?.(new PgError(fieldsOf(bytes, at, end)));
        return;
      default:
        // ParseComplete, BindComplete, CloseComplete, NoData, ParameterDescription, CopyOutResponse, CopyDone: nothing to do.
        return;
    }
  }

  #ready(pending: Pending | undefined): void {
    if (pending === undefined) return;
    pending.readyLeft--;
    if (pending.readyLeft > 0) return;
    this.#head++;
    if (this.#head > 64 || this.#head === this.#pending.length) {
      this.#pending.splice(0, this.#head);
      this.#head = 0;
    }
    if (pending.error === null) pending.resolve(pending.results);
    else pending.reject(pending.error);
  }

  #fail(reason: Error | null): void {
    if (this.#failure !== null) return;
    this.#failure = reason ?? new PgConnectionError('the connection was closed');
    this.#socket.destroy();
    this.#reading.end();
    for (const pending of this.#pending.splice(this.#head)) pending.reject(pending.error ?? this.#failure);
    this.#pending.length = 0;
    this.#head = 0;
    this.#onClosed(reason);
  }
}
