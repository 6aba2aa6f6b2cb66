/** A target that answers commits before they are on its disk loses the last ones in a crash, and the lane's checkpoint with them: the source still has what is to be read again. */
import { expect, inject, test } from 'vitest';
import { startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { configFolder, startService, untilReady } from './services.ts';

test.each([
  ['as the config says', { synchronousCommit: 'off' }, ''],
  ['as the database says', {}, `set synchronous_commit = off`],
])('commits that a target loses in a crash are made again, %s', async (_, options, setting) => {
  await using source = await createDatabase(inject('sourceServer'), 'async');
  // For as long as the test takes nothing is written to the disk by itself.
  const server = await startEmbeddedPostgres({ wal_writer_delay: '10s', checkpoint_timeout: '1h' });
  try {
    await using target = await createDatabase(server.url(), 'async');
    await using sql = await PgConnection.connect({ url: source.url });
    await sql.script('create table t (id int primary key)');
    {
      await using lake = await PgConnection.connect({ url: target.url });
      if (setting !== '') await lake.script(`alter database "${target.name}" ${setting}`);
    }
    using config = configFolder(
      {
        sources: { shop: { kind: 'postgres', url: source.url, slot: source.name, publication: 'async', tables: ['public.t'] } },
        targets: { lake: { kind: 'postgres', url: target.url, schema: 'shop', ...options } },
      },
      {},
      { source: source.url, target: target.url },
    );
    await using running = await startService(config);
    await untilReady(running.url);
    const arrived = async (lake: PgConnection) => (await lake.query('select count(*) from shop.t')).rows[0]?.[0];
    {
      await using lake = await PgConnection.connect({ url: target.url });
      // What is there by now is on the disk.
      await lake.script('checkpoint');
      for (let id = 1; id <= 50; id++) await sql.query('insert into t values ($1)', [id]);
      await eventually(async () => (await arrived(lake)) === '50', 'the rows are there');
    }
    await server.kill();
    await server.start();
    await using lake = await PgConnection.connect({ url: target.url });
    expect(Number(await arrived(lake))).toBeLessThan(50);
    await sql.script('insert into t values (51)');
    await eventually(async () => (await arrived(lake)) === '51', 'all rows are there again');
    await untilReady(running.url);
    // Once they are on the disk the source hears of them, and may forget them.
    await lake.script('checkpoint');
    const { rows } = await sql.query('select pg_current_wal_lsn()');
    const heard = `select confirmed_flush_lsn >= $1::pg_lsn - 65536 from pg_replication_slots where slot_name = $2`;
    await eventually(
      async () => (await sql.query(heard, [rows[0]?.[0] ?? null, source.name])).rows[0]?.[0] === 't',
      'the source has heard',
    );
  } finally {
    await server.stop();
  }
});
