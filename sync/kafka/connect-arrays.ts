/** Arrays as lists of Connect's, of the types that Debezium makes lists of. */
import type { Column } from '../../core/event.ts';
import { unquoted } from './connect-texts.ts';

type Element = string | null;

/** The column that an element would be; null where a list is not what Debezium makes of it. */
export function elementColumn({ name, native, type, declared }: Column): Column | null {
  if (type !== 'other' || !native.endsWith('[]')) return null;
  const element = native.slice(0, -2);
  const labels = declared?.labels;
  // Of an enum, Debezium has it that no element is null.
  if (labels !== undefined) return { name, native: element, type: 'text', nullable: false, declared: { labels, required: true } };
  const found = ELEMENTS.find(([pattern]) => pattern.test(element));
  return found === undefined ? null : { name, native: element, type: found[1], nullable: true };
}

const ELEMENTS: readonly (readonly [RegExp, Column['type']])[] = [
  [/^boolean$/, 'boolean'],
  [/^(?:smallint|integer|bigint|oid)$/, 'integer'],
  [/^(?:real|double precision)$/, 'float'],
  [/^numeric(?:\(|$)/, 'decimal'],
  [/^(?:text|character(?: varying)?(?:\(\d+\))?|(?:[^.]+\.)?citext|uuid|inet|cidr|macaddr8?)$/, 'text'],
  [/^jsonb?$/, 'json'],
  [/^bytea$/, 'bytes'],
  [/^date$/, 'date'],
  [/^timestamp\b/, 'timestamp'],
  [/^time\b/, 'time'],
];

const ELEMENT = /"((?:[^"\\]|\\.)*)"|([^,{}"]+)/sy;

/** The elements of `{a,NULL,"b c"}`; null for an array of several dimensions, or with bounds of its own. */
export function elementsOf(text: string): readonly Element[] | null {
  if (!text.startsWith('{') || text.startsWith('{{')) return null;
  const elements: Element[] = [];
  for (let at = 1; at < text.length - 1; at++) {
    ELEMENT.lastIndex = at;
    const found = ELEMENT.exec(text);
    if (found === null) return null;
    const [whole, quoted, plain = ''] = found;
    elements.push(quoted !== undefined ? unquoted(quoted) : plain === 'NULL' ? null : plain);
    at += whole.length; // At the comma, or at the end.
  }
  return elements;
}
