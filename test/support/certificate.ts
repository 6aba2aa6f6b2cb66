/** Certificates for tests of TLS, written by hand (X.509, RFC 5280), since Node makes none: an authority, and what it signs. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Certificate {
  /** PEM. */
  readonly certificate: string;
  readonly privateKey: string;
}

export interface Authority extends Certificate {
  /** A certificate for a server of these names: host names, IPv4 addresses. */
  issue(names: readonly string[]): Certificate;
}

export function makeAuthority(name: string): Authority {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const make = (subject: string, publicKey: KeyObject, extension: Buffer): string => {
    const now = Date.now();
    const body = der(
      0x30,
      der(0xa0, int(Buffer.from([2]))),
      int(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      ECDSA_SHA256,
      commonName(name),
      der(0x30, time(now - 3_600_000), time(now + 86_400_000)),
      commonName(subject),
      publicKey.export({ type: 'spki', format: 'der' }),
      der(0xa3, der(0x30, extension)),
    );
    const signature = der(0x03, Buffer.from([0]), sign('sha256', body, keys.privateKey));
    return pem('CERTIFICATE', der(0x30, body, ECDSA_SHA256, signature));
  };
  return {
    certificate: make(name, keys.publicKey, extension(BASIC_CONSTRAINTS, true, der(0x30, der(0x01, Buffer.from([0xff]))))),
    privateKey: keyText(keys.privateKey),
    issue(names) {
      const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const alternatives = names.map((one) =>
        /^[\d.]+$/.test(one) ? der(0x87, Buffer.from(one.split('.').map(Number))) : der(0x82, Buffer.from(one)),
      );
      const certificate = make(names[0] ?? 'nobody', own.publicKey, extension(SUBJECT_ALT_NAME, false, der(0x30, ...alternatives)));
      return { certificate, privateKey: keyText(own.privateKey) };
    },
  };
}

/** A tag, a length and the content. */
function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const length = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const int = (bytes: Buffer): Buffer => der(0x02, bytes);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const time = (ms: number): Buffer => der(0x18, Buffer.from(`${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`)); // GeneralizedTime
const commonName = (text: string): Buffer => der(0x30, der(0x31, der(0x30, oid('550403'), der(0x0c, Buffer.from(text)))));
const extension = (id: Buffer, isCritical: boolean, value: Buffer): Buffer =>
  der(0x30, id, ...(isCritical ? [der(0x01, Buffer.from([0xff]))] : []), der(0x04, value));
const ECDSA_SHA256 = der(0x30, oid('2a8648ce3d040302'));
const BASIC_CONSTRAINTS = oid('551d13');
const SUBJECT_ALT_NAME = oid('551d11');

const pem = (kind: string, bytes: Buffer): string =>
  `-----BEGIN ${kind}-----\n${(bytes.toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END ${kind}-----\n`;
const keyText = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();
