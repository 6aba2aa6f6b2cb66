/** SCRAM-SHA-256 (RFC 5802, RFC 7677) and md5, as PostgreSQL asks for them. */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

/** One login: `first` is the client's first message, `final` answers the server's, `verify` checks that the server knows the password too. */
export class Scram {
  readonly #nonce = randomBytes(18).toString('base64');
  readonly #password: string;
  #serverSignature: Buffer = Buffer.alloc(0);

  constructor(password: string) {
    this.#password = password;
  }

  first(): string {
    return `n,,n=,r=${this.#nonce}`;
  }

  final(serverFirst: string): string {
    const fields = attributes(serverFirst);
    const nonce = fields.get('r') ?? '';
    const salt = fields.get('s');
    const iterations = Number(fields.get('i'));
    if (salt === undefined || !nonce.startsWith(this.#nonce) || nonce === this.#nonce || !(iterations > 0))
      throw new Error('the server sent a malformed SCRAM challenge');
    const salted = pbkdf2Sync(this.#password.normalize('NFKC'), Buffer.from(salt, 'base64'), iterations, 32, 'sha256');
    const clientKey = createHmac('sha256', salted).update('Client Key').digest();
    const storedKey = createHash('sha256').update(clientKey).digest();
    const withoutProof = `c=biws,r=${nonce}`;
    const message = `n=,r=${this.#nonce},${serverFirst},${withoutProof}`;
    const signature = createHmac('sha256', storedKey).update(message).digest();
    const proof = Buffer.from(clientKey.map((byte, i) => byte ^ (signature[i] ?? 0)));
    this.#serverSignature = createHmac('sha256', createHmac('sha256', salted).update('Server Key').digest()).update(message).digest();
    return `${withoutProof},p=${proof.toString('base64')}`;
  }

  verify(serverFinal: string): void {
    const sent = Buffer.from(attributes(serverFinal).get('v') ?? '', 'base64');
    if (sent.length !== this.#serverSignature.length || !timingSafeEqual(sent, this.#serverSignature))
      throw new Error('the server could not prove that it knows the password');
  }
}

/** `md5` + md5(md5(password + user) + salt). */
export function md5Password(user: string, password: string, salt: Uint8Array): string {
  const inner = createHash('md5')
    .update(password + user)
    .digest('hex');
  return `md5${createHash('md5').update(inner).update(salt).digest('hex')}`;
}

function attributes(message: string): Map<string, string> {
  return new Map(message.split(',').map((part) => [part.slice(0, 1), part.slice(2)]));
}
