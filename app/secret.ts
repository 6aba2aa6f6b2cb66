/** A value that must not be printed: a connection url, a token, a signing key. */
import { inspect } from 'node:util';

export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The value itself, for the one place that needs it. */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}

/**
 * `text` without anything that looks like the user and password of a url, for log lines made of other people's messages. Up to the last @:
 * a password that nobody escaped may hold one.
 */
export function withoutSecrets(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/)[^\s'"]*@/gi, '$1[secret]@').replace(/whsec_[A-Za-z0-9+/=]+/g, '[secret]');
}
