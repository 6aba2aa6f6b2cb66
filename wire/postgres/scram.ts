/** SCRAM-SHA-256 (RFC 5802, RFC 7677) and md5, as PostgreSQL asks for them. */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

/** What a login is bound to: `n` says that we cannot, `y` that the server does not offer it. */
export type Binding = 'n' | 'y' | { readonly endPoint: Buffer };

/** One login: `first` is the client's first message, `final` answers the server's, `verify` checks that the server knows the password too. */
export class Scram {
  readonly #nonce = randomBytes(18).toString('base64');
  readonly #password: string;
  #serverSignature: Buffer = Buffer.alloc(0);

  readonly #flag: string;
  readonly #bound: Buffer;

  constructor(password: string, binding: Binding = 'n') {
    this.#password = password;
    this.#flag = typeof binding === 'string' ? `${binding},,` : 'p=tls-server-end-point,,';
    this.#bound = typeof binding === 'string' ? Buffer.alloc(0) : binding.endPoint;
  }

  first(): string {
    return `${this.#flag}n=,r=${this.#nonce}`;
  }

  final(serverFirst: string): string {
    const fields = attributes(serverFirst);
    const nonce = fields.get('r') ?? '';
    const salt = fields.get('s');
    const iterations = Number(fields.get('i'));
    if (salt === undefined || !nonce.startsWith(this.#nonce) || nonce === this.#nonce || !(iterations > 0))
      throw new Error('the server sent a malformed SCRAM challenge');
    const salted = pbkdf2Sync(saslPrep(this.#password), Buffer.from(salt, 'base64'), iterations, 32, 'sha256');
    const clientKey = createHmac('sha256', salted).update('Client Key').digest();
    const storedKey = createHash('sha256').update(clientKey).digest();
    const bound = Buffer.concat([Buffer.from(this.#flag), this.#bound]).toString('base64');
    const withoutProof = `c=${bound},r=${nonce}`;
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

const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
const NOTHING = /\u00ad|\u034f|\u1806|[\u180b-\u180d]|\u200c|\u200d|\u2060|[\ufe00-\ufe0f]|\ufeff/g;
const PROHIBITED = /[\p{Cc}\p{Co}\u0340\u0341\u200e\u200f\u202a-\u202e\u206a-\u206f\u2ff0-\u2ffb\ufff9-\ufffd]/u;

/** SASLprep (RFC 4013) as PostgreSQL does it: a password that it does not take is used as it is. */
function saslPrep(password: string): string {
  const prepared = password.replace(SPACES, ' ').replace(NOTHING, '').normalize('NFKC');
  return /^[\0-\x7f]*$/.test(password) || prepared === '' || PROHIBITED.test(prepared) ? password : prepared;
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
