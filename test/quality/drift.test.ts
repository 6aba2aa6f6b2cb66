/** What has become of a table since its contract was written. */
import { expect, test } from 'vitest';
import type { Column, ColumnType, Dataset } from '../../core/event.ts';
import { DEFAULT_EVOLUTION, type ExpectedColumn, kindOf, schemaDrift } from '../../quality/schema/drift.ts';
import { compareNative } from '../../quality/schema/types.ts';
import { orders } from './support.ts';

const want = (text: string): ExpectedColumn[] =>
  text.split(';').map((part) => {
    const [, name = '', type = '', nullable] = /^\s*(\w+) (.*?)( null| not null)?\s*$/.exec(part) ?? [];
    return { name, type, nullable: nullable === undefined ? null : nullable === ' null' };
  });
const table = (text: string): Dataset => ({
  ...orders,
  columns: want(text).map(({ name, type, nullable }): Column => {
    const kind: ColumnType = kindOf(type) ?? 'other';
    return { name, type: kind, native: type, nullable: nullable !== false };
  }),
});
const drift = (expected: string, now: string) =>
  schemaDrift({ columns: want(expected), evolution: DEFAULT_EVOLUTION }, table(now)).map(
    ({ kind, column, policy }) => `${kind} ${column}: ${policy}`,
  );

test.each<[string, string, string[]]>([
  ['id bigint; a text', 'id bigint; a text', []],
  ['id bigint', 'id int8; a text', ['add_optional a: accept']],
  ['id bigint', 'id bigint; a text not null', ['add_required a: warn']],
  ['id bigint; a text', 'id bigint', ['drop a: halt']],
  ['id bigint; a text; b text', 'id bigint; c text; b text', ['rename c: halt']],
  ['id bigint; a text; b text', 'id bigint; c integer; b text', ['add_optional c: accept', 'drop a: halt']],
  ['id integer', 'id integer', []],
  ['a int4', 'a bigint', ['widen a: accept']],
  ['a bigint', 'a int4', ['narrow a: halt']],
  ['a text', 'a bigint', ['retype a: halt']],
  ['a integer', 'a bigint', []], // "integer" is a kind: every size of it fits.
  ['a decimal', 'a bigint', ['narrow a: halt']],
  ['a text not null', 'a text null', ['nullable a: warn']],
  ['a text null', 'a text not null', []],
  ['a varchar(20)', 'a character varying(20)', []],
  ['a timestamptz', 'a timestamp with time zone', []],
])('%s, now %s', (expected, now, kinds) => {
  expect(drift(expected, now)).toEqual(kinds);
});

test.each([
  ['varchar(20)', 'varchar(40)', 'widen'],
  ['varchar(20)', 'text', 'widen'],
  ['text', 'varchar(20)', 'narrow'],
  ['numeric(12,2)', 'numeric(14,2)', 'widen'],
  ['numeric(12,2)', 'numeric(12,4)', 'retype'],
  ['numeric(12,2)', 'numeric', 'widen'],
  ['smallint', 'numeric(5,0)', 'widen'],
  ['bigint', 'double precision', 'retype'],
  ['real', 'double precision', 'widen'],
  ['date', 'timestamp', 'widen'],
  ['timestamp(3)', 'timestamp', 'widen'],
  ['timestamp', 'timestamptz', 'retype'],
  ['text[]', 'text', 'retype'],
  ['int4[]', 'integer[]', 'same'],
])('%s to %s: %s', (from, to, relation) => {
  expect(compareNative(from, to)).toBe(relation);
});
