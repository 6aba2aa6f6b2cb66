/** What the name of a column's type tells rules beyond its kind: how its cells compare with others. */
import type { Column } from '../event.ts';

/** char(n): PostgreSQL sends it filled up with spaces, which mean nothing to it: rules see the text without them. */
export function isPadded({ type, native }: Column): boolean {
  return type === 'text' && /^(?:character|char|bpchar)(?: ?\(\d+\))?$/i.test(native);
}

/** citext: upper and lower case are one to it where it compares, and so they are to rules. */
export function isCaseless({ type, native }: Column): boolean {
  return type === 'text' && /(?:^|\.)"?citext"?$/i.test(native);
}

/** The text without the spaces at its end. */
export function unpadded(text: string): string {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) === 32) end--;
  return end === text.length ? text : text.slice(0, end);
}

/** Whether the texts of a column's cells are in the order of its values: those of an interval or a JSON document are in none. */
export function hasTextOrder({ type, native }: Column): boolean {
  return type === 'text' || (type === 'time' && !hasZone(native));
}

/** A time of day with a zone: two texts can be one moment. */
function hasZone(native: string): boolean {
  return /with time zone|^timetz/i.test(native.replaceAll(/without time zone/gi, ''));
}
