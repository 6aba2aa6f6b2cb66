/** Rows that are completed from their table, whose columns are others by then: what stands in for them outlives the process. */
import { inject, test } from 'vitest';
import { startEmbeddedPostgres } from '../../examples/embedded-postgres.ts';
import { postgresSource } from '../../cdc/postgres/source.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { waitForStandbys } from '../support/standby.ts';
import { catchUp, Model, run, sameAsTable, type TestDatabase, testDatabase } from './support.ts';

const server = inject('sourceServer');
const options = { snapshot: { mode: 'initial' as const, chunkRows: 10, parallel: 1 } };

// Killed as soon as a part of it is in: batches of one row, and of all.
test.each([1, 1000])(
  'a table that changed while a row moved into its condition is read again, also after a kill; batches of %i rows',
  async (rows) => {
    await using db = await testDatabase(
      server,
      'create table t (id int, ok boolean, big text, primary key (id, ok))',
      'alter table t alter column big set storage external',
    );
    if (db.sql.majorVersion < 15) return; // There are no row filters before.
    await db.sql.script('create publication tidegate for table t where (ok)');
    await db.sql.script(
      `insert into t select i, true, repeat('x', 3000) from generate_series(1, 25) i; insert into t values (30, false, repeat('y', 3000))`,
    );
    const model = new Model();
    await catchUp(db.source(options), model, db.sql);
    await db.sql.script('begin; update t set ok = true where id = 30; insert into t values (40, true, null), (41, true, null); commit');
    await db.sql.script('alter table t alter column big type varchar');
    const batch = { rows, bytes: 1 << 20, ageMs: 0 };
    await run(db.source({ ...options, batch }), model, () => model.rows('shop.public.t').some(({ id }) => Number(id) === 40), false);
    await catchUp(db.source(options), model, db.sql);
    await sameAsTable(model, db, 't');
  },
);

test('a row that moves into its condition is whole, also where nobody sees its transaction for want of a standby', async () => {
  const own = await startEmbeddedPostgres();
  try {
    await using sql = await PgConnection.connect({ url: own.url(), settings: { synchronous_commit: 'local' } });
    await sql.script(`create table t (id int, ok boolean, big text, primary key (id, ok)); alter table t alter column big set storage external;
      create publication tidegate for table t where (ok);
      insert into t select i, true, 'x' from generate_series(1, 25) i; insert into t values (30, false, repeat('y', 3000))`);
    const source = () =>
      postgresSource({
        name: 'shop',
        url: own.url(),
        slot: 'moves',
        publication: 'tidegate',
        tables: ['t'],
        snapshot: { mode: 'initial', chunkRows: 10, parallel: 1 },
        batch: { rows: 100, bytes: 1 << 20, ageMs: 0 },
        timing: { awayMs: 100, statusMs: 200, idleMs: 100, idleBytes: 1 },
      });
    const model = new Model();
    await catchUp(source(), model, sql);
    await using writer = await PgConnection.connect({ url: own.url() });
    await waitForStandbys(own, 'nobody');
    const hanging = writer.query('update t set ok = true where id = 30');
    await run(source(), model, () => model.rows('shop.public.t').some(({ id }) => Number(id) === 30));
    await waitForStandbys(own, '');
    await hanging;
    await catchUp(source(), model, sql);
    await sameAsTable(model, { sql } as unknown as TestDatabase, 't');
  } finally {
    await own.stop();
  }
});
