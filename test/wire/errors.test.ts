/** What may be told of an error of the server. */
import { expect, test } from 'vitest';
import { PgError } from '../../wire/postgres/errors.ts';

const told = (code: string, message: string, more: Readonly<Record<string, string>> = {}): string =>
  new PgError(new Map(Object.entries({ C: code, M: message, R: 'somewhere', F: 'some.c', ...more }))).message;

test.each([
  ['a value that is not of its type', told('22P02', 'invalid input syntax for type integer: "hunter2"')],
  ['a number that is too large', told('22003', 'value "7777" is out of range for type integer')],
  ['what a trigger raised', told('P0001', 'no hunter2', { R: 'exec_stmt_raise' })],
  ['what one raised under another code', told('40001', 'no hunter2', { R: 'exec_stmt_raise' })],
  ['an assertion', told('P0004', 'hunter2 is wrong', { R: 'exec_stmt_assert' })],
  ['an error of Python', told('42P01', 'hunter2', { R: 'PLy_elog_impl' })],
  ['an internal error of a type', told('XX000', 'bad value hunter2', { F: 'hstore_io.c' })],
])('%s is told by its code', (_what, message) => {
  expect(message).not.toMatch(/hunter2|7777/);
  expect(message).toMatch(/\([0-9A-Z]{5}\b/);
});

test.each([
  ['a constraint', told('23505', 'duplicate key value violates unique constraint "t_pkey"')],
  ['a table that is not there', told('42P01', 'relation "t" does not exist')],
  ['a text that is too long', told('22001', 'value too long for type character varying(3)')],
  ['a literal of the statement', told('22007', 'invalid input syntax for type date: "soon"', { P: '17' })],
  ['a file of the server', told('XX000', 'could not extend file "base/1/2"', { F: 'md.c' })],
  ['the log', told('XX000', 'could not find the snapshot', { F: 'snapbuild.c' })],
  ['a lane that belongs to another', told('TG001', 'the lane belongs to a newer lease', { R: 'exec_stmt_raise' })],
])('%s is told in the server’s words', (_what, message) => {
  expect(message).not.toMatch(/\([0-9A-Z]{5}\)$/);
});
