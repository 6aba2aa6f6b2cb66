/**
 * A way to a server that can be cut: every connection through it ends at once, as when a balancer restarts. While it is closed, nobody gets
 * through; while it is silent, connections stay and nothing comes through them, as when a cable is pulled or a machine freezes. It can also forget
 * the connections it has, as a firewall does that was restarted: nobody is told, and new ones come through.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

export class CutProxy implements AsyncDisposable {
  readonly #server: Server;
  #upstreamPort: number | null;
  readonly #sockets = new Set<Socket>();
  /** Of those, what is open at both ends and will never hear of anything again. */
  readonly #forgotten = new WeakSet<Socket>();
  readonly #upstreams: Socket[] = [];
  #state: 'open' | 'closed' | 'silent' = 'open';

  private constructor(upstreamPort: number | null) {
    this.#upstreamPort = upstreamPort;
    this.#server = createServer({ noDelay: true }, (client) => this.#take(client));
  }

  /** Forwards a free loopback port to `port`; with null it refuses everybody, until it is led somewhere. */
  static async listen(port: number | null): Promise<CutProxy> {
    const proxy = new CutProxy(port);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** New connections go to another port, or nowhere. */
  lead(port: number | null): void {
    this.#upstreamPort = port;
  }

  /** What the server has sent so far, over all connections. */
  get bytesFromServer(): number {
    return this.#upstreams.reduce((sum, upstream) => sum + upstream.bytesRead, 0);
  }

  /** Connections end without a goodbye; new ones are taken. Answers how many ended that nothing had happened to before. */
  cut(): number {
    const count = this.#alive;
    for (const socket of this.#sockets) reset(socket);
    return count;
  }

  /** Connections end without a goodbye, and so do new ones, until `open`. */
  close(): void {
    this.#state = 'closed';
    this.cut();
  }

  /** Nothing comes through any more, and nobody is told, until `open`. */
  silence(): void {
    this.#state = 'silent';
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  /** Nothing comes through the connections that are there, ever again, not even that one end is gone, and nobody is told; new ones are taken. Answers how many that are. */
  forget(): number {
    const count = this.#alive;
    for (const socket of this.#sockets) {
      socket.unpipe().pause();
      this.#forgotten.add(socket);
    }
    return count;
  }

  /** What was there before does not come back to life. Answers as `cut` does. */
  open(): number {
    this.#state = 'open';
    return this.cut();
  }

  get #alive(): number {
    return this.#upstreams.filter((socket) => this.#sockets.has(socket) && !this.#forgotten.has(socket)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #take(client: Socket): void {
    if (this.#state === 'closed' || this.#upstreamPort === null) {
      client.on('error', () => {});
      reset(client);
      return;
    }
    const upstream = connect({ port: this.#upstreamPort, host: '127.0.0.1', noDelay: true });
    this.#upstreams.push(upstream);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      if (this.#state === 'open') from.pipe(to);
      from.on('error', () => {}); // It closes.
      from.on('close', () => {
        this.#sockets.delete(from);
        if (!this.#forgotten.has(from)) to.destroy();
      });
    }
  }
}

/** A socket that was shut down before cannot be reset any more: Node then takes it for closed, never closes it, and waits for that without end when it exits. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
