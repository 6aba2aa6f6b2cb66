/** When a socket is read: not while somebody holds it, nor while the reader of a replication stream rests. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { isSocketFolder, type PgAddress } from './ident.ts';
import type { CopyBothHandler } from './payloads.ts';
import { Rests } from './rests.ts';
import { SendTimes } from './send-times.ts';

/** The letter w. */
const DATA = 0x77;

export class Reading {
  readonly #socket: Socket;
  /** None over a Unix socket: it holds a few hundred messages, however small they are, and its sender would wait for a reader that rests. */
  readonly #rests: Rests | null;
  readonly #sent = new SendTimes();
  #isHeld = false;
  #gather: NodeJS.Timeout | null = null;
  #isOver = false;
  /** With TLS what is there comes record by record, some 8 KiB each, and is one read all the same: nothing is decided before the last of them. */
  readonly #isInRecords: boolean;
  #recordBytes = 0;

  constructor(socket: Socket, address: PgAddress) {
    this.#socket = socket;
    this.#rests = isSocketFolder(address.host) ? null : new Rests(performance.now());
    this.#isInRecords = socket instanceof TLSSocket;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  hold(hold: boolean): void {
    if (this.#isHeld !== hold) this.#rests?.held(performance.now());
    this.#isHeld = hold;
    if (hold) this.#socket.pause();
    else if (this.#gather === null) this.#socket.resume();
  }

  /** A payload of a replication stream begins at `at`: one of data tells when it was sent, behind where the data starts and where the log ends. */
  payload(bytes: Buffer, at: number): void {
    if (bytes[at] === DATA) this.#sent.take(bytes, at + 17);
  }

  /** A replication stream brought so many bytes, which were handed over. */
  after(read: number, stream: CopyBothHandler): void {
    if (!this.#isInRecords) return this.#after(read, stream);
    const isFirst = this.#recordBytes === 0;
    this.#recordBytes += read;
    if (!isFirst) return;
    setImmediate(() => {
      const all = this.#recordBytes;
      this.#recordBytes = 0;
      if (!this.#isOver) this.#after(all, stream);
    });
  }

  #after(read: number, stream: CopyBothHandler): void {
    stream.drained(Rests.isMuch(read));
    if (this.#rests === null) return;
    const millis = this.#rests.after(read, performance.now(), () => stream.isBehind(), this.#sent);
    if (millis === 0 || this.#gather !== null || this.#isHeld || this.#isOver) return;
    this.#socket.pause();
    this.#gather = setTimeout(() => {
      this.#gather = null;
      if (!this.#isHeld) this.#socket.resume();
    }, millis);
  }

  /** Whatever comes is read from here on, and nobody is told of it: the connection is closed. */
  end(): void {
    this.#isOver = true;
    this.#isHeld = false;
    if (this.#gather !== null) clearTimeout(this.#gather);
    this.#gather = null;
    if (!this.#socket.destroyed) this.#socket.resume();
  }
}
