/** Queries of rules, as a real database is asked them: what they may not do, and what comes of a server that does not answer. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { type Askable, askQuery, queryProblems, whyNot } from '../../app/timers/query.ts';
import type { DatasetName } from '../../core/event.ts';
import type { Query } from '../../quality/timers/check.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase, type TestDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';

const dataset = 'shop.public.orders' as DatasetName;
let database: TestDatabase;
let sql: PgConnection;
let of: Askable;

beforeAll(async () => {
  database = await createDatabase(inject('sourceServer'), 'queries');
  sql = await PgConnection.connect({ url: database.url });
  await sql.script("create table orders (id bigint, note text); insert into orders values (1, 'a secret'), (2, null)");
  of = { url: database.url, tableOf: () => 'public.orders', aliveIn: () => null };
});

afterAll(async () => {
  await sql.close();
  await database[Symbol.asyncDispose]();
});

const queryOf = (text: string, more: Partial<Query> = {}): Query => ({
  kind: 'query',
  side: 'source',
  sql: text,
  returns: 'rows',
  timeoutMs: 30_000,
  ...more,
});

/** What it comes to, or why there is no answer. */
async function said(text: string, more: Partial<Query> = {}) {
  const query = queryOf(text, more);
  try {
    const { rows, cell } = await askQuery(query, dataset, of, false, new AbortController().signal);
    return { rows, cell };
  } catch (error) {
    return whyNot(error, query);
  }
}

test('nothing that a query calls makes it more than a reader, or lasts beyond it', async () => {
  await sql.script('create function grow() returns int language sql volatile as $$ insert into orders values (9) returning 9 $$');
  expect(await said("select set_config('transaction_read_only', 'off', false)")).toContain('the source refused the query');
  expect(await said('select grow()')).toBe('the source refused the query (25006)');
  expect(await said('select id from {batch} for update')).toBe('the source refused the query (25006)');
  expect(await said("select set_config('default_transaction_read_only', 'off', false)")).toEqual({ rows: 1, cell: null });
  expect(await said('select grow()')).toBe('the source refused the query (25006)');
  expect(await said('select id from {batch}')).toEqual({ rows: 2, cell: null });
});

test('what comes is one value of its kind, or it is no answer', async () => {
  const number = { returns: 'number' } as const;
  expect(await said('select count(*) from {batch}', number)).toEqual({ rows: 1, cell: '2' });
  expect(await said('select null::int where false', number)).toEqual({ rows: 0, cell: null });
  expect(await said('select id from {batch} order by 1', number)).toEqual({ rows: 2, cell: '1' });
  expect(await said('select id, id from {batch}', number)).toBe('the query returns 2 columns, and one number is needed');
  expect(await said('select note from {batch}', { returns: 'boolean' })).toBe('the query returns no boolean');
  expect(await said('select note::int from {batch}', number)).toBe('the source refused the query (22P02)');
  expect(await said('select from {batch}, generate_series(1, 500000)')).toEqual({ rows: 1_000_000, cell: null });
});

test('a query that is given up ends at the server as well', async () => {
  const stopping = new AbortController();
  const query = queryOf('select pg_sleep(600)', { timeoutMs: 600_000 });
  const asking = askQuery(query, dataset, of, false, stopping.signal).catch((error: unknown) => error);
  const running = async () =>
    (await sql.query("select from pg_stat_activity where application_name = 'tidegate rules' and query ~ 'pg_sleep'")).rows.length;
  await eventually(async () => (await running()) === 1, 'it runs', 30_000);
  stopping.abort();
  expect(await asking).toMatchObject({ message: 'the query was given up' });
  await eventually(async () => (await running()) === 0, 'it has ended', 30_000);
}, 90_000);

test('a server that is full, or a table that is locked, says nothing of a query', async () => {
  const asked = ['select id from {batch}', 'select nothing', 'select 1'].map((text) => ({ question: queryOf(text), dataset }));
  const problems = (from: Askable, timeoutMs: number) => queryProblems(asked, timeoutMs, from, new AbortController().signal);
  const wrong = { message: 'the source refuses the query: column "nothing" does not exist', code: '42703' };
  expect(await problems(of, 30_000)).toEqual([null, wrong, null]);
  await sql.script('begin; lock table orders');
  expect(await problems(of, 2000)).toEqual([null, wrong, null]);
  await sql.script('rollback');
  const role = `full_${randomBytes(5).toString('hex')}`;
  await sql.script(`create role ${role} login password 'x' connection limit 0`);
  const url = new URL(database.url);
  [url.username, url.password] = [role, 'x'];
  expect(await problems({ ...of, url: url.href }, 30_000)).toEqual([]);
  await sql.script(`drop role ${role}`);
});
