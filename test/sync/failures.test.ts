/** What an error of the target means, where its code alone does not say. */
import { expect, test } from 'vitest';
import { PipelineError } from '../../core/errors.ts';
import { isRefusal, targetFailure } from '../../sync/postgres/failures.ts';
import { sourceFailure } from '../../cdc/postgres/failures.ts';
import { PgError } from '../../wire/postgres/errors.ts';

const error = (code: string, file: string, routine = 'somewhere'): PgError =>
  new PgError(new Map(Object.entries({ C: code, F: file, R: routine, M: 'could not' })));

test.each([
  ['what a type says of bytes that it cannot read', error('XX000', 'hstore_io.c'), true],
  ['a file that may not grow', error('XX000', 'md.c'), false],
  ['an index that cannot be read', error('XX000', 'nbtpage.c'), false],
  ['a lock table that is full', error('53200', 'lock.c'), false],
  ['a value that is out of range', error('22003', 'numeric.c'), true],
  ['a policy that does not take the row', error('42501', 'execMain.c', 'ExecWithCheckOptions'), true],
  ['a table that may not be written', error('42501', 'aclchk.c', 'aclcheck_error'), false],
  ['a trigger that asks to be tried again', error('40001', 'pl_exec.c', 'exec_stmt_raise'), false],
  ['a lane that belongs to another', error('TG001', 'pl_exec.c', 'exec_stmt_raise'), false],
  ['a batch that was sent ahead', error('TG002', 'pl_exec.c', 'exec_stmt_raise'), false],
])('%s', (_what, thrown, isRow) => {
  expect(isRefusal(thrown)).toBe(isRow);
});

test.each([
  ['53100', 'TARGET_FULL'],
  ['53300', 'TARGET_FULL'],
  ['40P01', 'TARGET_BUSY'],
  ['55P03', 'TARGET_BUSY'],
  ['57014', 'TARGET_BUSY'],
  ['25006', 'TARGET_READ_ONLY'],
  ['57P03', 'TARGET_UNREACHABLE'],
  ['XX000', 'TARGET_UNREACHABLE'],
])('%s is %s, and tried again', (state, code) => {
  const failure = targetFailure(error(state, 'md.c'), 'writing');
  expect(failure).toBeInstanceOf(PipelineError);
  expect(failure).toMatchObject({ code, after: 'backoff' });
});

test.each([
  ['a statement that another session has', '26000', 'CONFIG_INVALID', 'pooler of transactions'],
  ['a statement that this session has from somebody else', '42P05', 'CONFIG_INVALID', 'pooler of transactions'],
  ['a name that the encoding lacks', '22P05', 'TARGET_SCHEMA', 'encoding lacks'],
])('%s (%s) is not tried again', (_what, state, code, words) => {
  const failure = targetFailure(error(state, 'prepare.c'), 'writing to the target');
  expect(failure).toMatchObject({ code, after: 'operator', message: expect.stringContaining(words) as unknown });
});

test('a server that is too old is told as such, in whatever language it speaks', () => {
  const error = new PgError(new Map(Object.entries({ C: '42704', M: 'unbekannter Konfigurationsparameter »idle_session_timeout«' })));
  const told = { code: 'CONFIG_INVALID', message: 'connecting: the server is older than PostgreSQL 14' };
  expect(targetFailure(error, 'connecting')).toMatchObject(told);
  expect(sourceFailure(error, 'connecting', 'connecting')).toMatchObject(told);
});

test('a source that has no slots at all is told to have more, not another wal_level', () => {
  const error = new PgError(
    new Map(Object.entries({ C: '55000', M: 'replication slots can only be used if "max_replication_slots" > 0' })),
  );
  expect(sourceFailure(error, 'creating the slot', 'creating the slot')).toMatchObject({ code: 'SOURCE_SLOTS_FULL' });
});
