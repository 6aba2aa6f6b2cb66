/**
 * One transaction of many rows: the memory of the process does not follow their number, whether the lane reads while it is written or comes afterwards.
 * TRANSACTION_ROWS makes it larger; what it took is printed.
 */
import { expect, inject, test } from 'vitest';
import { PgConnection } from '../../wire/postgres/connection.ts';
import { createDatabase } from '../support/databases.ts';
import { eventually } from '../support/eventually.ts';
import { follower } from '../support/follower.ts';

const ROWS = Number(process.env['TRANSACTION_ROWS'] ?? 200_000);
/** How many transactions the rows are in, to compare. */
const PARTS = Number(process.env['TRANSACTION_PARTS'] ?? 1);
/**
 * What a process takes for the buffers of a few batches and for its garbage: more the longer it runs, and no more than this. The rows of the transaction
 * would be another 120 for each 200,000.
 */
const GROWTH_MIB_MAX = ROWS > 200_000 ? 220 : 110;

test(`a transaction of ${ROWS} rows takes no memory of its own`, { timeout: 120_000 + ROWS / 10 }, async () => {
  await using from = await createDatabase(inject('sourceServer'), 'many');
  await using to = await createDatabase(inject('targetServer'), 'many');
  await using source = await PgConnection.connect({ url: from.url });
  await using target = await PgConnection.connect({ url: to.url });
  await source.script('create table t (id int primary key, s text not null, n int); create table marks (k int primary key, v text)');
  const road = { from, to, tables: ['public.t', 'public.marks'] };
  const insert = (first: number) => {
    const size = Math.ceil(ROWS / PARTS);
    return Array.from(
      { length: PARTS },
      (_, part) =>
        `insert into t select i, repeat(md5(i::text), 8), 0 from generate_series(${first + part * size}, ${first + Math.min(ROWS, (part + 1) * size) - 1}) i`,
    );
  };
  await follower({ ...road, mark: 1 });

  for (const sql of insert(1)) await source.script(sql);
  const after = await follower({ ...road, mark: 2 });

  const following = follower({ ...road, mark: 3, isMarked: true });
  following.catch(() => {}); // Awaited below.
  const isRead = 'select count(*) from pg_replication_slots where slot_name = $1 and active';
  await eventually(async () => (await source.query(isRead, [from.name])).rows[0]?.[0] === '1', 'the lane reads');
  const written = performance.now();
  for (const sql of insert(ROWS + 1)) await source.script(sql);
  const committed = performance.now();
  await source.script("insert into marks values (3, 'there')");
  await eventually(
    async () => (await target.query(`select count(*) from (select from t where id > ${ROWS} limit 1) t`)).rows[0]?.[0] === '1',
    'the first rows are there',
    600_000,
  );
  const first = performance.now();
  const beside = await following;
  const { rows: spilled } = await source.query(
    'select spill_txns, spill_count, spill_bytes, total_bytes from pg_stat_replication_slots where slot_name = $1',
    [from.name],
  );
  console.log(
    JSON.stringify({
      rows: ROWS,
      after,
      beside,
      writtenMs: committed - written,
      firstMs: first - committed,
      lastMs: performance.now() - committed,
      spilled,
    }),
  );
  const hash = 'select count(*), sum(hashtext(t::text)::bigint) from t t';
  expect((await target.query(hash)).rows).toEqual((await source.query(hash)).rows);
  for (const { beforeMiB, peakMiB } of [after, beside]) expect(peakMiB - beforeMiB).toBeLessThan(GROWTH_MIB_MAX);
});
