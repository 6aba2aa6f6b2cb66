/** A pooler between us and a server: one of sessions is as good as the server to a target, one of transactions is refused by its name, and so is any for a source. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Pooler } from '../support/pooler.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, untilReady } from './services.ts';

async function world(ends: { readonly source?: 'transactions' | 'sessions'; readonly target?: 'transactions' | 'sessions' }) {
  await using open = new AsyncDisposableStack();
  const source = open.use(await createDatabase(inject('sourceServer'), 'pool'));
  const target = open.use(await createDatabase(inject('targetServer'), 'pool'));
  const sql = open.use(await PgConnection.connect({ url: source.url }));
  const lake = open.use(await PgConnection.connect({ url: target.url }));
  const through = async (url: string, of: 'transactions' | 'sessions' | undefined): Promise<string> => {
    if (of === undefined) return url;
    const { port } = open.use(await Pooler.listen(Number(new URL(url).port), of));
    return Object.assign(new URL(url), { port }).href;
  };
  const urls = { source: await through(source.url, ends.source), target: await through(target.url, ends.target) };
  await sql.script(`create table t (id int primary key, at timestamptz); insert into t values (1, '2026-01-02 03:04:05+00')`);
  for (const [connection, { name }] of [
    [sql, source],
    [lake, target],
  ] as const)
    await connection.script(`alter database "${name}" set datestyle = 'SQL, DMY'; alter database "${name}" set timezone = 'Asia/Kolkata'`);
  const config = configFolder(
    { sources: { shop: { kind: 'postgres', url: urls.source, slot: source.name, publication: 'pool', tables: ['public.t'] } } },
    {},
    urls,
  );
  open.defer(() => config[Symbol.dispose]());
  const kept = open.move();
  return { sql, lake, config, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

test.each([
  [{ target: 'transactions' }, 'targets.lake is a pooler of transactions'],
  [{ source: 'transactions' }, 'sources.shop is a pooler of transactions'],
  [{ source: 'sessions' }, 'connecting to shop: a pooler is no server that could be read'],
] as const)('%o: the pipeline halts, and says so', async (ends, why) => {
  await using there = await world(ends);
  if (!('source' in ends && ends.source === 'sessions'))
    expect(await cli('check', there.config.file)).toMatchObject({ code: 1, stdout: expect.stringContaining(why) as unknown });
  await using running = await startService(there.config);
  await eventually(async () => (await ask(running.url, '/readyz')).text.includes(`halted: `), 'the pipeline has halted');
  expect((await ask(running.url, '/readyz')).text).toContain(why);
});

test('a target behind a pooler of sessions is written as any other, whatever the database has set for itself', async () => {
  await using there = await world({ target: 'sessions' });
  await using running = await startService(there.config);
  await untilReady(running.url);
  await there.sql.script(`insert into t select i, 'epoch' from generate_series(2, 3000) i; update t set at = 'infinity' where id = 2`);
  const rows = async (connection: PgConnection, table: string) =>
    (await connection.query(`select md5(string_agg(t::text, ',' order by id)) from ${table} t`)).rows;
  const expected = await rows(there.sql, 'public.t');
  await eventually(async () => (await rows(there.lake, 'shop.t')).join() === expected.join(), 'the target is what the source is');
});
