/** What tells the rows of a table apart in the source's log changes while the service runs, in every way that there is, with changes of rows before, between and after. */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { Random } from '../support/random.ts';
import { ask, configFolder, post, startService, untilReady } from './services.ts';

const SEED = 20_261_127;

async function world() {
  const source = await createDatabase(inject('sourceServer'), 'identity');
  const target = await createDatabase(inject('targetServer'), 'identity');
  const sql = await PgConnection.connect({ url: source.url });
  const lake = await PgConnection.connect({ url: target.url });
  await sql.script(`
    create table t (id bigint primary key, code text not null, v int, big text);
    create unique index by_code on t (code); alter table t alter big set storage external;
    create table other (id bigint primary key, v int);
    insert into t select n, 'c' || n, n, repeat('x', 3000) from generate_series(1, 40) n`);
  const config = configFolder(
    {
      sources: {
        shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'identity', tables: ['public.t', 'public.other'] },
      },
    },
    {},
    { source: source.url, target: target.url },
  );
  const rows = async (connection: PgConnection, table: string) =>
    (await connection.query(`select id, code, v, md5(big) from ${table} order by id`)).rows;
  return {
    sql,
    lake,
    config,
    same: async () => JSON.stringify(await rows(sql, 't')) === JSON.stringify(await rows(lake, 'shop.t')),
    async [Symbol.asyncDispose]() {
      config[Symbol.dispose]();
      await Promise.all([sql.close(), lake.close()]);
      await Promise.all([source[Symbol.asyncDispose](), target[Symbol.asyncDispose]()]);
    },
  };
}

/** Rows come, change (their keys too), and go; large values often stay as they were. */
function traffic(random: Random, count: number): string {
  return Array.from({ length: count }, () => {
    const id = 1 + random.below(60);
    if (random.chance(0.2)) return `delete from t where id = ${id}`;
    if (random.chance(0.2)) return `update t set code = code || '+', v = v + 1 where id = ${id}`;
    if (random.chance(0.1)) return `update t set id = id + 1000 where id = ${id}`;
    if (random.chance(0.4)) return `update t set v = v + 1 where id between ${id} and ${id + 5}`;
    return `insert into t select ${id}, 'n' || ${id} || '-' || coalesce((select max(v) from t), 0), 0, repeat('y', 2500) where not exists (select from t where id = ${id})`;
  }).join('; ');
}

const IDENTITIES = ['full', 'using index by_code', 'default', 'using index by_code', 'full', 'default'];

test(`default, full, an index, and back, also in one transaction with changes of rows (seed ${SEED})`, async () => {
  await using at = await world();
  const random = new Random(SEED);
  await using running = await startService(at.config);
  await untilReady(running.url);
  for (const [index, identity] of IDENTITIES.entries()) {
    const change = `alter table t replica identity ${identity}`;
    const statements = [traffic(random, 10), change, traffic(random, 10)];
    if (index % 2 === 0) for (const one of statements) await at.sql.script(one);
    else await at.sql.script(`begin; ${statements.join('; ')}; commit`);
    await eventually(at.same, `${identity}: the target is the source`, 20_000);
  }
  const status = (await ask(running.url, '/api/status')).text;
  expect(status).not.toContain('"error":{');
}, 90_000);

test('without any, its rows wait, with the reason, and no other table does; once there is one again they are written', async () => {
  await using at = await world();
  await using running = await startService(at.config);
  await untilReady(running.url);
  const others = async () => (await at.lake.query('select count(*) from shop.other')).rows[0]?.[0];
  await at.sql.script(
    "alter table t replica identity nothing; insert into t values (100, 'c100', 1, 'z'); insert into other values (1, 1)",
  );
  // The server itself refuses it: nobody could be told which row it was.
  await expect(at.sql.script('update t set v = 0 where id = 1')).rejects.toThrow(/replica identity/);
  await eventually(async () => (await others()) === '1', 'other tables go on', 20_000);
  const changes = async () => {
    const { json } = await ask(running.url, '/api/schema/changes');
    return (json as { changes: readonly { id: string; status: string; held: number; message: string }[] }).changes;
  };
  await eventually(async () => (await changes()).length > 0, 'it is told', 20_000);
  expect(await changes()).toMatchObject([{ status: 'held', held: 1, message: 'the source has no key that tells its rows apart' }]);

  await at.sql.script(
    'alter table t replica identity default; update t set v = v + 1; delete from t where id < 5; insert into other values (2, 2)',
  );
  await eventually(async () => (await others()) === '2', 'other tables go on', 20_000);
  const [newest] = await changes();
  await post(running.url, `/api/schema/changes/${newest?.id}/approve`, {});
  await eventually(at.same, 'what waited is written', 20_000);
  expect((await changes()).filter(({ status }) => status === 'held')).toEqual([]);
}, 60_000);

test('a unique index that somebody adds at the target holds what breaks it, with its reason, and nothing else', async () => {
  await using at = await world();
  await using running = await startService(at.config);
  await untilReady(running.url);
  await at.lake.script('create unique index somebodys on shop.t (v)');
  await at.sql.script("insert into t values (100, 'c100', 7, 'z'), (101, 'c101', 1000, 'z'); insert into other values (1, 1)");
  const ids = async () => (await at.lake.query('select id from shop.t where id >= 100 order by id')).rows.map(([id]) => id);
  await eventually(async () => (await ids()).join() === '101', 'the other row is written', 20_000);
  await eventually(async () => (await at.lake.query('select count(*) from shop.other')).rows[0]?.[0] === '1', 'other tables go on', 20_000);
  const { json } = await ask(running.url, '/api/quarantine');
  expect(JSON.stringify(json)).toMatch(/target\.23505.*somebodys/);
  // Once it is gone, what is held can be released.
  await at.lake.script('drop index shop.somebodys');
  const { items } = json as { items: readonly { id: string }[] };
  expect(items.length).toBe(1);
  await post(running.url, '/api/quarantine/release', { ids: items.map(({ id }) => id) });
  await eventually(at.same, 'it is written', 20_000);
}, 60_000);
