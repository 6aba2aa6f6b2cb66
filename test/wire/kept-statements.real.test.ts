/** Statements that a session keeps: they answer as others do, also where one fails, and where many are asked at once. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { KeptStatements } from '../../wire/postgres/kept-statements.ts';

const keptIn = async (sql: PgConnection): Promise<string | null | undefined> =>
  (await sql.query('select count(*) from pg_prepared_statements where not from_sql')).rows[0]?.[0];

test('a statement is made once, however many ask it at once, and each has its own answer', async () => {
  await using sql = await PgConnection.connect({ url: inject('targetServer') });
  const kept = new KeptStatements(sql);
  const ask = (n: number) => kept.query('select $1::int4 + 1, $2::text', [n, null]);
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => ask(n)));
  expect(answers.map(({ rows }) => rows)).toEqual(Array.from({ length: 20 }, (_, n) => [[String(n + 1), null]]));
  expect(await keptIn(sql)).toBe('1');
});

test('one that cannot be made, or fails, is told to those that asked, and asked anew afterwards', async () => {
  await using sql = await PgConnection.connect({ url: inject('targetServer') });
  const kept = new KeptStatements(sql);
  const ask = () => kept.query('select n from pg_temp.not_there');
  for (const answer of await Promise.allSettled([ask(), ask(), ask()]))
    expect(answer).toMatchObject({ status: 'rejected', reason: { code: '42P01' } });
  await sql.script('create temporary table not_there as select 7 as n');
  expect((await Promise.all([ask(), ask()])).map(({ rows }) => rows)).toEqual([[['7']], [['7']]]);
  const divide = (by: number) => kept.query('select 6 / $1::int4', [by]);
  const quotients = await Promise.allSettled([divide(2), divide(0), divide(3)]);
  expect(quotients.map((one) => (one.status === 'fulfilled' ? one.value.rows : (one.reason as { code: string }).code))).toEqual([
    [['3']],
    '22012',
    [['2']],
  ]);
  expect((await divide(6)).rows).toEqual([['1']]);
});

test('no more are kept than a hundred', async () => {
  await using sql = await PgConnection.connect({ url: inject('targetServer') });
  const kept = new KeptStatements(sql);
  for (let n = 0; n < 130; n++) expect((await kept.query(`select ${n}`)).rows).toEqual([[String(n)]]);
  expect(await keptIn(sql)).toBe('100');
});
