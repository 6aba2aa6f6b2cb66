/**
 * Texts of ours in databases of other encodings than UTF-8. What the quarantine says for people (a row as JSON, findings) may have characters that the target's encoding lacks: the very
 * row may be held for one. They are written as their numbers then, for a quarantine that takes not everything would stop the lane.
 */
import type { PgConnection } from '../../wire/postgres/connection.ts';

/** Makes JSON that the server takes of any. */
export type ServerJson = (json: string) => string;

/** Those that our own words use have others that say the same. */
const PLAIN: Readonly<Record<string, string>> = { '’': "'", '‘': "'", '“': '\\"', '”': '\\"', '…': '...', '–': '-' };

/** Of which server that is. LATIN1 is the beginning of Unicode; of others no more than ASCII is known from here. */
export function serverJson({ parameters }: Pick<PgConnection, 'parameters'>): ServerJson {
  switch (parameters.get('server_encoding')) {
    case undefined:
    case 'UTF8':
    case 'SQL_ASCII':
      return (json) => json;
    case 'LATIN1':
      return (json) => json.replace(/[^\0-\xff]/gu, inAscii);
    default:
      return (json) => json.replace(/[^\0-\x7f]/gu, inAscii);
  }
}

/** Outside of texts JSON has none but ASCII. Its own escape would be the character again. */
const inAscii = (character: string): string => PLAIN[character] ?? `\\\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
