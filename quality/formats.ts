/** Named formats of texts. Each is a function in linear time; docs/rules.md says what each takes. */
import { compileRegex } from '../core/expression/regex.ts';
import type { RegexTable } from '../core/expression/regex-table.ts';
import { microsOf } from '../core/expression/timestamp.ts';
import { COUNTRIES_2, COUNTRIES_3, CURRENCIES, IBAN_LENGTHS } from './codes.ts';
import type { EncodedCells } from './encoded/cells.ts';
import { emailInBytes } from './encoded/email.ts';
import { textCells, textIn, textMatches } from './encoded/tests.ts';

type Format = (text: string) => boolean;

export const FORMATS = {
  uuid: isUuid,
  email: isEmail,
  ipv4: isIpv4,
  ipv6: isIpv6,
  uri: isUri,
  date: isDate,
  'date-time': isDateTime,
  iban: isIban,
  currency: (text) => CURRENCIES.has(text),
  country: (text) => COUNTRIES_2.has(text) || COUNTRIES_3.has(text),
} as const satisfies Record<string, Format>;

export type FormatName = keyof typeof FORMATS;

const OCTET = '(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';

/** Of those that can be told from the bytes of a text of ASCII: the same as the functions say of the text. */
export function encodedFormat(name: FormatName): EncodedCells | undefined {
  switch (name) {
    case 'uuid':
      return textMatches([tableOf('^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')], 'any', false);
    case 'email':
      return textCells(emailInBytes);
    case 'ipv4':
      return textMatches([tableOf(`^${OCTET}(?:\\.${OCTET}){3}$`)], 'any', false);
    case 'currency':
      return textIn([...CURRENCIES], true);
    case 'country':
      return textIn([...COUNTRIES_2, ...COUNTRIES_3], true);
    default:
      return undefined;
  }
}

function tableOf(pattern: string): RegexTable {
  const regex = compileRegex(pattern);
  if ('refused' in regex || regex.table === null) throw new Error(`a format without a table: ${pattern}`);
  return regex.table;
}

const isHex = (code: number) => (code >= 48 && code <= 57) || (code >= 97 && code <= 102) || (code >= 65 && code <= 70);
const isDigit = (code: number) => code >= 48 && code <= 57;
const isLetter = (code: number) => (code >= 97 && code <= 122) || (code >= 65 && code <= 90);

/** RFC 9562's text form, in any version and case, without braces. */
function isUuid(text: string): boolean {
  if (text.length !== 36) return false;
  for (let i = 0; i < 36; i++) {
    const code = text.charCodeAt(i);
    if (i === 8 || i === 13 || i === 18 || i === 23 ? code !== 45 : !isHex(code)) return false;
  }
  return true;
}

/** An address as mail systems take it: RFC 5321's dot-string (letters beyond ASCII allowed, RFC 6531), a domain of two or more labels, no comments or quotes. */
function isEmail(text: string): boolean {
  const at = text.lastIndexOf('@');
  if (at < 1 || at > 64 || text.length > 254) return false;
  let dot = true; // The place before the first character counts as one: no dot may follow it.
  for (let i = 0; i < at; i++) {
    const code = text.charCodeAt(i);
    if (code === 46) {
      if (dot) return false;
      dot = true;
      continue;
    }
    dot = false;
    if (code < 128 ? NOT_IN_LOCAL_PART[code] === 1 : isBlank(code)) return false;
  }
  return !dot && isDomain(text, at + 1);
}

/** Spaces, controls and what RFC 5321 allows only between quotes. A table: looking each character up in a text takes half of the time. */
const NOT_IN_LOCAL_PART = Uint8Array.from({ length: 128 }, (_, code) =>
  code <= 32 || code === 127 || '"(),:;<>@[\\]'.includes(String.fromCharCode(code)) ? 1 : 0,
);

/** Spaces and controls beyond ASCII: they are seen nowhere, and no address has them. */
function isBlank(code: number): boolean {
  return code <= 0xa0 || (code >= 0x2000 && code <= 0x200f) || (code >= 0x2028 && code <= 0x202f) || code === 0x3000 || code === 0xfeff;
}

/** From `from` to the end: two or more labels of 1 to 63 letters, digits and inner hyphens; the last is not a number. */
function isDomain(text: string, from: number): boolean {
  if (text.length - from > 253) return false;
  let start = from;
  let labels = 0;
  let isNumber = true;
  for (let i = from; i <= text.length; i++) {
    const code = i === text.length ? 46 : text.charCodeAt(i);
    if (code === 46) {
      if (i === start || i - start > 63 || text.charCodeAt(start) === 45 || text.charCodeAt(i - 1) === 45) return false;
      labels++;
      if (i === text.length) return labels >= 2 && !isNumber;
      start = i + 1;
      isNumber = true;
    } else if (!isDigit(code)) {
      if (code < 128 ? !isLetter(code) && code !== 45 : isBlank(code)) return false;
      isNumber = false;
    }
  }
  return false;
}

/** Four decimal numbers of 0 to 255, without leading zeros (which some read as octal). */
function isIpv4(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 && parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

/** RFC 4291's text forms, with `::` at most once and an IPv4 tail allowed; no zone, no prefix length. */
function isIpv6(text: string): boolean {
  const halves = text.split('::');
  if (halves.length > 2 || text.length > 45) return false;
  let groups = 0;
  for (const [which, half] of halves.entries()) {
    if (half === '') continue;
    const parts = half.split(':');
    for (const [index, part] of parts.entries()) {
      const isTail = index === parts.length - 1 && which === halves.length - 1;
      if (isTail && part.includes('.')) {
        if (!isIpv4(part)) return false;
        groups += 2;
      } else {
        if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return false;
        groups++;
      }
    }
  }
  return halves.length === 2 ? groups <= 7 : groups === 8;
}

/** RFC 3986: a scheme, then characters that a URI may hold, percent signs with two hex digits; an authority has a valid host and port. */
function isUri(text: string): boolean {
  const colon = text.indexOf(':');
  if (colon < 1 || !isLetter(text.charCodeAt(0))) return false;
  for (let i = 1; i < colon; i++) {
    const code = text.charCodeAt(i);
    if (!isLetter(code) && !isDigit(code) && code !== 43 && code !== 45 && code !== 46) return false;
  }
  let fragments = 0;
  for (let i = colon + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 37) {
      if (!isHex(text.charCodeAt(i + 1)) || !isHex(text.charCodeAt(i + 2))) return false;
    } else if (code <= 32 || code >= 127 || '"<>\\^`{|}'.includes(text.charAt(i)) || (code === 35 && ++fragments > 1)) return false;
  }
  if (!text.startsWith('//', colon + 1)) return !/[[\]]/.test(text.slice(colon + 1));
  const rest = text.slice(colon + 3);
  const end = rest.search(/[/?#]/);
  const authority = end < 0 ? rest : rest.slice(0, end);
  if (end >= 0 && /[[\]]/.test(rest.slice(end))) return false;
  return isAuthority(authority, text.slice(0, colon).toLowerCase());
}

function isAuthority(authority: string, scheme: string): boolean {
  const at = authority.lastIndexOf('@');
  const host = authority.slice(at + 1);
  if (authority.indexOf('@') !== at || /[[\]]/.test(authority.slice(0, at + 1))) return false;
  if (host.startsWith('[')) {
    const close = host.indexOf(']');
    return close > 0 && isIpv6(host.slice(1, close)) && /^(?::\d*)?$/.test(host.slice(close + 1));
  }
  const colon = host.indexOf(':');
  const name = colon < 0 ? host : host.slice(0, colon);
  if (colon >= 0 && !/^\d{0,5}$/.test(host.slice(colon + 1))) return false;
  if (/[[\]]/.test(name)) return false;
  return name !== '' || scheme === 'file'; // file:///etc/hosts has no host; for the web it would be a mistake.
}

/** RFC 3339's full-date: a day that exists, with a year of four digits. */
function isDate(text: string): boolean {
  return text.length === 10 && /^\d{4}-\d\d-\d\d$/.test(text) && microsOf(text) !== null;
}

const DATE_TIME = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** RFC 3339's date-time: a day and time that exist, with a zone. A leap second is the last one of a day of UTC. */
function isDateTime(text: string): boolean {
  const match = DATE_TIME.exec(text);
  if (match === null) return false;
  const [, day = '', ...parts] = match;
  const [hour = 0, minute = 0, second = 0, , zoneHour = 0, zoneMinute = 0] = parts.map((part) => Number(part ?? 0));
  if (hour > 23 || minute > 59 || second > 60 || zoneHour > 23 || zoneMinute > 59 || microsOf(day) === null) return false;
  const east = (parts[3] === '-' ? -1 : 1) * (zoneHour * 60 + zoneMinute);
  return second < 60 || (hour * 60 + minute - east + 2880) % 1440 === 1439;
}

/** ISO 13616: the country's length, letters and digits (spaces between groups allowed, as printed), and the mod-97 check. */
function isIban(text: string): boolean {
  const compact = text.includes(' ')
    ? /^[A-Z0-9]{4}(?: [A-Z0-9]{4})*(?: [A-Z0-9]{1,4})?$/.test(text)
      ? text.replaceAll(' ', '')
      : ''
    : text;
  if (IBAN_LENGTHS[compact.slice(0, 2)] !== compact.length) return false;
  let remainder = 0;
  for (let i = 0; i < compact.length; i++) {
    const code = compact.charCodeAt((i + 4) % compact.length);
    if (isDigit(code)) remainder = (remainder * 10 + code - 48) % 97;
    else if (code >= 65 && code <= 90) remainder = (remainder * 100 + code - 55) % 97;
    else return false;
  }
  // Of two check digits that are the same mod 97 only the one from 02 to 98 is ever made.
  const check = Number(compact.slice(2, 4));
  return remainder === 1 && /^\d\d$/.test(compact.slice(2, 4)) && check >= 2 && check <= 98;
}
