/** Answers what a server asks before it lets us in: nothing (trust), a password, md5 or SCRAM-SHA-256. */
import { PgConnectionError } from './errors.ts';
import type { PgAddress } from './ident.ts';
import { FrontendWriter } from './messages.ts';
import { md5Password, Scram } from './scram.ts';

const SCRAM_SHA_256 = 'SCRAM-SHA-256';
const SCRAM_SHA_256_PLUS = 'SCRAM-SHA-256-PLUS';

const UNBOUND = 'channel_binding=require takes TLS and a server that has us log in by SCRAM-SHA-256-PLUS, and this is none';

export class Login {
  readonly #address: PgAddress;
  /** See OpenSocket. */
  readonly #endPoint: Buffer | null;
  #scram: Scram | null = null;
  #proved = false;
  #bound = false;

  constructor(address: PgAddress, endPoint: Buffer | null) {
    this.#address = address;
    this.#endPoint = address.channelBinding === 'disable' ? null : endPoint;
  }

  /** Takes an Authentication message and answers what to send, or null where nothing is to be said. Throws PgConnectionError. */
  answer(bytes: Buffer, at: number, end: number): Uint8Array | null {
    const { user, password, channelBinding } = this.#address;
    const writer = new FrontendWriter(512);
    const kind = bytes.readInt32BE(at);
    const said = (): string => bytes.toString('utf8', at + 4, end);
    if (channelBinding === 'require' && !this.#bound && kind !== 10) throw new PgConnectionError(UNBOUND);
    switch (kind) {
      case 0:
        // A server that was asked for its proof and lets us in without one may be anybody.
        if (this.#scram !== null && !this.#proved) throw new PgConnectionError('the server did not prove that it knows the password');
        return null;
      case 3:
        return writer.password(password).bytes();
      case 5:
        return writer.password(md5Password(user, password, bytes.subarray(at + 4, at + 8))).bytes();
      case 10: {
        const mechanisms = said()
          .split('\0')
          .filter((name) => name !== '');
        this.#bound = this.#endPoint !== null && mechanisms.includes(SCRAM_SHA_256_PLUS);
        if (channelBinding === 'require' && !this.#bound) throw new PgConnectionError(UNBOUND);
        const mechanism = this.#bound ? SCRAM_SHA_256_PLUS : SCRAM_SHA_256;
        if (!mechanisms.includes(mechanism)) throw new PgConnectionError(`the server offers only ${mechanisms.join(' ')} to log in with`);
        this.#scram = new Scram(password, this.#endPoint === null ? 'n' : this.#bound ? { endPoint: this.#endPoint } : 'y');
        return writer.saslInitial(mechanism, this.#scram.first()).bytes();
      }
      case 11:
        return writer.saslResponse(this.#scramStep((scram) => scram.final(said()))).bytes();
      case 12:
        this.#scramStep((scram) => scram.verify(said()));
        this.#proved = true;
        return null;
      default:
        throw new PgConnectionError(`the server asks for a kind of login (${kind}) that is not supported`);
    }
  }

  #scramStep<T>(step: (scram: Scram) => T): T {
    if (this.#scram === null) throw new PgConnectionError('the server goes on with a login that it did not begin');
    try {
      return step(this.#scram);
    } catch (error) {
      throw new PgConnectionError('the login failed', { cause: error });
    }
  }
}
