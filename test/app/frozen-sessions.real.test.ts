/** A server's process that stands still for longer than we wait, and goes on later with what it had been sent by then: nothing is lost, doubled, or overwritten by what is older. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { ask, configFolder, startService, untilReady } from './services.ts';

/** Sessions by what they are for us: at which end, and how they are found there. */
const SESSIONS = [
  ['the walsender', 'source', `backend_type = 'walsender'`],
  ['the session that writes', 'target', `pid in (select backend_pid from tidegate.lanes where lane not like 'replay:%')`],
] as const;

test.each(SESSIONS)('%s', async (_, end, which) => {
  await using source = await createDatabase(inject('sourceServer'), 'frozen');
  await using target = await createDatabase(inject('targetServer'), 'frozen');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  await sql.script('create table t (id int primary key, n int)');
  using config = configFolder(
    {
      sources: {
        shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'frozen', tables: ['public.t'], silence: '1s' },
      },
      targets: { lake: { kind: 'postgres', url: target.url, schema: 'shop', silence: '1s' } },
    },
    {},
    { source: source.url, target: target.url },
  );
  await using running = await startService(config);
  await untilReady(running.url);
  let changes = 0;
  let isLoaded = true;
  const load = async (): Promise<void> => {
    for (let id = 1; isLoaded; id++) {
      await sql.query('insert into t values ($1, 0)', [id]);
      const { affected } = await sql.query('update t set n = n + 1 where id > $1 - 5', [id]);
      changes += 1 + affected;
    }
  };
  const loading = load();
  const seen = async () => Number((await lake.query('select coalesce(max(id), 0) from shop.t')).rows[0]?.[0]);
  await eventually(async () => (await seen()) > 20, 'changes arrive');
  const { rows } = await (end === 'source' ? sql : lake).query(
    `select pid from pg_stat_activity where ${which} and datname = current_database()`,
  );
  const pid = Number(rows[0]?.[0]);
  expect(pid).toBeGreaterThan(1);
  process.kill(pid, 'SIGSTOP');
  try {
    if (end === 'source') await eventually(async () => (await ask(running.url, '/readyz')).text.includes('backing-off'), 'it is noticed');
    else {
      // One that stands in the middle of a statement is waited for, as for any that takes long; of another one is made.
      const [before, done] = [await seen(), changes];
      await eventually(async () => changes > done + 5000 || (await seen()) > before + 50, 'the source goes on, or another session does');
    }
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  const then = await seen();
  await eventually(async () => (await seen()) > then + 50, 'it goes on');
  isLoaded = false;
  await loading;
  const table = async (connection: PgConnection, name: string) =>
    (await connection.query(`select count(*), sum(n), md5(string_agg(t::text, ',' order by id)) from ${name} t`)).rows.join();
  const expected = await table(sql, 'public.t');
  await eventually(async () => (await table(lake, 'shop.t')) === expected, 'the target is what the source is');
  // Each change counted once.
  const ledger = await lake.query(`select events, upserts + folded from tidegate.lanes where lane not like 'replay:%'`);
  expect(ledger.rows).toEqual([[String(changes), String(changes)]]);
  const there = async () => (await (end === 'source' ? sql : lake).query('select from pg_stat_activity where pid = $1', [pid])).rows.length;
  await eventually(async () => (await there()) === 0, 'nothing of it is left');
});
