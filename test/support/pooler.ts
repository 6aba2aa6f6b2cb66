/**
 * A pooler in front of a server that lets everybody in, as far as tests need one: a client has a session of the server for as long as its transaction lasts, or for as long as it is there itself. As the
 * usual ones do, it refuses who begins with settings of a session, or with replication.
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

const KNOWN: ReadonlySet<string> = new Set(['user', 'database', 'client_encoding', 'application_name']);
const SSL_REQUEST = 80_877_103;

export class Pooler implements AsyncDisposable {
  readonly #server: Server;
  readonly #port: number;
  readonly #of: 'transactions' | 'sessions';
  readonly #idle: Session[] = [];
  readonly #sockets = new Set<Socket>();

  private constructor(port: number, of: 'transactions' | 'sessions') {
    this.#port = port;
    this.#of = of;
    this.#server = createServer({ noDelay: true }, (client) => this.#take(client));
  }

  static async listen(port: number, of: 'transactions' | 'sessions'): Promise<Pooler> {
    const pooler = new Pooler(port, of);
    await new Promise<void>((resolve) => pooler.#server.listen(0, '127.0.0.1', resolve));
    return pooler;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #take(client: Socket): void {
    this.#keep(client);
    let startup: Buffer | null = null;
    let session: Session | null = null;
    let owed = 0;
    let work = Promise.resolve();
    const give = (message: Buffer): void => {
      client.write(message);
      if (message[0] !== 0x5a) return; // ReadyForQuery
      owed--;
      if (owed > 0 || message[5] !== 0x49 || this.#of === 'sessions' || session === null) return;
      this.#idle.push(session);
      session = null;
    };
    const onMessage = async (message: Buffer): Promise<void> => {
      if (message[0] === 0x58) return void client.end(); // Terminate
      if (message[0] === 0x51 || message[0] === 0x53) owed++; // Query, Sync
      session ??= this.#idle.shift() ?? (await this.#open(startup ?? Buffer.alloc(0)));
      session.give = give;
      session.socket.write(message);
    };
    const onBegin = async (message: Buffer): Promise<void> => {
      if (message.readInt32BE(4) === SSL_REQUEST) return void client.write('N');
      const names = message
        .toString('utf8', 8, message.length - 2)
        .split('\0')
        .filter((_, i) => i % 2 === 0);
      const unknown = names.find((name) => !KNOWN.has(name));
      if (unknown !== undefined) return void client.end(refusal(`unsupported startup parameter: ${unknown}`));
      startup = message;
      session = await this.#open(startup);
      client.write(session.greeting);
      if (this.#of === 'sessions') return;
      this.#idle.push(session);
      session = null;
    };
    client.on(
      'data',
      framed(
        () => startup === null,
        (message) => {
          work = work.then(() => (startup === null ? onBegin(message) : onMessage(message))).catch(() => void client.destroy());
        },
      ),
    );
    client.on('close', () => session?.socket.destroy());
  }

  /** A session that has begun: what the server said of it is its greeting, with a number that is none of the server's. */
  #open(startup: Buffer): Promise<Session> {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    this.#keep(socket);
    const greeting: Buffer[] = [];
    return new Promise((resolve, reject) => {
      socket.on('close', () => reject(new Error('the server has gone')));
      const session: Session = {
        socket,
        greeting: Buffer.alloc(0),
        give: (message) => {
          if (message[0] === 0x4b) message.writeInt32BE(1, 5); // BackendKeyData
          greeting.push(message);
          if (message[0] !== 0x5a) return;
          session.greeting = Buffer.concat(greeting);
          resolve(session);
        },
      };
      socket.on(
        'data',
        framed(
          () => false,
          (message) => session.give(message),
        ),
      );
      socket.write(startup);
    });
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#sockets.delete(socket);
      const at = this.#idle.findIndex((session) => session.socket === socket);
      if (at >= 0) this.#idle.splice(at, 1);
    });
  }
}

interface Session {
  readonly socket: Socket;
  greeting: Buffer;
  give: (message: Buffer) => void;
}

/** Cuts what comes into messages: the first ones of a client have no type before their length. */
function framed(isBegin: () => boolean, take: (message: Buffer) => void): (bytes: Buffer) => void {
  let rest = Buffer.alloc(0);
  let begun = false;
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    for (;;) {
      const isFirst = !begun && isBegin();
      const at = isFirst ? 0 : 1;
      if (rest.length < at + 4) return;
      const end = at + rest.readInt32BE(at);
      if (rest.length < end) return;
      const message = Buffer.from(rest.subarray(0, end));
      rest = rest.subarray(end);
      begun = !isFirst || message.readInt32BE(4) !== SSL_REQUEST;
      take(message);
    }
  };
}

function refusal(text: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C08P01\0M${text}\0\0`);
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}
