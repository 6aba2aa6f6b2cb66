/** JSON as Python writes it: NaN and infinities stand bare. */
import { exactNumber } from '../../core/whole-numbers.ts';

const NAN = 'gx:NaN';

/** Integers keep their digits, and a byte order mark at the beginning says nothing. Undefined where the text is no such JSON. */
export function parsePythonJson(text: string): unknown {
  const written = outsideOfStrings(text.replace(/^\uFEFF/, ''), (part) =>
    part.replace(/(-?)\bInfinity\b/g, '$11e999').replace(/\bNaN\b/g, `"${NAN}"`),
  );
  try {
    return JSON.parse(written, (key, value: unknown, context?: { readonly source?: string }) =>
      value === NAN ? NaN : exactNumber(key, value, context),
    ) as unknown;
  } catch {
    return undefined;
  }
}

/** Python's json.loads: NaN and infinities too. Undefined where the text is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return /\b(NaN|Infinity)\b/.test(text) ? withoutNumbersThatJsonLacks(text) : undefined;
  }
}

function withoutNumbersThatJsonLacks(text: string): unknown {
  try {
    return JSON.parse(outsideOfStrings(text, (part) => part.replace(/-?\b(NaN|Infinity)\b/g, '1e999'))) as unknown;
  } catch {
    return undefined;
  }
}

/** A JSON text in which what is no string is replaced. */
function outsideOfStrings(text: string, replace: (part: string) => string): string {
  const parts = text.split(/("(?:[^"\\]|\\[^])*")/);
  return parts.map((part, at) => (at % 2 === 1 ? part : replace(part))).join('');
}
