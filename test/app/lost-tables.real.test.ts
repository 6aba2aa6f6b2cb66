/** Tables of the target, or columns of them, that are gone while the lane has a checkpoint: dropped, or missing in what somebody restored. */
import { expect, inject, test } from 'vitest';
import { freePort } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { cli } from './cli.ts';
import { ask, configFolder, startService, untilReady } from './services.ts';

const TABLES = ['gone', 'moved', 'stays'] as const;

const DROPS = ['drop schema shop cascade', 'drop table shop.gone', 'alter table shop.gone drop v'];

test.each(DROPS)('%s: what it had is read again', async (drop) => {
  await using source = await createDatabase(inject('sourceServer'), 'lost');
  await using target = await createDatabase(inject('targetServer'), 'lost');
  await using sql = await PgConnection.connect({ url: source.url });
  await using lake = await PgConnection.connect({ url: target.url });
  for (const table of TABLES)
    await sql.script(
      `create table ${table} (id int primary key, v text); insert into ${table} select n, 'v' || n from generate_series(1, 200) n`,
    );
  const sources = {
    shop: {
      kind: 'postgres',
      url: source.url,
      slot: source.name,
      publication: 'lost',
      tables: TABLES.map((table) => `public.${table}`),
      snapshot: { chunkRows: 70 },
    },
  };
  using config = configFolder({ sources, http: { port: await freePort() } }, {}, { source: source.url, target: target.url });
  const rows = (connection: PgConnection, table: string): Promise<string> =>
    connection.query(`select id, v from ${table} order by id`).then(
      (found) => JSON.stringify(found.rows),
      (error: Error) => error.message,
    );
  const change = (n: number): Promise<unknown> =>
    sql.script(
      TABLES.map(
        (table) =>
          `insert into ${table} values (${1000 + n}, 'new'); update ${table} set v = 'w' where id = ${n}; delete from ${table} where id = ${50 + n}`,
      ).join(';'),
    );
  const areSame = async (): Promise<void> => {
    for (const table of TABLES)
      await eventually(
        async () => (await rows(lake, `shop.${table}`)) === (await rows(sql, table)),
        `${table} is at the target what it is at the source`,
      );
  };
  {
    await using running = await startService(config);
    await untilReady(running.url);
    await areSame();
  }

  // While nobody writes.
  await lake.script(drop);
  await change(1);
  await using running = await startService(config);
  await areSame();
  await untilReady(running.url);

  // Under the lane's hands.
  await lake.script(drop);
  await change(2);
  await eventually(async () => /halted: .*relation .* does not exist/.test((await ask(running.url, '/readyz')).text), 'the lane is halted');
  expect((await cli('resume', config.file)).code).toBe(0);
  await areSame();
  await untilReady(running.url);
  expect((await cli('verify', config.file)).code).toBe(0);

  const lost = drop.startsWith('drop schema') ? TABLES : ['gone'];
  const told = async (): Promise<string> => {
    const found = await lake.query(
      `select distinct dataset, reread from tidegate.schema_changes where message like '%was gone%' order by 1, 2`,
    );
    return JSON.stringify(found.rows);
  };
  const wanted = JSON.stringify(lost.map((table) => [`shop.public.${table}`, 'done']));
  await eventually(async () => (await told()) === wanted, 'the rows of these alone were read again, to the end');
});
