/** What the target does to find rows, by its own statistics: what is looked for by a key is found by an index, however small the table was when its statements were first used. */
import { expect, inject, test } from 'vitest';
import { type ChangeEvent, type Position, UNCHANGED, type Version } from '../../core/event.ts';
import { runPipeline } from '../../core/pipeline.ts';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { batchOf, batchSource, DATASET, encoded } from './shop.ts';
import { sinkOf } from './store.ts';

const never = new AbortController().signal;
type Change = 'update' | 'delete' | 'partial';

/** So many of each kind, of rows from `first` on. */
function batchAt(version: string, first: number, count: number, changes: readonly Change[]) {
  const events = changes.flatMap((change, kind) =>
    Array.from({ length: count }, (_, i) => {
      const id = first + kind * count + i;
      return {
        op: change === 'delete' ? 'delete' : 'update',
        dataset: DATASET,
        before: change === 'delete' ? encoded(id, null, null) : null,
        after: change === 'delete' ? null : encoded(id, 7, change === 'partial' ? UNCHANGED : 'new'),
        key: String(id),
        movedFrom: null,
        version: version as Version,
        ordinal: kind * count + i,
        committedAtMs: 0,
      } as ChangeEvent; // An encoded row is a row.
    }),
  );
  return batchOf(events, version as Position);
}

test('of a table that has grown since, no more rows are read than are written', async () => {
  await using database = await createDatabase(inject('targetServer'), 'plans');
  const { url } = database;
  await using sql = await PgConnection.connect({ url });
  await sql.script(`create schema shop; create table shop.items (id bigint primary key, n integer, note text) with (autovacuum_enabled = false);
    insert into shop.items values (0, 0, 'old')`);
  await sql.script('analyze shop.items');
  const grow = (): Promise<unknown> => sql.script("insert into shop.items select i, 0, 'old' from generate_series(1001, 60000) i");
  // Each of them twice while the table is small: what is new to the sink is written row by row.
  const batches = [
    batchAt('01', 1, 30, ['delete']),
    batchAt('02', 1, 30, ['delete']),
    batchAt('03', 1, 30, ['update']),
    batchAt('04', 1, 30, ['update']),
    batchAt('05', 1, 30, ['partial']),
    batchAt('06', 1, 30, ['partial']),
    batchAt('07', 1001, 500, ['update', 'delete', 'partial']),
    batchAt('08', 10_001, 5, ['update', 'delete', 'partial']),
  ];
  {
    await using sink = await sinkOf(url);
    let at = 0;
    const between = async (): Promise<void> => void (at++ === 6 && (await grow()));
    await runPipeline({ source: batchSource(batches, between), stages: [], sink }, { drain: never, abort: never });
  }
  // Its sessions have told of all that they read when they are gone.
  const gone = 'select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()';
  await eventually(async () => (await sql.query(gone)).rows.length === 0, 'the sessions have ended');
  const read = `select coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0), n_tup_upd, n_tup_del from pg_stat_user_tables where relname = 'items'`;
  const [rows, updated, deleted] = ((await sql.query(read)).rows[0] ?? []).map(Number);
  expect([updated, deleted]).toEqual([3 * 30 + 2 * 505, 505]);
  expect(rows).toBeLessThan(4 * (5 * 30 + 3 * 505));
  const found = await sql.query('select n, note, count(*) from shop.items where id > 1000 group by n, note order by n, note');
  expect(found.rows).toEqual([
    ['0', 'old', String(59_000 - 3 * 505)],
    ['7', 'new', '505'],
    ['7', 'old', '505'],
  ]);
});
